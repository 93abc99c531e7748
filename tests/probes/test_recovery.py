"""Action recovery by hand, and an energy landscape whose lowest place is known."""

import pytest
import torch

from jepa.errors import DataError
from jepa.probes.recovery import landscape, recovery


def test_differences_by_hand():
    recorded = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]])  # (1, 2, 2)
    proposed = torch.tensor([[[1.0, 0.0], [0.0, 6.0]]])
    found = recovery(proposed, recorded, std=torch.tensor([1.0, 2.0]))
    # In deviations: first action (1, 0), second (-1, 2); their mean (0, 1).
    assert found.to_dict() == {"each": 1.0, "first": 0.5, "total": 0.5}


def test_the_recorded_actions_are_recovered():
    actions = torch.randn(3, 4, 2)
    assert recovery(actions, actions, std=torch.ones(2)).each == 0


def test_shapes_that_differ():
    with pytest.raises(DataError, match=r"proposed actions \(1, 2, 2\), recorded \(1, 3, 2\)"):
        recovery(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), std=torch.ones(2))


def test_the_lowest_energy_is_where_it_is():
    recorded = torch.randn(5, 3, 4)
    shift = torch.tensor([0.0, 0.4, 0.0, -0.2])

    def energy(actions):  # (B, S, H, A): lowest at recorded + shift
        return (actions - recorded[:, None] - shift).square().sum((2, 3))

    field = landscape(energy, recorded, axes=(1, 3), reach=torch.tensor([1.0, 0.5]), side=11)
    assert field.lowest == (pytest.approx(0.4), pytest.approx(-0.2))
    assert (len(field.energy), len(field.energy[0])) == (11, 11)
    flat = torch.tensor(field.energy)
    assert 0 <= float(flat.min()) < 0.01 and float(flat.max()) <= 1
    assert field.to_dict()["lowest"] == list(field.lowest)


def test_only_the_two_numbers_move():
    recorded = torch.zeros(1, 2, 3)
    seen = []
    landscape(lambda a: seen.append(a) or a.sum((2, 3)), recorded, axes=(0, 2), reach=torch.ones(2), side=3)
    moved = seen[0][0]  # (9, 2, 3)
    assert (moved[..., 1] == 0).all()
    assert sorted({tuple(row) for row in moved[:, 0, [0, 2]].tolist()}) == sorted(
        (x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)
    )
    assert torch.equal(moved[:, 0], moved[:, 1])  # every step alike


def test_pairs_count_alike_whatever_the_size_of_their_energy():
    recorded = torch.zeros(2, 1, 2)

    def field(scale, offset):  # (B, S, 1, 2): the second pair's energy is lowest elsewhere
        lowest = torch.tensor([[0.0, 0.0], [0.5, 0.0]])

        def energy(actions):
            distance = (actions[:, :, 0] - lowest[:, None]).square().sum(2)  # (B, S)
            return torch.tensor(offset)[:, None] + torch.tensor(scale)[:, None] * distance

        return torch.tensor(landscape(energy, recorded, axes=(0, 1), reach=torch.ones(2), side=5).energy)

    torch.testing.assert_close(field([1.0, 1.0], [0.0, 0.0]), field([1.0, 1000.0], [7.0, -50.0]))
