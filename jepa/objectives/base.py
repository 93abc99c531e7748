"""What the training loop asks of an objective."""

from torch import Tensor, nn

from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.types import Batch


class Objective(nn.Module):
    """Encoder and predictor; a subclass says what is minimised."""

    def __init__(self, encoder: Encoder, predictor: Predictor) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss`` and health signals of one batch; only ``loss`` carries a gradient."""
        raise TypeError(f"{type(self).__name__} must define forward(batch) -> {{'loss': ...}}")

    def targets(self, clip: Tensor) -> Tensor:
        """Encode the whole clip as the predictor is to expect it: (B, C, T, H, W) -> (B, N, D)."""
        tokens: Tensor = self.encoder(clip)
        return tokens

    @property
    def probed(self) -> Encoder:
        """The encoder that is frozen, probed and exported."""
        return self.encoder

    def update_target(self, momentum: float) -> None:
        """Follow the encoder after a step; an objective without a target encoder has nothing to do."""


def spread(tokens: Tensor) -> Tensor:
    """Return the standard deviation over samples and places, averaged over channels; near 0 means collapse."""
    return tokens.detach().flatten(0, -2).float().std(dim=0).mean()
