"""The training program: exact resume, clean interruption, refusal of bad steps, and what a run leaves behind."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from jepa.config.load import dump, load_config
from jepa.config.schema import PretrainConfig
from jepa.data.decode import open_video
from jepa.data.evaluation import labelled_clips
from jepa.errors import CheckpointError, DataError, NonFiniteError, RunError
from jepa.models.zoo import load_encoder
from jepa.objectives import build
from jepa.programs import pretrain as program
from jepa.programs.pretrain import pretrain
from jepa.programs.pretrain_step import PretrainState, fresh_state, pretrain_step
from jepa.programs.resume import FREE_TO_CHANGE, differences
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint
from jepa.runtime.lock import locked
from jepa.runtime.metrics import read_metrics
from jepa.types import Batch

Build = Callable[..., PretrainConfig]
CPU = torch.device("cpu")


def losses(run_dir: str | Path) -> list[float]:
    return [line["loss"] for line in read_metrics(Path(run_dir) / "metrics.jsonl")]


def weights(run_dir: str | Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(list_checkpoints(Path(run_dir))[-1][1])["objective"]


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, number: int = signal.SIGTERM) -> None:
    """Send this process a real signal once ``steps`` steps are done."""
    done = 0

    def step(state: PretrainState, batch: Batch) -> dict:
        nonlocal done
        signals = pretrain_step(state, batch)
        done += 1
        if done == steps:
            os.kill(os.getpid(), number)
        return signals

    monkeypatch.setattr(program, "pretrain_step", step)


@pytest.mark.parametrize(
    "objective", [{"kind": "vjepa", "momentum": 0.9}, {"kind": "lejepa", "projections": 8}]
)
@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (5, 0), (7, 2)])
def test_resumed_equals_unbroken_bit_for_bit(
    run_config: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    objective: dict,
    stop: int,
    workers: int,
) -> None:
    """Interrupted in the first epoch or in the middle of the second (24 videos, batches of 4), with workers too."""
    unbroken = run_config(run_dir=str(tmp_path / "unbroken"), objective=objective)
    assert pretrain(unbroken).status == "done"
    broken = run_config(run_dir=str(tmp_path / "broken"), objective=objective, data={"workers": workers})
    with monkeypatch.context() as patch:
        interrupt_after(patch, stop)
        assert pretrain(broken).status == "interrupted"
    assert list_checkpoints(tmp_path / "broken")[-1][0] == stop
    assert pretrain(broken).status == "done"
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")
    one, two = weights(tmp_path / "broken"), weights(tmp_path / "unbroken")
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_ctrl_c_writes_a_checkpoint_and_ends_without_a_report(
    run_config: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run_config()
    before = signal.getsignal(signal.SIGINT)
    interrupt_after(monkeypatch, 3, signal.SIGINT)
    result = pretrain(config)
    assert (result.status, result.step, result.summary) == ("interrupted", 3, {})
    assert "SIGINT: checkpoint of step 3 written" in capsys.readouterr().err
    assert not (Path(config.run_dir) / "report.html").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_accumulated_gradients_give_the_same_step(run_config: Build, tmp_path: Path) -> None:
    for parts in (1, 4):
        still = {"size": "nano", "patch": 8, "drop_path": 0.0}  # dropped paths are drawn per micro-batch
        config = run_config(
            run_dir=str(tmp_path / str(parts)),
            model=still,
            optim={"accumulate": parts, "steps": 3, "warmup_steps": 0},
        )
        pretrain(config)
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "4"), rel=1e-5)


def starting(config: PretrainConfig) -> tuple[PretrainState, Batch]:
    state = fresh_state(config, CPU)
    return state, next(program.batches_from(state, program.open_sources(config.data.sources)))


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_not_finite_moves_nothing(run_config: Build, broken: str) -> None:
    state, batch = starting(run_config())
    pretrain_step(state, batch)
    before = {name: value.clone() for name, value in state.objective.state_dict().items()}
    moments = {i: s["exp_avg"].clone() for i, s in state.optimizer.state_dict()["state"].items()}
    if broken == "loss":
        batch.clip[0, 0, 0, 0, 0] = float("nan")
        name = "the loss itself|gradients of"
    else:
        state.objective.predictor.proj.weight.register_hook(lambda g: g * float("inf"))
        name = "gradients of predictor.proj.weight"
    with pytest.raises(
        NonFiniteError, match=f"step 1: loss .*({name}).*No weight was changed.*learning_rate"
    ):
        pretrain_step(state, batch)
    assert all(torch.equal(value, before[name]) for name, value in state.objective.state_dict().items())
    assert all(
        torch.equal(s["exp_avg"], moments[i]) for i, s in state.optimizer.state_dict()["state"].items()
    )
    assert state.step == 1


def test_clipping_limits_the_step_but_reports_the_whole_norm(run_config: Build) -> None:
    state, batch = starting(run_config(optim={"clip_grad": 1e-3}))
    signals = pretrain_step(state, batch)
    assert float(signals["gradient_norm"]) > 1e-2
    clipped = torch.nn.utils.get_total_norm(
        [p.grad for p in state.objective.parameters() if p.grad is not None]
    )
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)


def test_bfloat16_trains_float32_weights(run_config: Build) -> None:
    state, batch = starting(run_config(dtype="bfloat16"))
    assert torch.isfinite(pretrain_step(state, batch)["loss"])
    assert {p.dtype for p in state.objective.parameters()} == {torch.float32}


def test_what_a_run_leaves_behind(run_config: Build, videos: Path) -> None:
    source = {"kind": "csv", "path": str(videos / "motion.csv")}
    config = run_config(
        probes=[{"name": "motion", "train": source, "test": source}],
        log={"every_steps": 2, "health_every_steps": 4, "knn_every_steps": 4, "tensorboard": True},
        checkpoint={"every_steps": 2, "keep_last": 1, "keep_every": 4},
    )
    result = pretrain(config)
    run = Path(config.run_dir)
    assert load_config(run / "config.yaml") == config
    assert (run / "config.yaml").read_text().startswith("# jepa 0.")
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    wanted = (
        "loss target_std prediction_std context_fraction target_fraction momentum gradient_norm learning_rate"
    )
    assert {*wanted.split(), "clips_per_s", "data_wait", "bad_files"} <= set(lines[0])
    assert [sorted({"effective_rank", "knn_accuracy"} & set(line)) for line in lines] == [
        [],
        ["effective_rank", "knn_accuracy"],
        [],
        ["effective_rank", "knn_accuracy"],
    ]
    assert [step for step, _ in list_checkpoints(run)] == [4, 8]
    assert json.loads((run / "summary.json").read_text()) == result.summary
    rows = {(row["name"], row["pooling"]) for row in result.summary["probes"][0]["rows"]}
    assert {("pretrained", "time"), ("random init", "time"), ("raw pixels", None), ("chance", None)} <= rows
    page = (run / "report.html").read_text()
    assert "random init" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert list((run / "tensorboard").iterdir())


def test_random_init_row_is_the_runs_own_start(run_config: Build) -> None:
    config = run_config()
    from jepa.models.build import architecture_of, untrained_networks

    start = fresh_state(config, CPU).objective.probed.state_dict()
    assert all(
        torch.equal(value, start[name])
        for name, value in untrained_networks(architecture_of(config), config.seed)
        .encoder.state_dict()
        .items()
    )


def test_a_run_is_not_continued_with_another_configuration(run_config: Build) -> None:
    pretrain(run_config(optim={"steps": 2}))
    pretrain(
        run_config(optim={"steps": 2}, data={"workers": 1}, log={"every_steps": 2, "tensorboard": False})
    )
    with pytest.raises(
        CheckpointError, match=r"data.batch_size: 4, now 8; model.patch: 8, now 4\); use the run's own"
    ):
        pretrain(run_config(optim={"steps": 2}, data={"batch_size": 8}, model={"patch": 4}))


def test_differences_name_what_moves_weights_and_nothing_else(run_config: Build) -> None:
    one = run_config().model_dump(mode="json")
    free = run_config(threads=3, log={"every_steps": 9}, data={"cache_mb": 5}).model_dump(mode="json")
    assert differences(one, free, free=(*FREE_TO_CHANGE, "probes")) == []
    assert differences(one, run_config(seed=1).model_dump(mode="json"), free=()) == ["seed: 0, now 1"]


def test_bad_files_are_skipped_listed_and_limited(run_config: Build, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    paths = [*sorted(videos.glob("*.mp4"))[:7], tmp_path / "broken.mp4"]
    listing = tmp_path / "list.csv"
    listing.write_text("".join(f"{path},0\n" for path in paths))
    source = [{"kind": "csv", "path": str(listing)}]
    config = run_config(data={"sources": source, "max_bad_fraction": 0.2})
    assert pretrain(config).status == "done"
    assert read_metrics(Path(config.run_dir) / "metrics.jsonl")[-1]["bad_files"] == 1
    (record,) = read_metrics(Path(config.run_dir) / "bad_files.jsonl")
    assert record["path"].endswith("broken.mp4")
    with pytest.raises(DataError, match="1 of 8 files cannot be read"):
        pretrain(
            run_config(run_dir=str(tmp_path / "strict"), data={"sources": source, "max_bad_fraction": 0.1})
        )


def test_missing_files_end_the_run_before_it_starts(run_config: Build, tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text("nowhere-1.mp4,0\nnowhere-2.mp4,1\n")
    config = run_config(data={"sources": [{"kind": "csv", "path": str(listing)}]})
    with pytest.raises(DataError, match="2 of 2 files are missing"):
        pretrain(config)
    assert not Path(config.run_dir).exists()


def test_loaded_encoders_are_the_trained_ones(run_config: Build) -> None:
    config = run_config()
    pretrain(config)
    trained = weights(config.run_dir)
    for which, prefix in (("target", "target_encoder."), ("encoder", "encoder.")):
        loaded = load_encoder(config.run_dir, device="cpu", weights=which)
        assert not loaded.training
        assert all(torch.equal(value, trained[prefix + name]) for name, value in loaded.state_dict().items())
        frames = torch.randint(256, (4, 20, 30, 3), dtype=torch.uint8)
        assert loaded.embed(loaded.preprocess(frames)).shape == (1, loaded.dim)


def test_training_probes_and_loaded_encoders_normalise_alike(run_config: Build) -> None:
    """The clips of the loader, of the probes and of ``Encoder.preprocess`` agree for statistics of one's own."""
    still = {"scale": [1.0, 1.0], "aspect": [1.0, 1.0], "flip": 0.0}
    config = run_config(
        data={"mean": [0.2, 0.3, 0.4], "std": [0.1, 0.2, 0.3], "augment": still, "jitter": False}
    )
    pretrain(config)
    _, trained = starting(config)
    source = program.open_sources(config.data.sources)[0]
    measured = torch.cat([batch.clip for batch in labelled_clips(source, config.data)])
    assert any(torch.equal(trained.clip[0], clip) for clip in measured)
    with open_video(source.entries[0].path) as video:
        frames = video.read([6, 7, 8, 9])
    loaded = load_encoder(config.run_dir, device="cpu").preprocess(frames)
    assert torch.equal(loaded[0], measured[0])


def test_loading_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a folder of nothing"):
        load_encoder(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_encoder(tmp_path / "nothing.pt")


def test_an_objective_of_ones_own_can_be_trained(run_config: Build) -> None:
    config = run_config()
    torch.manual_seed(5)
    mine = build(config)
    result = pretrain(config, objective=mine)
    assert result.status == "done"
    assert torch.equal(weights(config.run_dir)["encoder.norm.weight"], mine.encoder.norm.weight)


def test_images_and_videos_train_together(run_config: Build, videos: Path, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(6):
        Image.effect_noise((40, 48), 60 + number).convert("RGB").save(tmp_path / f"{number}.png")
    config = run_config(
        data={
            "sources": [
                {"kind": "csv", "path": str(videos / "motion.csv")},
                {"kind": "images", "path": str(tmp_path)},
            ],
            "image_fraction": 0.5,
            "resolution": 32,
        },
        masks={
            "video": [{"kind": "random"}],
            "image": [{"kind": "image_blocks", "targets": 2, "target_scale": [0.1, 0.2]}],
        },
        objective={"kind": "joint"},
    )
    assert pretrain(config).status == "done"
    start = fresh_state(config, CPU).objective.state_dict()
    end = weights(config.run_dir)
    for name in (
        "encoder.patch_embed.weight",
        "encoder.patch_embed_image.weight",
        "target_encoder.norm.weight",
    ):
        assert not torch.equal(start[name], end[name])


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_to_the_whole_group_still_ends_with_a_checkpoint(
    run_config: Build, tmp_path: Path, number: int
) -> None:
    """Ctrl-C in a terminal, or a scheduler's SIGTERM, reaches the decoding workers too."""
    config = run_config(data={"workers": 2}, optim={"steps": 100_000})
    (tmp_path / "run.yaml").write_text(dump(config))
    command = [sys.executable, "-m", "jepa", "pretrain", str(tmp_path / "run.yaml"), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if line.startswith("step 3/"):
            os.killpg(process.pid, number)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert answer["status"] == "interrupted"
    assert answer["step"] >= 3
    assert list_checkpoints(Path(config.run_dir))[-1][0] == answer["step"]


def test_a_killed_run_resumes_from_its_checkpoint_as_if_unbroken(run_config: Build, tmp_path: Path) -> None:
    """SIGKILL between two checkpoints: logged steps past the checkpoint are dropped and made again."""
    # One thread in both processes: another number of threads rounds differently.
    settings = {"checkpoint": {"every_steps": 2}, "optim": {"steps": 2000, "warmup_steps": 2}, "threads": 1}
    (tmp_path / "run.yaml").write_text(dump(run_config(run_dir=str(tmp_path / "killed"), **settings)))
    command = [sys.executable, "-m", "jepa", "pretrain", str(tmp_path / "run.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("step 7/"):
            process.kill()
            break
    process.communicate()
    reached = len(losses(tmp_path / "killed"))
    steps = reached + 3
    for name in ("killed", "unbroken"):
        done = list_checkpoints(tmp_path / name)
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(patch, steps - (done[-1][0] if done else 0))
            assert pretrain(run_config(run_dir=str(tmp_path / name), **settings)).step == steps
    assert losses(tmp_path / "killed") == losses(tmp_path / "unbroken")


def test_a_cooldown_starts_from_another_runs_weights_with_longer_clips(
    run_config: Build, tmp_path: Path
) -> None:
    first = run_config(run_dir=str(tmp_path / "first"))
    pretrain(first)
    longer = run_config(
        run_dir=str(tmp_path / "second"), initial_weights=str(tmp_path / "first"), data={"frames_per_clip": 8}
    )
    start, source = fresh_state(longer, CPU), weights(tmp_path / "first")
    assert start.step == 0
    assert all(torch.equal(value, source[name]) for name, value in start.objective.state_dict().items())
    assert pretrain(longer).status == "done"
    other = run_config(initial_weights=str(tmp_path / "first"), model={"patch": 4})
    with pytest.raises(CheckpointError, match="does not fit this configuration"):
        pretrain(other)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore")  # the compiler itself warns, and fails where that is an error
def test_a_compiled_step_gives_the_eager_loss(run_config: Build) -> None:
    still = {"size": "nano", "patch": 8, "drop_path": 0.0}
    eager = starting(run_config(model=still))
    compiled = starting(run_config(model=still, compile=True))
    for _ in range(2):
        one, two = pretrain_step(*eager), pretrain_step(*compiled)
        assert float(one["loss"]) == pytest.approx(float(two["loss"]), rel=1e-4)
    assert list(compiled[0].objective.state_dict()) == list(eager[0].objective.state_dict())


def test_checkpoints_are_written_by_time_too(run_config: Build) -> None:
    config = run_config(checkpoint={"every_steps": 1000, "every_minutes": 1e-9, "keep_every": 1})
    pretrain(config)
    assert [step for step, _ in list_checkpoints(Path(config.run_dir))] == list(range(1, 9))


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    run_config: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the run ends as an unbroken one."""
    unbroken = run_config(run_dir=str(tmp_path / "unbroken"))
    pretrain(unbroken)
    broken = run_config(run_dir=str(tmp_path / "broken"), checkpoint={"every_steps": 2})
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        pretrain(broken)
    newest = list_checkpoints(tmp_path / "broken")[-1][1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert pretrain(broken).status == "done"
    assert "step-000000004.pt is wrong; an earlier checkpoint is used instead" in capfd.readouterr().err
    one, two = weights(tmp_path / "broken"), weights(tmp_path / "unbroken")
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")


def test_nothing_starts_from_nothing_but_damage(run_config: Build) -> None:
    config = run_config(checkpoint={"keep_last": 1})
    pretrain(config)
    for _, path in list_checkpoints(Path(config.run_dir)):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match="no checkpoint of .* is whole .*; bring one back, or remove them"
    ):
        pretrain(config)


def test_a_run_directory_in_use_is_refused(run_config: Build) -> None:
    config = run_config()
    run = Path(config.run_dir)
    run.mkdir(parents=True)
    with locked(run), pytest.raises(RunError, match="is in use by process"):
        pretrain(config)
    assert not (run / "config.yaml").exists()


def test_a_killed_worker_costs_nothing_but_is_counted(
    run_config: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"log": {"every_steps": 1}}
    pretrain(run_config(run_dir=str(tmp_path / "unbroken"), data={"workers": 0}, **changes))
    stream = program.batches_from

    def killing(*args: object) -> Iterator[Batch]:
        batches = stream(*args)
        make = type(batches).__next__
        steps = iter(range(1000))

        def next_one(self: Iterator[Batch]) -> Batch:
            if next(steps) in (1, 3):
                os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
            return make(self)

        monkeypatch.setattr(type(batches), "__next__", next_one)
        return batches

    monkeypatch.setattr(program, "batches_from", killing)
    pretrain(run_config(run_dir=str(tmp_path / "killed"), data={"workers": 2}, **changes))
    assert losses(tmp_path / "killed") == losses(tmp_path / "unbroken")
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert 1 <= lines[-1]["workers_replaced"] <= 2 and lines[-1]["source_waits"] == 0
