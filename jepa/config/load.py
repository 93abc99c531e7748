"""From a YAML file and ``--set`` overrides to a checked config, with every mistake reported at once."""

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from jepa.config import yaml_text
from jepa.config.explain import dotted, explain, locate
from jepa.config.schema import PretrainConfig
from jepa.errors import ConfigError

T = TypeVar("T", bound=BaseModel)


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> PretrainConfig: ...
@overload
def load_config(path: str | Path, overrides: Sequence[str] = (), *, schema: type[T]) -> T: ...
def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, schema: type[BaseModel] = PretrainConfig
) -> BaseModel:
    """Read a config.

    Args:
        path: A YAML file, or the stem of one below ``configs/`` in the working directory. Its optional key
            ``base`` names another YAML file, relative to this one, whose values it changes.
        overrides: ``a.b=value`` or ``a.0.b=value`` with the value in YAML, applied after the file.
        schema: The config's type.

    Raises:
        ConfigError: The file cannot be read, or the config is wrong; ``problems`` holds every mistake.
    """
    return assemble(read_tree(path), overrides, schema)


def read_tree(path: str | Path, *, folder: str = "configs") -> dict[str, object]:
    """Read the values of a YAML file, or of the stem of one below ``folder``, with those of its ``base``."""
    return _read_with_base(_find(Path(path), folder))


def assemble(values: object, overrides: Sequence[str], schema: type[T]) -> T:
    """Check ``values`` with ``overrides`` (see `load_config`) applied; raises ConfigError with every mistake."""
    tree = values
    problems: list[str] = []
    for override in overrides:
        try:
            tree = _overridden(tree, override)
        except ConfigError as error:
            problems += error.problems
    try:
        config = parse(tree, schema)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return config


def parse(values: object, schema: type[T]) -> T:
    """Check ``values``, a mapping, against ``schema``; raises ConfigError with one line per mistake."""
    # As JSON, since pydantic is then strict in the way YAML needs: a list is a tuple and 1 a float, but "1"
    # is no number and true no integer.
    try:
        text = to_json(values, inf_nan_mode="constants")
    except PydanticSerializationError as error:
        raise ConfigError(f"config: holds a value that YAML cannot hold: {error}") from error
    try:
        return schema.model_validate_json(text, strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    unknown = [found for found in errors if found["type"] == "extra_forbidden"]
    problems = explain(unknown or errors, schema)
    if unknown:  # rules across keys are only checked when no key is unknown: look again without those
        try:
            parse(
                _without([locate(found["loc"], schema).path for found in unknown], json.loads(text)), schema
            )
        except ConfigError as error:
            problems += error.problems
    raise ConfigError(problems)


def dump(config: BaseModel) -> str:
    """Return the whole config, defaults included, as YAML that `load_config` reads back."""
    return yaml_text.write(config.model_dump(mode="json"))


def _without(paths: Sequence[tuple[int | str, ...]], tree: Any) -> object:
    """Remove the keys at ``paths`` from ``tree`` and return it."""
    for *parents, key in paths:
        node = tree
        for parent in parents:
            node = node[parent]
        del node[key]
    return tree


def _find(path: Path, folder: str) -> Path:
    """Return the file that ``path`` names, as a path or as a stem below ``folder``."""
    if path.is_file():
        return path
    if path.is_dir():
        hint = f", such as {path / 'config.yaml'}" if (path / "config.yaml").is_file() else ""
        raise ConfigError(f"{path}: is a folder; give a YAML file{hint}")
    shipped = sorted(Path(folder).glob("**/*.yaml"))
    named = [
        file for file in shipped if f"/{file.with_suffix('').as_posix()}".endswith(f"/{path.as_posix()}")
    ]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(f"{path}: several configs have this name; give one of {_listed(named)}")
    known = {file.stem: file for file in [*path.parent.glob("*.yaml"), *shipped]}
    near = difflib.get_close_matches(path.name.removesuffix(".yaml"), known)
    if near:
        raise ConfigError(
            f"{path}: no such config; did you mean {' or '.join(str(known[stem]) for stem in near)}?"
        )
    hint = (
        f"known here: {_listed(known.values())}"
        if known
        else f"give the path of a YAML file, or stand beside {folder}/"
    )
    raise ConfigError(f"{path}: no such config; {hint}")


def _read_with_base(path: Path) -> dict[str, object]:
    """Read a file and, below it, the one that its ``base`` names."""
    tree = _read(path)
    if "base" not in tree:
        return tree
    base = tree.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected the path of one YAML file, got {base!r}")
    if not (path.parent / base).is_file():
        raise ConfigError(f"{path}: base: {base!r} is no file; give a path relative to {path.parent}/")
    below = _read(path.parent / base)
    if "base" in below:
        remedy = f"name {below['base']!r} or copy its values"
        raise ConfigError(f"{path}: base: {base!r} has a base of its own; only one is allowed: {remedy}")
    return _merged(below, tree)


def _read(path: Path) -> dict[str, object]:
    """Return the mapping in one YAML file; an empty file is an empty mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); give a YAML file") from error
    tree = yaml_text.read(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected 'key: value' lines at the top, got {type(tree).__name__} {str(tree)[:80]!r}"
        )
    return tree


def _merged(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """Lay ``above`` over ``below``; lists, and sections of another ``kind``, are replaced whole."""
    merged = dict(below)
    for key, new in above.items():
        old = below.get(key)
        if (
            isinstance(old, dict)
            and isinstance(new, dict)
            and new.get("kind", old.get("kind")) == old.get("kind")
        ):
            merged[key] = _merged(old, new)
        else:
            merged[key] = new
    return merged


def _overridden(tree: object, override: str) -> object:
    """Return ``tree`` with one ``a.b=value`` applied."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: is not key=value; write it like optim.steps=100")
    return _assigned(tree, keys, yaml_text.read(text, f"override {override!r}"))


def _assigned(node: object, keys: Sequence[str], value: object, above: tuple[str, ...] = ()) -> object:
    """Return ``node`` with ``value`` at ``keys`` below it; ``above`` leads to the node."""
    if not keys:
        return value
    key, *rest = keys
    path = (*above, key)
    if isinstance(node, list):
        if not (key.isdecimal() and int(key) < len(node)):
            count = f"{dotted(above)} has {len(node)} items, counted from 0"
            raise ConfigError(f"override {dotted((*path, *rest))}: {count}; to add one, set the whole list")
        index = int(key)
        return [*node[:index], _assigned(node[index], rest, value, path), *node[index + 1 :]]
    if node is not None and not isinstance(node, dict):
        raise ConfigError(
            f"override {dotted((*path, *rest))}: {dotted(above)} is {node!r} and has no keys; set it whole"
        )
    branch = node or {}
    return branch | {key: _assigned(branch.get(key), rest, value, path)}


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
