"""What the JSON files of a Hugging Face folder of V-JEPA 2 say, with the defaults of transformers."""

import json
import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig, PredictorConfig, SizeConfig
from jepa.config.section import Positive
from jepa.errors import CheckpointError
from jepa.models.blocks import NORM_EPS
from jepa.models.sizes import size
from jepa.preprocess import MEAN, STD, height_width
from jepa.runtime.weights import check_file

PROCESSOR_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")
Processor = Literal["VJEPA2VideoProcessor", "BaseVideoProcessor"]
RELEASED: Processor = "VJEPA2VideoProcessor"
PLAIN: Processor = "BaseVideoProcessor"
EXPLICIT = {"size", "crop_size", "do_resize", "do_center_crop", "do_rescale", "do_normalize", "resample"}

Colours = Annotated[list[float], Field(min_length=3, max_length=3)]


class HubSection(BaseModel):
    """Base of both files: what they hold beside these keys changes no answer of an encoder at rest."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, found: object, where: str) -> Self:
        """Validate what was ``found``. Raises CheckpointError that lists all that cannot be loaded here."""
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise CheckpointError(
                f"{where} asks for what cannot be loaded here: {_problems(error)}"
            ) from error


class Edges(HubSection):
    """A size in pixels; files give either the shorter side or both."""

    shortest_edge: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None


class HubProcessor(HubSection):
    """How frames become a clip (transformers, video_processing_vjepa2.py)."""

    video_processor_type: Processor = RELEASED
    do_resize: Literal[True] = True
    size: Edges | None = None
    do_center_crop: Literal[True] = True
    crop_size: Edges = Edges(height=256, width=256)
    resample: Literal[2] = 2
    """Bilinear."""
    do_rescale: Literal[True] = True
    rescale_factor: float = 1 / 255
    do_normalize: Literal[True] = True
    image_mean: Colours = list(MEAN)
    image_std: Colours = list(STD)

    @field_validator("size", "crop_size", mode="before")
    @classmethod
    def _both_sides(cls, value: object) -> object:
        return {"height": value, "width": value} if isinstance(value, int) else value

    @field_validator("rescale_factor")
    @classmethod
    def _bytes(cls, value: float) -> float:
        if abs(value * 255 - 1) > 1e-6:
            raise ValueError("must be 1 / 255")
        return value

    @property
    def resize_to(self) -> int:
        """Pixels that a frame's shorter side is resized to. Raises ValueError where the file gives too few, or none."""
        if self.video_processor_type == RELEASED:
            return released_resize(self.crop)  # its constructor does this, whatever `size` says
        if self.size is None or self.size.shortest_edge is None or self.size.shortest_edge < self.crop:
            raise ValueError(f"size must give a shortest_edge of at least {self.crop}, the crop_size")
        return self.size.shortest_edge

    @property
    def crop(self) -> int:
        """Pixels of the square that is cut out. Raises ValueError for another shape."""
        if self.crop_size.height is None or self.crop_size.height != self.crop_size.width:
            raise ValueError("crop_size must be a square, as positions are counted on one")
        return self.crop_size.height

    @classmethod
    def of(cls, architecture: Architecture) -> Self:
        """Return the processor that comes nearest to what ``architecture`` does to frames.

        It resizes whole frames before it cuts, so that it reproduces an encoder without `resize_to`, which cuts
        first, on square frames alone; on others the sampling points lie up to half a pixel apart.
        """
        crop = square(architecture)
        resize_to = architecture.resize_to or crop
        return cls(
            video_processor_type=RELEASED if resize_to == released_resize(crop) else PLAIN,
            size=Edges(shortest_edge=resize_to),
            crop_size=Edges(height=crop, width=crop),
            image_mean=list(architecture.mean),
            image_std=list(architecture.std),
        )


class HubConfig(HubSection):
    """`config.json` of VJEPA2Model and VJEPA2ForVideoClassification (transformers, configuration_vjepa2.py)."""

    model_type: Literal["vjepa2"]
    architectures: list[Literal["VJEPA2Model", "VJEPA2ForVideoClassification"]] | None = None
    patch_size: Positive = 16
    crop_size: Positive = 256
    frames_per_clip: Positive = 64
    tubelet_size: Positive = 2
    hidden_size: Positive = 1024
    in_chans: Literal[3] = 3
    num_attention_heads: Positive = 16
    num_hidden_layers: Positive = 24
    drop_path_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    layer_norm_eps: float = NORM_EPS
    qkv_bias: Literal[True] = True
    hidden_act: Literal["gelu"] = "gelu"
    num_pooler_layers: Annotated[int, Field(ge=0)] = 3
    pred_hidden_size: Positive = 384
    pred_num_attention_heads: Positive = 12
    pred_num_hidden_layers: Positive = 12
    pred_num_mask_tokens: Positive = 10
    pred_mlp_ratio: float = 4.0
    id2label: dict[str, str] | None = None
    jepa_pattern: Annotated[int, Field(ge=0)] | None = None
    """The mask token that stands for the future, where it is not the one that transformers takes. Ours alone."""

    @field_validator("layer_norm_eps")
    @classmethod
    def _eps(cls, value: float) -> float:
        if value != NORM_EPS:
            raise ValueError(f"must be {NORM_EPS:g}")
        return value

    @field_validator("pred_mlp_ratio")
    @classmethod
    def _ratio(cls, value: float) -> float:
        if value != 4:
            raise ValueError("must be 4, as all published predictors have it")
        return value

    @property
    def pattern(self) -> int:
        """The mask token that transformers predicts with: the second, where there are two."""
        return 1 % self.pred_num_mask_tokens if self.jepa_pattern is None else self.jepa_pattern

    def architecture(self, processor: HubProcessor) -> Architecture:
        """Return encoder and predictor in our words. Raises ValueError for what contradicts itself."""
        if processor.crop != self.crop_size:
            raise ValueError(
                f"crop_size {self.crop_size} of config.json must be the processor's, {processor.crop}: positions are "
                "counted by the one, clips are cut by the other"
            )
        return Architecture(
            model=ModelConfig(
                size=SizeConfig(
                    width=self.hidden_size,
                    depth=self.num_hidden_layers,
                    heads=self.num_attention_heads,
                    mlp_ratio=int(self.hidden_size * self.mlp_ratio) / self.hidden_size,  # cut, not rounded
                ),
                patch=self.patch_size,
                tubelet=self.tubelet_size,
                positions="rotary",
                rotary_layout="released",
                drop_path=self.drop_path_rate,
            ),
            predictor=PredictorConfig(
                width=self.pred_hidden_size,
                depth=self.pred_num_hidden_layers,
                heads=self.pred_num_attention_heads,
            ),
            patterns=self.pred_num_mask_tokens,
            resolution=self.crop_size,
            resize_to=processor.resize_to,
            mean=(processor.image_mean[0], processor.image_mean[1], processor.image_mean[2]),
            std=(processor.image_std[0], processor.image_std[1], processor.image_std[2]),
        )

    @classmethod
    def of(cls, architecture: Architecture, frames_per_clip: int | None, pattern: int) -> Self:
        """Return what comes nearest to ``architecture``; the caller compares `architecture` of it with its own."""
        shape, model = size(architecture.model.size), architecture.model
        predictor = architecture.predictor or PredictorConfig()
        return cls(
            model_type="vjepa2",
            architectures=["VJEPA2Model"],
            patch_size=model.patch,
            crop_size=square(architecture),
            frames_per_clip=frames_per_clip or 64,
            tubelet_size=model.tubelet,
            hidden_size=shape.width,
            num_attention_heads=shape.heads,
            num_hidden_layers=shape.depth,
            drop_path_rate=model.drop_path,
            mlp_ratio=_cut_ratio(shape.width, round(shape.width * shape.mlp_ratio)),
            pred_hidden_size=predictor.width,
            pred_num_attention_heads=predictor.heads,
            pred_num_hidden_layers=predictor.depth,
            pred_num_mask_tokens=architecture.patterns,
            jepa_pattern=None if pattern == 1 % architecture.patterns else pattern,
        )


def _cut_ratio(width: int, hidden: int) -> float:
    """Return a ratio whose product with ``width`` is ``hidden`` when its decimals are cut off."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def released_resize(crop: int) -> int:
    """Return the shorter side that the released processor cuts a square of ``crop`` pixels from."""
    return int(crop * 256 / 224)


def square(architecture: Architecture) -> int:
    """Return the side of the clips, the longer one where they are not square."""
    return max(height_width(architecture.resolution))


def read_hub_processor(folder: Path, config: HubConfig) -> HubProcessor:
    """Read how frames are prepared, or take the released way to ``config.crop_size`` where no file says it.

    Raises CheckpointError for a file that is no JSON, or asks for what this library cannot express.
    """
    for name in PROCESSOR_FILES:
        path = folder / name
        if path.exists():
            check_file(path)
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise CheckpointError(f"{path} is no JSON ({error}); use another copy") from error
            if isinstance(found, dict):  # null stands for the default
                found = {key: value for key, value in found.items() if value is not None}
            processor = HubProcessor.checked(found, str(path))
            missing = sorted(EXPLICIT - processor.model_fields_set)
            if processor.video_processor_type == PLAIN and missing:
                raise CheckpointError(
                    f"{path} must say {', '.join(missing)}: a {PLAIN} has no defaults for them"
                )
            return processor
    return HubProcessor(crop_size=Edges(height=config.crop_size, width=config.crop_size))


def hub_architecture(config: HubConfig, processor: HubProcessor, folder: str) -> Architecture:
    """Return encoder and predictor in our words. Raises CheckpointError for what contradicts itself."""
    try:
        return config.architecture(processor)
    except ValidationError as error:
        raise CheckpointError(f"{folder}: {_problems(error)}; use another copy") from error
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}; use another copy") from error


def _problems(error: ValidationError) -> str:
    """Return each mistake with its place and value."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}, found {each['input']!r}"
        for each in error.errors()
    )
