"""V-JEPA 2-AC's predictor and planner written down plainly, with the published names, and nothing of ours.

One token at a time where it matters: which tokens see which, and where each stands. The facts are those of
facebookresearch/vjepa2: src/models/ac_predictor.py, src/models/utils/modules.py, notebooks/utils/mpc_utils.py.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 16


def make_predictor(*, dim: int, width: int, depth: int, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the released names, large enough that every token matters."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"predictor_embed": (width, dim), "predictor_proj": (dim, width)}
    shapes |= {"action_encoder": (width, 7), "state_encoder": (width, 7), "extrinsics_encoder": (width, 6)}
    shapes |= _blocks("predictor_blocks", width, depth) | {"predictor_norm": (width,)}
    return _drawn(shapes, draw)


def make_encoder(*, width: int, depth: int, seed: int = 1) -> dict[str, Tensor]:
    """Random weights of a ViT over tubelets of 2 frames and patches of 16 pixels, under the released names."""
    shapes = (
        {"patch_embed.proj": (width, 3, 2, 16, 16)} | _blocks("blocks", width, depth) | {"norm": (width,)}
    )
    return _drawn(shapes, torch.Generator().manual_seed(seed))


def write_checkpoint(
    path: Path, encoder: dict[str, Tensor], predictor: dict[str, Tensor], change=None
) -> Path:
    """Save them as the release does, with what training leaves there, after ``change`` of the parts."""
    encoder = encoder | {"pos_embed": torch.zeros(1, 8, len(encoder["norm.bias"]))}
    parts = {
        "encoder": {f"module.backbone.{name}": value for name, value in encoder.items()},
        "predictor": {f"module.{name}": value for name, value in predictor.items()},
        "opt": {"state": {}},
        "epoch": 315,
    }
    if change is not None:
        change(parts)
    torch.save(parts, path)
    return path


def _blocks(name: str, width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a transformer's blocks."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(depth):
        block = f"{name}.{layer}."
        shapes |= {block + "attn.qkv": (3 * width, width), block + "attn.proj": (width, width)}
        shapes |= {block + "mlp.fc1": (4 * width, width), block + "mlp.fc2": (width, 4 * width)}
        shapes |= {block + "norm1": (width,), block + "norm2": (width,)}
    return shapes


def _drawn(shapes: dict[str, tuple[int, ...]], draw: torch.Generator) -> dict[str, Tensor]:
    """Draw weights and biases of linear layers, and of norms, which have one axis."""
    state = {}
    for name, shape in shapes.items():
        weight = torch.randn(shape, generator=draw)
        is_norm = len(shape) == 1
        state[f"{name}.weight"] = 1 + 0.2 * weight if is_norm else weight / math.sqrt(math.prod(shape[1:]))
        state[f"{name}.bias"] = 0.3 * torch.randn(shape[0], generator=draw)
    return state


class Predictor(nn.Module):
    """The released predictor: (B, T * N, D), (B, T, 7), (B, T, 7) -> (B, T * N, D)."""

    def __init__(self, state: dict[str, Tensor], height: int, width: int) -> None:
        super().__init__()
        self.state, self.height, self.width = state, height, width
        self.depth = 1 + max(
            int(name.split(".")[1]) for name in state if name.startswith("predictor_blocks.")
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=1e-6
        )

    def forward(self, z: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        frames, patches = actions.shape[1], self.height * self.width
        z = self.linear("predictor_embed", z).unflatten(1, (frames, patches))
        told = (
            self.linear(name, x)[:, :, None]
            for name, x in (("action_encoder", actions), ("state_encoder", states))
        )
        x = torch.cat((*told, z), dim=2).flatten(1, 2)
        frame = [t for t in range(frames) for _ in range(patches + 2)]
        sees = torch.tensor([[other <= one for other in frame] for one in frame])
        for layer in range(self.depth):
            block = f"predictor_blocks.{layer}."
            x = x + self.attention(block + "attn.", self.norm(block + "norm1", x), frames, sees)
            hidden = F.gelu(self.linear(block + "mlp.fc1", self.norm(block + "norm2", x)))
            x = x + self.linear(block + "mlp.fc2", hidden)
        x = x.unflatten(1, (frames, patches + 2))[:, :, 2:].flatten(1, 2)
        return self.linear("predictor_proj", self.norm("predictor_norm", x))

    def attention(self, name: str, x: Tensor, frames: int, sees: Tensor) -> Tensor:
        q, k, v = self.linear(name + "qkv", x).unflatten(-1, (3, HEADS, -1)).unbind(2)  # each (B, M, h, d)
        q, k = self.turned(q, frames), self.turned(k, frames)
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])
        shares = scores.masked_fill(~sees, -math.inf).softmax(dim=-1)
        return self.linear(name + "proj", torch.einsum("bhij,bjhd->bihd", shares, v).flatten(2))

    def turned(self, x: Tensor, frames: int) -> Tensor:
        """Thirds of the head for time, row and column; action and state only in time."""
        part = x.shape[-1] // 3 // 2 * 2
        rows, token = [], 0
        for time in range(frames):
            for place in range(-2, self.height * self.width):
                row, column = divmod(place, self.width)
                where = [time] if place < 0 else [time, row, column * self.height / self.width]
                one = x[:, token]
                pieces = [_turn(one[..., i * part : (i + 1) * part], at) for i, at in enumerate(where)]
                rows.append(torch.cat((*pieces, one[..., len(where) * part :]), dim=-1))
                token += 1
        return torch.stack(rows, dim=1)


def _turn(x: Tensor, position: float) -> Tensor:
    """Channel i of a pair with the angle of frequency i mod half: as released."""
    half = x.shape[-1] // 2
    angle = position / 10_000 ** (torch.arange(half) / half)
    angle = torch.cat((angle, angle))
    across = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return x * angle.cos() + across * angle.sin()


def imagine(predictor: Predictor, z: Tensor, actions: Tensor, state: Tensor, moved) -> Tensor:
    """Roll out as the released planner: (B, N, D), (B, H, 7), (B, 7) -> (B, N, D), the whole prefix again each step."""
    frames, states = z[:, None], state[:, None]
    for step in range(actions.shape[1]):
        flat = predictor(frames.flatten(1, 2), actions[:, : step + 1], states)[:, -z.shape[1] :]
        frames = torch.cat((frames, F.layer_norm(flat, flat.shape[-1:])[:, None]), dim=1)
        states = torch.cat((states, moved(states[:, -1], actions[:, step])[:, None]), dim=1)
    return frames[:, -1]


def plan(cost, noise: Tensor, *, radius: float, elites: int, momentum: dict[str, float]) -> Tensor:
    """The released search: noise (rounds, samples, H, 4) -> (H, 7); ``cost`` of (samples, H, 7) is (samples,)."""
    mean = torch.zeros(noise.shape[2], 4)
    std = torch.tensor([radius, radius, radius, 1.0]).expand_as(mean)
    keep = torch.tensor([momentum["mean"]] * 3 + [momentum["mean_gripper"]])
    keep_std = torch.tensor([momentum["std"]] * 3 + [momentum["std_gripper"]])
    limit = torch.tensor([radius, radius, radius, 0.75])
    for drawn in noise:
        chosen = (drawn * std + mean).clamp(-limit, limit)
        chosen = chosen[cost(_seven(chosen)).topk(elites, largest=False).indices]
        mean = chosen.mean(dim=0) * (1 - keep) + mean * keep
        std = chosen.std(dim=0) * (1 - keep_std) + std * keep_std
    mean[:, 3] = mean[:, 3].where(mean[:, 3].abs() >= 0.25, 0)
    return _seven(mean)


def _seven(four: Tensor) -> Tensor:
    """No rotation: (..., 4) -> (..., 7)."""
    return torch.cat((four[..., :3], torch.zeros_like(four[..., :3]), four[..., 3:]), dim=-1)
