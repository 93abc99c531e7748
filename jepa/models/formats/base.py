"""What a format of weights is, and what can be known of a source before it is loaded."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from jepa.errors import CheckpointError
from jepa.models.frozen import Frozen, Weights
from jepa.runtime.checkpoint import find_checkpoint
from jepa.runtime.weights import check_file, read_weights

FEW = 6  # names that a message lists


class Source:
    """A file or folder that a user named, read at most once and only when asked."""

    def __init__(self, text: str) -> None:
        """Keep what the user wrote; nothing is opened."""
        self.text = text
        self.path = Path(text)

    def check_exists(self) -> None:
        """Raise CheckpointError where there is no such file or folder."""
        if not self.path.exists():
            raise CheckpointError(
                f"{self.text} does not exist; give a run directory, a file or folder of weights, or FORMAT:SOURCE"
            )

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What `config.json` of a folder says; empty where there is none. Raises CheckpointError for broken JSON."""
        path = self.path / "config.json"
        if not path.is_file():
            return {}
        check_file(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path} is no JSON ({error}); use another copy") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{path} holds a {type(found).__name__}, not an object; use another copy")
        return found

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """What a file, or the newest checkpoint of a run directory, holds; raises CheckpointError if damaged.

        Tensors stay in the file until they are used.
        """
        found = read_weights(find_checkpoint(self.path), mapped=True)
        if not isinstance(found, dict):
            raise CheckpointError(
                f"{self.text} holds a {type(found).__name__}, not a dictionary of weights; use another file"
            )
        return found

    def summary(self) -> str:
        """Say in a line what lies there, and what to do about it where it is none of the known formats."""
        if not self.path.is_dir():
            held = [f"{name} ({_kind_of(value)})" for name, value in self.state.items()]
            return f"a file of {_few(held)}; where you know its format, give FORMAT:{self.text}"
        inside = sorted(path.name for path in self.path.iterdir())
        found = f"a folder of {_few(inside)}"
        if "config.json" in inside:
            said = [self.config[key] for key in ("model_type", "architecture") if key in self.config]
            return f"{found}; its config.json is of {str(said[0])[:60]!r}" if said else found
        if any(name.endswith((".safetensors", ".bin", ".pt", ".pth")) for name in inside):
            return (
                f"{found}, without the config.json that says what the weights are; copy it from where they came from, "
                "or name one of the files"
            )
        return f"{found}, among them no weights; give a run directory, or a file or folder of weights"


class Format(ABC):
    """One way in which weights are stored. A subclass in a file of this folder is all that a new format needs."""

    name: ClassVar[str]
    """What stands before the colon of a source."""
    title: ClassVar[str]
    """What it is, for people."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of file names that are this format's alone; such files are no torch or safetensors files."""
    is_program: ClassVar[bool] = False
    """Whether what it holds is run as it is, and not loaded as networks."""

    @abstractmethod
    def recognises(self, source: Source) -> bool:
        """Whether an existing file or folder is of this format, from its names alone."""

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the encoder on the CPU, and the predictor where there is one.

        Raises CheckpointError where ``source`` holds none, or not exactly what its format promises.
        """
        raise CheckpointError(f"{source.text} is {self.title}, which holds no encoder of clips")

    def load_world_model(self, source: Source) -> nn.Module:
        """Load the `LatentWorldModel` on the CPU. Raises CheckpointError where ``source`` holds none."""
        raise CheckpointError(f"{source.text} is {self.title}, which holds no world model")

    def holds_world_model(self, source: Source) -> bool:
        """Whether the main thing in ``source`` is a world model, rather than an encoder of clips."""
        kind = type(self)
        return kind.load_world_model is not Format.load_world_model and kind.load is Format.load

    @classmethod
    def writes(cls) -> tuple[str, ...]:
        """Return what can be stored in this format: ``encoder``, ``world-model``, both or none."""
        able = {
            "encoder": cls.save is not Format.save,
            "world-model": cls.save_world_model is not Format.save_world_model,
        }
        return tuple(kind for kind, can in able.items() if can)

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write the networks to ``path``, which `load` reads again.

        Raises CheckpointError where this format cannot express them, before anything is written.
        """
        raise CheckpointError(f"{self.name}: {self.title} is read here, not written")

    def save_world_model(self, model: nn.Module, path: Path) -> None:
        """Write a `LatentWorldModel` to ``path``. Raises CheckpointError where this format cannot express it."""
        raise CheckpointError(f"{self.name}: {self.title} holds no world model")


def _few(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more if names else "nothing"


def _kind_of(value: object) -> str:
    """Say what an entry of a file is."""
    if isinstance(value, Tensor):
        return "x".join(map(str, value.shape)) or "a number"
    return f"{len(value)} entries" if isinstance(value, Mapping) else type(value).__name__
