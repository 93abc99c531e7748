"""Problems with known optima, and a world model whose imagination is the truth."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from jepa.planning import CEM, ICEM, MPPI, BoxSpace, Gradient, RandomShooting, Refine

SOLVERS = {
    "random": RandomShooting(samples=500),
    "cem": CEM(samples=200, iterations=8, elites=20),
    "icem": ICEM(samples=200, iterations=12, elites=20),
    "mppi": MPPI(samples=200, iterations=12, temperature=0.3),
    "gradient": Gradient(restarts=4, iterations=60),
    "cem-gradient": Refine(
        cem=CEM(samples=100, iterations=3, elites=10), gradient=Gradient(restarts=4, iterations=60)
    ),
}
SAMPLING = ("random", "cem", "icem", "mppi")
UNEVEN = BoxSpace(torch.tensor([-1.0, 0.5]), torch.tensor([3.0, 0.7]))


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def quadratic(optimum):
    """Squared distance of all actions to ``optimum``, (B, 1, H, A): elementwise, so that batches change nothing."""
    return lambda actions: (actions - optimum).square().sum(dim=(-2, -1))


class Grid:
    """A 5 x 5 maze: up, down, left, right; the number of steps until the goal is reached."""

    STEPS = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])
    WALL = torch.zeros(5, 5, dtype=torch.bool)
    WALL[1:, 2] = True  # open in the top row only
    START, GOAL = (2, 1), (2, 3)
    SHORTEST = 6  # up, up, right, right, down, down

    def __call__(self, actions):
        cell = torch.tensor(self.START).expand(*actions.shape[:2], 2)
        goal = torch.tensor(self.GOAL)
        waited = torch.zeros(actions.shape[:2])
        arrived = torch.zeros(actions.shape[:2], dtype=torch.bool)
        for step in actions.argmax(dim=-1).unbind(dim=2):
            moved = (cell + self.STEPS[step]).clamp(0, 4)
            blocked = self.WALL[moved[..., 0], moved[..., 1]] | arrived
            cell = torch.where(blocked[..., None], cell, moved)
            waited += ~arrived
            arrived |= (cell == goal).all(dim=-1)
        return waited + (~arrived) * self._beyond(cell, goal)

    @staticmethod
    def _beyond(cell, goal):
        """Walking distance through the top row, for those that have not arrived."""
        crosses = cell[..., 1] <= 2
        through = cell[..., 0] + goal[0] + (cell[..., 1] - goal[1]).abs()
        return torch.where(crosses, through, (cell - goal).abs().sum(dim=-1)).float()


def draw(position, size=(8, 8)):
    """An image whose first two channels are the position, from 0 to 255."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., :2] = np.round(np.clip(position, 0, 1) * 255)
    return image


class PointEnv(gymnasium.Env):
    """A point in the unit square; an action is a step of a tenth."""

    GAIN = 0.1

    def __init__(self, discrete=False, width=2):
        self.discrete = discrete
        bound = np.ones(width, np.float32)
        self.action_space = spaces.Discrete(4) if discrete else spaces.Box(-bound, bound)
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, (8, 8, 3), np.uint8),
                "proprio": spaces.Box(-1, 2, (2,), np.float32),
            }
        )

    def look(self):
        return {"pixels": draw(self.position), "proprio": self.position.astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(0.1, 0.9, 2)
        return self.look(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        step = (Grid.STEPS[int(action)] if self.discrete else torch.from_numpy(action)).numpy()
        self.position = np.clip(self.position + self.GAIN * step, 0, 1)
        return self.look(), 0.0, False, False, {}


class PointModel:
    """The point's dynamics as a world model, which counts what it is asked and remembers the contexts."""

    def __init__(self, frame_skip=1, history=1, proprio_size=0, discrete=False):
        self.frame_skip, self.history, self.proprio_size = frame_skip, history, proprio_size
        self.discrete = discrete
        self.action_size = frame_skip * (4 if discrete else 2)
        self.encoded, self.contexts, self.candidates = [], [], 0

    def encode(self, frames):
        assert frames.dtype == torch.uint8 and frames.ndim == 5
        self.encoded.append(tuple(frames.shape[:2]))
        return frames[..., :2].float().mean(dim=(2, 3))[:, :, None] / 255  # (B, T, 1, 2)

    def rollout(self, z, actions, *, past_actions=None, proprio=None):
        self.contexts.append((z, past_actions, proprio))
        self.candidates += actions.shape[0] * actions.shape[1]
        each = actions.reshape(*actions.shape[:-1], self.frame_skip, -1)  # (B, S, H, F, a)
        moves = each @ Grid.STEPS.float() if self.discrete else each
        return z[:, None, -1:] + PointEnv.GAIN * moves.sum(dim=-2).cumsum(dim=2)[..., None, :]
