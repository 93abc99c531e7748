"""The two-link arm of the DeepMind Control Suite, with an arm position as its goal."""

from typing import Self

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.config.envs import ReacherEnv
from jepa.envs.base import Expert, GoalEnv, Image, Info, Observation, State
from jepa.envs.rendering import Camera, load_mujoco
from jepa.envs.simulation import Simulation
from jepa.errors import DataError
from jepa.runtime.extras import need

MAX_STEPS = 1000
"""The suite's: 20 seconds."""
TOLERANCE = 0.05
"""Of each joint, in radians, as in stable-worldmodel's task qpos_match, which LeWM's table uses."""
WRIST_LIMIT = 160 / 180 * np.pi
"""Of the joint, in radians either way; it is soft."""
STIFFNESS = np.array([3.0, 1.5])
DAMPING = np.array([0.2, 0.05])


class Reacher(GoalEnv):
    """A planar arm with two joints, driven by torques (dm_control's reacher; arXiv:1801.00690).

    State: (shoulder, wrist, their velocities), radians and radians per second; the shoulder turns freely. Action: the
    two torques, as fractions of the largest. A step lasts .02 seconds. Proprioception: the state.

    The goal is a state of the arm, as in LeWM (arXiv:2603.19312); the suite's own target is hidden. Start and goal are
    drawn as the suite draws starts: both joints uniform, at rest. Distance: Euclidean, of the two angles. Success: each
    angle is within `TOLERANCE` of the goal's. A full turn of the shoulder makes no difference, while qpos_match
    counts turns. Velocities do not matter.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, config: ReacherEnv) -> None:
        mujoco = load_mujoco(extra="reacher")
        suite = need("dm_control.suite.reacher", extra="reacher")
        super().__init__(
            size=config.size,
            state_size=4,
            proprio_space=spaces.Box(-np.inf, np.inf, (4,), np.float32),
            action_space=spaces.Box(-1, 1, (2,), np.float32),
            max_episode_steps=MAX_STEPS,
        )
        self.config = config
        model = mujoco.MjModel.from_xml_string(*suite.get_model_and_assets())
        model.geom("target").rgba[3] = 0
        model.geom("target").matid = -1  # the material's colour would come before the geom's
        self._simulation = Simulation(mujoco, model)
        self._pose = mujoco.MjData(model)
        self._camera = Camera(mujoco, model, config.size)
        self._camera.from_fixed("fixed")

    @property
    def state(self) -> State:
        """The angles and their velocities, (4,), a copy."""
        return self._simulation.state

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError also where the wrist is bent further than it can be."""
        checked = super().check_state(state)
        if abs(checked[1]) > np.pi:
            raise DataError(
                f"wrist angle {checked[1]:.4g} is more than half a turn; its joint stops at +-{WRIST_LIMIT:.4g}"
            )
        return checked

    def _set_state(self, state: State) -> None:
        self._simulation.set_state(state)

    def draw(self, state: ArrayLike) -> Image:
        """Draw the arm of a state, (4,) -> (size, size, 3)."""
        self._pose.qpos[:] = self.check_state(state)[:2]
        return self._camera.draw(self._pose)

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the Euclidean distance of the angles, in radians."""
        return float(self.distances(state, goal))

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return the distances of many states to their goals: (n, 4), (n, 4) -> (n,)."""
        return np.asarray(np.linalg.norm(angles_between(states, goals), axis=-1))

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether each angle is within `TOLERANCE` of the goal's."""
        return bool((np.abs(angles_between(state, goal)) < TOLERANCE).all())

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw an arm at rest, (4,), both joints uniform over all that they can do."""
        shoulder = generator.uniform(-np.pi, np.pi)
        return np.array([shoulder, generator.uniform(-WRIST_LIMIT, WRIST_LIMIT), 0, 0])

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return the angles and their velocities, (4,)."""
        return state.astype(np.float32)

    def advance(self, action: NDArray[np.float32]) -> None:
        """Apply the torques for one step."""
        self._simulation.step(action)

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config)

    def close(self) -> None:
        """Free the graphics context and the copy; it may be called twice."""
        super().close()
        self._camera.close()

    def expert(self) -> Expert:
        """Return a controller that turns both joints to the goal's angles."""
        return turn_to_goal


def angles_between(states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
    """Return what the joints of ``states`` lack to the goals': (..., 4), (..., 4) -> (..., 2), the shoulder in +-pi."""
    lacking = np.asarray(goals, dtype=np.float64)[..., :2] - np.asarray(states, dtype=np.float64)[..., :2]
    lacking[..., 0] = (lacking[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return lacking


def turn_to_goal(observation: Observation, info: Info) -> NDArray[np.float32]:
    """Return the torques, (2,), of a spring and a damper at each joint."""
    torque = STIFFNESS * angles_between(info["state"], info["goal_state"]) - DAMPING * info["state"][2:]
    return np.asarray(torque.clip(-1, 1), dtype=np.float32)
