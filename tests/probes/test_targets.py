import math

import pytest
import torch
import torch.nn.functional as F

from jepa.errors import DataError
from jepa.probes.targets import best_trial, learn_targets


def outputs(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_losses_are_torchs_for_every_head():
    y = torch.tensor([0, 2, 1, 2, 0])
    many = F.one_hot(y, 4)
    numbers = torch.stack([y * 3.0, 5 - y * y.float()], 1)
    for task, labels, peer in (
        ("classes", y, F.cross_entropy),
        ("labels", many, F.binary_cross_entropy_with_logits),
        ("values", numbers, F.mse_loss),
    ):
        targets, target = learn_targets(task, labels, 5)
        answers = outputs(3, 5, targets.outputs)
        wanted = torch.stack([peer(one, target) for one in answers])
        torch.testing.assert_close(targets.losses(answers, target), wanted)


def test_values_are_standardised_and_given_back():
    numbers = torch.tensor([[1.0, -40], [2, 60], [6, 10]])
    targets, target = learn_targets("values", numbers, 3)
    torch.testing.assert_close(target.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(target.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(targets.answers(target), numbers)
    assert targets.score(target, numbers) == pytest.approx(1)
    assert learn_targets("values", torch.tensor([1.0, 2, 3]), 3)[1].shape == (3, 1)


def test_a_label_that_training_never_shows_is_allowed():
    table = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    targets, target = learn_targets("labels", table, 3)
    assert targets.classes == (0, 1, 2)
    assert targets.grades(outputs(2, 3, 3), torch.zeros(3, 3)) == pytest.approx([math.nan] * 2, nan_ok=True)
    assert targets.score(4.0 * target - 2, table) == pytest.approx(1)


def test_the_best_trial_is_whole_then_scores_then_has_the_lowest_loss():
    def trial(score, loss):
        return {"score": score, "loss": loss}

    assert best_trial([trial(0.5, 1), trial(0.7, 3), trial(0.7, 2), trial(0.9, math.nan)]) == 2
    assert best_trial([trial(math.nan, 2), trial(math.nan, 1)]) == 1
    assert best_trial([trial(math.nan, 1), trial(-5.0, 2)]) == 1
    assert best_trial([trial(0.9, math.inf), trial(0.9, math.nan)]) is None


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (
            "labels",
            torch.tensor([[1, 0], [0, 3], [-1, 0]]),
            r"2 of 3 rows hold something else than 0 and 1, first row 1: \[3\]",
        ),
        ("labels", torch.zeros(3, 2), "none of 3 training samples has any label"),
        ("labels", torch.zeros(3), r"need a table of 3 rows, one column per class, got \(3,\)"),
        ("values", torch.zeros(4, 2), r"3 samples need 3 rows of numbers, got \(4, 2\)"),
        (
            "values",
            torch.tensor([1, torch.nan, 2]),
            "1 of 3 samples have a label that is NaN or infinite, first row 1",
        ),
        (
            "values",
            torch.tensor([[1.0, 7], [2, 7], [3, 7]]),
            r"columns \[1\] are constant over 3 training samples",
        ),
        ("classes", torch.tensor([0, -1, 1]), "1 of 3 samples have no label"),
        ("classes", torch.tensor([1, 1, 1]), "all 3 training labels are 1"),
    ],
)
def test_refuses_labels_that_teach_nothing(task, labels, message):
    with pytest.raises(DataError, match=message):
        learn_targets(task, labels, 3)


def test_refuses_test_labels_of_another_form():
    targets, _ = learn_targets("values", torch.tensor([[1.0, 2], [2, 3]]), 2)
    with pytest.raises(DataError, match="test labels have 1 columns, but training labels had 2"):
        targets.encode(torch.tensor([1.0, 2]), 2)
    targets, _ = learn_targets("classes", torch.tensor([3, 5]), 2)
    with pytest.raises(DataError, match=r"test labels \[4\] never occur in training"):
        targets.encode(torch.tensor([4, 5]), 2)
