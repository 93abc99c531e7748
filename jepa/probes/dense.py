"""Segmentation from frozen tokens by a linear cut: what single tokens know about the place of a thing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.linear import LinearProbe
from jepa.probes.metrics import TAILS, Measure, number_groups
from jepa.runtime.seeding import generator
from jepa.types import Grid

BACKGROUND = 0
FIT_TOKENS = 20_000  # more change the answer of a linear cut little, and cost time in proportion
DRAWS = 1000
PIXELS_AT_ONCE = 2**22  # scores of pixels that are held in memory


@dataclass(frozen=True, slots=True)
class DenseSet:
    """Tokens of clips beside the class of every pixel. Raises DataError when they do not fit together."""

    tokens: Tensor
    """(n, N, D) float, finite, in the order of ``grid``."""
    pixels: Tensor
    """(n, T, H, W) long; 0 is the background."""
    grid: Grid
    groups: tuple[str, ...] | None = None
    """The video of each clip; without it each clip is a video of its own."""

    def __post_init__(self) -> None:
        check_tokens(self.tokens, self.grid)
        check_pixels(self.pixels, len(self.tokens), self.grid)
        number_groups(self.groups, len(self.tokens))

    def token_labels(self) -> Tensor:
        """Return the most frequent class of the pixels that each token covers, (n, N) long; of equals the lowest."""
        n, classes = len(self.pixels), int(self.pixels.max()) + 1
        cubes = into_cubes(self.pixels, self.grid)  # (n, N, pixels of a token)
        counts = torch.zeros(n, self.grid.tokens, classes, dtype=torch.int32)
        counts.scatter_add_(2, cubes, torch.ones_like(cubes, dtype=torch.int32))
        return counts.argmax(dim=2)


@dataclass(frozen=True, slots=True, eq=False)  # compared as objects: a tensor has no single equality
class SegmentationScore:
    """How well held-out clips were cut into classes; intervals are 95%, by bootstrap over videos."""

    mean_iou: Measure
    """Of tokens: intersection over union, mean over the classes that occur in the test set, background included."""
    pixel_mean_iou: Measure
    """Of pixels, with the tokens' scores enlarged bilinearly; what tokens are too coarse for counts as wrong."""
    foreground_iou: Measure
    """Of pixels, all classes but the background taken as one; their probabilities are added up."""
    iou: tuple[float, ...]
    """Of tokens, for each class; NaN where it neither occurs nor is answered."""
    accuracy: float
    """Share of tokens that are right."""
    balanced_accuracy: float
    """Mean over classes of the share of their tokens that are right."""
    confusion: Tensor  # (C, C) long, tokens; row: true class, column: answer
    weight_decay: float | None  # None where nothing was fitted


def segmentation_probe(
    train: DenseSet, test: DenseSet, *, fit_tokens: int = FIT_TOKENS, seed: int = 0
) -> SegmentationScore:
    """Fit softmax regression on single training tokens, and score it once on the test set.

    At most ``fit_tokens`` tokens take part in fitting, drawn evenly over all clips by ``seed``; the weight decay is
    chosen on videos held out from them. Raises DataError for sets of another token width, for sets that hold only
    background, and for test classes that training never showed.
    """
    truth, wanted = train.token_labels(), test.token_labels()
    _refuse_unfit(train, test, truth, wanted)
    width = train.tokens.shape[2]
    member, _ = number_groups(train.groups, len(train.tokens))
    places = torch.randperm(truth.numel(), generator=generator(seed, "segmentation tokens"))[:fit_tokens]
    groups = [str(int(member[place])) for place in places // train.grid.tokens]
    probe = LinearProbe(seed=seed).fit(
        train.tokens.reshape(-1, width)[places], truth.flatten()[places], groups
    )
    classes = int(train.pixels.max().maximum(test.pixels.max())) + 1
    answers = torch.zeros(wanted.numel(), classes)
    answers[:, list(probe.classes)] = probe.predict_proba(test.tokens.reshape(-1, width)).float()
    decay = probe.weight_decay
    return segmentation_score(answers.view(*wanted.shape, classes), test, weight_decay=decay, seed=seed)


def segmentation_score(
    answers: Tensor, test: DenseSet, *, weight_decay: float | None = None, seed: int = 0
) -> SegmentationScore:
    """Compare the probability of each class for each token, (n, N, C), with the classes of ``test``."""
    classes = answers.shape[2]
    member, videos = number_groups(test.groups, len(answers))
    of_tokens = _tables(test.token_labels(), answers.argmax(dim=2), member, videos, classes)
    of_pixels, of_foreground = torch.zeros_like(of_tokens), torch.zeros(videos, 2, 2, dtype=torch.long)
    step = max(1, PIXELS_AT_ONCE // (classes * test.pixels[0].numel()))
    for start in range(0, len(answers), step):
        part = slice(start, start + step)
        larger = enlarge(answers[part], test.grid, test.pixels.shape[1:])  # (n', C, T, H, W)
        pixels, thing = test.pixels[part], larger[:, 1:].sum(dim=1) > larger[:, BACKGROUND]
        of_pixels += _tables(pixels, larger.argmax(dim=1), member[part], videos, classes)
        of_foreground += _tables((pixels != BACKGROUND).long(), thing.long(), member[part], videos, 2)
    total = of_tokens.sum(dim=0)
    occurs = total.sum(dim=1) > 0
    recalls = total.diagonal()[occurs] / total.sum(dim=1)[occurs]
    return SegmentationScore(
        mean_iou=_interval(of_tokens, seed),
        pixel_mean_iou=_interval(of_pixels, seed),
        foreground_iou=_interval(of_foreground, seed, classes=[1]),
        iou=tuple(iou(total[None])[0].tolist()),
        accuracy=float(total.diagonal().sum() / total.sum()),
        balanced_accuracy=float(recalls.mean()),
        confusion=total,
        weight_decay=weight_decay,
    )


def iou(tables: Tensor) -> Tensor:
    """Return intersection over union of each class: confusion (..., C, C) -> (..., C), NaN where there is neither."""
    right = tables.diagonal(dim1=-2, dim2=-1)
    return right.double() / (tables.sum(dim=-1) + tables.sum(dim=-2) - right)


def into_cubes(pixels: Tensor, grid: Grid) -> Tensor:
    """Put the pixels that one token covers into one row: (n, T, H, W) -> (n, N, pixels of a token)."""
    n, frames, height, width = pixels.shape
    t, h, w = grid
    cut = pixels.reshape(n, t, frames // t, h, height // h, w, width // w)
    return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, grid.tokens, -1)


def enlarge(scores: Tensor, grid: Grid, shape: Sequence[int]) -> Tensor:
    """Enlarge scores of tokens to pixels: (n, N, C), (T, H, W) -> (n, C, T, H, W).

    Bilinear in space; in time, every frame of a tubelet has the scores of its token.
    """
    n, _, classes = scores.shape
    maps = scores.view(n, *grid, classes).permute(0, 1, 4, 2, 3).flatten(0, 1)  # (n * t, C, h, w)
    larger = F.interpolate(maps.float(), tuple(shape[1:]), mode="bilinear", align_corners=False)
    repeated = larger.view(n, grid.time, classes, *shape[1:]).transpose(1, 2)  # (n, C, t, H, W)
    return repeated.repeat_interleave(shape[0] // grid.time, dim=2)


def check_tokens(tokens: Tensor, grid: Grid) -> None:
    """Refuse tokens that are not finite (n, N, D) on ``grid`` with n > 0; raises DataError."""
    if tokens.ndim != 3 or 0 in tokens.shape:
        raise DataError(f"tokens must be (clips, tokens, width) and not empty, got {tuple(tokens.shape)}")
    if tokens.shape[1] != grid.tokens:
        raise DataError(
            f"{tokens.shape[1]} tokens per clip do not fit a grid of {tuple(grid)}, which has {grid.tokens}; "
            "give the grid of the encoder for clips of this shape"
        )
    bad = (~torch.isfinite(tokens)).flatten(1).any(dim=1).nonzero().flatten()
    if len(bad):
        raise DataError(
            f"tokens of {len(bad)} of {len(tokens)} clips hold NaN or infinity, first clip {int(bad[0])}; "
            "look at the encoder's weights and at that clip"
        )


def check_pixels(pixels: Tensor, clips: int, grid: Grid) -> None:
    """Refuse masks that are not (n, T, H, W) class numbers that ``grid`` cuts evenly; raises DataError."""
    if pixels.ndim != 4 or len(pixels) != clips or pixels.is_floating_point():
        raise DataError(
            f"masks must be ({clips}, frames, height, width) of whole numbers for {clips} clips, got "
            f"{tuple(pixels.shape)} of {pixels.dtype}"
        )
    if 0 in pixels.shape or any(size % cells for size, cells in zip(pixels.shape[1:], grid, strict=True)):
        raise DataError(
            f"masks of {tuple(pixels.shape[1:])} frames, height and width cannot be cut into a grid of "
            f"{tuple(grid)}; cut and resize masks as their clips"
        )
    if int(pixels.min()) < 0:
        raise DataError(f"masks hold class {int(pixels.min())}; classes are 0, the background, and above")


def _refuse_unfit(train: DenseSet, test: DenseSet, truth: Tensor, wanted: Tensor) -> None:
    """Raise DataError where the two sets cannot be probed together."""
    widths = train.tokens.shape[2], test.tokens.shape[2]
    if widths[0] != widths[1]:
        raise DataError(f"test tokens have width {widths[1]}, but training tokens have {widths[0]}")
    for name, labels in (("training", truth), ("test", wanted)):
        if int(labels.max()) == BACKGROUND:
            raise DataError(
                f"no {name} token has most of its pixels in a class; with only background there is nothing to "
                "find — give masks with things in them, or a finer grid"
            )
    strange = sorted(set(torch.unique(wanted).tolist()) - set(torch.unique(truth).tolist()))
    if strange:
        raise DataError(f"test classes {strange} never occur in training; give more training clips")


def _tables(truth: Tensor, answer: Tensor, member: Tensor, videos: int, classes: int) -> Tensor:
    """Count pairs of classes for each video: (n, ...), (n, ...) long, (n,) -> (V, C, C) long."""
    pairs = (member.view(-1, *[1] * (truth.ndim - 1)) * classes + truth) * classes + answer
    return torch.bincount(pairs.flatten(), minlength=videos * classes**2).view(videos, classes, classes)


def _interval(tables: Tensor, seed: int, classes: Sequence[int] | None = None) -> Measure:
    """Return the mean IoU over ``classes``, or those that occur, and its interval: (V, C, C) per video."""
    total = tables.sum(dim=0)
    chosen = (total.sum(dim=1) > 0).nonzero().flatten().tolist() if classes is None else list(classes)
    value = float(iou(total)[chosen].nanmean())
    if len(tables) < 2:
        return Measure(value, float("nan"), float("nan"))
    times = draw_videos(len(tables), seed=seed)  # (R, V)
    drawn = (times @ tables.flatten(1).double()).view(-1, *total.shape)  # (R, C, C)
    spread = iou(drawn)[:, chosen].nanmean(dim=1)
    low, high = spread.nanquantile(torch.tensor(TAILS, dtype=torch.double)).tolist()
    return Measure(value, low, high)


def draw_videos(videos: int, *, seed: int, draws: int = DRAWS) -> Tensor:
    """Return how often each video is in each bootstrap draw, (R, V) double (Efron & Tibshirani, chapter 13)."""
    picks = torch.randint(0, videos, (draws, videos), generator=generator(seed, "bootstrap"))
    times = torch.zeros(draws, videos, dtype=torch.double)
    return times.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.double))
