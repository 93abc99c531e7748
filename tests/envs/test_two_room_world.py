"""The disc obeys the walls, and ways are as long as an optimiser finds them."""

import numpy as np
import pytest
from scipy.optimize import minimize

from jepa.envs import two_room_world as world
from jepa.envs.two_room import sample_state


def free_states(count, *, seed=0, is_shifted=True):
    generator = np.random.default_rng(seed)
    drawn = [sample_state(generator, None, is_shifted=is_shifted, is_across=False) for _ in range(count)]
    return np.stack(drawn)


def walk(states, steps, *, size=1.0, seed=1):
    """States along a walk that keeps its direction for a while: (n, 4) -> (steps + 1, n, 4)."""
    generator = np.random.default_rng(seed)
    trace = [states]
    for step in range(steps):
        if step % 10 == 0:
            actions = generator.uniform(-size, size, (len(states), 2))
        trace.append(world.move(trace[-1], actions))
    return np.stack(trace)


@pytest.mark.parametrize("size", [1.0, 40.0])  # far longer than the wall is thick
def test_walls_are_crossed_by_the_door_only(size):
    trace = walk(free_states(400), 100, size=size)
    assert world.is_free(trace).all()
    side = np.sign(trace[..., 0] - trace[..., 2])
    crossed = side[1:] * side[:-1] < 0
    assert crossed.sum() > 20
    away = np.abs(trace[:-1, :, 1] - trace[:-1, :, 3])[crossed]
    assert (away <= world.SLACK + 1e-12).all()


def test_the_layout_never_changes():
    trace = walk(free_states(50), 30)
    np.testing.assert_array_equal(trace[..., 2:], np.broadcast_to(trace[0, :, 2:], trace[..., 2:].shape))


def test_no_action_is_the_identity():
    states = walk(free_states(200), 60).reshape(-1, 4)  # many of them at walls and in doors
    np.testing.assert_array_equal(world.move(states, np.zeros((len(states), 2))), states)


def test_free_movement_has_its_length_and_can_be_undone():
    states = free_states(500)
    states = states[(np.abs(states[:, 0] - states[:, 2]) > world.ACROSS + world.STEP)]
    states[:, :2] = np.clip(states[:, :2], 0.1, 0.9)
    states = states[(np.abs(states[:, 0] - states[:, 2]) > world.ACROSS + world.STEP)]
    actions = np.random.default_rng(2).uniform(-1, 1, (len(states), 2))
    there = world.move(states, actions)
    np.testing.assert_allclose(there[:, :2] - states[:, :2], world.STEP * actions, atol=1e-15)
    np.testing.assert_allclose(world.move(there, -actions), states, atol=1e-15)


def test_the_disc_slides_along_a_wall():
    left = 0.5 - world.ACROSS
    after = world.move(np.array([left, 0.2, 0.5, 0.5]), np.array([1.0, 0.6]))
    np.testing.assert_allclose(after[:2], [left, 0.23])
    after = world.move(np.array([0.5, 0.5 + world.SLACK, 0.5, 0.5]), np.array([-0.5, 1.0]))
    np.testing.assert_allclose(after[:2], [0.475, 0.5 + world.SLACK])


@pytest.mark.parametrize(
    ("state", "action", "end"),
    [
        ((0.43, 0.2), (1, 0), (0.5 - world.ACROSS, 0.2)),
        ((0.57, 0.2), (-1, 0), (0.5 + world.ACROSS, 0.2)),
        ((0.05, 0.95), (-1, 1), (world.RADIUS, 1 - world.RADIUS)),
        ((0.5, 0.52), (0, 1), (0.5, 0.5 + world.SLACK)),
        ((0.5, 0.48), (0, -1), (0.5, 0.5 - world.SLACK)),
    ],
)
def test_the_disc_stops_at_the_wall_not_before(state, action, end):
    after = world.move(np.array([*state, 0.5, 0.5]), np.array(action, dtype=float))
    np.testing.assert_allclose(after[:2], end, atol=1e-15)


def test_a_batch_is_a_loop():
    states, actions = free_states(60), np.random.default_rng(3).uniform(-1, 1, (60, 2))
    goals = states[::-1].copy()
    goals[:, 2:] = states[:, 2:]
    goals = goals[keep := world.is_free(goals)]
    states, actions = states[keep], actions[keep]
    np.testing.assert_array_equal(
        world.move(states, actions), [world.move(s, a) for s, a in zip(states, actions, strict=True)]
    )
    np.testing.assert_allclose(
        world.geodesic(states, goals), [world.geodesic(s, g) for s, g in zip(states, goals, strict=True)]
    )


def by_optimiser(state, goal):
    """Length of the shortest way from one room to the other, found over where it enters and leaves the door."""
    wall, door = state[2:]
    a, b = (state[:2], goal[:2]) if state[0] < goal[0] else (goal[:2], state[:2])

    def length(heights):
        entry = np.array([wall - world.ACROSS, heights[0]])
        leave = np.array([wall + world.ACROSS, heights[1]])
        return sum(np.linalg.norm(q - p) for p, q in ((a, entry), (entry, leave), (leave, b)))

    bounds = [(door - world.SLACK, door + world.SLACK)] * 2
    return minimize(length, [door, door], bounds=bounds, method="L-BFGS-B", options={"gtol": 1e-10}).fun


def test_ways_between_rooms_are_the_shortest():
    generator = np.random.default_rng(4)
    states = free_states(80, seed=5)
    goals = np.stack([sample_state(generator, s, is_shifted=True, is_across=True) for s in states])
    lengths = world.geodesic(states, goals)
    np.testing.assert_allclose(
        lengths, [by_optimiser(s, g) for s, g in zip(states, goals, strict=True)], atol=1e-6
    )
    straight = np.linalg.norm(states[:, :2] - goals[:, :2], axis=1)
    bends = lengths > straight + 1e-9
    assert 0 < (~bends).sum() < 20 and (lengths >= straight).all()
    np.testing.assert_array_equal(~bends, world.sees(states, goals[:, :2]))


def test_ways_within_a_room_are_straight_and_all_ways_are_symmetric():
    states = walk(free_states(40), 40)[::4].reshape(-1, 4)
    goals = np.roll(states, 40, axis=0)  # the same layouts, some steps earlier
    lengths = world.geodesic(states, goals)
    np.testing.assert_allclose(lengths, world.geodesic(goals, states), atol=1e-12)
    beside = [(ends[:, 0] - ends[:, 2]) / world.ACROSS for ends in (states, goals)]
    is_one_room = (np.minimum(*beside) >= 1) | (np.maximum(*beside) <= -1)
    assert is_one_room.sum() > 100
    straight = np.linalg.norm(states[:, :2] - goals[:, :2], axis=1)
    np.testing.assert_allclose(lengths[is_one_room], straight[is_one_room])


def test_one_step_shortens_the_way_by_one_step_at_most():
    states = free_states(500)
    generator = np.random.default_rng(6)
    goals = np.stack([sample_state(generator, s, is_shifted=True, is_across=True) for s in states])
    after = world.move(states, generator.uniform(-1, 1, (500, 2)))
    moved = np.abs(after[:, :2] - states[:, :2]).sum(axis=1)  # along x, then y
    assert (np.abs(world.geodesic(states, goals) - world.geodesic(after, goals)) <= moved + 1e-12).all()


@pytest.mark.parametrize(
    ("state", "is_free"),
    [
        ((0.3, 0.3, 0.5, 0.5), True),
        ((0.5, 0.5, 0.5, 0.5), True),
        ((0.5, 0.55, 0.5, 0.5), False),  # in the wall
        ((0.45, 0.3, 0.5, 0.5), False),
        ((0.02, 0.3, 0.5, 0.5), False),  # in the border
        ((0.3, 0.3, 0.5, 0.95), False),  # the door in the border
        ((0.3, 0.3, 0.93, 0.5), False),  # no room on the right
    ],
)
def test_which_states_are_free(state, is_free):
    assert world.is_free(np.array(state)) == is_free
