"""Checkpoints of V-JEPA 2 (facebookresearch/vjepa2, arXiv:2506.09985), for 256 and for 384 pixels."""

from pathlib import Path
from typing import ClassVar

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.models.build import frozen_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.released import (
    ENCODER,
    ONE_LEVEL,
    PREDICTOR_HEADS,
    assemble,
    encoder_of,
    expressible,
    our_predictor,
    parts_of,
    predictor_config,
    released_model,
    signs_of,
    their_predictor,
    without_table,
    write_released,
)
from jepa.models.frozen import Frozen, Weights

MASK_TOKENS = 10  # of the released predictors; V-JEPA's have 2


class VJepa2(Format):
    """What `torch.hub.load("facebookresearch/vjepa2", ...)` downloads, and what that repository's training writes."""

    name = "vjepa2"
    title = "a checkpoint of V-JEPA 2"
    resolution: ClassVar[int] = 256
    """Pixels that its clips are resized to."""

    def recognises(self, source: Source) -> bool:
        """Whether it embeds tubelets and stores no positions, or as many mask tokens as the released predictors.

        Files of V-JEPA 2 may carry a table of positions that is left over. No tensor tells the pixels; a file name
        may.
        """
        signs = signs_of(source)
        if signs is None or ("384" in source.path.name) != (self.resolution == 384):
            return False
        rotary = not signs.table or signs.mask_tokens == MASK_TOKENS
        return signs.axes == 3 and not signs.norms and rotary and signs.mask_tokens != 0

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the target encoder, or the trained one, and the predictor where there is one."""
        parts, text = parts_of(source), source.text
        encoder, narrow = encoder_of(parts, weights, text), parts.get("predictor")
        config, predictor, patterns = None, None, 1
        if narrow is not None:
            config = predictor_config(narrow, text, heads=PREDICTOR_HEADS)
            predictor = our_predictor(without_table(narrow), text)
            patterns = len(predictor["mask_tokens"])
        architecture = Architecture(
            model=released_model(encoder, text),
            predictor=config,
            patterns=patterns,
            resolution=self.resolution,
        )
        return frozen_networks(
            architecture,
            assemble(architecture, ENCODER.ours(without_table(encoder), text), predictor, text),
            f"{self.name}:{text}",
            read=ReadConfig(frames_per_clip=64, fps=4.0, resolution=self.resolution),
            # The published evaluation of anticipation leaves `mask_index` at its default.
            pattern=min(1, patterns - 1),
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write encoder and predictor, whose rotary positions are of the released layout and take any grid as it is."""
        implied = ONE_LEVEL | {
            "positions": "rotary",
            "rotary_layout": "released",
            "position_grid": None,
            "image": False,
            "resolution": self.resolution,
            "predictor.heads": PREDICTOR_HEADS,
        }
        expressible(frozen, self.title, implied)
        encoder, predictor = frozen.networks
        narrow = None if predictor is None else their_predictor(predictor.state_dict(), frozen.source)
        theirs = ENCODER.theirs(encoder.state_dict(), frozen.source)
        write_released(path, theirs, narrow, prefix="module.backbone.")


class VJepa2At384(VJepa2):
    """The models of V-JEPA 2 that were trained further on 384 pixels: the same layout."""

    name = "vjepa2-384"
    title = "a checkpoint of V-JEPA 2 for 384 pixels"
    resolution = 384
