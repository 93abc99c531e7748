"""Epochs, weights, and modalities, without a file."""

from collections import Counter

import pytest

from jepa.config.data import DataConfig
from jepa.data.schedule import Schedule, take_turns
from jepa.data.sources import Entry, Source


def source(count, modality="video", weight=1.0):
    return Source("s", modality, tuple(Entry(str(i)) for i in range(count)), (), weight)


def schedule(sources, *, steps, start=0, seed=0, **changes):
    settings = {"sources": [{"kind": "folder", "path": "."}], "stride": 1, "batch_size": 4} | changes
    data = DataConfig.model_validate(settings, strict=False)
    return Schedule(sources, data, seed=seed, start=start, steps=steps)


def picks(plans):
    return [pick for plan in plans for pick in plan.picks]


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (3.0, 1.0), (0.1, 0.7, 0.2), (1e-3, 1.0)])
def test_turns_keep_the_weights_and_count_themselves(weights):
    counts = Counter()
    for draw in range(2000):
        member, before = take_turns(draw, weights)
        assert before == counts[member]
        counts[member] += 1
        for index, weight in enumerate(weights):
            assert abs(counts[index] - (draw + 1) * weight / sum(weights)) < len(weights)


def test_one_source_gives_every_entry_once_per_epoch():
    drawn = [pick.entry for pick in picks(schedule([source(10)], steps=10))]  # 40 places: four epochs of ten
    epochs = [drawn[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_every_source_of_a_mix_gives_every_entry_once_per_epoch():
    mix = [source(8, weight=3.0), source(5), source(6, "image", weight=2.0)]
    plans = list(schedule(mix, steps=60))
    for index, count in enumerate((8, 5, 6)):
        drawn = [pick.entry for pick in picks(plans) if pick.source == index]
        for begin in range(0, len(drawn) - count + 1, count):
            assert sorted(drawn[begin : begin + count]) == list(range(count))


def test_weights_are_shares_of_a_batch():
    counts = Counter(pick.source for pick in picks(schedule([source(9, weight=3.0), source(9)], steps=25)))
    assert counts == {0: 75, 1: 25}


def test_images_have_their_share_of_steps():
    mix = [source(9), source(9, "image", weight=3.0)]
    assert Counter(plan.modality for plan in schedule(mix, steps=100)) == {"video": 25, "image": 75}
    asked = Counter(plan.modality for plan in schedule(mix, steps=100, image_fraction=0.1))
    assert asked == {"video": 90, "image": 10}
    assert {plan.modality for plan in schedule(mix, steps=20, image_fraction=0.0)} == {"video"}
    assert {plan.modality for plan in schedule(mix, steps=20, image_fraction=1.0)} == {"image"}


def test_a_batch_is_of_one_modality():
    mix = [source(9), source(9, "image"), source(9)]
    for plan in schedule(mix, steps=30):
        assert {mix[pick.source].modality for pick in plan.picks} == {plan.modality}


def test_clips_of_a_video_share_a_place():
    mix = [source(9), source(9, "image")]
    sizes = {plan.modality: len(plan.picks) for plan in schedule(mix, steps=4, clips_per_video=2)}
    assert sizes == {"video": 2, "image": 4}


def test_a_later_start_is_the_rest_of_the_same_plan():
    mix = [source(8, weight=3.0), source(5), source(6, "image")]
    whole = list(schedule(mix, steps=40))
    assert list(schedule(mix, steps=23, start=17)) == whole[17:]
    assert len(schedule(mix, steps=23, start=17)) == 23


def test_seeds_differ():
    assert list(schedule([source(50)], steps=5, seed=1)) != list(schedule([source(50)], steps=5, seed=2))
