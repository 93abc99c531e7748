"""Encoders of single frames for world models: frozen, or trained with the dynamics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.config.method import ModelConfig
from jepa.config.world_model import ConvFrames, FramesConfig, FrozenFrames, VitFrames
from jepa.errors import CheckpointError, ConfigError
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.components import PrincipalComponents
from jepa.models.encoder import Encoder
from jepa.models.fingerprint import fingerprint
from jepa.models.zoo import load_frozen
from jepa.preprocess import Resolution, height_width, normalise
from jepa.types import Grid

PROJECTOR_WIDTH = 2048  # LeWM's projector, as released
SMALLEST_MAP = 4  # pixels along the shorter side of the last feature map of the convolutional net


class FrameEncoder(nn.Module, ABC):
    """Base of the frame encoders: each frame alone, so that nothing of the future reaches the past."""

    dim: int
    """Numbers per token, D."""
    grid: Grid
    """The tokens of one frame."""
    trained: bool = True
    """Whether it learns with the dynamics."""
    normalised: bool = False
    """Whether tokens are layer-normed, and so predictions must be."""

    @property
    def tokens(self) -> int:
        """Tokens per frame, N."""
        return self.grid.tokens

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames at the resolution of the data: (B, T, 3, H, W) uint8 -> (B, T, N, D)."""


class FrozenFrameEncoder(FrameEncoder):
    """A frozen encoder of clips, given each frame as a clip of one (V-JEPA 2-AC, section 3; DINO-WM, section 3.1).

    Its weights are no part of the state dict: they are loaded from their source again, and a fingerprint in the
    state dict tells whether they are the same. It is in eval mode always.

    With ``components``, the tokens of a frame, side by side, are projected on the principal components of the
    training frames, which `PrincipalComponents.fit` must have found before.
    """

    trained = False

    def __init__(self, config: FrozenFrames, resolution: Resolution) -> None:
        super().__init__()
        frozen = load_frozen(config.source, device="cpu", weights=config.weights)
        # In a tuple, it is no submodule: no state dict, no optimiser and no call of train() reaches it.
        self._hidden: tuple[ClipEncoder] = (frozen.encoder,)
        self.source, self.pooled, self.layer_norm = config.source, config.tokens == "pooled", config.normalise
        self.dim = frozen.encoder.dim
        self.patches = _grid(frozen.encoder, resolution)
        self.grid = Grid(1, 1, 1) if self.pooled else self.patches
        self.components: PrincipalComponents | None = None
        if config.components is not None:
            size = self.grid.tokens * self.dim
            if config.components > size:
                raise ConfigError(
                    f"frames.components: {config.components} of {size} numbers per frame; ask for fewer"
                )
            self.components = PrincipalComponents(size, config.components)
            self.dim, self.grid = config.components, Grid(1, 1, 1)
        self.normalised = self.layer_norm and self.components is None
        name = fingerprint(frozen.encoder, frozen.shape)
        self.register_buffer("fingerprint", torch.tensor(list(bytes.fromhex(name)), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_check_fingerprint)  # type: ignore[no-untyped-call]  # torch's

    @property
    def encoder(self) -> ClipEncoder:
        """The frozen encoder."""
        return self._hidden[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenFrameEncoder":
        """Move or cast the hidden encoder too; this is what `to` calls."""
        self.encoder._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it so
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # likewise

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames at the resolution of the data: (B, T, 3, H, W) uint8 -> (B, T, N, D)."""
        tokens = self.encoded(frames.flatten(0, 1))  # (B T, N, D)
        if self.components is not None:
            tokens = self.components(tokens.flatten(1))  # (B T, D)
        return tokens.reshape(*frames.shape[:2], self.tokens, self.dim)

    @torch.no_grad()
    def encoded(self, frames: Tensor) -> Tensor:
        """Return the tokens before any projection: (n, 3, H, W) uint8 -> (n, patches or 1, width of the encoder)."""
        clips = normalise(frames.unsqueeze(1), mean=self.encoder.mean, std=self.encoder.std)
        tokens = self.encoder(clips)  # (n, patches, D)
        if self.pooled:
            tokens = tokens.mean(1, keepdim=True)  # (n, 1, D)
        return F.layer_norm(tokens, tokens.shape[-1:]) if self.layer_norm else tokens


class VitFrameEncoder(FrameEncoder):
    """ViT whose mean token goes through a projector with batch norm (LeWM, arXiv:2603.19312, section 3).

    LeWM takes the class token; ours has none. The ViT ends in a layer norm, which would keep the latents from
    becoming normal; the projector's last layer is free to scale them. In training, batch norm lets a frame's
    latent depend on the batch's statistics; in eval mode it does not.
    """

    grid = Grid(1, 1, 1)

    def __init__(self, config: VitFrames, resolution: Resolution) -> None:
        super().__init__()
        # Absolute positions: the mean over tokens must still tell where something is.
        shape = ModelConfig(size=config.size, patch=config.patch, tubelet=1, positions="sincos")
        self.encoder = Encoder(shape, video=False, image=True, resolution=resolution)
        _grid(self.encoder, resolution)
        self.dim = config.dim
        self.projector = nn.Sequential(
            nn.Linear(self.encoder.dim, PROJECTOR_WIDTH),
            nn.BatchNorm1d(PROJECTOR_WIDTH),
            nn.GELU(),
            nn.Linear(PROJECTOR_WIDTH, config.dim),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames at the resolution of the data: (B, T, 3, H, W) uint8 -> (B, T, 1, D)."""
        clips = normalise(frames.flatten(0, 1).unsqueeze(1))  # (B T, 3, 1, H, W)
        return self.projector(self.encoder(clips).mean(1)).reshape(*frames.shape[:2], 1, self.dim)


class ConvFrameEncoder(FrameEncoder):
    """Strided convolutions, each followed by a group norm, and a linear layer on the flat last map.

    The flat map keeps where things are, and the linear layer is free to scale the latents as SIGReg asks.
    """

    grid = Grid(1, 1, 1)

    def __init__(self, config: ConvFrames, resolution: Resolution) -> None:
        super().__init__()
        height, width = height_width(resolution)
        halvings = max(1, int(math.log2(min(height, width) / SMALLEST_MAP)))
        layers: list[nn.Module] = []
        channels = 3
        for layer in range(halvings):
            out = config.width * 2 ** min(layer, 4)
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)]
            layers += [nn.GroupNorm(math.gcd(8, out), out), nn.ReLU()]
            channels, height, width = out, -(-height // 2), -(-width // 2)
        self.dim = config.dim
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels * height * width, config.dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames at the resolution of the data: (B, T, 3, H, W) uint8 -> (B, T, 1, D)."""
        pixels = normalise(frames.flatten(0, 1).unsqueeze(1)).squeeze(2)  # (B T, 3, H, W)
        return self.head(self.layers(pixels).flatten(1)).reshape(*frames.shape[:2], 1, self.dim)


FRAMES: dict[str, Callable[[Any, Resolution], FrameEncoder]] = {
    "frozen": FrozenFrameEncoder,
    "vit": VitFrameEncoder,
    "conv": ConvFrameEncoder,
}


def build_frames(config: FramesConfig, *, resolution: Resolution) -> FrameEncoder:
    """Build the frame encoder that ``config`` describes for frames of ``resolution`` pixels.

    Raises ConfigError where the resolution does not fit the patch, and CheckpointError where a frozen encoder
    cannot be loaded.
    """
    return FRAMES[config.kind](config, resolution)


def _grid(encoder: ClipEncoder, resolution: Resolution) -> Grid:
    """Return the tokens of one frame. Raises ConfigError where the resolution is no multiple of the patch."""
    height, width = height_width(resolution)
    if height % encoder.patch or width % encoder.patch:
        raise ConfigError(
            f"data.resolution: {height} x {width} must be a multiple of the encoder's patch of {encoder.patch} pixels"
        )
    return encoder.grid((1, 3, 1, height, width))


def _check_fingerprint(
    encoder: FrozenFrameEncoder, state: Mapping[str, Any], prefix: str, *rest: object
) -> None:
    """Refuse the state of a world model that was trained on another frozen encoder."""
    stored = state.get(f"{prefix}fingerprint")
    if stored is not None and not torch.equal(stored.cpu(), encoder.get_buffer("fingerprint").cpu()):
        raise CheckpointError(
            f"frames.source: {encoder.source} is not the encoder that this world model was trained on "
            f"(fingerprint {_hex(encoder.get_buffer('fingerprint'))}, not {_hex(stored)}); put its weights back"
        )


def _hex(fingerprint: Tensor) -> str:
    """Return the first digits of a fingerprint."""
    return bytes(fingerprint.tolist()).hex()[:8]
