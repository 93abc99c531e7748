"""Search finds the clip itself first, and refuses an index of another encoder."""

import numpy as np
import pytest
import torch
from PIL import Image

from jepa.errors import ConfigError, DataError
from jepa.programs.embed import embed
from jepa.programs.search import render, search
from jepa.runtime.checkpoint import find_checkpoint


@pytest.fixture(scope="module")
def features(trained, videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "features"
    embed(trained, videos / "motion.csv", folder, overrides=["clips.workers=0"])
    return folder


@pytest.mark.parametrize("kind", ["flat", "auto"])
def test_a_clip_of_the_index_is_nearest_to_itself(features, videos, tmp_path, kind):
    found = search(
        features, str(videos / "000005.mp4"), k=3, kind=kind, sheet=tmp_path / "sheet.png", device="cpu"
    )
    (near,) = found.neighbours
    assert near[0].path == str(videos / "000005.mp4") and near[0].similarity == pytest.approx(1, abs=1e-4)
    assert [one.rank for one in near] == [1, 2, 3]
    assert near[0].similarity >= near[1].similarity >= near[2].similarity
    assert (near[0].start_s, near[0].end_s) == (6 / 8, 9 / 8) and near[0].label is not None
    sheet = np.asarray(Image.open(found.sheet))
    assert sheet.shape[0] == 80 and sheet.std() > 10
    assert render(found).row_count == 3


def test_several_queries_at_once(features, videos, held_out, tmp_path):
    found = search(features, str(held_out), k=2, sheet=tmp_path / "sheet.png", device="cpu")
    assert len(found.queries) == len(found.neighbours) == 16


def test_the_index_is_built_once_and_again_when_features_change(features, videos, tmp_path, monkeypatch):
    from jepa.programs import search as program

    sheet = tmp_path / "sheet.png"
    search(features, str(videos / "000001.mp4"), sheet=sheet, kind="flat", device="cpu")
    monkeypatch.setattr(program, "build_index", lambda *a, **k: pytest.fail("built again"))
    search(features, str(videos / "000001.mp4"), sheet=sheet, kind="flat", device="cpu")


def test_wrong_requests_are_answered(features, trained, videos, tmp_path):
    with pytest.raises(ConfigError, match="pooling: 'tokens' is not in .* it holds mean, time"):
        search(features, str(videos / "000001.mp4"), pooling="tokens")
    with pytest.raises(DataError, match="does not exist"):
        search(features, str(videos / "none.mp4"))
    with pytest.raises(DataError, match="holds no features"):
        search(videos, str(videos / "000001.mp4"))
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="empty.mp4"):
        search(features, str(tmp_path / "empty.mp4"), sheet=tmp_path / "s.png", device="cpu")


def test_an_encoder_that_changed_since_is_refused(trained, videos, tmp_path):
    model = tmp_path / "model.pt"
    state = torch.load(find_checkpoint(trained), weights_only=True)
    torch.save(state, model)
    embed(model, videos / "motion.csv", tmp_path / "f", overrides=["clips.workers=0"])
    state["objective"]["target_encoder.norm.weight"] *= 2
    torch.save(state, model)
    with pytest.raises(ConfigError, match="holds other weights now than those that embedded"):
        search(tmp_path / "f", str(videos / "000001.mp4"), device="cpu")
