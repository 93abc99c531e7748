"""Our own format: a folder of model.safetensors, config.json and a model card, which can be moved and published."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import jepa
from jepa.config.data import ReadConfig
from jepa.config.exported import VERSION, ExportedConfig, Notes
from jepa.config.load import parse
from jepa.config.world_model import FrozenFrames, WorldModelArchitecture, WorldModelConfig
from jepa.errors import CheckpointError, ConfigError
from jepa.models.build import build_networks, frozen_networks
from jepa.models.formats import find_format
from jepa.models.formats.base import Format, Source
from jepa.models.formats.card import card
from jepa.models.formats.exact import load_exactly
from jepa.models.frames import FrozenFrameEncoder
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.predictor import Predictor
from jepa.models.world_model import LatentWorldModel, assemble_world_model
from jepa.runtime.run_dir import write_text
from jepa.runtime.weights import ONE_FILE, find_weights, read_weights

INSIDE = "./encoder"  # where a frozen frame encoder lies, from the folder of its world model


class EncoderAndPredictor(nn.ModuleDict):
    """The networks of a folder, by the beginnings of their weights' names."""

    def __init__(self, encoder: nn.Module, predictor: Predictor | None) -> None:
        """Hold an encoder, and a predictor where there is one."""
        super().__init__({"encoder": encoder} | ({} if predictor is None else {"predictor": predictor}))


class Exported(Format):
    """What `jepa export` writes: weights as safetensors, what they are as JSON, and what is known of them as text."""

    name = "jepa"
    title = "a folder that jepa exported"

    def recognises(self, source: Source) -> bool:
        """Whether it is a folder whose config.json says so."""
        return source.path.is_dir() and ("format", self.name) in source.config.items()

    def read_config(self, source: Source) -> ExportedConfig:
        """Return what config.json says. Raises CheckpointError, naming every mistake, where it is not as it should."""
        if not source.config:
            raise CheckpointError(
                f"{source.text} holds no config.json, which says what its weights are; copy the whole folder, or "
                "export it again"
            )
        said = {"version": VERSION, "jepa": "unknown"} | dict(source.config)
        if isinstance(said["version"], int) and said["version"] > VERSION:
            raise CheckpointError(
                f"{source.text} is of version {said['version']} of the format, written by jepa {said['jepa']}; "
                f"this is jepa {jepa.__version__}, which reads versions up to {VERSION}: install a newer jepa"
            )
        try:
            return parse(source.config, ExportedConfig)
        except ConfigError as error:
            raise CheckpointError(
                f"{source.path / 'config.json'} is not as jepa {jepa.__version__} writes it: "
                f"{'; '.join(error.problems)}; use another copy, or the jepa that wrote it"
            ) from error

    def holds_world_model(self, source: Source) -> bool:
        """Whether a world model was exported."""
        return self.read_config(source).kind == "world-model"

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load encoder and predictor; there is one set of weights, chosen when it was exported."""
        config = self.read_config(source)
        if config.architecture is None:
            raise CheckpointError(
                f"{source.text} holds a world model, no encoder of clips; load it with jepa.load_world_model"
            )
        with torch.device("meta"):  # no weight is drawn only to be replaced
            encoder, predictor = build_networks(config.architecture)
        networks = EncoderAndPredictor(encoder, predictor).to_empty(device="cpu")
        load_exactly(networks, read_weights(find_weights(source.path)), source.text)
        return frozen_networks(
            config.architecture,
            Networks(encoder, predictor),
            source.text,
            read=config.read,
            pattern=config.pattern,
            seed=config.seed,
        )

    def load_world_model(self, source: Source) -> LatentWorldModel:
        """Load the world model; a frozen frame encoder comes from the same folder, or from timm."""
        config = self.read_config(source)
        described = config.run or config.world_model
        if described is None:
            raise CheckpointError(
                f"{source.text} holds an encoder, no world model; load it with jepa.load_encoder"
            )
        if isinstance(described.frames, FrozenFrames):
            place = described.frames.source.replace(INSIDE, str(source.path / INSIDE))
            described = described.model_copy(update={"frames": _from(described.frames, place)})
        return assemble_world_model(described, read_weights(find_weights(source.path)), source.text)

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write the networks to the folder ``path``. Raises CheckpointError for networks of another library."""
        if frozen.architecture is None:
            raise CheckpointError(
                f"{frozen.source} is a network of another library, which no Architecture of this one describes; use "
                "it as it is, by the same name"
            )
        encoder, predictor = frozen.networks
        assert predictor is None or isinstance(predictor, Predictor)
        config = ExportedConfig(
            jepa=jepa.__version__,
            kind="encoder",
            source=_name(frozen.source),
            parameters=_counts(EncoderAndPredictor(encoder, predictor)),
            architecture=frozen.architecture,
            read=None if frozen.read is None else ReadConfig.model_validate(frozen.read.model_dump()),
            pattern=frozen.pattern,
            seed=frozen.seed,
        )
        _write(path, config, EncoderAndPredictor(encoder, predictor).state_dict())

    def save_world_model(self, model: nn.Module, path: Path) -> None:
        """Write a world model to the folder ``path``, with its frozen frame encoder where that is one of ours.

        A frame encoder of timm is stored as its name, so with published weights it is fetched again. Raises
        CheckpointError for a model that does not say what it was built from.
        """
        assert isinstance(model, LatentWorldModel)
        parts, run = model.architecture, model.config
        if parts is None:
            raise CheckpointError(
                "this world model does not say what it was built from, which the folder must; build it with "
                "build_world_model(config, ...), or set its architecture"
            )
        frames = parts.frames
        if isinstance(frames, FrozenFrames):
            frames = _from(frames, _store_encoder(frames, path))
        config = ExportedConfig(
            jepa=jepa.__version__,
            kind="world-model",
            source=_name(_origin(parts) if run is None else run.run_dir),
            parameters=_counts(model),
            seed=0 if run is None else run.seed,
            run=None if run is None else _portable(run).model_copy(update={"frames": frames}),
            world_model=None if run is not None else parts.model_copy(update={"frames": frames}),
        )
        _write(path, config, model.state_dict())

    def annotate(self, path: Path, notes: Notes) -> None:
        """Write down what is known of the weights in the folder ``path``, in config.json and in the model card."""
        config = self.read_config(Source(str(path)))
        _describe(path, config.model_copy(update={"notes": notes}))
        if (path / INSIDE / "config.json").is_file():  # what is inside is under the same licence
            self.annotate(path / INSIDE, Notes(licence=notes.licence))


def _portable(config: WorldModelConfig) -> WorldModelConfig:
    """Return ``config`` with the names of this machine's files, without their folders."""
    sources, begun = config.data.sources, config.initial_weights
    names = tails([source.path for source in sources])
    named = tuple(
        source.model_copy(update={"path": name}) for source, name in zip(sources, names, strict=True)
    )
    return config.model_copy(
        update={
            "run_dir": Path(config.run_dir).name,
            "initial_weights": None if begun is None else Path(begun).name,
            "data": config.data.model_copy(update={"sources": named}),
        }
    )


def _from(frames: FrozenFrames, source: str) -> FrozenFrames:
    """Return ``frames`` with another source."""
    return frames.model_copy(update={"source": source})


def _store_encoder(frames: FrozenFrames, path: Path) -> str:
    """Write a frozen frame encoder below ``path``, where it is needed there; return what names it from then on."""
    found, place = find_format(frames.source)
    if found.name == "timm" and "@" not in frames.source:
        return frames.source
    frozen = found.load(place, frames.weights)
    if found.name != "timm":
        Exported().save(frozen, path / INSIDE)
        return INSIDE
    name = place.text.partition("@")[0]
    file = Path(INSIDE, ONE_FILE)
    (path / file).parent.mkdir(parents=True, exist_ok=True)
    _save_tensors(
        {key.removeprefix("model."): value for key, value in frozen.encoder.state_dict().items()}, path / file
    )
    return f"timm:{name}@./{file}"


def tails(paths: list[str]) -> list[str]:
    """Return the ends of paths, as few of their names as tell them apart: a/b/train, a/c/train -> b/train, c/train."""
    parts = [Path(path).parts for path in paths]
    longest = max((len(each) for each in parts), default=0)
    for length in count(1):
        ends = [str(Path(*each[-length:])) for each in parts]
        if len(set(ends)) == len(set(paths)) or length >= longest:
            return ends
    raise AssertionError("counting does not end")


def _name(source: str) -> str:
    """Return what a source is called: of a checkpoint in a run directory, the run's name."""
    path = Path(source)
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.name


def _origin(parts: WorldModelArchitecture) -> str:
    """Return where a world model that was trained elsewhere came from, which is where its frame encoder did."""
    return parts.frames.source if isinstance(parts.frames, FrozenFrames) else "world model"


def _counts(module: nn.Module) -> dict[str, int]:
    """Count the parameters of each part of a module that has any, among them a frozen frame encoder."""
    parts = dict(module.named_children())
    if isinstance(module, LatentWorldModel) and isinstance(module.frames, FrozenFrameEncoder):
        parts = {"encoder": module.frames.encoder, **parts}
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return {name: size for name, size in sizes.items() if size}


def _write(path: Path, config: ExportedConfig, state: Mapping[str, Tensor]) -> None:
    """Write weights, config and model card."""
    path.mkdir(parents=True, exist_ok=True)
    _save_tensors(state, path / ONE_FILE)
    _describe(path, config)


def _describe(path: Path, config: ExportedConfig) -> None:
    """Write config and model card."""
    write_text(path / "config.json", config.model_dump_json(indent=2) + "\n")
    write_text(path / "README.md", card(config))


def _save_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, each whole and by itself."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    save_file(tensors, path, metadata={"format": "pt"})
