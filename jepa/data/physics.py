"""A small lawful world: bodies in straight motion, turned back by borders and walls, hidden by occluders."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepa.data.drawing import SHAPES, Doubles, Floats, outline, pattern, write_mp4
from jepa.errors import DataError

KINDS = ("vanish", "teleport", "change", "pass")
"""Which law the two stories of a scene let one break: see `Scene`."""

LIST = "videos.csv"
REACH = 1.1  # how far a shape may extend from its centre, in radii
RADIUS = (0.11, 0.13)  # frame widths
SPEED = (0.05, 0.065)  # frame widths per frame
SLOPE = 0.3  # of a straight path, at most
MARGIN = (0.02, 0.05)  # frame widths by which an occluder is wider than what it hides, on either side
WALL = (0.07, 0.1)  # frame widths
MOMENT = (0.35, 0.6)  # when a story may branch, in lengths of the video
SHORTEST = 16  # frames: a body needs up to six to come out from behind an occluder
TRAINING, TESTING = 0, 1  # keep the scenes to learn from apart from those to be tested on, whatever the seeds

COLOURS = np.array(
    [[1.0, 0.8, 0.1], [0.2, 0.9, 0.3], [1.0, 0.45, 0.85], [0.2, 0.75, 1.0], [0.95, 0.25, 0.15]], np.float32
)  # of bodies
GROUND = np.array([0.3, 0.35, 0.4], np.float32)  # of the background
BRICK, JOINT = np.array([[0.16, 0.12, 0.1], [0.34, 0.24, 0.2]], np.float32)  # of walls
SCREEN = np.array([0.88, 0.87, 0.84], np.float32)  # of occluders

Draw = np.random.Generator
Frames = NDArray[np.uint8]


class Look(NamedTuple):
    """What a body looks like."""

    shape: str
    colour: int  # row of `COLOURS`
    radius: float  # frame widths


class Body(NamedTuple):
    """A look and where it is: (T,) frame widths along each axis."""

    look: Look
    x: Doubles
    y: Doubles


class Stage(NamedTuple):
    """What does not move: bars over the whole height, as (left, right) edges in frame widths."""

    wall: tuple[float, float] | None = None
    occluder: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """Two lawful stories that cannot be told apart in frame ``branch``; to pass from one to the other breaks a law.

    vanish: something passes behind the occluder, or nothing does. teleport: it passes low or high. change: one
    thing or another passes. pass: a wall turns a body back, or there is no wall and it goes straight on.
    """

    kind: str
    stages: tuple[Stage, Stage]
    bodies: tuple[tuple[Body, ...], tuple[Body, ...]]
    frames: int
    branch: int
    turn: int
    """Which of the eight symmetries of the square the scene is shown in, so that motion has no preferred side."""

    def possible(self, story: int, *, size: int) -> Frames:
        """Draw a story as it must go: (T, H, W, 3) uint8, ``size`` pixels wide and high."""
        return _turned(self._render(story, story, size), self.turn)

    def impossible(self, story: int, *, size: int) -> Frames:
        """Draw a story whose bodies go on, from frame ``branch``, as those of the other story do."""
        before, after = self._render(story, story, size), self._render(story, 1 - story, size)
        return _turned(np.concatenate([before[: self.branch], after[self.branch :]]), self.turn)

    def _render(self, stage: int, bodies: int, size: int) -> Frames:
        """Draw the bodies of one story on the stage of one."""
        return render(self.stages[stage], self.bodies[bodies], frames=self.frames, size=size)


def draw_scene(kind: str, number: int, *, part: int, seed: int, frames: int) -> Scene:
    """Draw scene ``number`` of a kind; the result depends on the arguments alone.

    ``part`` is `TRAINING` or `TESTING`. In half of the scenes that have room for it, a second body rests or moves in a
    lane of its own, for bodies do not feel each other.
    """
    rng = np.random.default_rng((seed, part, KINDS.index(kind), number))
    radius, speed = float(rng.uniform(*RADIUS)), float(rng.uniform(*SPEED))
    reach, middle = REACH * radius, float(rng.uniform(0.45, 0.6))
    low, high = rng.permutation([rng.uniform(reach, 0.33), rng.uniform(0.67, 1 - reach)])
    branch = int(rng.integers(round(MOMENT[0] * frames), round(MOMENT[1] * frames) + 1))
    times = np.arange(frames, dtype=np.float64) - branch
    look, other = _two_looks(rng, radius)
    has_company = kind != "teleport" and rng.uniform() < 0.5
    company = (_companion(rng, radius, high, times, kind=kind, right=middle),) if has_company else ()
    slope = 0.0 if has_company else speed * float(rng.uniform(-SLOPE, SLOPE))
    x = fold(middle + speed * times, reach, 1 - reach)
    y, elsewhere = (fold(lane + slope * times, reach, 1 - reach) for lane in (low, high))
    stories: dict[str, tuple[tuple[Body, ...], tuple[Body, ...]]] = {
        "vanish": ((Body(look, x, y),), ()),
        "teleport": ((Body(look, x, y),), (Body(look, x, elsewhere),)),
        "change": ((Body(look, x, y),), (Body(other, x, y),)),
        "pass": ((Body(look, fold(middle + speed * times, reach, middle), y),), (Body(look, x, y),)),
    }
    first, second = stories[kind]
    stages = _stages(rng, kind, middle=middle, reach=reach)
    return Scene(
        kind, stages, ((*first, *company), (*second, *company)), frames, branch, int(rng.integers(8))
    )


def fold(path: Doubles, low: float, high: float) -> Doubles:
    """Turn a path that runs on for ever into one that is thrown back elastically at ``low`` and ``high``."""
    span = high - low
    folded: Doubles = low + span - np.abs((path - low) % (2 * span) - span)
    return folded


def render(stage: Stage, bodies: tuple[Body, ...], *, frames: int, size: int) -> Frames:
    """Draw background, wall, bodies and occluder, in this order: (T, H, W, 3) uint8."""
    grid = np.arange(size, dtype=np.float32) + np.float32(0.5)
    image = np.broadcast_to(GROUND, (frames, size, size, 3))
    if stage.wall is not None:
        share = pattern("checks", grid[None, :], grid[:, None], period=0.12 * size)[..., None]  # (H, W, 1)
        image = _cover(image, _bar(stage.wall, grid), share * JOINT + (1 - share) * BRICK)
    for body in bodies:
        u = (grid - size * body.x[:, None]).astype(np.float32)[:, None, :]  # (T, 1, W)
        v = (grid - size * body.y[:, None]).astype(np.float32)[:, :, None]  # (T, H, 1)
        radius = body.look.radius * size
        share = outline(body.look.shape, u, v, radius=radius)[..., None]  # (T, H, W, 1)
        image = _cover(image, share, COLOURS[body.look.colour])
    if stage.occluder is not None:
        image = _cover(image, _bar(stage.occluder, grid), SCREEN)
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def write_physics(directory: Path, *, count: int, seed: int, frames: int, size: int, fps: int) -> Path:
    """Write ``count`` lawful videos of all kinds as mp4 files, and their list; return the list.

    They are the possible videos of scenes like those of `jepa.data.violations`, one per scene, and of others:
    nothing but the law tells the two sets apart. Raises DataError for a number that is out of range.
    """
    check_size(count=count, frames=frames, size=size)
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for index in range(count):
        scene = draw_scene(
            KINDS[index % len(KINDS)], index // len(KINDS), part=TRAINING, seed=seed, frames=frames
        )
        names.append(f"{index:06d}.mp4")
        story = index // len(KINDS) % 2
        write_mp4(directory / names[-1], scene.possible(story, size=size), fps=fps)
    with (directory / LIST).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((name,) for name in names)
    return directory / LIST


def check_size(*, count: int, frames: int, size: int) -> None:
    """Raise DataError unless videos can be drawn: a story needs time to branch and to show it."""
    if count < 1 or frames < SHORTEST or size < 16 or size % 2:
        raise DataError(
            f"count={count}, frames={frames}, size={size}: count must be at least 1, frames at least {SHORTEST}, "
            "and size even and at least 16; change the value that is out of range"
        )


def _two_looks(rng: Draw, radius: float) -> tuple[Look, Look]:
    """Draw two looks that differ in shape and in colour."""
    shapes, colours = rng.permutation(len(SHAPES))[:2], rng.permutation(len(COLOURS))[:2]
    one, other = (
        Look(SHAPES[shape], int(colour), radius) for shape, colour in zip(shapes, colours, strict=True)
    )
    return one, other


def _companion(rng: Draw, radius: float, lane: float, times: Doubles, *, kind: str, right: float) -> Body:
    """Draw a second body in its lane. Before a wall it rests, left of ``right``; else it may move."""
    reach = REACH * radius
    moves = kind != "pass" and rng.uniform() < 0.5
    place = rng.uniform(reach, right if kind == "pass" else 1 - reach)
    path = place + moves * rng.choice([-1, 1]) * rng.uniform(*SPEED) * times
    return Body(_two_looks(rng, radius)[0], fold(path, reach, 1 - reach), np.full(len(times), lane))


def _stages(rng: Draw, kind: str, *, middle: float, reach: float) -> tuple[Stage, Stage]:
    """Draw what does not move: an occluder that hides a body at ``middle``, or a wall that a body there touches."""
    if kind == "pass":
        left = middle + reach
        return Stage(wall=(left, left + rng.uniform(*WALL))), Stage()
    half = reach + rng.uniform(*MARGIN)
    stage = Stage(occluder=(middle - half, middle + half))
    return stage, stage


def _bar(edges: tuple[float, float], grid: Floats) -> Floats:
    """Return how much of each column a bar covers, 0 to 1: (W,) pixels -> (W, 1)."""
    left, right = (edge * len(grid) for edge in edges)
    covered: Floats = np.clip(np.minimum(grid - left, right - grid) + 0.5, 0, 1)[:, None].astype(np.float32)
    return covered


def _cover(image: Floats, share: Floats, surface: Floats) -> Floats:
    """Draw ``surface`` over ``image`` where ``share`` is 1."""
    covered: Floats = image + share * (surface - image)
    return covered


def _turned(frames: Frames, turn: int) -> Frames:
    """Show (T, H, W, 3) in one of the eight symmetries of the square."""
    if turn & 1:
        frames = frames.swapaxes(1, 2)
    if turn & 2:
        frames = frames[:, ::-1]
    if turn & 4:
        frames = frames[:, :, ::-1]
    return np.ascontiguousarray(frames)
