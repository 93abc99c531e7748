"""LeRobot data sets: numbers in parquet, frames in mp4; v2.x has a file per episode, v3 puts many into one."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.config.trajectories import LeRobotSource
from jepa.data.decode import Decoder
from jepa.data.trajectories.opened import Opened
from jepa.data.trajectories.parquet import read_columns
from jepa.data.trajectories.video_frames import VideoFrames
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.types import BadFile, Trajectory

EPISODE, PLACE = "episode_index", "frame_index"
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Located:
    """Where one episode lies."""

    number: int
    length: int
    """Its frames, as the index has it."""
    table: Path
    video: Path
    start_s: float | None
    """Where it starts in the video; None for the video's first frame."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What ``meta/info.json`` says."""

    root: Path
    version: str
    data_path: str
    video_path: str
    chunk_size: int
    fps: float
    camera: str


def open_lerobot(config: LeRobotSource, *, decoder: Decoder = "auto") -> Opened:
    """Open a LeRobot data set, v2.0, v2.1 or v3. Episodes whose files are not there are `missing`.

    The action of row t leads from frame t to frame t + 1; that of an episode's last row is left out. Raises
    DataError for another version, and for columns and cameras that are not there.
    """
    layout = _layout(config)
    names = list(dict.fromkeys((config.actions, *config.proprio_columns)))
    located = _episodes_v3(layout) if layout.version.startswith("v3") else _episodes_v2(layout)
    episodes, bad, missing = [], [], []
    tables = _Tables([*names, EPISODE, PLACE])
    for episode in located[: config.episodes]:
        if lacking := [path for path in (episode.table, episode.video) if not path.is_file()]:
            missing.append(BadFile(str(lacking[0]), f"episode {episode.number}: is not there"))
            continue
        try:
            rows = tables.rows(episode)
        except UnreadableError as error:
            bad.append(BadFile(error.path, f"episode {episode.number}: {error.reason}"))
            continue
        episodes.append(_episode(episode, rows, config, layout.fps, decoder))
    return Opened(tuple(episodes), tuple(bad), tuple(missing))


class _Tables:
    """Reads parquet files, keeping the last: neighbouring episodes share one."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._path: Path | None = None
        self._columns: Columns = {}

    def rows(self, episode: Located) -> Columns:
        """Return the columns of one episode, in the order of its frames. Raises UnreadableError."""
        if episode.table != self._path:
            self._columns = read_columns(str(episode.table), self._names)
            self._path = episode.table
        own = np.flatnonzero(self._columns[EPISODE].reshape(-1) == episode.number)
        order = own[np.argsort(self._columns[PLACE].reshape(-1)[own], kind="stable")]
        return {name: values[order] for name, values in self._columns.items()}


def _episode(
    episode: Located, rows: Columns, config: LeRobotSource, fps: float, decoder: Decoder
) -> Trajectory:
    """Bring an episode's numbers and frames together. Raises DataError where lengths differ."""
    count = len(rows[EPISODE])
    if count != episode.length:
        raise DataError(
            f"{config.path}: episode {episode.number} has {episode.length} frames in its index and {count} rows "
            f"in {episode.table.name} — the set is not whole: fetch it again"
        )
    states = [rows[name].reshape(count, -1) for name in config.proprio_columns]  # each (T + 1, n)
    return Trajectory(
        name=f"episode-{episode.number:06d}",
        frames=VideoFrames(str(episode.video), count, start_s=episode.start_s, decoder=decoder),
        actions=rows[config.actions].astype(np.float32)[:-1],
        rate=fps,
        proprio=np.concatenate(states, axis=1).astype(np.float32) if states else None,
    )


def _layout(config: LeRobotSource) -> Layout:
    """Read ``meta/info.json``."""
    root = Path(config.path)
    info = _json(root / "meta" / "info.json", config.path)
    version = str(info.get("codebase_version"))
    if not version.startswith(("v2.", "v3.")):
        raise DataError(
            f"{config.path}: codebase_version {version} is not known; v2.0, v2.1 and v3 can be read"
        )
    features = info.get("features", {})
    cameras = sorted(name for name, feature in features.items() if feature.get("dtype") == "video")
    for name in (config.actions, *config.proprio_columns):
        if name not in features:
            raise DataError(
                f"{config.path}: there is no column {name!r}; the set has {', '.join(sorted(features))}"
            )
    return Layout(
        root=root,
        version=version,
        data_path=info["data_path"],
        video_path=info.get("video_path") or "",
        chunk_size=int(info.get("chunks_size", 1000)),
        fps=float(info["fps"]),
        camera=_camera(config, cameras),
    )


def _camera(config: LeRobotSource, cameras: Sequence[str]) -> str:
    """Return the video to be read."""
    if not cameras:
        raise DataError(f"{config.path}: the set has no video; images inside parquet files are not read")
    if config.camera is None and len(cameras) > 1:
        raise DataError(
            f"{config.path}: the set has {len(cameras)} cameras; name one with `camera`: {', '.join(cameras)}"
        )
    if config.camera is not None and config.camera not in cameras:
        raise DataError(
            f"{config.path}: there is no camera {config.camera!r}; the set has {', '.join(cameras)}"
        )
    return config.camera or cameras[0]


def _json(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name} is no LeRobot data set: {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{name} is no LeRobot data set: {path} holds no object")
    return values


def _episodes_v2(layout: Layout) -> list[Located]:
    """Read ``meta/episodes.jsonl``: one parquet and one mp4 file per episode."""
    path = layout.root / "meta" / "episodes.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{layout.root}: {path} cannot be read: {error}") from error
    return [_located_v2(layout, int(line[EPISODE]), int(line["length"])) for line in lines]


def _located_v2(layout: Layout, number: int, length: int) -> Located:
    """Fill in the templates of the paths."""
    places = {"episode_chunk": number // layout.chunk_size, EPISODE: number, "video_key": layout.camera}
    table, video = (layout.root / path.format(**places) for path in (layout.data_path, layout.video_path))
    return Located(number, length, table, video, start_s=None)


def _episodes_v3(layout: Layout) -> list[Located]:
    """Read ``meta/episodes``: which rows of which file, and which seconds of which video, each episode is."""
    folder = layout.root / "meta" / "episodes"
    files = sorted(folder.glob("chunk-*/file-*.parquet"))
    if not files:
        raise DataError(f"{layout.root}: {folder} holds no chunk-*/file-*.parquet")
    found = [episode for file in files for episode in _located_v3(layout, file)]
    return sorted(found, key=lambda episode: episode.number)


def _located_v3(layout: Layout, file: Path) -> Iterator[Located]:
    """Read one file of the index."""
    video = f"videos/{layout.camera}/"
    names = [EPISODE, "length", "data/chunk_index", "data/file_index"]
    names += [video + name for name in ("chunk_index", "file_index", "from_timestamp")]
    columns = read_columns(str(file), names)
    for values in zip(*(columns[name].reshape(-1).tolist() for name in names), strict=True):
        number, length, data_chunk, data_file, video_chunk, video_file, start_s = values
        table = layout.data_path.format(chunk_index=int(data_chunk), file_index=int(data_file))
        shown = layout.video_path.format(
            video_key=layout.camera, chunk_index=int(video_chunk), file_index=int(video_file)
        )
        yield Located(int(number), int(length), layout.root / table, layout.root / shown, float(start_s))
