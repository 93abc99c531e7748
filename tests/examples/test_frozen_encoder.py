"""The example of a frozen encoder runs, with a ViT of timm from a file."""

import runpy
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from jepa.models.world_model import load_world_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "frozen_encoder.py"


@pytest.mark.slow
def test_it_runs_with_a_vit_of_timm(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    name = "test_vit"  # timm's own for tests: 160 pixels, patches of 16
    save_file(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "weights.safetensors")
    words = ["--encoder", f"timm:{name}@{tmp_path / 'weights.safetensors'}", "--dir", str(tmp_path / "run")]
    small = ["--recordings", "4", "--components", "8", "--steps", "2", "--value-steps", "2"]
    small += ["--episodes", "1", "--cloning-steps", "2"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *words, *small])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().err
    assert "frames once" in said and "success" in said and "behaviour cloning" in said
    model = load_world_model(tmp_path / "run" / "world-model", device="cpu")
    assert model.resolution == 64  # four patches along each side
    assert (model.frames.tokens, model.frames.dim) == (1, 8)
    assert not any(p.requires_grad for p in model.frames.encoder.parameters())
    assert (tmp_path / "run" / "plan" / "report.html").exists()
