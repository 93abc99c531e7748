"""Vision transformers of timm as frozen encoders of clips: every frame alone, with the model's own preprocessing."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from jepa.errors import CheckpointError
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.encoder import token_grid
from jepa.models.formats.exact import load_exactly
from jepa.runtime.weights import read_weights
from jepa.types import Grid

PLAIN = "give a plain ViT such as vit_small_patch16_224"
PIXELS = (
    "input_size",
    "fixed_input_size",
    "mean",
    "std",
    "classifier",
)  # what is taken from a stored pretrained_cfg
WRAPPERS = ("model_ema", "model", "state_dict")  # under which files of weights hold them


class TimmEncoder(ClipEncoder):
    """A ViT of timm that encodes each frame of a clip by itself: a tubelet is one frame.

    Tokens are those of the patches after the model's last norm, as its ``forward_features`` returns them: before any
    pooling, attention pooling too, and before a norm that the model applies to pooled features alone.
    """

    tubelet = 1

    def __init__(
        self, name: str, *, pretrained: bool = False, stored: Mapping[str, Any] | None = None
    ) -> None:
        """Build timm's model ``name``; ``pretrained`` downloads its weights.

        ``stored`` is what a folder of timm's says in its `config.json`: its ``model_args`` and ``pretrained_cfg``
        replace those of the name. Raises CheckpointError for a name that timm does not know, for a model that is no
        plain ViT, and where the weights cannot be had.
        """
        if not timm.is_model(name.partition(".")[0]):
            near = ", ".join(timm.list_models(f"*{name.partition('_')[0]}*")[:5]) or "see timm.list_models()"
            raise CheckpointError(f"timm:{name}: timm {timm.__version__} has no such model; near: {near}")
        model, free = _create(name, pretrained, stored or {})
        settings = resolve_model_data_config(model)  # type: ignore[no-untyped-call]  # timm leaves it so
        mean, std = (tuple(settings[key]) for key in ("mean", "std"))
        super().__init__(tuple(settings["input_size"][1:]), mean, std)
        self.model: Any = model
        self.takes_any_size = free
        self.patch, self.dim = _token(name, model, self.resolution)

    def grid(self, shape: torch.Size | tuple[int, ...]) -> Grid:
        """Return the token grid of a clip of ``shape`` (B, 3, T, H, W); raises ValueError when it does not fit."""
        if not self.takes_any_size and tuple(shape[-2:]) != self.resolution:
            raise ValueError(
                f"this model of timm takes frames of {self.resolution} pixels alone, got {tuple(shape[-2:])}"
            )
        return token_grid(shape, patch=self.patch, tubelet=1)

    def forward(self, clip: Tensor) -> Tensor:
        """Encode every frame: (B, 3, T, H, W) -> (B, T * h * w, D) patch tokens, class and register tokens dropped."""
        self.grid(clip.shape)  # refuses what some of timm's models would take and cut off
        frames = clip.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
        return _patches(self.model, frames).reshape(len(clip), -1, self.dim)


class _Features(nn.Module):
    """A model up to its last norm, as a module that can be called with other weights."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        return _patches(self.model, frames)


def _patches(model: Any, frames: Tensor) -> Tensor:
    """Return the tokens of the patches: (n, 3, H, W) -> (n, h * w, D)."""
    tokens = model.forward_features(frames).flatten(1, -2)  # some return (n, h, w, D)
    return tokens[:, model.num_prefix_tokens :]


def _create(name: str, pretrained: bool, stored: Mapping[str, Any]) -> tuple[Any, bool]:
    """Build the model without its classifier, and say whether it takes images of any size that fits its patch."""
    if "checkpoint_path" in stored.get("model_args", {}):  # older versions of timm unpickle it without care
        raise CheckpointError(
            f"timm:{name}: model_args of its config.json names a checkpoint_path, a second file of weights, which is "
            "not opened; remove it, and put the weights beside config.json"
        )
    settings = {**stored.get("model_args", {}), "num_classes": 0, "pretrained": pretrained}
    if "pretrained_cfg" in stored:
        settings["pretrained_cfg"] = {
            key: value for key, value in stored["pretrained_cfg"].items() if key in PIXELS
        }
    try:
        return _build(name, settings)
    except TypeError as error:
        if not stored:
            raise
        raise CheckpointError(
            f"{name} of timm {timm.__version__} does not take its model_args ({error}); use the timm that wrote them"
        ) from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise CheckpointError(f"timm:{name} cannot be built: {str(error).splitlines()[0]}") from error
        raise CheckpointError(
            f"timm:{name}: its weights cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"download them elsewhere and name the file: timm:{name}@weights.safetensors"
        ) from error


def _build(name: str, settings: Mapping[str, Any]) -> tuple[Any, bool]:
    """Build the model for images of any size where it has such an argument, else as timm has it."""
    try:
        return timm.create_model(name, **{**settings, "dynamic_img_size": True}), True
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
    model: Any = timm.create_model(name, **settings)
    return model, not model.pretrained_cfg.get("fixed_input_size", False)


def _token(name: str, model: Any, resolution: Any) -> tuple[int, int]:
    """Return pixels per side of a patch, and numbers per token. Raises CheckpointError for models without such."""
    sides = sorted({stage["reduction"] for stage in getattr(model, "feature_info", None) or []})
    if len(sides) > 1:
        raise CheckpointError(
            f"timm:{name} is hierarchical: a feature is {sides[0]} to {sides[-1]} pixels wide, from layer to layer; "
            f"{PLAIN}"
        )
    if not sides or not hasattr(model, "num_prefix_tokens"):
        raise CheckpointError(f"timm:{name} has no patch tokens; {PLAIN}")
    # Without data, so that it costs nothing: shapes follow from shapes.
    features = _Features(model).eval()
    weights = {
        key: value.to("meta") for key, value in (*features.named_parameters(), *features.named_buffers())
    }
    frames = torch.empty(1, 3, *resolution, device="meta")
    found: Tensor = torch.func.functional_call(features, weights, (frames,))
    wanted = token_grid((1, 3, 1, *resolution), patch=sides[0], tubelet=1).tokens
    if found.ndim != 3 or found.shape[1] != wanted:
        raise CheckpointError(
            f"timm:{name} gives {tuple(found.shape[1:])} for {resolution} pixels, not one token for each of {wanted} "
            f"patches of {sides[0]} pixels; {PLAIN}"
        )
    return sides[0], found.shape[-1]


def load_timm(source: str) -> TimmEncoder:
    """Load ``NAME`` with timm's published weights, or ``NAME@FILE`` with those in a file.

    The file is one of timm's, or of the model's authors where timm knows their names. Raises CheckpointError as
    `TimmEncoder` does, and for a file that is missing or does not fit.
    """
    name, _, path = source.partition("@")
    encoder = TimmEncoder(name, pretrained=not path)
    if path:
        load_weights(encoder, Path(path))
    return encoder


def load_weights(encoder: TimmEncoder, path: Path) -> None:
    """Load the weights in a file, without the classifier's. Raises CheckpointError unless they are the model's."""
    model, state = encoder.model, read_weights(path)
    while (
        wrapper := next((name for name in WRAPPERS if isinstance(state.get(name), dict)), None)
    ) is not None:
        state = state[wrapper]
    wanted = model.state_dict().keys()
    if not wanted <= state.keys():
        state = _converted(model, state, path)
    heads = model.pretrained_cfg.get("classifier") or "head"
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    kept = {key: value for key, value in state.items() if key in wanted or not key.startswith(prefixes)}
    load_exactly(model, kept, str(path))


def _converted(model: Any, state: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return weights under timm's names, by the rules that timm has for the files of a model's authors."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        with redirect_stdout(sys.stderr):  # some rules print what they leave out
            converted: Mapping[str, Any] = convert(dict(state), model)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not hold the weights of {type(model).__name__} ({type(error).__name__}: {error})"
        ) from error
    return converted
