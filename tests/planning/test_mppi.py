import numpy as np
import pytest
import torch

from jepa.planning import MPPI, BoxSpace
from jepa.planning.mppi import weights

UNIT = BoxSpace(-torch.ones(1), torch.ones(1))


def test_weights_are_the_papers_and_do_not_depend_on_the_costs_scale_or_offset(generator):
    costs = torch.rand(3, 20, generator=generator)
    for row in range(3):
        c = costs[row].double().numpy()
        expected = np.exp(-(c - c.min()) / (0.3 * c.std()))
        np.testing.assert_allclose(weights(costs, 0.3)[row], expected / expected.sum(), rtol=1e-4)
    torch.testing.assert_close(weights(1000 * costs + 7, 0.3), weights(costs, 0.3), rtol=1e-2, atol=1e-4)


def test_equal_costs_get_equal_weights():
    torch.testing.assert_close(weights(torch.full((1, 4), 3.0), 0.1), torch.full((1, 4), 0.25))


def test_the_centre_moves_to_the_weighted_mean():
    seen = []

    def cost(actions):
        seen.append(actions)
        return actions.sum(dim=(2, 3))

    MPPI(samples=30, iterations=2, temperature=0.5).solve(
        cost, horizon=2, action_space=UNIT, generator=torch.Generator()
    )
    first, second, last = seen
    share = weights(first.sum(dim=(2, 3)), 0.5)[..., None, None]
    torch.testing.assert_close(second[:, 0], (share * first).sum(dim=1))
    assert last.shape == (1, 1, 2, 1)  # what the last round led to


@pytest.mark.parametrize("samples", [1, 2])
def test_few_samples_are_enough_to_run(samples):
    plan = MPPI(samples=samples).solve(lambda actions: actions.sum(dim=(2, 3)), horizon=2, action_space=UNIT)
    assert plan.actions.shape == (1, 2, 1)
