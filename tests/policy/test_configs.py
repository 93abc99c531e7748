"""Every shipped YAML loads, refuses what it does not know, says what it costs, and builds."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jepa.config.envs import CollectConfig
from jepa.config.load import dump, load_config, parse
from jepa.config.plan import PlanConfig
from jepa.config.schema import PretrainConfig
from jepa.config.section import Section
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from jepa.objectives import build
from tests.policy.source import ROOT

SCHEMAS: dict[str, type[Section]] = {
    "pretrain": PretrainConfig,
    "collect": CollectConfig,
    "world-model": WorldModelConfig,
    "plan": PlanConfig,
    # What the verbs carry inside the package.
    "demo": PretrainConfig,
    "demo_collect": CollectConfig,
    "demo_world_model": WorldModelConfig,
    "demo_plan": PlanConfig,
}
SHIPPED = sorted((ROOT / "configs").rglob("*.yaml"))
CONFIGS = [*SHIPPED, *sorted((ROOT / "jepa").rglob("*.yaml"))]  # and what the verbs carry inside the package

over_configs = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def schema_of(path: Path) -> type[Section]:
    return SCHEMAS[path.parent.name if path.is_relative_to(ROOT / "configs") else path.stem]


def mappings(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings in a tree, with their paths."""
    if isinstance(node, dict):
        yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    for key, child in children:
        yield from mappings(child, f"{path}.{key}".removeprefix("."))


def test_there_are_configs():
    assert CONFIGS


@over_configs
def test_it_loads_and_survives_being_written(path):
    config = load_config(path, schema=schema_of(path))
    assert parse(yaml.safe_load(dump(config)), schema_of(path)) == config


@over_configs
def test_an_unknown_key_in_any_section_fails_with_its_path(path):
    tree = yaml.safe_load(dump(load_config(path, schema=schema_of(path))))
    for where, mapping in list(mappings(tree)):
        mapping["qqq"] = 1
        with pytest.raises(
            ConfigError, match=rf"^{re.escape(f'{where}.qqq'.removeprefix('.'))}: unknown key"
        ):
            parse(tree, schema_of(path))
        del mapping["qqq"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_its_header_says_what_to_expect(path):
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    missing = [word for word in ("command:", "hardware:", "time:", "expected:") if word not in header]
    assert not missing, f"{path.name}: the header comment lacks {missing}"
    stem = re.search(r"command: .*\bjepa (?:data )?\S+ (\S+)", header)
    assert stem and (stem[1] == path.stem or (ROOT / stem[1]) == path), (
        f"{path.name}: command names another file"
    )


PRETRAIN = [path for path in CONFIGS if schema_of(path) is PretrainConfig]


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_it_builds(path):
    with torch.device("meta"):
        objective = build(load_config(path))
    assert all(parameter.is_meta for parameter in objective.parameters())
