"""`jepa data collect`: record episodes of an environment, in parallel, going on where an earlier call stopped."""

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import jepa
from jepa.config.envs import CollectConfig
from jepa.data.trajectories.store import StoreManifest, missing_episodes, write_manifest
from jepa.programs.recording import Recorder
from jepa.programs.recording_processes import record_in_processes, write_recorded
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.terminal import Progress

PACKAGES = (
    *("numpy", "gymnasium", "pymunk", "mujoco", "dm-control", "gymnasium-robotics", "metaworld"),
    *("pygame", "box2d", "ale-py", "minigrid"),
)
ALONE_S = 5.0  # less than this is done before processes have started
SHOW_S = 1.0  # between two lines of progress


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What a call recorded."""

    status: Literal["done", "interrupted"]
    path: Path
    episodes: int
    """In the folder now, of those asked for."""
    recorded: int
    """By this call."""
    steps: int
    """By this call."""
    seconds: float

    def to_dict(self) -> dict[str, str | int | float]:
        """Return plain values."""
        return {
            "status": self.status,
            "path": str(self.path),
            "episodes": self.episodes,
            "recorded": self.recorded,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
        }


def collect(config: CollectConfig) -> CollectResult:
    """Record ``config.episodes`` episodes into ``config.path``; those that are there already stay.

    Episode k depends on the config and k alone, so a folder finished later equals one written at once. A first
    SIGTERM or Ctrl-C ends the recording; every episode in the folder is whole.

    Raises DataError when the folder holds another recording, RunError where a package or an expert is missing and
    where a process dies.
    """
    folder, began = Path(config.path), time.monotonic()
    with closing(Recorder(config)) as recorder:  # before anything is written: what is missing is said here
        write_manifest(folder, _manifest(config, recorder))
        missing = missing_episodes(folder, config.episodes)
        groups = _groups(missing, recorder.lanes)
        with Interrupts() as interrupts:
            reports = _reports(config, recorder, groups, interrupts)
            lengths = [length for _, length in _shown(reports, config.episodes, left=len(missing))]
    left = len(missing_episodes(folder, config.episodes))
    return CollectResult(
        status="interrupted" if left else "done",
        path=folder,
        episodes=config.episodes - left,
        recorded=len(lengths),
        steps=sum(lengths),
        seconds=time.monotonic() - began,
    )


def _shown(reports: Iterator[tuple[int, int]], episodes: int, *, left: int) -> Iterator[tuple[int, int]]:
    """Pass reports on, and show how far the recording is."""
    shown = time.monotonic()
    with Progress(episodes, start=episodes - left, unit="episode") as progress:
        for done, report in enumerate(reports, episodes - left + 1):
            yield report
            if time.monotonic() - shown >= SHOW_S or done == episodes:
                shown = time.monotonic()
                progress.update(done, {})


def _manifest(config: CollectConfig, recorder: Recorder) -> StoreManifest:
    """Say what is recorded, and with what."""
    rendering = dict(recorder.env.metadata.get("rendering", {}))
    if "mujoco" in sys.modules:
        rendering["MUJOCO_GL"] = os.environ.get("MUJOCO_GL", "")
    return StoreManifest(
        env=config.env.model_dump(mode="json"),
        policy=config.policy,
        seed=config.seed,
        steps=config.steps,
        rendering=rendering,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    """Return the versions of what decides how an episode goes and looks."""
    found = {"jepa": jepa.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _groups(numbers: Sequence[int], lanes: int) -> list[list[int]]:
    """Put together the episodes that are recorded side by side."""
    return [list(group) for _, group in groupby(numbers, key=lambda number: number // lanes)]


def _reports(
    config: CollectConfig, recorder: Recorder, groups: Sequence[Sequence[int]], interrupts: Interrupts
) -> Iterator[tuple[int, int]]:
    """Record in this process, and what is left after a few seconds in processes of their own."""
    began = time.monotonic()
    for place, numbers in enumerate(groups):
        if interrupts.requested:
            return
        if config.workers and time.monotonic() - began >= ALONE_S:
            yield from record_in_processes(config, groups[place:], interrupts)
            return
        yield from write_recorded(recorder, Path(config.path), numbers)
