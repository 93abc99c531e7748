"""Cross-entropy method."""

from dataclasses import dataclass

import torch

from jepa.errors import ConfigError
from jepa.planning.search import Search, lowest
from jepa.planning.solver import Solver


@dataclass(frozen=True, kw_only=True)
class CEM(Solver):
    """Draw from a distribution, fit it to the elites, draw again (Rubinstein & Kroese, 2004; DINO-WM, V-JEPA 2-AC).

    Each round's candidates are the distribution's centre, the best candidate so far and new ones. Deviations are
    fractions of half the range; for discrete actions they are shares of the probability that all actions get alike.
    """

    samples: int = 300
    """Candidates per round."""
    iterations: int = 10
    """Rounds."""
    elites: int = 30
    """Best candidates of a round, which the distribution is fitted to."""
    initial_std: float = 0.5
    """Deviation of the first round."""
    min_std: float = 0.05
    """Smallest deviation."""
    momentum: float = 0.0
    """Share of the last mean and deviation that is kept (V-JEPA 2-AC: .15)."""
    tolerance: float = 0.0
    """Stop where the lowest cost fell by less than this fraction in a round; 0 runs all rounds."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ConfigError."""
        super().__post_init__()
        if self.elites > self.samples:
            raise ConfigError(
                f"elites {self.elites} of {self.samples} samples -- there must be as many samples or more"
            )

    def run(self, search: Search) -> None:
        """Draw, ask, fit."""
        problem = search.problem
        shape = (problem.batch, problem.horizon)
        proposal = problem.space.proposal(problem.start, shape, stds=(self.initial_std, self.min_std))
        weights = torch.full((problem.batch, self.elites), 1 / self.elites, device=problem.space.device)
        for step in range(self.iterations):
            known = [proposal.centre()] if step == 0 else [proposal.centre(), search.best[:, :1]]
            drawn = proposal.draw(problem.draw(max(0, self.samples - len(known))))
            candidates = torch.cat([*known, drawn], dim=1)[:, : self.samples]  # (B, S, H, A)
            _, elites = lowest(search.ask(candidates), candidates, self.elites)
            proposal = proposal.fit(elites, weights, momentum=self.momentum)
            if step == self.iterations - 1:
                search.ask(proposal.centre())  # what the last round led to is a candidate too
            if search.end_round(tolerance=self.tolerance):
                return
