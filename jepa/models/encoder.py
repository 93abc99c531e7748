"""The ViT encoder: clip in, tokens out."""

import torch
from torch import Tensor, nn

from jepa.config.method import ModelConfig
from jepa.errors import ConfigError
from jepa.models.blocks import NORM_EPS, Blocks, init_weights
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.positions import Positions
from jepa.models.rotary import Rotary
from jepa.models.sizes import size
from jepa.preprocess import MEAN, RGB, STD, Resolution
from jepa.types import Grid


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Keep the tokens named by ``index``: (B, N, D), (B, K) long in [0, N) -> (B, K, D).

    Raises ValueError when the batch sizes differ: gather would silently read only the first rows.
    """
    if index.ndim != 2 or index.shape[0] != tokens.shape[0]:
        raise ValueError(f"index must be (B, K) with B = {tokens.shape[0]}, got {tuple(index.shape)}")
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def token_grid(shape: torch.Size | tuple[int, ...], *, patch: int, tubelet: int) -> Grid:
    """Return the token grid of a clip of ``shape`` (B, 3, T, H, W).

    Raises ValueError when T, H or W does not fit the tubelet or the patch.
    """
    if len(shape) != 5 or shape[1] != 3 or shape[2] % tubelet or shape[3] % patch or shape[4] % patch:
        raise ValueError(
            f"clip must be (B, 3, T, H, W) with T a multiple of {tubelet} and H, W of {patch}, got {tuple(shape)}"
        )
    return Grid(shape[2] // tubelet, shape[3] // patch, shape[4] // patch)


class Encoder(ClipEncoder):
    """Vision transformer over tubelets of video, or patches of images (V-JEPA, section 3; ViT, arXiv:2010.11929)."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        video: bool = True,
        image: bool = False,
        resolution: Resolution = 224,
        mean: RGB = MEAN,
        std: RGB = STD,
    ) -> None:
        """Build with fresh weights; ``resolution`` (pixels), ``mean`` and ``std`` are those of ``preprocess``."""
        super().__init__(resolution, mean, std)
        shape = size(config.size)
        self.dim, self.heads = shape.width, shape.heads
        self.patch, self.tubelet, self.positions = config.patch, config.tubelet, Positions.of(config)
        cube = (self.tubelet, self.patch, self.patch)
        # An embedding that no batch uses would never learn, so only what the data needs is built.
        self.patch_embed = nn.Conv3d(3, self.dim, cube, cube) if video else None
        self.patch_embed_image = nn.Conv2d(3, self.dim, self.patch, self.patch) if image else None
        self.blocks = Blocks(
            self.dim,
            shape.depth,
            shape.heads,
            mlp_ratio=shape.mlp_ratio,
            drop_path=config.drop_path,
            recompute=config.checkpoint_activations,
        )
        self.norm = nn.LayerNorm(self.dim, eps=NORM_EPS)
        last = shape.depth - 1
        self.levels = config.levels or (last,)
        if self.levels[-1] != last:
            raise ConfigError(f"model.levels {list(self.levels)} must end with the last block, {last}")
        # The last level's norm is `norm`, with which the encoder ends.
        self.level_norms = nn.ModuleList(nn.LayerNorm(self.dim, eps=NORM_EPS) for _ in self.levels[:-1])
        tokens = config.modality_tokens
        self.video_token = nn.Parameter(torch.zeros(self.dim)) if tokens and video else None
        self.image_token = nn.Parameter(torch.zeros(self.dim)) if tokens and image else None
        init_weights(self)

    def grid(self, shape: torch.Size | tuple[int, ...]) -> Grid:
        """Return the token grid of a clip of ``shape`` (B, 3, T, H, W); raises ValueError when it does not fit."""
        return token_grid(shape, patch=self.patch, tubelet=1 if shape[-3] == 1 else self.tubelet)

    def forward(self, clip: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode a clip: (B, 3, T, H, W) -> (B, N, D), or (B, K, D) for the tokens in ``keep``, (B, K) long.

        Tokens that are not kept are dropped before the first block, so nothing of them reaches the output. An image
        (T = 1) that meets an encoder of videos alone is repeated until it fills a tubelet (V-JEPA, section 4.1).
        """
        return self.norm(self.blocks(*self._start(clip, keep)))

    def encode_levels(self, clip: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode as `forward` does and return all of ``levels``, side by side: (B, K, levels * D), the last one last.

        Each has a norm of its own (V-JEPA 2.1, released code, app/vjepa_2_1/models/vision_transformer.py).
        """
        outputs = self.blocks.outputs(*self._start(clip, keep), self.levels)
        norms = (*self.level_norms, self.norm)
        return torch.cat([norm(output) for norm, output in zip(norms, outputs, strict=True)], dim=-1)

    def _start(self, clip: Tensor, keep: Tensor | None) -> tuple[Tensor, Rotary | None]:
        """Return what enters the first block: tokens, (B, K, D), and where they stand."""
        grid = self.grid(clip.shape)
        tokens = self._embed(clip)  # (B, N, D)
        if (added := self.positions.added(grid, self.dim, clip.device)) is not None:
            tokens = tokens + added.to(tokens.dtype)
        table = self.positions.rotary(grid, self.dim // self.heads, clip.device)
        if keep is not None:
            tokens, table = take(tokens, keep), table.take(keep) if table else None  # (B, K, D)
        return tokens, table

    def _embed(self, clip: Tensor) -> Tensor:
        """Cut the clip into patches and embed each: (B, 3, T, H, W) -> (B, N, D), time-major."""
        if clip.shape[2] == 1 and self.patch_embed_image is not None:
            tokens = self.patch_embed_image(clip[:, :, 0]).flatten(2).transpose(1, 2)
            return tokens if self.image_token is None else tokens + self.image_token
        if self.patch_embed is None:
            raise ValueError(f"this encoder was trained on images alone: T must be 1, got {clip.shape[2]}")
        if clip.shape[2] == 1:
            clip = clip.expand(-1, -1, self.tubelet, -1, -1)
        tokens = self.patch_embed(clip).flatten(2).transpose(1, 2)
        return tokens if self.video_token is None else tokens + self.video_token
