"""The errors a user can cause, each naming what is wrong, what is allowed and what to do."""

from collections.abc import Sequence


class JepaError(Exception):
    """Base of every error the command line turns into one readable message."""


class ConfigError(JepaError, ValueError):
    """A configuration is wrong; ``problems`` holds one line per mistake, all found at once."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(JepaError, ValueError):
    """A file or a source cannot be used."""


class CheckpointError(JepaError, RuntimeError):
    """A checkpoint is missing, damaged or belongs to another model."""


class RunError(JepaError, RuntimeError):
    """A run cannot go on: its directory, its environment or its numbers forbid it."""


class NonFiniteError(RunError, FloatingPointError):
    """A loss or a gradient is not finite; no weight was changed by the step that found it."""


class InterruptError(RunError):
    """A signal ended the work; what was finished is kept, and the same command goes on."""
