"""The convex problems behind the linear probe, each solved for a whole grid of weight decays at once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.probes.lbfgs import minimise

Effort = tuple[int, float]  # L-BFGS iterations, gradient norm at which a problem rests


def fit_logistic(
    inputs: Tensor,
    target: Tensor,
    *,
    spectrum: Tensor,
    decays: Sequence[float],
    effort: Effort,
    is_one_of: bool,
) -> Tensor:
    """Fit one regression of labels per weight decay: (n, R), (n, C) of 0 and 1 -> (G, R + 1, C).

    The loss is the mean over samples of the cross-entropy, of one softmax over classes where a sample
    ``is_one_of`` them, else of one sigmoid per class and summed over classes, plus weight decay / 2 times the
    squared weights. The columns of ``inputs`` are uncorrelated, with variances ``spectrum`` (R,). The last
    weight is the bias, which is not decayed.
    """
    classes = target.shape[1]
    decay = torch.tensor(decays)[:, None, None]  # (G, 1, 1)
    penalty = decay * F.pad(torch.ones_like(spectrum), (0, 1))[:, None]  # (G, R + 1, 1): none on the bias
    # At zero weights the Hessian is about diag(spectrum) / C + penalty for each class of a softmax, and a quarter
    # of it for a sigmoid. In units of its root the curvature is about one in every direction, and tens of
    # iterations do where thousands would not.
    bend = F.pad(spectrum, (0, 1), value=1.0)[:, None] / (classes if is_one_of else 4)
    root = (bend + penalty).rsqrt()  # (G, R + 1, 1)
    with_one = F.pad(inputs, (0, 1), value=1.0)  # (n, R + 1)

    def evaluate(point: Tensor) -> tuple[Tensor, Tensor]:
        weights = point.view(len(decay), -1, classes) * root
        logits = apply_weights(inputs, weights)  # (G, n, C)
        if is_one_of:
            log_p = logits.log_softmax(dim=2)
            surprise, probability = -(log_p * target), log_p.exp()
        else:
            surprise, probability = F.softplus(logits) - logits * target, logits.sigmoid()
        loss = surprise.sum(dim=2).mean(dim=1) + (penalty * weights.square()).sum(dim=(1, 2)) / 2
        error = (probability - target) / len(target)  # (G, n, C)
        pull = (with_one.T @ error.transpose(0, 1).flatten(1)).view(-1, len(decay), classes).transpose(0, 1)
        return loss, ((pull + penalty * weights) * root).flatten(1)

    start = torch.zeros(len(decay), with_one.shape[1] * classes)
    found = minimise(evaluate, start, iterations=effort[0], tolerance=effort[1])
    return found.view(len(decay), -1, classes) * root


def fit_ridge(inputs: Tensor, target: Tensor, *, decays: Sequence[float]) -> Tensor:
    """Fit one regression of numbers per weight decay in closed form: (n, R), (n, K) -> (G, R + 1, K).

    The loss is half the mean squared error plus weight decay / 2 times the squared weights. The last weight is
    the bias, which is not decayed.
    """
    x, y = inputs.double(), target.double()
    middle, level = x.mean(dim=0), y.mean(dim=0)
    centred = x - middle
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(x))  # (R,), (R, R)
    pull = axes.T @ (centred.T @ (y - level)) / len(x)  # (R, K)
    decay = torch.tensor(decays, dtype=torch.double)[:, None, None]
    weights = axes @ (pull / (variances.clamp_min(0)[:, None] + decay))  # (G, R, K)
    bias = level - middle @ weights  # (G, K)
    return torch.cat([weights, bias[:, None]], dim=1).float()


def apply_weights(inputs: Tensor, weights: Tensor) -> Tensor:
    """Apply G linear maps with bias: (n, R), (G, R + 1, C) -> (G, n, C), as one large product."""
    joined = weights[:, :-1].transpose(0, 1).flatten(1)  # (R, G * C)
    scores = (inputs @ joined).view(len(inputs), len(weights), -1)  # (n, G, C)
    return scores.transpose(0, 1) + weights[:, -1:]


def standardiser(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and inverse deviation of each feature; a constant one gets 0 and stays silent."""
    values = features.detach().cpu().double()
    mean, deviation = values.mean(dim=0), values.std(dim=0, correction=0)
    return mean.float(), inverse_deviation(mean, deviation).float()


def inverse_deviation(mean: Tensor, deviation: Tensor) -> Tensor:
    """Invert deviations; 0 where a feature varies no more than by rounding."""
    varies = deviation > 1e-6 * (1 + mean.abs())
    return torch.where(varies, 1 / deviation.clamp_min(1e-30), 0)


def rotate(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate onto the principal axes that the samples span: (n, D) -> (n, R), (D, R), variances (R,).

    A weight outside that span changes no answer and costs penalty, so where n < D time is won and nothing
    lost.
    """
    n, width = values.shape
    wide = width > n
    exact = values.double()
    variances, axes = torch.linalg.eigh((exact @ exact.T if wide else exact.T @ exact) / n)
    keep = variances > 1e-9 * variances[-1].clamp_min(1e-30)
    variances, axes = variances[keep], axes[:, keep]
    if wide:
        axes = exact.T @ axes / (n * variances).sqrt()
    return (exact @ axes).float(), axes.float(), variances.float()
