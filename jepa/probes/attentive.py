"""The attentive head: a learned query that looks for the answer among all tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.grid import GridProbe
from jepa.probes.mlp import apply_linear, start_linear
from jepa.probes.targets import Targets
from jepa.probes.training import Network, Samples, Weights

INIT_STD = 0.02  # of the published pooler
NORM_EPS = 1e-5  # of the published pooler
MLP_RATIO = 4


@dataclass(kw_only=True, eq=False)
class AttentiveProbe(GridProbe):
    """Self-attention blocks, then cross-attention with one learned query, on tokens (n, N, D); a grid of heads.

    With 3 blocks the frozen evaluation of V-JEPA 2 (arXiv:2506.09985, facebookresearch/vjepa2
    src/models/attentive_pooler.py), with 0 that of V-JEPA (arXiv:2404.08471): no dropout, no positions, no
    projection behind the cross-attention, an MLP beside the query's residual path, a linear layer. A key's bias is
    left out: it adds the same to all scores of a query, so no answer depends on it. The query is a vector here and
    does not decay; the published code decays it, as a matrix of one row.
    """

    blocks: int = 3
    """Self-attention blocks before the cross-attention."""
    heads: int = 16
    """Attention heads of every block; they must divide D."""
    norm_eps: float = NORM_EPS
    """What norms add to the variance (transformers' pooler: 1e-6)."""

    labels: tuple[str, ...] = field(init=False, repr=False, default=())
    """Names of the classes in the order of the outputs, where the source of a published head gives them."""

    form: ClassVar[str] = "(samples, tokens, width)"

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be."""
        super().__post_init__()
        if self.blocks < 0 or self.heads < 1:
            raise ValueError(
                f"blocks must be 0 or more and heads 1 or more, got {self.blocks} and {self.heads}"
            )

    def _shape(self) -> tuple[int | None, ...]:
        return (None, None) if self._seen is None else (None, self._seen[1])

    def _build(self, samples: Samples, outputs: int) -> Network:
        tokens, width = samples.features.shape[1:]
        if width % self.heads:
            raise DataError(
                f"{self.heads} attention heads do not divide the features' width {width}; set heads to one that "
                f"does, such as {math.gcd(self.heads, width)}"
            )
        return AttentiveNetwork(int(tokens), int(width), self.blocks, self.heads, outputs, self.norm_eps)

    def restore(self, weights: Weights, labels: Sequence[str] = ()) -> Self:
        """Take the weights of one head, (1, ...) by the names of `AttentiveNetwork.shapes`, in place of fitting.

        The classes are numbered in the order of the outputs. Raises ValueError for weights that are not those of
        ``blocks`` blocks and ``heads`` attention heads, and where labels are given but not one for each output.
        """
        found = {name: tuple(weight.shape[1:]) for name, weight in weights.items()}
        width, outputs = found["linear.weight"] if len(found.get("linear.weight", ())) == 2 else (0, 0)
        network = AttentiveNetwork(1, width, self.blocks, self.heads, outputs, self.norm_eps)
        wanted = network.shapes()
        if wrong := [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)]:
            raise ValueError(
                f"not the weights of an attentive head of {self.blocks} blocks: {', '.join(wrong)}"
            )
        if width % self.heads:
            raise ValueError(f"{self.heads} attention heads do not divide the weights' width {width}")
        if len(labels) not in (0, outputs):
            raise ValueError(f"{len(labels)} labels cannot name {outputs} outputs")
        self.network = network
        self.weights = {name: weight.to(self.device) for name, weight in weights.items()}
        self.classes, self.labels, self._seen = tuple(range(outputs)), tuple(labels), (1, width)
        self.targets = Targets("classes", outputs, self.classes, torch.zeros(1), torch.ones(1))
        self.chosen, self.trials, self.history = {}, [], []
        return self


@dataclass(frozen=True, slots=True)
class AttentiveNetwork:
    """The arithmetic of G such heads at once.

    One query makes cross-attention cheap without approximation: its scores are tokens times the (h, D) vectors
    Wk' q, and the attention can average tokens before Wv instead of after. Keys and values of all tokens, O(N D^2),
    are never computed; O(N D h) is left.
    """

    tokens: int
    width: int
    blocks: int
    heads: int
    outputs_width: int
    norm_eps: float = NORM_EPS

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one head's weights by name; those of linear layers are (in, out)."""
        width, hidden = self.width, MLP_RATIO * self.width
        block: dict[str, tuple[int, ...]] = {"norm1": (width,), "norm2": (width,)}
        block |= {"fc1": (width, hidden), "fc2": (hidden, width)}
        layers = block | {"q": (width, width), "v": (width, width), "linear": (width, self.outputs_width)}
        block |= {"qkv": (width, 3 * width), "proj": (width, width)}
        for number in range(self.blocks):
            layers |= {f"blocks.{number}.{name}": shape for name, shape in block.items()}
        weights = {f"{name}.weight": shape for name, shape in layers.items()}
        biases = {f"{name}.bias": shape[-1:] for name, shape in layers.items()}
        return {"query": (width,), "k.weight": (width, width)} | weights | biases

    def start(self, draw: torch.Generator) -> Weights:
        """Draw one head's weights as the published pooler does."""
        width = self.width
        weights: Weights = {}
        for number in range(self.blocks):
            prefix, shrink = f"blocks.{number}.", 1 / math.sqrt(2 * (number + 1))
            weights |= _start_norm(f"{prefix}norm1", width) | _start_norm(f"{prefix}norm2", width)
            weights |= _start(f"{prefix}qkv", width, 3 * width, draw)
            weights |= _start(f"{prefix}proj", width, width, draw, shrink)
            weights |= _start(f"{prefix}fc1", width, MLP_RATIO * width, draw)
            weights |= _start(f"{prefix}fc2", MLP_RATIO * width, width, draw, shrink)
        weights["query"] = _truncated((width,), draw)
        weights |= _start_norm("norm1", width) | _start_norm("norm2", width)
        weights |= _start("q", width, width, draw) | _start("v", width, width, draw)
        weights["k.weight"] = _truncated((width, width), draw)
        weights |= _start("fc1", width, MLP_RATIO * width, draw)
        shrink = 1 / math.sqrt(2 * max(1, self.blocks))
        weights |= _start("fc2", MLP_RATIO * width, width, draw, shrink)
        return weights | start_linear("linear", width, self.outputs_width, draw)

    def share(self, rows: Tensor) -> Tensor:
        """Normalise tokens where nothing else is asked of them: (B, N, D) -> (B, N, D)."""
        return rows if self.blocks else F.layer_norm(rows, (self.width,), eps=self.norm_eps)

    def outputs(self, weights: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """Answer: (B, N, D) -> (G, B, C)."""
        count, (samples, tokens) = len(weights["query"]), shared.shape[:2]
        looks = self._looks(weights)  # (G, h, D)
        if self.blocks:
            x = shared.flatten(0, 1)[None]  # (1, B * N, D): alike for all heads, until weights come in
            for number in range(self.blocks):
                x = self._block(_part(weights, f"blocks.{number}."), x, samples)  # (G, B * N, D)
            normal = F.layer_norm(x, (self.width,), eps=self.norm_eps)
            scores = torch.bmm(normal, looks.transpose(1, 2)).view(count * samples, tokens, -1)
            attention = scores.softmax(dim=1).transpose(1, 2)  # (G * B, h, N)
            pooled = torch.bmm(attention, normal.view(count * samples, tokens, -1))  # (G * B, h, D)
            pooled = pooled.view(count, samples, self.heads, -1).transpose(1, 2).flatten(0, 1)
        else:
            scores = torch.mm(shared.flatten(0, 1), looks.flatten(0, 1).T).view(samples, tokens, -1)
            attention = scores.softmax(dim=1).transpose(1, 2)  # (B, G * h, N)
            pooled = torch.bmm(attention, shared).transpose(0, 1)
        return self._finish(weights, pooled)  # of (G * h, B, D)

    def floats(self, samples: int) -> int:
        """Return about how many numbers one head keeps for its gradient."""
        in_blocks = self.blocks * self.tokens * self.width * (2 * MLP_RATIO + 10)
        return samples * (in_blocks + self.heads * (3 * self.tokens + 2 * self.width) + 20 * self.width)

    def _looks(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return what each attention head's query looks for among normalised tokens: (G, h, D).

        The norm's gain is folded in. Its bias, like a key's, would add the same to every token's score.
        """
        head_width = self.width // self.heads
        query = apply_linear(weights, "q", weights["query"][:, None]).view(-1, 1, head_width)  # (G * h, 1, d)
        keys = self._by_head(weights["k.weight"])  # (G * h, D, d)
        looks = torch.bmm(query, keys.transpose(1, 2)).view(-1, self.heads, self.width)
        return looks * (weights["norm1.weight"] / math.sqrt(head_width))[:, None]

    def _by_head(self, weight: Tensor) -> Tensor:
        """Cut a weight's outputs into those of each attention head: (G, D, D) -> (G * h, D, d)."""
        return weight.view(*weight.shape[:2], self.heads, -1).transpose(1, 2).flatten(0, 1)

    def _finish(self, weights: Mapping[str, Tensor], pooled: Tensor) -> Tensor:
        """Go from averaged normalised tokens to answers: (G * h, B, D) -> (G, B, C)."""
        value, bias = _fold(weights, "norm1", "v")
        values = torch.bmm(pooled, self._by_head(value))  # (G * h, B, d)
        values = values.view(-1, self.heads, *values.shape[1:]).transpose(1, 2).flatten(2)  # (G, B, D)
        x = weights["query"][:, None] + values + bias[:, None]
        y = (
            F.layer_norm(x, (self.width,), eps=self.norm_eps) * weights["norm2.weight"][:, None]
            + weights["norm2.bias"][:, None]
        )
        x = x + apply_linear(weights, "fc2", F.gelu(apply_linear(weights, "fc1", y)))
        return apply_linear(weights, "linear", x)

    def _block(self, weights: Mapping[str, Tensor], x: Tensor, samples: int) -> Tensor:
        """Apply one pre-norm self-attention block: (1 or G, B * N, D) -> (G, B * N, D)."""
        count, width = len(weights["qkv.weight"]), self.width
        qkv = _norm_linear(weights, "norm1", "qkv", x, eps=self.norm_eps)  # (G, B * N, 3 D)
        split = qkv.view(count * samples, -1, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (G * B, h, N, d)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, -1, width)
        x = x + apply_linear(weights, "proj", mixed)
        hidden = F.gelu(_norm_linear(weights, "norm2", "fc1", x, eps=self.norm_eps))
        return x + apply_linear(weights, "fc2", hidden)


def _part(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    """Take the weights whose names begin with ``prefix``, and take it off."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def _fold(weights: Mapping[str, Tensor], norm: str, linear: str) -> tuple[Tensor, Tensor]:
    """Return weight (G, in, out) and bias (G, out) of a linear layer that swallowed the norm before it.

    A batch has more tokens than a weight has rows, so it is cheaper to scale weights than tokens.
    """
    weight = weights[f"{linear}.weight"]
    bias = weights[f"{linear}.bias"] + torch.bmm(weights[f"{norm}.bias"][:, None], weight)[:, 0]
    return weight * weights[f"{norm}.weight"][..., None], bias


def _norm_linear(weights: Mapping[str, Tensor], norm: str, linear: str, x: Tensor, *, eps: float) -> Tensor:
    """Apply G norms and linear layers: (1 or G, B, in) -> (G, B, out)."""
    weight, bias = _fold(weights, norm, linear)
    normal = F.layer_norm(x, x.shape[-1:], eps=eps).expand(len(weight), -1, -1)
    return torch.baddbmm(bias[:, None], normal, weight)


def _start(name: str, inputs: int, outputs: int, draw: torch.Generator, shrink: float = 1.0) -> Weights:
    """Draw weight (in, out) of a linear layer; its bias is 0."""
    return {
        f"{name}.weight": _truncated((inputs, outputs), draw) * shrink,
        f"{name}.bias": torch.zeros(outputs),
    }


def _start_norm(name: str, width: int) -> Weights:
    """Return a norm that changes nothing."""
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def _truncated(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Draw from a normal distribution that ends at +-2, as the published pooler does."""
    return torch.nn.init.trunc_normal_(torch.empty(shape), std=INIT_STD, generator=draw)
