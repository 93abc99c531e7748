"""Masks against decoded pixels, and the whole table on small videos."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from jepa.config.data import ReadConfig, SyntheticSource
from jepa.data.evaluation import labelled_clips
from jepa.data.sources import open_source
from jepa.data.synthetic import centres, labels
from jepa.errors import DataError
from jepa.models.build import architecture_of, untrained_networks
from jepa.models.frozen import Frozen
from jepa.preprocess import denormalise
from jepa.programs.dense import DenseSettings, dense_table, reading
from jepa.programs.dense_sets import clip_classes, dense_sets, raw_patches
from jepa.types import Grid
from tests.conftest import tiny_config


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense")
    return tuple(
        SyntheticSource(
            kind="synthetic", path=str(folder / name), videos=videos, frames=11, size_px=32, seed=seed
        )
        for name, videos, seed in (("train", 64, 0), ("test", 12, 1))
    )


@pytest.fixture(scope="module")
def model():
    config = tiny_config()
    read = ReadConfig(**{key: getattr(config.data, key) for key in ReadConfig.model_fields})
    return Frozen(
        "a run",
        untrained_networks(architecture_of(config), 0),
        lambda seed: untrained_networks(architecture_of(config), seed),
        read,
        {},
        0,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 32, "frames_per_clip": 11},
        {"resolution": 16, "frames_per_clip": 4},
        {"resolution": (16, 32), "frames_per_clip": 3},
        {"resolution": 24, "frames_per_clip": 4, "short_side": 24},
        {"resolution": 32, "frames_per_clip": 4, "stride": 2},
        {"resolution": 32, "frames_per_clip": 14},
    ],
)
def test_masks_lie_on_the_shape_in_the_decoded_clip(sources, changes):
    read = ReadConfig(**{"stride": 1, "workers": 0, "batch_size": 4} | changes)
    for batch in labelled_clips(open_source(sources[1]), read):
        frames = denormalise(batch.clip, mean=read.mean, std=read.std).float() / 255
        is_warm = frames[..., 0] > frames[..., 2]  # the shape is redder than blue, the background bluer
        for clip, entry in enumerate(batch.entries.tolist()):
            at = (batch.times[clip] * 8).round().long().numpy()
            found = clip_classes(entry, sources[1], read, frames=at)
            appearance, _ = labels(entry, seed=1)
            assert found.shape == is_warm[clip].shape
            assert set(found.unique().tolist()) <= {0, 1 + appearance}
            per_frame = ((found > 0) == is_warm[clip]).float().mean(dim=(1, 2))  # the edge is soft
            assert per_frame.min() > 0.88


def test_sets_hold_the_clips_in_the_order_of_their_masks(sources, model):
    read = reading(model, frames=8)
    sets = dense_sets({"tiny": model.encoder}, sources[1], read, videos=5)
    assert list(sets) == ["tiny", "raw patches", "mean colours"]
    assert all(one.grid == Grid(4, 4, 4) and one.tokens.shape[:2] == (5, 64) for one in sets.values())
    assert [group[-10:] for group in sets["tiny"].groups] == [f"{index:06d}.mp4" for index in range(5)]
    colours = sets["mean colours"]
    share = (colours.token_labels() > 0).float()
    warmth = colours.tokens[..., 0] - colours.tokens[..., 2]  # (n, N)
    for clip in range(5):
        others = [float(np.corrcoef(warmth[clip], share[other])[0, 1]) for other in range(5)]
        assert int(np.argmax(others)) == clip
    # the frames are those of the centre clip: 8 of 11 begin at frame 2
    places = centres(3, seed=1, frames=11, size=32)[2:10]
    wet = sets["tiny"].pixels[3] > 0
    for frame, (x, _) in enumerate(places):
        column = wet[frame].float().sum(dim=0).numpy()
        turned = np.angle((column * np.exp(2j * np.pi * np.arange(32) / 32)).sum()) / (2 * np.pi) * 32
        assert abs((turned - x + 16) % 32 - 16) < 0.7


def test_raw_patches_are_the_pixels_under_each_token(generator):
    clip = torch.randn(2, 3, 4, 6, 8, generator=generator)
    found = raw_patches(clip, Grid(2, 3, 4))
    assert found.shape == (2, 24, 3, 8)
    assert torch.equal(found[1, (1 * 3 + 2) * 4 + 1], clip[1, :, 2:4, 4:6, 2:4].flatten(1))


@pytest.fixture(scope="module")
def table(sources, model):
    return dense_table(model, *sources, settings=DenseSettings(64, 12, fit_tokens=800, frames=4))


def test_table_has_every_row_beside_its_bounds(table):
    rows = {row.name: row for row in table.rows}
    assert list(rows) == [
        "pretrained",
        "random init",
        "raw patches",
        "mean colours",
        "background only",
        "first mask copied",
        "exact masks per token",
    ]
    assert (table.segmented, table.tracked) == (Grid(2, 4, 4), Grid(5, 4, 4))
    assert (table.train_size, table.test_size) == (64, 12)
    exact = rows["exact masks per token"]
    assert exact.segmentation.mean_iou.value == 1 and exact.segmentation.pixel_mean_iou.value < 0.8
    nothing = rows["background only"].segmentation
    assert nothing.foreground_iou.value == 0 and nothing.mean_iou.value < 0.15
    assert rows["raw patches"].segmentation.mean_iou.value > nothing.mean_iou.value
    assert rows["first mask copied"].tracking.region_iou.value < exact.tracking.region_iou.value


def test_an_untrained_model_equals_its_random_init(table):
    trained, random = table.rows[:2]
    assert trained.tracking == random.tracking
    assert trained.segmentation.mean_iou == random.segmentation.mean_iou


def test_table_is_plain_and_printable(table):
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=True))
    assert plain["rows"][0]["tracking"]["region_iou"]["value"] == table.rows[0].tracking.region_iou.value
    assert len(plain["rows"][0]["segmentation"]["confusion"]) == 9
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table.render())
    assert "64 clips to fit, 12 held out; 2 x 4 x 4 tokens" in " ".join(captured.get().split())
    assert f"{100 * table.rows[0].tracking.region_iou.value:.1f}%" in captured.get()


def test_bad_settings_are_refused(sources, model):
    with pytest.raises(
        DataError, match="train_videos 0, test_videos 256, fit_tokens 20000: each must be 1 or more"
    ):
        DenseSettings(train_videos=0)
    with pytest.raises(
        DataError, match="clips of 7 frames cannot be cut into tubelets of 2; choose a multiple"
    ):
        dense_table(model, *sources, settings=DenseSettings(frames=7))
