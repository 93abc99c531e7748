"""Tokens of the clip, and behind them those that the predictor expects."""

import torch

from jepa.config.method import ModelConfig, PredictorConfig
from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.probes.anticipation import Anticipation
from jepa.probes.features import token_reader
from jepa.types import Grid, Masks


def networks() -> tuple[Encoder, Predictor]:
    torch.manual_seed(0)
    encoder = Encoder(ModelConfig(size="nano", patch=8, tubelet=2)).eval()
    return encoder, Predictor(PredictorConfig(width=48, depth=2, heads=4), dim=64, patterns=2).eval()


def test_the_clip_comes_first_and_the_future_behind_it(clip):
    encoder, predictor = networks()
    torch.nn.init.normal_(predictor.mask_tokens)
    ahead = Anticipation(encoder, predictor, steps=2, pattern=1)
    with torch.inference_mode():
        tokens, seen = ahead(clip), encoder(clip)
        longer = Grid(6, 4, 4)  # 8 frames are 4 steps
        places = torch.arange(96).expand(4, -1)
        wanted = predictor(seen, Masks(places[:, :64], places[:, 64:]), longer, 1)
    assert ahead.grid(clip.shape) == longer and tokens.shape == (4, 96, 64)
    torch.testing.assert_close(tokens[:, :64], seen)
    torch.testing.assert_close(tokens[:, 64:], wanted)


def test_samples_do_not_mix(clip):
    ahead = Anticipation(*networks(), steps=1)
    with torch.inference_mode():
        alone = torch.cat([ahead(one[None]) for one in clip])
        torch.testing.assert_close(ahead(clip), alone, atol=1e-5, rtol=1e-4)


def test_it_is_read_like_any_encoder(clip):
    found = token_reader(Anticipation(*networks(), steps=3), tokens=True)(clip)
    assert found["time"].shape == (4, 7 * 64) and found["mean"].shape == (4, 64)
    torch.testing.assert_close(found["tokens"].mean(1), found["mean"])
