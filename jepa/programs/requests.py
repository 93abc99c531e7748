"""Which features are wanted: who computes them, and all that they depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa.config.data import ReadConfig
from jepa.config.probe import ClipsConfig, EmbedConfig
from jepa.data.decode import resolve_decoder
from jepa.data.evaluation import Cut
from jepa.data.feature_store import SHARD_ENTRIES, TOKEN_SHARD_ENTRIES, Manifest
from jepa.data.locations import file_of
from jepa.data.sources import Source
from jepa.data.storage import stamp
from jepa.errors import ConfigError
from jepa.models.fingerprint import fingerprint
from jepa.models.frozen import Frozen, Networks
from jepa.models.pooling import POOLINGS
from jepa.probes.anticipation import Anticipation
from jepa.probes.features import RAW, TOKENS, Reader, raw_reader, token_reader

READER_VERSION = 1  # raise it when the same weights and files give other features


@dataclass(frozen=True)
class Contents:
    """A source, and the state of its files: the same path may hold another video tomorrow."""

    source: Source
    state: str
    """Changes with any entry, and with the size or the time of any file."""

    @classmethod
    def of(cls, source: Source) -> "Contents":
        """Ask the file system once for every file."""
        files = {entry.path: file_of(entry.path) for entry in source.entries}
        stamps = {file: stamp(file) for file in set(files.values())}
        entries = [
            [entry.path, entry.start, entry.end, *stamps[files[entry.path]]] for entry in source.entries
        ]
        return cls(source, fingerprint(None, {"entries": entries}))


@dataclass(frozen=True)
class Request:
    """One set of features of one source: who computes it, and all that it depends on."""

    model: str
    kinds: tuple[str, ...]
    reader: Reader
    settings: Mapping[str, Any]
    """Plain values; with the files of the source they make the fingerprint."""
    config: EmbedConfig

    def fingerprint(self, contents: Contents) -> str:
        """Return the name of the features of a source."""
        return fingerprint(None, {**self.settings, "files": contents.state})

    def folder(self, root: Path, contents: Contents) -> Path:
        """Return where the features are kept."""
        return root / f"{self.fingerprint(contents)[:20]}{'-tokens' if TOKENS in self.kinds else ''}"

    def manifest(self, contents: Contents) -> Manifest:
        """Return the manifest of the features of a source."""
        source = contents.source
        return Manifest(
            fingerprint=self.fingerprint(contents),
            model=self.model,
            settings=dict(self.settings),
            kinds=self.kinds,
            config=self.config.model_dump(mode="json", include=set(EmbedConfig.model_fields)),
            dtype=self.config.feature_dtype,
            source=source.name,
            modality=source.modality,
            classes=source.classes,
            targets=source.targets,
            entries=len(source.entries),
            shard_entries=TOKEN_SHARD_ENTRIES if TOKENS in self.kinds else SHARD_ENTRIES,
        )


def encoder_request(
    config: EmbedConfig, frozen: Frozen, networks: Networks, read: ReadConfig, *, tokens: bool = False
) -> Request:
    """Describe the features of ``networks``, pooled in every way, and the tokens themselves with ``tokens``.

    Raises ConfigError for ``config.predict_steps`` without a predictor.
    """
    encoder, predictor = networks
    settings = _settings(read, config.clips) | {
        "encoder": fingerprint(encoder, frozen.shape),
        "dtype": config.dtype,
        "feature_dtype": config.feature_dtype,
    }
    kinds = (*POOLINGS, *([TOKENS] if tokens else []))
    if not config.predict_steps:
        reader = token_reader(encoder, tokens=tokens, dtype=config.dtype)
        return Request(frozen.source, kinds, reader, settings, config)
    if predictor is None:
        raise ConfigError(f"predict_steps: {frozen.source} has no predictor; set it to 0, or give a run")
    if not predictor.taken == predictor.given == encoder.dim:
        raise ConfigError(
            f"predict_steps: the predictor of {frozen.source} takes {predictor.taken} and gives {predictor.given} "
            f"numbers a token, but its encoder gives {encoder.dim}; set it to 0, or give another source"
        )
    ahead = Anticipation(encoder, predictor, steps=config.predict_steps, pattern=frozen.pattern)
    settings |= {
        "predictor": fingerprint(predictor, {}),
        "predict_steps": config.predict_steps,
        "pattern": frozen.pattern,
    }
    reader = token_reader(ahead, tokens=tokens, dtype=config.dtype)
    return Request(frozen.source, kinds, reader, settings, config)


def raw_request(config: EmbedConfig, read: ReadConfig, *, tokens: bool = False) -> Request:
    """Describe the raw-pixel baseline."""
    settings = _settings(read, config.clips) | {"encoder": RAW, "feature_dtype": config.feature_dtype}
    kinds = (RAW, *([TOKENS] if tokens else []))
    return Request("raw pixels", kinds, raw_reader(tokens=tokens), settings, config)


def _settings(read: ReadConfig, clips: ClipsConfig) -> dict[str, Any]:
    """Return what the pixels of the clips depend on."""
    keys = ("frames_per_clip", "fps", "stride", "resolution", "mean", "std", "short_side")
    said = read.model_dump(mode="json", include=set(keys))
    return said | {
        "version": READER_VERSION,
        "decoder": resolve_decoder(read.decoder),
        "clips_per_video": clips.clips_per_video,
        "views": clips.views,
        "ahead_s": clips.ahead_s,
    }


def cut_of(clips: ClipsConfig) -> Cut:
    """Return which clips are taken of each entry."""
    return Cut(clips.clips_per_video, clips.views, clips.ahead_s)


def check_rate(model: str, read: ReadConfig, source: Source) -> None:
    """Refuse videos when neither the model nor the config says how clips are cut."""
    if source.modality == "video" and read.fps is None and read.stride is None:
        raise ConfigError(
            f"clips: {model} does not say how clips are cut; set clips.frames_per_clip, and clips.fps or clips.stride"
        )
