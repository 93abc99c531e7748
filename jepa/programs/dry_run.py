"""The parts of `jepa check` that decode and compute: decoder, device, sources, one batch, one step."""

import time
from functools import partial

from jepa.config.schema import PretrainConfig
from jepa.data.decode import resolve_decoder
from jepa.data.loader import train_stream
from jepa.data.sources import open_sources
from jepa.programs.evaluate import open_task
from jepa.programs.finding import Finding, attempt
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import fresh_state, pretrain_step
from jepa.runtime.device import resolve_device
from jepa.types import Batch


def machine() -> list[Finding]:
    """Say which decoder and which device `auto` means here."""
    return [
        attempt("decoder", lambda: f"auto is {resolve_decoder('auto')}"),
        attempt("device", lambda: f"auto is {resolve_device('auto')}"),
    ]


def training(config: PretrainConfig) -> list[Finding]:
    """Open the sources, decode one batch and run one step; later parts are left out when an earlier one fails."""
    findings = [attempt("sources", lambda: describe_sources(config))]
    batches: list[Batch] = []
    if not findings[-1].failed:
        findings.append(attempt("batch", lambda: decode_batch(config, batches)))
    if batches:
        findings.append(attempt("step", lambda: run_step(config, batches[0])))
    return findings


def describe_sources(config: PretrainConfig) -> str:
    """Open all sources, those of the probes too."""
    opened = [
        *open_sources(config.data.sources, confine=config.data.confine),
        *(source for task in config.probes for source in open_task(task).sides().values()),
    ]
    return "; ".join(f"{source.name}: {source.files} {source.modality} files" for source in opened)


def decode_batch(config: PretrainConfig, into: list[Batch]) -> str:
    """Decode the first batch in this process."""
    start = time.monotonic()
    data = config.data.model_copy(update={"workers": 0})
    stream = train_stream(
        data, seed=config.seed, start_step=0, steps=1, sample_masks=partial(masks_for, config)
    )
    batch = next(stream)
    into.append(batch)
    tokens = ", ".join(f"{m.context.shape[1]} context + {m.target.shape[1]} target" for m in batch.masks)
    skipped = (
        f"; skipped {len(batch.bad)} bad files, the first {batch.bad[0].path}: {batch.bad[0].reason}"
        if batch.bad
        else ""
    )
    return f"clips {tuple(batch.clip.shape)} in {time.monotonic() - start:.2f} s; tokens {tokens}{skipped}"


def run_step(config: PretrainConfig, batch: Batch) -> str:
    """Make one update of a fresh model."""
    device = resolve_device(config.device)
    state = fresh_state(config, device)
    start = time.monotonic()
    signals = pretrain_step(state, batch)
    return f"loss {float(signals['loss']):.4f} on {device} in {time.monotonic() - start:.2f} s"
