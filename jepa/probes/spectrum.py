"""Health read off the spectrum of frozen features: how many directions they use, and how evenly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_features

EPSILON = 1e-7  # RankMe, equation 1
POWER_LAW_RANKS = (4, 100)  # first and last rank that the authors of alpha-ReQ fit in their code
FLOAT32 = 2.0**-23  # features are computed in float32: what is smaller, relative to them, is rounding
DELTA = 1e-4  # LiDAR's, of the mean squared feature


def effective_rank(features: Tensor) -> float:
    """Return RankMe (arXiv:2210.02885, equation 1) of (..., D) features, between 1 and min(n, D).

    It is the exponential of the entropy of the singular values, as shares of their sum. As in the paper
    nothing is centred: a mean that all samples share counts as one direction. Not-a-number when a feature
    is not finite or when there are none.

    It sees collapse. It cannot tell an untrained encoder, which passes the noise of its input on, from a trained
    one: on the encoders of `jepa demo` it gave the untrained one more (33 to 36, and 17 to 22).
    """
    values = features.detach().cpu().flatten(0, -2).double()
    if values.numel() == 0 or not torch.isfinite(values).all():
        return float("nan")
    # The eigenvalues of the smaller Gram matrix are the squared singular values. Double precision matters: in
    # single, rounding alone gives each empty direction about 3e-4 of the largest singular value.
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    return _entropy_rank(torch.linalg.eigvalsh(gram).clamp_min(0).sqrt())


def alpha_req(features: Tensor) -> float:
    """Return the power-law exponent of the covariance spectrum of (n, D) features (alpha-ReQ).

    The i-th largest eigenvalue is taken as proportional to i ** -alpha. alpha is the slope of a straight
    line through the logarithms, fitted by least squares with weights 1 / i over the ranks 4 to 100, or to
    the last eigenvalue above rounding. The paper (Agrawal et al., NeurIPS 2022; before it Ghosh et al.,
    arXiv:2202.05808) names no ranks; range and weights are those of its authors' code. Not-a-number when fewer
    than three ranks are left, as after collapse.

    The paper finds good encoders near 1: higher means few directions, lower means noise-like. It is no scale
    on which more is better, it does not see an offset or the size of features, and with narrow features the tail
    bends: on the encoders of `jepa demo` untrained got 1.4, trained 2.2, and one that had collapsed 1.1.
    Raises DataError when features are not a finite (n, D) table.
    """
    check_features(features, "features")
    spectrum = _variances(features)
    first, last = POWER_LAW_RANKS[0], min(POWER_LAW_RANKS[1], int((spectrum > _rounding(features)).sum()))
    if last - first < 2:
        return float("nan")
    rank = torch.arange(first, last + 1, dtype=torch.float64)
    weight = 1 / rank
    across, up = rank.log(), spectrum[first - 1 : last].log()
    across = across - (weight * across).sum() / weight.sum()
    return float(-(weight * across * up).sum() / (weight * across.square()).sum())


def lidar(views: Tensor) -> float:
    """Return LiDAR (arXiv:2312.04000, section 3, equations 1 to 4) of (n, V, D) views, between 1 and D.

    The V views of a clip are one class of a linear discriminant analysis. With S_b the covariance of the
    clips' means and S_w the mean covariance within clips plus delta on its diagonal, LiDAR is the exponential
    of the entropy of the eigenvalues of S_w^-1/2 S_b S_w^-1/2: in how many directions clips differ by more than
    their views do. delta, to which the paper gives no value, is 1e-4 of the mean squared feature, so that scale
    does not matter.

    The paper advises more clips than D and 10 to 50 views. The mean of V views still holds 1 / V of their variance,
    so every direction that only the views fill counts as well: with 4 views by crop and noise an untrained
    encoder got 93, its trained versions 48 to 56 of 128. With other moments of the same videos as views the order
    was right (18 against 19 to 22), but an encoder that had collapsed got 21: LiDAR counts directions, not how
    strong they are. Prefer ``clip_directions`` for few views.
    Raises DataError for values that are not finite, or fewer than 2 clips or views.
    """
    means, within, floor = _scatter(views)
    centred = means - means.mean(dim=0)
    spread = within + floor
    # With S_w = L L^T, the matrix L^-1 S_b L^-T has the eigenvalues of S_w^-1/2 S_b S_w^-1/2.
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), centred.T, upper=False)  # (D, n)
    return _entropy_rank(torch.linalg.eigvalsh(whitened @ whitened.T / len(means)).clamp_min(0))


def clip_directions(views: Tensor) -> float:
    """Return in how many directions (n, V, D) views tell clips apart, each counted by its strength: 0 to D.

    The sum of r / (1 + r) over the eigenvalues r > 0 of S_w^-1/2 (S_b - W / V) S_w^-1/2: LiDAR's matrix, less the
    share W / V of the variance within clips that the means of V views still hold. Each term is the share of a
    direction's variance that belongs to the clip and not to the view, so the sum is Pillai's trace (Annals of
    Mathematical Statistics 26, 1955) on components of variance. Directions weaker than a hundredth of a
    feature's size (the root of LiDAR's delta) hardly count, so collapse gives nearly 0.

    Not from a paper on encoders. On the encoders of `jepa demo` it alone put collapsed, untrained, half trained and
    fully trained in order, with crops, noise or other moments of a video as views. It rewards whatever the
    views leave alone, wanted or not: choose views that change what does not matter. It grows with D, and other
    n, V or kinds of view move it: compare like with like. Raises DataError as ``lidar`` does.
    """
    means, within, floor = _scatter(views)
    centred = means - means.mean(dim=0)
    between = centred.T @ centred / (len(means) - 1) - within / views.shape[1]
    factor = torch.linalg.cholesky(within + floor)
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    ratio = torch.linalg.eigvalsh(torch.linalg.solve_triangular(factor, half.T, upper=False)).clamp_min(0)
    return float((ratio / (1 + ratio)).sum())


@dataclass(frozen=True, slots=True)
class StdSpectrum:
    """How far features spread, in every direction and on average."""

    directions: tuple[float, ...]  # min(n, D) standard deviations along the principal axes, largest first
    mean_std: float  # the standard deviation of a feature, averaged over the D features
    relative: float  # root of the summed variances over root of the mean squared length, 0 (collapse) to 1


def std_spectrum(features: Tensor) -> StdSpectrum:
    """Return the standard deviations of (n, D) features along their principal axes.

    They are the roots of the covariance's eigenvalues (VICReg, arXiv:2105.04906, holds the plain ones up; Jing et
    al., arXiv:2110.09348, section 3, read dimensional collapse off the sorted spectrum). ``relative`` is 0
    when all clips have the same features, whatever the scale. It says that clips differ, not in what.
    Raises DataError when features are not a finite (n, D) table.
    """
    check_features(features, "features")
    values = features.detach().cpu().double()
    variances = _variances(features)
    total = float(values.square().sum(dim=1).mean())
    return StdSpectrum(
        directions=tuple(variances.sqrt().tolist()),
        mean_std=float(values.std(dim=0, correction=0).mean()),
        relative=float((variances.sum() / max(total, 1e-30)).sqrt().clamp_max(1)),
    )


def check_views(views: Tensor, *, least: int) -> None:
    """Refuse views that are not a finite (n, V, D) table with V of ``least`` or more; raises DataError."""
    if views.ndim != 3 or 0 in views.shape:
        raise DataError(f"views must be (clips, views, width) and not empty, got {tuple(views.shape)}")
    if views.shape[1] < least:
        raise DataError(f"this needs {least} views of each clip or more, got {views.shape[1]}")
    if views.shape[0] < 2:
        raise DataError(f"health compares clips: give 2 or more, got {views.shape[0]}")
    check_features(views.flatten(1), "views")


def _scatter(views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the clips' means (n, D), the covariance within clips (D, D), and LiDAR's delta times identity (D, D)."""
    check_views(views, least=2)
    values = views.detach().cpu().double()
    clips, count, width = values.shape
    means = values.mean(dim=1)
    rest = (values - means[:, None]).flatten(0, 1)  # (n * V, D)
    delta = DELTA * float(values.square().mean().clamp_min(1e-30))
    return means, rest.T @ rest / (clips * (count - 1)), delta * torch.eye(width, dtype=torch.float64)


def _entropy_rank(strengths: Tensor) -> float:
    """Return the exponential of the entropy of non-negative numbers, as shares of their sum."""
    shares = strengths / strengths.sum().clamp_min(1e-30) + EPSILON
    return float(torch.exp(-(shares * shares.log()).sum()).clamp_min(1))


def _variances(features: Tensor) -> Tensor:
    """Return the min(n, D) eigenvalues of the covariance of (n, D) features, largest first, in double."""
    values = features.detach().cpu().double()
    values = values - values.mean(dim=0)
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    return (torch.linalg.eigvalsh(gram) / len(values)).clamp_min(0).flip(0)


def _rounding(features: Tensor) -> float:
    """Return the variance that float32 rounding alone gives a direction."""
    return FLOAT32**2 * float(features.detach().double().square().mean())
