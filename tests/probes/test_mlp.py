import pytest
import torch
import torch.nn.functional as F

from jepa.probes.mlp import MlpNetwork, MlpProbe


@pytest.mark.parametrize("hidden", [0, 7])
def test_every_head_is_plain_layers(hidden):
    draw = torch.Generator().manual_seed(0)
    mean, scale = torch.randn(5, generator=draw), torch.rand(5, generator=draw)
    network = MlpNetwork(mean, scale, hidden, 3)
    weights = {
        name: one + torch.randn(4, *one.shape, generator=draw) for name, one in network.start(draw).items()
    }
    x = torch.randn(6, 5, generator=draw)
    answers = network.outputs(weights, network.share(x))
    for head in range(4):
        wanted = F.linear((x - mean) * scale, weights["fc1.weight"][head].T, weights["fc1.bias"][head])
        if hidden:
            wanted = F.linear(F.gelu(wanted), weights["fc2.weight"][head].T, weights["fc2.bias"][head])
        torch.testing.assert_close(answers[head], wanted)


def rings(n, *, seed=0):
    """Two classes that no straight cut tells apart, in features of very different scales, one of them constant."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=draw)
    return torch.cat([x * torch.tensor([1e3, 1e-2]) + 5, torch.full((n, 1), 3.0)], 1), (
        x.norm(dim=1) > 1.2
    ).long()


def test_a_hidden_layer_finds_what_a_straight_cut_cannot():
    x, y = rings(400)
    test, wanted = rings(300, seed=1)
    settings = {"learning_rates": [1e-2], "weight_decays": [0.01, 0.1], "epochs": 20, "batch_size": 32}
    assert MlpProbe(hidden=32, **settings).fit(x, y).score(test, wanted) > 0.9
    assert MlpProbe(hidden=0, **settings).fit(x, y).score(test, wanted) < 0.7


def test_features_are_standardised_by_the_training_part_in_portions(monkeypatch):
    x, y = rings(100)
    monkeypatch.setattr("jepa.probes.rows.BYTES_AT_ONCE", 4 * 3 * 7)
    probe = MlpProbe(hidden=0, learning_rates=[1e-3], weight_decays=[0], epochs=1).fit(x, y)
    torch.testing.assert_close(probe.network.mean, x.mean(0))
    torch.testing.assert_close(probe.network.scale[:2], 1 / x[:, :2].std(0, correction=0))
    assert probe.network.scale[2] == 0  # a constant feature stays silent, whatever the test set holds
    outlier = torch.cat([x, 1e4 * x[:1]])
    torch.testing.assert_close(probe.decision(outlier)[:100], probe.decision(x))


def test_a_validation_part_that_is_given_is_used_and_not_trained_on():
    x, y = rings(100)
    held, wanted = rings(50, seed=2)
    settings = {"hidden": 8, "learning_rates": [1e-3, 1e-2], "weight_decays": [0], "epochs": 3, "refit": True}
    one = MlpProbe(**settings).fit(x, y, validation=(held, wanted))
    other = MlpProbe(**settings).fit(x, y, validation=(held, 1 - wanted))
    assert one.trials[0]["score"] == pytest.approx(1 - other.trials[0]["score"])
    torch.testing.assert_close(one.network.mean, x.mean(0))
    again = MlpProbe(**settings | {"learning_rates": [one.chosen["learning rate"]]}).fit(x, y)
    torch.testing.assert_close(one.decision(x), again.decision(x), rtol=1e-4, atol=1e-5)


def test_hidden_is_no_negative_number():
    with pytest.raises(ValueError, match="hidden must be 0 or more, got -1"):
        MlpProbe(hidden=-1)
