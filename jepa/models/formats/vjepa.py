"""Checkpoints of V-JEPA (facebookresearch/jepa, arXiv:2404.08471), for 224 and for 384 pixels."""

from pathlib import Path

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.errors import CheckpointError
from jepa.models.build import frozen_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.released import (
    ENCODER,
    OLD_HEADS,
    ONE_LEVEL,
    assemble,
    encoder_of,
    expressible,
    heads_of,
    our_predictor,
    parts_of,
    predictor_config,
    released_model,
    signs_of,
    their_predictor,
    write_released,
)
from jepa.models.formats.released_tables import square_grid, table_of, without_checked_table
from jepa.models.formats.vjepa2 import MASK_TOKENS
from jepa.models.frozen import Frozen, Weights
from jepa.models.positions import sincos
from jepa.models.sizes import size

TABLE, NARROW_TABLE = "pos_embed", "predictor_pos_embed"


class VJepa(Format):
    """What the page of that repository links to, and what its training writes."""

    name = "vjepa"
    title = "a checkpoint of V-JEPA"

    def recognises(self, source: Source) -> bool:
        """Whether it embeds tubelets, stores positions, and has not as many mask tokens as V-JEPA 2."""
        signs = signs_of(source)
        if signs is None:
            return False
        return (
            signs.axes == 3 and signs.table and not signs.norms and signs.mask_tokens not in (0, MASK_TOKENS)
        )

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the target encoder, or the trained one, and the predictor where there is one."""
        parts, text = parts_of(source), source.text
        encoder, grid = without_checked_table(encoder_of(parts, weights, text), TABLE, sincos, text)
        model = released_model(encoder, text, heads=OLD_HEADS).model_copy(
            update={"positions": "sincos", "rotary_layout": "paired", "position_grid": tuple(grid)}
        )
        config, predictor, patterns = None, None, 1
        if (narrow := parts.get("predictor")) is not None:
            config = predictor_config(narrow, text, heads=size(model.size).heads)
            narrow, _ = without_checked_table(narrow, NARROW_TABLE, sincos, text, grids=[grid])
            predictor = our_predictor(narrow, text)
            patterns = len(predictor["mask_tokens"])
        resolution = grid.height * model.patch
        architecture = Architecture(model=model, predictor=config, patterns=patterns, resolution=resolution)
        return frozen_networks(
            architecture,
            assemble(architecture, ENCODER.ours(encoder, text), predictor, text),
            f"{self.name}:{text}",
            read=ReadConfig(frames_per_clip=grid.time * model.tubelet, stride=4, resolution=resolution),
            pattern=min(1, patterns - 1),  # the long-range mask, which hides the most
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write encoder and predictor with their tables of positions."""
        implied = ONE_LEVEL | {"positions": "sincos", "image": False, "predictor.heads": heads_of(frozen)}
        architecture = expressible(frozen, self.title, implied, heads=OLD_HEADS)
        grid = square_grid(architecture, self.title, frozen.source)
        encoder, predictor = frozen.networks
        if predictor is not None and architecture.patterns == MASK_TOKENS:
            raise CheckpointError(
                f"{self.title} cannot hold {frozen.source}: {MASK_TOKENS} mask tokens would make it one of V-JEPA 2"
            )
        theirs = ENCODER.theirs(encoder.state_dict(), frozen.source)
        theirs[TABLE] = table_of(sincos, grid, encoder.dim)
        narrow = None
        if predictor is not None:
            narrow = their_predictor(predictor.state_dict(), frozen.source)
            narrow[NARROW_TABLE] = table_of(sincos, grid, predictor.embed.out_features)
        write_released(path, theirs, narrow, prefix="module.backbone.")
