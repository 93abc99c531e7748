from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from jepa.config.load import parse
from jepa.config.section import Section
from jepa.errors import ConfigError


class Circle(Section):
    kind: Literal["circle", "disc"]
    radius: Annotated[float, Field(gt=0)]
    """Radius in pixels. Not the diameter."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.radius == 13:
            raise ValueError("radius 13 is unlucky; take another")
        return self


class Box(Section):
    """A box."""

    kind: Literal["box"]
    size: tuple[int, int] = (1, 1)
    circle: str = ""


class Inner(Section):
    """What is inside."""

    count: Annotated[int, Field(ge=1, le=9)] = 1
    mode: Literal["fast", "slow"] | None = None
    ratio: float | None = None


class Outer(Section):
    shapes: Annotated[tuple[Annotated[Circle | Box, Field(discriminator="kind")], ...], Field(min_length=1)]
    """Shapes to draw."""
    inner: Inner = Inner()
    must: Inner
    on: bool = False
    side: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], int] | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.inner.count == 5:
            raise ConfigError(["inner.count 5 is even; take 4", "inner.count 5 is five"])
        return self


BOX = {"kind": "box"}


def explained(**values: object) -> list[str]:
    """All that is said about a config with these values."""
    with pytest.raises(ConfigError) as caught:
        parse({"shapes": [BOX], "must": {}} | values, Outer)
    return caught.value.problems


@pytest.mark.parametrize(
    ("values", "line"),
    [
        # unknown keys
        ({"iner": 1}, "iner: unknown key; did you mean inner?"),
        ({"inner": {"cont": 1}}, "inner.cont: unknown key; did you mean inner.count?"),
        ({"ratio": 1}, "ratio: unknown key; did you mean inner.ratio or must.ratio?"),
        ({"xyz": 1}, "xyz: unknown key; allowed here: shapes, inner, must, on, side"),
        ({"inner": {"xyz": 1}}, "inner.xyz: unknown key; allowed here: count, mode, ratio"),
        ({"shapes": [BOX | {"sise": 1}]}, "shapes.0.sise: unknown key; did you mean shapes.0.size?"),
        ({"shapes": [BOX, BOX | {"q": 1}]}, "shapes.1.q: unknown key; allowed here: kind, size, circle"),
        # missing keys
        ({"shapes": [{"kind": "circle"}]}, "shapes.0.radius: missing; add it: Radius in pixels"),
        ({"shapes": [{}]}, "shapes.0.kind: missing; choose one of circle, disc, box"),
        ({"shapes": [BOX | {"size": [1]}]}, "shapes.0.size.1: missing; give 2 items"),
        # choices
        (
            {"shapes": [{"kind": "bok"}]},
            "shapes.0.kind: 'bok' is not allowed; choose one of circle, disc, box",
        ),
        ({"inner": {"mode": "quick"}}, "inner.mode: 'quick' is not allowed; choose one of fast, slow"),
        ({"inner": {"mode": 3}}, "inner.mode: 3 is not allowed; choose one of fast, slow"),
        # types
        (
            {"inner": {"count": "2"}},
            "inner.count: expected an integer, got text '2'; a quoted number is text",
        ),
        ({"inner": {"count": "two"}}, "inner.count: expected an integer, got text 'two'"),
        ({"inner": {"count": 2.0}}, "inner.count: expected an integer, got number 2.0; write 2"),
        ({"inner": {"count": 2.5}}, "inner.count: expected an integer, got number 2.5"),
        ({"inner": {"count": True}}, "inner.count: expected an integer, got boolean true"),
        (
            {"inner": {"count": None}},
            "inner.count: expected an integer, got null; give a value or remove the key",
        ),
        ({"inner": {"ratio": True}}, "inner.ratio: expected a number, got boolean true"),
        ({"inner": {"ratio": "1"}}, "inner.ratio: expected a number, got text '1'; a quoted number is text"),
        ({"inner": 3}, "inner: expected a mapping of keys to values, got integer 3"),
        ({"inner": [3]}, "inner: expected a mapping of keys to values, got list [3]"),
        ({"on": 1}, "on: expected true or false, got integer 1"),
        ({"on": "yes"}, "on: expected true or false, got text 'yes'"),
        ({"shapes": [BOX | {"circle": 1}]}, "shapes.0.circle: expected text, got integer 1"),
        ({"shapes": [BOX | {"size": 3}]}, "shapes.0.size: expected a list, got integer 3; write [3]"),
        ({"shapes": [BOX | {"size": [1, "a"]}]}, "shapes.0.size.1: expected an integer, got text 'a'"),
        ({"inner": {"ratio": "x" * 99}}, f"inner.ratio: expected a number, got text '{'x' * 79}..."),
        # ranges
        ({"inner": {"count": 0}}, "inner.count: 0 is out of range; it must be >= 1"),
        ({"inner": {"count": 10}}, "inner.count: 10 is out of range; it must be <= 9"),
        ({"shapes": [{"kind": "disc", "radius": 0}]}, "shapes.0.radius: 0 is out of range; it must be > 0"),
        ({"shapes": []}, "shapes: [] has 0 items; give at least 1"),
        ({"shapes": [BOX | {"size": [1, 2, 3]}]}, "shapes.0.size: [1, 2, 3] has 3 items; give at most 2"),
        # this or that
        ({"side": "a"}, "side: expected an integer or a list, got text 'a'"),
        ({"side": True}, "side: expected an integer or a list, got boolean true"),
        ({"side": 0}, "side: 0 is out of range; it must be >= 1"),
        ({"side": [0, 1]}, "side.0: 0 is out of range; it must be >= 1"),
        ({"side": [1, "a"]}, "side.1: expected an integer, got text 'a'"),
        ({"side": [1]}, "side.1: missing; give 2 items"),
        ({"side": [1, 2, 3]}, "side: [1, 2, 3] has 3 items; give at most 2"),
        # rules across keys
        ({"shapes": [{"kind": "disc", "radius": 13}]}, "shapes.0: radius 13 is unlucky; take another"),
    ],
)
def test_each_mistake_is_told_with_path_value_and_remedy(values, line):
    assert explained(**values) == [line]


def test_a_missing_section_is_told_by_its_purpose():
    with pytest.raises(
        ConfigError, match="^shapes: missing; add it: Shapes to draw\nmust: missing; add it: What is inside$"
    ):
        parse({}, Outer)


def test_several_broken_rules_of_one_section_are_several_lines():
    assert explained(inner={"count": 5}) == ["inner.count 5 is even; take 4", "inner.count 5 is five"]


def test_a_value_that_is_no_mapping_at_all():
    with pytest.raises(ConfigError, match=r"^config: expected a mapping of keys to values, got list \[\]$"):
        parse([], Outer)


def test_a_key_named_like_a_kind_keeps_its_path():
    assert explained(shapes=[BOX | {"circle": None}])[0].startswith("shapes.0.circle: ")


def test_an_error_without_words_of_ours_still_has_path_and_value():
    class Odd(Section):
        multiple: Annotated[int, Field(multiple_of=4)]

    with pytest.raises(ConfigError, match="^multiple: Input should be a multiple of 4, got integer 3$"):
        parse({"multiple": 3}, Odd)
