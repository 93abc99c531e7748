"""Training a world model: exact resume, what a run leaves behind, and what is refused."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa.data.trajectories.episodes import open_episodes
from jepa.errors import CheckpointError, DataError
from jepa.models.frames import FrozenFrameEncoder
from jepa.models.world_model import load_world_model
from jepa.models.zoo import load_encoder
from jepa.probes.imagination import HorizonErrors
from jepa.programs import world_model as program
from jepa.programs import world_model_report as report
from jepa.programs.train_step import train_step
from jepa.programs.world_model import train_world_model
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint
from jepa.runtime.metrics import read_metrics


def stored(run: Path) -> dict:
    return load_checkpoint(list_checkpoints(run)[-1][1], program="world-model")


def test_resumed_equals_unbroken_bit_for_bit(world_config, tmp_path, monkeypatch):
    whole, broken = (world_config(run_dir=str(tmp_path / name)) for name in ("whole", "broken"))
    assert train_world_model(whole).status == "done"

    def step(state, batch):
        signals = train_step(state, batch)
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return signals

    with monkeypatch.context() as patch:
        patch.setattr(program, "train_step", step)
        assert train_world_model(broken).status == "interrupted"
    assert "value" not in stored(tmp_path / "broken")
    assert train_world_model(broken).status == "done"
    one, two = stored(tmp_path / "whole"), stored(tmp_path / "broken")
    for part in ("objective", "value"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part]), part
    losses = [
        [line["loss"] for line in read_metrics(tmp_path / n / "metrics.jsonl")] for n in ("whole", "broken")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_what_a_run_leaves_behind(world):
    summary = json.loads((world / "summary.json").read_text())
    assert summary["episodes"] + summary["test_episodes"] == 12
    errors = summary["prediction"]
    assert len(errors["world_model"]) == 4 and errors["windows"] > 0
    report = (world / "report.html").read_text()
    assert "Prediction error" in report and "Imagined futures" in report
    assert "Did it learn anything" not in report
    model = load_world_model(world, device="cpu")
    assert (model.action_size, model.proprio_size, model.frame_skip) == (2, 0, 1)
    assert model.value is not None and not any(p.requires_grad for p in model.parameters())
    frames = torch.zeros(2, 1, 16, 16, 3, dtype=torch.uint8)
    z = model.encode(frames)
    assert model.rollout(z, torch.zeros(2, 5, 3, 2)).shape == (2, 5, 3, 1, 8)
    assert model.value(z, z).abs().max() == 0
    assert load_world_model(world, device="cpu").config.objective.kind == "lewm"


def test_training_normalises_by_the_training_episodes(world, rooms):
    from jepa.data.trajectories.episodes import open_episodes

    config = load_world_model(world, device="cpu").config
    episodes = open_episodes(config.data.sources, test_fraction=config.data.test_fraction)
    actions = np.concatenate([episode.actions for episode in episodes.train])
    scaling = load_world_model(world, device="cpu").scaling
    assert scaling.action_mean.numpy() == pytest.approx(actions.mean(0), abs=1e-5)
    assert scaling.action_std.numpy() == pytest.approx(actions.std(0), rel=1e-4)


def test_a_finished_run_keeps_its_value(world_config, monkeypatch, capsys):
    config = world_config()
    train_world_model(config)
    monkeypatch.setattr(program, "fit_temporal_distance", lambda *a, **k: pytest.fail("learned again"))
    assert train_world_model(config).status == "done"
    with pytest.raises(pytest.fail.Exception, match="learned again"):
        train_world_model(config.model_copy(update={"value": config.value.model_copy(update={"steps": 5})}))


def test_ctrl_c_ends_the_learning_of_a_value_and_the_same_command_goes_on(world_config, monkeypatch):
    config, before, during = world_config(), signal.getsignal(signal.SIGINT), []

    def interrupted(*arguments, **settings):
        during.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "fit_temporal_distance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_world_model(config)
    assert during == [before]  # no signal is held back
    assert train_world_model(config).status == "done"
    assert "value" in stored(Path(config.run_dir))


def test_every_step_draws_its_own_numbers(world_config, monkeypatch):
    """SIGReg's directions, dropout: by the seed of the run and the step."""
    seeds = []

    def step(state, batch):
        signals = train_step(state, batch)
        seeds.append(torch.initial_seed())
        return signals

    monkeypatch.setattr(program, "train_step", step)
    for seed in (0, 1):
        run_dir = f"{world_config().run_dir}-{seed}"
        train_world_model(world_config(seed=seed, run_dir=run_dir, value=None, optim={"steps": 3}))
    assert len(seeds) == len(set(seeds)) == 6


def test_who_sees_which_episodes(world_config, monkeypatch):
    """Test episodes are measured and drawn, and nothing else sees them."""
    seen = {}

    def watch(module, name, place):
        plain = getattr(module, name)

        def watched(*arguments, **settings):
            seen.setdefault(name, []).extend(episode.name for episode in arguments[place])
            return plain(*arguments, **settings)

        monkeypatch.setattr(module, name, watched)

    watch(program, "window_stream", 0)
    watch(program, "encode_episodes", 1)
    watch(program, "action_statistics", 0)
    watch(report, "imagined_sheet", 1)
    watch(report, "all_windows", 0)
    config = world_config()
    train_world_model(config)
    episodes = open_episodes(config.data.sources, test_fraction=config.data.test_fraction)
    train, test = ({episode.name for episode in part} for part in (episodes.train, episodes.test))
    assert {name: set(names) for name, names in seen.items()} == {
        "window_stream": train,
        "encode_episodes": train,
        "action_statistics": train,
        "imagined_sheet": train,
        "all_windows": test,
    }


def test_errors_are_measured_over_the_context_and_the_horizon(world_config, monkeypatch):
    """Windows of both, for the numbers and for the sheet; the shortest episode that has them is enough."""
    shapes = []
    plain = report.imagined_sheet
    monkeypatch.setattr(
        report,
        "imagined_sheet",
        lambda model, train, windows, context: (
            shapes.append(windows.frames.shape) or plain(model, train, windows, context=context)
        ),
    )
    dynamics = {"kind": "adaln", "depth": 1, "width": 16, "heads": 2, "history": 3}
    for horizon, is_measured in ((13, True), (14, False)):  # (3 + 13 - 1) * 2 steps are an episode's 30
        config = world_config(
            **{"run_dir": f"{world_config().run_dir}-{horizon}", "dynamics": dynamics, "value": None},
            **{"data": {"frame_skip": 2}, "horizon": horizon, "optim": {"steps": 1}},
        )
        summary = train_world_model(config).summary
        assert ("prediction" in summary) == is_measured
        if is_measured:
            assert len(summary["prediction"]["world_model"]) == 13
            assert summary["prediction"]["windows"] == summary["test_episodes"]
    assert [shape[1] for shape in shapes] == [16]


def test_a_table_shows_the_errors_of_its_steps():
    errors = HorizonErrors(5, *(tuple(10.0 * line + step for step in range(1, 12)) for line in (1, 2, 3)))
    table = report.error_table(errors)
    assert [column.header for column in table.columns[1:]] == [f"step {n}" for n in (1, 2, 4, 8, 11)]
    assert [list(column.cells) for column in table.columns[1:3]] == [["11", "21", "31"], ["12", "22", "32"]]


def test_every_frame_is_in_some_paced_episode(world_config, monkeypatch):
    seen = []
    plain = program.fit_temporal_distance
    monkeypatch.setattr(
        program,
        "fit_temporal_distance",
        lambda latents, *a, **k: seen.extend(latents) or plain(latents, *a, **k),
    )
    config = world_config(data={"frame_skip": 3, "window": 3}, horizon=2)
    train_world_model(config)
    assert {len(z) for z in seen} == {11, 10}  # 31 frames, every third
    assert load_world_model(config.run_dir, device="cpu").action_size == 6


def test_test_episodes_that_are_too_short_are_said(world_config, capsys):
    config = world_config(horizon=50)
    result = train_world_model(config)
    assert "prediction" not in result.summary
    assert "prediction errors were not measured" in (Path(config.run_dir) / "report.html").read_text()


def test_another_configuration_is_refused(world_config):
    config = world_config()
    train_world_model(config)
    with pytest.raises(CheckpointError, match="objective.sigreg_weight: 0.09, now 0.5"):
        train_world_model(
            config.model_copy(
                update={"objective": config.objective.model_copy(update={"sigreg_weight": 0.5})}
            )
        )


def test_a_world_model_is_no_encoder_and_an_encoder_no_world_model(world, trained):
    with pytest.raises(CheckpointError, match="is of `jepa world-model`; one of `jepa pretrain` is needed"):
        load_encoder(world, device="cpu")
    with pytest.raises(CheckpointError, match="is of `jepa pretrain`; one of `jepa world-model` is needed"):
        load_world_model(trained, device="cpu")


def test_missing_episodes_end_the_run_before_anything_is_written(world_config, tmp_path):
    config = world_config(data={"sources": [{"kind": "store", "path": str(tmp_path / "nowhere")}]})
    with pytest.raises(DataError, match="nowhere"):
        train_world_model(config)
    assert not Path(config.run_dir).exists()


@pytest.mark.parametrize(
    "parts",
    [
        {"frames": {"kind": "vit", "size": "nano", "patch": 8, "dim": 8}},
        {"dynamics": {"kind": "adaln", "depth": 1, "width": 16, "heads": 2, "history": 2}},
        {"dynamics": {"kind": "concat", "depth": 1, "width": 16, "heads": 2, "history": 2}},
        {"objective": {"kind": "pldm", "rollout_steps": 2}},
    ],
    ids=["vit", "adaln", "concat", "pldm"],
)
def test_every_kind_trains_end_to_end(world_config, parts):
    config = world_config(**parts, value=None, optim={"steps": 2})
    assert train_world_model(config).status == "done"
    model = load_world_model(config.run_dir, device="cpu")
    assert model.value is None and model.history == (2 if "dynamics" in parts else 1)


@pytest.mark.parametrize(
    "dynamics",
    [
        {"kind": "tokens", "depth": 1, "width": 24, "heads": 2, "history": 3},
        {"kind": "concat", "depth": 1, "width": 24, "heads": 2, "history": 2},
    ],
    ids=["tokens", "concat"],
)
def test_a_frozen_encoder_gets_dynamics(world_config, trained, dynamics):
    """Our pretrained encoder of two steps, its patch tokens, with proprioception."""
    config = world_config(
        frames={"kind": "frozen", "source": str(trained)},
        dynamics=dynamics,
        objective={"kind": "ac", "rollout_steps": 2},
        data={"proprio": True},
        value={"steps": 2, "batch_size": 16, "width": 8, "dim": 4, "pool": False},
        optim={"steps": 2},
    )
    assert train_world_model(config).status == "done"
    model = load_world_model(config.run_dir, device="cpu")
    assert model.proprio_size == 2 and model.frames.tokens == 4
    assert model.value.mean.shape == (4 * model.frames.dim,)
    assert not any(
        name.startswith("world_model.frames.encoder") for name in stored(Path(config.run_dir))["objective"]
    )


@pytest.fixture
def frozen_config(world_config, trained):
    """A world model on principal components of our pretrained encoder of two steps."""

    def build(**changes):
        values = {
            "frames": {"kind": "frozen", "source": str(trained), "components": 6, "normalise": False},
            "objective": {"kind": "ac", "loss": "l2", "rollout_steps": 2},
        }
        return world_config(**(values | changes))

    return build


@pytest.mark.parametrize("frames", [{}, {"components": None}], ids=["components", "patches"])
def test_losses_are_the_same_whether_or_not_latents_are_held(frozen_config, tmp_path, frames, capsys):
    found = {}
    for cache_mb in (0, 100):
        plain = frozen_config()
        changes = {"run_dir": str(tmp_path / str(cache_mb)), "data": {"cache_mb": cache_mb}}
        if frames:
            changes["frames"] = plain.frames.model_dump() | frames
            changes["dynamics"] = {"kind": "concat", "depth": 1, "width": 24, "heads": 2, "history": 2}
        assert train_world_model(frozen_config(**changes)).status == "done"
        lines = read_metrics(tmp_path / str(cache_mb) / "metrics.jsonl")
        found[cache_mb] = [line["loss"] for line in lines], stored(tmp_path / str(cache_mb))["value"]
        assert ("frames once" in capsys.readouterr().err) == (cache_mb > 0)
    assert found[100][0] == pytest.approx(found[0][0], rel=1e-5)
    for name, weights in found[0][1].items():
        torch.testing.assert_close(found[100][1][name], weights, atol=1e-4, rtol=1e-3)


def test_a_frozen_encoder_sees_each_training_frame_once(frozen_config, monkeypatch):
    """All steps and the distance in time take what was encoded before."""
    frames, calls = [], []
    plain = FrozenFrameEncoder.forward
    monkeypatch.setattr(
        FrozenFrameEncoder,
        "forward",
        lambda self, x: frames.append(x.shape[0] * x.shape[1]) or plain(self, x),
    )
    monkeypatch.setattr(program, "finish_world_model", lambda *a: calls.append(sum(frames)) or {})
    config = frozen_config()
    train_world_model(config)
    episodes = open_episodes(config.data.sources, test_fraction=config.data.test_fraction)
    assert calls == [sum(len(episode.frames) for episode in episodes.train)]
    train_world_model(config)
    assert calls[1] == calls[0]  # a finished run encodes nothing


def test_a_resumed_run_on_held_latents_equals_an_unbroken_one(frozen_config, tmp_path, monkeypatch):
    whole, broken = (frozen_config(run_dir=str(tmp_path / name)) for name in ("whole", "broken"))
    assert train_world_model(whole).status == "done"

    def step(state, batch):
        assert batch.is_encoded
        signals = train_step(state, batch)
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return signals

    with monkeypatch.context() as patch:
        patch.setattr(program, "train_step", step)
        assert train_world_model(broken).status == "interrupted"
    monkeypatch.setattr(program, "fit_components", lambda *a, **k: pytest.fail("fitted again"))
    assert train_world_model(broken).status == "done"
    one, two = stored(tmp_path / "whole"), stored(tmp_path / "broken")
    for part in ("objective", "value"):
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part]), part
    model = load_world_model(broken.run_dir, device="cpu")
    assert model.frames.components.is_fitted and (model.frames.tokens, model.frames.dim) == (1, 6)
