"""One head on one set of features: what is scored is entries, not clips."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from jepa.errors import DataError
from jepa.probes.linear import LinearProbe
from jepa.probes.mlp import MlpProbe
from jepa.probes.trial import Labelled, Trial, blind_answers, run_trial

CLASSES = 3


class Recorder:
    """A head that answers with its features, and keeps what it was given."""

    def __init__(self) -> None:
        self.chosen, self.trials, self.classes = {"k": 1.0}, [{"k": 1.0, "score": 0.5}], tuple(range(CLASSES))

    def fit(self, features, labels, groups=None, *, validation=None):
        self.labels, self.groups, self.validation = labels, groups, validation
        return self

    def predict(self, features):
        return features

    def predict_proba(self, features):
        return features


def labelled(values: torch.Tensor, entries: list[int], truth: torch.Tensor, videos=None) -> Labelled:
    names = tuple(videos or (f"v{n}" for n in range(len(truth))))
    return Labelled(values, torch.tensor(entries), truth, names)


def train_side() -> Labelled:
    truth = torch.tensor([0, 1, 2, 0, 1, 2])
    return labelled(torch.eye(3)[truth], list(range(6)), truth)


def test_clips_of_one_entry_are_averaged_before_they_are_scored():
    clips = torch.tensor(
        [[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.3, 0.4, 0.3], [0.1, 0.0, 0.9], [0.6, 0.2, 0.2]]
    )
    test = labelled(clips, [3, 1, 3, 1, 0], torch.tensor([0, 2, 1, 0]))
    found = run_trial(Recorder(), "classes", train_side(), test)
    assert found.entries.tolist() == [0, 1, 3]  # entry 2 gave no clip
    expected = np.stack([clips[[4]].mean(0), clips[[1, 3]].mean(0), clips[[0, 2]].mean(0)])
    np.testing.assert_allclose(found.scores.numpy(), expected, rtol=1e-6)
    assert found.truth.tolist() == [0, 2, 0]
    # Alone, clips 1 and 2 would be wrong; together with their partners every entry is right.
    assert found.measures["accuracy"].value == 1.0
    assert found.confusion.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_the_head_gets_clips_with_their_videos_and_the_validation_part_untouched():
    truth = torch.tensor([0, 1, 2])
    train = labelled(torch.eye(3)[[0, 0, 1, 2]], [0, 0, 1, 2], truth, ("a", "b", "a"))
    aside = labelled(torch.eye(3), [0, 1, 2], torch.tensor([2, 1, 0]))
    probe = Recorder()
    run_trial(probe, "classes", train, aside, validation=aside)
    assert probe.groups == ["a", "a", "b", "a"]
    assert probe.labels.tolist() == [0, 0, 1, 2]
    assert probe.validation[1].tolist() == [2, 1, 0]


def test_entries_of_one_video_stand_or_fall_together_in_the_interval():
    truth = torch.tensor([0, 1, 2] * 20)
    right = torch.arange(60) < 30
    answers = torch.eye(3)[torch.where(right, truth, (truth + 1) % 3)]
    alone = run_trial(Recorder(), "classes", train_side(), labelled(answers, list(range(60)), truth))
    halves = labelled(answers, list(range(60)), truth, [f"v{n // 30}" for n in range(60)])
    together = run_trial(Recorder(), "classes", train_side(), halves)
    assert together.measures["accuracy"].value == alone.measures["accuracy"].value == 0.5
    assert (together.measures["accuracy"].low, together.measures["accuracy"].high) == (0.0, 1.0)
    assert alone.measures["accuracy"].low > 0.3


def test_numbers_are_averaged_as_numbers():
    truth = torch.tensor([[1.0], [3.0]])
    test = labelled(torch.tensor([[0.0], [2.0], [3.0]]), [0, 0, 1], truth)
    found = run_trial(Recorder(), "values", test, test)
    assert found.measures["MAE"].value == 0.0 and found.measures["R2"].value == 1.0
    assert found.confusion is None


def test_only_heads_that_learn_in_epochs_have_a_history():
    draw = torch.Generator().manual_seed(0)
    truth = torch.arange(40) % 2
    side = labelled(torch.randn(40, 4, generator=draw), list(range(40)), truth)
    mlp = MlpProbe(hidden=4, epochs=3, learning_rates=(1e-2, 1e-3), weight_decays=(0.1,))
    learned = run_trial(mlp, "classes", side, side)
    assert len(learned.history) == 3 and len(learned.trials) == 2
    assert all(len(epoch["training loss"]) == 2 for epoch in learned.history)
    assert run_trial(LinearProbe(), "classes", side, side).history == ()


def test_features_of_two_encoders_are_refused():
    truth = torch.tensor([0, 1, 2])
    with pytest.raises(
        DataError, match=r"shape \(3,\) and test features \(4,\): they are of different encoders"
    ):
        run_trial(Recorder(), "classes", train_side(), labelled(torch.eye(4)[:3], [0, 1, 2], truth))


def test_classes_that_training_never_saw_are_refused():
    probe = LinearProbe()
    with pytest.raises(DataError, match=r"test labels \[5\] never occur in training"):
        run_trial(probe, "classes", train_side(), labelled(torch.eye(3), [0, 1, 2], torch.tensor([0, 1, 5])))


def test_blind_answers_of_classes_are_the_largest_class_and_a_die():
    train = labelled(torch.zeros(6, 1), [0, 1, 2, 3, 3, 3], torch.tensor([1, 1, 0, 2, 0]))
    test = labelled(torch.zeros(4, 1), [0, 1, 2, 2], torch.tensor([1, 2, 1, 0]))
    found = blind_answers("classes", train, test)
    # Most training clips are of class 2, but most entries that gave a clip of class 1, as two of three test entries.
    assert found["majority class"]["accuracy"].value == pytest.approx(2 / 3)
    assert found["majority class"]["balanced accuracy"].value == pytest.approx(1 / 2)
    chance = found["chance"]["accuracy"]
    assert (chance.value, chance.low, chance.high) == (1 / 3, 1 / 3, 1 / 3)


def test_chance_among_many_classes_counts_five_guesses():
    truth = torch.arange(20) % 10
    side = labelled(torch.zeros(20, 1), list(range(20)), truth)
    chance = blind_answers("classes", side, side)["chance"]
    assert chance["accuracy"].value == 0.1
    assert chance["top-5"].value == chance["mean-class recall@5"].value == 0.5


def test_blind_answers_of_labels_and_values_are_the_training_mean():
    draw = torch.Generator().manual_seed(0)
    marks = (torch.rand(30, 4, generator=draw) < 0.4).float()
    side = labelled(torch.zeros(30, 1), list(range(30)), marks)
    found = blind_answers("labels", side, side)
    constant = np.tile(marks.numpy().mean(axis=0), (30, 1))
    expected = np.mean([average_precision_score(marks[:, c], constant[:, c]) for c in range(4)])
    assert found["training mean"]["mAP"].value == pytest.approx(expected, rel=1e-6)
    numbers = torch.randn(30, 2, generator=draw)
    side = labelled(torch.zeros(30, 1), list(range(30)), numbers)
    found = blind_answers("values", side, side)["training mean"]
    assert found["R2"].value == pytest.approx(0, abs=1e-6)
    expected = float((numbers - numbers.mean(dim=0)).abs().mean())
    assert found["MAE"].value == pytest.approx(expected, rel=1e-5)


def test_a_trial_keeps_what_was_tried():
    found = run_trial(Recorder(), "classes", train_side(), train_side())
    assert isinstance(found, Trial)
    assert (found.chosen, found.trials) == ({"k": 1.0}, ({"k": 1.0, "score": 0.5},))
