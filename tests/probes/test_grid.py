import math

import numpy as np
import pytest
import torch

from jepa.errors import DataError
from jepa.probes import training
from jepa.probes.adamw import StackedAdamW
from jepa.probes.attentive import AttentiveProbe
from jepa.probes.mlp import MlpProbe
from jepa.probes.training import learning_rate_scale


def blobs(n, *, width=12, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=draw)
    return torch.randn(n, width, generator=draw) + 2 * torch.nn.functional.one_hot(labels, width), labels


def test_adamw_is_torchs_for_every_head():
    draw = torch.Generator().manual_seed(0)
    rates, decays = torch.tensor([1e-2, 1e-4, 0.3]), torch.tensor([0.5, 0.0, 0.1])
    start = [torch.randn(4, 5, generator=draw), torch.randn(6, generator=draw)]
    stacked = [one.expand(3, *one.shape).clone().requires_grad_() for one in start]
    together = StackedAdamW(stacked, learning_rates=rates, weight_decays=decays)
    alone = [[one.clone().requires_grad_() for one in start] for _ in range(3)]
    peers = [
        torch.optim.AdamW(
            [{"params": one[:1], "weight_decay": decay.item()}, {"params": one[1:], "weight_decay": 0}]
        )
        for one, decay in zip(alone, decays, strict=True)
    ]
    for step in range(20):
        scale = 1 / (1 + step)
        gradients = [10.0 ** -(3 * step % 7) * torch.randn(one.shape, generator=draw) for one in stacked]
        for weight, gradient in zip(stacked, gradients, strict=True):
            weight.grad = gradient.clone()
        together.step(scale)
        for head, (one, peer) in enumerate(zip(alone, peers, strict=True)):
            for weight, gradient in zip(one, gradients, strict=True):
                weight.grad = gradient[head]
            for group in peer.param_groups:
                group["lr"] = scale * rates[head].item()
            peer.step()
    for number, weight in enumerate(stacked):
        torch.testing.assert_close(weight, torch.stack([one[number] for one in alone]), rtol=1e-4, atol=1e-6)


def test_learning_rate_rises_for_a_tenth_and_falls_to_nothing():
    scales = [learning_rate_scale(step, 100) for step in range(100)]
    assert scales[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert all(late < early for early, late in zip(scales[9:-1], scales[10:], strict=True))
    assert scales[55] == pytest.approx(0.5, abs=0.03)
    assert 0 < scales[-1] < 1e-3
    assert learning_rate_scale(0, 1) == 1


def make(kind, rates, decays, **settings):
    if kind == "mlp":
        return MlpProbe(hidden=16, learning_rates=rates, weight_decays=decays, **settings)
    blocks = {"attentive": 0, "attentive with blocks": 1}[kind]
    return AttentiveProbe(blocks=blocks, heads=2, learning_rates=rates, weight_decays=decays, **settings)


@pytest.mark.parametrize("kind", ["mlp", "attentive", "attentive with blocks"])
@pytest.mark.parametrize("memory", [2**30, 2**13])
def test_a_grid_is_its_heads_one_by_one(kind, memory, monkeypatch):
    """Whatever the other heads do, and however many fit into memory at a time."""
    x, y = blobs(70)
    x = x if kind == "mlp" else torch.stack([x, x.flip(0), x.roll(1, 1)], 1)
    settings = {"epochs": 2, "batch_size": 16, "refit": False}
    held = (x[50:], y[50:])
    with monkeypatch.context() as patch:
        patch.setattr(training, "BYTES_AT_ONCE", memory)
        grid = make(kind, (1e-2, 1e-3), (0.0, 0.5), **settings).fit(x[:50], y[:50], validation=held)
    assert len({trial["loss"] for trial in grid.trials}) == 4
    for number, trial in enumerate(grid.trials):
        point = (trial["learning rate"],), (trial["weight decay"],)
        alone = make(kind, *point, **settings).fit(x[:50], y[:50], validation=held)
        assert alone.trials[0] == pytest.approx(trial, rel=1e-4)
        for epoch, other in zip(grid.history, alone.history, strict=True):
            mine = {name: of[number] for name, of in epoch.items()}
            assert mine == pytest.approx({name: of[0] for name, of in other.items()}, rel=1e-4)
        if trial == {name: grid.chosen.get(name, trial[name]) for name in trial}:
            torch.testing.assert_close(grid.decision(x), alone.decision(x), rtol=1e-3, atol=1e-4)


def test_the_head_with_the_best_validation_score_is_chosen_and_fitted_again_on_all():
    x, y = blobs(120)
    probe = make("mlp", (1e-6, 1e-2), (0.0, 0.1), epochs=6, batch_size=32).fit(x, y)
    best = max(probe.trials, key=lambda trial: (trial["score"], -trial["loss"]))
    assert probe.chosen == {name: best[name] for name in ("learning rate", "weight decay")}
    assert probe.chosen["learning rate"] == 1e-2
    point = (probe.chosen["learning rate"],), (probe.chosen["weight decay"],)
    alone = make("mlp", *point, epochs=6, batch_size=32).fit(x, y)
    assert torch.equal(probe.decision(x), alone.decision(x))
    assert [len(epoch["score"]) for epoch in probe.history] == [4] * 6
    unfitted = make("mlp", (1e-6, 1e-2), (0.0, 0.1), epochs=6, batch_size=32, refit=False).fit(x, y)
    assert unfitted.chosen == probe.chosen
    assert not torch.equal(probe.decision(x), unfitted.decision(x))


def test_groups_are_not_torn_by_the_choice():
    """A video's copies on both sides would reward learning by heart: the score would be perfect."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 30, generator=draw), torch.randint(0, 2, (60,), generator=draw)
    copies, labels = x.repeat_interleave(4, 0), y.repeat_interleave(4)
    settings = {"rates": (1e-2,), "decays": (0.0, 0.01), "epochs": 20, "batch_size": 32}
    torn = make("mlp", **settings).fit(copies, labels)
    whole = make("mlp", **settings).fit(copies, labels, [f"v{i // 4}" for i in range(240)])
    assert torn.trials[0]["score"] > 0.95
    assert whole.trials[0]["score"] < 0.8


def test_a_head_that_diverges_is_never_chosen():
    x, y = blobs(60)
    probe = make("mlp", (1e38, 1e-3), (0.0,), epochs=3).fit(x, y)
    assert probe.chosen["learning rate"] == 1e-3
    assert math.isnan(probe.trials[0]["loss"])
    assert math.isfinite(probe.trials[1]["loss"])
    assert torch.isfinite(probe.decision(x)).all()
    with pytest.raises(DataError, match=r"all 2 heads diverged: .* learning rates 1e\+38, 5e\+37; lower"):
        make("mlp", (1e38, 5e37), (0.0,), epochs=3).fit(x, y)
    with pytest.raises(DataError, match=r"the head diverged: .* learning rates 1e\+38; lower"):
        make("mlp", (1e38,), (0.0,), epochs=3).fit(x, y)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_file_in_memory_gives_what_a_tensor_gives(tmp_path, dtype):
    x, y = blobs(80)
    x = x.half()
    file = np.memmap(tmp_path / "features", dtype, "w+", shape=(80, 12))
    file[:] = x.numpy()
    file.flush()
    read_only = np.memmap(tmp_path / "features", dtype, "r", shape=(80, 12))
    settings = {"rates": (1e-3, 1e-2), "decays": (0.1,), "epochs": 2}
    one, other = make("mlp", **settings).fit(x, y), make("mlp", **settings).fit(read_only, y)
    assert torch.equal(one.decision(x), other.decision(read_only))


def test_equal_seeds_give_equal_heads_and_others_do_not():
    x, y = blobs(60)
    settings = {"rates": (1e-3,), "decays": (0.1, 0.2), "epochs": 2}
    first, again, other = (make("mlp", **settings, seed=seed).fit(x, y).decision(x) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("kind", ["mlp", "attentive", "attentive with blocks"])
def test_bfloat16_is_near_float32_and_keeps_weights_exact(kind):
    x, y = blobs(60)
    x = x if kind == "mlp" else x[:, None].repeat(1, 3, 1)
    settings = {"rates": (1e-2,), "decays": (0.0,), "epochs": 3}
    full, half = (make(kind, **settings, dtype=dtype).fit(x, y) for dtype in ("float32", "bfloat16"))
    assert {weight.dtype for weight in half.weights.values()} == {torch.float32}
    torch.testing.assert_close(full.decision(x), half.decision(x), rtol=0.2, atol=0.2)
    assert not torch.equal(full.decision(x), half.decision(x))


@pytest.mark.parametrize("kind", ["mlp", "attentive"])
def test_labels_and_values(kind):
    x, y = blobs(300)
    test, wanted = blobs(200, seed=1)
    if kind == "attentive":
        x, test = x[:, None].repeat(1, 2, 1), test[:, None].repeat(1, 2, 1)
    settings = {"rates": (1e-5, 1e-2), "decays": (0.01,), "epochs": 10, "batch_size": 32}

    def table(labels):
        return torch.stack([labels == 0, labels > 0], 1).long()

    probe = make(kind, **settings, task="labels").fit(x, table(y))
    assert probe.score(test, table(wanted)) > 0.9
    assert set(probe.predict(test).flatten().tolist()) == {0, 1}
    assert 0 < probe.predict_proba(test).min() < probe.predict_proba(test).max() < 1

    def numbers(labels):
        return torch.stack([1000 + 5.0 * labels, -0.001 * (labels == 1)], 1)

    probe = make(kind, **settings, task="values").fit(x, numbers(y))
    assert probe.score(test, numbers(wanted)) > 0.5
    assert probe.predict(test)[:, 0].mean() == pytest.approx(numbers(wanted)[:, 0].mean(), abs=1)
    with pytest.raises(ValueError, match="no probabilities; call predict"):
        probe.predict_proba(test)


def test_classes_are_the_labels_as_given():
    x, y = blobs(90)
    probe = make("mlp", (1e-2,), (0.0,), epochs=8, batch_size=16).fit(x, torch.tensor([4, 11, 90])[y])
    assert probe.classes == (4, 11, 90)
    assert set(probe.predict(x).tolist()) <= {4, 11, 90}
    assert probe.score(x, torch.tensor([4, 11, 90])[y]) > 0.8
    torch.testing.assert_close(probe.predict_proba(x).sum(1), torch.ones(90))


class TestRefuses:
    x, y = blobs(40)

    def fit(self, x=None, y=None, groups=None, **settings):
        rates = settings.pop("rates", (1e-3, 1e-2))
        probe = make("mlp", rates, (0.0,), epochs=1, **settings)
        return probe.fit(self.x if x is None else x, self.y if y is None else y, groups)

    def test_features(self):
        bad = self.x.clone()
        bad[[3, 9], 2] = torch.nan
        with pytest.raises(
            DataError, match="training features: 2 of 40 rows hold NaN or infinity, first row 3"
        ):
            self.fit(bad)
        with pytest.raises(
            DataError, match=r"training features must be \(samples, width\) and not empty, got \(40, 1, 12\)"
        ):
            self.fit(self.x[:, None])
        with pytest.raises(
            DataError, match=r"test features have shape \(5,\), but the head was fitted on \(12,\)"
        ):
            self.fit().predict(self.x[:, :5])
        with pytest.raises(DataError, match="test features: 2 of 40"):
            self.fit().predict(bad)

    def test_labels(self):
        with pytest.raises(DataError, match="40 of 40 samples have no label"):
            self.fit(y=self.y - 5)
        with pytest.raises(DataError, match="all 40 training labels are 0; a probe needs two classes"):
            self.fit(y=0 * self.y)
        with pytest.raises(DataError, match=r"test labels \[3\] never occur in training"):
            self.fit().score(self.x, self.y + 1)
        with pytest.raises(DataError, match="40 samples need 40 groups, got 1"):
            self.fit(groups=["v"])
        with pytest.raises(DataError, match="40 samples in 1 groups are too few to choose"):
            self.fit(groups=["v"] * 40)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"rates": ()}, r"learning_rates must be positive and not empty, got \[\]"),
            ({"rates": (0.0,)}, r"learning_rates must be positive and not empty, got \[0.0\]"),
            ({"batch_size": 0}, "epochs and batch_size must be 1 or more, got 1 and 0"),
            ({"dtype": "float16"}, "dtype must be float32 or bfloat16, got 'float16'"),
            ({"task": "class"}, "task must be one of .*, got 'class'"),
        ],
    )
    def test_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            self.fit(**settings)


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own(monkeypatch):
    seen = []
    batch = training.Samples.batch

    def watched(self, numbers, device):
        seen.append(numbers.tolist())
        return batch(self, numbers, device)

    monkeypatch.setattr(training.Samples, "batch", watched)
    x, y = blobs(50)
    for seed in (0, 1):
        make("mlp", (1e-3,), (0.0,), epochs=2, batch_size=20, seed=seed).fit(x, y)
    epochs = [seen[first : first + 3] for first in range(0, 12, 3)]
    assert all(sorted(sum(epoch, [])) == list(range(50)) for epoch in epochs)
    assert {len(numbers) for numbers in seen} == {16, 17}
    assert len({str(epoch) for epoch in epochs}) == 4


def test_a_head_whose_loss_was_infinite_once_is_not_trusted_at_the_end():
    probe = make("mlp", (1e-2, 1e-3), (0.0,))
    spike = {"training loss": [math.inf, 1.0], "score": [0.9, 0.5], "loss": [0.1, 1.0]}
    calm = {"training loss": [0.1, 1.0], "score": [0.9, 0.5], "loss": [0.1, 1.0]}
    points = [training.Point(1e-2, 0.0), training.Point(1e-3, 0.0)]
    assert probe._choose(points, training.Trained({}, [spike, calm])) == 1
    assert math.isnan(probe.trials[0]["score"])
