"""Attentive heads that others trained: Hugging Face's classifiers, and checkpoints of the published evaluations."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from jepa.errors import CheckpointError
from jepa.models.formats.base import Source
from jepa.models.formats.exact import Names, listed
from jepa.models.formats.huggingface import BASE, HEADS, fused
from jepa.models.formats.huggingface_config import HubConfig
from jepa.probes.attentive import NORM_EPS, AttentiveProbe
from jepa.runtime.device import resolve_device
from jepa.runtime.weights import find_weights, read_weights

PUBLISHED_HEADS = 16  # attention heads of all published evaluations; their checkpoints do not say

# Ours on the right; of the cross-attention's keys, "k.bias" has no counterpart and is left out by `_restored`.
EVALUATION = (
    ("pooler.query_tokens", "query"),
    ("pooler.cross_attention_block.norm", "norm"),
    ("pooler.cross_attention_block.xattn.proj.", "unused."),
    ("pooler.cross_attention_block.xattn.", ""),
    ("pooler.cross_attention_block.mlp.", ""),
    ("linear.", "linear."),
)
EVALUATION_BLOCK = (("norm", "norm"), ("attn.", ""), ("mlp.", ""))
HUB = (
    ("pooler.query_tokens", "query"),
    ("pooler.cross_attention_layer.layer_norm", "norm"),
    ("pooler.cross_attention_layer.cross_attn.q_proj.", "q."),
    ("pooler.cross_attention_layer.cross_attn.k_proj.", "k."),
    ("pooler.cross_attention_layer.cross_attn.v_proj.", "v."),
    ("pooler.cross_attention_layer.mlp.", ""),
    ("classifier.", "linear."),
)
HUB_BLOCK = (("layer_norm", "norm"), ("self_attn.out_proj.", "proj."), ("self_attn.", ""), ("mlp.", ""))


def load_probe(
    source: str | Path,
    *,
    number: int | None = None,
    attention_heads: int | None = None,
    device: str = "auto",
) -> AttentiveProbe:
    """Load a fitted attentive head, which answers `decision`, `predict` and `predict_proba` on an encoder's tokens.

    ``source`` is a Hugging Face folder of VJEPA2ForVideoClassification, whose labels it keeps as `labels`, or a
    checkpoint of the frozen evaluations of V-JEPA (depth 1) and V-JEPA 2. Of a checkpoint that holds several heads,
    ``number`` says which, from 0. ``attention_heads`` is for checkpoints that were trained with others than 16.
    Every weight is accounted for; a key's bias in the cross-attention is the one that is left out, as it adds the
    same to all scores of a query. Raises CheckpointError where ``source`` holds no such head.
    """
    place = Source(str(source))
    place.check_exists()
    if place.path.is_dir():
        if number is not None or attention_heads is not None:
            raise CheckpointError(
                f"{source} is a folder, which holds one head and says how many attention heads it has; "
                "leave number and attention_heads out"
            )
        return _of_folder(place, device)
    return _of_checkpoint(place, number, attention_heads or PUBLISHED_HEADS, device)


def _of_folder(source: Source, device: str) -> AttentiveProbe:
    """Load the pooler and the classifier that stand beside an encoder."""
    if "model_type" not in source.config:
        raise CheckpointError(
            f"{source.text} is {source.summary()}. Heads are read from a folder of VJEPA2ForVideoClassification with "
            "its config.json, or from a checkpoint of a frozen evaluation"
        )
    config = HubConfig.checked(dict(source.config), f"{source.text}: config.json")
    weights: Mapping[str, Tensor] = read_weights(find_weights(source.path))
    state = {name: value for name, value in weights.items() if not name.startswith(BASE)}
    if not any(name.startswith(HEADS) for name in state):
        raise CheckpointError(
            f"{source.text} holds no classifier, only {', '.join(config.architectures or ['a model'])}; use a folder "
            "of VJEPA2ForVideoClassification"
        )
    before = "pooler.self_attention_layers."
    ours = _table(HUB, HUB_BLOCK, before, config.num_pooler_layers).ours(state, source.text)
    ours = fused(ours, ("q_proj", "k_proj", "v_proj"), "qkv")
    labels = [name for _, name in sorted((int(key), name) for key, name in (config.id2label or {}).items())]
    probe = AttentiveProbe(
        blocks=config.num_pooler_layers,
        heads=config.num_attention_heads,
        norm_eps=config.layer_norm_eps,
        device=resolve_device(device),
    )
    return _restored(probe, ours, source.text, labels)


def _of_checkpoint(source: Source, number: int | None, heads: int, device: str) -> AttentiveProbe:
    """Load a head of a frozen evaluation (facebookresearch/vjepa2 and jepa, src/models/attentive_pooler.py)."""
    state = {name.removeprefix("module."): value for name, value in _chosen(source, number).items()}
    before = "pooler.blocks."
    found = {int(digits[1]) for name in state if (digits := re.match(re.escape(before) + r"(\d+)\.", name))}
    blocks = max(found, default=-1) + 1
    ours = _table(EVALUATION, EVALUATION_BLOCK, before, blocks).ours(state, source.text)
    unused = [name for name in ours if name.startswith("unused.")]
    if unused and blocks:
        raise CheckpointError(
            f"{source.text} is a V-JEPA 1 head of {blocks + 1} blocks, which refine the query after it has looked; "
            "heads here look last. Use one of depth 1, as published"
        )
    for name in unused:  # V-JEPA 1 has a projection that its forward pass never calls
        del ours[name]
    for kind in ("weight", "bias"):
        if f"kv.{kind}" in ours:
            ours[f"k.{kind}"], ours[f"v.{kind}"] = ours.pop(f"kv.{kind}").chunk(2)
    probe = AttentiveProbe(blocks=blocks, heads=heads, norm_eps=NORM_EPS, device=resolve_device(device))
    return _restored(probe, ours, source.text)


def _chosen(source: Source, number: int | None) -> Mapping[str, Tensor]:
    """Return the weights of one head of a checkpoint."""
    keys = [key for key in ("classifiers", "classifier") if key in source.state]
    if not keys:
        raise CheckpointError(
            f"{source.text} holds {listed(sorted(map(str, source.state)))}, but no 'classifiers' or 'classifier'; use "
            "a checkpoint of a frozen evaluation, or a folder of VJEPA2ForVideoClassification"
        )
    several = source.state[keys[0]]
    several = [several] if isinstance(several, dict) else several
    if not isinstance(several, list) or not several or not all(isinstance(each, dict) for each in several):
        raise CheckpointError(f"{source.text} holds no weights under {keys[0]!r}; use another copy")
    if number is None and len(several) > 1:
        raise CheckpointError(
            f"{source.text} holds {len(several)} heads, one for each setting of its training; give number=0 to "
            f"{len(several) - 1}, the best by its log"
        )
    if not 0 <= (number or 0) < len(several):
        raise CheckpointError(
            f"{source.text} holds {len(several)} heads, counted from 0: there is no {number}"
        )
    chosen: Mapping[str, Tensor] = several[number or 0]
    return chosen


def _table(
    names: Sequence[tuple[str, str]], block: Sequence[tuple[str, str]], before: str, blocks: int
) -> Names:
    """Return their names and ours of a head of so many self-attention blocks, theirs beginning with ``before``."""
    table = [
        (f"{before}{number}.{theirs}", f"blocks.{number}.{ours}")
        for number in range(blocks)
        for theirs, ours in block
    ]
    return Names([*table, *names])


def _restored(
    probe: AttentiveProbe, ours: Mapping[str, Tensor], source: str, labels: Sequence[str] = ()
) -> AttentiveProbe:
    """Give ``probe`` the weights of one head, whose linear layers are as torch keeps them: (out, in)."""
    if "k.bias" not in ours or "query" not in ours or ours["query"].shape[:-1].numel() != 1:
        raise CheckpointError(
            f"{source} holds no head with one query and a bias for keys: {listed(sorted(ours))}"
        )
    weights = {name: value.float().mT if value.ndim == 2 else value.float() for name, value in ours.items()}
    weights["query"] = ours["query"].float().flatten()  # (1, 1, D) -> (D,)
    del weights["k.bias"]
    try:
        return probe.restore({name: value[None].contiguous() for name, value in weights.items()}, labels)
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}; use another copy, or give attention_heads") from error
