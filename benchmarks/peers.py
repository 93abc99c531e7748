"""Import somebody else's code from a folder that the user names, to run it beside ours. Nothing of it is kept here."""

import argparse
import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


def add_peer(parser: argparse.ArgumentParser, repository: str) -> None:
    """Add ``--peer``: where a clone of ``repository`` lies. Without it a benchmark runs alone."""
    parser.add_argument(
        "--peer", type=Path, metavar="PATH", help=f"a clone of https://github.com/{repository} to run beside"
    )


def peer_modules(folder: Path, *names: str) -> list[ModuleType]:
    """Import modules of a clone that is not installed, by their names from its root.

    Raises SystemExit with the reason where the folder is not such a clone, or lacks what it imports itself.
    """
    sys.path.insert(0, str(folder.resolve()))
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise SystemExit(
            f"--peer {folder}: {error}; is it a clone, with its requirements installed?"
        ) from error
    finally:
        sys.path.remove(str(folder.resolve()))


@contextmanager
def silence() -> Iterator[None]:
    """Keep a peer's log, which may print whole models, off the tables."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
