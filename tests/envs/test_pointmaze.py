"""The ball in a maze is the package's, with states that are set exactly and a goal that is not shown."""

from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest

from jepa.config.envs import PointMazeEnv
from jepa.envs.pointmaze import CLEARANCE, SUCCESS_RADIUS, PointMaze
from jepa.envs.rendering import choose_graphics
from jepa.errors import DataError
from tests.envs import contract


@pytest.fixture(scope="module")
def env():
    choose_graphics()
    pytest.importorskip("gymnasium_robotics")
    env = PointMaze(PointMazeEnv(kind="pointmaze"))
    yield env
    env.close()


@pytest.mark.parametrize(
    "module",
    ["mujoco", "gymnasium_robotics.envs.maze.point_maze"],
)
def test_a_missing_package_is_named(monkeypatch, module):
    contract.check_missing(
        monkeypatch, lambda: PointMaze(PointMazeEnv(kind="pointmaze")), module, "pointmaze"
    )


@pytest.mark.filterwarnings("ignore:.*infinity")  # velocities have no bound
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(env, check):
    check(env)


def test_it_moves_as_the_package_has_it(env):
    from gymnasium_robotics.envs.maze.maps import U_MAZE
    from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv as Theirs

    theirs = Theirs(maze_map=U_MAZE)
    Path(theirs.tmp_xml_file_path).unlink()
    theirs.reset(seed=0)
    env.reset(seed=0)
    start = env.state
    theirs.point_env.set_state(start[:2], start[2:])
    generator = np.random.default_rng(0)
    fastest = 0.0
    for step in range(300):
        if step % 20 == 0:
            action = generator.choice([-1.0, -0.5, 1.0], 2).astype(np.float32)
        seen, _, _, _, info = theirs.step(action)
        ours = env.step(action)[4]
        np.testing.assert_allclose(ours["state"], seen["observation"], atol=1e-4)
        assert env.is_success(ours["state"], np.r_[theirs.goal, 0, 0]) == info["success"]
        fastest = max(fastest, np.abs(ours["state"][2:]).max())
    assert fastest > 4.9  # the limit of speed was met, and walls were hit
    theirs.close()


def test_distances_go_around_the_wall(env):
    start, goal = np.array([-1.0, 1, 0, 0]), np.array([-1.0, -1, 3, 3])
    off = 0.5 + CLEARANCE  # of the two corners of the middle wall, from the square's centres
    expected = 2 * np.hypot(1 + off, 1 - off) + 2 * off
    assert env.distance(start, goal) == pytest.approx(expected)
    np.testing.assert_allclose(env.distances(np.tile(start, (3, 1)), np.tile(goal, (3, 1))), expected)
    assert not env.is_success(start, goal)


def test_success_is_nearness_at_any_velocity(env):
    goal = np.array([1.0, 1, 0, 0])
    assert env.is_success(goal - [SUCCESS_RADIUS - 1e-6, 0, -4, 4], goal)
    assert not env.is_success(goal - [SUCCESS_RADIUS + 1e-6, 0, 0, 0], goal)


@pytest.mark.parametrize("position", [(0.0, 0.0), (-2.0, 0.0), (9.0, 9.0), (1.0, 1.49)])
def test_a_ball_in_a_wall_is_refused(env, position):
    with pytest.raises(DataError, match=r"in a wall or outside of the maze; keep 0.1 from walls"):
        env.set_state([*position, 0, 0])


def test_what_physics_reaches_is_a_state(env):
    generator = np.random.default_rng(0)
    for _ in range(5):
        env.set_state(env.sample_state(generator))
        action = generator.choice([-1, 1], 2).astype(np.float32)
        for _ in range(60):
            env.advance(action)
            env.check_state(env.state)


def test_the_picture_shows_where_the_ball_is(env):
    """x to the right and y upwards, and a motion of a tenth of a pixel changes the picture."""
    centres = {}
    for x, y in [(-1, 1), (1, 1), (1, -1), (1.006, -1)]:
        picture = env.draw([x, y, 0, 0]).astype(float)
        green = np.maximum(picture[..., 1] - np.maximum(picture[..., 0], picture[..., 2]), 0)
        rows, columns = np.indices(green.shape)
        centres[x, y] = (green * columns).sum() / green.sum(), (green * rows).sum() / green.sum()
    for (x, y), (column, row) in centres.items():
        # 16 pixels a square, the maze's middle between pixels 31 and 32
        assert (column, row) == pytest.approx((31.5 + 16 * x, 31.5 - 16 * y), abs=0.15)
    assert centres[1, -1] != centres[1.006, -1]


def test_the_expert_arrives_and_stays(env):
    for seed in range(6):
        observation, info = env.reset(seed=seed)
        act = env.expert()
        for _ in range(env.max_episode_steps):
            env.advance(act(observation, info))
            info = {"state": env.state, "goal_state": env.goal_state}
        assert env.is_success(info["state"], info["goal_state"])


@pytest.mark.parametrize(("maze", "steps", "free"), [("medium", 600, 26), ("large", 800, 46)])
def test_other_mazes(env, maze, steps, free):
    other = PointMaze(PointMazeEnv(kind="pointmaze", maze=maze))
    assert other.max_episode_steps == steps
    assert len(other.paths.centres) == free
    starts, goals = (
        np.array([other.sample_state(np.random.default_rng(seed + k)) for k in range(50)]) for seed in (0, 50)
    )
    assert np.isfinite(other.distances(starts, goals)).all()
    picture = other.draw(starts[0]).astype(int)
    assert not (picture[..., 0] > picture[..., 1] + 120).any()  # the goal's mark is red
    other.close()


def test_start_and_goal_are_apart_and_nothing_is_left_behind(env):
    generator = np.random.default_rng(0)
    for _ in range(100):
        start = env.sample_state(generator)
        goal = env.sample_state(generator, start)
        assert np.linalg.norm(start[:2] - goal[:2]) > 0.5 and not start[2:].any()
    before = set(Path(gettempdir()).glob("ant_maze*.xml"))
    env.copy().close()
    assert set(Path(gettempdir()).glob("ant_maze*.xml")) <= before
