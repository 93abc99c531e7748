"""Frame encoders: every frame alone, the frozen one really frozen and never stored."""

import pytest
import torch
import torch.nn.functional as F

from jepa.config.world_model import ConvFrames, FrozenFrames, VitFrames
from jepa.errors import CheckpointError, ConfigError
from jepa.models.build import trained_networks
from jepa.models.frames import FRAMES, build_frames
from jepa.models.zoo import load_encoder
from jepa.preprocess import preprocess
from jepa.runtime.checkpoint import save_checkpoint
from tests.conftest import tiny_config

CONFIGS = {
    "conv": ConvFrames(kind="conv", width=8, dim=12),
    "vit": VitFrames(kind="vit", size="nano", patch=8, dim=12),
}


def write_run(path, seed: int = 0) -> str:
    """A run directory of `jepa pretrain` with a random encoder."""
    torch.manual_seed(seed)
    config = tiny_config("lejepa")
    parts = dict(zip(("encoder", "predictor"), trained_networks(config), strict=True))
    weights = {f"{part}.{name}": value for part in parts for name, value in parts[part].state_dict().items()}
    save_checkpoint(path, {"step": 0, "config": config.model_dump(mode="json"), "objective": weights})
    return str(path)


@pytest.fixture
def run(tmp_path) -> str:
    return write_run(tmp_path / "run")


@pytest.fixture(params=FRAMES)
def encoder(request, run):
    torch.manual_seed(0)
    config = CONFIGS.get(request.param) or FrozenFrames(kind="frozen", source=run)
    return build_frames(config, resolution=32).eval()


@pytest.fixture
def frames() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8, generator=draw)


def test_every_frame_is_encoded_alone(encoder, frames):
    z = encoder(frames)
    assert z.shape == (2, 4, encoder.tokens, encoder.dim)
    for t in range(4):
        torch.testing.assert_close(encoder(frames[:1, t : t + 1])[0, 0], z[0, t], atol=1e-5, rtol=1e-5)
    other = frames.clone()
    other[0, 2] = 255 - other[0, 2]
    changed = (encoder(other) - z).abs().amax(dim=(2, 3)) > 1e-5
    assert changed.nonzero().tolist() == [[0, 2]]


def test_what_is_trained_learns_and_what_is_frozen_does_not(encoder, frames):
    out = encoder.train()(frames)
    assert out.requires_grad == encoder.trained
    if encoder.trained:
        (out * torch.randn_like(out)).sum().backward()
        idle = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle, f"no gradient reaches {idle}"
    else:
        assert not list(encoder.parameters())


@pytest.mark.parametrize("resolution", [(24, 40), (16, 16), (72, 72)])
@pytest.mark.parametrize("kind", CONFIGS)
def test_other_resolutions_work(kind, resolution):
    encoder = build_frames(CONFIGS[kind], resolution=resolution).eval()
    assert encoder(torch.zeros(1, 2, 3, *resolution, dtype=torch.uint8)).shape == (1, 2, 1, 12)


@pytest.mark.parametrize("resolution", [36, (32, 20)])
def test_a_resolution_off_the_patch_is_refused(run, resolution):
    for config in (CONFIGS["vit"], FrozenFrames(kind="frozen", source=run)):
        with pytest.raises(
            ConfigError, match="data.resolution: .* must be a multiple of the encoder's patch of 8"
        ):
            build_frames(config, resolution=resolution)


@pytest.mark.parametrize("kind", CONFIGS)
def test_where_something_is_can_be_read(kind):
    """Far from the borders, a dot has another latent at another place."""
    torch.manual_seed(0)
    encoder = build_frames(CONFIGS[kind], resolution=64).eval()
    frames = torch.zeros(1, 3, 3, 64, 64, dtype=torch.uint8)
    frames[0, 0, :, 18:22, 18:22] = 255
    frames[0, 1, :, 42:46, 42:46] = 255
    here, there, nowhere = encoder(frames)[0, :, 0]
    # Untrained ViTs: .04 to .2 over seeds with sin-cos positions, below .001 with rotary ones.
    assert (here - there).norm() > 0.01 * (here - nowhere).norm()


def test_batch_norm_uses_running_statistics_in_eval_mode(frames):
    torch.manual_seed(0)
    encoder = build_frames(CONFIGS["vit"], resolution=32)
    for _ in range(200):
        trained = encoder(frames)
    torch.testing.assert_close(encoder.eval()(frames), trained, atol=1e-2, rtol=0.1)
    assert (encoder(frames[:1]) - trained[:1]).abs().max() < 0.1


def test_frozen_tokens_are_the_encoders_layer_normed(run, frames):
    encoder = load_encoder(run, device="cpu")
    clips = torch.stack([preprocess(one[None].permute(0, 2, 3, 1), 32) for one in frames.flatten(0, 1)])
    with torch.no_grad():
        tokens = encoder(clips).reshape(2, 4, 16, -1)
    config = {"kind": "frozen", "source": run}
    z = build_frames(FrozenFrames(**config), resolution=32)(frames)
    torch.testing.assert_close(z, F.layer_norm(tokens, tokens.shape[-1:]), atol=1e-5, rtol=1e-5)
    z = build_frames(FrozenFrames(**config, normalise=False), resolution=32)(frames)
    torch.testing.assert_close(z, tokens, atol=1e-5, rtol=1e-5)
    pooled = build_frames(FrozenFrames(**config, normalise=False, tokens="pooled"), resolution=32)
    torch.testing.assert_close(pooled(frames), tokens.mean(2, keepdim=True), atol=1e-5, rtol=1e-5)
    assert (pooled.tokens, pooled.grid.tokens) == (1, 1)


def test_a_frozen_encoder_stays_in_eval_mode_moves_along_and_is_not_stored(run):
    encoder = build_frames(FrozenFrames(kind="frozen", source=run), resolution=32)
    parent = torch.nn.ModuleList([encoder]).train().requires_grad_(True)
    assert not any(part.training for part in encoder.encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.encoder.parameters())
    assert list(parent.state_dict()) == ["0.fingerprint"]
    parent.to(torch.float64)
    assert {weight.dtype for weight in encoder.encoder.parameters()} == {torch.float64}


def test_another_frozen_encoder_is_refused(run, tmp_path):
    config = {"kind": "frozen"}
    ours = build_frames(FrozenFrames(source=run, **config), resolution=32)
    ours.load_state_dict(ours.state_dict())
    theirs = build_frames(FrozenFrames(source=write_run(tmp_path / "other", 1), **config), resolution=32)
    with pytest.raises(
        CheckpointError, match=r"frames.source: .*other is not the encoder .* put its weights back"
    ):
        theirs.load_state_dict(ours.state_dict())


def test_components_project_the_tokens_side_by_side(run, frames):
    values = {"kind": "frozen", "source": run}
    tokens = build_frames(FrozenFrames(**values), resolution=32)(frames)  # (2, 4, 16, D)
    encoder = build_frames(FrozenFrames(**values, components=5), resolution=32)
    assert (encoder.tokens, encoder.dim, encoder.normalised) == (1, 5, False)
    encoder.components.fit(tokens.flatten(2).flatten(0, 1))
    z = encoder(frames)
    assert z.shape == (2, 4, 1, 5)
    torch.testing.assert_close(z[:, :, 0], encoder.components(tokens.flatten(2)), atol=1e-4, rtol=1e-4)
    stored = build_frames(FrozenFrames(**values, components=5), resolution=32)
    stored.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(stored(frames), z)
    pooled = build_frames(FrozenFrames(**values, components=5, tokens="pooled"), resolution=32)
    assert len(pooled.components.mean) == tokens.shape[-1]
    with pytest.raises(ConfigError, match="frames.components: 9999 of .* numbers per frame; ask for fewer"):
        build_frames(FrozenFrames(**values, components=9999), resolution=32)
