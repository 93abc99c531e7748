"""The examples a report shows are really those that were answered worst."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from jepa.config.probe import ClipsConfig
from jepa.data.sources import Entry
from jepa.data.synthetic import write_videos
from jepa.probes.trial import Trial
from jepa.programs.hardest import _window, hardest, read_frames


def trial(scores: torch.Tensor, truth: torch.Tensor, entries: list[int] | None = None) -> Trial:
    places = torch.arange(len(scores)) if entries is None else torch.tensor(entries)
    return Trial({}, {}, (), tuple(range(scores.shape[1])), scores, truth, places, None)


def test_the_true_class_with_the_lowest_probability_comes_first():
    scores = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    truth = torch.arange(40) % 3
    entries = [2 * n + 5 for n in range(40)]
    found = hardest("classes", trial(scores, truth, entries), ["a", "b", "c"], most=12)
    ranked = sorted(range(40), key=lambda n: float(scores[n, truth[n]]))
    assert [one.entry for one in found] == [entries[n] for n in ranked[:12]]
    worst = ranked[0]
    true, answer = "abc"[truth[worst]], "abc"[int(scores[worst].argmax())]
    assert found[0].lines == (
        ("true", f"{true}, {100 * scores[worst, truth[worst]]:.1f} %"),
        ("answered", f"{answer}, {100 * scores[worst].max():.1f} %"),
    )


def test_an_example_that_was_right_says_so_and_small_shares_are_not_zero():
    scores = torch.tensor([[0.6, 0.4], [0.99999, 0.00001]])
    found = hardest("classes", trial(scores, torch.tensor([0, 1])), ["a", "b"])
    assert [one.lines for one in found] == [
        (("true", "b, under 0.1 %"), ("answered", "a, 100.0 %")),
        (("true", "a, 60.0 %"), ("answered", "the same, 60.0 %")),
    ]


def test_the_worst_label_decides_among_several():
    scores = torch.tensor([[0.9, 0.2, 0.4], [0.1, 0.95, 0.1], [0.8, 0.1, 0.7]])
    truth = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 1]])
    found = hardest("labels", trial(scores, truth), ["a", "b", "c"])
    assert [one.entry for one in found] == [1, 0, 2]
    assert found[0].lines == (("true", "a"), ("answered", "b, 95.0 %"))
    assert found[2].lines[0] == ("true", "a, c")


def test_errors_of_numbers_are_weighed_by_their_spread():
    truth = torch.tensor([[0.0, 0.0], [1.0, 1000.0], [2.0, 2000.0]])
    scores = truth + torch.tensor(
        [[0.0, 100.0], [0.9, 0.0], [0.0, 0.0]]
    )  # 0.9 of one is more than 100 of a thousand
    found = hardest("values", trial(scores, truth), ["angle", "speed"])
    assert [one.entry for one in found] == [1, 0, 2]
    assert found[0].lines == (("angle", "1, predicted 1.9"), ("speed", "1e+03, predicted 1e+03"))


def test_frames_are_spread_over_the_entry(tmp_path: Path):
    write_videos(tmp_path, count=1, seed=0, frames=12, size=32, fps=8)
    (path,) = map(str, tmp_path.glob("*.mp4"))
    clips = ClipsConfig()
    every = read_frames(Entry(path), "video", clips)
    assert every.shape == (3, 32, 32, 3) and every.dtype == torch.uint8
    part = read_frames(Entry(path, start=5, end=6), "video", clips)
    assert part.shape == (1, 32, 32, 3)
    assert not torch.equal(every[0], every[2])


@pytest.mark.parametrize(
    ("entry", "ahead_s", "window"),
    [
        (Entry("x"), None, (0, 99)),
        (Entry("x", start=10, end=20), None, (10, 19)),
        (Entry("x", start=10, end=500), None, (10, 99)),
        (Entry("x", start=500), None, (99, 99)),  # the file is shorter than its list says
        (Entry("x", start=50), 1.0, (20, 40)),
        (Entry("x", start=12), 1.0, (0, 2)),
        (Entry("x", start=5), 1.0, (0, 0)),
    ],
)
def test_the_window_of_100_frames_at_10_per_second(entry, ahead_s, window):
    assert _window(entry, 100, 10.0, ahead_s) == window


def test_images_are_shown_and_broken_files_are_not(tmp_path: Path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    clips = ClipsConfig()
    assert read_frames(Entry(str(tmp_path / "a.png")), "image", clips).shape == (1, 10, 20, 3)
    for name, modality in (("b.png", "image"), ("c.png", "image"), ("b.png", "video"), ("d.mp4", "video")):
        assert read_frames(Entry(str(tmp_path / name)), modality, clips) is None
