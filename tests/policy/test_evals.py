"""Every benchmark loads, says where its data and its published scores come from, and stands in the table of results."""

import csv
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest
import torch
import typer
import yaml

from jepa.cli import app
from jepa.config.benchmark import Benchmark
from jepa.config.data import PhysicsSource, Source, SyntheticSource
from jepa.config.heads import AttentiveHead
from jepa.config.load import dump, load_config, parse
from jepa.config.probe import ProbeConfig
from jepa.errors import ConfigError
from jepa.models.sizes import SIZES
from jepa.probes.features import raw_tokens
from jepa.probes.metrics import HIGHER_IS_BETTER
from jepa.programs.demo import RECIPE
from tests.policy.source import ROOT
from tests.policy.test_configs import mappings

EVALS = ROOT / "evals"
DECLARATIONS = sorted(EVALS.glob("*.yaml"))
PAGE = (EVALS / "README.md").read_text(encoding="utf-8")
TABLE_ROW = re.compile(r"^\| \[([\w-]+)\]\(([\w.-]+)\) \| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
ISSUE = {
    "published": "kinetics400 ssv2 diving48 jester coin ek100-anticipation imagenet1k cifar10",
    "here": "synthetic-motion synthetic-appearance physics driving clothing",
}
LINES, WIDTH = (30, 80), 120
PAPER_SIZES = ("large", "huge", "giant", "gigantic")
IMAGE_SIDE = 32  # of a clip whose raw tokens are counted; any square clip of this or more has the same

over_declarations = pytest.mark.parametrize("path", DECLARATIONS, ids=lambda path: path.stem)


def load(path: Path) -> Benchmark:
    return load_config(path, schema=Benchmark)


def header(path: Path) -> dict[str, str]:
    """The fields of the comment at the top; a field goes on over indented lines."""
    fields: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if field := re.match(r"# ([a-z]+): +(.+)", line):
            fields[field[1]] = field[2]
        elif line.startswith("#    ") and fields:
            last = next(reversed(fields))
            fields[last] += f" {line[1:].strip()}"
    return fields


def sources(declared: Benchmark) -> Iterator[Source]:
    """Everything that is read."""
    section = declared.probe or declared.dense
    for side in ("train", "validation", "test"):
        source = getattr(section, side, None)
        if source is not None:
            yield source


def attentive(declared: Benchmark) -> list[AttentiveHead]:
    heads = declared.probe.heads if declared.probe else ()
    return [head for head in heads if isinstance(head, AttentiveHead)]


def shown_numbers(text: str) -> list[float]:
    """Scores in a text, such as 73.7 %."""
    return [float(number) for number in re.findall(r"(\d+\.\d) %", text)]


def test_the_benchmarks_that_were_asked_for_are_there():
    wanted = {name for names in ISSUE.values() for name in names.split()}
    assert wanted <= {path.stem for path in DECLARATIONS}
    assert all(load(EVALS / f"{name}.yaml").published for name in ISSUE["published"].split())


@over_declarations
def test_it_loads_and_survives_being_written(path):
    declared = load(path)
    assert parse(yaml.safe_load(dump(declared)), Benchmark) == declared


@over_declarations
def test_an_unknown_key_in_any_section_fails_with_its_path(path):
    tree = yaml.safe_load(dump(load(path)))
    for where, mapping in list(mappings(tree)):
        mapping["qqq"] = 1
        with pytest.raises(
            ConfigError, match=rf"^{re.escape(f'{where}.qqq'.removeprefix('.'))}: unknown key"
        ):
            parse(tree, Benchmark)
        del mapping["qqq"]


@over_declarations
def test_its_header_says_how_to_run_it_and_what_comes_out(path):
    fields = header(path)
    assert list(fields) == ["command", "data", "cost", "expected"]
    program, verb, name, *rest = shlex.split(fields["command"])
    assert (program, verb, name) == ("jepa", "eval", path.stem)
    assert ("--data" in rest) == (not load(path).generated)


@over_declarations
def test_it_can_be_read_at_a_glance(path):
    lines = path.read_text().splitlines()
    assert LINES[0] <= len(lines) <= LINES[1]
    assert max(map(len, lines)) <= WIDTH


@over_declarations
def test_a_probe_becomes_a_config_with_a_model(path):
    declared = load(path)
    if declared.probe is not None:
        tree = declared.probe.model_dump(mode="json", exclude_defaults=True)
        config = parse(tree | {"model": "MODEL", "run_dir": "RUN"}, ProbeConfig)
        assert config.heads == declared.probe.heads
        assert config.metric is None or config.metric in HIGHER_IS_BETTER


@over_declarations
def test_paths_stay_below_the_data_folder(path):
    declared = load(path)
    used = [source.path for source in sources(declared)]
    used += [declared.surprise.path] if declared.surprise else []
    assert used
    for one in (*declared.needs, *used):
        parts = PurePosixPath(one).parts
        assert not PurePosixPath(one).is_absolute()
        assert parts
        assert ".." not in parts


@over_declarations
def test_what_is_read_must_be_there_or_is_generated(path):
    declared = load(path)
    files = [
        source for source in sources(declared) if not isinstance(source, SyntheticSource | PhysicsSource)
    ]
    assert declared.generated == (not files)
    assert set(declared.needs) == {source.path for source in files}


@over_declarations
def test_its_attention_heads_divide_the_widths(path):
    declared = load(path)
    sizes = PAPER_SIZES if declared.published else SIZES
    for head in attentive(declared):
        odd = [name for name in sizes if SIZES[name].width % head.heads]
        assert not odd, f"{head.heads} attention heads do not divide the width of {odd}"


@over_declarations
def test_its_attention_heads_divide_the_raw_pixels_too(path):
    declared = load(path)
    if not attentive(declared) or "raw pixels" not in declared.probe.baselines:
        return
    image = declared.probe.train.kind == "images"
    frames = 1 if image else declared.probe.clips.frames_per_clip
    width = raw_tokens(torch.zeros(1, 3, frames, IMAGE_SIDE, IMAGE_SIDE)).shape[-1]
    assert [head.heads for head in attentive(declared) if width % head.heads] == []


@over_declarations
def test_published_scores_name_a_paper_and_a_place_in_it(path):
    published = load(path).published
    for one in published:
        assert re.search(r"\(arXiv:\d{4}\.\d{5}\), .*\b(Table \d+|section \w+)", one.source), one.source
        assert 0 < one.score <= 100
    assert len({(one.model, one.source) for one in published}) == len(published)


@over_declarations
def test_scores_in_its_header_are_those_it_lists(path):
    listed = {round(one.score, 1) for one in load(path).published}
    shown = shown_numbers(header(path)["expected"])
    assert not listed or (shown and set(shown) <= listed)


def test_synthetic_benchmarks_share_the_videos_of_the_demo():
    def settings(source: SyntheticSource) -> tuple[str, dict[str, object]]:
        return Path(source.path).name, source.model_dump(include={"videos", "frames", "size_px", "seed"})

    probes = load_config(RECIPE).probes
    demo = dict(settings(source) for task in probes for source in (task.train, task.test))
    for path in DECLARATIONS:
        for source in sources(load(path)):
            if isinstance(source, SyntheticSource):
                name, found = settings(source)
                assert found == demo[name]
                assert source.path == f"videos/{name}"


def test_the_table_of_results_has_a_row_for_every_declaration():
    assert sorted(row[1] for row in TABLE_ROW.finditer(PAGE)) == sorted(path.stem for path in DECLARATIONS)


@pytest.mark.parametrize("row", TABLE_ROW.findall(PAGE), ids=lambda row: row[0])
def test_a_row_gives_the_command_and_published_scores_of_its_declaration(row):
    name, link, command, published, ours = row
    assert link == f"{name}.yaml"
    assert command == header(EVALS / link)["command"]
    words = shlex.split(command)[1:]
    verb = typer.main.get_command(app).commands[words[0]]
    known = {flag for parameter in verb.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    scores = {(one.score, re.search(r"arXiv:[\d.]+", one.source)[0]) for one in load(EVALS / link).published}
    shown = re.findall(r"(\d+\.\d+) .*?(arXiv:[\d.]+\d)", published)
    assert {(float(score), paper) for score, paper in shown} <= scores
    assert bool(shown) == bool(scores)
    assert ours.strip()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that writes the list of steering."""
    spec = importlib.util.spec_from_file_location("driving_steering", EVALS / "driving_steering.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_drive(folder: Path, *, frames: int) -> None:
    """Write the lists of one run of as many frames, steering .1 more in each, and two clips of 4 frames."""
    rows = [f"run_7,{frame},{frame / 20},{frame / 10},0.5" for frame in range(frames)]
    (folder / "frames.csv").write_text("\n".join(["run,frame,time_s,steering,throttle", *rows]))
    clips = ["videos/run_7.mp4,0,4,left,train", "videos/run_7.mp4,4,8,right,test"]
    (folder / "clips.csv").write_text("\n".join(["video,start_frame,end_frame,label,split", *clips]))


def test_steering_is_the_mean_over_a_clip(tmp_path, script):
    write_drive(tmp_path, frames=8)
    with script.main(tmp_path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["steering"]) for row in rows] == pytest.approx([0.15, 0.55])
    assert [row["split"] for row in rows] == ["train", "test"]
    wanted = load(EVALS / "driving-regression.yaml")
    assert wanted.needs == ("clips-steering.csv",)
    assert set(wanted.probe.train.targets) <= set(rows[0])


def test_a_clip_of_unknown_frames_is_refused(tmp_path, script):
    write_drive(tmp_path, frames=7)
    with pytest.raises(KeyError, match="7"):
        script.main(tmp_path)
