"""Model predictive path integral control."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.planning.search import Search
from jepa.planning.solver import Solver


@dataclass(frozen=True, kw_only=True)
class MPPI(Solver):
    """Move the distribution to all candidates, weighted by exp(-cost / temperature) (MPPI, arXiv:1509.01149).

    The deviation is fitted with the same weights, as TD-MPC does (arXiv:2203.04955, section 3). Each round's
    candidates are the centre of the distribution and new ones.
    """

    samples: int = 300
    """Candidates per round."""
    iterations: int = 10
    """Rounds."""
    initial_std: float = 0.5
    """Deviation of the first round."""
    min_std: float = 0.05
    """Smallest deviation."""
    temperature: float = 0.1
    """Of the weights, in deviations of the round's costs, so that the scale of a cost does not matter."""

    def run(self, search: Search) -> None:
        """Draw, ask, weigh."""
        problem = search.problem
        shape = (problem.batch, problem.horizon)
        proposal = problem.space.proposal(problem.start, shape, stds=(self.initial_std, self.min_std))
        for step in range(self.iterations):
            drawn = proposal.draw(problem.draw(self.samples - 1))
            candidates = torch.cat([proposal.centre(), drawn], dim=1)  # (B, S, H, A)
            proposal = proposal.fit(candidates, weights(search.ask(candidates), self.temperature))
            if step == self.iterations - 1:
                search.ask(proposal.centre())  # what the last round led to is a candidate too
            search.end_round()


def weights(costs: Tensor, temperature: float) -> Tensor:
    """Return weights (B, S) that sum to 1: softmax of -costs / (temperature * their deviation)."""
    scale = temperature * costs.std(dim=1, keepdim=True, correction=0)
    above = costs - costs.amin(dim=1, keepdim=True)  # equal costs get equal weights
    return torch.softmax(-above / scale.clamp(min=torch.finfo(costs.dtype).tiny), dim=1)
