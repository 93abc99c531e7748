"""The estimate of a run as tables for a terminal of 100 columns."""

from dataclasses import dataclass
from textwrap import fill
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jepa.programs.estimate import DECODED, Estimate, StepEstimate, gib
from jepa.programs.step_cost import PARTS
from jepa.programs.step_time import REACHED
from jepa.runtime.terminal import duration, number

COLUMNS = 100


@dataclass(frozen=True)
class ShownEstimate:
    """What `jepa show --hardware` prints."""

    estimate: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        return self.estimate.to_dict()

    def render(self) -> RenderableType:
        """Return the tables."""
        return tables(self.estimate)


def tables(found: Estimate) -> RenderableType:
    """Return the whole estimate."""
    lines = [Text(fill(f"warning: {text}", COLUMNS), style="yellow") for text in found.warnings]
    lines += [Text(fill(f"note: {text}", COLUMNS)) for text in found.notes]
    parts: list[RenderableType] = [heading(found), totals(found)]
    for step in found.steps:
        parts += [flops_table(found, step), memory_table(found, step)]
    return Group(*parts, *lines, assumptions(found))


def heading(found: Estimate) -> Text:
    """Return what is estimated, in two lines."""
    config, hardware, sizes = found.config, found.hardware, found.sizes
    where = f"on {hardware.machines:,} machines" if hardware.machines > 1 else "on one machine"
    engine = f", {config.distributed.engine}" if hardware.count > 1 else ""
    recompute = ", activations checkpointed" if config.model.checkpoint_activations else ""
    frozen = f", {sizes.target:,} EMA" if sizes.target else ""
    return Text(
        f"{hardware.count:,} x {hardware.name} {where}{engine}, {config.dtype}{recompute}: "
        f"{found.setting.samples:,} clips x {config.optim.accumulate:,} per GPU and step\n"
        f"parameters: encoder {sizes.encoder:,}, predictor {sizes.predictor:,}, {sizes.trained:,} trained{frozen}"
    )


def totals(found: Estimate) -> Table:
    """Return the time of a step and of the run."""
    table = Table(title="Time", title_justify="left", width=COLUMNS)
    for column in ("", *(f"step on {step.cost.modality}s" for step in found.steps)):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    times = [step.time for step in found.steps]
    row("computing", *(milliseconds(one.compute_s) for one in times))
    row("communication not hidden behind it", *(milliseconds(one.exposed_s) for one in times))
    row("optimizer and EMA", *(milliseconds(one.optimizer_s) for one in times))
    row("a step", *(milliseconds(one.step_s) for one in times))
    row("bound by", *(one.bound_by for one in times))
    row("sent per GPU: weights gathered", *(gib(one.gathered) for one in times))
    row("sent per GPU: gradients averaged", *(gib(one.reduced) for one in times))
    row("sending, hidden or not", *(milliseconds(one.send_s) for one in times))
    table.add_section()
    row("clips per second", f"{found.clips_per_s:,.0f}")
    row(f"{found.config.optim.steps:,} steps", duration(86400 * found.days))
    row("GPU-hours", f"{found.gpu_hours:,.0f}")
    row("model FLOPs utilisation", f"{100 * found.achieved_mfu:.1f} %")
    row(
        f"decoding processes per GPU, at {DECODED:.0f} clips/s each",
        f"{found.decoders:,.1f} (data.workers: {found.config.data.workers})",
    )
    return table


def flops_table(found: Estimate, step: StepEstimate) -> Table:
    """Return the FLOPs of a step by part."""
    cost, batch = step.cost, found.config.data.batch_size
    tokens = (
        f"{cost.tokens:,} tokens; context {listed(cost.context_tokens)}; target {listed(cost.target_tokens)}"
    )
    title = f"FLOPs of a step on {cost.modality}s ({tokens})"
    table = Table(title=title, title_justify="left", width=COLUMNS)
    table.add_column("part")
    for column in ("per clip", "per step", "share"):
        table.add_column(column, justify="right")
    whole = cost.hardware_flops
    names = ("encoder, context", "encoder, targets", "predictor", "SIGReg")
    rows = [(name, cost.part(part)) for name, part in zip(names, PARTS, strict=True) if cost.part(part)]
    for name, count in [*rows, ("all that is run", whole), ("of it the model's own", cost.model_flops)]:
        table.add_row(name, flops(count), flops(batch * count), f"{100 * count / whole:.1f} %")
    return table


def memory_table(found: Estimate, step: StepEstimate) -> Table:
    """Return the memory of a GPU by part."""
    memory, room = step.memory, found.hardware.accelerator.memory
    title = f"Memory of one {found.hardware.name} in a step on {step.cost.modality}s"
    table = Table(title=title, title_justify="left", width=COLUMNS)
    table.add_column("part")
    table.add_column("bytes", justify="right")
    copies = "weights gathered at one time" if found.setting.sharded else "bfloat16 copies of weights"
    rows = {
        "weights, float32": memory.weights,
        "AdamW's moments": memory.moments,
        "EMA target encoder": memory.target,
        "gradients": memory.gradients,
        copies: memory.copies,
        "clips": memory.clips,
        "activations": memory.activations,
        "  without checkpointing": memory.activations_whole,
        "  with checkpointing": memory.activations_checkpointed,
        "passing through, backward": memory.passing,
    }
    for name, count in rows.items():
        if count:
            table.add_row(name, gib(count))
    table.add_section()
    table.add_row(
        "largest sum at one time", f"{gib(memory.peak)} of {gib(room)} ({100 * memory.peak / room:.0f} %)"
    )
    return table


def assumptions(found: Estimate) -> Text:
    """Return what is assumed, in a few lines."""
    text = (
        f"Assumed: matrix products at {number(found.mfu)} of the data sheet's peak (--mfu), links and memory at "
        f"{number(REACHED)} of theirs; "
        "data always ready; masks of the first steps. FLOPs are those of matrix products."
    )
    return Text(fill(text, COLUMNS))


def listed(counts: tuple[int, ...]) -> str:
    """Return counts side by side."""
    return " / ".join(f"{count:,}" for count in counts)


def milliseconds(seconds: float) -> str:
    """Return a time in ms, or in s from ten on."""
    return f"{seconds:,.1f} s" if seconds >= 10 else f"{1000 * seconds:,.1f} ms"


def flops(count: float) -> str:
    """Return FLOPs with a unit."""
    for size, unit in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 1e6:,.2f} MFLOP"
