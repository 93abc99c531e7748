"""What encoder and predictor are, apart from how they are trained: enough to build them for weights from a file."""

from jepa.config.data import RGB
from jepa.config.method import ModelConfig, PredictorConfig
from jepa.config.section import Positive, Section


class Architecture(Section):
    """Encoder and predictor."""

    model: ModelConfig
    """The encoder."""
    video: bool = True
    """Whether it has an embedding of tubelets."""
    image: bool = False
    """Whether it has an embedding of single images."""
    predictor: PredictorConfig | None = None
    """The predictor, where there is one."""
    patterns: Positive = 1
    """Mask tokens of the predictor."""
    resolution: Positive | tuple[Positive, Positive] = 224
    """Pixels that clips are resized to: a side, or height and width."""
    resize_to: Positive | None = None
    """Pixels that a frame's shorter side is resized to, before its centre is cut out; null: the centre is cut first.

    V-JEPA 2's evaluations and Hugging Face's processor: resolution * 256 / 224.
    """
    mean: RGB = (0.485, 0.456, 0.406)
    """Mean of red, green and blue, in [0, 1], that is taken from the pixels."""
    std: RGB = (0.229, 0.224, 0.225)
    """Deviation that they are divided by."""
