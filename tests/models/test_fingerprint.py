"""A fingerprint changes with everything that features depend on."""

import torch
from torch import nn

from jepa.models.fingerprint import fingerprint


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_the_same_weights_and_settings_have_one_name():
    assert fingerprint(network(), {"a": 1, "b": [2]}) == fingerprint(network(), {"b": [2], "a": 1})


def test_any_weight_any_buffer_and_any_setting_counts():
    plain = fingerprint(network(), {"a": 1})
    nudged, counted, halved = network(), network(), network().half()
    with torch.no_grad():
        nudged[0].bias[2] = torch.nextafter(nudged[0].bias[2], torch.tensor(9.0))
    counted[1].num_batches_tracked += 1
    others = [fingerprint(one, {"a": 1}) for one in (network(1), nudged, counted, halved)]
    others += [fingerprint(network(), {"a": 2}), fingerprint(None, {"a": 1})]
    assert len({plain, *others}) == 7


def test_names_count_too():
    one, other = nn.ModuleDict({"a": nn.Linear(1, 1)}), nn.ModuleDict({"b": nn.Linear(1, 1)})
    other["b"].load_state_dict(one["a"].state_dict())
    assert fingerprint(one, {}) != fingerprint(other, {})
