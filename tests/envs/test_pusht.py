"""PushT is a pure function of its state, pushes as the published one does, and looks like what it is."""

import sys

import numpy as np
import pytest

from jepa.config.envs import PushTEnv
from jepa.envs import pusht_physics as physics
from jepa.envs.pusht import LEVER, PushT
from jepa.envs.pusht_drawing import AGENT, BLOCK, GOAL, draw_scene
from jepa.errors import DataError, RunError

START = np.array([256.0, 400.0, 256.0, 200.0, 0.3, 0.0, 0.0])


@pytest.fixture
def engine():
    return pytest.importorskip("pymunk")


@pytest.fixture
def env(engine):
    return PushT(PushTEnv(kind="pusht", size=32))


def chase(state, generator):
    """An action towards the block, so that it is pushed."""
    return np.clip((physics.centre(state) - state[:2]) / 100 + 0.3 * generator.normal(size=2), -1, 1)


def episodes(engine, count, steps=60):
    for seed in range(count):
        generator = np.random.default_rng(seed)
        state = np.array([*generator.uniform(50, 450, 2), *generator.uniform(150, 350, 2), seed, 0, 0])
        trace = [state]
        for _ in range(steps):
            trace.append(physics.advance(engine, trace[-1], chase(trace[-1], generator)))
        yield np.stack(trace)


def test_a_missing_engine_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymunk", None)
    with pytest.raises(RunError, match=r"pymunk .*pip install 'jepa\[pusht\]'"):
        PushT(PushTEnv(kind="pusht"))


def test_the_same_state_has_the_same_future_after_any_history(engine):
    (trace,) = episodes(engine, 1)
    assert np.abs(trace[-1, 2:5] - trace[0, 2:5]).max() > 20
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    for state in trace[::12]:
        futures = []
        for history in (1, 4):
            for _ in range(history):
                physics.advance(engine, trace[7], actions[0])  # something else in between
            later = state
            for action in actions:
                later = physics.advance(engine, later, action)
            futures.append(later)
        np.testing.assert_array_equal(*futures)


def test_the_engine_takes_a_state_as_it_is(engine):
    for trace in episodes(engine, 3, steps=20):
        for state in trace:
            _, agent, block = physics._build(engine, state)
            found = [*agent.position, *block.position, block.angle, *agent.velocity]
            np.testing.assert_allclose(found, state, rtol=0, atol=1e-9)


def published_steps(engine, state, targets):
    """One unbroken space, as Diffusion Policy steps it, and at the end the movement of the last impulse."""
    space, agent, block = physics._build(engine, state)
    for target in targets:
        for _ in range(10):
            push = 100 * (np.array(target) - agent.position) - 20 * np.array(agent.velocity)
            agent.velocity = tuple(np.array(agent.velocity) + push * 0.01)
            space.step(0.01)
    block.position += block.velocity * 0.01  # its origin, all but the turn
    return np.array([*agent.position, *block.position, block.angle, *agent.velocity])


def test_the_agent_moves_as_published_and_the_block_nearly_so(engine):
    errors, moved = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        state = np.array([*generator.uniform(50, 450, 2), *generator.uniform(200, 300, 2), seed % 6.0, 0, 0])
        targets, later = [], state
        for _ in range(6):
            action = chase(later, generator)
            targets.append(np.clip(later[:2] + 100 * action, 0, 512))
            later = physics.advance(engine, later, action)
        expected = published_steps(engine, state, targets)
        np.testing.assert_allclose(later[[0, 1, 5, 6]], expected[[0, 1, 5, 6]], atol=1e-6)
        errors.append(np.linalg.norm(later[2:4] - expected[2:4]))
        moved.append(np.linalg.norm(later[2:4] - state[2:4]))
    assert np.median(moved) > 50
    assert np.median(errors) < 0.03 * np.median(moved)


def test_nothing_moves_without_an_action(engine):
    np.testing.assert_allclose(physics.advance(engine, START, np.zeros(2)), START, atol=1e-9)


def test_a_full_action_moves_the_agent_most_of_its_reach(engine):
    after = physics.advance(engine, START, np.array([1.0, 0.0]))
    assert 20 < after[0] - START[0] < 100
    for _ in range(30):
        after = physics.advance(engine, after, np.array([1.0, 0.0]))
    assert after[0] == pytest.approx(physics.WINDOW, abs=1)  # the target stays in the window


def test_the_block_stays_between_the_walls(engine):
    low, high = physics.INNER
    for trace in episodes(engine, 12, steps=100):
        centres = np.stack([physics.centre(state) for state in trace])
        assert centres.min() > low and centres.max() < high


def test_away_from_walls_the_block_is_pushed_not_passed(engine):
    low, high = physics.INNER
    gaps = []
    for trace in episodes(engine, 30, steps=30):
        corners = np.stack([physics.outline(state) for state in trace])
        is_clear = (corners.min(axis=(1, 2)) > low + 10) & (corners.max(axis=(1, 2)) < high - 10)
        gaps += [physics.clearance(state, state[:2]) for state in trace[1:][is_clear[1:]]]
    touching = np.array(gaps)[np.array(gaps) < physics.AGENT_RADIUS + 2]
    assert len(touching) > 100
    assert np.quantile(touching, 0.05) > 0.8 * physics.AGENT_RADIUS


def test_success_is_the_published_rule(env):
    assert env.is_success(START, START)
    for change, is_success in [
        ([19.9, 0, 0, 0, 0, 0, 0], True),
        ([20.1, 0, 0, 0, 0, 0, 0], False),
        ([15, 0, 0, 15, 0, 0, 0], False),  # agent and block count together
        ([0, 0, 0, 0, np.pi / 9 - 0.01, 0, 0], True),
        ([0, 0, 0, 0, np.pi / 9 + 0.01, 0, 0], False),
        ([0, 0, 0, 0, 2 * np.pi, 0, 0], True),
        ([0, 0, 0, 0, -0.3 - 0.1, 0, 0], False),
        ([0, 0, 0, 0, 0, 500, 500], True),
    ]:
        assert env.is_success(START + change, START) is is_success, change


def test_distance_counts_places_and_turns(env):
    assert env.distance(START + [3, 0, 0, 4, 0, 9, 9], START) == pytest.approx(5)
    assert env.distance(START + [0, 0, 0, 0, 0.5, 0, 0], START) == pytest.approx(0.5 * LEVER)
    assert env.distance(START + [0, 0, 0, 0, 2 * np.pi - 0.1, 0, 0], START) == pytest.approx(0.1 * LEVER)


def test_starts_are_inside_and_free(env):
    generator = np.random.default_rng(0)
    states = np.stack([env.sample_state(generator) for _ in range(200)])
    low, high = physics.INNER
    for state in states:
        corners = physics.outline(state)
        assert low < corners.min() and corners.max() < high
        assert physics.clearance(state, state[:2]) > physics.AGENT_RADIUS
    assert np.histogram(states[:, 4], bins=4, range=(0, 2 * np.pi))[0].min() > 25


def test_states_far_out_are_refused(env):
    with pytest.raises(
        DataError, match="puts agent or block outside the window; both must lie from -100 to 612"
    ):
        env.set_state(START + [600, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DataError, match="speed above 2000"):
        env.set_state(START + [0, 0, 0, 0, 0, 3000, 0])


def test_where_the_block_is(engine):
    space, _, block = physics._build(engine, START)
    inside = np.random.default_rng(0).uniform(0, 512, (2000, 2))
    found = physics.clearance(START, inside)
    for point, gap in zip(inside, found, strict=True):
        nearest = min(shape.point_query(tuple(point)).distance for shape in block.shapes)
        assert (gap < 0) == (nearest < 0)
        if gap > 0:
            assert gap == pytest.approx(nearest, abs=1e-6)
    corners = [block.local_to_world(v) for shape in block.shapes for v in shape.get_vertices()]
    np.testing.assert_allclose(np.sort(physics.outline(START), axis=0), np.sort(corners, axis=0), atol=1e-9)
    np.testing.assert_allclose(
        physics.centre(START), block.local_to_world(block.center_of_gravity), atol=1e-9
    )


@pytest.mark.parametrize("size", [64, 96, 224])
def test_colours_have_the_area_of_what_they_show(size):
    image = draw_scene(START, size).astype(float)
    red = 255 - image[..., 0][size // 16 : -size // 16, size // 16 : -size // 16]
    area = np.array([4 * 30 * 30 + 3 * 30 * 30, np.pi * 15**2]) * (size / 512) ** 2
    expected = area @ (255 - np.array([BLOCK[0], AGENT[0]]))
    assert red.sum() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("size", [16, 64, 224])
def test_agent_and_block_are_seen_to_move_by_a_tenth_of_a_pixel(size):
    step = 0.1 * 512 / size
    image = draw_scene(START, size)
    for change in (
        [step, 0, 0, 0, 0],
        [0, step, 0, 0, 0],
        [0, 0, step, 0, 0],
        [0, 0, 0, step, 0],
        [0, 0, 0, 0, 0.05],
    ):
        assert (draw_scene(START + [*change, 0, 0], size) != image).any()
    assert (draw_scene(START + [0, 0, 0, 0, 0, 50, 50], size) == image).all()


def test_the_picture_shows_the_block_where_it_is():
    image = draw_scene(START, 256)
    for x, y in [physics.centre(START), physics.outline(START).mean(axis=0)]:
        assert (image[int(y / 2), int(x / 2)] == BLOCK).all()
    assert (image[200, 128] == AGENT).all()


def test_drawing_never_changes_the_shared_ground():
    empty = draw_scene(START + [0, 0, 300, 300, 0, 0, 0], 64)
    draw_scene(START, 64)
    np.testing.assert_array_equal(draw_scene(START + [0, 0, 300, 300, 0, 0, 0], 64), empty)


def test_the_goal_is_drawn_where_that_is_asked(engine):
    state, goal = START, START + [0, 0, 120, 150, 1.0, 0, 0]
    images = []
    for draw_goal in (False, True):
        env = PushT(PushTEnv(kind="pusht", size=64, draw_goal=draw_goal))
        images.append(env.reset(options={"state": state, "goal_state": goal})[0]["pixels"])
    is_goal = [(image == GOAL).all(axis=-1).sum() for image in images]
    assert is_goal[0] == 0 and is_goal[1] > 30
