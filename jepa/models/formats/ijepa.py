"""Checkpoints of I-JEPA (facebookresearch/ijepa, arXiv:2301.08243)."""

from pathlib import Path

from torch import Tensor

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.method import ModelConfig
from jepa.errors import CheckpointError
from jepa.models.build import frozen_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import Names
from jepa.models.formats.released import (
    OLD_HEADS,
    ONE_LEVEL,
    PREDICTOR,
    State,
    assemble,
    encoder_of,
    expressible,
    heads_of,
    parts_of,
    patch_of,
    predictor_config,
    shape_of,
    signs_of,
    size_of,
    write_released,
)
from jepa.models.formats.released_tables import square_grid, table_of, without_checked_table
from jepa.models.frozen import Frozen, Weights
from jepa.models.positions import sincos_2d
from jepa.types import Grid

ENCODER = Names([("patch_embed.proj.", "patch_embed_image."), ("blocks.", "blocks."), ("norm.", "norm.")])
TABLE, NARROW_TABLE, MASK_TOKEN = "pos_embed", "predictor_pos_embed", "mask_token"


class IJepa(Format):
    """What the page of that repository links to, and what its training writes."""

    name = "ijepa"
    title = "a checkpoint of I-JEPA"

    def recognises(self, source: Source) -> bool:
        """Whether it embeds patches of images and stores positions."""
        signs = signs_of(source)
        if signs is None:
            return False
        return signs.axes == 2 and signs.table and not signs.norms and signs.mask_tokens in (None, 1)

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the target encoder, or the trained one, and the predictor where there is one."""
        parts, text = parts_of(source), source.text
        encoder = encoder_of(parts, weights, text)
        _, patch = patch_of(encoder, text, axes=2)
        shape = shape_of(encoder, text, heads=OLD_HEADS)
        encoder, grid = without_checked_table(encoder, TABLE, sincos_2d, text, grids=images(encoder))
        config, predictor = None, None
        if (narrow := parts.get("predictor")) is not None:
            config = predictor_config(narrow, text, heads=shape.heads)
            narrow, _ = without_checked_table(narrow, NARROW_TABLE, sincos_2d, text, grids=[grid])
            predictor = our_predictor(narrow, text)
        model = ModelConfig(
            size=size_of(shape), patch=patch, tubelet=1, positions="sincos-2d", position_grid=(1, *grid[1:])
        )
        resolution = grid.height * patch
        architecture = Architecture(
            model=model, video=False, image=True, predictor=config, resolution=resolution
        )
        return frozen_networks(
            architecture,
            assemble(architecture, ENCODER.ours(encoder, text), predictor, text),
            f"{self.name}:{text}",
            read=ReadConfig(frames_per_clip=1, stride=1, resolution=resolution),
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write encoder and predictor with their tables of positions."""
        implied = ONE_LEVEL | {
            "positions": "sincos-2d",
            "video": False,
            "image": True,
            "predictor.heads": heads_of(frozen),
            "predictor.patterns": 1,
        }
        architecture = expressible(frozen, self.title, implied, heads=OLD_HEADS)
        grid = square_grid(architecture, self.title, frozen.source)
        encoder, predictor = frozen.networks
        theirs = ENCODER.theirs(encoder.state_dict(), frozen.source)
        theirs[TABLE] = table_of(sincos_2d, grid, encoder.dim)
        narrow = None
        if predictor is not None:
            ours = predictor.state_dict()
            token = ours.pop("mask_tokens")
            narrow = PREDICTOR.theirs(ours, frozen.source) | {MASK_TOKEN: token.unsqueeze(0)}
            narrow[NARROW_TABLE] = table_of(sincos_2d, grid, predictor.embed.out_features)
        write_released(path, theirs, narrow, prefix="module.")


def images(state: State) -> list[Grid]:
    """Return the grid of square images that has about as many tokens as the stored positions, if there are any."""
    tokens = state[TABLE].shape[1] if TABLE in state and state[TABLE].ndim == 3 else 0
    side = round(tokens**0.5)
    return [Grid(1, side, side)]


def our_predictor(state: State, source: str) -> dict[str, Tensor]:
    """Rename the weights of a predictor to ours. Raises CheckpointError where its mask token is missing."""
    token = state.get(MASK_TOKEN)
    if token is None or token.ndim != 3 or token.shape[:2] != (1, 1):
        what = "missing" if token is None else f"of shape {tuple(token.shape)}"
        raise CheckpointError(
            f"{source}: {MASK_TOKEN} is {what}, but (1, 1, width) is needed; use another file"
        )
    rest = {name: value for name, value in state.items() if name != MASK_TOKEN}
    return PREDICTOR.ours(rest, source) | {"mask_tokens": token[0]}
