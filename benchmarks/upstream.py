"""V-JEPA 2's own encoder and training step (facebookresearch/vjepa2), from a clone, called as that code calls them."""

import copy
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers import peer_modules, silence
from jepa.config.schema import PretrainConfig
from jepa.models.formats.exact import below
from jepa.models.formats.released import ENCODER, their_predictor
from jepa.types import Batch

REPOSITORY = "facebookresearch/vjepa2"


def modules(peer: Path) -> tuple[ModuleType, ModuleType]:
    """Import what sets a training run up, and what picks tokens. Raises SystemExit as `peer_modules`."""
    with silence():
        setup, masking = peer_modules(peer, "app.vjepa.utils", "src.masks.utils")
    return setup, masking


def networks(setup: ModuleType, config: PretrainConfig, device: str) -> tuple[nn.Module, nn.Module]:
    """Build encoder and predictor of ``config`` as `init_video_model` does, with the options of V-JEPA 2's recipe."""
    with silence():
        encoder, predictor = setup.init_video_model(
            device=torch.device(device),
            patch_size=config.model.patch,
            max_num_frames=config.data.frames_per_clip,
            tubelet_size=config.model.tubelet,
            model_name=f"vit_{config.model.size}",
            crop_size=config.data.resolution,
            pred_depth=config.predictor.depth,
            pred_num_heads=config.predictor.heads,
            pred_embed_dim=config.predictor.width,
            use_mask_tokens=True,
            num_mask_tokens=len(config.masks.video),
            use_sdpa=True,
            use_rope=True,
            use_activation_checkpointing=config.model.checkpoint_activations,
        )
    return encoder, predictor


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors of our encoder and predictor, by name below ``encoder.`` and ``predictor.``, their names."""
    parts = {
        "encoder.": ENCODER.theirs(below("encoder.", tensors), "ours"),
        "predictor.": their_predictor(below("predictor.", tensors), "ours"),
    }
    return {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}


class Upstream:
    """The state of a run of app/vjepa/train.py, and one step of it.

    Left out, for both sides do without: DistributedDataParallel, the loader, logging.
    """

    def __init__(self, peer: Path, config: PretrainConfig, weights: dict[str, Tensor], batch: Batch) -> None:
        """Start from ``weights``, which have the names of `renamed`; rates stay constant at those of ``config``."""
        setup, masking = modules(peer)
        self.apply_masks, self.device = masking.apply_masks, batch.clip.device
        self.mixed, optim = config.dtype == "bfloat16", config.optim
        self.encoder, self.predictor = networks(setup, config, str(self.device))
        for name, part in (("encoder.", self.encoder), ("predictor.", self.predictor)):
            part.backbone.load_state_dict(below(name, weights))
        self.target_encoder = copy.deepcopy(self.encoder)
        if config.compile:
            for part in (self.encoder, self.target_encoder, self.predictor):
                part.compile()
        self.optimizer, self.scaler, self.scheduler, self.wd_scheduler = setup.init_opt(
            is_anneal=False,
            encoder=self.encoder,
            predictor=self.predictor,
            iterations_per_epoch=optim.steps,
            start_lr=optim.learning_rate,
            ref_lr=optim.learning_rate,
            final_lr=optim.learning_rate,
            warmup=0,
            num_epochs=1,
            wd=optim.weight_decay,
            final_wd=optim.weight_decay,
            mixed_precision=self.mixed and self.device.type == "cuda",
            betas=optim.betas,
        )
        self.target_encoder.requires_grad_(False)
        self.momenta = repeat(config.objective.momentum)
        self.clips = [batch.clip]  # one tensor per length of clips
        self.masks_enc = [[masks.context for masks in batch.masks]]
        self.masks_pred = [[masks.target for masks in batch.masks]]

    def losses(self) -> Tensor:
        """Return the loss of one batch: `forward_target`, `forward_context` and `loss_fn` with exponent 1."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            with torch.no_grad():
                targets = [F.layer_norm(h, (h.size(-1),)) for h in self.target_encoder(self.clips)]
            context = self.encoder(self.clips, self.masks_enc)
            predicted = self.predictor(context, self.masks_enc, self.masks_pred)
            loss: Any = 0
            count = 0
            for each, whole, masks in zip(predicted, targets, self.masks_pred, strict=True):
                for z, h in zip(each, self.apply_masks(whole, masks, concat=False), strict=True):
                    loss += torch.mean(torch.abs(z - h) ** 1.0) / 1.0
                    count += 1
            return loss / count

    def step(self) -> float:
        """Make one update of everything, and return the loss."""
        self.scheduler.step()
        self.wd_scheduler.step()
        loss = self.losses()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        momentum = next(self.momenta)
        with torch.no_grad():
            slow, fast = list(self.target_encoder.parameters()), list(self.encoder.parameters())
            torch._foreach_mul_(slow, momentum)
            torch._foreach_add_(slow, fast, alpha=1 - momentum)
        return float(loss.detach())

    def named(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by the names of `renamed`."""
        parts = {"encoder.": self.encoder.backbone, "predictor.": self.predictor.backbone}
        return {
            prefix + name: value for prefix, part in parts.items() for name, value in part.named_parameters()
        }

    def held(self) -> Sequence[Tensor]:
        """Return all tensors that a step finds: weights, moments, clips."""
        moments = [value for values in self.optimizer.state.values() for value in values.values()]
        parts = (self.encoder, self.predictor, self.target_encoder)
        return [*(one for part in parts for one in part.parameters()), *moments, *self.clips]
