"""YAML as this project reads and writes it: numbers are numbers, keys stand once, nothing is executed."""

import re
from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from jepa.errors import ConfigError

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_EXPONENT = "[eE][-+]?[0-9]+"
_DECIMAL = rf"(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})"

# The types of YAML 1.2. PyYAML follows 1.1, in which 1e-4 is text, 1:30 ninety, 010 eight and `no` false.
#   type, pattern, first characters (PyYAML looks a pattern up by them)
_SCALARS = [
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(rf"[-+]?{_DIGITS}\Z"), list("-+0123456789")),
    (
        "float",
        re.compile(rf"(?:[-+]?(?:{_DECIMAL}(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT}|\.inf)|\.nan)\Z"),
        list("-+.0123456789"),
    ),
]
_TAG = "tag:yaml.org,2002:"
_RESOLVERS = {
    first: [(_TAG + name, pattern) for name, pattern, firsts in _SCALARS if first in firsts]
    for first in {first for _, _, firsts in _SCALARS for first in firsts}
}


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


class _Loader(yaml.SafeLoader):
    """Mappings, lists, text, numbers, true, false and null; no aliases, no other tags."""

    yaml_implicit_resolvers = _RESOLVERS
    yaml_constructors = {
        **{
            _TAG + name: yaml.SafeLoader.yaml_constructors[_TAG + name]
            for name in ("null", "bool", "str", "seq", "map")
        },
        _TAG + "int": _construct_int,
        _TAG + "float": _construct_float,
        None: yaml.SafeLoader.yaml_constructors[None],  # refuses every other tag
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: they hide where a value comes from."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call] # PyYAML's stubs do not type it
            problem = f"alias *{event.anchor} is not supported; write the value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice, of which PyYAML would keep the later without a word."""
        lines: dict[Hashable, int] = {}
        for key_node in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key_node.value in lines:
                where = f"first on line {lines[key_node.value]}"
                problem = f"key '{key_node.value}' stands twice ({where}); keep one of them"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            lines[key_node.value] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Lists of scalars on one line; text is quoted exactly where `_Loader` would read something else."""

    yaml_implicit_resolvers = _RESOLVERS

    def represent_sequence(
        self, tag: str, sequence: Iterable[Any], flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        """Put a list of scalars on one line."""
        items = list(sequence)
        scalars = not any(isinstance(item, dict | list) for item in items)
        return super().represent_sequence(tag, items, flow_style=scalars)

    def ignore_aliases(self, data: object) -> bool:
        """Write every value out."""
        return True


def read(text: str, name: str) -> object:
    """Return the value in ``text``; raises ConfigError with ``name``, line and column where it is no YAML."""
    try:
        return yaml.load(text, _Loader)  # _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        problem = error.problem or error.context
    except yaml.YAMLError as error:  # a character that YAML does not allow: no line is known
        where, problem = name, str(error).splitlines()[0]
    raise ConfigError(
        f"{where}: cannot be read as YAML: {problem} — check quotes, colons and spaces (no tabs)"
    )


def write(value: object) -> str:
    """Return ``value`` as YAML that `read` turns back into it."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=110, allow_unicode=True
    )
