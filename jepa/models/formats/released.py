"""What the checkpoints of I-JEPA, V-JEPA, V-JEPA 2 and V-JEPA 2.1 share: their parts, their names, their shapes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig, PredictorConfig, SizeConfig
from jepa.errors import CheckpointError
from jepa.models.build import build_networks
from jepa.models.encoder import Encoder
from jepa.models.formats.base import Source
from jepa.models.formats.exact import Names, listed, load_exactly
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.predictor import Predictor
from jepa.models.sizes import SIZES, ViTSize, size
from jepa.preprocess import MEAN, STD

State = Mapping[str, Tensor]
"""Weights of one network by name."""

TARGETS = ("target_encoder", "ema_encoder")  # V-JEPA 2.1's distilled models say ema
ENCODERS = ("encoder", *TARGETS)
PREFIX = re.compile(
    r"^((module|backbone)\.)+"
)  # DistributedDataParallel, and the wrapper around several masks

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 22, 1664: 26}
"""Heads of V-JEPA 2's encoders by width, which no tensor tells (facebookresearch/vjepa2, vision_transformer.py)."""
OLD_HEADS = HEADS | {1408: 16, 1664: 16}
"""Those of I-JEPA and V-JEPA, whose largest models differ (facebookresearch/ijepa and jepa, same file)."""
PREDICTOR_HEADS = 12
"""Heads of the predictors of V-JEPA 2 and 2.1 (facebookresearch/vjepa2, src/hub/backbones.py)."""

ONE_LEVEL: dict[str, object] = {
    "modality_tokens": False,
    "levels": (),
    "predictor.levels": 1,
    "predictor.out": None,
    "predictor.context_head": False,
}
"""What all releases before V-JEPA 2.1 imply, by the names of `facts_of`."""

ENCODER = Names([("patch_embed.proj.", "patch_embed."), ("blocks.", "blocks."), ("norm.", "norm.")])
PREDICTOR = Names(
    [
        ("predictor_embed.", "embed."),
        ("predictor_blocks.", "blocks."),
        ("predictor_norm.", "norm."),
        ("predictor_proj.", "proj."),
    ]
)


class Signs(NamedTuple):
    """What tells the releases apart, from names and shapes alone."""

    axes: int
    """Axes of a patch: 2 of images, 3 of tubelets, 0 where there is no embedding."""
    table: bool
    """Whether the encoder stores positions."""
    norms: bool
    """Whether it has norms of several levels."""
    mask_tokens: int | None
    """Mask tokens of the predictor; None where there is no predictor."""


def signs_of(source: Source) -> Signs | None:
    """Return the signs of a file with networks that are called as in the releases, else None."""
    held = source.state if source.path.is_file() else {}
    found = next((held[name] for name in (*TARGETS, "encoder") if isinstance(held.get(name), dict)), None)
    if found is None:
        return None
    encoder = {PREFIX.sub("", str(name)): value for name, value in found.items()}
    embedding, predictor = encoder.get("patch_embed.proj.weight"), held.get("predictor")
    tokens = None
    if isinstance(predictor, dict):
        tokens = sum("mask_token" in str(name) for name in predictor)
    return Signs(
        axes=embedding.ndim - 2 if isinstance(embedding, Tensor) else 0,
        table="pos_embed" in encoder,
        norms="norms_block.0.weight" in encoder,
        mask_tokens=tokens,
    )


def parts_of(source: Source) -> dict[str, dict[str, Tensor]]:
    """Return the networks of a checkpoint by name, without the prefixes of their weights, and nothing else of it.

    Raises CheckpointError where a network is no dictionary of tensors, or has two of one name.
    """
    return {name: _plain(source, name) for name in (*ENCODERS, "predictor") if name in source.state}


def encoder_of(parts: Mapping[str, dict[str, Tensor]], weights: Weights, source: str) -> dict[str, Tensor]:
    """Return the weights of the encoder that is asked for; a lone ``encoder`` is both. Raises CheckpointError."""
    wanted = (*TARGETS, "encoder") if weights == "target" else ("encoder",)
    for name in wanted:
        if name in parts:
            return parts[name]
    found = ", ".join(parts) or "no network"
    raise CheckpointError(f"{source} holds {found}, but none of {', '.join(wanted)}; ask for other weights")


def shape_of(
    state: State, source: str, *, heads: Mapping[int, int] = HEADS, blocks: str = "blocks."
) -> ViTSize:
    """Tell width, depth and MLP of a ViT from its tensors, and its heads from its width.

    Raises CheckpointError for something else than a ViT, for blocks that are not numbered 0, 1, ..., and for a
    width that is not in ``heads``.
    """
    layers = {name.removeprefix(blocks).partition(".")[0] for name in state if name.startswith(blocks)}
    first = state.get(f"{blocks}0.mlp.fc1.weight")
    if first is None or first.ndim != 2:
        raise CheckpointError(
            f"{source} holds no {blocks}0.mlp.fc1.weight of a vision transformer; use another file"
        )
    if other := sorted(layers - set(map(str, range(len(layers))))):
        raise CheckpointError(
            f"{source} holds {len(layers)} blocks, among them {listed(other)}, but not all before; use another file"
        )
    hidden, width = first.shape
    if width not in heads:
        known = ", ".join(map(str, sorted(heads)))
        raise CheckpointError(
            f"{source} is of width {width}, and no tensor tells its heads; known are the widths {known}"
        )
    return ViTSize(width, len(layers), heads[width], hidden / width)


def size_of(shape: ViTSize) -> str | SizeConfig:
    """Return the name of a shape, or the shape spelled out where it has none."""
    named = next((name for name, known in SIZES.items() if known == shape), None)
    return named or SizeConfig(
        width=shape.width, depth=shape.depth, heads=shape.heads, mlp_ratio=shape.mlp_ratio
    )


def patch_of(state: State, source: str, *, axes: int) -> tuple[int, int]:
    """Return the tubelet, in frames, and the patch, in pixels, of an embedding of videos (3 axes) or images (2).

    Raises CheckpointError where it is missing, or of something else.
    """
    name = "patch_embed.proj.weight"
    found = state.get(name)
    if found is None or found.ndim != 2 + axes or found.shape[-1] != found.shape[-2]:
        what = "missing" if found is None else f"of shape {tuple(found.shape)}"
        raise CheckpointError(
            f"{source}: {name} is {what}, but an embedding of square patches over {axes} axes is needed"
        )
    return (found.shape[2] if axes == 3 else 1), found.shape[-1]


def released_model(state: State, source: str, *, heads: Mapping[int, int] = HEADS) -> ModelConfig:
    """Return what the encoder of a V-JEPA 2 checkpoint is, from the weights as `parts_of` returns them.

    Raises CheckpointError where they are not those of a ViT over tubelets, of a published width.
    """
    tubelet, patch = patch_of(state, source, axes=3)
    shape = size_of(shape_of(state, source, heads=heads))
    return ModelConfig(size=shape, patch=patch, tubelet=tubelet, rotary_layout="released")


def predictor_config(state: State, source: str, *, heads: int, levels: int = 1) -> PredictorConfig:
    """Tell width and depth of a predictor from its tensors; its ``heads`` and ``levels`` are given.

    Raises CheckpointError where it is no ViT, or of a width that the heads do not divide.
    """
    blocks = "predictor_blocks."
    first = state.get(f"{blocks}0.mlp.fc1.weight")
    width = 0 if first is None else first.shape[-1]
    shape = shape_of(state, f"{source}, predictor:", heads={width: heads}, blocks=blocks)
    if width % heads:
        raise CheckpointError(
            f"{source}: the predictor is of width {width}, which its {heads} heads do not divide"
        )
    return PredictorConfig(width=width, depth=shape.depth, heads=heads, levels=levels)


def without_table(state: State) -> dict[str, Tensor]:
    """Leave out a table of positions, which checkpoints of V-JEPA 2 may carry and its rotary attention ignores."""
    return {name: value for name, value in state.items() if name not in ("pos_embed", "predictor_pos_embed")}


def our_predictor(state: State, source: str, table: Names = PREDICTOR) -> dict[str, Tensor]:
    """Rename the weights of a predictor to ours: mask_tokens.0, .1, ... of (1, 1, P) become one (patterns, P).

    Raises CheckpointError for names without a rule, and where a mask token is missing or has another shape.
    """
    tokens = {name: value for name, value in state.items() if name.startswith("mask_tokens.")}
    names = [f"mask_tokens.{index}" for index in range(len(tokens))]
    shapes = {tuple(value.shape) for value in tokens.values()}
    if not tokens or set(tokens) != set(names) or len(shapes) > 1 or min(shapes)[:-1] != (1, 1):
        raise CheckpointError(
            f"{source}: mask tokens must be mask_tokens.0, .1, ... of shape (1, 1, width), found "
            f"{listed(sorted(tokens)) or 'none'} of shapes {sorted(shapes)}; use another file"
        )
    rest = {name: value for name, value in state.items() if name not in tokens}
    return table.ours(rest, source) | {"mask_tokens": torch.cat([tokens[name][0] for name in names])}


def their_predictor(state: State, source: str, table: Names = PREDICTOR) -> dict[str, Tensor]:
    """Undo `our_predictor`."""
    rest = {name: value for name, value in state.items() if name != "mask_tokens"}
    tokens = {f"mask_tokens.{i}": token.reshape(1, 1, -1) for i, token in enumerate(state["mask_tokens"])}
    return table.theirs(rest, source) | tokens


def build_on_meta(architecture: Architecture) -> tuple[Encoder, Predictor | None]:
    """Build networks without weights, which takes no time and draws no random numbers; `fill` gives them some."""
    with torch.device("meta"):
        return build_networks(architecture)


def fill(module: nn.Module, state: State, source: str) -> None:
    """Give a module without weights all of ``state``, in float32. Raises CheckpointError as `load_exactly`."""
    module.to_empty(device="cpu")
    load_exactly(module, state, source)


def assemble(architecture: Architecture, encoder: State, predictor: State | None, source: str) -> Networks:
    """Build the networks of ``architecture`` and load all of their weights, which have our names.

    Raises CheckpointError as `load_exactly`.
    """
    built, narrow = build_on_meta(architecture)
    fill(built, encoder, source)
    if narrow is not None and predictor is not None:
        fill(narrow, predictor, source)
    return Networks(built, narrow)


def expressible(
    frozen: Frozen, what: str, implied: Mapping[str, object], *, heads: Mapping[int, int] = HEADS
) -> Architecture:
    """Return what networks are that a release can hold.

    ``implied`` gives what the release implies, by the names of `facts_of`, and ``heads`` those of a width.
    Raises CheckpointError, naming all that is otherwise, where the networks are others.
    """
    architecture = frozen.architecture
    if architecture is None:
        raise CheckpointError(f"{what} cannot hold {frozen.source}, which is no encoder of this library")
    facts = facts_of(architecture)
    always = {
        "mean": MEAN,
        "std": STD,
        "video": True,
        "heads": heads.get(size(architecture.model.size).width),
    }
    other = [
        f"{name} is {facts[name]}, not {value}"
        for name, value in (always | dict(implied)).items()
        if name in facts and facts[name] != value
    ]
    if other:
        raise CheckpointError(f"{what} cannot hold {frozen.source}: {'; '.join(other)}")
    return architecture


def facts_of(architecture: Architecture) -> dict[str, object]:
    """Return what networks are, as plain values by name; those of a predictor start with ``predictor.``."""
    model, predictor = architecture.model, architecture.predictor
    narrow = {} if predictor is None else {**predictor.model_dump(), "patterns": architecture.patterns}
    side = architecture.resolution
    return {
        **model.model_dump(),
        "heads": size(model.size).heads,
        "depth": size(model.size).depth,
        "video": architecture.video,
        "image": architecture.image,
        "resolution": side[0] if isinstance(side, tuple) and side[0] == side[1] else side,
        "mean": architecture.mean,
        "std": architecture.std,
        **{f"predictor.{name}": value for name, value in narrow.items()},
    }


def heads_of(frozen: Frozen) -> int | None:
    """Return the heads of the encoder, which the predictors of I-JEPA and V-JEPA have too."""
    return None if frozen.architecture is None else size(frozen.architecture.model.size).heads


def write_released(path: Path, encoder: State, predictor: State | None, *, prefix: str) -> None:
    """Write networks to ``path`` as the releases do, so that a reader finds the old file or the new one.

    The encoder stands there as trained encoder and as target, which share their memory: the published readers ask
    for one or the other, and for an epoch, which is 0 here.
    """
    named = {prefix + name: value.detach().cpu() for name, value in encoder.items()}
    state: dict[str, object] = {"encoder": named, "target_encoder": named, "epoch": 0}
    if predictor is not None:
        state["predictor"] = {prefix + name: value.detach().cpu() for name, value in predictor.items()}
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, part)
    os.replace(part, path)


def _plain(source: Source, name: str) -> dict[str, Tensor]:
    """Return one network of a checkpoint, without the prefixes of its weights."""
    found = source.state[name]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{source.text}: {name} is no dictionary of tensors; use another file")
    plain = {PREFIX.sub("", str(key)): value for key, value in found.items()}
    if len(plain) != len(found):
        raise CheckpointError(f"{source.text}: weights of {name} have one name with and without a prefix")
    return plain
