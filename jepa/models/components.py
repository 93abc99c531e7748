"""Principal components of latents: what differs between frames, in few numbers, without what all frames share."""

import torch
from torch import Tensor, nn

from jepa.runtime.seeding import seed_everything

ROUNDS = 4  # power iterations of the randomised decomposition
SPARE = 10  # directions that it carries beside those that are asked for


class PrincipalComponents(nn.Module):
    """Projects vectors on the directions in which the training frames differ most.

    One scale for all of them gives the mean variance of one, so that squared errors of the result are those of the
    latents. Mean and directions are kept in the state dict; before `fit` the directions are 0.
    """

    mean: Tensor  # (size,)
    directions: Tensor  # (size, K), divided by the scale

    def __init__(self, size: int, count: int) -> None:
        """Build for vectors of ``size`` numbers, of which ``count`` components are kept, K."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("directions", torch.zeros(size, count))

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted, here or before it was stored."""
        return bool(self.directions.any())

    @torch.no_grad()
    def fit(self, samples: Tensor) -> float:
        """Find the components of ``samples``, (n, size), n at least K; return their share of the variance, 0 to 1.

        A randomised decomposition with a seed of its own (Halko et al., arXiv:0909.4061), which leaves the global
        generator as it was.
        """
        count = self.directions.shape[1]
        centred = samples.float() - samples.float().mean(0)
        with torch.random.fork_rng():
            seed_everything(0, "principal components")
            most = min(count + SPARE, *centred.shape)
            _, lengths, directions = torch.svd_lowrank(centred, q=most, niter=ROUNDS)
        kept = lengths[:count].square().sum()
        scale = (kept / (count * len(samples))).sqrt()
        self.mean.copy_(samples.float().mean(0))
        self.directions.copy_(directions[:, :count] / scale)
        return float(kept / centred.square().sum())

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the components: (..., size) -> (..., K)."""
        projected: Tensor = (vectors - self.mean) @ self.directions
        return projected
