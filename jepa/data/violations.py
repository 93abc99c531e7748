"""Pairs of videos, one possible and one impossible, to ask a predictor what surprises it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from jepa.data.drawing import write_mp4
from jepa.data.physics import KINDS, TESTING, check_size, draw_scene
from jepa.errors import DataError

PAIRS = "pairs.csv"
COLUMNS = ("path", "pair", "kind", "possible", "event_frame")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two videos that are the same up to the event."""

    name: str
    kind: str
    possible: Path
    impossible: Path
    event_frame: int
    """The first frame in which they differ."""


def write_violations(
    directory: Path, *, pairs: int, seed: int, frames: int = 24, size: int = 64, fps: int = 8
) -> Path:
    """Write ``pairs`` pairs of each kind as mp4 files, and their list ``pairs.csv``; return the list.

    Each line is ``path,pair,kind,possible,event_frame``, see `Pair`. Two neighbouring pairs of a kind come from the
    two stories of one scene (see `jepa.data.physics.Scene`) and swap what follows the event: whatever is seen after
    it is seen in one possible and in one impossible video. This is the design of IntPhys (arXiv:1803.07616, section
    3.1); who judges by looks or by the amount of motion is right in one of the two and wrong in the other. What is
    swapped is swapped behind an occluder, or, for "pass", at the touch of a wall: no jump from frame to frame gives
    it away. Raises DataError for a number that is out of range.
    """
    check_size(count=pairs, frames=frames, size=size)
    if pairs % 2:
        raise DataError(f"pairs={pairs}: pairs come in twos that balance each other; give an even number")
    directory.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str, int, int]] = []
    for kind in KINDS:
        for number in range(pairs):
            scene = draw_scene(kind, number // 2, part=TESTING, seed=seed, frames=frames)
            possible, impossible = (
                show(number % 2, size=size) for show in (scene.possible, scene.impossible)
            )
            event_frame = int((possible != impossible).any(axis=(1, 2, 3)).argmax())
            name = f"{kind}-{number:05d}"
            for is_possible, images in ((1, possible), (0, impossible)):
                path = f"{name}-{'possible' if is_possible else 'impossible'}.mp4"
                write_mp4(directory / path, images, fps=fps)
                rows.append((path, name, kind, is_possible, event_frame))
    with (directory / PAIRS).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return directory / PAIRS


def read_pairs(directory: Path | str) -> tuple[Pair, ...]:
    """Read the list that `write_violations` wrote, in its order.

    Lists of your own work as well: the columns in any order, paths relative to ``directory``. Raises DataError when
    the list or a video is missing, a line cannot be understood, or a pair is not one possible and one impossible
    video of one kind with one event.
    """
    folder = Path(directory)
    members: dict[str, list[tuple[bool, str, str, int]]] = {}
    for number, row in enumerate(_rows(folder / PAIRS), start=2):
        if row["possible"] not in ("0", "1") or not row["event_frame"].isdecimal():
            raise DataError(
                f"{folder / PAIRS}, line {number}: possible must be 0 or 1, got {row['possible']!r}, and "
                f"event_frame a frame number, got {row['event_frame']!r}; correct the line"
            )
        member = (row["possible"] == "1", row["path"], row["kind"], int(row["event_frame"]))
        members.setdefault(row["pair"], []).append(member)
    pairs = tuple(_pair(folder, name, found) for name, found in members.items())
    missing = [path for pair in pairs for path in (pair.possible, pair.impossible) if not path.is_file()]
    if missing:
        raise DataError(
            f"{folder / PAIRS}: {len(missing)} of {2 * len(pairs)} videos are missing, first {missing[0]}; "
            "write the pairs anew, or correct the paths"
        )
    return pairs


def _rows(path: Path) -> list[dict[str, str]]:
    """Read the lines of a list of pairs. Raises DataError for a missing file, a missing column, or no line."""
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: this list of pairs cannot be read ({error}); give a folder that holds {PAIRS}"
        ) from error
    absent = [column for column in COLUMNS if column not in columns]
    if absent or not rows:
        wrong = f"the columns {absent} are missing" if absent else "there is no pair"
        raise DataError(f"{path}: {wrong}; it needs a header {','.join(COLUMNS)} and two lines per pair")
    return rows


def _pair(folder: Path, name: str, members: list[tuple[bool, str, str, int]]) -> Pair:
    """Put the two lines of a pair together. Raises DataError when they are no pair."""
    by_side = {possible: (path, kind, frame) for possible, path, kind, frame in members}
    if len(members) != 2 or len(by_side) != 2 or by_side[True][1:] != by_side[False][1:]:
        raise DataError(
            f"{folder / PAIRS}: pair {name!r} has {len(members)} videos, {sum(m[0] for m in members)} of them "
            "possible; it needs one possible and one impossible video of the same kind and event_frame"
        )
    (possible, kind, frame), (impossible, _, _) = by_side[True], by_side[False]
    return Pair(name, kind, folder / possible, folder / impossible, frame)
