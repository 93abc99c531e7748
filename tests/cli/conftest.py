"""Commands, run in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from jepa import cli


@dataclass
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def jepa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the console script does; starting torch anew for each would take minutes."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["jepa", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run
