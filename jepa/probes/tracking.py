"""Tracking without training: the mask of the first step is carried through time by similar features."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.dense import BACKGROUND, DenseSet, check_tokens, draw_videos, enlarge, into_cubes
from jepa.probes.metrics import TAILS, Measure, number_groups
from jepa.types import Grid

SIMILARITIES_AT_ONCE = 2**25  # held in memory


@dataclass(frozen=True, slots=True)
class Propagation:
    """How labels are carried; the defaults are those that DINO was evaluated with on DAVIS.

    Source: `eval_video_segmentation.py` of facebookresearch/dino at 04c0ad9. Its neighbourhood of 12 patches is
    left out: it covers any small grid, and things may leave at one border and come back at another.
    """

    neighbours: int = 5
    """Most similar tokens of all context steps together that vote on a token."""
    temperature: float = 0.1
    """Of the softmax over their cosine similarities."""
    context: int = 7
    """Previous steps that vote, beside the first one, which always does."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.temperature <= 0 or self.context < 0:
            raise ValueError(
                f"neighbours must be 1 or more, temperature above 0, and context 0 or more, got {self}"
            )


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """How well the things of the first step were found again; intervals are 95%, by bootstrap over videos."""

    region_iou: Measure
    """J of DAVIS: intersection over union with the exact mask, mean over later frames, things and clips."""
    by_step: tuple[float, ...]
    """The same for each later step of the grid."""


def propagate(tokens: Tensor, first: Tensor, grid: Grid, how: Propagation | None = None) -> Tensor:
    """Carry the labels of the first step through time: (n, N, D), (n, h * w, C) -> (n, N, C).

    Each token takes the labels of its most similar tokens in the first and the previous steps, weighted by a
    softmax of the similarities (DINO, arXiv:2104.14294, section 4.2.2). Labels are shares of classes, and stay so.
    Clips do not touch each other. Raises DataError when shapes do not fit or features are not finite.
    """
    how = how or Propagation()
    check_tokens(tokens, grid)
    if first.ndim != 3 or first.shape[:2] != (len(tokens), grid.height * grid.width):
        raise DataError(
            f"first labels must be ({len(tokens)}, {grid.height * grid.width}, classes) for {len(tokens)} clips on a "
            f"grid of {tuple(grid)}, got {tuple(first.shape)}"
        )
    size = max(1, SIMILARITIES_AT_ONCE // (first.shape[1] ** 2 * (how.context + 1)))
    parts = zip(torch.split(tokens, size), torch.split(first, size), strict=True)
    return torch.cat([_propagate(part.float(), labels.float(), grid, how) for part, labels in parts])


def _propagate(tokens: Tensor, first: Tensor, grid: Grid, how: Propagation) -> Tensor:
    """Carry labels for as many clips as memory allows."""
    steps = F.normalize(tokens, dim=2).view(len(tokens), grid.time, first.shape[1], -1)  # (n, t, hw, D)
    labels = [first]
    for step in range(1, grid.time):
        sources = [0, *range(max(1, step - how.context), step)]
        known = torch.cat([labels[source] for source in sources], dim=1)  # (n, s * hw, C)
        similarity = steps[:, step] @ steps[:, sources].flatten(1, 2).transpose(1, 2)  # (n, hw, s * hw)
        best, place = similarity.topk(min(how.neighbours, known.shape[1]), dim=2)  # (n, hw, k)
        weights = (best / how.temperature).softmax(dim=2)
        votes = known.gather(1, place.flatten(1)[:, :, None].expand(-1, -1, known.shape[2]))
        labels.append((votes.view(*place.shape, -1) * weights[..., None]).sum(dim=2))
    return torch.cat(labels, dim=1)


def first_labels(data: DenseSet) -> Tensor:
    """Return the share of each class in the pixels of each token of the first step, (n, h * w, C)."""
    return token_shares(data)[:, : data.grid.height * data.grid.width]


def token_shares(data: DenseSet) -> Tensor:
    """Return the share of each class in the pixels of each token, (n, N, C)."""
    classes = int(data.pixels.max()) + 1
    cubes = into_cubes(data.pixels, data.grid)
    return torch.stack([(cubes == number).float().mean(dim=2) for number in range(classes)], dim=2)


def tracking_probe(data: DenseSet, how: Propagation | None = None, *, seed: int = 0) -> TrackingScore:
    """Propagate the masks of the first step of every clip and compare later frames with the exact ones.

    Raises DataError for clips of a single step, and for a clip with nothing but background in its first step.
    """
    _refuse_unfit(data)
    return tracking_score(propagate(data.tokens, first_labels(data), data.grid, how), data, seed=seed)


def copied_labels(data: DenseSet) -> Tensor:
    """Return the labels of the first step at every step, (n, N, C): the answer that needs no features."""
    return first_labels(data).repeat(1, data.grid.time, 1)


def tracking_score(labels: Tensor, data: DenseSet, *, seed: int = 0) -> TrackingScore:
    """Compare a share of each class for each token, (n, N, C), with the exact pixels of every later frame.

    As in DAVIS, things are the classes of the first step other than background; a thing that is neither there nor
    answered in a frame counts as right there.
    """
    _refuse_unfit(data)
    every = torch.stack([_region_iou(labels[clip], data, clip) for clip in range(len(labels))])  # (n, t - 1)
    member, videos = number_groups(data.groups, len(labels))
    of_clips = every.mean(dim=1).double()  # (n,)
    value = float(of_clips.mean())
    by_step = tuple(every.mean(dim=0).tolist())
    if videos < 2:
        return TrackingScore(Measure(value, float("nan"), float("nan")), by_step)
    times = draw_videos(videos, seed=seed)[:, member]  # (R, n)
    spread = times @ of_clips / times.sum(dim=1)
    low, high = spread.quantile(torch.tensor(TAILS, dtype=torch.double)).tolist()
    return TrackingScore(Measure(value, low, high), by_step)


def _region_iou(labels: Tensor, data: DenseSet, clip: int) -> Tensor:
    """Return J of one clip at each later step: (N, C) -> (t - 1,)."""
    t, per_step = data.grid.time, data.pixels.shape[1] // data.grid.time
    truth = data.pixels[clip]  # (T, H, W)
    shares = enlarge(labels[None], data.grid, truth.shape)[0]  # (C, T, H, W)
    answer = _stretch(shares).argmax(dim=0)
    things = [int(number) for number in torch.unique(truth[:per_step]) if number != BACKGROUND]
    found = []
    for number in things:
        is_answer, is_true = answer == number, truth == number
        both, either = ((is_answer & is_true).sum((1, 2)), (is_answer | is_true).sum((1, 2)))  # (T,)
        found.append(torch.where(either > 0, both / either.clamp_min(1), 1.0))
    return torch.stack(found).mean(dim=0).view(t, per_step).mean(dim=1)[1:]


def _stretch(shares: Tensor) -> Tensor:
    """Stretch each class of each frame to [0, 1]: (C, T, H, W), as DINO does before it takes the largest.

    Votes blur a small thing until the background wins everywhere; its most likely place wins again this way.
    """
    low, high = shares.amin(dim=(2, 3), keepdim=True), shares.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (shares - low) / (high - low).clamp_min(1e-12), shares)


def _refuse_unfit(data: DenseSet) -> None:
    """Raise DataError where there is nothing to track."""
    if data.grid.time < 2:
        raise DataError(
            f"a grid of {tuple(data.grid)} has one step; tracking needs two or more — give longer clips"
        )
    begin = data.pixels[:, : data.pixels.shape[1] // data.grid.time].flatten(1)
    empty = (begin == BACKGROUND).all(dim=1).nonzero().flatten()
    if len(empty):
        raise DataError(
            f"{len(empty)} of {len(begin)} clips have only background in their first step, first clip "
            f"{int(empty[0])}; leave out clips without anything to track"
        )
