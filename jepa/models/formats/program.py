"""What formats of programs share: functions that other tools run, and that are no networks any more."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import nn

from jepa.errors import CheckpointError
from jepa.models.formats.base import Format, Source
from jepa.models.frozen import Frozen, Weights
from jepa.models.functions import Function, Run, export, functions_of, functions_of_world_model
from jepa.models.world_model import LatentWorldModel


class Program(Format):
    """One file, or a folder of such: the encoder, or frame encoder and one step of a world model.

    They are functions, `jepa.models.functions`, and cannot be trained on: written here, not read.
    """

    suffix: ClassVar[str]
    """How their files end."""
    is_program = True

    @abstractmethod
    def is_one(self, path: Path) -> bool:
        """Whether an existing file is such a program, by its first bytes or names."""

    @abstractmethod
    def write(self, function: Function, path: Path) -> Run:
        """Write one program, with its notes, and return it as its own tool runs it."""

    @abstractmethod
    def how_to_run(self, path: Path) -> str:
        """Say with what the program at ``path`` is run."""

    def need(self) -> None:
        """Import what writing and checking takes, before anything is computed."""

    def recognises(self, source: Source) -> bool:
        """Whether it is such a program, or a folder of them."""
        return self.programs(source.path) != []

    def programs(self, path: Path) -> list[Path]:
        """Return the programs at a file or in a folder."""
        files = sorted(path.glob(f"*{self.suffix}")) if path.is_dir() else [path]
        return [file for file in files if file.is_file() and self.is_one(file)]

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Raise CheckpointError, which says how to run it."""
        raise self._explained(source)

    def load_world_model(self, source: Source) -> nn.Module:
        """Raise CheckpointError, which says how to run it."""
        raise self._explained(source)

    def holds_world_model(self, source: Source) -> bool:
        """Whether there is a step of dynamics."""
        return any(path.stem == "step" for path in self.programs(source.path))

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write the encoder: batches of any size, T, H and W as in training; checked against the network.

        Raises RunError where a package that this takes is not installed.
        """
        self.need()
        export(functions_of(frozen), path, self.suffix, self.write)

    def save_world_model(self, model: nn.Module, path: Path) -> None:
        """Write ``encode`` and ``step`` into the folder ``path``; raises as `save` does."""
        assert isinstance(model, LatentWorldModel)
        self.need()
        export(functions_of_world_model(model), path, self.suffix, self.write)

    def _explained(self, source: Source) -> CheckpointError:
        """Say what it is, and how to run it."""
        found = self.programs(source.path)
        if not found:
            return CheckpointError(f"{source.text} is not {self.title}: damaged, or something else")
        return CheckpointError(
            f"{source.text} is {self.title}: it can be run, not loaded as a network; {self.how_to_run(found[0])}, or "
            "name what it was made from"
        )
