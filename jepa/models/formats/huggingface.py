"""Folders of Hugging Face's transformers: V-JEPA 2's encoder and predictor, with or without a classifier."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from jepa.config.architecture import Architecture
from jepa.config.method import SizeConfig
from jepa.errors import CheckpointError
from jepa.models.build import build_networks, frozen_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import Names, below, listed, load_exactly
from jepa.models.formats.huggingface_config import (
    HubConfig,
    HubProcessor,
    hub_architecture,
    read_hub_processor,
    square,
)
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.sizes import size
from jepa.preprocess import height_width
from jepa.runtime.weights import ONE_FILE, find_weights, read_weights

BASE = "vjepa2."  # before the names of encoder and predictor where a classifier stands beside them
HEADS = ("pooler.", "classifier.")  # of VJEPA2ForVideoClassification; `jepa.load_probe` reads them
QKV = ("attention.query", "attention.key", "attention.value")
MASK_TOKENS = "predictor.embeddings.mask_tokens"

REASONS = {
    "model.positions": "it has rotary positions alone",
    "model.rotary_layout": "its attention turns channels as V-JEPA 2 was released, and weights learn with one layout",
    "model.position_grid": "it takes every grid as it is",
    "video": "it embeds tubelets alone",
    "image": "it embeds tubelets alone",
    "predictor": "its models always have a predictor, and one of random weights would be passed off as learned",
    "resolution": "it counts positions on a square",
}
"""Why transformers cannot express a key of an architecture."""


class HuggingFace(Format):
    """A folder of `VJEPA2Model` or `VJEPA2ForVideoClassification` (transformers, modeling_vjepa2.py).

    There, positions are counted on the square grid of `crop_size`, whatever the clip; here, on the clip's own. Both
    agree on clips of `crop_size` pixels, of any length. The predictor there uses mask token 1 (of n: 1 % n).
    """

    name = "hf"
    title = "a Hugging Face folder of V-JEPA 2"

    def recognises(self, source: Source) -> bool:
        """Whether it is a folder whose `config.json` says vjepa2."""
        return "model_type" in source.config and source.config["model_type"] == "vjepa2"

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load encoder and predictor; the folder has one set of weights, and what it has of a classifier is left."""
        config = HubConfig.checked(dict(source.config), f"{source.text}: config.json")
        processor = read_hub_processor(source.path, config)
        architecture = hub_architecture(config, processor, source.text)
        encoder, predictor = build_networks(architecture)
        assert predictor is not None
        state = base_weights(read_weights(find_weights(source.path)), source.text)
        renamed = _names(config).ours(fused(state, QKV, "attention.qkv"), source.text)
        tokens = renamed.pop("predictor.mask_tokens", None)
        if tokens is not None:
            renamed["predictor.mask_tokens"] = tokens.reshape(-1, tokens.shape[-1])  # (n, 1, 1, P) -> (n, P)
        load_exactly(encoder, below("encoder.", renamed), source.text)
        load_exactly(predictor, below("predictor.", renamed), source.text)
        return frozen_networks(
            architecture, Networks(encoder, predictor), source.text, pattern=config.pattern
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write `config.json`, `model.safetensors` in float32 and `video_preprocessor_config.json` to a folder.

        `transformers.AutoModel` and `AutoVideoProcessor` load it. Raises CheckpointError, before anything is
        written, where ``path`` is a file, and for networks that transformers cannot express.
        """
        from safetensors.torch import save_file

        if path.exists() and not path.is_dir():
            raise CheckpointError(f"{path} is a file; a Hugging Face folder needs a folder")
        config, processor = _expressed(frozen)
        assert frozen.networks.predictor is not None
        parts = {"encoder.": frozen.networks.encoder, "predictor.": frozen.networks.predictor}
        state = {
            prefix + name: value.detach().to("cpu", torch.float32)
            for prefix, part in parts.items()
            for name, value in part.state_dict().items()
        }
        theirs = split(_names(config).theirs(state, frozen.source), "attention.qkv", QKV)
        theirs[MASK_TOKENS] = theirs[MASK_TOKENS][:, None, None]  # (n, P) -> (n, 1, 1, P)
        path.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: value.contiguous() for name, value in theirs.items()},
            path / ONE_FILE,
            metadata={"format": "pt"},
        )
        _write_json(path / "video_preprocessor_config.json", processor.model_dump(exclude_none=True))
        _write_json(path / "config.json", config.model_dump(exclude_none=True) | {"dtype": "float32"})


def base_weights(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return encoder and predictor alone, by the names of `VJEPA2Model`.

    Raises CheckpointError for weights that belong neither to them nor to a classifier.
    """
    if not any(name.startswith(BASE) for name in state):
        return dict(state)
    unknown = [name for name in state if not name.startswith((BASE, *HEADS))]
    if unknown:
        raise CheckpointError(f"{source} holds {len(unknown)} weights of unknown names: {listed(unknown)}")
    return below(BASE, state)


def fused(state: Mapping[str, Tensor], parts: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """Stack the weights named by ``parts``, in this order, under the name ``whole``; others stay as they are.

    Where one of them is missing or of another shape, none is touched, so that an exact load lists them.
    """
    result = dict(state)
    for name in state:
        if f"{parts[0]}." in name:
            names = [name.replace(f"{parts[0]}.", f"{part}.") for part in parts]
            found = [state[each] for each in names if each in state]
            if len(found) == len(parts) and len({value.shape for value in found}) == 1:
                result[name.replace(f"{parts[0]}.", f"{whole}.")] = torch.cat(found)
                for each in names:
                    del result[each]
    return result


def split(state: Mapping[str, Tensor], whole: str, parts: tuple[str, ...]) -> dict[str, Tensor]:
    """Undo `fused`."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        if f"{whole}." in name:
            names = [name.replace(f"{whole}.", f"{part}.") for part in parts]
            result |= zip(names, value.chunk(len(parts)), strict=True)
        else:
            result[name] = value
    return result


def _names(config: HubConfig) -> Names:
    """Return their names and ours of encoder and predictor."""
    table = [
        ("encoder.embeddings.patch_embeddings.proj.", "encoder.patch_embed."),
        ("encoder.layernorm.", "encoder.norm."),
        ("predictor.embeddings.predictor_embeddings.", "predictor.embed."),
        (MASK_TOKENS, "predictor.mask_tokens"),
        ("predictor.layernorm.", "predictor.norm."),
        ("predictor.proj.", "predictor.proj."),
    ]
    depths = {"encoder": config.num_hidden_layers, "predictor": config.pred_num_hidden_layers}
    for part, depth in depths.items():
        for number in range(depth):
            theirs, ours = f"{part}.layer.{number}.", f"{part}.blocks.{number}."
            table += [(f"{theirs}attention.", f"{ours}attn."), (theirs, ours)]
    return Names(table)


def _expressed(frozen: Frozen) -> tuple[HubConfig, HubProcessor]:
    """Return the JSON files. Raises CheckpointError that lists what they would lose."""
    ours = frozen.architecture
    if ours is None:
        raise CheckpointError(
            f"{frozen.source} is no encoder of this library's own architecture, and Hugging Face's VJEPA2 has no "
            "other; use the tools that it comes from"
        )
    frames = None if frozen.read is None else frozen.read.frames_per_clip
    config, processor = HubConfig.of(ours, frames, frozen.pattern), HubProcessor.of(ours)
    wanted, theirs = _flat(_spelled_out(ours)), _flat(config.architecture(processor))
    lost = [
        key for key in sorted(wanted.keys() | theirs.keys()) if _value(wanted, key) != _value(theirs, key)
    ]
    if ours.predictor is None:
        lost = ["predictor", *(key for key in lost if not key.startswith("predictor."))]
    if lost:
        known = [
            f"{key} {_value(wanted, key)!r}" + (f" ({REASONS[key]})" if key in REASONS else "")
            for key in lost
        ]
        raise CheckpointError(
            f"Hugging Face's VJEPA2 cannot express {'; '.join(known)}; save {frozen.source} in another format"
        )
    return config, processor


def _spelled_out(architecture: Architecture) -> Architecture:
    """Say the same in the one way in which a folder says it; what only training reads is left out."""
    shape, (height, width) = size(architecture.model.size), height_width(architecture.resolution)
    ratio = round(shape.width * shape.mlp_ratio) / shape.width
    named = SizeConfig(width=shape.width, depth=shape.depth, heads=shape.heads, mlp_ratio=ratio)
    return architecture.model_copy(
        update={
            "model": architecture.model.model_copy(update={"size": named, "checkpoint_activations": False}),
            "resolution": height if height == width else (height, width),
            "resize_to": architecture.resize_to or square(architecture),
        }
    )


def _flat(architecture: Architecture) -> dict[str, object]:
    """Return the keys of an architecture by their whole names; those of size and predictor one by one."""
    values: dict[str, object] = {}
    for key, value in architecture.model_dump().items():
        if isinstance(value, dict):
            values |= {f"{key}.{inner}": each for inner, each in value.items()}
        else:
            values[key] = value
    return values


def _value(values: Mapping[str, object], key: str) -> object:
    """Return what ``key`` has, None where it is not said."""
    return values[key] if key in values else None


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write keys in their alphabetical order, as transformers does."""
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
