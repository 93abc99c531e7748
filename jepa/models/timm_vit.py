"""Vision transformers of timm as frozen encoders of clips: every frame alone, with the model's own preprocessing."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor

from jepa.errors import CheckpointError
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.encoder import token_grid
from jepa.runtime.weights import read_weights
from jepa.types import Grid


class TimmEncoder(ClipEncoder):
    """A ViT of timm that encodes each frame of a clip by itself: a tubelet is one frame."""

    tubelet = 1

    def __init__(self, name: str, *, pretrained: bool = False) -> None:
        """Build timm's model ``name``; ``pretrained`` downloads its weights.

        Raises CheckpointError for a name that timm does not know, for a model that is no ViT, and where the
        weights cannot be had.
        """
        if not timm.is_model(name.partition(".")[0]):
            near = ", ".join(timm.list_models(f"*{name.partition('_')[0]}*")[:5]) or "see timm.list_models()"
            raise CheckpointError(f"timm:{name}: timm {timm.__version__} has no such model; near: {near}")
        model = _create(name, pretrained=pretrained)
        settings = resolve_model_data_config(model)  # type: ignore[no-untyped-call]  # timm leaves it so
        mean, std = (tuple(settings[key]) for key in ("mean", "std"))
        super().__init__(tuple(settings["input_size"][1:]), mean, std)
        self.model: Any = model
        self.dim = model.embed_dim
        self.patch = model.patch_embed.patch_size[0]

    def grid(self, shape: torch.Size | tuple[int, ...]) -> Grid:
        """Return the token grid of a clip of ``shape`` (B, 3, T, H, W)."""
        return token_grid(shape, patch=self.patch, tubelet=1)

    def forward(self, clip: Tensor) -> Tensor:
        """Encode every frame: (B, 3, T, H, W) -> (B, T * h * w, D) patch tokens, class and register tokens dropped."""
        frames = clip.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
        tokens = self.model.forward_features(frames)[:, self.model.num_prefix_tokens :]  # (B * T, h * w, D)
        return tokens.reshape(len(clip), -1, self.dim)


def _create(name: str, *, pretrained: bool) -> Any:
    """Build the model without its classifier, for images of any size that fits its patch."""
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        raise CheckpointError(
            f"timm:{name} takes no images of other sizes ({error}), so it is no plain ViT; give a ViT such as "
            "vit_small_patch16_224"
        ) from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"timm:{name}: its weights cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"download them elsewhere and name the file: timm:{name}@weights.safetensors"
        ) from error
    if not hasattr(model, "num_prefix_tokens") or not hasattr(model, "patch_embed"):
        raise CheckpointError(f"timm:{name} has no patch tokens; give a ViT such as vit_small_patch16_224")
    return model


def load_timm(source: str) -> TimmEncoder:
    """Load ``NAME`` with timm's published weights, or ``NAME@FILE`` with those in a file.

    Raises CheckpointError as `TimmEncoder` does, and for a file that is missing or does not fit.
    """
    name, _, path = source.partition("@")
    encoder = TimmEncoder(name, pretrained=not path)
    if path:
        state = read_weights(Path(path))
        found = state.get("state_dict", state)
        wanted = encoder.model.state_dict()
        kept = {
            key: value
            for key, value in found.items()
            if key in wanted or not key.startswith(("head.", "fc."))
        }
        try:
            encoder.model.load_state_dict(kept)
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not hold the weights of timm:{name}: {error}") from error
    return encoder
