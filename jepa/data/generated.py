"""Generated videos on disk: written when first asked for, whole or not at all, then reused."""

import json
import shutil
import tempfile
from pathlib import Path

from jepa.config.data import SyntheticSource
from jepa.data.synthetic import write_videos
from jepa.errors import DataError

FPS = 8
MANIFEST = "manifest.json"
VERSION = 1  # raise it when the same settings give other videos


def ensure_generated(config: SyntheticSource) -> Path:
    """Return the list file of the videos that ``config`` describes, writing them first if need be.

    Several processes may ask at once. Raises DataError when the folder holds something else.
    """
    folder = Path(config.path)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        _write(folder, config)
    _check(folder, config)
    return folder / f"{config.label}.csv"


def _settings(config: SyntheticSource) -> dict[str, int]:
    """What the videos depend on. The label does not matter: both lists are written."""
    return {
        "version": VERSION,
        "videos": config.videos,
        "frames": config.frames,
        "size_px": config.size_px,
        "seed": config.seed,
        "fps": FPS,
    }


def _write(folder: Path, config: SyntheticSource) -> None:
    """Write beside ``folder``, then rename: an interrupted run leaves nothing that looks complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_videos(
            part, count=config.videos, seed=config.seed, frames=config.frames, size=config.size_px, fps=FPS
        )
        (part / MANIFEST).write_text(json.dumps(_settings(config), indent=1) + "\n")
        part.chmod(0o755)  # temporary folders are private
        part.rename(folder)
    except OSError as error:
        if not (folder / MANIFEST).exists():  # else another process was faster, and its set is checked next
            raise DataError(f"{folder}: the synthetic videos cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check(folder: Path, config: SyntheticSource) -> None:
    """Raise DataError unless ``folder`` holds the set that ``config`` describes."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: this exists, but holds no set of synthetic videos ({MANIFEST} is missing or "
            "damaged) — choose another path, or remove it"
        ) from error
    wanted = _settings(config)
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
