"""The front door: verbs, flags and exit codes; no logic.

Exit codes: 0 done (also: interrupted, with a checkpoint), 1 failed, 2 wrong usage or configuration.
Results go to stdout, everything else to stderr.
"""

import sys

import typer

from jepa.cli import data, learn, measure, planning
from jepa.cli.app import app
from jepa.errors import ConfigError, JepaError

__all__ = ["app", "data", "learn", "main", "measure", "planning"]


def main() -> None:
    """Run the command line; every expected error becomes one message and an exit code."""
    try:
        app()
    except ConfigError as error:
        typer.echo(f"error in the configuration:\n{error}", err=True)
        sys.exit(2)
    except JepaError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
