"""A grid of 20 attentive heads at once against one after another: `python benchmarks/probe_grid.py`.

Three ways to train the same 20 heads on the same cached features (float16, in a file mapped into memory):

- together: `jepa.probes.training.train` with 20 points, as `AttentiveProbe` does;
- own, one by one: the same function with one point, 20 times;
- plain, one by one: a plain module (keys and values of all tokens, `nn.Linear`, `scaled_dot_product_attention`) and
  `torch.optim.AdamW`, 20 times, as published code does it.

Equal weights and losses are checked before anything is timed. The floor is the time that the counted
multiplications of each way would take at the speed of a large matrix product on this machine.
"""

import argparse
import os
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from jepa.probes.attentive import AttentiveNetwork
from jepa.probes.grid import LEARNING_RATES, WEIGHT_DECAYS
from jepa.probes.targets import learn_targets
from jepa.probes.training import Point, Recipe, Samples, learning_rate_scale, train
from jepa.runtime.seeding import generator

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


def check_equal(samples: Samples, network: AttentiveNetwork, targets, recipe: Recipe) -> None:
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


def flops_of_a_step(network: AttentiveNetwork, samples: Samples, targets) -> tuple[int, int]:
    """Count multiplications and additions of a training step of 20 heads: ours, and plain."""
    rows, target = samples.batch(torch.arange(min(BATCH, len(samples))), torch.device("cpu"))
    heads = {
        name: weight.expand(20, *weight.shape).clone().requires_grad_()
        for name, weight in network.start(generator(0)).items()
    }
    with FlopCounterMode(display=False) as ours:
        targets.losses(network.outputs(heads, network.share(rows)), target).sum().backward()
    with FlopCounterMode(display=False) as plain:
        F.cross_entropy(Plain(network.width, network.blocks)(rows), target).backward()
    return ours.get_total_flops(), 20 * plain.get_total_flops()


def machine_speed() -> float:
    """Return floating-point operations per second of a large product, the best of five."""
    a = torch.randn(2048, 2048)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


class Clock:
    """Wall and processor seconds; on a shared machine with one thread only the latter can be compared."""

    def __init__(self, run, times: float = 1.0) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self.wall, self.cpu = times * (time.perf_counter() - wall), times * (time.process_time() - cpu)

    def line(self, name: str, floor: float, base: "Clock") -> str:
        own = f"{self.wall:8.2f} s {self.cpu:8.2f} s processor   floor {floor:7.2f} s"
        return f"  {name:20s}{own}   {self.wall / base.wall:6.2f} x {self.cpu / base.cpu:6.2f} x"


def compare(
    folder: Path, *, n: int, tokens: int, width: int, blocks: int, heads_timed: int, speed: float
) -> None:
    """Print one line per way."""
    features, labels = write_features(folder / "features.f16", n, tokens, width)
    targets, target = learn_targets("classes", labels, n)
    network = AttentiveNetwork(tokens, width, blocks, HEADS, CLASSES)
    samples = Samples(features, target, torch.arange(n))
    few = Samples(features, target, torch.arange(min(n, 2 * BATCH)))
    recipe = Recipe(1, BATCH, 0, "float32", torch.device("cpu"))
    check_equal(few, network, targets, recipe)
    steps = -(-n // BATCH)
    ours, plain = (steps * count / speed for count in flops_of_a_step(network, samples, targets))
    some = POINTS[:: 20 // heads_timed][:heads_timed]
    share = f"{heads_timed} of 20 timed, scaled" if heads_timed < 20 else "all 20 timed"

    def ours_with(points: list[Point]) -> None:
        train(network, targets, points, fitted=samples, held_out=None, recipe=recipe)

    together = Clock(lambda: ours_with(POINTS))
    own = Clock(lambda: [ours_with([point]) for point in some], 20 / heads_timed)
    published = Clock(
        lambda: [fit_plain(samples, network, point, recipe) for point in some], 20 / heads_timed
    )
    print(f"blocks {blocks}, {n} samples of {tokens} tokens x {width}, 1 epoch of {steps} steps ({share})")
    print(together.line("together", ours, together))
    print(own.line("own, one by one", ours, together))
    print(published.line("plain, one by one", plain, together), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="the variant without self-attention blocks only")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    speed = machine_speed()
    print(
        f"torch {torch.__version__}, {chosen.threads} threads, load {os.getloadavg()[0]:.1f}, {speed / 1e9:.0f} GFLOP/s"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        compare(path, n=1024, tokens=64, width=128, blocks=0, heads_timed=20, speed=speed)
        compare(path, n=512, tokens=128, width=384, blocks=0, heads_timed=20, speed=speed)
        if not chosen.quick:
            compare(path, n=128, tokens=64, width=128, blocks=3, heads_timed=20, speed=speed)
            compare(path, n=64, tokens=128, width=384, blocks=3, heads_timed=2, speed=speed)


if __name__ == "__main__":
    main()
