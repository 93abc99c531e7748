"""Checkpoints of V-JEPA 2.1 (facebookresearch/vjepa2, app/vjepa_2_1): images beside videos, features of four levels."""

from pathlib import Path

from torch import Tensor

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.method import ModelConfig, PredictorConfig
from jepa.errors import CheckpointError
from jepa.models.build import frozen_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import Names
from jepa.models.formats.released import (
    PREDICTOR_HEADS,
    State,
    assemble,
    encoder_of,
    expressible,
    facts_of,
    our_predictor,
    parts_of,
    patch_of,
    predictor_config,
    shape_of,
    signs_of,
    size_of,
    their_predictor,
    write_released,
)
from jepa.models.frozen import Frozen, Weights

LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
"""Blocks whose outputs are levels, by depth (app/vjepa_2_1/models/vision_transformer.py, `hierarchical_layers`)."""
IMAGE = "patch_embed_img.proj.weight"
RESOLUTION, TRAINED_PX, TRAINED_TIME = 384, 256, 32  # pixels of use, and of positions; 64 frames in tubelets

ENCODER = Names(
    [
        ("patch_embed.proj.", "patch_embed."),
        ("patch_embed_img.proj.", "patch_embed_image."),
        ("video_mod_embed", "video_token"),
        ("img_mod_embed", "image_token"),
        ("blocks.", "blocks."),
        ("norms_block.3.", "norm."),
        ("norms_block.", "level_norms."),
    ]
)
_REST = [
    ("predictor_blocks.", "blocks."),
    ("predictor_norm.", "norm."),
    ("predictor_proj.", "proj."),
    ("predictor_proj_context.", "proj_context."),
    ("video_mod_embed", "video_token"),
    ("img_mod_embed", "image_token"),
]
FROM_ONE = Names([("predictor_embed.", "embed."), *_REST])
FROM_SEVERAL = Names([("predictor_embed.0.", "mix."), ("predictor_embed.2.", "embed."), *_REST])


class VJepa21(Format):
    """What `torch.hub.load` of a vjepa2_1 model downloads, and what that repository's training writes."""

    name = "vjepa2.1"
    title = "a checkpoint of V-JEPA 2.1"

    def recognises(self, source: Source) -> bool:
        """Whether its encoder has norms of several levels."""
        signs = signs_of(source)
        return signs is not None and signs.norms

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the target encoder, or the trained one, and the predictor where there is one."""
        parts, text = parts_of(source), source.text
        encoder = encoder_of(parts, weights, text)
        model = model_of(encoder, text)
        config, predictor, patterns = None, None, 1
        if (narrow := parts.get("predictor")) is not None:
            config = narrow_of(narrow, shape_of(encoder, text).width, text)
            names = FROM_ONE if config.levels == 1 else FROM_SEVERAL
            predictor = our_predictor(flattened(narrow), text, names)
            patterns = len(predictor["mask_tokens"])
        architecture = Architecture(
            model=model,
            image=IMAGE in encoder,
            predictor=config,
            patterns=patterns,
            resolution=RESOLUTION,
        )
        return frozen_networks(
            architecture,
            assemble(architecture, ENCODER.ours(flattened(encoder), text), predictor, text),
            f"{self.name}:{text}",
            read=ReadConfig(frames_per_clip=64, fps=4.0, resolution=RESOLUTION),
            pattern=min(1, patterns - 1),  # as V-JEPA 2
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write encoder and predictor."""
        facts = {} if frozen.architecture is None else facts_of(frozen.architecture)
        depth, patch = facts.get("depth"), facts.get("patch")
        implied = {
            "positions": "rotary",
            "rotary_layout": "paired",
            "position_fit": "corners",
            "position_grid": trained_grid(patch) if isinstance(patch, int) else None,
            "modality_tokens": True,
            "levels": LEVELS.get(depth, "known for this depth") if isinstance(depth, int) else None,
            "image": True,
            "resolution": RESOLUTION,
            "predictor.heads": PREDICTOR_HEADS,
        }
        architecture = expressible(frozen, self.title, implied)
        encoder, predictor = frozen.networks
        theirs = unflattened(ENCODER.theirs(encoder.state_dict(), frozen.source))
        narrow = None
        if predictor is not None and architecture.predictor is not None:
            names = FROM_ONE if architecture.predictor.levels == 1 else FROM_SEVERAL
            narrow = unflattened(their_predictor(predictor.state_dict(), frozen.source, names))
        write_released(path, theirs, narrow, prefix="module.backbone.")


def trained_grid(patch: int) -> tuple[int, int, int]:
    """Return the grid whose corners rotary positions of other grids keep."""
    return TRAINED_TIME, TRAINED_PX // patch, TRAINED_PX // patch


def model_of(encoder: State, source: str) -> ModelConfig:
    """Return what an encoder is. Raises CheckpointError for a depth whose levels are not known."""
    tubelet, patch = patch_of(encoder, source, axes=3)
    shape = shape_of(encoder, source)
    if shape.depth not in LEVELS:
        known = ", ".join(map(str, LEVELS))
        raise CheckpointError(
            f"{source} has {shape.depth} blocks, and no tensor tells which of them are levels; known are {known} blocks"
        )
    return ModelConfig(
        size=size_of(shape),
        patch=patch,
        tubelet=tubelet,
        position_grid=trained_grid(patch),
        position_fit="corners",
        modality_tokens="video_mod_embed" in encoder,
        levels=LEVELS[shape.depth],
    )


def narrow_of(predictor: State, width: int, source: str) -> PredictorConfig:
    """Return what the predictor beside an encoder of ``width`` is. Raises CheckpointError where it is none."""
    mix, head = predictor.get("predictor_embed.0.weight"), predictor.get("predictor_proj.weight")
    levels = 1 if mix is None else max(1, mix.shape[-1] // width)
    config = predictor_config(predictor, source, heads=PREDICTOR_HEADS, levels=levels)
    out = None if head is None or len(head) == levels * width else len(head)
    return config.model_copy(
        update={"out": out, "context_head": "predictor_proj_context.weight" in predictor}
    )


def flattened(state: State) -> dict[str, Tensor]:
    """Take the axes of size 1 from modality tokens, (1, 1, D), and the embedding of images, (D, 3, 1, p, p)."""
    ours = dict(state)
    for name in ("video_mod_embed", "img_mod_embed"):
        if name in ours and ours[name].shape[:2] == (1, 1):
            ours[name] = ours[name][0, 0]
    if (image := ours.get(IMAGE)) is not None and image.ndim == 5:
        ours[IMAGE] = image.squeeze(2)
    return ours


def unflattened(state: State) -> dict[str, Tensor]:
    """Undo `flattened`."""
    theirs = dict(state)
    for name in ("video_mod_embed", "img_mod_embed"):
        if name in theirs:
            theirs[name] = theirs[name].reshape(1, 1, -1)
    if IMAGE in theirs:
        theirs[IMAGE] = theirs[IMAGE].unsqueeze(2)
    return theirs
