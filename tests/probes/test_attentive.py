"""The batched attentive head against a plain module in which every key and value is computed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jepa.errors import DataError
from jepa.probes.attentive import AttentiveNetwork, AttentiveProbe
from jepa.probes.training import BYTES_AT_ONCE

SHAPES = [  # samples, tokens, width, blocks, heads, outputs
    (3, 7, 16, 0, 4, 5),
    (5, 1, 8, 0, 8, 2),
    (3, 7, 16, 1, 4, 5),
    (2, 4, 12, 3, 2, 1),
]


class Plain(nn.Module):
    """The published pooler as torch's own layers would have it."""

    def __init__(self, width, blocks, heads, outputs):
        super().__init__()
        self.before = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.query = nn.Parameter(torch.zeros(width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x):
        for layer in self.before:
            x = layer(x)
        query, x = self.query.expand(len(x), 1, -1), self.norm1(x)
        x = query + self.attention(query, x, x, need_weights=False)[0]
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.linear(x[:, 0])

    def take(self, weights, number):
        """Load head ``number`` of stacked ``weights``; a key bias, which ours has none of, is given a value."""
        mine = {
            name: weight[number].detach().mT if weight.ndim > 2 else weight[number]
            for name, weight in weights.items()
        }
        width = len(self.query)
        state = {name: mine[name] for name in self.state_dict() if name in mine}
        for block in range(len(self.before)):
            here, there = f"blocks.{block}.", f"before.{block}."
            names = {"qkv.weight": "self_attn.in_proj_weight", "qkv.bias": "self_attn.in_proj_bias"}
            for kind in ("weight", "bias"):
                names |= {f"proj.{kind}": f"self_attn.out_proj.{kind}"}
                names |= {f"fc{i}.{kind}": f"linear{i}.{kind}" for i in (1, 2)}
                names |= {f"norm{i}.{kind}": f"norm{i}.{kind}" for i in (1, 2)}
            state |= {there + theirs: mine[here + ours] for ours, theirs in names.items()}
        state["attention.in_proj_weight"] = torch.cat([mine["q.weight"], mine["k.weight"], mine["v.weight"]])
        state["attention.in_proj_bias"] = torch.cat([mine["q.bias"], torch.randn(width), mine["v.bias"]])
        state["attention.out_proj.weight"] = torch.eye(width)  # the published pooler has no such projection
        state["attention.out_proj.bias"] = torch.zeros(width)
        self.load_state_dict(state)
        return self

    def gradient(self, name):
        """The gradient of what ``name`` is in our heads."""
        own = dict(self.named_parameters())
        if name in ("q.weight", "k.weight", "v.weight", "q.bias", "v.bias"):
            joined = own[f"attention.in_proj_{name[2:]}"].grad
            return joined.chunk(3)["qkv".index(name[0])]
        if name.startswith("blocks."):
            _, block, layer, kind = name.split(".")
            theirs = {"qkv": f"self_attn.in_proj_{kind}", "proj": f"self_attn.out_proj.{kind}"}
            theirs |= {"fc1": f"linear1.{kind}", "fc2": f"linear2.{kind}"}
            return own[f"before.{block}.{theirs.get(layer, f'{layer}.{kind}')}"].grad
        return own[name].grad


@pytest.mark.parametrize(("samples", "tokens", "width", "blocks", "heads", "outputs"), SHAPES)
def test_every_head_is_the_plain_module(samples, tokens, width, blocks, heads, outputs):
    draw = torch.Generator().manual_seed(0)
    network = AttentiveNetwork(tokens, width, blocks, heads, outputs)
    weights = {
        name: (one + 0.3 * torch.randn(4, *one.shape, generator=draw)).double().requires_grad_()
        for name, one in network.start(draw).items()
    }
    x = 2 * torch.randn(samples, tokens, width, generator=draw).double() + 1
    pull = torch.randn(4, samples, outputs, generator=draw).double()
    answers = network.outputs(weights, network.share(x))
    (answers * pull).sum().backward()
    for number in range(4):
        plain = Plain(width, blocks, heads, outputs).double().take(weights, number)
        wanted = plain(x)
        (wanted * pull[number]).sum().backward()
        torch.testing.assert_close(answers[number], wanted)
        for name, weight in weights.items():
            torch.testing.assert_close(
                weight.grad[number],
                plain.gradient(name).mT if weight.ndim > 2 else plain.gradient(name),
                msg=f"gradient of {name}",
            )


@pytest.mark.parametrize("blocks", [0, 2])
def test_starts_as_published(blocks):
    weights = AttentiveNetwork(4, 64, blocks, 8, 3).start(torch.Generator().manual_seed(0))
    assert weights["fc1.weight"].std() == pytest.approx(0.02, rel=0.05)
    assert weights["fc2.weight"].std() == pytest.approx(0.02 / (2 * max(1, blocks)) ** 0.5, rel=0.05)
    if blocks:
        assert weights["blocks.1.proj.weight"].std() == pytest.approx(0.02 / 4**0.5, rel=0.05)
    assert not any(weights[name].any() for name in weights if name.endswith("bias") and name != "linear.bias")


def tokens_with_a_sign(n, *, tokens=6, width=16, seed=0):
    """Tokens of which one, anywhere, tells the class: the mean hides it, attention finds it."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=draw)
    x = torch.randn(n, tokens, width, generator=draw)
    x[torch.arange(n), torch.randint(0, tokens, (n,), generator=draw)] += 6 * F.one_hot(labels, width)
    return x, labels


@pytest.mark.parametrize("blocks", [0, 1])
def test_finds_the_token_that_tells(blocks):
    probe = AttentiveProbe(
        blocks=blocks, heads=4, learning_rates=[1e-5, 5e-3], weight_decays=[0.01], epochs=15, batch_size=32
    )
    probe.fit(*tokens_with_a_sign(240))
    assert probe.score(*tokens_with_a_sign(120, seed=1)) > 0.9
    assert probe.chosen == {"learning rate": 5e-3, "weight decay": 0.01}


def test_order_of_tokens_does_not_matter():
    x, y = tokens_with_a_sign(60)
    probe = AttentiveProbe(blocks=1, heads=2, learning_rates=[1e-3], weight_decays=[0], epochs=1).fit(x, y)
    torch.testing.assert_close(probe.decision(x), probe.decision(x.flip(1)))


def test_memory_of_a_step_is_counted():
    small, large = (AttentiveNetwork(196, 1024, blocks, 16, 10) for blocks in (0, 3))
    assert 20 * 4 * small.floats(128) < 2 * BYTES_AT_ONCE
    assert 4 * large.floats(128) > BYTES_AT_ONCE  # such a head is fitted a part of the batch at a time


def test_refuses():
    x, y = tokens_with_a_sign(40)
    with pytest.raises(DataError, match=r"must be \(samples, tokens, width\) and not empty, got \(40, 16\)"):
        AttentiveProbe().fit(x.mean(1), y)
    with pytest.raises(DataError, match="5 attention heads do not divide the features' width 16"):
        AttentiveProbe(heads=5).fit(x, y)
    probe = AttentiveProbe(blocks=0, heads=4, learning_rates=[1e-3], weight_decays=[0], epochs=1).fit(x, y)
    assert probe.predict(x[:, :3]).shape == (40,)  # any number of tokens
    with pytest.raises(DataError, match=r"test features have shape \(6, 12\), but the head was fitted on"):
        probe.predict(x[:, :, :12])
    with pytest.raises(ValueError, match="blocks must be 0 or more and heads 1 or more, got -1"):
        AttentiveProbe(blocks=-1)
