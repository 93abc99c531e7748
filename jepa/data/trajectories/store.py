"""Our own episodes on disk: one npz file each, whole or absent, whose frames are mapped rather than read.

manifest.json          what was recorded: environment, policy, seed, versions
episode-000000.npz     frames, actions, and optional proprio, rewards, states; rate and other single values
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.config.trajectories import StoreSource
from jepa.data.trajectories.npz import Member, members
from jepa.data.trajectories.opened import Opened, episode_files
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.runtime.run_dir import write_text
from jepa.types import BadFile, Trajectory

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class MappedFrames:
    """Frames in an npz file, (T + 1, H, W, 3) uint8. The file is open only while they are read."""

    member: Member

    def __len__(self) -> int:
        return self.member.shape[0]

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Return the frames at ``index``. Raises UnreadableError."""
        return np.asarray(self.member.read()[index], np.uint8)


@dataclass(frozen=True)
class StoreManifest:
    """What a folder of episodes holds."""

    env: dict[str, Any]
    """The environment's config, with its kind."""
    policy: str
    seed: int | None = None
    steps: int | None = None
    """Steps per episode, where a number was asked for."""
    rendering: dict[str, Any] = field(default_factory=dict)
    """Switches of the renderer that change pixels."""
    versions: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def write_manifest(folder: Path, manifest: StoreManifest) -> None:
    """Start a store, or go on with one that holds the same recording.

    Raises DataError when the folder holds another one, or other files.
    """
    if (folder / MANIFEST).exists():
        found, wanted = read_manifest(folder), json.loads(json.dumps(asdict(manifest)))
        differing = [key for key in ("env", "policy", "seed", "steps") if asdict(found)[key] != wanted[key]]
        if differing:
            key = differing[0]
            raise DataError(
                f"{folder} holds episodes of another recording ({key}: {asdict(found)[key]!r}, wanted "
                f"{wanted[key]!r}); choose another folder, or remove this one"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty and holds no episodes; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> StoreManifest:
    """Read what a store holds. Raises DataError for a folder that is none, and for one of a later format."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is no store of episodes ({path}: {error.strerror}); "
            "give a folder that `jepa data collect` wrote"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}); record the episodes again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {values.get('format') if isinstance(values, dict) else values!r} is not known; "
            f"this version reads format {FORMAT}"
        )
    known = StoreManifest.__dataclass_fields__
    return StoreManifest(**{key: value for key, value in values.items() if key in known})


def episode_path(folder: Path, number: int) -> Path:
    """Return where episode ``number`` lies."""
    return folder / f"episode-{number:06d}.npz"


def missing_episodes(folder: Path, count: int) -> list[int]:
    """Return which of the episodes 0 to ``count`` - 1 are not written yet."""
    present = set(os.listdir(folder)) if folder.is_dir() else set()
    return [number for number in range(count) if episode_path(folder, number).name not in present]


def write_episode(
    path: Path, trajectory: Trajectory, *, values: Mapping[str, float | bool | str] | None = None
) -> None:
    """Write one episode, whole or not at all; ``values`` are kept beside it.

    The same episode gives the same bytes. Raises DataError where its arrays do not fit each other.
    """
    frames = trajectory.frames[np.arange(len(trajectory.frames))]
    if len(frames) != len(trajectory) + 1:
        raise DataError(
            f"{trajectory.name}: {len(frames)} frames and {len(trajectory)} actions; "
            "an episode has one frame more than actions"
        )
    optional = {name: getattr(trajectory, name) for name in ("proprio", "rewards", "states")}
    arrays: dict[str, Any] = {"frames": frames, "actions": trajectory.actions}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    rate = np.nan if trajectory.rate is None else trajectory.rate
    single: dict[str, Any] = {"rate": rate, "name": trajectory.name} | dict(values or {})
    if clash := sorted(set(arrays) & set(single)):
        raise DataError(
            f"{trajectory.name}: value {clash[0]!r} has the name of an array; give it another name"
        )
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:  # given a path, numpy would append .npz to it
        np.savez(file, **(arrays | single))
    os.replace(part, path)


def open_store(config: StoreSource) -> Opened:
    """Open the episodes of a folder. Raises DataError for a folder that holds none."""
    folder = Path(config.path)
    read_manifest(folder)
    episodes, bad = [], []
    for path in episode_files(folder, "episode-*.npz", limit=config.episodes):
        try:
            episodes.append(open_episode(path))
        except UnreadableError as error:
            bad.append(BadFile(error.path, error.reason))
    return Opened(tuple(episodes), tuple(bad))


def open_episode(path: Path) -> Trajectory:
    """Open one episode; its frames are not read. Raises UnreadableError."""
    found = members(str(path))
    if lacking := [name for name in ("frames", "actions") if name not in found]:
        raise UnreadableError(str(path), f"holds no array {lacking[0]!r}, but {sorted(found)}")
    frames = found["frames"]
    if frames.dtype != np.uint8 or len(frames.shape) != 4 or frames.shape[3] != 3:
        raise UnreadableError(
            str(path), f"frames are {frames.dtype} {frames.shape}, not uint8 (T + 1, H, W, 3)"
        )
    arrays = {name: np.array(found[name].read()) for name in found if name not in ("frames", "name")}
    rate = float(arrays["rate"]) if "rate" in arrays else np.nan
    return Trajectory(
        name=path.stem,
        frames=MappedFrames(frames),
        actions=arrays["actions"].astype(np.float32, copy=False),
        rate=None if np.isnan(rate) else rate,
        proprio=arrays["proprio"].astype(np.float32, copy=False) if "proprio" in arrays else None,
        rewards=arrays["rewards"].astype(np.float32, copy=False) if "rewards" in arrays else None,
        states=arrays["states"].astype(np.float64, copy=False) if "states" in arrays else None,
    )
