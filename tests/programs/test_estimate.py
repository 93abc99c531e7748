"""`jepa show --hardware`: what a run takes, and what to do where it does not fit."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from jepa.config.hardware import Hardware, parse_hardware
from jepa.config.load import load_config
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.errors import ConfigError
from jepa.objectives import build
from jepa.programs.estimate import Estimate, estimate, gib, remedies, shared_out, shares
from jepa.programs.estimate_report import COLUMNS, ShownEstimate
from jepa.programs.show import show
from jepa.programs.step_cost import StepCost, typical_costs
from jepa.programs.step_memory import network_sizes, with_checkpointing
from tests.conftest import tiny_config
from tests.policy.source import ROOT

PRETRAIN = sorted((ROOT / "configs" / "pretrain").glob("*.yaml"))


def config_of(
    kind: str = "vjepa", *, batch: int = 64, accumulate: int = 1, **changes: object
) -> PretrainConfig:
    """A tiny run with another batch."""
    resolution = 96 if kind in ("ijepa", "joint") else 32
    data = {**tiny_config(kind).data.model_dump(), "batch_size": batch, "resolution": resolution}
    optim = {"steps": 1000, "learning_rate": 1e-3, "accumulate": accumulate}
    return tiny_config(kind, data=data, optim=optim, **changes)


def on(hardware: str, config: PretrainConfig, mfu: float = 0.4) -> Estimate:
    return estimate(config, parse_hardware(hardware), mfu)


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_parameters_are_those_of_the_modules_that_are_built(path: Path) -> None:
    config = load_config(path)
    with torch.device("meta"):
        objective = build(config)
        sizes = network_sizes(objective)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in objective.named_children()}
    assert counts.pop("target_encoder", 0) == sizes.target
    assert counts == {"encoder": sizes.encoder, "predictor": sizes.predictor}


def test_time_is_the_sum_of_its_parts_and_days_follow_from_it() -> None:
    found = on("h100:8", config_of())
    (step,) = found.steps
    time = step.time
    assert found.step_s == time.compute_s + time.exposed_s + time.optimizer_s
    assert found.clips_per_s == pytest.approx(64 / found.step_s)
    assert found.days == pytest.approx(1000 * found.step_s / 86400)
    assert found.gpu_hours == pytest.approx(8 * 24 * found.days)
    flops = 64 * step.cost.hardware_flops
    assert time.compute_s == pytest.approx(flops / (8 * 67e12 * 0.4))  # float32


def test_a_larger_share_of_the_peak_computes_faster() -> None:
    slow, fast = (on("a100-80", config_of(), mfu).steps[0].time for mfu in (0.2, 0.4))
    assert slow.compute_s == pytest.approx(2 * fast.compute_s)
    assert slow.optimizer_s == fast.optimizer_s


def test_one_process_sends_nothing_and_ddp_sends_gradients_twice() -> None:
    alone, spread = (on(hardware, config_of()) for hardware in ("h100", "h100:4"))
    assert alone.steps[0].time.send_s == 0
    time = spread.steps[0].time
    assert (time.gathered, time.reduced) == (0, 2 * 3 / 4 * 4 * spread.sizes.trained)
    assert time.send_s == pytest.approx(time.reduced / (0.8 * 450e9))
    assert time.exposed_s == 0  # it is hidden behind the first context's backward pass
    slow = on("rtx4090:8", config_of()).steps[0].time  # a slow network between two machines
    assert 0 < slow.exposed_s < slow.send_s
    assert slow.bound_by == "communication"


def test_fsdp_gathers_per_micro_batch_and_ddp_does_not_care() -> None:
    for engine, times in (("ddp", 1), ("fsdp", 4)):
        once, four = (
            on("h100:4", config_of(accumulate=accumulate, distributed={"engine": engine})).steps[0].time
            for accumulate in (1, 4)
        )
        assert (four.gathered or four.reduced) == times * (once.gathered or once.reduced)


def test_joint_runs_average_their_two_kinds_of_steps() -> None:
    config = config_of("joint")
    config = config.model_copy(update={"data": config.data.model_copy(update={"image_fraction": 0.25})})
    assert shares(config) == [("video", 0.75), ("image", 0.25)]
    found = on("h100", config)
    video, image = (step.time.step_s for step in found.steps)
    assert image < video
    assert found.step_s == pytest.approx(0.75 * video + 0.25 * image)


def test_a_batch_that_cannot_be_shared_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ConfigError, match=r"data.batch_size: 64 clips cannot be shared by 7 processes .*multiple"
    ):
        on("h100:7", config_of())
    with pytest.raises(ConfigError, match=r"cannot be shared by 128 processes"):
        on("h100:128", config_of())


def test_micro_batches_that_do_not_fit_the_processes_are_chosen_anew_and_said() -> None:
    config, notes = shared_out(config_of(accumulate=32), 16)
    assert config.optim.accumulate == 2  # 64 / 16 / 2: no more than the 2 clips that were asked for
    assert "set it so" in notes[0]
    assert shared_out(config_of(accumulate=4), 16) == (config_of(accumulate=4), [])


@pytest.mark.parametrize("mfu", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_of_the_peak_that_is_none_is_refused(mfu: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        on("h100", config_of(), mfu)


def test_what_does_not_fit_is_told_with_the_least_change_that_does() -> None:
    def vitg(batch: int) -> PretrainConfig:
        changes = ["optim.accumulate=1", "model.checkpoint_activations=false", f"data.batch_size={batch}"]
        return load_config("vjepa2-vitg", changes)

    assert not on("a100-80:8", vitg(64)).warnings
    (warning,) = on("a100-40:8", vitg(96)).warnings
    assert (
        "41.5 GiB of 37.3 GiB per a100-40: it will not fit; set optim.accumulate: 2, which takes 31"
        in warning
    )
    (warning,) = on("rtx4090:8", vitg(64)).warnings
    assert "set model.checkpoint_activations: true, optim.accumulate: 4, which takes" in warning
    giant = vitg(8).model_copy(update={"model": load_config("vjepa2-vitg", ["model.size=gigantic"]).model})
    (warning,) = on("rtx4090:8", giant).warnings
    assert "set distributed.engine: fsdp, which takes" in warning
    (warning,) = on("rtx4090:1", giant).warnings
    assert "it will not fit, nor would it" in warning


def test_remedies_are_tried_in_the_order_of_what_they_cost() -> None:
    words = [text for text, _ in remedies(config_of(batch=16, accumulate=1), 4)]
    assert words[:4] == [
        "",
        "optim.accumulate: 2",
        "optim.accumulate: 4",
        "model.checkpoint_activations: true",
    ]
    assert words[-1] == "distributed.engine: fsdp, model.checkpoint_activations: true, optim.accumulate: 4"


def test_checkpointing_that_is_not_needed_is_told() -> None:
    config = config_of(model={"size": "nano", "patch": 8, "checkpoint_activations": True})
    assert any("set model.checkpoint_activations: false" in note for note in on("h100", config).notes)


def test_decoding_processes_follow_from_the_clips() -> None:
    found = on("h100:8", config_of())
    assert found.decoders == pytest.approx(found.clips_per_s * (8 / 16) / 8 / 16)  # clips of 8 frames
    assert on("h100:8", config_of("ijepa")).decoders == 0


@pytest.mark.parametrize("kind", ["vjepa", "joint", "lejepa"])
def test_the_tables_fit_a_hundred_columns_and_json_has_their_numbers(kind: str) -> None:
    shown = ShownEstimate(on("h100:4", config_of(kind)))
    with io.StringIO() as text:
        Console(width=140, file=text).print(shown.render())
        lines = text.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= COLUMNS
    numbers = json.loads(json.dumps(shown.to_dict()))
    assert numbers["hardware"]["count"] == 4
    assert numbers["days"] > 0
    assert len(numbers["steps"]) == (2 if kind == "joint" else 1)
    assert ("SIGReg" in "\n".join(lines)) is (kind == "lejepa")


def test_only_pretraining_is_estimated(trained: Path) -> None:
    shown = show(str(trained), hardware="h100:2")
    assert isinstance(shown, ShownEstimate)
    assert shown.estimate.hardware == Hardware("h100", 2)
    with pytest.raises(
        ConfigError, match="estimates pre-training, but .*pusht-lewm.yaml is a config of another"
    ):
        show(str(ROOT / "configs/world-model/pusht-lewm.yaml"), hardware="h100:2")
    with pytest.raises(ConfigError, match="holds weights; leave it out"):
        show("encoder.safetensors", hardware="h100:2")


SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawn() -> Iterator[None]:
    """Draw the masks of the page's config once; its changes leave them as they are."""
    once = typical_costs(load_config("vjepa2-vitg"), "video")

    def typical(config: PretrainConfig, modality: Modality) -> tuple[StepCost, StepCost]:
        typical, largest = (with_checkpointing(c, config.model.checkpoint_activations) for c in once)
        return typical, largest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jepa.programs.estimate.typical_costs", typical)
        yield


@pytest.mark.slow
def test_the_page_on_scaling_shows_what_its_command_prints(drawn: None) -> None:
    (block,) = re.findall(r"```sh\n(.*?)\n```\n\n```text\n(.*?)\n```", SCALING, re.DOTALL)
    words = shlex.split(block[0])
    assert words[:2] == ["jepa", "show"]
    changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    shown = show(words[2], changes, hardware=words[words.index("--hardware") + 1])
    assert isinstance(shown, ShownEstimate)
    with io.StringIO() as text:
        Console(width=COLUMNS, file=text, highlight=False).print(shown.render())
        lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines == block[1].splitlines()


@pytest.mark.slow
def test_the_page_on_scaling_compares_what_the_command_finds(drawn: None) -> None:
    rows = re.findall(r"^\| ([\w-]+:\d+) \| (.*?) \| (.*) \|$", SCALING, re.MULTILINE)
    assert len(rows) >= 6
    for hardware, changes, numbers in rows:
        found = on(hardware, load_config("vjepa2-vitg", re.findall(r"`(.*?)`", changes)))
        time = found.steps[0].time
        expected = [f"{1000 * one:,.0f}" for one in (found.step_s, time.send_s, time.exposed_s)]
        expected += [gib(found.peak_memory), f"{found.clips_per_s:,.0f}", f"{found.days:.2f}"]
        assert numbers.split(" | ") == [*expected, f"{found.gpu_hours:,.0f}"], hardware
        assert not found.warnings
