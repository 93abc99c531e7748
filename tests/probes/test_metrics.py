import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from jepa.errors import DataError
from jepa.probes.metrics import HIGHER_IS_BETTER, confusion, headline, measure, pool_scores, primary


def drawn(n, classes, *, seed=0, ties=False):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, classes, generator=draw)
    return (scores * 2).round() if ties else scores, torch.randint(0, classes, (n,), generator=draw)


@pytest.mark.parametrize(("n", "classes"), [(50, 2), (200, 5), (300, 12)])
def test_classes_match_scikit_learn(n, classes):
    scores, truth = drawn(n, classes)
    scores[torch.arange(n), truth] += 1
    found = measure("classes", scores, truth, draws=10)
    answer = scores.argmax(1)
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(truth, answer))
    assert found["balanced accuracy"].value == pytest.approx(sk.balanced_accuracy_score(truth, answer))
    counts = sk.confusion_matrix(truth, answer, labels=range(classes))
    assert confusion(truth, answer, classes).tolist() == counts.tolist()
    assert headline("classes", scores, truth) == found[primary("classes")].value
    if classes > 5:
        top5 = sk.top_k_accuracy_score(truth, scores, k=5, labels=range(classes))
        assert found["top-5"].value == pytest.approx(top5)
        near = (scores.topk(5).indices == truth[:, None]).any(1)
        recalls = [near[truth == c].double().mean().item() for c in truth.unique()]
        assert found["mean-class recall@5"].value == pytest.approx(np.mean(recalls))
    else:
        assert set(found) == {"accuracy", "balanced accuracy"}


def test_classes_that_do_not_occur_take_no_part():
    scores, truth = drawn(200, 9)
    truth[truth > 6] = 0
    found = measure("classes", scores, truth, draws=10)
    answer = scores.argmax(1)
    recalls = [(answer[truth == c] == c).double().mean().item() for c in range(7)]
    assert found["balanced accuracy"].value == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_matches_scikit_learn(ties):
    scores, _ = drawn(300, 6, ties=ties)
    truth = (torch.rand(300, 6, generator=torch.Generator().manual_seed(1)) < 0.1).long()
    truth[:, 4] = 0  # no positive: no part in the mean
    wanted = [sk.average_precision_score(truth[:, c], scores[:, c]) for c in (0, 1, 2, 3, 5)]
    assert measure("labels", scores, truth, draws=5)["mAP"].value == pytest.approx(np.mean(wanted), abs=1e-6)


def test_values_match_scikit_learn():
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(200, 3, generator=draw) * torch.tensor([1.0, 50, 0.1]) + torch.tensor([0.0, 1e4, 3])
    scores = truth + torch.randn(200, 3, generator=draw) * torch.tensor([0.5, 20, 0.2])
    found = measure("values", scores, truth, draws=10)
    assert found["R2"].value == pytest.approx(sk.r2_score(truth, scores), rel=1e-6)
    assert found["MAE"].value == pytest.approx(sk.mean_absolute_error(truth, scores), rel=1e-6)
    assert (HIGHER_IS_BETTER["R2"], HIGHER_IS_BETTER["MAE"]) == (True, False)


@pytest.mark.parametrize("task", ["classes", "labels", "values"])
def test_each_draw_is_the_measure_of_the_resampled_clips(task):
    """The quantiles of draws made by copying rows agree with those made by weighing them."""
    draw = torch.Generator().manual_seed(3)
    groups = [f"v{i // 3}" for i in range(90)]
    scores = torch.randn(90, 7, generator=draw)
    if task == "classes":
        truth = torch.randint(0, 7, (90,), generator=draw)
    elif task == "labels":
        truth = (torch.rand(90, 7, generator=draw) < 0.3).long()
    else:
        truth = scores + torch.randn(90, 7, generator=draw)
    found = measure(task, scores, truth, groups=groups, draws=2000)
    peer: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(400):
        pick = torch.randint(0, 30, (30,), generator=draw)
        rows = (pick[:, None] * 3 + torch.arange(3)).flatten()
        for name, value in measure(task, scores[rows], truth[rows], draws=1).items():
            peer[name].append(value.value)
    for name, values in peer.items():
        width = found[name].high - found[name].low
        assert found[name].low == pytest.approx(np.quantile(values, 0.025), abs=0.15 * width), name
        assert found[name].high == pytest.approx(np.quantile(values, 0.975), abs=0.15 * width), name


def test_interval_covers_a_known_share_as_often_as_it_says():
    draw = torch.Generator().manual_seed(0)
    truth, covered = torch.zeros(200, dtype=torch.long), 0
    for trial in range(200):
        right = torch.rand(200, generator=draw) < 0.7
        scores = torch.stack([right.float(), 0.5 * torch.ones(200)], 1)
        found = measure("classes", scores, truth, seed=trial, draws=300)["accuracy"]
        covered += found.low <= 0.7 <= found.high
    assert 0.90 <= covered / 200 <= 0.985


def test_interval_of_copies_is_that_of_the_videos_they_come_from():
    scores, truth = drawn(60, 3)
    copies, groups = (
        (scores.repeat_interleave(10, 0), truth.repeat_interleave(10)),
        [i // 10 for i in range(600)],
    )
    alone = measure("classes", scores, truth)["accuracy"]
    grouped = measure("classes", *copies, groups=[str(g) for g in groups])["accuracy"]
    blind = measure("classes", *copies)["accuracy"]
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert blind.high - blind.low < 0.5 * (grouped.high - grouped.low)


def test_is_deterministic_and_draws_in_portions_alike(monkeypatch):
    scores, truth = drawn(60, 3)
    first = measure("classes", scores, truth, seed=1)
    assert first == measure("classes", scores, truth, seed=1)
    assert first != measure("classes", scores, truth, seed=2)
    monkeypatch.setattr("jepa.probes.metrics.WEIGHTS_AT_ONCE", 60 * 7)
    some = measure("classes", scores, truth, seed=1)["accuracy"]
    assert some.low == pytest.approx(first["accuracy"].low, abs=0.04)


def test_one_video_has_no_interval():
    found = measure("classes", *drawn(20, 3), groups=["v"] * 20)["accuracy"]
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert 0 <= found.value <= 1


def test_views_of_one_video_are_averaged():
    scores = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5], [0.2, 0.8]])
    pooled, order = pool_scores(scores, torch.tensor([7, 3, 7, 7]))
    assert order.tolist() == [3, 7]
    torch.testing.assert_close(pooled, torch.stack([scores[1], scores[[0, 2, 3]].mean(0)]))
    with pytest.raises(DataError, match="entry one number per clip"):
        pool_scores(scores, torch.tensor([1, 2]))


@pytest.mark.parametrize(
    ("task", "scores", "truth", "message"),
    [
        (
            "classes",
            torch.zeros(4, 3),
            torch.tensor([0, 1, 2, 3]),
            "truth runs from 0 to 3, but scores are of classes 0 to 2",
        ),
        ("classes", torch.zeros(4, 3), torch.tensor([0, 1, 2, -1]), "truth runs from -1"),
        ("classes", torch.zeros(4, 3), torch.zeros(5), r"got \(4, 3\) and \(5,\)"),
        ("classes", torch.full((4, 3), torch.nan), torch.zeros(4), "4 of 4 answers hold NaN"),
        ("labels", torch.zeros(2, 2), torch.tensor([[0, 1], [2, 0]]), "must be 0 or 1, got values such as 2"),
        ("labels", torch.zeros(2, 2), torch.zeros(2, 2), "no sample has any label"),
        (
            "values",
            torch.zeros(2, 2),
            torch.tensor([[0, 1], [torch.nan, 0]]),
            "1 of 2 samples have no finite truth",
        ),
    ],
)
def test_refuses(task, scores, truth, message):
    with pytest.raises(DataError, match=message):
        measure(task, scores, truth)


def test_groups_are_one_per_sample():
    with pytest.raises(DataError, match="4 samples need 4 groups, got 2"):
        measure("classes", torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), groups=["a", "b"])
