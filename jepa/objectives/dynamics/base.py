"""What the training loop asks of a world model's objective, and what all of them do with a batch."""

import torch
from torch import Tensor, nn

from jepa.models.world_model import LatentWorldModel
from jepa.types import Windows


class DynamicsObjective(nn.Module):
    """Frame encoder and dynamics; a subclass says what is minimised."""

    def __init__(self, world_model: LatentWorldModel) -> None:
        super().__init__()
        self.world_model = world_model

    def forward(self, batch: Windows) -> dict[str, Tensor]:
        """Return ``loss`` and health signals of one batch; only ``loss`` carries a gradient."""
        raise TypeError(f"{type(self).__name__} must define forward(batch) -> {{'loss': ...}}")

    def encode(self, batch: Windows) -> Tensor:
        """Encode each frame alone: (B, T, 3, H, W) -> (B, T, N, D); frames that are encoded stay as they are."""
        if batch.is_encoded:
            return batch.frames
        z: Tensor = self.world_model.frames(batch.frames)
        return z

    def predict(self, z: Tensor, batch: Windows) -> Tensor:
        """Predict every next frame from the encoded ones before it: (B, T, N, D) -> (B, T - 1, N, D).

        Output t is the prediction of frame t + 1, with teacher forcing.
        """
        proprio = None if batch.proprio is None else batch.proprio[:, :-1]
        return self.world_model.predict(z[:, :-1], batch.actions, proprio)

    def imagine(self, z: Tensor, batch: Windows, steps: int) -> Tensor:
        """Roll the model out from the first frame on its own predictions: (B, T, N, D) -> (B, steps, N, D).

        Gradients flow through all steps. Proprioception after the first frame is the model's own affair.
        """
        proprio = None if batch.proprio is None else batch.proprio[:, :1]
        return self.world_model.rollout(z[:, :1], batch.actions[:, :steps], proprio=proprio)


def weighted(terms: dict[str, tuple[float, Tensor]]) -> dict[str, Tensor]:
    """Return ``loss``, the sum of weight times value over ``terms``, and every value by its name, detached."""
    loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return {"loss": loss, **{name: value.detach() for name, (_, value) in terms.items()}}
