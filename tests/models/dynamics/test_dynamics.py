"""All dynamics: what they may see, and that cached steps equal teacher forcing on the growing sequence."""

import pytest
import torch
import torch.nn.functional as F

from jepa.config.world_model import AdaLNDynamics, ConcatDynamics, MlpDynamics, TokenDynamics
from jepa.errors import ConfigError
from jepa.models.blocks import Block
from jepa.models.dynamics import DYNAMICS, Dynamics, build_dynamics
from jepa.models.dynamics.block import AdaLNBlock, FrameBlock
from jepa.models.rotary import rotary
from jepa.types import Grid

DIM, ACTION, PROPRIO, HISTORY = 10, 3, 2, 3
ADALN = ("dropout", "head_width", "mlp_width")
SHAPE = {"depth": 3, "width": 48, "heads": 4, "history": HISTORY}
CONFIGS = {
    "tokens": lambda **shape: TokenDynamics(kind="tokens", **{**SHAPE, **shape}),
    "concat": lambda **shape: ConcatDynamics(kind="concat", **{**SHAPE, **shape}),
    "adaln": lambda **shape: AdaLNDynamics(kind="adaln", **{**SHAPE, **shape}),
    "mlp": lambda **shape: MlpDynamics(kind="mlp", width=32),
}
GRIDS = {kind: Grid(1, 1, 1) if kind in ("adaln", "mlp") else Grid(1, 2, 3) for kind in CONFIGS}


def build(kind: str, proprio: int = PROPRIO, **changes) -> Dynamics:
    """A small model whose every path is alive: the gates of AdaLN, zero at first, are opened."""
    torch.manual_seed(0)
    shape = {name: changes.pop(name) for name in tuple(changes) if name in (*SHAPE, *ADALN)}
    options = {"dim": DIM, "grid": GRIDS[kind], "action_size": ACTION, "proprio_size": proprio}
    model = build_dynamics(CONFIGS[kind](**shape), **{**options, **changes})
    for block in model.modules():
        if isinstance(block, AdaLNBlock):
            torch.nn.init.normal_(block.modulation.weight, std=0.3)
            torch.nn.init.normal_(block.modulation.bias, std=0.3)
    with torch.no_grad():  # larger than at the start, so that a leak would be seen
        for name, weight in model.named_parameters():
            if name.endswith(("proj.weight", "fc2.weight", "qkv.weight", "head.weight")):
                weight.mul_(6)
    return model.eval()


def inputs(kind: str, frames: int, batch: int = 2, *, proprio: int = PROPRIO, grid: Grid | None = None):
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(batch, frames, (grid or GRIDS[kind]).tokens, DIM, generator=draw)
    actions = torch.randn(batch, frames, ACTION, generator=draw)
    state = torch.randn(batch, frames, PROPRIO, generator=draw)
    return z, actions, state if proprio else None


@pytest.fixture(params=CONFIGS)
def kind(request) -> str:
    return request.param


def test_every_kind_is_here():
    assert set(CONFIGS) == set(DYNAMICS)


def test_the_future_does_not_reach_the_past_and_the_present_matters(kind):
    model, (z, actions, state) = build(kind), inputs(kind, 6)
    before = model(z, actions, state)
    for changed in range(3):
        parts = [part.clone() for part in (z, actions, state)]
        parts[changed][:, 3] += 1
        after = model(*parts)
        torch.testing.assert_close(after[:, :3], before[:, :3], atol=0, rtol=0)
        assert (after[:, 3] - before[:, 3]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_samples_do_not_mix(kind):
    model, parts = build(kind), inputs(kind, 5, 3)
    alone = torch.cat([model(*(part[i : i + 1] for part in parts)) for i in range(3)])
    torch.testing.assert_close(model(*parts), alone, atol=1e-5, rtol=1e-5)


def test_all_tokens_of_a_frame_meet(kind):
    model, (z, actions, state) = build(kind), inputs(kind, 2)
    other = z.clone()
    other[:, 1, -1] += 1
    assert (model(other, actions, state) - model(z, actions, state))[:, 1, 0].abs().max() > 1e-3


@pytest.mark.parametrize("history", [1, 2, 4])
def test_one_block_sees_exactly_its_history_wherever_the_window_begins(kind, history):
    """With one block, output t is the last output of the window that ends at t, alone."""
    model, parts = build(kind, depth=1, history=history), inputs(kind, 7)
    together = model(*parts)
    for t in range(7):
        window = [part[:, max(0, t - model.history + 1) : t + 1] for part in parts]
        torch.testing.assert_close(model(*window)[:, -1], together[:, t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["tokens", "concat", "adaln"])
def test_history_is_used(kind):
    model, (z, actions, state) = build(kind, depth=1), inputs(kind, 4)
    for part in (z, actions, state):
        before = model(z, actions, state)[:, -1]
        part[:, 1] += 1  # the oldest frame in the band of frame 3
        assert (model(z, actions, state)[:, -1] - before).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["tokens", "concat", "adaln"])
def test_order_in_time_matters(kind):
    model, (z, actions, state) = build(kind), inputs(kind, 3)
    order = torch.tensor([1, 0, 2])
    swapped = model(z[:, order], actions[:, order], state[:, order])[:, -1]
    assert (swapped - model(z, actions, state)[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["tokens", "concat"])
def test_places_in_a_frame_matter(kind):
    """Tokens of one frame in another order are not just the outputs in another order."""
    model, (z, actions, state) = build(kind), inputs(kind, 1)
    turned = model(z.flip(2), actions, state).flip(2)
    assert (turned - model(z, actions, state)).abs().max() > 1e-3


def teacher_forced(model, z, past, actions, state):
    """Imagine without a memory: predict, put the prediction at the end of the sequence, predict again."""
    imagined = []
    for step in range(actions.shape[1]):
        known = torch.cat((past, actions[:, : step + 1]), dim=1)
        imagined.append(model(z, known, None if state is None else state[:, : z.shape[1]])[:, -1:])
        z = torch.cat((z, imagined[-1]), dim=1)
    return torch.cat(imagined, dim=1)


def stepped(model, z, past, actions, state):
    """Imagine with the memory: (B, S, H, A) -> (B, S, H, N, D), and the last memory."""
    seen = z.shape[1] - 1
    memory = model.start(z[:, :-1], past, None if state is None else state[:, 0, :seen])
    frame, imagined = z[:, -1:].expand(-1, actions.shape[1], -1, -1), []
    for step in range(actions.shape[2]):
        now = None if state is None else state[:, :, seen + step]
        frame, memory = model.step(frame, actions[:, :, step], memory, now)
        imagined.append(frame)
    return torch.stack(imagined, dim=2), memory


@pytest.mark.parametrize("proprio", [0, PROPRIO])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("frames", [1, HISTORY, 6])
@pytest.mark.parametrize("history", [1, HISTORY])
def test_cached_steps_equal_teacher_forcing(kind, frames, proprio, normalise, history):
    model = build(kind, proprio, normalise=normalise, history=history)
    z, past, _ = inputs(kind, frames)
    past, draw = past[:, :-1], torch.Generator().manual_seed(2)
    actions = torch.randn(2, 4, 5, ACTION, generator=draw)
    state = torch.randn(2, 1, frames + 5, PROPRIO, generator=draw).repeat(1, 4, 1, 1) if proprio else None
    if proprio:  # candidates share what was felt in the context, and then differ
        state[:, :, frames:] += torch.randn(2, 4, 5, PROPRIO, generator=draw)
    imagined, _ = stepped(model, z, past, actions, state)
    for candidate in range(4):
        felt = None if state is None else state[:, candidate]
        expected = teacher_forced(model, z, past, actions[:, candidate], felt)
        torch.testing.assert_close(imagined[:, candidate], expected, atol=1e-5, rtol=1e-5)


def test_candidates_do_not_mix(kind):
    model, (z, past, state) = build(kind, 0), inputs(kind, HISTORY, proprio=0)
    actions = torch.randn(2, 3, 4, ACTION)
    other = actions.clone()
    other[:, 1] += 1
    before, _ = stepped(model, z, past[:, :-1], actions, state)
    after, _ = stepped(model, z, past[:, :-1], other, state)
    torch.testing.assert_close(after[:, ::2], before[:, ::2], atol=0, rtol=0)
    assert (after[:, 1] - before[:, 1]).abs().max() > 1e-3


def test_heads_and_mlp_of_adaln_may_have_widths_of_their_own():
    model = build("adaln", 0, heads=6, head_width=20, mlp_width=70)
    block = model.blocks[0]
    assert block.attn.qkv.weight.shape == (3 * 6 * 20, 48) and block.attn.proj.weight.shape == (48, 6 * 20)
    assert block.mlp.fc1.weight.shape == (70, 48) and model.head_width == 20
    z, past, _ = inputs("adaln", HISTORY, proprio=0)
    actions = torch.randn(2, 1, 5, ACTION)
    imagined, _ = stepped(model, z, past[:, :-1], actions, None)
    expected = teacher_forced(model, z, past[:, :-1], actions[:, 0], None)
    torch.testing.assert_close(imagined[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["tokens", "concat", "adaln"])
def test_the_context_is_kept_once_and_old_frames_are_dropped(kind):
    model, (z, past, _) = build(kind, 0), inputs(kind, 5, proprio=0)
    band = (HISTORY - 1) * model.tokens
    memory = model.start(z[:, :-1], past[:, :-1])
    assert [one.keys.shape[0::2] for one in memory.context] == [(2, band)] * 3
    for steps, (seen, dreamt) in enumerate([(1, 1), (0, 2), (0, 2)], start=1):
        _, memory = stepped(model, z, past[:, :-1], torch.zeros(2, 7, steps, ACTION), None)
        assert memory.frames == 4 + steps
        assert {one.keys.shape[0::2] for one in memory.context} == {(2, seen * model.tokens)}
        assert {one.values.shape[0::2] for one in memory.imagined} == {(14, dreamt * model.tokens)}


def test_every_parameter_learns(kind):
    model = build(kind)
    model(*inputs(kind, 3)).square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle, f"no gradient reaches {idle}"


def test_gradients_reach_actions_and_no_later_ones(kind):
    model, (z, past, _) = build(kind, 0), inputs(kind, 2, proprio=0)
    actions = torch.randn(2, 3, 4, ACTION, requires_grad=True)
    stepped(model, z, past[:, :-1], actions, None)[0][:, :, 2].square().sum().backward()
    assert actions.grad[:, :, :3].abs().amax(dim=-1).min() > 0
    assert not actions.grad[:, :, 3].any()


def test_normalised_predictions_have_mean_0_and_deviation_1(kind):
    out = build(kind, normalise=True)(*inputs(kind, 3))
    torch.testing.assert_close(out.mean(-1), torch.zeros(out.shape[:-1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(-1, correction=0), torch.ones(out.shape[:-1]), atol=1e-3, rtol=0)


def test_a_block_is_the_encoders_block():
    torch.manual_seed(0)
    ours, theirs = FrameBlock(48, 4), Block(48, 4)
    ours.load_state_dict(theirs.state_dict())
    x, table = torch.randn(2, 1, 6, 48), rotary(Grid(1, 2, 3), 12)
    torch.testing.assert_close(ours(x, table, None)[0][:, 0], theirs(x[:, 0], table))


def test_adaln_starts_as_identity_and_is_modulated_as_written():
    torch.manual_seed(0)
    config = CONFIGS["adaln"]()
    model = build_dynamics(config, dim=DIM, grid=Grid(1, 1, 1), action_size=ACTION).eval()
    z, actions, _ = inputs("adaln", 4)
    untouched = model.head(model.norm(model.embedding.frame(z)))
    torch.testing.assert_close(model(z, actions), untouched, atol=0, rtol=0)

    block, x, condition = AdaLNBlock(48, 4).eval(), torch.randn(2, 1, 1, 48), torch.randn(2, 1, 48)
    parts = F.linear(condition * condition.sigmoid(), block.modulation.weight, block.modulation.bias)
    shift1, scale1, gate1, shift2, scale2, gate2 = parts.unflatten(-1, (6, 48)).unbind(-2)
    flat = x[:, 0]
    plain = (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    value = block.attn.qkv(plain * (1 + scale1) + shift1)[..., 96:]  # one token sees only itself
    flat = flat + gate1 * block.attn.proj(value)
    plain = (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    flat = flat + gate2 * block.mlp(plain * (1 + scale2) + shift2)
    out, _ = block(x, rotary(Grid(1, 1, 1), 12), condition)
    torch.testing.assert_close(out[:, 0], flat, atol=1e-5, rtol=1e-5)


def test_dropout_rests_in_eval():
    model, parts = build("adaln", dropout=0.5), inputs("adaln", 3)
    torch.testing.assert_close(model(*parts), model(*parts), atol=0, rtol=0)
    model.train()
    assert (model(*parts) - model(*parts)).abs().max() > 1e-3


def test_the_mlp_is_residual():
    model, (z, actions, state) = build("mlp"), inputs("mlp", 3)
    torch.nn.init.zeros_(model.layers[-1].weight)
    torch.nn.init.zeros_(model.layers[-1].bias)
    torch.testing.assert_close(model(z, actions, state), z)


@pytest.mark.parametrize("grad", [False, True])
def test_the_mlp_is_as_written(grad):
    model, (z, actions, state) = build("mlp"), inputs("mlp", 3)
    x = torch.cat((z, torch.cat((actions, state), dim=-1).unsqueeze(-2)), dim=-1)
    for linear, norm in zip(model.layers[:-1:3], model.layers[1::3], strict=True):
        x = F.gelu(F.layer_norm(F.linear(x, linear.weight, linear.bias), norm.normalized_shape, eps=1e-6))
    expected = z + F.linear(x, model.layers[-1].weight, model.layers[-1].bias)
    before = z.clone()
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(model(z, actions, state), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(z, before, atol=0, rtol=0)


def test_heads_that_are_too_narrow_for_positions_are_refused():
    with pytest.raises(ConfigError, match="16 heads of 3 numbers cannot hold .* 3 axes; use at most 8 heads"):
        build("tokens", heads=16)
