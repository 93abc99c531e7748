"""V-JEPA on video batches, I-JEPA on image batches: one encoder, one target encoder, one predictor."""

from torch import Tensor

from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.objectives.ema import DISTANCES, EmaObjective
from jepa.objectives.ijepa import predict_blocks
from jepa.objectives.vjepa import predict_patterns
from jepa.types import Batch


class Joint(EmaObjective):
    """The objective that fits each batch; the predictor's last mask token belongs to the images."""

    def __init__(self, encoder: Encoder, predictor: Predictor, *, video_loss: str, image_loss: str) -> None:
        """``video_loss`` and ``image_loss`` are keys of ``DISTANCES``."""
        super().__init__(encoder, predictor)
        self.video_distance, self.image_distance = DISTANCES[video_loss], DISTANCES[image_loss]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        if batch.clip.shape[2] == 1:
            return predict_blocks(self, batch, self.image_distance, mask_token=-1)
        return predict_patterns(self, batch, self.video_distance)
