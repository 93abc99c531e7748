"""Read files of weights that cannot run code, whoever wrote them."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from jepa.errors import CheckpointError

ZIP, PICKLE, LFS = b"PK\x03\x04", b"\x80", b"version https://git-lfs.github.com/spec"
ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
_BEGINNING = 512  # bytes that tell what a file is


def read_weights(path: Path, *, mapped: bool = False) -> Any:
    """Return what a file holds, on the CPU: torch's, safetensors', or an index of several of the latter.

    What the file begins with decides, not its name. ``mapped`` leaves torch's tensors in the file until they are
    used, so that what nobody asks for is never read; the file must then stay as it is.
    Raises CheckpointError when it is missing, damaged, something else, or would run code.
    """
    check_file(path)
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    is_zip = beginning.startswith(ZIP)
    # Before the pickle's sign, which may also be the first byte of a length, as safetensors begin.
    is_safetensors = not is_zip and (beginning[8:9] == b"{" or path.suffix == ".safetensors")
    if not (is_zip or is_safetensors or beginning.startswith(PICKLE)):
        raise CheckpointError(
            f"{path} cannot be read as weights: it begins with {beginning[:16]!r}, which is neither torch's (.pt) "
            "nor safetensors'. It is another kind of file, or damaged. Use another copy"
        )
    try:
        if is_safetensors:
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and is_zip)
    except Exception as error:  # noqa: BLE001 - damaged files raise many kinds; all are reported, none is hidden
        raise CheckpointError(f"{path} cannot be read as weights: {_reason(path, error)}") from error


def check_file(path: Path) -> None:
    """Raise CheckpointError where ``path`` is no file, or one that only stands in for another: say what it is."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; a file of weights is needed here: name one in it")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give a run directory or a file of weights")
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    if not beginning:
        raise CheckpointError(f"{path} is empty (0 bytes): its download or copy did not end. Fetch it again")
    if beginning.startswith(LFS):
        size = re.search(rb"\nsize (\d+)", beginning)
        expected = f"{int(size[1]):,} bytes" if size else "the file itself"
        raise CheckpointError(
            f"{path} is a pointer of git LFS, not the file: {expected} are still on the server. Run `git lfs pull` "
            f"in {path.parent}"
        )
    if re.match(rb"\s*(<!doctype html|<html|<\?xml)", beginning, re.IGNORECASE):
        raise CheckpointError(
            f"{path} is a web page, not weights: a server answered with a page, such as one that asks to log in. "
            "Download the file itself"
        )


def find_weights(folder: Path) -> Path:
    """Return the safetensors file of a folder as the Hugging Face Hub lays them out, or the index of its shards.

    Raises CheckpointError where there is neither.
    """
    found = [folder / name for name in (ONE_FILE, INDEX) if (folder / name).exists()]
    if not found:
        inside = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
        raise CheckpointError(
            f"{folder} holds neither {ONE_FILE} nor {INDEX}, but {inside}; copy the weights into it"
        )
    return found[0]


def _read_shards(index: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of all shards that an index names."""
    try:
        places = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{index} is no index of shards ({type(error).__name__}: {error}); it needs a weight_map. Use another copy"
        ) from error
    shards = sorted({str(name) for name in places.values()})
    if outside := [name for name in shards if Path(name).name != name]:
        raise CheckpointError(f"{index} names files outside of its folder: {outside[0]}; use another copy")
    if missing := [name for name in shards if not (index.parent / name).exists()]:
        raise CheckpointError(
            f"{index} names {len(shards)} files, of which {len(missing)} are missing: {', '.join(missing[:6])}; "
            "fetch them into the same folder"
        )
    tensors = {name: value for shard in shards for name, value in read_weights(index.parent / shard).items()}
    if lost := sorted(set(places) ^ set(tensors)):
        raise CheckpointError(
            f"{index} and its files do not hold the same weights: {', '.join(lost[:6])} are in one of both alone; "
            "fetch all files of one version"
        )
    return tensors


def _reason(path: Path, error: Exception) -> str:
    """Say why a file cannot be read, and what to do."""
    text = str(error) or type(error).__name__
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):  # what the pickle would call
        return (
            f"it would run code when opened ({wanted[1].rstrip('.')}), which is never done here. Ask for a file that "
            "holds tensors alone, or use another copy"
        )
    # Of what torch says of pickles, nothing is passed on: it advises to run the code.
    first = "" if isinstance(error, pickle.UnpicklingError) else f": {text.splitlines()[0].split('. ')[0]}"
    return (
        f"it is damaged or holds code ({type(error).__name__}{first}); it has {path.stat().st_size:,} bytes: compare "
        "with the original, and use another copy"
    )
