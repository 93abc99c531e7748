"""PushT as an environment: a disc pushes a T to where it is in the goal image."""

from typing import Self

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.config.envs import PushTEnv
from jepa.envs import pusht_physics as physics
from jepa.envs.base import GoalEnv, Image, State
from jepa.envs.pusht_drawing import draw_scene
from jepa.errors import DataError

MAX_STEPS = 200
SUCCESS_PIXELS = 20.0
SUCCESS_ANGLE = np.pi / 9
LEVER = 60.0
"""Pixels that a radian of the block counts in `distance`: half the T's width."""
MARGIN = 100.0
"""How far outside the window agent and block may be: the agent's momentum carries it out a little."""
FASTEST = 2000.0
"""Largest speed of the agent along an axis, in pixels per second, that a state may have; its own reach is 500."""


class PushT(GoalEnv):
    """Push a T-shaped block with a disc (Diffusion Policy, arXiv:2303.04137; physics in `pusht_physics`).

    State: (agent x, agent y, block x, block y, block angle, agent velocity x, agent velocity y), in pixels of a
    512 x 512 window, y down, radians and seconds. Action: the controller's target relative to the agent, in units of
    100 pixels, as in stable-worldmodel; here the target is also kept in the window. One step is .1 s.
    Proprioception: the agent's position and velocity.

    Success, as in stable-worldmodel: the positions of agent and block together, four numbers,
    are less than 20 pixels from the goal's, and the block's angle is less than pi / 9 from it. Distance, in pixels:
    the same four numbers and the angle's error times `LEVER`, as one Euclidean length.

    Starts and goals that are drawn are far apart; published tables take goals from recorded episodes.
    """

    def __init__(self, config: PushTEnv) -> None:
        highest = np.array([physics.WINDOW + MARGIN] * 2 + [FASTEST] * 2, dtype=np.float32)
        lowest = np.array([-MARGIN] * 2 + [-FASTEST] * 2, dtype=np.float32)
        super().__init__(
            size=config.size,
            state_size=7,
            proprio_space=spaces.Box(lowest, highest),
            action_space=spaces.Box(-1, 1, (2,), np.float32),
            max_episode_steps=MAX_STEPS,
        )
        self.config = config
        self._engine = physics.engine()
        self._state = np.array([256.0, 400.0, 256.0, 200.0, 0.0, 0.0, 0.0])

    @property
    def state(self) -> State:
        """Agent, block and the agent's velocity, (7,), a copy."""
        return self._state.copy()

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError also where agent or block are far outside the window."""
        checked = super().check_state(state)
        places = np.concatenate([checked[:2], physics.centre(checked)])
        if (places < -MARGIN).any() or (places > physics.WINDOW + MARGIN).any():
            raise DataError(
                f"state {checked.tolist()} puts agent or block outside the window; both must lie from {-MARGIN:g} "
                f"to {physics.WINDOW + MARGIN:g} pixels"
            )
        if (np.abs(checked[5:]) > FASTEST).any():
            raise DataError(
                f"state {checked.tolist()} has a speed above {FASTEST:g} pixels per second; the last two numbers "
                "are the agent's velocity: give smaller ones"
            )
        return checked

    def _set_state(self, state: State) -> None:
        self._state = state

    def draw(self, state: ArrayLike) -> Image:
        """Draw a state, (7,) -> (size, size, 3); the goal's pose below it where the config asks for that."""
        goal = self._goal if self.config.draw_goal else None
        return draw_scene(self.check_state(state), self.size, goal=goal)

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the distance to the goal in pixels; velocities do not count."""
        return float(self.distances(np.asarray(state)[None], np.asarray(goal)[None])[0])

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return each distance in pixels, (n, 7), (n, 7) -> (n,)."""
        pixels, angle = _errors(np.asarray(states, np.float64), np.asarray(goals, np.float64))
        return np.hypot(pixels, LEVER * angle)

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether agent and block are within 20 pixels, and the block's angle within pi / 9, of the goal's."""
        pixels, angle = _errors(np.asarray(state, np.float64), np.asarray(goal, np.float64))
        return bool(pixels < SUCCESS_PIXELS and angle < SUCCESS_ANGLE)

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a state at rest, (7,), in the published ranges; the block is inside the walls and clear of the agent."""
        low, high = physics.INNER
        while True:
            agent, block = generator.uniform(50, 450, 2), generator.uniform(100, 400, 2)
            state = np.array([*agent, *block, generator.uniform(0, 2 * np.pi), 0, 0])
            corners = physics.outline(state)
            is_inside = (corners > low).all() and (corners < high).all()
            if is_inside and physics.clearance(state, agent) > physics.AGENT_RADIUS:
                return state

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return the agent's position and velocity, (4,)."""
        return state[[0, 1, 5, 6]].astype(np.float32)

    def advance(self, action: NDArray[np.float32]) -> None:
        """Move agent and block by one control step."""
        self._state = physics.advance(self._engine, self._state, action.astype(np.float64))

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config)


def _errors(
    states: NDArray[np.float64], goals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the errors of the four positions together and of the angle: (..., 7), (..., 7) -> (...), (...)."""
    turn = states[..., 4] - goals[..., 4]
    angle = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    return np.linalg.norm(states[..., :4] - goals[..., :4], axis=-1), angle
