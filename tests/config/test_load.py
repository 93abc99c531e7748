import re
from pathlib import Path

import pytest
import yaml

from jepa.config.data import AugmentConfig
from jepa.config.load import dump, load_config, parse
from jepa.config.method import LeJepaObjective
from jepa.config.schema import PretrainConfig
from jepa.errors import ConfigError

MINIMAL = """
run_dir: runs/x
data:
  sources: [{kind: csv, path: a.csv}]
  fps: 4
masks:
  video: [{kind: multiblock, blocks: 8, scale: .15}]
objective: {kind: vjepa}
optim: {steps: 10, learning_rate: 1e-4}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL)
    return path


def problems(path: Path | str, *overrides: str) -> list[str]:
    """All that is wrong with a config."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_yaml_becomes_a_typed_config(minimal):
    config = load_config(minimal)
    assert isinstance(config, PretrainConfig)
    assert config.optim.learning_rate == 1e-4
    assert config.data.sources[0].path == "a.csv"
    assert config.data.fps == 4.0
    assert isinstance(config.data.fps, float)
    assert isinstance(config.masks.video, tuple)


def test_another_schema_can_be_asked_for(tmp_path):
    path = tmp_path / "augment.yaml"
    path.write_text("flip: 0")
    assert load_config(path, ["scale=[0.5, 1]"], schema=AugmentConfig) == AugmentConfig(
        scale=(0.5, 1.0), flip=0.0
    )


def test_an_empty_file_is_a_config_without_values(tmp_path):
    path = tmp_path / "augment.yaml"
    path.touch()
    assert load_config(path, schema=AugmentConfig) == AugmentConfig()


def test_dump_and_load_are_inverse(minimal, tmp_path):
    config = load_config(
        minimal, ["run_dir='1e-4'", "seed=3", "objective={kind: lejepa, sigreg_weight: 1e-6}"]
    )
    again = tmp_path / "again.yaml"
    again.write_text(dump(config))
    assert load_config(again) == config


# -- overrides


def test_overrides_reach_sections_list_items_and_defaults(minimal):
    config = load_config(
        minimal,
        [
            "optim.learning_rate=3e-4",
            "data.sources.0.path = b.csv",
            "model.size=large",
            "optim.betas=[0.9, 0.95]",
            "masks.video.0.scale=0.7",
            "run_dir=a=b",
            "seed=1",
            "seed=2",
        ],
    )
    assert config.optim.learning_rate == 3e-4
    assert config.data.sources[0].path == "b.csv"
    assert config.model.size == "large"
    assert config.optim.betas == (0.9, 0.95)
    assert config.masks.video[0].scale == 0.7
    assert config.run_dir == "a=b"
    assert config.seed == 2


def test_an_override_replaces_a_section_whole(minimal):
    config = load_config(minimal, ["objective={kind: lejepa}"])
    assert config.objective == LeJepaObjective(kind="lejepa")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.steps", r"^override 'optim.steps': is not key=value; write it like optim.steps=100$"),
        ("=3", r"^override '=3': is not key=value"),
        ("optim..steps=3", r"^override 'optim..steps=3': is not key=value"),
        (
            "data.sources.1.path=x",
            r"^override data.sources.1.path: data.sources has 1 items, counted from 0; to add one, set the",
        ),
        ("data.sources.path=x", r"^override data.sources.path: data.sources has 1 items"),
        ("run_dir.a=x", r"^override run_dir.a: run_dir is 'runs/x' and has no keys; set it whole$"),
        ("optim.steps=[1", r"^override 'optim.steps=\[1', line 1, .*cannot be read as YAML"),
        ("base=other.yaml", r"^base: unknown key"),
    ],
)
def test_a_wrong_override_is_named(minimal, override, message):
    (problem,) = problems(minimal, override)
    assert re.search(message, problem)


# -- base


def test_a_base_is_changed_section_by_section_and_lists_are_replaced(minimal, tmp_path):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "change.yaml"
    path.write_text("base: ../minimal.yaml\noptim: {steps: 20}\ndata: {sources: [{kind: folder, path: b}]}\n")
    config = load_config(path)
    assert config.optim.steps == 20
    assert config.optim.learning_rate == 1e-4
    assert config.data.fps == 4
    assert [source.path for source in config.data.sources] == ["b"]


def test_a_section_of_another_kind_replaces_the_base_section(minimal, tmp_path):
    minimal.write_text(MINIMAL.replace("{kind: vjepa}", "{kind: vjepa, momentum: 0.9}"))
    path = tmp_path / "change.yaml"
    path.write_text("base: minimal.yaml\nobjective: {kind: lejepa}\n")
    assert load_config(path).objective == LeJepaObjective(kind="lejepa")
    path.write_text("base: minimal.yaml\nobjective: {loss: l2}\n")
    assert load_config(path).objective.momentum == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: none.yaml", r"change.yaml: base: 'none.yaml' is no file; give a path relative to .*/$"),
        ("base: [a, b]", r"change.yaml: base: expected the path of one YAML file, got \['a', 'b'\]"),
        (
            "base: second.yaml",
            r"base: 'second.yaml' has a base of its own; only one is allowed: name 'minimal.yaml' or",
        ),
    ],
)
def test_a_wrong_base_is_named(minimal, tmp_path, text, message):
    (tmp_path / "second.yaml").write_text("base: minimal.yaml")
    path = tmp_path / "change.yaml"
    path.write_text(text)
    (problem,) = problems(path)
    assert re.search(message, problem)


# -- finding the file


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for folder in ("pretrain", "probe"):
        (tmp_path / "configs" / folder).mkdir(parents=True)
        (tmp_path / "configs" / folder / "same.yaml").write_text(MINIMAL)
    (tmp_path / "configs" / "pretrain" / "vjepa2.1-vitl.yaml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("name", ["vjepa2.1-vitl", "pretrain/same", "configs/probe/same.yaml"])
def test_a_stem_below_configs_is_found(name):
    assert load_config(name).run_dir == "runs/x"


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "same",
            r"^same: several configs have this name; give one of configs/pretrain/same.yaml, ",
        ),
        (
            "vjepa2.1-vitg",
            r"^vjepa2.1-vitg: no such config; did you mean configs/pretrain/vjepa2.1-vitl.yaml\?$",
        ),
        ("configs/probe/sam.yaml", r"sam.yaml: no such config; did you mean configs/pr.*/same.yaml\?$"),
        ("zzz", r"^zzz: no such config; known here: configs/.*same.yaml"),
        ("configs", r"^configs: is a folder; give a YAML file$"),
    ],
)
def test_a_name_that_is_no_config_is_answered_with_near_names(name, message):
    (problem,) = problems(name)
    assert re.search(message, problem)


def test_without_any_config_near_a_path_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert problems("zzz") == ["zzz: no such config; give the path of a YAML file, or stand beside configs/"]


def test_a_run_directory_is_answered_with_its_config(minimal):
    minimal.rename(minimal.with_name("config.yaml"))
    assert re.search(r"is a folder; give a YAML file, such as .*config.yaml$", problems(minimal.parent)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", r"x.yaml: expected 'key: value' lines at the top, got list"),
        (b"a: \xff\xfe", r"x.yaml: is not UTF-8 text \(byte 3\); give a YAML file"),
        (b"a: 1\na: 2\n", r"x.yaml, line 2, column 1: .*key 'a' stands twice"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    (problem,) = problems(path)
    assert re.search(message, problem)


# -- parse


def test_parse_takes_python_values_too():
    values = yaml.safe_load(MINIMAL.replace("1e-4", "0.0001"))
    values["run_dir"] = Path("runs/x")
    values["masks"]["video"] = tuple(values["masks"]["video"])
    assert parse(values, PretrainConfig).run_dir == "runs/x"


def test_parse_refuses_what_yaml_cannot_hold():
    with pytest.raises(ConfigError, match="config: holds a value that YAML cannot hold: .*object"):
        parse({"run_dir": object()}, PretrainConfig)


def test_everything_wrong_is_reported_at_once(minimal):
    found = problems(minimal, "sed=1", "optim.steps=ten", "optim.x", "model.patch=0", "objective.los=l1")
    assert [problem.split(":")[0] for problem in found] == [
        "override 'optim.x'",
        "objective.los",
        "sed",
        "optim.steps",
        "model.patch",
    ]


def test_rules_across_keys_are_reported_beside_unknown_keys(minimal):
    assert problems(minimal, "data.xyz=1", "data.stride=4")[1:] == [
        "data: give exactly one of fps and stride, got fps=4.0 and stride=4"
    ]
