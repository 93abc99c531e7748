"""What V-JEPA and I-JEPA share: an encoder, its slow copy, and the distance between features."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.objectives.base import Objective

Distance = Callable[[Tensor, Tensor], Tensor]

DISTANCES: dict[str, Distance] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
}


class EmaObjective(Objective):
    """Encoder, EMA target encoder and predictor; a subclass says what is minimised."""

    def __init__(self, encoder: Encoder, predictor: Predictor) -> None:
        super().__init__(encoder, predictor)
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)

    @property
    def probed(self) -> Encoder:
        """The target encoder, as the papers probe it."""
        return self.target_encoder

    def train(self, mode: bool = True) -> "EmaObjective":
        """Switch to training; the target encoder never drops a path."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    @torch.no_grad()
    def targets(self, clip: Tensor) -> Tensor:
        """Encode the whole clip with the target encoder and normalise each token: (B, C, T, H, W) -> (B, N, D)."""
        tokens = self.target_encoder(clip)
        return F.layer_norm(tokens, tokens.shape[-1:])

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Move the target encoder: target = momentum * target + (1 - momentum) * encoder."""
        # Of sharded weights, each process moves its part: encoder and target are sharded alike.
        slow, fast = (
            [getattr(parameter, "_local_tensor", parameter) for parameter in part.parameters()]
            for part in (self.target_encoder, self.encoder)
        )
        torch._foreach_lerp_(slow, fast, 1 - momentum)
