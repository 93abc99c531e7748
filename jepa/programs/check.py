"""`jepa check`: is this environment, and this config, fit to train?"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from jepa.config.load import load_config
from jepa.config.schema import PretrainConfig
from jepa.data.decode import resolve_decoder
from jepa.data.loader import train_stream
from jepa.data.sources import open_sources
from jepa.errors import JepaError
from jepa.programs.masking import masks_for
from jepa.programs.train_step import State, train_step
from jepa.runtime.device import resolve_device
from jepa.runtime.environment import REQUIRED, torchvision_problem, versions
from jepa.types import Batch


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    failed: bool
    text: str

    def to_dict(self) -> dict[str, str | bool]:
        """Return the finding for JSON."""
        return asdict(self)


def check(config: str | None, overrides: Sequence[str] = ()) -> list[Finding]:
    """Look at the environment and, when given, at a config: its sources, one batch and one step.

    Raises ConfigError for a config that is wrong; everything else becomes a finding.
    """
    parsed = None if config is None else load_config(config, overrides)
    findings = environment()
    if parsed is not None:
        findings += training(parsed)
    return findings


def environment() -> list[Finding]:
    """Look at packages, the torch-torchvision pair, decoders and devices."""
    found = versions()
    missing = [name for name in REQUIRED if name not in found]
    packages = (
        f"missing: {', '.join(missing)}; run: pip install jepa"
        if missing
        else ", ".join(f"{k} {v}" for k, v in found.items())
    )
    vision = torchvision_problem()
    return [
        Finding("packages", bool(missing), packages),
        Finding("torch and torchvision", vision is not None, vision or "fit together"),
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


def attempt(name: str, look: Callable[[], str]) -> Finding:
    """Return what ``look`` says, or its error as a failed finding."""
    try:
        return Finding(name, False, look())
    except JepaError as error:
        return Finding(name, True, str(error))


def describe_sources(config: PretrainConfig) -> str:
    """Open all sources, those of the probes too."""
    opened = [
        *open_sources(config.data.sources),
        *open_sources([s for p in config.probes for s in (p.train, p.test)]),
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
    state = State.fresh(config, device)
    start = time.monotonic()
    signals = train_step(state, batch)
    return f"loss {float(signals['loss']):.4f} on {device} in {time.monotonic() - start:.2f} s"


def render(findings: Sequence[Finding]) -> str:
    """Return one line per finding."""
    return "\n".join(f"{'FAILED' if f.failed else 'ok':6} {f.name}: {f.text}" for f in findings)
