"""Seconds per decision with a model of LeWM's published shape, beside stable-worldmodel's LeWM and its CEM solver.

    python -m benchmarks.planning_lewm [--peer PATH] [--rounds 5] [--samples 300] [--iterations 30]

PATH holds the package ``stable_worldmodel`` 0.1.1 (a clone, or the unpacked wheel), with what it imports installed; its
solver and its `LeWM` are the evaluation code of LeWM's tables, whose plans start from one frame. Sizes: ViT-tiny, patch
14, 224 px; predictor of 6 blocks, 192 wide, 16 heads of 64, MLP 2,048; history 3; 5 environment steps per model step;
CEM 300 x 30, horizon 5. All weights are random. A decision encodes the frame and the goal, and searches.

What theirs computes per candidate and round: at each of the 5 steps the whole window anew, 1 + 2 + 3 + 3 + 3 = 12
tokens through 6 blocks, modulations of the norms among them, and the projector of all of these tokens, of which the
newest is read. 0.1.1 encodes frame and goal once per decision. The code that was published with the paper
(lucas-maes/le-wm, jepa.py) encodes both in every round: the row ``encodings repeated``, which is 0.1.1 with its kept
encodings taken away. Pixels are not copied per candidate (``expand``).

Rows of ours, both through `jepa.planning.MPC` and `jepa.planning.CEM`:

- ``their weights``: the same function of the same weights, for which `SlidingLeWM` here stands between the two. Keys,
  values and modulations are kept for as long as the window grows: 1 + 1 + 1 tokens; when it slides, learned positions
  move with it, so all 3 frames of the window are computed anew, and of their last block what the newest frame reads: 9
  tokens. The costs of 300 candidates over all 5 steps are compared first, and must agree to 1e-5 of themselves.
- ``our model``: ``kind: adaln`` at the same sizes, planned with as it was trained: rotary positions do not move with a
  window, and a frame's keys and values are those it had when it was new, so a step costs one token, 5 in all. Its
  numbers are not theirs: old frames tell newer ones what they saw themselves. It has no projector behind the predictor.

Solvers differ by design: theirs draws without bounds and answers with the mean; ours stays inside the bounds and
answers with the best candidate seen, asking for one candidate more at the end. Candidates, rounds, horizon and elites
are alike.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.pairs import (
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_of_products,
)
from benchmarks.peers import add_peer, peer_modules
from benchmarks.planning import flops
from jepa.config.world_model import AdaLNDynamics, VitFrames
from jepa.models.activations import gelu
from jepa.models.dynamics import build_dynamics
from jepa.models.dynamics.base import Dynamics, KeysValues
from jepa.models.few_keys import attend_few, takes_few
from jepa.models.frames import FrameEncoder, build_frames
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.planning import CEM, MPC, BoxSpace
from jepa.planning.costs import GoalDistance
from jepa.preprocess import normalise
from jepa.runtime.products import product
from jepa.types import Grid

ACTION, FRAME_SKIP, HORIZON, HISTORY = 2, 5, 5, 3
PIXELS, PATCH, DIM = 224, 14, 192
DEPTH, HEADS, HEAD_WIDTH, MLP_WIDTH = 6, 16, 64, 2048
ELITES = 30
TOLERANCE = 1e-5  # of a cost: float32, sums in another order


Image = NDArray[np.uint8]
Runs = dict[str, Callable[[], object]]


class Search(NamedTuple):
    """How long a solver looks."""

    samples: int
    iterations: int


class Window(NamedTuple):
    """What `SlidingLeWM` remembers of the frames before the newest."""

    frames: int = 0
    latents: tuple[Tensor, ...] = ()  # each (R, D): the last HISTORY - 1
    changes: tuple[Tensor, ...] = ()  # each (R, DEPTH, 6 D): their modulations
    seen: tuple[KeysValues, ...] = ()  # per block, while the window grows
    ahead: int | None = None  # steps to come, which `rollout` tells


class SlidingLeWM(Dynamics):
    """Their predictor in our protocol: the same weights and numbers, computing nothing twice that stays the same."""

    history = HISTORY

    def __init__(self, lewm: Any) -> None:
        super().__init__()
        self.lewm, self.predictor = lewm, lewm.predictor
        self.layers: Any = lewm.predictor.transformer.layers
        modulations = [layer.adaLN_modulation[1] for layer in self.layers]
        self.weight = torch.cat([one.weight for one in modulations])  # (DEPTH 6 D, D)
        self.bias = torch.cat([one.bias for one in modulations])

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing, by their code: (B, T, 1, D), (B, T, A) -> (B, T, 1, D)."""
        return self.lewm.predict(z.squeeze(2), self.lewm.action_encoder(actions)).unsqueeze(2)

    def start(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Any:
        """Remember nothing: their evaluation plans from one frame."""
        assert z.shape[1] == 0
        return Window()

    def step(
        self, z: Tensor, action: Tensor, memory: Any, proprio: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Predict the frame after ``z``: (B, S, 1, D), (B, S, A) -> (B, S, 1, D)."""
        newest = z.reshape(-1, DIM)  # (R, D)
        condition = F.silu(self.lewm.action_encoder(action.reshape(len(newest), 1, -1)).squeeze(1))
        change = product(condition, self.weight, self.bias).unflatten(-1, (DEPTH, -1))  # (R, DEPTH, 6 D)
        grows = memory.frames < HISTORY
        latents, changes = (*memory.latents, newest), (*memory.changes, change)
        first, taken = (memory.frames, 1) if grows else (0, HISTORY)
        places = self.predictor.pos_embedding[:, first : first + taken]
        x = torch.stack(latents[-taken:], dim=1) + places  # (R, T, D)
        conditions = torch.stack(changes[-taken:], dim=1)  # (R, T, DEPTH, 6 D)
        seen = []
        for index, layer in enumerate(self.layers):
            past = memory.seen[index] if grows and memory.seen else None
            x, keys_values = block(layer, x, conditions[:, :, index], past, newest=index == DEPTH - 1)
            seen.append(keys_values)
        x = self.predictor.transformer.norm(x[:, -1])  # (R, D)
        expand, norm, _, contract = self.lewm.pred_proj.net
        x = product(gelu(norm(product(x, expand.weight, expand.bias))), contract.weight, contract.bias)
        kept = HISTORY - 1
        memory = Window(memory.frames + 1, latents[-kept:], changes[-kept:], tuple(seen) if grows else ())
        return x.reshape(z.shape), memory


def block(
    layer: Any, x: Tensor, changes: Tensor, past: KeysValues | None, *, newest: bool
) -> tuple[Tensor, KeysValues]:
    """Run their block on tokens (R, T, D) with changes (R, T, 6 D) behind ``past``; ``newest``: for the last only."""
    shift1, scale1, gate1, shift2, scale2, gate2 = changes.chunk(6, dim=-1)
    normed = layer.attn.norm(torch.addcmul(shift1, layer.norm1(x), 1 + scale1))
    weight, inner = layer.attn.to_qkv.weight, HEADS * HEAD_WIDTH
    if newest and x.shape[1] > 1:
        q = product(normed[:, -1:], weight[:inner])
        k, v = product(normed, weight[inner:]).chunk(2, dim=-1)
        x, gate1, shift2, scale2, gate2 = (part[:, -1:] for part in (x, gate1, shift2, scale2, gate2))
    else:
        q, k, v = product(normed, weight).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2) for part in (q, k, v))
    if past is not None:
        k, v = torch.cat((past.keys, k), dim=2), torch.cat((past.values, v), dim=2)
    if takes_few(q, k):
        mixed = attend_few(q, k, v)  # (R, h, 1, d)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)  # (R, h, T, d)
    out = layer.attn.to_out[0]
    x = torch.addcmul(x, gate1, product(mixed.transpose(1, 2).flatten(2), out.weight, out.bias))
    norm, expand, _, _, contract, _ = layer.mlp.net
    hidden = product(norm(torch.addcmul(shift2, layer.norm2(x), 1 + scale2)), expand.weight, expand.bias)
    return torch.addcmul(x, gate2, product(gelu(hidden), contract.weight, contract.bias)), KeysValues(k, v)


class TheirFrames(FrameEncoder):
    """Their frame encoder behind our interface."""

    grid, dim = Grid(1, 1, 1), DIM

    def __init__(self, lewm: Any) -> None:
        super().__init__()
        self.lewm = lewm

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames: (B, T, 3, H, W) uint8 -> (B, T, 1, D)."""
        pixels = normalise(frames.flatten(0, 1).unsqueeze(1)).transpose(1, 2)  # (B T, 1, 3, H, W)
        return self.lewm.encode({"pixels": pixels})["emb"].reshape(*frames.shape[:2], 1, DIM)


def peer_model(module: Any, lewm: Any) -> Any:
    """Build their LeWM as scripts/train/config/lewm.yaml has it, with random weights, none of them 0."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    shape = {"hidden_size": DIM, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
    encoder = ViTModel(ViTConfig(**shape, image_size=PIXELS, patch_size=PATCH), add_pooling_layer=False)
    predictor = module.Predictor(
        num_frames=HISTORY,
        depth=DEPTH,
        heads=HEADS,
        mlp_dim=MLP_WIDTH,
        input_dim=DIM,
        hidden_dim=DIM,
        dim_head=HEAD_WIDTH,
        dropout=0.1,
    )
    projectors = [module.MLP(DIM, 2048, DIM, norm_fn=nn.BatchNorm1d) for _ in range(2)]
    actions = module.Embedder(input_dim=ACTION * FRAME_SKIP, emb_dim=DIM)
    model = lewm.LeWM(encoder, predictor, actions, *projectors)
    for layer in predictor.transformer.layers:
        nn.init.normal_(layer.adaLN_modulation[1].weight, std=DIM**-0.5)
    return model.requires_grad_(False).eval()


def world_model(frames: FrameEncoder, dynamics: Dynamics) -> LatentWorldModel:
    """Put frame encoder and dynamics together; actions are taken as they are."""
    scaling = Scaling(None, None, action_size=ACTION, proprio_size=0, frame_skip=FRAME_SKIP)
    return LatentWorldModel(frames, dynamics, scaling, resolution=PIXELS).requires_grad_(False).eval()


def our_model() -> LatentWorldModel:
    """Build our own model of the published sizes, with random weights, none of them 0."""
    torch.manual_seed(0)
    frames = build_frames(VitFrames(kind="vit", size="tiny", patch=PATCH, dim=DIM), resolution=PIXELS)
    config = AdaLNDynamics(
        kind="adaln",
        depth=DEPTH,
        width=DIM,
        heads=HEADS,
        history=HISTORY,
        head_width=HEAD_WIDTH,
        mlp_width=MLP_WIDTH,
    )
    dynamics = build_dynamics(config, dim=DIM, grid=frames.grid, action_size=ACTION * FRAME_SKIP)
    for weight in dynamics.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    return world_model(frames, dynamics)


def decision(model: LatentWorldModel, pixels: Image, goal: Image, search: Search) -> Callable[[], object]:
    """Return one decision of ours, from pixels to an action, the goal encoded too."""
    solver = CEM(samples=search.samples, iterations=search.iterations, elites=ELITES)
    space = BoxSpace(-3 * torch.ones(ACTION), 3 * torch.ones(ACTION))
    policy = MPC(model, solver, GoalDistance(), horizon=HORIZON, action_space=space)

    def decide() -> object:
        policy.reset(goal)
        return policy.act(pixels)

    return decide


class EncodingsRepeated(nn.Module):
    """Their model without what 0.1.1 keeps between rounds, as the published evaluation was."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def get_cost(self, info: dict[str, Tensor], candidates: Tensor) -> Tensor:
        """Return the costs (B, S), from an ``info`` that stays as it is."""
        return self.model.get_cost(dict(info), candidates)


def peer_decision(
    peer: tuple[Any, Any], model: Any, info: dict[str, Tensor], search: Search
) -> Callable[[], object]:
    """Return one decision of theirs, from pixels that are normalised already; what it prints is not shown."""
    cem, policy = peer
    solver = cem.CEMSolver(
        model, num_samples=search.samples, n_steps=search.iterations, topk=ELITES, device="cpu"
    )
    plan = policy.PlanConfig(horizon=HORIZON, receding_horizon=HORIZON, action_block=FRAME_SKIP)
    solver.configure(action_space=Box(-3, 3, (1, ACTION)), n_envs=1, config=plan)

    def decide() -> object:
        with contextlib.redirect_stdout(io.StringIO()):
            return solver.solve(info)

    return decide


@torch.no_grad()
def check(lewm: Any, ours: LatentWorldModel, info: dict[str, Tensor], frames: Tensor) -> float:
    """Return the largest relative difference of costs of 300 candidates; raises AssertionError above `TOLERANCE`."""
    candidates = torch.randn(1, 300, HORIZON, ACTION * FRAME_SKIP)
    each = {name: value.unsqueeze(1).expand(1, 300, *value.shape[1:]) for name, value in info.items()}
    theirs = lewm.get_cost(each, candidates)  # (1, S): sums over D of the last frame
    z = ours.encode(frames)  # (2, 1, 1, D): frame, goal
    imagined = ours.rollout(z[:1], candidates)
    mine = (imagined[:, :, -1, 0] - z[1, 0, 0]).square().sum(-1)
    difference = float(((mine - theirs) / theirs).abs().max())
    spread = float(theirs.std() / theirs.mean())
    assert difference < TOLERANCE < spread, (
        f"costs differ by {difference:.1e} of themselves, spread {spread:.1e}"
    )
    return difference


def against(folder: Path, pixels: Image, goal: Image) -> Callable[[Search], Runs]:
    """Return what makes decisions with their model, ours and theirs; costs are compared first."""
    names = ("wm.lewm.module", "wm.lewm.lewm", "solver.cem", "policy")
    module, lewm, *peer = peer_modules(folder, *(f"stable_worldmodel.{name}" for name in names))
    theirs = peer_model(module, lewm)
    adapted = world_model(TheirFrames(theirs), SlidingLeWM(theirs))
    frames = torch.from_numpy(np.stack([pixels, goal]))[:, None]  # (2, 1, H, W, 3)
    clips = normalise(frames.permute(0, 1, 4, 2, 3)).transpose(1, 2)  # (2, 1, 3, H, W)
    info = {"pixels": clips[:1], "goal": clips[1:], "action": torch.zeros(1, 1, ACTION * FRAME_SKIP)}
    say(f"Costs of 300 candidates agree to {check(theirs, adapted, info, frames):.1e} of themselves.\n")
    cem, policy = peer
    return lambda search: {
        "ours, their weights": decision(adapted, pixels, goal, search),
        "0.1.1": peer_decision((cem, policy), theirs, info, search),
        "0.1.1, encodings repeated": peer_decision((cem, policy), EncodingsRepeated(theirs), info, search),
    }


def main() -> None:
    parser = options(__doc__)
    add_peer(parser, "galilai-group/stable-worldmodel")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--iterations", type=int, default=30)
    arguments = parser.parse_args()
    print_header(arguments, *(["transformers"] if arguments.peer else []))
    pixels, goal = np.random.default_rng(0).integers(0, 256, (2, PIXELS, PIXELS, 3), dtype=np.uint8)
    ours = our_model()
    beside = against(arguments.peer, pixels, goal) if arguments.peer else lambda search: {}

    def runs(iterations: int) -> Runs:
        search = Search(arguments.samples, iterations)
        return {"ours, our model": decision(ours, pixels, goal, search)} | beside(search)

    once, twice = ({name: flops(run) for name, run in runs(count).items()} for count in (1, 2))
    counted = {name: once[name] + (arguments.iterations - 1) * (twice[name] - once[name]) for name in once}
    spent = interleave(runs(arguments.iterations), rounds=arguments.rounds, warmup=0)  # counting warmed up
    speed = speed_of_products()
    peers = [name for name in spent if name.startswith("0.1.1")]
    rows = [
        [
            name,
            f"{counted[name] / 1e9:,.0f}",
            f"{counted[name] / speed:.2f}",
            f"{times.seconds:.2f}",
            f"{counted[name] / times.seconds / 1e9:.0f}",
            *(ratio(spent[peer], times) for peer in peers),
        ]
        for name, times in spent.items()
    ]
    titles = ["decision", "GFLOP", f"floor at {speed / 1e9:.0f} GFLOP/s, s", "s", "GFLOP/s"]
    print_table(titles + [f"{peer} / this" for peer in peers], rows)


if __name__ == "__main__":
    with torch.no_grad():
        main()
