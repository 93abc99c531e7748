"""Every knob is explained, and turned by something."""

import ast
from collections.abc import Iterator

import pytest

from jepa.config.architecture import Architecture
from jepa.config.benchmark import Benchmark
from jepa.config.envs import CollectConfig
from jepa.config.explain import sections_of
from jepa.config.plan import PlanConfig
from jepa.config.probe import ProbeConfig
from jepa.config.schema import PretrainConfig
from jepa.config.section import Section
from jepa.config.world_model import WorldModelConfig
from tests.policy.source import SOURCES, tree_of


def sections(schema: type[Section]) -> Iterator[type[Section]]:
    """The schema and all sections below it."""
    yield schema
    for field in schema.model_fields.values():
        for section in sections_of(field.annotation):
            yield from sections(section)


KEYS = sorted(
    {
        (section, key)
        for schema in (
            Architecture,
            PretrainConfig,
            ProbeConfig,
            Benchmark,
            CollectConfig,
            WorldModelConfig,
            PlanConfig,
        )
        for section in sections(schema)
        for key in section.model_fields
    },
    key=str,
)
READ = {
    node.attr
    for path in SOURCES
    if path.parent.name != "config"
    for node in ast.walk(tree_of(path))
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
}


def spelled(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(("section", "key"), KEYS, ids=spelled)
def test_every_key_is_read(section, key):
    assert key in READ, f"nothing in jepa/ reads .{key} of {section.__name__}: remove the key or use it"


@pytest.mark.parametrize(("section", "key"), KEYS, ids=spelled)
def test_every_key_is_explained(section, key):
    field = section.model_fields[key]
    inner = sections_of(field.annotation)
    assert field.description or (inner and all(member.__doc__ for member in inner)) or key == "kind"
