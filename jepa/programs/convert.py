"""`jepa export` and `jepa convert`: weights of any format into any other, written whole or not at all, and compared."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jepa.errors import ConfigError, RunError
from jepa.models.formats import find_format, formats
from jepa.models.formats.base import Format
from jepa.models.formats.exported import Exported
from jepa.models.frozen import Frozen, Weights
from jepa.models.world_model import LatentWorldModel
from jepa.programs.model_card import notes_of
from jepa.programs.same_outputs import at_rest, compare
from jepa.runtime.extras import need


@dataclass(frozen=True)
class Converted:
    """What was written."""

    source: str
    format: str
    path: Path
    kind: str
    """encoder or world-model."""
    bytes: int
    """Size of everything that was written."""
    difference: float | None
    """Largest absolute difference of outputs on a random input; None for a program, which its writer has compared."""
    left_out: tuple[str, ...]
    """Parts of the source that the format does not hold."""
    url: str | None = None
    """Where it was pushed to."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        compared = (
            "a program, compared with the network when it was written"
            if self.difference is None
            else f"read again, outputs differ by at most {self.difference:.2g}"
        )
        without = f"; without the {' and the '.join(self.left_out)}" if self.left_out else ""
        pushed = f"\npushed to {self.url}" if self.url else ""
        return f"{self.kind} -> {self.path} ({self.format}, {self.bytes / 1e6:,.2f} MB{without}); {compared}{pushed}"


def convert(
    source: str,
    target: str,
    path: Path,
    *,
    weights: Weights = "target",
    licence: str | None = None,
    overwrite: bool = False,
    push: str | None = None,
) -> Converted:
    """Write the encoder or the world model in ``source`` to ``path`` in the format called ``target``.

    What was written is read again and compared on a random input before it takes its place. ``push`` names a
    repository of the Hugging Face Hub, which is made, private, where it does not exist. Raises ConfigError for a
    format that does not exist or is not written, CheckpointError for a source that cannot be read or expressed, and
    RunError where ``path`` is taken.
    """
    hub = None if push is None else need("huggingface_hub", extra="hub")  # before any work
    found, place = find_format(source)
    kind = "world-model" if found.holds_world_model(place) else "encoder"
    goal = _writing(target, kind)
    check_free(path, overwrite=overwrite)
    loaded: Frozen | LatentWorldModel
    if kind == "encoder":
        loaded = found.load(place, weights)
        at_rest(loaded.networks)
    else:
        model = found.load_world_model(place)
        assert isinstance(model, LatentWorldModel)
        loaded = model.requires_grad_(False).eval()
    with put(path, overwrite=overwrite) as part:
        if isinstance(loaded, Frozen):
            goal.save(loaded, part)
        else:
            goal.save_world_model(loaded, part)
        if isinstance(goal, Exported):
            goal.annotate(part, notes_of(place, licence=licence))
        difference, left_out = compare(loaded, goal, part)
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    url = None if hub is None or push is None else _push(hub, path, push)
    return Converted(source, goal.name, path, kind, size, difference, left_out, url)


def target_named(text: str) -> tuple[str, Path]:
    """Cut ``FORMAT:PATH``. Raises ConfigError where one of both is missing."""
    name, colon, path = text.partition(":")
    if not (name and colon and path):
        raise ConfigError(f"{text!r} is no FORMAT:PATH; write it like jepa:exported or hf:folder")
    return name, Path(path)


def _writing(name: str, kind: str) -> Format:
    """Return the format called ``name``, which must be able to hold ``kind``."""
    able = [each.name for each in formats().values() if kind in each.writes()]
    if name not in able:
        known = "is not written from" if name in formats() else "is no known format; there is none for"
        raise ConfigError(f"format {name!r} {known} this kind, {kind}; choose one of {', '.join(able)}")
    return formats()[name]


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise RunError where something lies at ``path`` and may not be replaced."""
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise RunError(f"{path} exists; give another path, or --overwrite to replace it")


def check_covered(old: Path, new: Path) -> None:
    """Raise RunError where the folder ``old`` holds anything that ``new`` does not, which would be lost."""
    inside = [{each.name for each in place.iterdir()} if place.is_dir() else set() for place in (old, new)]
    if lost := sorted(inside[0] - inside[1]):
        raise RunError(
            f"{old} holds other things than what is written ({', '.join(lost[:6])}), and is not replaced; remove it "
            "yourself, or give another path"
        )


@contextmanager
def put(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield where to write; what was written, beside it too, takes its place at ``path`` when the block ends well.

    It is written beside ``path``, in a folder that goes whatever happens. Raises RunError where that cannot be made.
    """
    path = Path(os.path.abspath(path))  # which has a name, also where `path` is . or ..
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise RunError(
            f"cannot write beside {path}: {error.strerror}; give a place you can write to"
        ) from error
    new, old = folder / "new", folder / "old"
    for each in (new, old):
        each.mkdir()
    try:
        yield new / path.name
        written = sorted(each.name for each in new.iterdir())
        for name in written:
            check_free(path.with_name(name), overwrite=overwrite)
            check_covered(path.with_name(name), new / name)
        for name in written:
            place = path.with_name(name)
            if place.exists():
                os.replace(place, old / name)
            os.replace(new / name, place)
    finally:
        for each in old.iterdir():  # what was taken away comes back where nothing took its place
            if not path.with_name(each.name).exists():
                os.replace(each, path.with_name(each.name))
        shutil.rmtree(folder)


def _push(hub: Any, path: Path, repository: str) -> str:
    """Send what was written to the Hugging Face Hub; return where it lies. Raises RunError where that fails."""
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        if path.is_dir():
            hub.upload_folder(repo_id=repository, folder_path=str(path))
        else:
            hub.upload_file(repo_id=repository, path_or_fileobj=str(path), path_in_repo=path.name)
    except (OSError, ValueError) as error:  # the Hub's errors are of these two
        raise RunError(
            f"{path} is written, but was not pushed to {repository} ({type(error).__name__}: {error}); log in with "
            "`hf auth login`, or push it with `hf upload`"
        ) from error
    return f"https://huggingface.co/{repository}"
