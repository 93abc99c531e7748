"""The simplest search, and the yardstick of all others: draw, keep the best."""

from dataclasses import dataclass

import torch

from jepa.planning.search import Search
from jepa.planning.solver import Solver


@dataclass(frozen=True, kw_only=True)
class RandomShooting(Solver):
    """Draw all candidates uniformly, keep the best."""

    samples: int = 300
    """Candidates, the warm start among them."""

    def run(self, search: Search) -> None:
        """Ask once."""
        problem = search.problem
        drawn = problem.space.uniform(problem.draw(self.samples))  # (B, S, H, A)
        if problem.start is not None:
            drawn = torch.cat([problem.start, drawn[:, 1:]], dim=1)
        search.ask(drawn)
        search.end_round()
