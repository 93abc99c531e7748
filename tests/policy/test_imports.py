"""What `import jepa` and `jepa --help` load."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "av", "faiss", "gymnasium")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that are loaded after ``code`` ran in a fresh interpreter."""
    report = f"import sys; sys.stderr.write('loaded:' + ' '.join(set(sys.modules) & set({HEAVY!r})))"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("loaded:")[2].split())


def help_of(*arguments: str) -> str:
    return f"""
import sys
from jepa.cli import main
sys.argv = {["jepa", *arguments, "--help"]!r}
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import jepa",
        "import jepa; jepa.__version__",
        "from jepa import load_config",
        help_of(),
        help_of("pretrain"),
    ],
    ids=["import", "version", "load_config", "help", "verb"],
)
def test_the_front_door_opens_without_torch(code):
    assert loaded_by(code) == set()


def test_a_heavy_import_would_be_seen():
    assert "av" in loaded_by("import av")


def test_every_public_name_is_there():
    import jepa

    missing = [name for name in jepa.__all__ if not hasattr(jepa, name)]
    assert not missing
    assert set(jepa.__all__) == set(dir(jepa))


def test_an_unknown_name_is_answered_with_the_known_ones():
    import jepa

    with pytest.raises(AttributeError, match="has no attribute 'nothing'; public names: .*load_config"):
        jepa.nothing  # noqa: B018
