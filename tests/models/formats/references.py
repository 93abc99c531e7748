"""The published networks typed again in plain torch, with the published names, to compare ours with.

Sources: facebookresearch/ijepa, facebookresearch/jepa and facebookresearch/vjepa2, src/models/vision_transformer.py and
predictor.py; for V-JEPA 2.1, app/vjepa_2_1/models.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.types import Grid, Masks

WIDTH, HEADS, NARROW = 192, 3, 144
LEVELS = [2, 5, 8, 11]  # of 12 blocks


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, turn: Callable[[Tensor], Tensor]) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = turn(q) @ turn(k).transpose(-2, -1) * (width // self.heads) ** -0.5
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, turn: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + self.attn(self.norm1(x), turn)
        return x + self.mlp(self.norm2(x))


class Embedding(nn.Module):
    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.proj = convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


def waves(width: int, position: int) -> list[float]:
    """Sines, then cosines of one position."""
    angles = [position / 10000 ** (i / (width // 2)) for i in range(width // 2)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


def table(kind: str, grid: Grid, width: int) -> Tensor:
    """Positions as the releases store them: (1, N, width)."""
    third = math.ceil(width / 6) * 2
    rows = []
    for t in range(grid.time):
        for y in range(grid.height):
            for x in range(grid.width):
                if kind == "ijepa":
                    rows.append(waves(width // 2, x) + waves(width // 2, y))
                else:
                    rows.append((waves(third, t) + waves(third, y) + waves(third, x))[:width])
    return torch.tensor(rows)[None]


def turning(kind: str, ids: Tensor, grid: Grid) -> Callable[[Tensor], Tensor]:
    """How queries and keys of the tokens ``ids``, (B, N), are turned: thirds of a head by time, row and column."""
    if kind in ("ijepa", "vjepa"):
        return lambda x: x
    row, column = ids % (grid.height * grid.width) // grid.width, ids % grid.width
    places = [(ids // (grid.height * grid.width)).float(), row.float(), column.float()]
    if kind == "vjepa2.1":  # interpolate_rope, for patches of 16 pixels
        places[1:] = [places[1] * 15 / (grid.height - 1), places[2] * 15 / (grid.width - 1)]

    def turn(x: Tensor) -> Tensor:
        part = 2 * (x.shape[-1] // 3 // 2)
        channels, y = torch.arange(part), x.clone()
        which = channels // 2 if kind == "vjepa2.1" else channels % (part // 2)
        omega = 10000.0 ** -(which / (part / 2))
        for axis, place in enumerate(places):
            angle = (place[..., None] * omega)[:, None]  # (B, 1, N, part)
            own = x[..., axis * part : (axis + 1) * part]
            other = torch.stack((-own[..., 1::2], own[..., ::2]), dim=-1).flatten(-2)
            y[..., axis * part : (axis + 1) * part] = own * angle.cos() + other * angle.sin()
        return y

    return turn


def pick(x: Tensor, ids: Tensor) -> Tensor:
    return torch.stack([row[index] for row, index in zip(x, ids, strict=True)])


class Encoder(nn.Module):
    """Takes (B, 3, T, H, W), images of I-JEPA too."""

    def __init__(self, kind: str, grid: Grid, *, patch: int, depth: int = 2) -> None:
        super().__init__()
        self.kind, self.trained, self.patch = kind, grid, patch
        tubelets = nn.Conv3d(3, WIDTH, (2, patch, patch), (2, patch, patch))
        patches = nn.Conv2d(3, WIDTH, patch, patch)
        self.patch_embed = Embedding(patches if kind == "ijepa" else tubelets)
        if kind in ("ijepa", "vjepa"):
            self.pos_embed = nn.Parameter(table(kind, grid, WIDTH), requires_grad=False)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(depth))
        if kind == "vjepa2.1":
            self.patch_embed_img = Embedding(nn.Conv3d(3, WIDTH, (1, patch, patch), (1, patch, patch)))
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, WIDTH))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, WIDTH))
            self.norms_block = nn.ModuleList(nn.LayerNorm(WIDTH, eps=1e-6) for _ in LEVELS)
        else:
            self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, clip: Tensor, keep: Tensor | None = None, levels: bool = False) -> Tensor:
        frames, height, width = clip.shape[2:]
        grid = Grid(max(1, frames // 2), height // self.patch, width // self.patch)
        if self.kind == "vjepa2.1":
            one = frames == 1
            x = self.patch_embed_img(clip) if one else self.patch_embed(clip)
            x = x + (self.img_mod_embed if one else self.video_mod_embed)
        else:
            x = self.patch_embed(clip[:, :, 0] if self.kind == "ijepa" else clip)
        if self.kind in ("ijepa", "vjepa"):
            x = x + self.interpolated(grid)
        ids = torch.arange(grid.tokens).expand(len(clip), -1)
        if keep is not None:
            x, ids = pick(x, keep), keep
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x, turning(self.kind, ids, grid))
            if self.kind == "vjepa2.1" and number in LEVELS:
                found.append(self.norms_block[LEVELS.index(number)](x))
        if self.kind != "vjepa2.1":
            return self.norm(x)
        return torch.cat(found, dim=-1) if levels else found[-1]

    def interpolated(self, grid: Grid) -> Tensor:
        if grid == self.trained:
            return self.pos_embed
        volume = self.pos_embed.reshape(1, *self.trained, WIDTH).permute(0, 4, 1, 2, 3)
        scale = tuple(new / old for new, old in zip(grid, self.trained, strict=True))
        if self.kind == "ijepa":
            return (
                F.interpolate(volume[:, :, 0], scale_factor=scale[1:], mode="bicubic")
                .flatten(2)
                .transpose(1, 2)
            )
        return F.interpolate(volume, scale_factor=scale, mode="trilinear").flatten(2).transpose(1, 2)


class Predictor(nn.Module):
    def __init__(
        self, kind: str, grid: Grid, *, tokens: int, levels: int = 1, out: int = WIDTH, depth: int = 2
    ) -> None:
        super().__init__()
        self.kind = kind
        if levels == 1:
            self.predictor_embed: nn.Module = nn.Linear(WIDTH, NARROW)
        else:
            self.predictor_embed = nn.Sequential(
                nn.Linear(levels * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, NARROW)
            )
        if kind == "ijepa":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, NARROW))
        else:
            self.mask_tokens = nn.ParameterList(torch.zeros(1, 1, NARROW) for _ in range(tokens))
        if kind in ("ijepa", "vjepa"):
            self.predictor_pos_embed = nn.Parameter(table(kind, grid, NARROW), requires_grad=False)
        if kind == "vjepa2.1":
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, NARROW))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, NARROW))
            self.predictor_proj_context = nn.Linear(NARROW, levels * out)
        heads = HEADS if kind in ("ijepa", "vjepa") else 12
        self.predictor_blocks = nn.ModuleList(Block(NARROW, heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(NARROW, eps=1e-6)
        self.predictor_proj = nn.Linear(NARROW, levels * out)

    def forward(
        self, context: Tensor, masks: Masks, grid: Grid, pattern: int = 0, image: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        known, ids = self.predictor_embed(context), torch.cat((masks.context, masks.target), dim=1)
        token = self.mask_token if self.kind == "ijepa" else self.mask_tokens[pattern]
        x = torch.cat((known, token.expand(len(known), masks.target.shape[1], -1)), dim=1)
        if self.kind in ("ijepa", "vjepa"):
            x = x + pick(self.predictor_pos_embed.expand(len(x), -1, -1), ids)
        order = ids.argsort(dim=1)
        x, ids = pick(x, order), pick(ids, order)
        if self.kind == "vjepa2.1":
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        for block in self.predictor_blocks:
            x = block(x, turning(self.kind, ids, grid))
        x = pick(self.predictor_norm(x), order.argsort(dim=1))
        known, hidden = x[:, : known.shape[1]], x[:, known.shape[1] :]
        also = self.predictor_proj_context(known) if self.kind == "vjepa2.1" else None
        return self.predictor_proj(hidden), also


def randomise(module: nn.Module, seed: int) -> None:
    """Draw weights large enough that a mistake shows; tables of positions stay."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if not name.endswith("pos_embed"):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
                if "norm" in name and name.endswith("weight"):
                    value.add_(1)
    module.eval()


def random_masks(grid: Grid, batch: int = 2, seed: int = 0) -> Masks:
    """A third of the tokens as context, a quarter as targets, each sample's its own, in no order."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(grid.tokens, generator=generator) for _ in range(batch)])
    return Masks(ids[:, : grid.tokens // 3], ids[:, grid.tokens // 3 : grid.tokens // 3 + grid.tokens // 4])


def write(path: Path, prefix: str, **networks: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Write a checkpoint with what training leaves in it; return the networks as stored."""
    stored = {
        name: {prefix + key: value.detach() for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }
    torch.save({**stored, "opt": {"state": {}}, "scaler": None, "epoch": 3, "loss": 0.5}, path)
    return stored


def rewrite(path: Path, network: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights of one network of a checkpoint."""
    state = torch.load(path, weights_only=True)
    change(state[network])
    torch.save(state, path)


def assert_equal_states(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """The same names and the same numbers."""
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]
