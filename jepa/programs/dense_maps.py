"""What the tokens of a few test videos look like over time, as colours."""

from pathlib import Path

import torch

from jepa.config.data import SyntheticSource
from jepa.data.evaluation import labelled_clips
from jepa.data.generated import FPS
from jepa.data.sources import open_source
from jepa.models.frozen import Frozen
from jepa.preprocess import denormalise
from jepa.probes.maps import animate_maps, pca_maps
from jepa.programs.dense import reading, whole_tubelets

VIDEOS = 4


def write_maps(model: Frozen, source: SyntheticSource, path: Path, *, device: torch.device) -> Path:
    """Write an animation (GIF): the first videos of ``source``, beside them the main components of their tokens."""
    read = reading(model, frames=whole_tubelets(model.encoder, source.frames))
    batches = labelled_clips(open_source(source), read, entries=range(min(VIDEOS, source.videos)))
    clips = torch.cat([batch.clip for batch in batches])
    with torch.inference_mode():
        tokens = model.encoder(clips.to(device))
    frames = denormalise(clips, mean=model.encoder.mean, std=model.encoder.std)
    maps = pca_maps(tokens, model.encoder.grid(clips.shape))
    return animate_maps(frames, maps, path, fps=FPS / 2)
