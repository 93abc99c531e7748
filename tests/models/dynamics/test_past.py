"""Keys and values kept in place are those that copies would keep, whatever the history, context and horizon."""

import pytest
import torch
import torch.nn.functional as F

from jepa.models.dynamics import Dynamics
from jepa.models.dynamics.past import KeysValues, Parts, Slots
from tests.models.dynamics.test_dynamics import ACTION, HISTORY, PROPRIO, build, inputs

KINDS = ("tokens", "concat", "adaln", "mlp")


def drawn(rows: int, tokens: int, *, draw: torch.Generator) -> KeysValues:
    return KeysValues(*torch.randn(2, rows, 2, tokens, 4, generator=draw))


@pytest.mark.parametrize("seen", [0, 1, 2])
@pytest.mark.parametrize("frames", [1, 3, 9])
def test_slots_hold_the_newest_frames_and_every_candidate_has_the_context_of_its_sample(frames, seen):
    """Two samples of three candidates, two tokens per frame; attention does not see the order of the slots."""
    draw = torch.Generator().manual_seed(0)
    context = drawn(2, 2 * min(seen, frames), draw=draw) if seen else None
    slots, known = Slots(context, frames=frames, tokens=2), Parts([context] if seen else [])
    for _ in range(7):
        new, q = drawn(6, 2, draw=draw), torch.randn(6, 2, 5, 4, generator=draw)
        kept, joined = slots.join(new), known.join(new)
        newest = KeysValues(*(part[:, :, -2 * frames :] for part in joined))
        assert kept.keys.shape == newest.keys.shape
        found, wanted = (F.scaled_dot_product_attention(q, *part) for part in (kept, newest))
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
        known = Parts([joined])


def test_what_was_kept_is_not_copied_again():
    draw = torch.Generator().manual_seed(0)
    slots = Slots(drawn(1, 2, draw=draw), frames=3, tokens=2)
    first, second = slots.join(drawn(3, 2, draw=draw)), slots.join(drawn(3, 2, draw=draw))
    assert first.keys.data_ptr() == second.keys.data_ptr()
    assert first.values.data_ptr() == second.values.data_ptr()


def imagine(
    kind: str, model: Dynamics, frames: int, horizon: int, *, ahead: int | None, proprio: int = PROPRIO
):
    """Step ``horizon`` times after ``frames`` frames, told ``ahead``: (2, 4, H, N, D), and the last memory."""
    z, past, state = inputs(kind, frames, proprio=proprio)
    draw = torch.Generator().manual_seed(2)
    actions = torch.randn(2, 4, horizon, ACTION, generator=draw)
    felt = torch.randn(2, 4, horizon, PROPRIO, generator=draw) if proprio else None
    memory = model.start(z[:, :-1], past[:, :-1], None if state is None else state[:, :-1])
    memory = memory._replace(ahead=ahead)
    frame, imagined = z[:, -1:].expand(-1, 4, -1, -1), []
    for step in range(horizon):
        now = None if felt is None else felt[:, :, step]
        frame, memory = model.step(frame, actions[:, :, step], memory, now)
        imagined.append(frame)
    return torch.stack(imagined, dim=2), memory


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("frames", [1, HISTORY, 6])
@pytest.mark.parametrize("history", [1, HISTORY, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_in_place_equal_steps_with_copies(kind, history, frames, horizon):
    model = build(kind, history=history)
    plain, _ = imagine(kind, model, frames, horizon, ahead=None)
    with torch.no_grad():
        kept, memory = imagine(kind, model, frames, horizon, ahead=horizon)
    torch.testing.assert_close(kept, plain, atol=1e-5, rtol=1e-5)
    assert not memory.context and not memory.imagined


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_told_of_the_horizon_gradients_flow_as_before(kind, precision):
    model = build(kind).requires_grad_(False)
    z, past, state = inputs(kind, 2)
    found = []
    for ahead in (None, 3):
        actions = torch.randn(2, 4, 3, ACTION, generator=torch.Generator().manual_seed(3)).requires_grad_()
        memory = model.start(z[:, :-1], past[:, :-1], state[:, :-1])._replace(ahead=ahead)
        frame = z[:, -1:].expand(-1, 4, -1, -1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            for step in range(3):
                now = state[:, -1:].expand(-1, 4, -1)
                frame, memory = model.step(frame, actions[:, :, step], memory, now)
        frame.float().square().sum().backward()
        found.append(actions.grad)
    assert found[0].abs().amax(dim=-1).min() > 0
    torch.testing.assert_close(found[1], found[0], atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["tokens", "concat", "adaln"])
def test_slots_take_the_precision_of_autocast(kind):
    model = build(kind)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain, _ = imagine(kind, model, 2, 4, ahead=None)
        kept, memory = imagine(kind, model, 2, 4, ahead=4)
    assert memory.slots[0].kept.keys.dtype == memory.slots[0].kept.values.dtype == torch.bfloat16
    torch.testing.assert_close(kept, plain, atol=0.15, rtol=0.05)


def test_a_memory_for_fewer_steps_is_refused():
    with torch.no_grad(), pytest.raises(AssertionError, match="for fewer steps"):
        imagine("tokens", build("tokens"), 1, 3, ahead=2)
