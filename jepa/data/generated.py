"""Generated videos on disk: written when first asked for, whole or not at all, then reused."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from jepa.config.data import PhysicsSource, SyntheticSource
from jepa.data.physics import LIST, write_physics
from jepa.data.synthetic import write_list, write_videos
from jepa.data.violations import PAIRS, write_violations
from jepa.errors import DataError

FPS = 8
MANIFEST = "manifest.json"
VERSION = 1  # raise it when the same settings give other videos


GeneratedSource = SyntheticSource | PhysicsSource
Settings = dict[str, int | str]


def ensure_generated(config: GeneratedSource) -> Path:
    """Return the list file of the videos that ``config`` describes, writing them first if need be.

    Several processes may ask at once. Raises DataError when the folder holds something else.
    """
    folder = Path(config.path)
    write = write_videos if isinstance(config, SyntheticSource) else write_physics
    how = {
        "count": config.videos,
        "seed": config.seed,
        "frames": config.frames,
        "size": config.size_px,
        "fps": FPS,
    }
    _ensure(folder, _settings(config), lambda part: write(part, **how))
    return _list(folder, config) if isinstance(config, SyntheticSource) else folder / LIST


def ensure_violations(folder: Path, *, pairs: int, seed: int) -> Path:
    """Return the folder of matched pairs, writing them first if need be; pairs of somebody else stay as they are.

    Raises DataError when the folder holds something else, or other pairs of ours.
    """
    settings: Settings = {"kind": "violations", "version": VERSION, "pairs": pairs, "seed": seed, "fps": FPS}
    if not (folder / PAIRS).exists() or (folder / MANIFEST).exists():
        _ensure(folder, settings, lambda part: write_violations(part, pairs=pairs, seed=seed, fps=FPS))
    return folder


def _settings(config: GeneratedSource) -> Settings:
    """What the videos depend on. The label does not matter: every list is written."""
    # Sets of the first kind were written before there were two, and say nothing about theirs.
    kind: Settings = {} if isinstance(config, SyntheticSource) else {"kind": config.kind}
    return kind | {
        "version": VERSION,
        "videos": config.videos,
        "frames": config.frames,
        "size_px": config.size_px,
        "seed": config.seed,
        "fps": FPS,
    }


def _ensure(folder: Path, settings: Settings, write: Callable[[Path], object]) -> None:
    """Fill ``folder`` by ``write`` unless it holds the set with ``settings`` already."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        _write(folder, settings, write)
    _check(folder, settings)


def _write(folder: Path, settings: Settings, write: Callable[[Path], object]) -> None:
    """Write beside ``folder``, then rename: an interrupted run leaves nothing that looks complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(part)
        (part / MANIFEST).write_text(json.dumps(settings, indent=1) + "\n")
        part.chmod(0o755)  # temporary folders are private
        part.rename(folder)
    except OSError as error:
        if not (folder / MANIFEST).exists():  # else another process was faster, and its set is checked next
            raise DataError(f"{folder}: the synthetic videos cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _list(folder: Path, config: SyntheticSource) -> Path:
    """Return the list of the label; a set that was written before the label existed gets it now."""
    listed = folder / f"{config.label}.csv"
    if not listed.exists():
        settings = {
            "count": config.videos,
            "seed": config.seed,
            "frames": config.frames,
            "size": config.size_px,
        }
        try:
            write_list(folder, config.label, **settings)
        except OSError as error:
            raise DataError(f"{listed}: this list is missing and cannot be written: {error}") from error
    return listed


def _check(folder: Path, wanted: Settings) -> None:
    """Raise DataError unless ``folder`` holds the set with the settings ``wanted``."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: this exists, but holds no set of synthetic videos ({MANIFEST} is missing or "
            "damaged) — choose another path, or remove it"
        ) from error
    if found != wanted:
        names = sorted(key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key])
        differences = ", ".join(
            f"{key} {found.get(key) if isinstance(found, dict) else None}" for key in names
        )
        raise DataError(
            f"{folder}: this holds another set of synthetic videos ({differences}; wanted "
            f"{', '.join(f'{key} {wanted[key]}' for key in names)}) — choose another path, or remove "
            "the folder"
        )
