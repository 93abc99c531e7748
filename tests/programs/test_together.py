"""Several processes train what one would have trained: losses, weights, checkpoints; and stop as one."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from jepa.programs import pretrain as program
from jepa.programs.engine import check_shares, spread_out
from jepa.programs.pretrain import pretrain
from jepa.programs.pretrain_step import pretrain_step
from jepa.programs.world_model import train_world_model
from jepa.runtime.checkpoint import find_checkpoint, list_checkpoints, load_checkpoint
from jepa.runtime.distributed import Ranks
from jepa.runtime.metrics import read_metrics
from tests.programs.together import free_port, run_together

Build = Callable[..., PretrainConfig]

KINDS = {
    "vjepa": {"kind": "vjepa", "momentum": 0.9},
    "lejepa": {"kind": "lejepa", "projections": 8},
}
WORLDS = {
    "lewm": {"kind": "lewm", "projections": 8, "inverse_weight": 1.0, "rollout_steps": 2},
    "pldm": {"kind": "pldm", "rollout_steps": 2},
}


def train(config: PretrainConfig | WorldModelConfig) -> None:
    verb = pretrain if isinstance(config, PretrainConfig) else train_world_model
    assert verb(config).status == "done"


def train_all(configs: list[PretrainConfig | WorldModelConfig], ports: list[int]) -> None:
    """What each process does: one run after the other, each with a meeting place of its own."""
    for config, port in zip(configs, ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        train(config)


def stop_one(config: PretrainConfig) -> None:
    """Train; after the third step a signal reaches the second process alone."""
    done = 0

    def step(state, batch):
        nonlocal done
        done += 1
        if done == 3 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return pretrain_step(state, batch)

    program.pretrain_step = step
    result = pretrain(config)
    assert (result.status, result.step) == ("interrupted", 3)


@pytest.fixture(scope="module")
def runs(videos, rooms, tmp_path_factory) -> dict[str, Path]:
    """The same training by one process and by two, in both ways, and with micro-batches."""
    from jepa.config.load import parse
    from tests.programs.conftest import run_values, world_values

    root = tmp_path_factory.mktemp("together")

    def build(name: str, kind: str, engine: str = "ddp", accumulate: int = 1) -> PretrainConfig:
        values = run_values(videos, root / name)
        values["objective"] = KINDS[kind]
        values["distributed"] = {"engine": engine}
        values["checkpoint"] = {
            "every_steps": 2,
            "keep_last": 1,
        }  # of shards, written while the next steps are made
        values["optim"] |= {"accumulate": accumulate, "clip_grad": 1.0}
        values["data"] |= {"clips_per_video": 2, "batch_size": 8}
        return parse(values, PretrainConfig)

    def build_world(name: str, kind: str) -> WorldModelConfig:
        return parse(world_values(rooms, root / name) | {"objective": WORLDS[kind]}, WorldModelConfig)

    for kind in KINDS:
        pretrain(build(f"{kind}-one", kind))
    for kind in WORLDS:
        train(build_world(f"{kind}-one", kind))
    pretrain(build("vjepa-accumulated", "vjepa", accumulate=4))
    shared = [build(f"{kind}-{engine}", kind, engine) for kind in KINDS for engine in ("ddp", "fsdp")]
    shared.append(build("vjepa-ddp-accumulated", "vjepa", accumulate=2))
    shared.append(build("vjepa-fsdp-accumulated", "vjepa", "fsdp", accumulate=2))
    shared += [build_world(f"{kind}-ddp", kind) for kind in WORLDS]
    run_together(train_all, shared, [free_port() for _ in shared])
    return {path.name: path for path in root.iterdir()}


def read_weights_of(run: Path) -> dict[str, torch.Tensor]:
    program = "pretrain" if run.name.partition("-")[0] in KINDS else "world-model"
    return load_checkpoint(find_checkpoint(run), program=program)["objective"]


def column(run: Path, name: str) -> torch.Tensor:
    return torch.tensor([line[name] for line in read_metrics(run / "metrics.jsonl")], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vjepa-one", "vjepa-ddp"),
        ("vjepa-one", "vjepa-fsdp"),
        ("vjepa-one", "vjepa-accumulated"),
        ("vjepa-one", "vjepa-ddp-accumulated"),
        ("vjepa-one", "vjepa-fsdp-accumulated"),
        ("lejepa-one", "lejepa-ddp"),
        ("lejepa-one", "lejepa-fsdp"),
        ("lewm-one", "lewm-ddp"),
        ("pldm-one", "pldm-ddp"),
    ],
)
def test_two_processes_train_what_one_does(runs, one, other):
    """Masks, crops, stochastic depth and SIGReg's statistics are those of the whole batch."""
    assert len(column(runs[one], "loss")) in (6, 8)
    for name in ("loss", "gradient_norm"):
        wanted = column(runs[one], name)
        torch.testing.assert_close(column(runs[other], name), wanted, atol=1e-6, rtol=2e-6)
    wanted, found = (read_weights_of(runs[name]) for name in (one, other))
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, atol=2e-4, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.slow
def test_one_process_writes_and_every_process_logs(runs):
    run = runs["vjepa-ddp"]
    assert (run / "summary.json").is_file() and (run / "report.html").is_file()
    assert len(read_metrics(run / "metrics-rank1.jsonl")) == 8
    assert [path.suffix for _, path in list_checkpoints(run)] == [".pt"]
    assert [path.suffix for _, path in list_checkpoints(runs["vjepa-fsdp"])] == [".shards"]


@pytest.mark.slow
def test_parts_of_two_processes_are_read_by_one(runs, run_config, tmp_path):
    """And a run goes on from them, alone: here for no step, so that the weights stay."""
    import jepa

    encoder = jepa.load_encoder(runs["vjepa-fsdp"], device="cpu")
    wanted = jepa.load_encoder(runs["vjepa-ddp"], device="cpu")
    clip = torch.randn(1, 3, 4, 16, 16)
    torch.testing.assert_close(encoder(clip), wanted(clip), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(run_config, tmp_path):
    config = run_config(run_dir=str(tmp_path / "run"))
    run_together(stop_one, config)
    assert list_checkpoints(tmp_path / "run")[-1][0] == 3
    assert pretrain(config).status == "done"  # one process goes on with what two began
    alone = run_config(run_dir=str(tmp_path / "alone"))
    pretrain(alone)
    torch.testing.assert_close(
        column(tmp_path / "run", "loss"), column(tmp_path / "alone", "loss"), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize(("size", "accumulate"), [(3, 1), (2, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(run_config, size, accumulate):
    config = run_config(optim={"accumulate": accumulate})
    with pytest.raises(
        ConfigError, match=rf"4 clips cannot be shared by {size} processes in {accumulate} micro-b"
    ):
        check_shares(config, Ranks(0, size))


def test_a_world_model_is_not_sharded(world_config):
    config = world_config(distributed={"engine": "fsdp"})
    with pytest.raises(ConfigError, match="`jepa world-model` takes ddp"):
        spread_out(torch.nn.Linear(1, 1), config, Ranks(0, 2))
