"""The encoder against timm's ViT, and the properties that make masking honest."""

import pytest
import timm
import torch

from jepa.config.method import ModelConfig
from jepa.models.encoder import Encoder, take
from jepa.models.positions import Positions
from jepa.types import Grid

GRID_TOKENS = 64


@pytest.fixture(params=["rotary", "sincos"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return Encoder(ModelConfig(size="nano", patch=8, positions=request.param), image=True).eval()


@pytest.fixture
def keep(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(4, GRID_TOKENS, generator=generator).argsort(1)[:, :20]


class Unplaced(Positions):
    """No positions at all."""

    def rotary(self, *_: object) -> None:
        return None

    added = rotary


def test_blocks_equal_timms_vit() -> None:
    """With positions taken out and weights shared, an image passes through ours and timm's alike."""
    torch.manual_seed(0)
    ours = Encoder(ModelConfig(size="tiny", patch=16), video=False, image=True).eval()
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=64,
        num_classes=0,
        class_token=False,
        global_pool="",
        pretrained=False,
    ).eval()
    weights = {
        name.replace("patch_embed_image.", "patch_embed.proj."): value
        for name, value in ours.state_dict().items()
    }
    theirs.load_state_dict(weights | {"pos_embed": torch.zeros_like(theirs.pos_embed)})
    image = torch.randn(2, 3, 1, 64, 64)
    ours.positions = Unplaced()
    torch.testing.assert_close(ours(image), theirs(image[:, :, 0]), atol=2e-5, rtol=1e-5)


def test_samples_do_not_mix(encoder: Encoder, clip: torch.Tensor, keep: torch.Tensor) -> None:
    together = encoder(clip, keep=keep)
    alone = torch.cat([encoder(clip[i : i + 1], keep=keep[i : i + 1]) for i in range(len(clip))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_dropped_tokens_do_not_reach_the_output(
    encoder: Encoder, clip: torch.Tensor, keep: torch.Tensor
) -> None:
    """Changing every pixel outside the kept tokens changes nothing."""
    kept = torch.zeros(4, GRID_TOKENS, dtype=torch.bool).scatter_(1, keep, True).view(4, 1, 4, 4, 4)
    pixels = kept.repeat_interleave(2, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    other = torch.where(pixels, clip, torch.randn_like(clip))
    torch.testing.assert_close(encoder(clip, keep=keep), encoder(other, keep=keep), atol=0, rtol=0)


def test_order_of_kept_tokens_is_only_order(encoder: Encoder, clip: torch.Tensor, keep: torch.Tensor) -> None:
    forward, backward = encoder(clip, keep=keep), encoder(clip, keep=keep.flip(1))
    torch.testing.assert_close(forward, backward.flip(1), atol=1e-5, rtol=1e-5)


def test_keeping_all_tokens_is_no_mask(encoder: Encoder, clip: torch.Tensor) -> None:
    everything = torch.arange(GRID_TOKENS).expand(4, -1)
    torch.testing.assert_close(encoder(clip), encoder(clip, keep=everything), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_positions_matter_along_every_axis(encoder: Encoder, clip: torch.Tensor, axis: int) -> None:
    """A clip turned round along time, height or width is not just its tokens turned round."""
    embed = {2: 2, 3: 8, 4: 8}[axis]
    parts = torch.cat([part for part in reversed(clip.split(embed, dim=axis))], dim=axis)
    turned = encoder(parts).view(4, 4, 4, 4, -1).flip(axis - 1)
    assert (turned - encoder(clip).view(4, 4, 4, 4, -1)).abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(1, 3, 4, 48, 32), (1, 3, 16, 32, 32), (1, 3, 1, 32, 32)])
def test_other_grids_work(encoder: Encoder, shape: tuple[int, ...]) -> None:
    assert encoder(torch.randn(shape)).shape == (1, encoder.grid(shape).tokens, encoder.dim)


@pytest.mark.parametrize("shape", [(1, 3, 3, 32, 32), (1, 3, 8, 30, 32), (1, 1, 8, 32, 32), (3, 8, 32, 32)])
def test_a_clip_off_the_grid_is_refused(encoder: Encoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="T a multiple of 2 and H, W of 8, got"):
        encoder(torch.randn(shape))


def test_an_image_encoder_refuses_video(clip: torch.Tensor) -> None:
    images_only = Encoder(ModelConfig(size="nano", patch=8), video=False, image=True)
    with pytest.raises(ValueError, match="trained on images alone: T must be 1, got 8"):
        images_only(clip)


def test_take_refuses_another_batch_size() -> None:
    with pytest.raises(ValueError, match=r"B = 2, got \(1, 3\)"):
        take(torch.zeros(2, 4, 5), torch.zeros(1, 3, dtype=torch.long))


def test_recomputed_activations_give_the_same_gradients(clip: torch.Tensor) -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = Encoder(ModelConfig(size="nano", patch=8, checkpoint_activations=recompute))
        encoder(clip).square().mean().backward()
        gradients.append(encoder.patch_embed.weight.grad)
    torch.testing.assert_close(*gradients)


def test_stochastic_depth_keeps_the_expectation_and_rests_in_eval(clip: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = Encoder(ModelConfig(size="nano", patch=8, drop_path=0.5))
    branch = torch.ones(4000, 1, 1)
    dropped = encoder.blocks[-1]._drop(branch)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(float(dropped.mean()) - 1) < 0.1
    encoder.eval()
    torch.testing.assert_close(encoder(clip), encoder(clip), atol=0, rtol=0)


def test_preprocess_and_embed_take_frames_of_any_size(encoder: Encoder) -> None:
    encoder.resolution = 32
    frames = [
        torch.randint(256, (8, 40, 60, 3), dtype=torch.uint8),
        torch.randint(256, (8, 90, 33, 3), dtype=torch.uint8),
    ]
    clip = encoder.preprocess(frames)
    assert clip.shape == (2, 3, 8, 32, 32)
    assert encoder.embed(clip).shape == (2, encoder.dim)
    assert encoder.embed(clip, pool="time").shape == (2, 4 * encoder.dim)
    with pytest.raises(ValueError, match="pool must be one of mean, time, got 'max'"):
        encoder.embed(clip, pool="max")
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\), got torch.float32"):
        encoder.preprocess(torch.zeros(8, 32, 32, 3))


def test_an_image_fills_a_tubelet_of_an_encoder_of_videos():
    encoder = Encoder(ModelConfig(size="nano", patch=8, tubelet=4)).eval()
    image = torch.randn(2, 3, 1, 32, 32)
    with torch.inference_mode():
        assert encoder.grid(image.shape) == Grid(1, 4, 4)
        torch.testing.assert_close(encoder(image), encoder(image.repeat(1, 1, 4, 1, 1)))
