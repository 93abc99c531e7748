"""The formats that weights come in: one file per format, found by its prefix or by looking into the source."""

import importlib
import inspect
import pkgutil
from functools import cache

from jepa.errors import CheckpointError
from jepa.models.formats.base import Format, Source


@cache
def formats() -> dict[str, Format]:
    """Return all formats by name: every subclass of `Format` that a file of this folder defines.

    The files are imported when a source is first opened, so that adding a format is adding a file.
    """
    found = {}
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Format) and not inspect.isabstract(kind):
                if kind.__module__ == module.__name__:
                    found[kind.name] = kind()
    return dict(sorted(found.items()))


def split(text: str) -> tuple[Format | None, Source]:
    """Cut ``NAME:REST`` where NAME is a format's; without one, the format is None.

    Raises CheckpointError for a prefix that no format has, unless a file of that whole name exists.
    """
    prefix, colon, rest = text.partition(":")
    known = formats()
    if colon and prefix in known:
        return known[prefix], Source(rest)
    source = Source(text)
    if colon and prefix.replace("-", "").replace(".", "").isalnum() and not source.path.exists():
        raise CheckpointError(
            f"{text}: {prefix!r} is no known format; allowed before the colon: {', '.join(known)}"
        )
    return None, source


def find_format(text: str) -> tuple[Format, Source]:
    """Return the format of a source and what lies there, by its prefix or by looking into it.

    Raises CheckpointError where it does not exist, cannot be read, and where no format or more than one fits.
    """
    named, source = split(text)
    if named is not None:
        return named, source
    source.check_exists()
    for each in formats().values():
        if source.path.is_file() and source.path.name.lower().endswith(each.suffixes):
            return each, source
    fitting = [each for each in formats().values() if each.recognises(source)]
    if len(fitting) == 1:
        return fitting[0], source
    if fitting:
        names = " or ".join(f"{each.name}:{text}" for each in fitting)
        raise CheckpointError(f"{text} could be of several formats; say which: {names}")
    raise CheckpointError(f"{text} is none of the known formats ({', '.join(formats())}): {source.summary()}")
