"""What every environment offers: images, exact states, goals given as images, a rule of success."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.errors import DataError, RunError

Observation = dict[str, NDArray[Any]]
Info = dict[str, Any]
State = NDArray[np.float64]
Image = NDArray[np.uint8]
Expert = Callable[[Observation, Info], NDArray[Any]]

OPTIONS = ("state", "goal_state")


class PixelEnv(gymnasium.Env[Observation, NDArray[Any]], ABC):
    """An ordinary gymnasium environment that shows images: all that a recording needs.

    Observations are ``pixels``, (size, size, 3) uint8, and ``proprio``, (P,) float32, where there is any. An episode
    ends after ``max_episode_steps`` at the latest. ``info`` holds ``state``, (S,) float64, where it can be read.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        *,
        size: int,
        proprio_space: spaces.Box | None,
        action_space: spaces.Space[Any],
        max_episode_steps: int,
    ) -> None:
        observed: dict[str, spaces.Space[Any]] = {"pixels": spaces.Box(0, 255, (size, size, 3), np.uint8)}
        if proprio_space is not None:
            observed["proprio"] = proprio_space
        self.observation_space: spaces.Dict = spaces.Dict(observed)  # type: ignore[assignment]  # narrower than gymnasium's
        self.action_space = action_space
        self.render_mode = "rgb_array"
        self.size = size
        self.max_episode_steps = max_episode_steps

    @abstractmethod
    def render(self) -> Image:
        """Return the image of the present state, (size, size, 3)."""


class GoalEnv(PixelEnv):
    """An ordinary gymnasium environment whose goal is a state, shown to the agent as an image only.

    Observations are ``pixels``, (size, size, 3) uint8, and ``proprio``, (P,) float32. An episode never terminates:
    it is truncated after ``max_episode_steps``, and whether the goal was reached is in ``info``.

    ``info`` holds ``state`` and ``goal_state``, (S,) float64, ``distance`` in the environment's own unit,
    ``success``, and after a reset ``goal``, the image of the goal state. The reward is minus the distance.

    A subclass writes `state`, `draw`, `distance`, `is_success`, `sample_state`, `proprio`, `advance`, `copy` and
    ``_set_state``; one whose states obey rules extends `check_state`; one with many states at once extends
    `copy_step` and `distances`; one with an expert returns it from `expert`.
    """

    def __init__(
        self,
        *,
        size: int,
        state_size: int,
        proprio_space: spaces.Box,
        action_space: spaces.Space[Any],
        max_episode_steps: int,
    ) -> None:
        super().__init__(
            size=size,
            proprio_space=proprio_space,
            action_space=action_space,
            max_episode_steps=max_episode_steps,
        )
        self.state_size = state_size
        self._goal: State | None = None
        self._steps = 0
        self._simulator: GoalEnv | None = None

    @property
    @abstractmethod
    def state(self) -> State:
        """The whole state of the simulator, (S,) float64, a copy."""

    @abstractmethod
    def _set_state(self, state: State) -> None:
        """Put the simulator into a checked state, exactly."""

    @abstractmethod
    def draw(self, state: ArrayLike) -> Image:
        """Draw any state, (S,) -> (size, size, 3), and leave the environment as it is."""

    @abstractmethod
    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return how far a state is from a goal, in the environment's own unit."""

    @abstractmethod
    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether a state reaches a goal."""

    @abstractmethod
    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a start; or, where ``other`` is given, the other end of an episode that starts or ends there."""

    @abstractmethod
    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return what the agent feels of itself, (S,) -> (P,)."""

    @abstractmethod
    def advance(self, action: NDArray[Any]) -> None:
        """Move the simulator by one step of an action that was checked."""

    @abstractmethod
    def copy(self) -> Self:
        """Build a second environment of the same kind."""

    def expert(self) -> Expert | None:
        """Return a controller, (observation, info) -> action, or None where there is none."""
        return None

    @property
    def goal_state(self) -> State:
        """The goal of this episode, (S,) float64, a copy. Raises RunError before the first reset."""
        if self._goal is None:
            raise RunError("the environment has no goal yet; call reset() first")
        return self._goal.copy()

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError on a wrong size or a number that is not finite."""
        checked = np.array(state, dtype=np.float64)
        if checked.shape != (self.state_size,):
            raise DataError(
                f"a state of shape {checked.shape} does not fit {type(self).__name__}; "
                f"give {self.state_size} numbers, as in info['state']"
            )
        if not np.isfinite(checked).all():
            raise DataError(f"state {checked.tolist()} is not finite; give finite numbers")
        return checked

    def set_state(self, state: ArrayLike) -> None:
        """Put the simulator into ``state``, exactly. Raises DataError where it is no state of this environment."""
        self._set_state(self.check_state(state))

    def ends(self, options: Mapping[str, Any], generator: np.random.Generator) -> tuple[State, State]:
        """Return start and goal of an episode, drawn where the options do not name them.

        Raises DataError on an unknown option and on one that is no state.
        """
        check_options(options, OPTIONS)
        state, goal = (
            None if options.get(name) is None else self.check_state(options[name]) for name in OPTIONS
        )
        if state is None:
            state = self.sample_state(generator, goal)
        if goal is None:
            goal = self.sample_state(generator, state)
        return state, goal

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start an episode, at ``options["state"]`` and towards ``options["goal_state"]`` where they are given.

        What is not given is drawn from the environment's generator. Raises DataError on a wrong option.
        """
        super().reset(seed=seed)
        state, goal = self.ends({} if options is None else options, self.np_random)
        self._goal = goal
        self._steps = 0
        self.set_state(state)
        return self._observe(), self._info() | {"goal": self.draw(goal)}

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, Info]:
        """Advance by one step. Raises RunError before the first reset and on an action that is not allowed."""
        if self._goal is None:
            raise RunError("the environment was not started; call reset() before step()")
        self.advance(check_action(action, self.action_space))
        self._steps += 1
        info = self._info()
        return self._observe(), -info["distance"], False, self._steps >= self.max_episode_steps, info

    def render(self) -> Image:
        """Return the image of the present state."""
        return self.draw(self.state)

    def close(self) -> None:
        """Free what the environment holds; it may be called twice."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def copy_step(self, states: ArrayLike, actions: ArrayLike) -> State:
        """Advance many states by one step, in a copy of the simulator: (n, S), (n, A) -> (n, S)."""
        if self._simulator is None:
            self._simulator = self.copy()
        after = []
        for state, action in zip(np.asarray(states), np.asarray(actions), strict=True):
            self._simulator.set_state(state)
            self._simulator.advance(check_action(action, self.action_space))
            after.append(self._simulator.state)
        return np.array(after).reshape(len(after), self.state_size)  # (n, S)

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return the distance of each state to its goal: (n, S), (n, S) -> (n,)."""
        pairs = zip(np.asarray(states), np.asarray(goals), strict=True)
        return np.array([self.distance(state, goal) for state, goal in pairs], dtype=np.float64)

    def _observe(self) -> Observation:
        state = self.state
        return {"pixels": self.draw(state), "proprio": self.proprio(state)}

    def _info(self) -> Info:
        state, goal = self.state, self.goal_state
        return {
            "state": state,
            "goal_state": goal,
            "distance": float(self.distance(state, goal)),
            "success": bool(self.is_success(state, goal)),
        }


def check_options(options: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise DataError where an option of a reset is unknown."""
    if unknown := sorted(set(options) - set(allowed)):
        raise DataError(f"reset option {unknown[0]!r} is unknown; allowed are {', '.join(allowed)}")


def check_action(action: ArrayLike, space: spaces.Space[Any]) -> NDArray[Any]:
    """Return ``action`` as an array of the space's type.

    Raises RunError on a wrong size, on a number that is not finite, and on one that is out of bounds: nothing is
    clipped in silence.
    """
    given = np.asarray(action)
    if given.shape != space.shape:
        raise RunError(f"an action of shape {given.shape} does not fit; this environment takes {space.shape}")
    if isinstance(space, spaces.Discrete):
        if not np.issubdtype(given.dtype, np.integer) or not space.contains(given.astype(np.int64)[()]):
            last = space.start + space.n - 1
            raise RunError(f"action {given} is not allowed; give a whole number from {space.start} to {last}")
        return given.astype(np.int64)
    if not np.isfinite(given).all():
        raise RunError(f"action {given.tolist()} is not finite; give finite numbers")
    cast: NDArray[Any] = given.astype(space.dtype)
    if isinstance(space, spaces.Box) and not ((cast >= space.low) & (cast <= space.high)).all():
        raise RunError(
            f"action {cast.tolist()} is out of bounds; each number must lie from {space.low.tolist()} "
            f"to {space.high.tolist()}: clip it"
        )
    return cast
