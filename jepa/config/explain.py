"""What a user reads when a config is wrong: pydantic's findings, in the paths and words of the YAML file."""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Section = type[BaseModel]

# pydantic's names for a wrong type, and what is expected instead
_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing_size": "an integer of at most 64 bits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
# pydantic's names for a value out of range, with the sign and the name of the limit in the error's context
_LIMITS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list", dict: "mapping"}


class Place(NamedTuple):
    """Where an error is, in the file's own terms."""

    path: tuple[int | str, ...]  # the keys and list positions, without pydantic's names of union members
    section: Section | None  # the section that has, or should have, the last key
    annotation: object  # the type at this place; None for an unknown key
    union: tuple[int | str, ...] | None  # the path of a union without kinds, such as a number or a list


def explain(errors: Sequence[ErrorDetails], schema: Section) -> list[str]:
    """Return what to tell about pydantic's errors: a line each, and one per broken cross-field rule."""
    found = [(error, locate(error["loc"], schema)) for error in errors]
    lines = []
    told = set()
    for error, place in found:
        if place.union is None:
            lines += _explain(error, place, schema)
        elif place.union not in told:
            told.add(place.union)
            lines += _explain_union([pair for pair in found if pair[1].union == place.union], schema)
    return lines


def _explain_union(found: list[tuple[ErrorDetails, Place]], schema: Section) -> list[str]:
    """Return what to tell about a value that may be this or that, given what it lacks as each."""
    meant = [(e, place) for e, place in found if place.path != place.union or e["type"] not in _EXPECTED]
    if meant:
        return [line for error, place in meant for line in _explain(error, place, schema)]
    expected = " or ".join(_EXPECTED[error["type"]] for error, _ in found)
    error, place = found[0]
    return [f"{dotted(place.path)}: expected {expected}, got {_typed(error['input'])}"]


def _explain(error: ErrorDetails, place: Place, schema: Section) -> list[str]:
    """Return what to tell about one error at ``place``."""
    path, kind, value, context = dotted(place.path), error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        problems = getattr(context["error"], "problems", [str(context["error"])])
        return [f"{path}: {problem}" if path else problem for problem in problems]
    if kind == "extra_forbidden":
        said = f"unknown key; {_suggestion(place, schema)}"
    elif kind == "missing":
        said = f"missing; {_purpose(place)}"
    elif kind in ("union_tag_not_found", "union_tag_invalid"):
        path = f"{path}.kind"
        found = f"{context['tag']!r} is not allowed" if "tag" in context else "missing"
        said = f"{found}; choose one of {_listed(_kinds(place.annotation))}"
    elif kind == "literal_error":
        said = f"{_shown(value)} is not allowed; choose one of {_listed(_literals(place.annotation))}"
    elif kind in _EXPECTED:
        said = f"expected {_EXPECTED[kind]}, got {_typed(value)}{_remedy(kind, value)}"
    elif kind in _LIMITS:
        sign, limit = _LIMITS[kind]
        said = f"{_shown(value)} is out of range; it must be {sign} {context[limit]:g}"
    elif kind == "too_short" and len(value) >= context["min_length"]:
        return []  # pydantic does not count items that are wrong themselves, and has told about those
    elif kind in ("too_short", "too_long"):
        bound = (
            f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        )
        said = f"{_shown(value)} has {context['actual_length']} items; give {bound}"
    else:
        said = f"{error['msg']}, got {_typed(value)}"
    return [f"{path or 'config'}: {said}"]


def dotted(path: tuple[int | str, ...]) -> str:
    """Return ``path`` as overrides spell it, such as ``data.sources.0.path``."""
    return ".".join(str(part) for part in path)


def locate(location: tuple[int | str, ...], schema: Section) -> Place:
    """Follow ``location`` through the schema; at a union it also holds the member's name, which is no key."""
    path: list[int | str] = []
    section: Section | None = None
    annotation: object = schema
    union: tuple[int | str, ...] | None = None
    for part in location:
        sections = sections_of(annotation)
        if isinstance(part, int):
            path.append(part)
        elif len(sections) > 1:
            annotation = next(member for member in sections if part in _kinds(member))
        elif not sections:
            union = tuple(path)
        else:
            path.append(part)
            section = sections[0]
            field = section.model_fields.get(part)
            annotation = field.annotation if field else None
    return Place(tuple(path), section, annotation, union)


def sections_of(annotation: object) -> list[Section]:
    """Return the sections that a value of this type may be, or may be a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_of(part)]


def _literals(annotation: object) -> list[str]:
    """Return the values that the Literals in this type allow."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _literals(part)]


def _kinds(annotation: object) -> list[str]:
    """Return the values of ``kind`` that tell the members of a union apart."""
    return [
        kind
        for section in sections_of(annotation)
        for kind in _literals(section.model_fields["kind"].annotation)
    ]


def _fixed_length(annotation: object) -> int:
    """Return the length of the list of fixed length in this type."""
    if get_origin(annotation) is tuple:
        return len(get_args(annotation))
    return max((_fixed_length(part) for part in get_args(annotation)), default=0)


def _suggestion(place: Place, schema: Section) -> str:
    """Return the key that an unknown one was probably meant to be, or else all keys of its section."""
    *parents, key = place.path
    allowed = list(place.section.model_fields) if place.section else []
    near = [dotted((*parents, name)) for name in difflib.get_close_matches(str(key), allowed, n=2)]
    elsewhere = [path for path in _keys(schema) if path.rpartition(".")[2] == key]
    if near or elsewhere:
        return f"did you mean {' or '.join(near or elsewhere)}?"
    return f"allowed here: {', '.join(allowed)}"


def _keys(section: Section, prefix: str = "") -> Iterator[str]:
    """Yield the path of every key that is not inside a list."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if get_origin(field.annotation) is not tuple:
            members = [_keys(member, f"{prefix}{name}.") for member in sections_of(field.annotation)]
            yield from dict.fromkeys(path for paths in members for path in paths)  # each once


def _purpose(place: Place) -> str:
    """Return what a missing value is for."""
    if isinstance(place.path[-1], int):  # of a list of fixed length
        return f"give {_fixed_length(place.annotation)} items"
    field = place.section.model_fields[place.path[-1]] if place.section else None
    section = next(iter(sections_of(place.annotation)), None)
    text = (
        (field.description if field else None)
        or (section.__doc__ if section else None)
        or "it has no default"
    )
    return f"add it: {text.strip().splitlines()[0].split('. ')[0].rstrip('.')}"


def _remedy(kind: str, value: object) -> str:
    """Return how to write the value, where its intention is clear."""
    if kind.startswith("int") and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str) and value:
        return "; a quoted number is text" if value[0].isdigit() else ""
    if value is None:
        return "; give a value or remove the key"
    if kind == "tuple_type" and isinstance(value, str | int | float):
        return f"; write [{value}]"
    return ""


def _typed(value: object) -> str:
    """Return the value with the name of its type."""
    return "null" if value is None else f"{_NAMES.get(type(value), type(value).__name__)} {_shown(value)}"


def _shown(value: object, limit: int = 80) -> str:
    """Return the value as YAML would show it, shortened."""
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def _listed(choices: list[str]) -> str:
    return ", ".join(dict.fromkeys(choices))
