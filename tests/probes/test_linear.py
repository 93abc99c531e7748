import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.linear import WEIGHT_DECAYS, LinearProbe
from jepa.probes.solve import apply_weights, fit_ridge
from jepa.probes.split import split_by_group


def blobs(
    n: int, width: int, classes: int = 4, *, seed: int = 0, signal: float = 0.6
) -> tuple[Tensor, Tensor]:
    """Correlated features of very different scales whose class means differ in a few directions."""
    draw = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    mix = torch.randn(8, width, generator=torch.Generator().manual_seed(98))
    labels = torch.randint(0, classes, (n,), generator=draw)
    hidden = signal * means[labels] + torch.randn(n, 8, generator=draw)
    noise = torch.randn(n, width, generator=draw)
    return (hidden @ mix + noise) * torch.logspace(-3, 3, width) + 7, labels


@pytest.mark.parametrize(
    ("n", "width", "decay"),
    [(300, 40, 1e-3), (300, 40, 0.3), (200, 700, 1e-2), (200, 700, 1.0), (900, 512, 0.1)],
)
def test_matches_scikit_learn(n, width, decay):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = blobs(n, width)
    x_test, y_test = blobs(200, width, seed=1)
    mean, scale = x.mean(0), x.std(0, correction=0)
    peer = linear_model.LogisticRegression(C=1 / (decay * n), tol=1e-8, max_iter=5000)
    peer.fit(((x - mean) / scale).double().numpy(), y.numpy())
    theirs = torch.from_numpy(peer.decision_function(((x_test - mean) / scale).double().numpy()))
    probe = LinearProbe(weight_decays=[decay]).fit(x, y)
    ours = probe.decision(x_test)
    torch.testing.assert_close(
        ours.softmax(1).double(), theirs.softmax(1), atol=5e-3, rtol=0, msg="probabilities differ"
    )
    assert (
        probe.predict(x_test) == torch.from_numpy(peer.predict(x_test.double().sub(mean).div(scale).numpy()))
    ).float().mean() > 0.99


def test_gradient_of_the_loss_vanishes_at_the_answer():
    x, y = blobs(300, 30)
    probe = LinearProbe(weight_decays=[0.05]).fit(x, y)
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).double()
    weights = (probe.rotation @ probe.weights[:-1]).double().requires_grad_()
    bias = probe.weights[-1].double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(standard @ weights + bias, y) + 0.025 * weights.square().sum()
    loss.backward()
    assert weights.grad.abs().max() < 1e-3
    assert bias.grad.abs().max() < 1e-3


def test_answers_do_not_depend_on_units_and_offsets_of_features():
    x, y = blobs(200, 20)
    test, _ = blobs(100, 20, seed=1)
    scale, shift = torch.logspace(-2, 2, 20), torch.linspace(-5, 5, 20)
    plain = LinearProbe().fit(x, y).decision(test)
    moved = LinearProbe().fit(x * scale + shift, y).decision(test * scale + shift)
    torch.testing.assert_close(plain, moved, atol=2e-2, rtol=1e-2)


def test_standardisation_never_sees_the_test_set():
    x, y = blobs(200, 20)
    test, _ = blobs(50, 20, seed=1)
    probe = LinearProbe().fit(x, y)
    outlier = torch.cat([test, 1e4 * test[:1]])
    torch.testing.assert_close(probe.decision(outlier)[:50], probe.decision(test))


def test_constant_features_change_nothing():
    x, y = blobs(200, 20)
    test, _ = blobs(80, 20, seed=1)
    padded, padded_test = (torch.cat([part, torch.full((len(part), 3), 5.0)], 1) for part in (x, test))
    padded[:, -2] += 5e-7 * y  # one bit of rounding is no signal, even where it would give the answer
    padded_test[:, -1] = 1e6  # constant in training: it must stay silent, whatever the test set holds
    plain, with_constants = (
        LinearProbe().fit(x, y).decision(test),
        LinearProbe().fit(padded, y).decision(padded_test),
    )
    torch.testing.assert_close(plain, with_constants, atol=1e-2, rtol=1e-2)


def test_all_features_constant_gives_the_class_shares():
    y = torch.tensor([0] * 30 + [1] * 10)
    probe = LinearProbe(weight_decays=[0.1]).fit(torch.ones(40, 5), y)
    torch.testing.assert_close(
        probe.decision(torch.ones(1, 5)).softmax(1), torch.tensor([[0.75, 0.25]]), atol=1e-3, rtol=0
    )


def test_chooses_what_answers_best_on_the_part_that_was_held_out():
    x, y = blobs(300, 200, signal=0.4)
    fitted, held_out = split_by_group(y, None, fraction=0.2, seed=0)
    alone = {
        decay: LinearProbe(weight_decays=[decay]).fit(x[fitted], y[fitted]).score(x[held_out], y[held_out])
        for decay in WEIGHT_DECAYS
    }
    assert min(alone.values()) < max(alone.values()) - 0.05  # the choice matters here
    assert alone[LinearProbe().fit(x, y).weight_decay] > max(alone.values()) - 0.03


def test_groups_keep_memory_of_a_video_from_looking_like_knowledge():
    """Five near-copies of each video: only a split by clip rewards learning them by heart."""
    x, y = blobs(60, 300, signal=0.5)
    copies = x.repeat_interleave(5, 0) * (
        1 + 0.01 * torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
    )
    labels, groups = y.repeat_interleave(5), [f"video{i // 5}" for i in range(300)]
    by_clip, by_video = LinearProbe().fit(copies, labels), LinearProbe().fit(copies, labels, groups)
    assert by_video.weight_decay >= 10 * by_clip.weight_decay


def test_is_deterministic_and_the_seed_matters_only_for_the_split():
    x, y = blobs(200, 30)
    first, second = LinearProbe(seed=1).fit(x, y), LinearProbe(seed=1).fit(x, y)
    assert first.weight_decay == second.weight_decay
    assert torch.equal(first.weights, second.weights)
    one, other = (LinearProbe(weight_decays=[0.1], seed=s).fit(x, y).weights for s in (1, 2))
    assert torch.equal(one, other)


def test_classes_are_the_labels_as_given():
    x, y = blobs(300, 20)
    x_test, y_test = blobs(120, 20, seed=1)
    names = torch.tensor([3, 5, 8, 20])  # labels need not be 0..C-1
    probe = LinearProbe().fit(x, names[y])
    assert probe.classes == (3, 5, 8, 20)
    answers = probe.predict(x_test)
    assert set(answers.tolist()) <= {3, 5, 8, 20}
    assert probe.score(x_test, names[y_test]) == pytest.approx(
        (answers == names[y_test]).float().mean().item()
    )
    assert probe.score(x_test, names[y_test]) > 0.5
    torch.testing.assert_close(probe.predict_proba(x_test).sum(1), torch.ones(120))
    assert torch.equal(names[probe.predict_proba(x_test).argmax(1)], answers)


def test_a_class_that_is_missing_in_the_test_set_is_no_error():
    x, y = blobs(200, 20)
    x_test, y_test = blobs(100, 20, seed=1)
    kept = y_test != 2
    assert 0 < LinearProbe().fit(x, y).score(x_test[kept], y_test[kept]) <= 1


class TestRefuses:
    x, y = blobs(40, 6)

    def test_one_class(self):
        with pytest.raises(DataError, match="all 40 training labels are 1; a probe needs two classes"):
            LinearProbe().fit(self.x, torch.ones(40, dtype=torch.long))

    def test_nan(self):
        bad = self.x.clone()
        bad[7, 2] = float("nan")
        with pytest.raises(
            DataError, match="training features: 1 of 40 rows hold NaN or infinity, first row 7"
        ):
            LinearProbe().fit(bad, self.y)
        with pytest.raises(DataError, match="test features: 1 of 40 rows hold NaN"):
            LinearProbe().fit(self.x, self.y).predict(bad)

    def test_lengths_that_differ(self):
        with pytest.raises(
            DataError, match=r"40 samples need 40 labels in one row, got labels of shape \(39,\)"
        ):
            LinearProbe().fit(self.x, self.y[:-1])
        with pytest.raises(DataError, match="40 samples need 40 groups, got 3"):
            LinearProbe().fit(self.x, self.y, ["a", "b", "c"])

    def test_labels_that_are_missing(self):
        unlabelled = self.y.clone()
        unlabelled[:3] = -1
        with pytest.raises(DataError, match="3 of 40 samples have no label"):
            LinearProbe().fit(self.x, unlabelled)

    def test_labels_that_training_never_showed(self):
        probe = LinearProbe().fit(self.x, self.y % 2)
        with pytest.raises(
            DataError, match=r"test labels \[9\] never occur in training, whose labels are \[0, 1\]"
        ):
            probe.score(self.x, torch.full((40,), 9))

    def test_too_few_to_split(self):
        with pytest.raises(DataError, match="3 samples in 3 groups are too few to choose a weight decay"):
            LinearProbe().fit(self.x[:3], torch.tensor([0, 1, 0]))
        with pytest.raises(DataError, match="40 samples in 1 groups are too few"):
            LinearProbe().fit(self.x, self.y, ["one video"] * 40)

    def test_groups_that_each_hold_one_class_of_two(self):
        labels = torch.tensor([0] * 20 + [1] * 20)
        with pytest.raises(DataError, match="leaves two classes to fit on; give more videos"):
            LinearProbe().fit(self.x, labels, ["a"] * 20 + ["b"] * 20)

    def test_features_of_another_width(self):
        with pytest.raises(DataError, match="test features have width 5, but the probe was fitted on 6"):
            LinearProbe().fit(self.x, self.y).predict(self.x[:, :5])

    def test_features_that_are_no_table(self):
        with pytest.raises(DataError, match=r"training features must be \(samples, width\)"):
            LinearProbe().fit(self.x[None], self.y)

    def test_weight_decays_that_are_not_positive(self):
        with pytest.raises(ValueError, match="weight_decays must be positive and not empty"):
            LinearProbe(weight_decays=[0.0])


@pytest.mark.parametrize("decay", [1e-2, 1.0])
def test_labels_match_one_logistic_regression_each(decay):
    x, y = blobs(300, 20)
    table = torch.stack([y == 0, y > 1, y == 3], 1).long()
    standard = (x - x.mean(0)) / x.std(0, correction=0)
    probe = LinearProbe(weight_decays=[decay], task="labels").fit(x, table)
    for column in range(3):
        peer = LogisticRegression(C=1 / (decay * 300), tol=1e-8, max_iter=5000)
        peer.fit(standard.double().numpy(), table[:, column].numpy())
        wanted = torch.from_numpy(peer.predict_proba(standard.double().numpy())[:, 1])
        torch.testing.assert_close(probe.predict_proba(x)[:, column].double(), wanted, atol=5e-3, rtol=0)
    assert torch.equal(probe.predict(x), (probe.predict_proba(x) > 0.5).long())


@pytest.mark.parametrize(("n", "width"), [(200, 20), (60, 150)])
@pytest.mark.parametrize("decay", [1e-3, 1.0])
def test_values_match_ridge_regression(n, width, decay):
    x, y = blobs(n, width)
    numbers = torch.stack([100 + 3.0 * y, x[:, 0] * 1e3 - y], 1)
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).double().numpy()
    wanted = Ridge(alpha=decay * n, solver="svd").fit(standard, numbers.double().numpy()).predict(standard)
    probe = LinearProbe(weight_decays=[decay], task="values").fit(x, numbers)
    torch.testing.assert_close(probe.predict(x).double(), torch.from_numpy(wanted), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("task", ["labels", "values"])
def test_other_tasks_choose_on_the_part_held_out(task):
    x, y = blobs(120, 100, signal=0.4)
    test, wanted = blobs(400, 100, seed=1, signal=0.4)

    def labels(of):
        return torch.nn.functional.one_hot(of, 4) if task == "labels" else of.float()

    probe = LinearProbe(task=task).fit(x, labels(y))
    assert [trial["weight decay"] for trial in probe.trials] == list(WEIGHT_DECAYS)
    assert probe.chosen == {
        "weight decay": max(probe.trials, key=lambda trial: trial["score"])["weight decay"]
    }
    worst = min(probe.trials, key=lambda trial: trial["score"])["weight decay"]
    poor = LinearProbe(task=task, weight_decays=[worst]).fit(x, labels(y))
    assert probe.score(test, labels(wanted)) > poor.score(test, labels(wanted))


def test_a_validation_part_that_is_given_decides():
    x, y = blobs(200, 60, signal=0.4)
    held, wanted = blobs(200, 60, seed=1, signal=0.4)
    probe = LinearProbe().fit(x, y, validation=(held, wanted))
    alone = [LinearProbe(weight_decays=[decay]).fit(x, y).score(held, wanted) for decay in WEIGHT_DECAYS]
    assert [trial["score"] for trial in probe.trials] == pytest.approx(alone, abs=0.02)
    with pytest.raises(DataError, match="validation features have width 5, but the probe was fitted on 60"):
        LinearProbe().fit(x, y, validation=(held[:, :5], wanted))


def test_a_file_in_memory_gives_what_a_tensor_gives(tmp_path):
    x, y = blobs(100, 8)
    x = (x / 10).half()
    file = np.memmap(tmp_path / "features", np.float16, "w+", shape=(100, 8))
    file[:] = x.numpy()
    assert torch.equal(LinearProbe().fit(x, y).decision(x), LinearProbe().fit(file, y).decision(file))


def test_ridge_does_not_need_centred_inputs():
    x, y = blobs(100, 6)
    x, numbers = x / x.std(0) + 20, y[:, None].float()
    wanted = Ridge(alpha=10, solver="svd").fit(x.double().numpy(), numbers.double().numpy())
    weights = fit_ridge(x, numbers, decays=[0.1])
    theirs = torch.from_numpy(wanted.predict(x.double().numpy())).view(-1, 1)
    torch.testing.assert_close(apply_weights(x, weights)[0].double(), theirs, rtol=1e-3, atol=1e-3)
