"""Packages that not every user needs: what is said where one is missing, and that the extras exist."""

import ast
import json
from configparser import ConfigParser
from pathlib import Path

import pytest

from jepa.errors import RunError
from jepa.runtime.extras import need

ROOT = Path(__file__).parents[2]


def test_a_module_is_returned():
    assert need("json", extra="none") is json
    assert need("os.path", extra="none").join("a", "b") == str(Path("a", "b"))


def test_what_is_missing_is_said_in_one_line():
    with pytest.raises(RunError, match=r"no_such_package.*pip install 'jepa\[pusht\]'") as caught:
        need("no_such_package", extra="pusht")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_a_package.py").write_text("from json import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RunError, match=r"half_a_package cannot be imported \(.*nothing_of_this_name"):
        need("half_a_package", extra="pusht")


def test_every_extra_that_is_named_exists():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = {
        keyword.value.value
        for path in (ROOT / "jepa").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("need", "load_mujoco")
        for keyword in call.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert "pusht" in named and named <= set(setup["options.extras_require"])
