import pytest
import torch

from jepa.errors import DataError
from jepa.probes.knn import knn_accuracy


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
    with pytest.raises(DataError, match="width 5, training features 12"):
        knn_accuracy(x, y, x[:, :5], y)
    with pytest.raises(DataError, match="never occur in training"):
        knn_accuracy(x, y, x, y + 50)
    with pytest.raises(ValueError, match="k must be 1 or more, got 0"):
        knn_accuracy(x, y, k=0)
