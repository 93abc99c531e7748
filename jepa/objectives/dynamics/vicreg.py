"""Variance and covariance of latents over the batch, the two terms of VICReg that stop collapse."""

import torch
from torch import Tensor

from jepa.runtime.distributed import rows_of_all_ranks

EPSILON = 1e-4  # under the root, so that its gradient stays finite (VICReg, equation 2)


def variance_loss(z: Tensor) -> Tensor:
    """Return how far each channel's deviation over the batch falls short of 1: (B, T, C) -> scalar.

    max(0, 1 - sqrt(Var + epsilon)), averaged over time steps and channels; .99 for constant latents. Source: VICReg,
    arXiv:2105.04906, equations 1 and 2; PLDM takes the variance per time step, arXiv:2502.14819, section 3.
    """
    z = rows_of_all_ranks(z)
    deviation = (z.float().var(dim=0) + EPSILON).sqrt()  # (T, C)
    return (1 - deviation).relu().mean()


def covariance_loss(z: Tensor) -> Tensor:
    """Return the squared covariances between channels over the batch: (B, T, C) -> scalar.

    The off-diagonal entries' squares are summed and divided by C, then averaged over time steps (VICReg, equations 3
    and 4; PLDM). PLDM's released code divides by C * (C - 1): divide a weight from there by C - 1.
    """
    z = rows_of_all_ranks(z)
    centred = (z.float() - z.float().mean(dim=0)).transpose(0, 1)  # (T, B, C)
    covariance = centred.transpose(1, 2) @ centred / (len(z) - 1)  # (T, C, C)
    on_diagonal = torch.diagonal(covariance, dim1=1, dim2=2).square().sum()
    return (covariance.square().sum() - on_diagonal) / (z.shape[1] * z.shape[2])
