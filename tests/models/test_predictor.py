"""The predictor sees context tokens and places, nothing else."""

import pytest
import torch

from jepa.config.method import PredictorConfig
from jepa.models.positions import Positions
from jepa.models.predictor import Predictor
from jepa.types import Grid, Masks

GRID = Grid(4, 4, 4)


@pytest.fixture(params=["rotary", "sincos"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    torch.manual_seed(0)
    built = Predictor(
        PredictorConfig(width=48, depth=2, heads=4), dim=96, patterns=2, positions=Positions(request.param)
    ).eval()
    torch.nn.init.normal_(built.mask_tokens)
    for block in built.blocks:  # a width of 48 at sd .02 attends almost uniformly, blind to rotary positions
        block.attn.qkv.weight.data.mul_(20)
    return built


@pytest.fixture
def masks(generator: torch.Generator) -> Masks:
    order = torch.rand(3, 64, generator=generator).argsort(1)
    return Masks(context=order[:, :20], target=order[:, 20:50])


def test_prediction_follows_its_place(predictor: Predictor, masks: Masks) -> None:
    """Asking for the targets in another order gives the same predictions in that order."""
    context = torch.randn(3, 20, 96)
    forward = predictor(context, masks, GRID)
    backward = predictor(context, Masks(masks.context, masks.target.flip(1)), GRID)
    torch.testing.assert_close(forward, backward.flip(1), atol=1e-5, rtol=1e-5)
    assert forward.std(dim=1).mean() > 1e-3  # places are told apart


def test_samples_do_not_mix(predictor: Predictor, masks: Masks) -> None:
    context = torch.randn(3, 20, 96)
    together = predictor(context, masks, GRID)
    rows = [slice(i, i + 1) for i in range(3)]
    alone = [predictor(context[r], Masks(masks.context[r], masks.target[r]), GRID) for r in rows]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_patterns_have_mask_tokens_of_their_own(predictor: Predictor, masks: Masks) -> None:
    context = torch.randn(3, 20, 96)
    assert (predictor(context, masks, GRID, 0) - predictor(context, masks, GRID, 1)).abs().max() > 1e-3


def test_mask_tokens_start_at_zero() -> None:
    fresh = Predictor(PredictorConfig(width=48, depth=1, heads=4), dim=96, patterns=3)
    assert fresh.mask_tokens.shape == (3, 48)
    assert not fresh.mask_tokens.any()
