"""What `pip install .` puts into an environment."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.policy.source import ROOT, SOURCES

OURS = ("jepa", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """The names of the files in a wheel built from a copy of the source."""
    folder = tmp_path_factory.mktemp("source")
    for name in OURS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheels", "."]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    (path,) = Path(folder, "wheels").glob("*.whl")
    return zipfile.ZipFile(path).namelist()


@pytest.mark.slow
def test_a_wheel_holds_one_package_and_nothing_else(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"jepa"}


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_package(wheel):
    needed = {path for path in (ROOT / "jepa").rglob("*") if path.is_file() and path.suffix not in (".pyc",)}
    missing = {str(path.relative_to(ROOT)) for path in needed} - set(wheel)
    assert SOURCES
    assert not missing
