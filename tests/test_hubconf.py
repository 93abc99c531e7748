"""torch.hub finds our entry points in a clone, without a network."""

import importlib
from pathlib import Path
from typing import Any

import torch

from jepa import load_encoder, load_world_model
from jepa.models.formats.exported import Exported
from tests.models.formats.exporting import small, small_world, world_config
from tests.policy.source import ROOT


def hub_load(name: str, *arguments: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), name, *arguments, source="local")


def test_an_encoder_and_a_world_model_are_loaded(tmp_path: Path) -> None:
    Exported().save(small(), tmp_path / "encoder")
    encoder = hub_load("jepa_encoder", str(tmp_path / "encoder"))
    clip = torch.randn(1, 3, 4, 16, 24)
    assert torch.equal(encoder(clip), load_encoder(tmp_path / "encoder", device="cpu")(clip))
    assert not encoder.training
    Exported().save_world_model(small_world(world_config()), tmp_path / "world")
    model = hub_load("jepa_world_model", str(tmp_path / "world"))
    frames = torch.randint(0, 256, (1, 1, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(
        model.encode(frames), load_world_model(tmp_path / "world", device="cpu").encode(frames)
    )


def test_what_it_depends_on_is_there_and_is_required() -> None:
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"]
    entries: dict[str, Any] = {}
    exec((ROOT / "hubconf.py").read_text(), entries)
    for module in entries["dependencies"]:
        importlib.import_module(module)
        assert {"yaml": "pyyaml"}.get(module, module) in required
    for name in ("jepa_encoder", "jepa_world_model"):
        assert entries[name].__doc__.startswith("Load a frozen")  # what torch.hub.help prints
