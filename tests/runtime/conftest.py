"""A SLURM to submit to, and a list of jobs of one's own."""

from pathlib import Path

import pytest

from tests.runtime.fake_slurm import FakeSlurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The commands of SLURM, first on PATH."""
    fake = FakeSlurm(tmp_path / "slurm")
    for name, value in fake.variables().items():
        monkeypatch.setenv(name, value)
    return fake


@pytest.fixture(autouse=True)
def own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's list of jobs, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jepa" / "jobs.jsonl"
