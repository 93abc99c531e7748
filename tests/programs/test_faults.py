"""Faults come into real runs at random moments; the same command goes on to the weights of the unbroken run."""

import random
import shutil

import pytest
import torch

from benchmarks.faults import EVERY, FAULTS, Bench, finish, inject, start_command
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint
from tests.programs.warm import start_warm

# Steps made twice at most: those since a checkpoint, and where that one is damaged, since the one before.
MOST = {name: EVERY for name in FAULTS} | {
    **{"truncated": 2 * EVERY, "bit-flip": 2 * EVERY},
    "kill-rank-fsdp": 2 * EVERY,  # it is written while training goes on
    **{"sigterm": 0, "sigusr1": 0, "kill-worker": 0, "data-gone": 0, "two-runs": 0},
}
QUICK = ["kill-main", "kill-during-write", "kill-worker", "file-limit", "bit-flip", "nan", "two-runs"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """Short trainings, in processes that start at once."""
    return Bench(tmp_path_factory.mktemp("faults"), steps=30, start=start_warm)


@pytest.fixture(scope="module")
def real_bench(tmp_path_factory) -> Bench:
    """Short trainings that start as users start them."""
    return Bench(tmp_path_factory.mktemp("commands"), steps=30, start=start_command)


def check(bench: Bench, fault: str, seed: int) -> None:
    outcome = inject(bench, fault, random.Random(f"{fault} {seed}"))
    assert not outcome.problem, outcome.problem
    assert 0 <= outcome.lost <= MOST[fault]


@pytest.mark.slow
@pytest.mark.parametrize("fault", QUICK)
def test_a_fault_costs_a_few_steps_and_changes_nothing(bench, fault):
    check(bench, fault, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.processes == 1])
def test_faults_of_one_process(bench, fault, seed):
    check(bench, fault, seed)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.processes > 1])
def test_faults_of_processes_that_train_together(real_bench, fault):
    check(real_bench, fault, 0)


@pytest.mark.slow
def test_what_killed_runs_left_behind_is_deleted(bench):
    """Also of steps that are not written again, as with checkpoints at other steps."""
    unbroken = bench.reference(1, "ddp")
    run = bench.training("stale")
    shutil.copytree(unbroken.run, run.run)
    (run.run / "summary.json").unlink()
    (run.run / "checkpoints" / "step-000000007.part").write_text("half")
    (run.run / "checkpoints" / "step-000000007.pt.blake2b").write_text("half")
    with (run.run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 31, "lo')
    assert finish(run, unbroken) == ""
    assert not list((run.run / "checkpoints").glob("step-000000007*"))


@pytest.mark.slow
def test_any_difference_from_the_unbroken_run_would_be_seen(bench):
    """The comparison that the tests above rest on."""
    unbroken = bench.reference(1, "ddp")
    other = bench.training("other")
    shutil.copytree(unbroken.run, other.run)
    assert not other.differences(unbroken)
    path = list_checkpoints(other.run)[-1][1]
    saved = load_checkpoint(path)
    next(iter(saved["objective"].values())).view(-1)[0] += 1e-6
    next(iter(saved["optimizer"]["state"].values()))["step"] += 1
    torch.save(saved, path)
    lines = (other.run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (other.run / "metrics.jsonl").write_text("".join(lines[1:]))
    found = other.differences(unbroken)
    assert len(found) == 3 and found[-1] == "losses"
