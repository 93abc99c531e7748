"""CEM that needs fewer candidates."""

from dataclasses import dataclass

import torch

from jepa.planning.cem import CEM
from jepa.planning.search import Search, lowest


@dataclass(frozen=True, kw_only=True)
class ICEM(CEM):
    """CEM with coloured noise, fewer candidates each round and elites that compete again (iCEM, arXiv:2008.06389).

    Of the paper's elites that are shifted to the next decision, the best one comes back, as the warm start. The
    centre of the distribution is a candidate in the first and the last round. ``samples`` are those of the first round
    (the paper's ``momentum`` is .1).
    """

    noise_beta: float = 2.0
    """Exponent of the noise's spectrum over environment steps; 0 is white."""
    decay: float = 1.25
    """The number of samples is divided by this each round, down to twice the elites."""
    keep: float = 0.3
    """Share of the elites that compete again in the next round."""

    def run(self, search: Search) -> None:
        """Draw, ask, fit; kept elites bring the costs they had."""
        problem = search.problem
        shape = (problem.batch, problem.horizon)
        proposal = problem.space.proposal(problem.start, shape, stds=(self.initial_std, self.min_std))
        weights = torch.full((problem.batch, self.elites), 1 / self.elites, device=problem.space.device)
        kept = int(self.keep * self.elites)
        costs, elites = weights[:, :0], weights[:, :0]
        for step in range(self.iterations):
            samples = min(self.samples, max(int(self.samples / self.decay**step), 2 * self.elites))
            candidates = proposal.draw(problem.draw(samples, beta=self.noise_beta))  # (B, S, H, A)
            if step in (0, self.iterations - 1):
                candidates = torch.cat([proposal.centre(), candidates[:, 1:]], dim=1)
            asked = search.ask(candidates)
            if step > 0:
                asked = torch.cat([costs[:, :kept], asked], dim=1)
                candidates = torch.cat([elites[:, :kept], candidates], dim=1)
            costs, elites = lowest(asked, candidates, self.elites)
            proposal = proposal.fit(elites, weights, momentum=self.momentum)
            if search.end_round(tolerance=self.tolerance):
                return
