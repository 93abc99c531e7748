"""Properties of every mask kind, and the truncation bias that the default does not have."""

import pytest
import torch

from jepa.config.method import CausalMask, ImageBlocksMask, MasksConfig, MultiBlockMask, RandomMask, TubeMask
from jepa.config.section import Section
from jepa.masks import MASKS, sample_masks
from jepa.types import Grid

KINDS = [
    MultiBlockMask(kind="multiblock", blocks=8, scale=0.15),
    MultiBlockMask(kind="multiblock", blocks=2, scale=0.7),
    MultiBlockMask(kind="multiblock", blocks=2, scale=0.7, truncate="raster"),
    MultiBlockMask(kind="multiblock", blocks=3, scale=1.0),
    TubeMask(kind="tube", ratio=0.9),
    RandomMask(kind="random", ratio=0.99),
    CausalMask(kind="causal", context=0.01),
    ImageBlocksMask(kind="image_blocks"),
]


def draw(config: Section, grid: Grid, batch: int, seed: int = 0) -> tuple:
    return MASKS[config.kind](config, grid, batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [Grid(8, 14, 14), Grid(4, 4, 4), Grid(2, 3, 5), Grid(8, 24, 24)], ids=str)
@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{getattr(c, 'scale', '')}")
def test_context_and_target_are_disjoint_distinct_and_in_range(config: Section, grid: Grid) -> None:
    if config.kind == "image_blocks":
        grid = Grid(1, grid.height * 2, grid.width * 2)
    for seed in range(5):
        for masks in draw(config, grid, 6, seed):
            assert masks.context.shape[0] == masks.target.shape[0] == 6
            assert masks.context.shape[1] > 0
            assert masks.target.shape[1] > 0
            for context, target in zip(masks.context.tolist(), masks.target.tolist(), strict=True):
                both = context + target
                assert len(set(both)) == len(both)
                assert 0 <= min(both)
                assert max(both) < grid.tokens


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{getattr(c, 'scale', '')}")
def test_masks_are_a_function_of_the_generator(config: Section) -> None:
    grid = Grid(1, 14, 14) if config.kind == "image_blocks" else Grid(8, 14, 14)
    for one, two in zip(draw(config, grid, 4), draw(config, grid, 4), strict=True):
        assert torch.equal(one.context, two.context)
        assert torch.equal(one.target, two.target)


def survival_of_late_context(truncate: str) -> float:
    """Context tokens in the last time step over those in the first, at batch 24."""
    grid = Grid(8, 14, 14)
    config = MultiBlockMask(kind="multiblock", blocks=8, scale=0.15, truncate=truncate)
    counts = torch.zeros(grid.time)
    for seed in range(20):
        (masks,) = draw(config, grid, 24, seed)
        counts += torch.bincount(masks.context.flatten() // (14 * 14), minlength=grid.time)
    return float(counts[-1] / counts[0])


def test_late_frames_serve_as_context_as_often_as_early_ones() -> None:
    assert survival_of_late_context("uniform") == pytest.approx(1, abs=0.03)


def test_raster_reproduces_the_published_starving_of_late_frames() -> None:
    assert survival_of_late_context("raster") < 0.2


def test_a_block_hides_the_same_places_at_all_times() -> None:
    """With one sample nothing is cut, and the target is the union of its blocks, through the whole clip."""
    grid = Grid(4, 10, 10)
    (masks,) = draw(MultiBlockMask(kind="multiblock", blocks=2, scale=0.2), grid, 1)
    hidden = torch.zeros(grid.tokens, dtype=torch.bool)
    hidden[masks.target[0]] = True
    frames = hidden.view(4, -1)
    assert torch.equal(frames, frames[:1].expand_as(frames))
    assert masks.context.shape[1] + masks.target.shape[1] == grid.tokens


def test_multiblock_covers_the_share_it_says() -> None:
    (masks,) = draw(
        MultiBlockMask(kind="multiblock", blocks=1, scale=0.25, aspect=(1.0, 1.0)), Grid(2, 16, 16), 3
    )
    assert masks.target.shape[1] == 2 * 64


def test_tubes_and_causal_cut_where_they_say() -> None:
    grid = Grid(4, 4, 4)
    (tubes,) = draw(TubeMask(kind="tube", ratio=0.75), grid, 3)
    places = (tubes.target % 16).view(3, 4, 12).sort(-1).values
    assert torch.equal(places, places[:, :1].expand_as(places))
    (causal,) = draw(CausalMask(kind="causal", context=0.5), grid, 2)
    assert causal.context.max() == 31
    assert causal.target.min() == 32


def test_image_blocks_share_one_context_free_of_all_targets() -> None:
    masks = draw(ImageBlocksMask(kind="image_blocks", targets=4), Grid(1, 14, 14), 5)
    assert len(masks) == 4
    for row in range(5):
        context = set(masks[0].context[row].tolist())
        for block in masks:
            assert block.context is masks[0].context
            assert context.isdisjoint(block.target[row].tolist())


def test_samples_differ() -> None:
    (masks,) = draw(RandomMask(kind="random"), Grid(4, 4, 4), 2)
    assert not torch.equal(masks.target[0], masks.target[1])


def test_a_grid_of_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 tokens .* the grid gives 1"):
        draw(RandomMask(kind="random"), Grid(1, 1, 1), 2)


def test_targets_that_cover_the_grid_are_refused() -> None:
    config = ImageBlocksMask(kind="image_blocks", targets=4, target_scale=(1.0, 1.0))
    with pytest.raises(ValueError, match="4 target blocks of 2 x 2 cover the whole"):
        draw(config, Grid(1, 2, 2), 2)


def test_sample_masks_takes_the_patterns_of_the_modality(generator: torch.Generator) -> None:
    config = MasksConfig(
        video=(TubeMask(kind="tube"), CausalMask(kind="causal")),
        image=(ImageBlocksMask(kind="image_blocks", targets=3),),
    )
    assert len(sample_masks(config, Grid(4, 6, 6), 2, image=False, generator=generator)) == 2
    assert len(sample_masks(config, Grid(1, 14, 14), 2, image=True, generator=generator)) == 3
