"""Surprise: how far the features of what comes next are from those that the predictor expected."""

import math
from typing import Protocol

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.anticipation import TokenPredictor
from jepa.probes.metrics import Measure
from jepa.runtime.seeding import generator
from jepa.types import Grid, Masks

DRAWS = 2000  # bootstrap samples
LAWFUL_SHARE = 0.9  # of the possible videos that the threshold of `absolute_accuracy` calls possible


class ContextEncoder(Protocol):
    """What is asked of the encoder: tokens of the visible part, and where tokens lie."""

    def __call__(self, clip: Tensor, /, *, keep: Tensor) -> Tensor:
        """(B, C, T, H, W), (B, K) long -> (B, K, D)."""
        ...

    def grid(self, shape: torch.Size, /) -> Grid:
        """Return the grid of the tokens of a clip of ``shape``."""
        ...


class Foresight(Protocol):
    """A model that expects something: every objective of `jepa.objectives` is one."""

    @property
    def encoder(self) -> ContextEncoder:
        """Sees the context."""
        ...

    @property
    def predictor(self) -> TokenPredictor:
        """Fills in what follows."""
        ...

    def targets(self, clip: Tensor, /) -> Tensor:
        """Return what the predictor aims at: (B, C, T, H, W) -> (B, N, D)."""
        ...


def window_starts(frames: int, *, window: int, stride: int) -> Tensor:
    """Return the first frames of the windows that fit into a video: (windows,) long.

    Raises DataError when not one fits.
    """
    if window < 1 or stride < 1:
        raise DataError(
            f"window={window}, stride={stride}: both are counted in frames and must be at least 1"
        )
    if frames < window:
        raise DataError(
            f"a video of {frames} frames is shorter than one window of {window}; give longer videos, or a model "
            "that was trained on shorter clips"
        )
    return torch.arange(0, frames - window + 1, stride)


@torch.inference_mode()
def surprise(
    model: Foresight,
    video: Tensor,
    *,
    window: int,
    context: float = 0.5,
    stride: int = 2,
    pattern: int = 0,
    windows_at_once: int = 64,
) -> Tensor:
    """Return the prediction error of every window of every video: (B, C, T, H, W) -> (B, windows).

    A window of ``window`` frames, the length the model was trained on, moves over the video by ``stride`` frames. The
    encoder sees its first time steps, a fraction ``context`` of them as in `masks.causal`; the predictor, asked with
    mask token ``pattern``, fills in the rest; surprise is the mean absolute difference to the targets, which are
    encoded from the whole window (arXiv:2502.11831; facebookresearch/jepa-intuitive-physics at 41fbfff,
    evals/intuitive_physics/eval.py, ``extract_losses``: 16 frames, stride 2, contexts of 2 to 10 frames). Raises
    DataError when the video is shorter than a window, when the context leaves nothing to predict, and when an error
    is not finite.
    """
    starts = window_starts(video.shape[2], window=window, stride=stride)
    clips = video.unfold(2, window, stride).movedim(2, 1).movedim(-1, 3)  # (B, windows, C, window, H, W)
    grid = model.encoder.grid(clips.shape[1:])
    steps = round(context * grid.time)
    if not 0 < steps < grid.time:
        raise DataError(
            f"context {context:g} shows {steps} of {grid.time} time steps; show at least one and hide at least one"
        )
    index = torch.arange(grid.tokens, device=video.device)
    seen = steps * grid.height * grid.width
    errors = []
    for part in torch.split(clips.flatten(0, 1), windows_at_once):
        places = index.expand(len(part), -1)
        masks = Masks(context=places[:, :seen], target=places[:, seen:])
        known = model.encoder(part, keep=masks.context)  # (b, K, D)
        expected = model.predictor(known, masks, grid, pattern)  # (b, M, D)
        actual = model.targets(part)[:, seen:]  # (b, M, D)
        errors.append((expected - actual).abs().mean(dim=(1, 2)))
    return _finite(torch.cat(errors).view(len(video), len(starts)), "prediction error")


def pixel_surprise(video: Tensor, *, order: int = 1) -> Tensor:
    """Return the error of guessing each next frame without learning anything: (B, C, T, H, W) -> (B, T - order).

    order 1 expects the last frame again, order 2 goes on as from the last but one to the last; the error is the mean
    absolute difference of pixels. Raises DataError for a video that is too short.
    """
    if order < 1 or video.shape[2] <= order:
        raise DataError(f"order={order} needs a video of more than {order} frames, got {video.shape[2]}")
    # The n-th difference of neighbours is a frame minus its guess: x' - x, or x'' - (2 x' - x).
    return _finite(video.diff(n=order, dim=2).abs().mean(dim=(1, 3, 4)), "pixel error")


def relative_accuracy(possible: Tensor, impossible: Tensor, *, seed: int = 0) -> Measure:
    """Return the share of matched pairs in which the impossible video surprises more: (P,), (P,) -> value, interval.

    Ties count one half. The scores are means over a video's windows: the two videos of a pair share all that is
    surprising but the event (arXiv:2502.11831; ``compute_metrics`` there, "Relative Accuracy (avg)", where ties are
    wrong). The interval is a 95% percentile bootstrap over pairs. Raises DataError for scores that are not finite or
    not paired.
    """
    _check_scores(possible, impossible)
    if len(possible) != len(impossible):
        raise DataError(
            f"{len(possible)} possible and {len(impossible)} impossible videos are not matched pairs"
        )
    right = _wins(impossible, possible)  # (P,)
    draws = torch.randint(len(right), (DRAWS, len(right)), generator=generator(seed, "bootstrap"))
    low, high = right[draws].mean(dim=1).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return Measure(float(right.mean()), low, high)


def auroc(possible: Tensor, impossible: Tensor) -> float:
    """Return the chance that any impossible video surprises more than any possible one: (P,), (Q,) -> [0, 1].

    For single, unmatched videos; the scores are maxima over a video's windows (arXiv:2502.11831; ``compute_metrics``
    there, "AUROC (max)"). Ties count one half.
    """
    _check_scores(possible, impossible)
    return float(_wins(impossible[:, None], possible[None]).mean())


def absolute_accuracy(possible: Tensor, impossible: Tensor) -> float:
    """Return the share of single videos on the right side of a threshold: (P,), (Q,) -> [0, 1].

    The threshold calls nine tenths of the possible videos possible, and is set on these very videos, as published
    (arXiv:2502.11831; ``compute_metrics`` there, "Absolute Accuracy (max)"): mind that when comparing.
    """
    _check_scores(possible, impossible)
    rank = min(math.ceil(LAWFUL_SHARE * len(possible)), len(possible) - 1)
    threshold = possible.sort().values[rank]
    right = (possible < threshold).sum() + (impossible > threshold).sum()
    return float(right) / (len(possible) + len(impossible))


def mean_by(values: Tensor, moments: Tensor) -> dict[int, float]:
    """Average values of the same moment: (n,), (n,) long -> moment -> mean, in order of time."""
    return {int(at): float(values[moments == at].mean()) for at in torch.unique(moments)}


def _wins(larger: Tensor, smaller: Tensor) -> Tensor:
    """Return 1 where the first is larger, one half for a tie, else 0."""
    return (larger > smaller).double() + 0.5 * (larger == smaller).double()


def _check_scores(possible: Tensor, impossible: Tensor) -> None:
    """Refuse scores that are not two finite rows of numbers."""
    for name, scores in (("possible", possible), ("impossible", impossible)):
        if scores.ndim != 1 or len(scores) == 0:
            raise DataError(f"scores of {name} videos must be one number each, got {tuple(scores.shape)}")
        _finite(scores, f"score of {name} videos")


def _finite(values: Tensor, what: str) -> Tensor:
    """Return ``values``. Raises DataError when one is NaN or infinite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"{what}: {bad} of {values.numel()} values are NaN or infinite; look at the weights and the videos"
        )
    return values
