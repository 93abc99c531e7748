"""Several goal environments stepped side by side, each with its own start and goal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from jepa.envs.base import OPTIONS, Info, Observation, PixelEnv, check_options
from jepa.errors import DataError

Seeds = int | Sequence[int | None] | None
Flags = NDArray[np.bool_]
Step = tuple[Observation, NDArray[np.float64], Flags, Flags, Info]


class GoalVector(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """n environments, stepped one after another; environment i has seed ``seed`` + i.

    Nothing is reset by itself (gymnasium's autoreset mode DISABLED): `reset` starts all episodes, or with
    ``options["reset_mask"]``, (n,) bool, some of them. ``options["state"]`` and ``options["goal_state"]`` have one row
    per environment, (n, S). ``info`` is that of `GoalEnv` with a first axis of n, less where they have no goals.
    """

    def __init__(self, makers: Sequence[Callable[[], PixelEnv]]) -> None:
        self.envs = [make() for make in makers]
        first = self.envs[0]
        self.num_envs = len(self.envs)
        self.metadata = first.metadata | {"autoreset_mode": AutoresetMode.DISABLED}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self._observations: list[Observation] = [{}] * self.num_envs

    def reset(
        self, *, seed: Seeds = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start all episodes, or those of the mask. Raises DataError on a wrong option."""
        chosen, rows = split_options(options, self.num_envs)
        infos: list[Info | None] = [None] * self.num_envs
        for i, (env, own, row) in enumerate(
            zip(self.envs, split_seeds(seed, self.num_envs), rows, strict=True)
        ):
            if chosen[i] or not self._observations[i]:
                self._observations[i], infos[i] = env.reset(seed=own, options=row)
        return stack_observations(self._observations), stack_infos(infos)

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all: (n, A) -> observations, rewards (n,), terminated (n,), truncated (n,), info."""
        steps = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        self._observations, rewards, terminated, truncated, infos = map(list, zip(*steps, strict=True))
        return (
            stack_observations(self._observations),
            np.array(rewards, dtype=np.float64),
            np.array(terminated, dtype=np.bool_),
            np.array(truncated, dtype=np.bool_),
            stack_infos(infos),
        )

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Return one image per environment."""
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **options: Any) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()


def split_seeds(seed: Seeds, count: int) -> list[int | None]:
    """Return one seed per environment. Raises DataError where a list has another length."""
    if seed is None or isinstance(seed, int):
        return [None if seed is None else seed + i for i in range(count)]
    if len(seed) != count:
        raise DataError(
            f"{len(seed)} seeds do not fit {count} environments; give one seed for each, or one number"
        )
    return list(seed)


def split_options(options: Mapping[str, Any] | None, count: int) -> tuple[Flags, list[dict[str, Any]]]:
    """Return which environments start, (n,), and the options of each. Raises DataError on a wrong first axis."""
    given = {} if options is None else {name: value for name, value in options.items() if value is not None}
    check_options(given, (*OPTIONS, "reset_mask"))
    rows = {name: np.asarray(value) for name, value in given.items()}
    for name, value in rows.items():
        if value.shape[:1] != (count,):
            raise DataError(
                f"reset option {name!r} of shape {value.shape} does not fit; give one row for each of "
                f"{count} environments"
            )
    chosen = np.asarray(rows.pop("reset_mask", np.ones(count)), dtype=np.bool_)
    return chosen, [{name: value[i] for name, value in rows.items()} for i in range(count)]


def stack_observations(observations: Sequence[Observation]) -> Observation:
    """Put observations side by side, with a first axis of n."""
    return {name: np.stack([one[name] for one in observations]) for name in observations[0]}


def stack_infos(infos: Sequence[Info | None]) -> Info:
    """Put infos side by side; beside each key, ``_key`` says which environments have it, as gymnasium has it."""
    present = np.array([info is not None for info in infos])
    stacked: Info = {}
    for name in next((info for info in infos if info is not None), {}):
        values = [None if info is None else np.asarray(info[name]) for info in infos]
        like = next(value for value in values if value is not None)
        stacked[name] = np.stack([np.zeros_like(like) if value is None else value for value in values])
        stacked[f"_{name}"] = present.copy()
    return stacked
