"""Health read off directions alone: are clips spread over the sphere, and are views of a clip together?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_features
from jepa.probes.spectrum import check_views

SHARPNESS = 2.0  # t of Wang & Isola
BLOCK = 1024  # rows compared at once, to bound memory


def uniformity(features: Tensor) -> float:
    """Return how evenly (n, D) features lie on the unit sphere (Wang & Isola, arXiv:2005.10242, section 4.1.2).

    The logarithm of the mean of exp(-2 |u - v|^2) over all pairs of different clips: 0 when all lie on one
    point, about -4 when spread evenly in many dimensions; lower is more even. Nothing is centred, so an offset
    that all clips share looks like collapse. Collapse is seen; noise is as uniform as signal, and on the
    encoders of `jepa demo` some trained ones were more even than untrained ones and some less.
    Raises DataError for features that are not finite, or one clip alone.
    """
    check_features(features, "features")
    if len(features) < 2:
        raise DataError(f"uniformity compares clips: give 2 or more, got {len(features)}")
    unit = F.normalize(features.detach().cpu().double(), dim=1)
    total = 0.0
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK]
        squared = 2 - 2 * block @ unit.T  # (b, n)
        total += float((-SHARPNESS * squared).exp().sum())
    pairs = len(unit) * (len(unit) - 1)
    # A zero feature is as far from itself as from any other: what it adds on the diagonal is taken off again.
    own = float((-SHARPNESS * (2 - 2 * unit.square().sum(dim=1))).exp().sum())
    return float(torch.tensor((total - own) / pairs, dtype=torch.float64).log())


def alignment(views: Tensor) -> float:
    """Return how near the views of a clip are: (n, V, D) (Wang & Isola, arXiv:2005.10242, section 4.1.1).

    The mean of |u - v|^2 over all pairs of views of one clip, on the unit sphere: 0 to 4, lower is nearer.
    It is 0 after collapse, so it means something beside ``uniformity`` only, and an encoder that ignores its
    input is perfectly aligned. Raises DataError for values that are not finite, or fewer than 2 clips or views.
    """
    check_views(views, least=2)
    unit = F.normalize(views.detach().cpu().double(), dim=2)  # (n, V, D)
    count = unit.shape[1]
    # The sum of |u - v|^2 over pairs is V times the sum of |u|^2, less |sum of u|^2.
    squared = count * unit.square().sum(dim=(1, 2)) - unit.sum(dim=1).square().sum(dim=1)  # (n,)
    return float(squared.mean() / (count * (count - 1) / 2))
