"""Break real training runs on purpose, let the same command go on, and compare with a run that nobody broke.

    python benchmarks/faults.py [--faults kill-main disk-full] [--times 30] [--seed 0] [--json FILE]

Each injection is a training of its own (`jepa pretrain` in processes of its own, a tiny network on
generated videos, a checkpoint every fifth step) into which a fault comes at a random moment. The same command is then
given until the run is done. It survived when weights, optimizer and losses are those of the unbroken run, bit for bit,
and when the fault did what it should: a refusal says why, nothing damaged is trained on, no process is left over. Work
lost is how many steps were made twice.
"""

import argparse
import json
import os
import random
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml

from jepa.data.synthetic import write_videos
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint
from jepa.runtime.metrics import last_step, read_metrics

PATIENCE_S = 120.0  # for whatever a process should do by itself
EVERY = 5  # steps between two checkpoints
RUN = "from jepa.cli import main\nmain()\n"

POISON = """
from jepa.programs import pretrain as program
unharmed = program.pretrain_step
def poisoned(state, batch):
    if state.step == {step}:
        batch.clip[0, 0, 0, 0, 0] = float("nan")
    return unharmed(state, batch)
program.pretrain_step = poisoned
"""
JUMPING_CLOCK = """
import random, time
right, right_ns, draw = time.time, time.time_ns, random.Random({seed})
jumps = [-86400, 0, 86400]
time.time = lambda: right() + draw.choice(jumps)
time.time_ns = lambda: right_ns() + draw.choice(jumps) * 10**9
"""


class MissedError(Exception):
    """The run was over, or past the moment, before the fault could come: it has to be tried again."""


class Running(Protocol):
    """A started command."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


Start = Callable[[list[str], Path, str, int], Running]
"""Starts `jepa` with arguments, a file for its stderr, Python to run before it, and the number of processes."""


def start_command(arguments: list[str], log: Path, before: str, processes: int) -> Running:
    """Start `jepa` as a user does, with torchrun where several processes train together."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        command += [f"--master-port={free_port()}", "-m", "jepa"]
    else:
        command += ["-c", before + RUN] if before else ["-m", "jepa"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(command + arguments, stdout=subprocess.DEVNULL, stderr=file, env=environment)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@dataclass
class Bench:
    """Where trainings are broken: videos, a configuration, and what unbroken runs of it gave."""

    folder: Path
    steps: int = 120
    start: Start = start_command
    unbroken: dict[tuple[int, str], "Training"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.videos = self.folder / "videos"
        write_videos(self.videos, count=24, seed=0, frames=16, size=32, fps=8)

    def training(
        self, name: str, *, processes: int = 1, engine: str = "ddp", root: Path | None = None
    ) -> "Training":
        """Return a training that has not begun. ``root`` is where its run directory goes."""
        run = (root or self.folder) / name
        config = self.folder / f"{name}.yaml"
        values = {
            "run_dir": str(run),
            "device": "cpu",
            "threads": 1,
            "data": {
                "sources": [{"kind": "csv", "path": str(self.videos / "motion.csv")}],
                **{"frames_per_clip": 4, "stride": 1, "resolution": 16, "batch_size": 4},
                "workers": 2 if processes == 1 else 1,
            },
            "model": {"size": "nano", "patch": 8, "drop_path": 0.2},
            "predictor": {"width": 24, "depth": 1, "heads": 2},
            "masks": {"video": [{"kind": "random", "ratio": 0.5}]},
            "objective": {"kind": "vjepa", "momentum": 0.9},
            "optim": {"steps": self.steps, "learning_rate": 1e-3, "warmup_steps": 2},
            "log": {"every_steps": 1, "tensorboard": False},
            "checkpoint": {"every_steps": EVERY, "keep_last": 3},
            "distributed": {"engine": engine},
        }
        config.write_text(yaml.safe_dump(values))
        return Training(self, config, run, processes, engine)

    def reference(self, processes: int, engine: str) -> "Training":
        """Return the training that nobody broke."""
        key = (processes, engine)
        if key not in self.unbroken:
            training = self.training(f"unbroken-{processes}-{engine}", processes=processes, engine=engine)
            training.begin()
            code = training.end()
            if code != 0 or not training.done:
                raise RuntimeError(f"the unbroken run ended with code {code}:\n{training.said()}")
            self.unbroken[key] = training
        return self.unbroken[key]


@dataclass
class Training:
    """A command, given as often as needed, and the run that comes of it."""

    bench: Bench
    config: Path
    run: Path
    processes: int
    engine: str
    before: str = ""
    """Python that runs in the process before `jepa` does."""

    def __post_init__(self) -> None:
        self.log = self.config.with_suffix(".log")
        self._read_from = self._reached = 0
        self.process: Running | None = None
        self.lost = 0  # steps that were made twice

    def begin(self) -> Running:
        """Give the command."""
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        self._reached = self.step
        self.process = self.bench.start(["pretrain", str(self.config)], self.log, self.before, self.processes)
        return self.process

    def said(self) -> str:
        """Return what the last command wrote to stderr."""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._read_from)
            return file.read()

    @property
    def step(self) -> int:
        """Steps made so far, of which there is a line."""
        return last_step(self.run / "metrics.jsonl") or 0

    @property
    def done(self) -> bool:
        """Whether all of the run is there."""
        return (self.run / "summary.json").exists()

    def until(self, condition: Callable[[], Any], *, pause: float = 0.004) -> Any:
        """Return when ``condition`` is true. Raises MissedError where the command ends before."""
        assert self.process is not None
        end = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            if self.process.poll() is not None:
                raise MissedError
            if time.monotonic() > end:
                raise TimeoutError(f"{self.config.stem}: waited {PATIENCE_S:g} s at step {self.step}")
            if pause:
                time.sleep(pause)
        return value

    def random_moment(self, draw: random.Random, *, early: bool = True, spare: int = 0) -> None:
        """Return at a random moment between two steps or in one; seldom before the first, or after the last.

        Not ``early`` is after the second checkpoint; ``spare`` steps are left.
        """
        place = draw.random()
        if early and place < 0.1:
            time.sleep(draw.uniform(0, 2))
        elif early and place > 0.95:
            self.until(lambda: self.step == self.bench.steps)
        else:
            last = self.bench.steps - 1 - spare
            wanted = draw.randint(1 if early else min(2 * EVERY + 1, last), last)
            self.until(lambda: self.step >= wanted)
            time.sleep(draw.uniform(0, 0.02))
        assert self.process is not None
        if self.process.poll() is not None:
            raise MissedError

    def end(self) -> int:
        """Wait for the command to end, and count what it had to repeat; return its exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        if code >= 0:  # else it may have been killed before it looked for a checkpoint
            found = re.search(r"continuing .*? at step (\d+)", " ".join(self.said().split()))
            self.lost += self._reached - (int(found[1]) if found else 0)
        return code

    def kill(self, process: int | None = None) -> None:
        """Send SIGKILL to the command, or to one of its processes."""
        assert self.process is not None
        os.kill(self.process.pid if process is None else process, signal.SIGKILL)

    def differences(self, other: "Training") -> list[str]:
        """Return in what two finished runs differ: weights, the optimizer's tensors, losses."""
        one, two = (load_checkpoint(list_checkpoints(each.run)[-1][1]) for each in (self, other))
        found = [] if one["step"] == two["step"] else [f"step {one['step']} and {two['step']}"]
        mine, theirs = dict(tensors(one, "")), dict(tensors(two, ""))
        found += sorted(set(mine) ^ set(theirs))
        found += [name for name in mine if name in theirs and not torch.equal(mine[name], theirs[name])]
        losses = [
            [(row["step"], row["loss"]) for row in read_metrics(each.run / "metrics.jsonl")]
            for each in (self, other)
        ]
        return found + ([] if losses[0] == losses[1] else ["losses"])


def tensors(tree: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of a checkpoint with its place."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield from tensors(value, f"{path}/{name}")


def children(process: int) -> list[int]:
    """Return the processes that ``process`` has started, and that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == process and state != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def alive(process: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over(processes: list[int], *, seconds: float = 20.0) -> list[int]:
    """Return which of ``processes`` do not end by themselves, and end them."""
    end = time.monotonic() + seconds
    while (left := [each for each in processes if alive(each)]) and time.monotonic() < end:
        time.sleep(0.02)
    for each in left:
        os.kill(each, signal.SIGKILL)
    return left


def expect(condition: object, otherwise: str) -> None:
    """Raise AssertionError, which counts as not survived, unless ``condition`` holds."""
    if not condition:
        raise AssertionError(otherwise)


# Each fault comes into a training that has begun, and returns when the command has ended or goes on by itself.


def kill_main(run: Training, draw: random.Random) -> None:
    """Kill the training process; its decoding processes have to end by themselves."""
    run.random_moment(draw)
    assert run.process is not None
    workers = children(run.process.pid)
    run.kill()
    expect(run.end() == -signal.SIGKILL, "it was not killed")
    expect(not left_over(workers), "decoding processes outlived the run")


def kill_during_write(run: Training, draw: random.Random) -> None:
    """Kill the training process while a checkpoint is being written."""
    run.random_moment(draw, early=False, spare=2 * EVERY)
    checkpoints = run.run / "checkpoints"
    run.until(lambda: any(name.endswith(".part") for name in os.listdir(checkpoints)), pause=0)
    time.sleep(draw.uniform(0, 0.004))
    run.kill()
    run.end()
    if not any(path.suffix == ".part" for path in checkpoints.iterdir()):
        raise MissedError


def kill_rank(run: Training, draw: random.Random) -> None:
    """Kill one process of those that train together; the others have to end with a failure."""
    assert run.process is not None
    run.random_moment(draw)
    ranks = run.until(lambda: children(run.process.pid) if run.process else None)
    below = [worker for rank in ranks for worker in children(rank)]
    run.kill(draw.choice(ranks))
    expect(run.end() != 0, "a job that lost a process says that it succeeded")
    expect(not left_over([*ranks, *below]), "processes outlived the job")


def kill_launcher(run: Training, draw: random.Random) -> None:
    """Kill torchrun, which cannot tell its processes: what they hold has to be free for the next command."""
    assert run.process is not None
    run.random_moment(draw, early=False, spare=2 * EVERY)
    ranks = children(run.process.pid)
    below = [worker for rank in ranks for worker in children(rank)]
    run.kill()
    run.end()
    expect(not left_over([*ranks, *below], seconds=PATIENCE_S), "processes outlived the job")


def kill_worker(run: Training, draw: random.Random) -> None:
    """Kill a decoding process; the run goes on by itself."""
    assert run.process is not None
    run.random_moment(draw, early=False, spare=2 * EVERY)
    run.kill(draw.choice(run.until(lambda: children(run.process.pid) if run.process else None)))
    expect(run.end() == 0, "the run did not go on")
    if read_metrics(run.run / "metrics.jsonl")[-1]["workers_replaced"] < 1:
        raise MissedError  # its work was done


def signalled(number: signal.Signals) -> Callable[[Training, random.Random], None]:
    """Return what sends a signal, which ends the run with a checkpoint."""

    def send(run: Training, draw: random.Random) -> None:
        run.random_moment(draw, early=False, spare=EVERY)
        assert run.process is not None
        os.kill(run.process.pid, number)
        expect(run.end() == 0, f"exit code {run.process.poll()}")
        expect(f"{number.name}: checkpoint of step" in run.said(), "it does not say what ended it")

    return send


def disk_full(run: Training, draw: random.Random) -> None:
    """Fill the disk, to the last byte or all but one megabyte, and make room when the run has failed."""
    run.random_moment(draw, early=False, spare=2 * EVERY)
    whole = [path.name for _, path in list_checkpoints(run.run)]
    if os.path.ismount(run.run.parent):
        filler = run.run.parent / "filler"
        with filler.open("wb", buffering=0) as file:
            fill(file, leave=draw.choice([0, 1 << 20]))
            code = run.end()
        filler.unlink()
    else:
        assert run.process is not None
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        code = run.end()
    expect(code == 1, f"exit code {code}")
    expect("Make room, then run the same command to go on" in run.said(), "it does not say what to do")
    expect("Traceback" not in run.said(), "it shows a traceback")
    left = [path.name for _, path in list_checkpoints(run.run)]
    expect(set(left[-1:]) and left[-1] >= whole[-1], "earlier checkpoints are lost")


def fill(file: Any, *, leave: int) -> None:
    """Write until nothing fits any more, then give ``leave`` bytes back."""
    for size in (1 << 20, 1 << 12):
        try:
            while file.write(bytes(size)) == size:
                pass
        except OSError:
            continue
    file.truncate(max(0, file.tell() - leave))


def damaged(harm: Callable[[Path], None]) -> Callable[[Training, random.Random], None]:
    """Return what kills the run, and harms its newest checkpoint."""

    def kill_and_harm(run: Training, draw: random.Random) -> None:
        run.random_moment(draw, early=False)
        run.kill()
        run.end()
        harm(list_checkpoints(run.run)[-1][1])
        run.begin()
        expect(run.end() == 0, "it does not go on")
        said = "is wrong; an earlier checkpoint is used instead"
        expect(said in " ".join(run.said().split()), "it says nothing of the damage")

    return kill_and_harm


def truncate(path: Path) -> None:
    """Take the end of a file away."""
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def data_gone(run: Training, draw: random.Random) -> None:
    """Take the folder of videos away for a second; the run waits."""
    run.random_moment(draw, early=False, spare=4 * EVERY)
    videos, away = run.bench.videos, run.bench.videos.with_name("away")
    videos.rename(away)
    try:
        time.sleep(1)
    finally:
        away.rename(videos)
    expect(run.end() == 0, "the run did not go on")
    if read_metrics(run.run / "metrics.jsonl")[-1]["source_waits"] < 1:
        raise MissedError  # all that was left to train on had been decoded


def not_a_number(run: Training, draw: random.Random) -> None:
    """Put a NaN into a batch: the run stops, and no weight moves; the command before has to be stopped first."""
    run.kill()
    run.end()
    step = draw.randint(EVERY, run.bench.steps - 1)
    run.before = POISON.format(step=step)
    run.begin()
    code = run.end()
    run.before = ""
    expect(code == 1, f"exit code {code}")
    expect(f"step {step}: loss nan" in " ".join(run.said().split()), "it does not say what is not finite")
    newest = load_checkpoint(list_checkpoints(run.run)[-1][1])
    expect(newest["step"] <= step, "a checkpoint was written after the step")
    expect(all(t.isfinite().all() for _, t in tensors(newest, "")), "weights are not finite")


def clock_jumps(run: Training, draw: random.Random) -> None:
    """Let the wall clock jump by days, back and forth, from the beginning to the end; stop once on the way."""
    run.kill()
    run.end()
    run.before = JUMPING_CLOCK.format(seed=draw.randrange(1000))
    run.begin()
    run.random_moment(draw, early=False, spare=EVERY)
    run.kill()
    run.end()


def two_runs(run: Training, draw: random.Random) -> None:
    """Give the same command twice at once; the second one is refused, and harms nothing."""
    run.until(lambda: run.step > 0)
    time.sleep(draw.uniform(0, 0.1))
    first, log = run.process, run.log.with_suffix(".second.log")
    second = run.bench.start(["pretrain", str(run.config)], log, "", 1)
    code, words = second.wait(PATIENCE_S), " ".join(log.read_text().split())
    assert first is not None
    if first.poll() is not None:
        raise MissedError
    expect(code == 1, f"the second one ended with code {code}")
    expect(f"is in use by process {first.pid} " in words, f"the second one says {words!r}")
    expect(run.end() == 0, "the first one was harmed")


@dataclass(frozen=True)
class Fault:
    """A fault, and into what it comes."""

    inject: Callable[[Training, random.Random], None]
    processes: int = 1
    engine: str = "ddp"
    on_small_disk: bool = False


FAULTS = {
    "kill-main": Fault(kill_main),
    "kill-during-write": Fault(kill_during_write),
    "kill-worker": Fault(kill_worker),
    "kill-rank-ddp": Fault(kill_rank, 2),
    "kill-rank-fsdp": Fault(kill_rank, 2, "fsdp"),
    "kill-launcher": Fault(kill_launcher, 2),
    "sigterm": Fault(signalled(signal.SIGTERM)),
    "sigusr1": Fault(signalled(signal.SIGUSR1)),
    "disk-full": Fault(disk_full, on_small_disk=True),
    "file-limit": Fault(disk_full),
    "truncated": Fault(damaged(truncate)),
    "bit-flip": Fault(damaged(flip)),
    "data-gone": Fault(data_gone),
    "nan": Fault(not_a_number),
    "clock-jumps": Fault(clock_jumps),
    "two-runs": Fault(two_runs),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one injection."""

    fault: str
    lost: int
    """Steps that were made twice."""
    problem: str = ""
    """Why it did not survive."""


def inject(bench: Bench, name: str, draw: random.Random) -> Outcome:
    """Break a training, let it go on, and compare it with the unbroken one."""
    fault = FAULTS[name]
    wanted = bench.reference(fault.processes, fault.engine)
    for _ in range(50):
        run_name = f"{name}-{draw.randrange(10**9)}"
        with small_disk(bench.folder / "disk", fault.on_small_disk) as root:
            run = bench.training(run_name, processes=fault.processes, engine=fault.engine, root=root)
            run.begin()
            try:
                fault.inject(run, draw)
                problem = finish(run, wanted)
                return Outcome(name, run.lost, problem)
            except MissedError:
                continue
            except (AssertionError, subprocess.TimeoutExpired, TimeoutError) as error:
                return Outcome(name, run.lost, f"{error}; {run.config.stem} said: {run.said()[-2000:]}")
            finally:
                if run.process is not None and run.process.poll() is None:
                    run.process.kill()
                    run.process.wait()
    raise RuntimeError(f"{name}: could not be injected in 50 tries")


def finish(run: Training, wanted: Training) -> str:
    """Give the same command until the run is done; say what is wrong with its end, if anything is."""
    for _ in range(3):
        if not run.done:
            run.begin()
            if (code := run.end()) != 0:
                return f"the same command ended with code {code}: {run.said()[-2000:]}"
    if not run.done:
        return "the run does not end"
    if left := [path.name for path in run.run.rglob("*.part")]:
        return f"left over: {', '.join(left)}"
    found = run.differences(wanted)
    return f"differs from the unbroken run: {', '.join(found[:4])}" if found else ""


@contextmanager
def small_disk(at: Path, wanted: bool) -> Iterator[Path | None]:
    """Mount 24 MB of memory as a disk, where this is allowed; else a limit on files stands in for it."""
    if not wanted or os.geteuid() != 0:
        yield None
        return
    at.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(at)], check=False)
    try:
        yield at if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(at)], check=True)


def table(outcomes: list[Outcome]) -> str:
    """Return one line for each fault."""
    lines = [
        "| fault | injected | survived | lost steps, median | lost steps, most |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(outcome.fault for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.fault == name]
        lost = [outcome.lost for outcome in mine]
        good = sum(not outcome.problem for outcome in mine)
        lines.append(f"| {name} | {len(mine)} | {good} | {statistics.median(lost):g} | {max(lost)} |")
    return "\n".join(lines)


def main() -> None:
    """Inject what is asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write every outcome to this file")
    words = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), steps=words.steps)
        for name in words.faults:
            draw = random.Random(f"{words.seed} {name}")
            for number in range(words.times):
                begin = time.monotonic()
                outcome = inject(bench, name, draw)
                outcomes.append(outcome)
                verdict = f"FAILED: {outcome.problem}" if outcome.problem else f"{outcome.lost} steps lost"
                seconds = time.monotonic() - begin
                print(
                    f"{name} {number + 1}/{words.times}: {verdict} ({seconds:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
                if words.json:
                    words.json.write_text(json.dumps([vars(each) for each in outcomes], indent=1))
    print(table(outcomes))
    sys.exit(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    main()
