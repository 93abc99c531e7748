"""One thing that `jepa check` looked at."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from jepa.errors import JepaError


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found."""

    name: str
    failed: bool
    text: str

    def to_dict(self) -> dict[str, str | bool]:
        """Return the finding for JSON."""
        return asdict(self)


def attempt(name: str, look: Callable[[], str]) -> Finding:
    """Return what ``look`` says, or its error as a failed finding."""
    try:
        return Finding(name, False, look())
    except JepaError as error:
        return Finding(name, True, str(error))
