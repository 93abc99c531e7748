"""Inverse dynamics: which frames they read, and that they learn."""

import torch

from jepa.objectives.dynamics.inverse import InverseDynamics


def test_inverse_dynamics_read_the_action_of_their_own_pair(make):
    """The latents of frames t and t + 1, and no others, decide action t."""
    objective, batch = make("pldm")
    z = objective.encode(batch).detach().requires_grad_()
    (reach,) = torch.autograd.grad(objective.inverse(z)[:, 2].sum(), z)
    assert reach.flatten(2).any(-1).any(0).tolist() == [False, False, True, True, False, False]
    assert objective.inverse(z).shape == (4, 5, 4)


def test_inverse_dynamics_learn_an_action_that_latents_show(generator):
    torch.manual_seed(0)
    actions = torch.randn(256, 3, 2, generator=generator)
    z = torch.cat([torch.zeros(256, 1, 2), actions.cumsum(1)], 1).unsqueeze(2)  # positions: (B, T, 1, D)
    inverse = InverseDynamics(2, 2)
    optimizer = torch.optim.Adam(inverse.parameters(), lr=3e-3)
    for _ in range(100):
        loss = (inverse(z) - actions).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02  # the mean action leaves 1
