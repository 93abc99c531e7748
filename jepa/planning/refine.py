"""A sampling search, finished by gradient steps."""

from dataclasses import dataclass, field

from jepa.planning.cem import CEM
from jepa.planning.gradient import Gradient
from jepa.planning.search import Search
from jepa.planning.solver import Solver


@dataclass(frozen=True, kw_only=True)
class Refine(Solver):
    """CEM, and gradient steps from the best candidates it saw, as many as ``gradient.restarts``."""

    cem: CEM = field(default_factory=CEM)
    """The search that comes first."""
    gradient: Gradient = field(default_factory=Gradient)
    """The steps that follow."""

    @property
    def keeps(self) -> int:
        """As many as the gradient starts from."""
        return self.gradient.restarts

    def run(self, search: Search) -> None:
        """Search, then descend."""
        self.cem.run(search)
        search.stopped.zero_()  # CEM's early stop is not the gradient's
        self.gradient.descend(search, search.best)
