"""The ball in a maze of gymnasium-robotics, seen from above, with its goal hidden."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.config.envs import PointMazeEnv
from jepa.envs.base import Expert, GoalEnv, Image, Info, Observation, State
from jepa.envs.maze_paths import MazePaths
from jepa.envs.rendering import Camera, load_mujoco
from jepa.envs.simulation import Simulation
from jepa.errors import DataError
from jepa.runtime.extras import need

MAZES = {"umaze": "U_MAZE", "medium": "MEDIUM_MAZE", "large": "LARGE_MAZE"}
MAX_STEPS = {"umaze": 300, "medium": 600, "large": 800}
"""The package's."""
MAX_SPEED = 5.0
"""Along each axis, before a step's force; the package's."""
SUCCESS_RADIUS = 0.45
"""The package's."""
BALL_RADIUS = 0.1
CLEARANCE = 0.02
"""Least distance of the ball's centre from walls: contacts are soft, and at full force the ball sinks in by .06."""
NOISE = 0.25
"""Largest distance along each axis from a square's centre, of starts and goals; the package's."""
EXPERT_WAYS = ({"margin": 0.22, "bend": 0.3}, {"margin": CLEARANCE, "bend": BALL_RADIUS})
"""The expert keeps from walls, so that it does not scrape along, but where it is at one already."""
EXPERT_SPEED = 4.0


class PointMaze(GoalEnv):
    """A ball pushed through a maze of unit squares (gymnasium-robotics' PointMaze; D4RL, arXiv:2004.07219).

    State: (x, y, and their velocities); x to the right, y upwards, the maze's middle is (0, 0). Action: the force
    along x and y, as fractions of the largest. A step lasts .01 seconds. Proprioception: the state.

    The view is from straight above, without perspective; the outer half of the outer walls is cut off along the longer
    side. Start and goal are drawn as the package draws them, at rest: a free square, `NOISE` from its centre, and more
    than half a square apart. Distance: the length of the shortest way of the ball's centre around the walls,
    `CLEARANCE` from them. Success: the ball is within `SUCCESS_RADIUS` of the goal in a straight line, at any
    velocity, as the package has it (DINO-WM, arXiv:2411.04983, allows .5).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100}

    def __init__(self, config: PointMazeEnv) -> None:
        mujoco = load_mujoco(extra="pointmaze")
        package = need("gymnasium_robotics.envs.maze.point_maze", extra="pointmaze")
        maps = need("gymnasium_robotics.envs.maze.maps", extra="pointmaze")
        super().__init__(
            size=config.size,
            state_size=4,
            proprio_space=spaces.Box(-np.inf, np.inf, (4,), np.float32),
            action_space=spaces.Box(-1, 1, (2,), np.float32),
            max_episode_steps=MAX_STEPS[config.maze],
        )
        self.config = config
        rows = [[square == 1 for square in row] for row in getattr(maps, MAZES[config.maze])]
        model = load_model(package, rows)
        self.paths = MazePaths(rows, margin=CLEARANCE)
        self._simulation = Simulation(mujoco, model)
        self._pose = mujoco.MjData(model)
        self._camera = Camera(mujoco, model, config.size)
        self._camera.from_above(extent=max(self.paths.walls.shape) - 1)

    @property
    def state(self) -> State:
        """Position and velocity, (4,), a copy."""
        return self._simulation.state

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError also where the ball is in a wall or outside of the maze."""
        checked = super().check_state(state)
        if not self.paths.is_free(checked[:2]):
            x, y = checked[:2]
            raise DataError(
                f"position ({x:.4g}, {y:.4g}) is in a wall or outside of the maze; "
                f"keep {BALL_RADIUS} from walls, as around a square's centre such as "
                f"{tuple(self.paths.centres[0].tolist())}"
            )
        return checked

    def _set_state(self, state: State) -> None:
        self._simulation.set_state(state)

    def draw(self, state: ArrayLike) -> Image:
        """Draw a state, (4,) -> (size, size, 3)."""
        self._pose.qpos[:] = self.check_state(state)[:2]
        return self._camera.draw(self._pose)

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the length of the shortest way around the walls."""
        return float(self.distances(np.asarray(state)[None], np.asarray(goal)[None])[0])

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return the lengths of many shortest ways: (n, 4), (n, 4) -> (n,)."""
        starts, ends = (np.asarray(given, dtype=np.float64)[:, :2] for given in (states, goals))
        return self.paths.lengths(starts, ends)

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether the ball is within `SUCCESS_RADIUS` of the goal's position."""
        return bool(np.linalg.norm(np.asarray(state)[:2] - np.asarray(goal)[:2]) <= SUCCESS_RADIUS)

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a ball at rest, (4,), anywhere; or, where ``other`` is given, more than half a square from it."""
        while True:
            centre = generator.choice(self.paths.centres)
            position = centre + generator.uniform(-NOISE, NOISE, 2)
            if other is None or np.linalg.norm(position - other[:2]) > 0.5:
                return np.concatenate([position, [0.0, 0.0]])

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return position and velocity, (4,)."""
        return state.astype(np.float32)

    def advance(self, action: NDArray[np.float32]) -> None:
        """Limit the speed, as the package does, and push for one step."""
        speed = self._simulation.data.qvel
        speed[:] = speed.clip(-MAX_SPEED, MAX_SPEED)
        self._simulation.step(action)

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config)

    def close(self) -> None:
        """Free the graphics context and the copy; it may be called twice."""
        super().close()
        self._camera.close()

    def expert(self) -> Expert:
        """Return a controller that follows the shortest way with room to the walls."""
        rows = self.paths.walls.tolist()
        ways = [MazePaths(rows, **distances) for distances in EXPERT_WAYS]

        def follow(observation: Observation, info: Info) -> NDArray[np.float32]:
            position, velocity = info["state"][:2], info["state"][2:]
            goal = info["goal_state"][:2]
            open_ways = (way for way in ways if np.isfinite(way.lengths(position[None], goal[None])[0]))
            target = next(open_ways, self.paths).next_point(position, goal)
            wanted = 5 * (target - position)
            wanted *= EXPERT_SPEED / max(EXPERT_SPEED, float(np.linalg.norm(wanted)))
            return np.asarray((0.5 * (wanted - velocity)).clip(-1, 1), dtype=np.float32)

        return follow


def load_model(package: Any, rows: list[list[bool]]) -> Any:
    """Build the package's model of a maze, with the goal's mark hidden."""
    env = package.PointMazeEnv(maze_map=[[int(is_wall) for is_wall in row] for row in rows])
    Path(env.tmp_xml_file_path).unlink()  # the package writes the model to a file, and leaves it there
    env.model.site("target").rgba[3] = 0
    return env.model
