"""Features in the plane: which points, where, and in which colours."""

import re

import numpy as np
import torch

from jepa.probes.features import Features
from jepa.programs.feature_clouds import entry_features, feature_cloud, groups, pooled_features, shown_entries

NAMES = ["a", "b", "c"]


def features(entries: list[int], width: int = 6) -> Features:
    draw = torch.Generator().manual_seed(0)
    return Features(torch.randn(len(entries), width, generator=draw), torch.tensor(entries))


def test_clips_of_an_entry_are_averaged():
    found = features([4, 4, 7, 9, 9, 9])
    values, entries = entry_features(found)
    assert entries.tolist() == [4, 7, 9]
    expected = np.stack([found.values[found.entries == entry].mean(0) for entry in (4, 7, 9)])
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_many_entries_are_thinned_evenly():
    found = features(list(range(100)), width=2)
    assert shown_entries(found, most=25).tolist() == list(range(0, 100, 4))
    assert shown_entries(found, most=99).tolist() == list(range(0, 100, 2))
    values, entries = entry_features(found, most=25)
    torch.testing.assert_close(values, found.values[::4])
    assert len(entries) == 25


def test_points_lie_where_numpys_svd_puts_them():
    found = features(list(range(30)))
    svg = feature_cloud("t", found, "classes", torch.zeros(30, dtype=torch.long), ["only", "none"])
    points = np.array(re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg), dtype=float)
    centred = found.values.numpy() - found.values.numpy().mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    for axis in (0, 1):
        assert abs(np.corrcoef(points[:, axis], u[:, axis])[0, 1]) > 0.9999
    shares = s**2 / (s**2).sum()
    assert f"first component, {100 * shares[0]:.0f} % of variance" in svg


def test_every_class_has_its_colour_and_an_empty_one_none():
    truth = torch.tensor([0, 2, 2, 0, 0])
    found = groups("classes", truth, NAMES)
    assert [name for name, *_ in found] == ["a", "c"]
    assert [member.tolist() for _, member, *_ in found] == [(truth == 0).tolist(), (truth == 2).tolist()]
    assert len({style for _, _, *style in [(n, m, c + s) for n, m, c, s in found] for style in style}) == 2


def test_of_many_classes_the_frequent_ones_are_named_and_nobody_is_lost():
    truth = torch.arange(30).repeat_interleave(torch.arange(30, 0, -1))  # class 0 is the largest
    found = groups("classes", truth, [f"{n}" for n in range(30)])
    assert [name for name, *_ in found] == ["18 other classes", *(f"{n}" for n in range(12))]
    assert torch.stack([member for _, member, *_ in found]).sum(dim=0).eq(1).all()


def test_labels_are_parted_by_the_most_even_one():
    truth = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]]).float()
    found = groups("labels", truth, NAMES)
    assert [name for name, *_ in found] == ["without b", "with b"]
    assert found[1][1].tolist() == [True, False, True, False]


def test_numbers_are_coloured_by_fifths_from_dark_to_bright():
    truth = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    found = groups("values", truth, ["angle", "speed"])
    assert [int(member.sum()) for _, member, *_ in found] == [20] * 5
    assert found[0][0] == "angle: lowest fifth"
    edges = [truth[member, 0] for _, member, *_ in found]
    assert all(low.max() <= high.min() for low, high in zip(edges[:-1], edges[1:], strict=True))
    light = [sum(bytes.fromhex(colour[1:])) for _, _, colour, _ in found]
    assert light == sorted(light)


def test_pooled_features_are_the_tasks_or_pixels():
    time, raw, tokens = features([0]), features([1]), features([2])
    assert pooled_features({"time": time, "mean": raw, "tokens": tokens}, "time") is time
    assert pooled_features({"raw": raw, "tokens": tokens}, "time") is raw
    assert pooled_features({"tokens": tokens}, "time") is None
