"""The benchmark of a run: every judge on every kind, from videos on disk."""

import io
import json

import pytest
import torch
from rich.console import Console

from jepa.data.synthetic import write_mp4
from jepa.data.violations import PAIRS, read_pairs, write_violations
from jepa.errors import CheckpointError, ConfigError, DataError
from jepa.objectives import build
from jepa.objectives.load import load_objective
from jepa.probes.surprise import pixel_surprise, relative_accuracy, surprise
from jepa.programs.pretrain_step import fresh_state
from jepa.programs.surprise import ALL, COPY, EXTRAPOLATION, TRAINED, UNTRAINED, surprise_table
from jepa.runtime.checkpoint import save_checkpoint
from tests.conftest import tiny_config

MASKS = {"video": [{"kind": "random"}, {"kind": "causal", "context": 0.75}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs")
    write_violations(path, pairs=2, seed=0, frames=16, size=32)
    return path


def save(path, config):
    """A run whose weights are not those it started from."""
    torch.manual_seed(1)
    objective = build(config)
    torch.nn.init.normal_(objective.predictor.mask_tokens)  # else one is like the other
    state = fresh_state(config, torch.device("cpu"), objective)
    save_checkpoint(path, state.state_dict())
    return objective.eval()


def test_every_judge_on_every_kind(tmp_path, folder):
    config = tiny_config(masks=MASKS)
    model = save(tmp_path, config)
    report = surprise_table(tmp_path, folder, device="cpu")
    kinds = ["vanish", "teleport", "change", "pass", ALL]
    judges = [TRAINED, UNTRAINED, COPY, EXTRAPOLATION]
    assert [(row.who, row.kind) for row in report.rows] == [(who, kind) for who in judges for kind in kinds]
    assert {row.kind: row.pairs for row in report.rows} == {kind: 8 if kind == ALL else 2 for kind in kinds}
    pairs = read_pairs(folder)
    sides = [
        torch.stack([model.encoder.preprocess(decoded(getattr(pair, side)))[0] for pair in pairs])
        for side in ("possible", "impossible")
    ]
    # The causal mask is the second pattern, and shows three quarters.
    watched = [surprise(model, videos, window=8, context=0.75, pattern=1) for videos in sides]
    assert report.find(TRAINED).relative == relative_accuracy(*(values.mean(1) for values in watched))
    copied = [pixel_surprise(videos).mean(1) for videos in sides]
    assert report.find(COPY).relative == relative_accuracy(*copied)
    # Windows start at 0, 2, ... 8, and predict from their frame 6 on.
    offsets = {start + 6 - pair.event_frame for pair in pairs for start in range(0, 9, 2)}
    assert list(report.curves["possible"]) == sorted(offsets) == list(report.curves["impossible"])
    weight = {at: sum(at + pair.event_frame - 6 in range(0, 9, 2) for pair in pairs) for at in offsets}
    mean = sum(report.curves["impossible"][at] * weight[at] for at in offsets) / sum(weight.values())
    assert mean == pytest.approx(float(watched[1].mean()), rel=1e-5)


def decoded(path):
    from jepa.data.decode import open_video

    with open_video(str(path)) as video:
        return video.read(range(video.info.frames))


def test_the_report_can_be_read(tmp_path, folder):
    save(tmp_path, tiny_config(masks=MASKS))
    report = surprise_table(tmp_path, folder, device="cpu", stride=4)
    console = Console(file=io.StringIO(), width=160)
    console.print(report.render())
    text = console.file.getvalue()
    assert all(word in text for word in ("teleport", TRAINED, UNTRAINED, COPY, "8", "chance is 50%"))
    found = json.loads(json.dumps(report.to_dict()))
    assert found["rows"][0]["who"] == TRAINED and len(found["rows"]) == 20
    assert set(found["curves"]) == {"possible", "impossible"}
    assert report.chart().startswith("<svg") and "impossible" in report.chart()
    with pytest.raises(KeyError, match="no row of 'nobody' on 'all'"):
        report.find("nobody")


def test_untrained_is_the_model_before_its_first_step(tmp_path, folder):
    config = tiny_config(masks=MASKS)
    save_checkpoint(tmp_path, fresh_state(config, torch.device("cpu")).state_dict())
    report = surprise_table(tmp_path, folder, device="cpu")
    assert report.find(TRAINED).relative == report.find(UNTRAINED).relative


def test_videos_are_thinned_out_as_in_training(tmp_path, folder):
    data = tiny_config().data.model_copy(update={"stride": None, "fps": 4.0, "frames_per_clip": 8})
    save(tmp_path, tiny_config(masks=MASKS, data=data.model_dump(mode="json")))
    report = surprise_table(tmp_path, folder, device="cpu")  # 16 frames at 8 fps are one window of 8 at 4 fps
    offsets = {6 - pair.event_frame // 2 for pair in read_pairs(folder)}
    assert set(report.curves["possible"]) == offsets


def test_videos_that_are_too_short(tmp_path, folder):
    data = tiny_config().data.model_copy(update={"frames_per_clip": 32})
    save(tmp_path, tiny_config(masks=MASKS, data=data.model_dump(mode="json")))
    with pytest.raises(DataError, match="a video of 16 frames is shorter than one window of 32"):
        surprise_table(tmp_path, folder, device="cpu")


def test_pairs_of_unequal_length(tmp_path):
    save(tmp_path / "run", tiny_config(masks=MASKS))
    for name, frames in (("a", 16), ("b", 18)):
        write_mp4(tmp_path / f"{name}.mp4", torch.zeros(frames, 32, 32, 3, dtype=torch.uint8).numpy(), fps=8)
    (tmp_path / PAIRS).write_text("path,pair,kind,possible,event_frame\na.mp4,p,x,1,7\nb.mp4,p,x,0,7\n")
    with pytest.raises(
        DataError, match="pair 'p': the videos have 16 and 18 frames; matched videos have equally"
    ):
        surprise_table(tmp_path / "run", tmp_path, device="cpu")


def test_a_model_of_images(tmp_path, folder):
    save(tmp_path, tiny_config("ijepa"))
    with pytest.raises(ConfigError, match="was trained on images alone; surprise needs a model of videos"):
        surprise_table(tmp_path, folder, device="cpu")


def test_weights_of_another_model(tmp_path):
    config = tiny_config()
    state = fresh_state(config, torch.device("cpu")).state_dict()
    state["objective"].pop("target_encoder.norm.weight")
    save_checkpoint(tmp_path, state)
    with pytest.raises(CheckpointError, match="does not hold the objective that its config describes"):
        load_objective(tmp_path, device="cpu")


@pytest.mark.parametrize("kind", ["vjepa", "lejepa"])
def test_an_objective_comes_back_whole(tmp_path, kind):
    config = tiny_config(kind)
    model = save(tmp_path, config)
    loaded, found = load_objective(tmp_path, device="cpu")
    assert found == config and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    clip = torch.randn(2, 3, 8, 32, 32)
    torch.testing.assert_close(loaded.targets(clip), model.targets(clip).detach())
