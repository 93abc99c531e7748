"""What V-JEPA and I-JEPA share: an encoder, its slow copy, and the distance between features."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor

Distance = Callable[[Tensor, Tensor], Tensor]

DISTANCES: dict[str, Distance] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
}


class EmaObjective(nn.Module):
    """Encoder, EMA target encoder and predictor; a subclass says what is minimised."""

    def __init__(self, encoder: Encoder, predictor: Predictor) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)

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
        slow, fast = list(self.target_encoder.parameters()), list(self.encoder.parameters())
        torch._foreach_lerp_(slow, fast, 1 - momentum)


def spread(tokens: Tensor) -> Tensor:
    """Return the standard deviation over samples and places, averaged over channels; near 0 means collapse."""
    return tokens.detach().flatten(0, -2).float().std(dim=0).mean()
