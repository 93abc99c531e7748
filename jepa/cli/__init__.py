"""The front door: verbs, flags and exit codes; no logic.

Exit codes: 0 done (also: interrupted, with a checkpoint), 1 failed, 2 wrong usage or configuration; inside a job, 75
interrupted, to be started again.
Results go to stdout, everything else to stderr.
"""

import errno
import sys

import typer

from jepa.cli import data, jobs, learn, measure, planning, weights
from jepa.cli.app import app
from jepa.errors import ConfigError, InterruptError, JepaError
from jepa.runtime.interrupts import INTERRUPTED, inside_job

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What any write may say of a disk without room, a quota, or a limit on files."""
MAKE_ROOM = "Make room, then run the same command to go on"

__all__ = ["app", "data", "jobs", "learn", "main", "measure", "planning", "weights"]


def main() -> None:
    """Run the command line; every expected error becomes one message and an exit code."""
    try:
        app()
    except ConfigError as error:
        typer.echo(f"error in the configuration:\n{error}", err=True)
        sys.exit(2)
    except JepaError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(INTERRUPTED if isinstance(error, InterruptError) and inside_job() else 1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        typer.echo(f"error: {error}; what was finished is whole. {MAKE_ROOM}", err=True)
        sys.exit(1)
