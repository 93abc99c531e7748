"""Vision transformers of timm: by name, or as the folders that timm writes and reads."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from jepa.errors import CheckpointError
from jepa.models.encoder import Encoder
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import Names
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.timm_vit import TimmEncoder, load_timm, load_weights
from jepa.preprocess import height_width
from jepa.runtime.seeding import seed_everything
from jepa.types import Grid

BASE = "vit_base_patch16_224"  # a plain ViT of timm's; every number of it is replaced
BLOCK = ("norm1.", "attn.qkv.", "attn.proj.", "norm2.", "mlp.fc1.", "mlp.fc2.")
FILES = ("model.safetensors", "pytorch_model.bin")


class Timm(Format):
    """``timm:NAME`` with timm's published weights, which are downloaded, ``timm:NAME@FILE`` with those in a file.

    Or a folder as timm has them on the Hugging Face Hub: `config.json` with an ``architecture``, and the weights.
    """

    name = "timm"
    title = "a vision transformer of timm"

    def recognises(self, source: Source) -> bool:
        """Whether it is a folder of timm's; a file does not say which model it is of."""
        config = source.config
        return source.path.is_dir() and "architecture" in config and isinstance(config["architecture"], str)

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the model; it has one set of weights."""
        if self.recognises(source):
            return _of_folder(source)
        name = source.text.partition("@")[0]

        def untrained(seed: int) -> Networks:
            seed_everything(seed, "weights")
            return Networks(TimmEncoder(name).requires_grad_(False).eval())

        encoder = load_timm(source.text)
        return Frozen(
            f"timm:{source.text}",
            Networks(encoder),
            untrained,
            read=None,
            shape={"kind": "timm", "name": name},
        )

    def save(self, frozen: Frozen, path: Path) -> None:
        """Write the encoder of images as a folder that ``timm.create_model("local-dir:PATH")`` loads (timm 1.0.16).

        Tokens are the same for images of the encoder's resolution: positions, which are added, become timm's
        position embedding of that grid, and there is no class token. Of an encoder of videos, the embedding of a
        tubelet that one image fills is written. Raises CheckpointError where positions are rotary.
        """
        encoder = frozen.encoder
        if not isinstance(encoder, Encoder):
            raise CheckpointError(
                f"timm: {frozen.source} is {type(encoder).__name__}, not an encoder of this library"
            )
        if encoder.positions.kind == "rotary":
            raise CheckpointError(
                f"timm: {frozen.source} has rotary positions along time, height and width, which no model of timm "
                "has; only encoders with positions sincos or sincos-2d can be written. Use torch-export or onnx"
            )
        weights = _weights(encoder, frozen.source)
        path.mkdir(parents=True, exist_ok=True)
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps(_config(encoder), indent=2)
        (path / "config.json").write_text(f"{text}\n", encoding="utf-8")


def _of_folder(source: Source) -> Frozen:
    """Load a folder of timm's."""
    stored: Any = source.config
    name = str(stored["architecture"])
    # Older folders have the settings of the pixels beside the architecture.
    settings = stored if "pretrained_cfg" in stored else {"pretrained_cfg": stored}

    def untrained(seed: int) -> Networks:
        seed_everything(seed, "weights")
        return Networks(TimmEncoder(name, stored=settings).requires_grad_(False).eval())

    file = next((source.path / each for each in FILES if (source.path / each).is_file()), None)
    if file is None:
        raise CheckpointError(
            f"{source.text} has a config.json of timm and no weights: add {' or '.join(FILES)}"
        )
    encoder = TimmEncoder(name, stored=settings)
    load_weights(encoder, file)
    shape = {"kind": "timm", "name": name, **settings.get("model_args", {})}
    return Frozen(source.text, Networks(encoder), untrained, read=None, shape=shape)


def _weights(encoder: Encoder, source: str) -> dict[str, Tensor]:
    """Return the weights under timm's names. Raises CheckpointError for weights that timm has no place for."""
    if encoder.patch_embed_image is not None:
        embed = encoder.patch_embed_image.state_dict()
    else:
        assert encoder.patch_embed is not None
        embed = encoder.patch_embed.state_dict()
        embed["weight"] = embed["weight"].sum(2)  # an image fills a tubelet: (D, 3, t, p, p) -> (D, 3, p, p)
    state = {
        name: value
        for name, value in encoder.state_dict().items()
        if not name.startswith(("patch_embed.", "patch_embed_image."))
    }
    blocks = [
        (f"blocks.{i}.{part}", f"blocks.{i}.{part}") for i in range(len(encoder.blocks)) for part in BLOCK
    ]
    weights = Names([*blocks, ("norm.", "norm.")]).theirs(state, source)
    height, width = height_width(encoder.resolution)
    grid = Grid(1, height // encoder.patch, width // encoder.patch)
    added = encoder.positions.added(grid, encoder.dim)
    assert added is not None
    weights |= {f"patch_embed.proj.{name}": value for name, value in embed.items()}
    weights["pos_embed"] = added.unsqueeze(0)  # (1, N, D)
    return {name: value.detach().float().cpu().contiguous() for name, value in weights.items()}


def _config(encoder: Encoder) -> dict[str, object]:
    """Return what timm writes in `config.json`: architecture, its arguments, and how pixels are prepared."""
    height, width = height_width(encoder.resolution)
    hidden = encoder.get_parameter("blocks.0.mlp.fc1.weight").shape[0]
    return {
        "architecture": BASE,
        "num_classes": 0,
        "num_features": encoder.dim,
        "global_pool": "avg",
        "model_args": {
            "img_size": [height, width],
            "patch_size": encoder.patch,
            "embed_dim": encoder.dim,
            "depth": len(encoder.blocks),
            "num_heads": encoder.heads,
            "mlp_ratio": hidden / encoder.dim,
            "class_token": False,
            "global_pool": "avg",
            "fc_norm": False,  # the last norm is applied to the tokens, before they are pooled
        },
        "pretrained_cfg": {
            "tag": "jepa",
            "custom_load": False,
            "input_size": [3, height, width],
            "fixed_input_size": True,
            "interpolation": "bilinear",
            "crop_pct": min(height, width) / encoder.resize_to if encoder.resize_to else 1.0,
            "crop_mode": "center",
            "mean": list(encoder.mean),
            "std": list(encoder.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
