import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, r2_score

from jepa.errors import DataError
from jepa.probes import knn as module
from jepa.probes.knn import KnnProbe, knn_accuracy


def by_hand(train, labels, test, wanted, k, *, leave_one_out=False):
    """The vote as the paper writes it, one sample at a time."""
    unit = torch.nn.functional.normalize
    right = 0
    for i, query in enumerate(unit(test.double(), dim=1)):
        similarity = unit(train.double(), dim=1) @ query
        if leave_one_out:
            similarity[i] = -torch.inf
        votes: dict[int, float] = {}
        for j in similarity.argsort(descending=True)[:k].tolist():
            votes[int(labels[j])] = votes.get(int(labels[j]), 0) + float(torch.exp(similarity[j] / 0.07))
        right += max(votes, key=votes.get) == int(wanted[i])
    return right / len(test)


def scattered(n, seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=draw)
    return torch.nn.functional.one_hot(labels, 12).float() + 0.6 * torch.randn(
        n, 12, generator=draw
    ), labels + 10


@pytest.mark.parametrize("k", [1, 5, 20])
def test_agrees_with_the_vote_written_out(k):
    x, y = scattered(150, 0)
    x_test, y_test = scattered(60, 1)
    assert knn_accuracy(x, y, x_test, y_test, k=k) == pytest.approx(by_hand(x, y, x_test, y_test, k))
    assert knn_accuracy(x, y, k=k) == pytest.approx(by_hand(x, y, x, y, k, leave_one_out=True))


def test_nobody_votes_for_itself():
    """With labels that mean nothing, one neighbour is right by luck alone; oneself would always be right."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 8, generator=draw), torch.randint(0, 5, (300,), generator=draw)
    assert knn_accuracy(x, y, k=1) < 0.4
    assert knn_accuracy(x, y, x, y, k=1) == 1


def test_copies_count_as_neighbours():
    x = torch.eye(3).repeat(8, 1)
    assert knn_accuracy(x, torch.arange(24) % 3, k=2) == 1


def test_length_does_not_matter_and_k_may_exceed_the_samples():
    x, y = scattered(40, 0)
    factors = torch.linspace(0.01, 100, 40)[:, None]
    assert knn_accuracy(x * factors, y, k=7) == knn_accuracy(x, y, k=7)
    assert 0 <= knn_accuracy(x, y, k=1000) <= 1


def test_refuses_what_it_cannot_score():
    x, y = scattered(20, 0)
    with pytest.raises(DataError, match="hold NaN"):
        knn_accuracy(x / 0 * 0, y)
    with pytest.raises(DataError, match="without test_labels"):
        knn_accuracy(x, y, x)
    with pytest.raises(DataError, match="width 5, but the probe was fitted on 12"):
        knn_accuracy(x, y, x[:, :5], y)
    with pytest.raises(DataError, match="never occur in training"):
        knn_accuracy(x, y, x, y + 50)
    with pytest.raises(ValueError, match="k must be 1 or more, got 0"):
        knn_accuracy(x, y, k=0)


def shares_by_hand(train, ballots, test, k, *, temperature=0.07, barred=None):
    """Votes as the paper writes them, one sample at a time: ballots (n, C) -> (m, C)."""
    unit = torch.nn.functional.normalize
    votes = []
    for i, query in enumerate(unit(test.double(), dim=1)):
        similarity = unit(train.double(), dim=1) @ query
        if barred is not None:
            similarity[barred[i]] = -torch.inf
        best = similarity.argsort(descending=True)[:k]
        weight = torch.exp(similarity[best] / temperature)
        votes.append((weight[:, None] * ballots.double()[best]).sum(0) / weight.sum())
    return torch.stack(votes)


def test_classes_are_shares_of_the_votes():
    (x, y), (x_test, y_test) = scattered(150, 0), scattered(60, 1)
    probe = KnnProbe(k=7, temperature=0.2).fit(x, y)
    ballots = torch.nn.functional.one_hot(y - 10)
    expected = shares_by_hand(x, ballots, x_test, 7, temperature=0.2)
    torch.testing.assert_close(probe.predict_proba(x_test).double(), expected, atol=1e-4, rtol=1e-4)
    assert (probe.predict(x_test) == expected.argmax(1) + 10).all()
    assert probe.score(x_test, y_test) == pytest.approx(
        float((expected.argmax(1) + 10 == y_test).double().mean())
    )
    assert (probe.classes, probe.chosen, probe.trials) == ((10, 11, 12, 13), {"k": 7.0}, [])


def test_several_labels_are_shares_and_graded_by_average_precision():
    (x, y), (x_test, y_test) = scattered(150, 0), scattered(60, 1)
    table, wanted = (torch.stack([y == 10, y >= 12], dim=1).long() for y in (y, y_test))
    probe = KnnProbe(k=9, task="labels").fit(x, table)
    expected = shares_by_hand(x, table, x_test, 9)
    torch.testing.assert_close(probe.predict_proba(x_test).double(), expected, atol=1e-4, rtol=1e-4)
    assert (probe.predict(x_test) == (expected > 0.5)).all()
    answers = probe.predict_proba(x_test)  # of equal float32 shares, float64 would break the tie
    precision = np.mean([average_precision_score(wanted[:, i], answers[:, i]) for i in range(2)])
    assert probe.score(x_test, wanted) == pytest.approx(precision)


def test_numbers_are_weighted_means_in_their_own_units(generator):
    x, x_test = torch.randn(200, 6, generator=generator), torch.randn(50, 6, generator=generator)
    numbers, wanted = (torch.stack([1000 + 50 * x[:, 0], x[:, 1]], dim=1) for x in (x, x_test))
    probe = KnnProbe(k=12, task="values").fit(x, numbers)
    expected = shares_by_hand(x, numbers, x_test, 12)
    torch.testing.assert_close(probe.predict(x_test).double(), expected, atol=1e-2, rtol=1e-4)
    assert probe.score(x_test, wanted) == pytest.approx(r2_score(wanted, expected), abs=1e-3)
    assert KnnProbe(k=12, task="values").fit(x, numbers[:, 0]).predict(x_test).shape == (50, 1)


def test_k_is_chosen_by_how_samples_of_other_groups_answer():
    x, y = scattered(120, 3)
    groups = [str(i // 3) for i in range(120)]
    probe = KnnProbe(k=(25, 1, 5)).fit(x, y, groups)
    barred = [[j for j in range(120) if groups[j] == groups[i]] for i in range(120)]
    ballots = torch.nn.functional.one_hot(y - 10)
    graded = {
        k: float((shares_by_hand(x, ballots, x, k, barred=barred).argmax(1) + 10 == y).double().mean())
        for k in (1, 5, 25)
    }
    assert [trial["k"] for trial in probe.trials] == [1, 5, 25]
    assert [trial["score"] for trial in probe.trials] == pytest.approx(list(graded.values()))
    assert probe.chosen == {"k": float(max(graded, key=graded.get))}


def test_clips_of_one_video_do_not_vote_for_each_other():
    """Near-copies with labels that mean nothing: among themselves they are always right, else by luck alone."""
    draw = torch.Generator().manual_seed(0)
    videos, labels = torch.randn(80, 8, generator=draw), torch.randint(0, 4, (80,), generator=draw)
    x = videos.repeat_interleave(4, 0) + 0.01 * torch.randn(320, 8, generator=draw)
    y, groups = labels.repeat_interleave(4), [f"{i // 4}.mp4" for i in range(320)]
    assert knn_accuracy(x, y, k=3) == 1
    assert knn_accuracy(x, y, k=3, groups=groups) < 0.5
    with pytest.raises(DataError, match="all 320 samples are of one group"):
        knn_accuracy(x, y, groups=["a"] * 320)
    with pytest.raises(DataError, match="320 samples need 320 groups, got 3"):
        knn_accuracy(x, y, groups=["a", "b", "c"])


@pytest.mark.parametrize("task", ["classes", "values"])
def test_samples_answer_each_other_a_part_at_a_time(task, monkeypatch):
    x, y = scattered(101, 5)
    groups = [str(i % 40) for i in range(101)]
    wanted = y if task == "classes" else x[:, :3] + 5
    whole = KnnProbe(k=(3, 9), task=task).fit(x, wanted, groups)
    monkeypatch.setattr(
        module, "NEIGHBOURS_AT_ONCE", 12 * 10
    )  # 10 samples, with 9 others and up to 3 of their own
    parts = KnnProbe(k=(3, 9), task=task).fit(x, wanted, groups)
    assert [trial["score"] for trial in parts.trials] == pytest.approx([t["score"] for t in whole.trials])
    assert parts.score_training(x, wanted, groups) == pytest.approx(whole.score_training(x, wanted, groups))


def test_settings_and_widths_are_checked():
    x, y = scattered(20, 0)
    with pytest.raises(ValueError, match="k must be 1 or more"):
        KnnProbe(k=())
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        KnnProbe(temperature=0)
    with pytest.raises(DataError, match="have width 11, but the probe was fitted on 12"):
        KnnProbe().fit(x, y).predict(x[:, 1:])
    with pytest.raises(DataError, match="rows are all zeros"):
        KnnProbe().fit(x, y).predict(0 * x)


def test_k_is_chosen_on_a_validation_part_that_is_given():
    # Of class 0 there are two close samples, and five of class 1 a little farther off: near ones are right, many wrong.
    angles = torch.tensor([0.0, 0.02, 0.3, 0.31, 0.32, 0.33, 0.34])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1, 1, 1])
    aside = (torch.tensor([[1.0, 0.01]]), torch.tensor([0]))
    probe = KnnProbe(k=(1, 7), temperature=10.0).fit(features, labels, validation=aside)
    assert probe.chosen == {"k": 1} and [trial["score"] for trial in probe.trials] == [1, 0]
    aside = (torch.tensor([[1.0, 0.01]]), torch.tensor([1]))
    assert KnnProbe(k=(1, 7), temperature=10.0).fit(features, labels, validation=aside).chosen == {"k": 7}
