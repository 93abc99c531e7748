"""The model card of an exported folder: for people, what config.json says."""

import json
from collections.abc import Sequence

from jepa.config.architecture import Architecture
from jepa.config.exported import ExportedConfig, Number
from jepa.config.world_model import FrozenFrames, WorldModelArchitecture, WorldModelConfig
from jepa.models.sizes import size

ENCODER_USE = """```python
import jepa

encoder = jepa.load_encoder("path/to/this/folder")
clip = encoder.preprocess(frames)  # frames: uint8 (T, H, W, 3), of any size
tokens = encoder(clip)             # (1, N, {width})
feature = encoder.embed(clip)      # (1, {width}): the mean over tokens
```"""
WORLD_MODEL_USE = """```python
import jepa

world_model = jepa.load_world_model("path/to/this/folder")
z = world_model.encode(frames)            # frames: uint8 (B, T, H, W, 3) -> (B, T, N, D)
future = world_model.rollout(z, actions)  # actions: (B, H, A), each of {step} -> (B, H, N, D)
```"""
FRAMES = {
    "frozen": "a frozen encoder",
    "vit": "a ViT, trained with the dynamics",
    "conv": "convolutions, trained with the dynamics",
}


def card(config: ExportedConfig) -> str:
    """Return the model card: front matter as the Hugging Face Hub reads it, then markdown."""
    notes = config.notes
    if config.architecture is not None:
        rows = encoder_rows(config.architecture)
        what = f"A frozen encoder of {rows['takes']}"
        use = ENCODER_USE.format(width=size(config.architecture.model.size).width)
        if config.read is not None and config.architecture.video:
            rows["clips in training"] = (
                f"{config.read.frames_per_clip} frames, {_rate(config.read.fps, config.read.stride)}"
            )
    else:
        described = config.run or config.world_model
        assert described is not None
        what, rows = (
            "A world model: it predicts what actions lead to, in a latent space",
            world_model_rows(described),
        )
        parts = described.architecture if isinstance(described, WorldModelConfig) else described
        use = WORLD_MODEL_USE.format(step=_step(parts.frame_skip))
    rows["parameters"] = ", ".join(f"{part} {count:,}" for part, count in config.parameters.items())
    lines = [
        *_front_matter(config),
        f"# {config.source}",
        "",
        f"{what}; exported by jepa {config.jepa}. "
        "`config.json` holds every setting, `model.safetensors` the weights, which cannot run code.",
        "",
        *_table(("part", "what it is"), [(name, value) for name, value in rows.items()]),
        *(
            "",
            "## Training",
            "",
            f"{notes.training}. Seed {config.seed}." if notes.training else "Not stated.",
            "",
        ),
        *(f"- {name}" for name in notes.data or ("Data: not stated.",)),
        *("", "## Numbers", ""),
        *(_numbers(notes.numbers) or ["None stated."]),
        *[part for line in notes.protocol for part in ("", line)],
        *("", "## Use", "", use, ""),
        *("## Licence", ""),
        notes.licence
        or "None stated: ask whoever trained these weights before you use them for more than a look.",
    ]
    return "\n".join(lines) + "\n"


def encoder_rows(architecture: Architecture) -> dict[str, str]:
    """Describe encoder and predictor, a row each."""
    model, shape = architecture.model, size(architecture.model.size)
    inputs = [
        name for name, there in (("video", architecture.video), ("images", architecture.image)) if there
    ]
    cube = f"{model.patch} x {model.patch} pixels" + (
        f", {model.tubelet} frames" if architecture.video else ""
    )
    positions = {"rotary": f"rotary, {model.rotary_layout}"}.get(model.positions, model.positions)
    rows = {
        "encoder": f"ViT, width {shape.width}, depth {shape.depth}, {shape.heads} heads, MLP x {shape.mlp_ratio:.3g}",
        "takes": " and ".join(inputs),
        "resolution": f"{_pixels(architecture.resolution)} pixels; mean {_triple(architecture.mean)}, deviation "
        f"{_triple(architecture.std)}",
        "token": cube,
        "positions": positions
        if model.position_grid is None
        else f"{positions}, learned on {model.position_grid}",
    }
    if architecture.predictor is not None:
        narrow = architecture.predictor
        rows["predictor"] = (
            f"width {narrow.width}, depth {narrow.depth}, {narrow.heads} heads, mask tokens: {architecture.patterns}"
        )
    return rows


def world_model_rows(config: WorldModelConfig | WorldModelArchitecture) -> dict[str, str]:
    """Describe a world model, a row for each part."""
    parts = config.architecture if isinstance(config, WorldModelConfig) else config
    frames, dynamics = parts.frames, parts.dynamics
    source = f": {frames.source}" if isinstance(frames, FrozenFrames) else ""
    shape = dynamics.model_dump(exclude={"kind"})
    rows = {
        "frames": f"{FRAMES[frames.kind]}{source}",
        "resolution": f"{_pixels(parts.resolution)} pixels",
        "dynamics": f"{dynamics.kind}, {', '.join(f'{key} {value}' for key, value in shape.items())}",
        "model step": _step(parts.frame_skip),
    }
    if isinstance(config, WorldModelConfig):
        rows["proprioception"] = "yes" if config.data.proprio else "no"
        rows["objective"] = config.objective.kind
    return rows | ({} if parts.value is None else {"distance in time": "learned"})


def _step(frame_skip: int) -> str:
    """Write how long a model step is."""
    return f"{frame_skip} environment step{'s' if frame_skip > 1 else ''}"


def _front_matter(config: ExportedConfig) -> list[str]:
    """Return the YAML between its lines; JSON's quoting is YAML's."""
    tags = ["jepa", "self-supervised-learning", "world-model" if config.kind == "world-model" else "video"]
    licence = [] if config.notes.licence is None else [f"license: {json.dumps(config.notes.licence)}"]
    return ["---", "library_name: jepa", *licence, "tags:", *(f"- {tag}" for tag in tags), "---", ""]


def _numbers(numbers: tuple[Number, ...]) -> list[str]:
    """Return a table of what was measured; empty for nothing."""
    rows = [(number.what, number.measure, f"{number.value:.4g}", _spread(number)) for number in numbers]
    return _table(("what", "measure", "value", "spread"), rows) if rows else []


def _spread(number: Number) -> str:
    """Write what is known of a number's spread."""
    if number.deviation is not None:
        return f"± {number.deviation:.2g} over seeds"
    return (
        "" if number.low is None or number.high is None else f"{number.low:.4g} to {number.high:.4g} (95 %)"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table."""
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def _rate(fps: float | None, stride: int | None) -> str:
    """Write how densely clips were cut."""
    if fps is not None:
        return f"{fps:g} per second"
    return (
        "every frame of the file"
        if stride == 1
        else f"one of {stride} of the file"
        if stride
        else "rate not stated"
    )


def _pixels(resolution: int | tuple[int, int]) -> str:
    """Write height and width."""
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    return f"{height} x {width}"


def _triple(values: tuple[float, ...]) -> str:
    """Write three numbers."""
    return " ".join(f"{value:.3g}" for value in values)
