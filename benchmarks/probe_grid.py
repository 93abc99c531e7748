"""A grid of 20 attentive heads at once beside one after another.

Run it as ``python -m benchmarks.probe_grid``. Three ways to train the same 20 heads on the same features (float16, in a
file mapped into memory):

- together: `jepa.probes.training.train` with 20 points, as `AttentiveProbe` does;
- own: the same function with one point, one head after another;
- plain: a plain module (keys and values of all tokens, `nn.Linear`, `scaled_dot_product_attention`) and
  `torch.optim.AdamW`, one head after another, as published code does it.

Equal weights and losses are checked before anything is timed. The floor is the time that the counted multiplications
would take at the speed of a large matrix product on this machine. All heads cost the same, so of those that are
trained one after another only some are timed, and the time is scaled to 20.
"""

import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pairs import Ratio, interleave, options, print_header, print_table, say, speed_of_products
from jepa.probes.attentive import AttentiveNetwork
from jepa.probes.grid import LEARNING_RATES, WEIGHT_DECAYS
from jepa.probes.targets import Targets, learn_targets
from jepa.probes.training import Point, Recipe, Samples, learning_rate_scale, train
from jepa.runtime.seeding import generator

HEADS_OF_GRID = len(LEARNING_RATES) * len(WEIGHT_DECAYS)
POINTS = [Point(rate, decay) for rate, decay in product(LEARNING_RATES, WEIGHT_DECAYS)]
CLASSES, HEADS, BATCH = 10, 16, 128


class Block(nn.Module):
    """A pre-norm self-attention block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Plain(nn.Module):
    """The attentive classifier, written as one would."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.query = nn.Parameter(torch.zeros(width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.linear = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.blocks(x))
        query = self.query.expand(len(x), 1, -1)
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.q(query), self.k(x), self.v(x))
        )
        query = query + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        query = query + self.fc2(F.gelu(self.fc1(self.norm2(query))))
        return self.linear(query[:, 0])


def fit_plain(
    samples: Samples, network: AttentiveNetwork, point: Point, recipe: Recipe
) -> tuple[Plain, float]:
    """Train one plain head; returns it and the mean loss of its last epoch."""
    model = Plain(network.width, network.blocks)
    start = network.start(generator(recipe.seed, "head"))
    model.load_state_dict({name: weight.T if weight.ndim > 1 else weight for name, weight in start.items()})
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": point.weight_decay}, {"params": free, "weight_decay": 0.0}],
        fused=True,
    )
    per_epoch = -(-len(samples) // recipe.batch_size)
    step, loss = 0, 0.0
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(samples), generator=generator(recipe.seed, "head batches", epoch))
        loss = 0.0
        for numbers in order.tensor_split(per_epoch):
            rows, target = samples.batch(numbers.sort().values, recipe.device)
            for group in optimizer.param_groups:
                group["lr"] = point.learning_rate * learning_rate_scale(step, per_epoch * recipe.epochs)
            error = F.cross_entropy(model(rows), target)
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            optimizer.step()
            loss += error.item() * len(numbers)
            step += 1
    return model, loss / len(samples)


def write_features(path: Path, n: int, tokens: int, width: int) -> tuple[np.memmap, Tensor]:
    """Write tokens of which one tells the class, and map them into memory."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % CLASSES
    sign = torch.randn(CLASSES, width, generator=draw)
    features = np.memmap(path, np.float16, "w+", shape=(n, tokens, width))
    for first in range(0, n, 64):
        part = torch.randn(min(64, n - first), tokens, width, generator=draw)
        part[:, 0] += sign[labels[first : first + 64]]
        features[first : first + 64] = part.numpy()
    features.flush()
    return np.memmap(path, np.float16, "r", shape=(n, tokens, width)), labels


def check_equal(samples: Samples, network: AttentiveNetwork, targets: Targets, recipe: Recipe) -> None:
    """Stop unless the three ways give the same losses after one epoch."""
    points = POINTS[::7]
    together = train(network, targets, points, fitted=samples, held_out=None, recipe=recipe)
    for number, point in enumerate(points):
        alone = train(network, targets, [point], fitted=samples, held_out=None, recipe=recipe)
        plain, loss = fit_plain(samples, network, point, recipe)
        ours = together.history[-1]["training loss"][number]
        assert abs(ours - alone.history[-1]["training loss"][0]) < 1e-4 * ours
        assert abs(ours - loss) < 1e-3 * ours, (ours, loss)
        for name, weight in plain.state_dict().items():
            difference = (
                (together.weights[name][number] - (weight.T if weight.ndim > 1 else weight)).abs().max()
            )
            assert difference < 0.5 * point.learning_rate, (point, name, difference)


def flops_of_a_step(network: AttentiveNetwork, samples: Samples, targets: Targets) -> tuple[int, int]:
    """Count multiplications and additions of a training step of 20 heads: ours, and plain."""
    rows, target = samples.batch(torch.arange(min(BATCH, len(samples))), torch.device("cpu"))
    heads = {
        name: weight.expand(HEADS_OF_GRID, *weight.shape).clone().requires_grad_()
        for name, weight in network.start(generator(0)).items()
    }
    with FlopCounterMode(display=False) as ours:
        targets.losses(network.outputs(heads, network.share(rows)), target).sum().backward()
    with FlopCounterMode(display=False) as plain:
        F.cross_entropy(Plain(network.width, network.blocks)(rows), target).backward()
    return ours.get_total_flops(), HEADS_OF_GRID * plain.get_total_flops()


@dataclass(frozen=True, slots=True)
class Case:
    """Features and heads to fit on them for one epoch, and how many heads are timed one by one."""

    samples: int
    tokens: int
    width: int
    blocks: int
    own_timed: int
    plain_timed: int

    def __str__(self) -> str:
        kind = f"{self.blocks} self-attention blocks before it" if self.blocks else "cross-attention alone"
        steps = -(-self.samples // BATCH)
        return f"{kind}, {self.tokens} tokens x {self.width}, {steps} step{'s' if steps > 1 else ''}"


CASES = (
    Case(1024, 64, 128, 0, 20, 20),
    Case(512, 128, 384, 0, 20, 4),
    Case(64, 64, 128, 3, 10, 10),
    Case(16, 128, 384, 3, 2, 2),
)


def compare(folder: Path, case: Case, speed: float, rounds: int) -> list[object]:
    """Time the three ways, and return a row of the table."""
    features, labels = write_features(folder / "features.f16", case.samples, case.tokens, case.width)
    targets, target = learn_targets("classes", labels, case.samples)
    network = AttentiveNetwork(case.tokens, case.width, case.blocks, HEADS, CLASSES)
    samples = Samples(features, target, torch.arange(case.samples))
    few = Samples(features, target, torch.arange(min(case.samples, 2 * BATCH)))
    recipe = Recipe(1, BATCH, 0, "float32", torch.device("cpu"))
    check_equal(few, network, targets, recipe)
    steps = -(-case.samples // BATCH)
    ours, plain = (steps * count / speed for count in flops_of_a_step(network, samples, targets))

    def fit(points: list[Point]) -> None:
        train(network, targets, points, fitted=samples, held_out=None, recipe=recipe)

    times = interleave(
        {
            "together": lambda: fit(POINTS),
            "own": lambda: [fit([point]) for point in POINTS[: case.own_timed]],
            "plain": lambda: [
                fit_plain(samples, network, point, recipe) for point in POINTS[: case.plain_timed]
            ],
        },
        rounds=rounds,
    )
    cells: list[object] = [str(case), f"{times['together'].seconds:.2f} (floor {ours:.2f})"]
    for way, timed, floor in (("own", case.own_timed, ours), ("plain", case.plain_timed, plain)):
        scale = HEADS_OF_GRID / timed
        wall = [scale * seconds for seconds in times[way].wall]
        note = "" if scale == 1 else f", {timed} timed"
        cells += [
            f"{scale * times[way].seconds:.2f} (floor {floor:.2f}{note})",
            Ratio.of(wall, times["together"].wall),
        ]
    return cells


def main() -> None:
    """Compare all cases, and print a table."""
    parser = options(__doc__)
    parser.add_argument("--quick", action="store_true", help="the cases without self-attention blocks only")
    chosen = parser.parse_args()
    print_header(chosen)
    speed = speed_of_products()
    say(f"{speed / 1e9:.0f} GFLOP/s\n")
    cases = [case for case in CASES if not (chosen.quick and case.blocks)]
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(Path(folder), case, speed, chosen.rounds) for case in cases]
    print_table(
        ("head, features", "together, s", "own, s", "own / together", "plain, s", "plain / together"), rows
    )


if __name__ == "__main__":
    main()
