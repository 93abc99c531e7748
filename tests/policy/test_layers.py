"""Imports go down only, and never in a circle."""

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.policy import source
from tests.policy.source import MODULES, SOURCES, imported_modules, name_of

LAYERS = [
    {"types", "errors", "preprocess"},
    {"config"},  # typed sections, which runtime takes as arguments
    {"runtime"},
    {"models", "masks", "data"},
    {"objectives", "probes", "planning", "envs"},
    {"programs"},
    {"cli"},
    {"jepa", "__main__"},  # the package's front names
]
LAYER = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
# Plain names that siblings may share.
SHARED = {"types", "errors"}


def room_of(module: str) -> str:
    """jepa.data.video is in the room data; jepa itself in jepa."""
    return (module.split(".") + ["jepa"])[1] if "." in module else module


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path):
    own = room_of(name_of(path))
    assert own in LAYER, f"{own} has no place in LAYERS: give it one"
    rooms = {room_of(module) for module in imported_modules(path)} - {own} - SHARED
    upward = {room for room in rooms if LAYER[room] > LAYER[own]}
    sideways = {room for room in rooms if LAYER[room] == LAYER[own]}
    assert not upward, f"{name_of(path)} (layer {LAYER[own]}) imports upward: {sorted(upward)}"
    assert not sideways, f"{name_of(path)} imports a sibling room: {sorted(sideways)}"


def test_there_is_no_import_cycle():
    graph = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_relative_and_nested_imports_are_seen(tmp_path, monkeypatch):
    path = tmp_path / "jepa" / "data" / "x.py"
    path.parent.mkdir(parents=True)
    above = "from . import video\nfrom ..types import Grid\nimport torch\n"
    inside = "from jepa.programs.pretrain import pretrain\n    from jepa import models, __version__\n"
    path.write_text(f"{above}def f():\n    {inside}")
    monkeypatch.setattr(source, "ROOT", tmp_path)
    assert imported_modules(path) == {
        "jepa.data.video",
        "jepa.types",
        "jepa.programs.pretrain",
        "jepa.models",
    }


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("import jepa\nx = jepa.__version__", set()),
        ("import jepa\nx = jepa.pretrain", {"jepa"}),
        ("import jepa\nx = jepa.__version__, jepa.pretrain", {"jepa"}),
    ],
)
def test_the_version_is_the_one_thing_that_all_may_take_from_the_front(tmp_path, monkeypatch, text, seen):
    path = tmp_path / "jepa" / "data" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setattr(source, "ROOT", tmp_path)
    assert imported_modules(path) == seen
