"""What a user means by a word on the command line: a source of clips, or a folder of features."""

from pathlib import Path
from typing import Literal

from jepa.config.data import FileSource, ShardSource
from jepa.config.probe import FeatureSource
from jepa.data.feature_store import FeatureStore
from jepa.data.locations import is_url
from jepa.data.sources import IMAGE_SUFFIXES
from jepa.errors import ConfigError, DataError


def source_named(path: str, *, split: str | None = None) -> FileSource | FeatureSource:
    """Return the source at ``path``: features, a list, a tree of images or a tree of videos.

    Raises DataError when there is nothing at ``path``.
    """
    if (Path(path) / "manifest.json").is_file() and (Path(path) / "shards").is_dir():
        return FeatureSource(kind="features", path=path)
    return FileSource(kind=kind_of(Path(path)), path=path, split=split)


def clips_at(path: str) -> FileSource | ShardSource:
    """Return the source of clips at ``path``: shards, a list, a tree of images or a tree of videos.

    Raises DataError when there is nothing at ``path``.
    """
    folder = Path(path)
    if is_url(path) or path.endswith(".tar") or (folder.is_dir() and any(folder.glob("*.tar"))):
        return ShardSource(kind="shards", path=path)
    return FileSource(kind=kind_of(folder), path=path)


def kind_of(path: Path) -> Literal["folder", "csv", "images"]:
    """Tell a list from a tree of images and a tree of videos. Raises DataError when there is nothing at ``path``."""
    if path.is_file():
        return "csv"
    if not path.is_dir():
        raise DataError(f"{path} does not exist; give a folder of videos or images, or a list of files")
    images = any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*"))
    return "images" if images else "folder"


def model_of(path: str) -> str:
    """Return the encoder whose features lie in a folder. Raises ConfigError when ``path`` is no such folder."""
    if not isinstance(source_named(path), FeatureSource):
        raise ConfigError(f"--model is missing: {path} holds no features that would name their encoder")
    return FeatureStore.open(path).manifest.model
