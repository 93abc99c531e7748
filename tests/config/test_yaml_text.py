import math

import pytest

from jepa.config import yaml_text
from jepa.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5.25e-4", 5.25e-4),
        ("1E3", 1000.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("12_000", 12_000),
        ("+7", 7),
        ("010", 10),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("1.2.3", "1.2.3"),
        ("no", "no"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1e-4'", "1e-4"),
        ("-", [None]),
        ("e5", "e5"),
        ("_1", "_1"),
        (".", "."),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    read = yaml_text.read(text, "x.yaml")
    assert read == value
    assert type(read) is type(value)


def test_nan_is_a_number():
    assert math.isnan(yaml_text.read(".nan", "x.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3",
            r"x\.yaml, line 3, column 1: .*key 'a' stands twice \(first on line 1\); keep one",
        ),
        ("o: {a: 1, a: 2}", r"line 1, column 11: .*key 'a' stands twice"),
        ("a: &x 1\nb: *x", r"line 2, column 4: .*alias \*x is not supported; write the value out"),
        ("a: b: c", r"line 1, column 5: .*mapping values are not allowed.*check quotes, colons and spaces"),
        ("a:\n\t- 1", r"line 2, column 1: .*\\t.*no tabs"),
        ("a: [1, 2", r"x\.yaml, line 1.*expected ',' or '\]'"),
        ("a: !!python/object:os.system {}", r"line 1, column 4: .*could not determine a constructor"),
        ("a: !!set {x}", r"line 1, column 4: .*could not determine a constructor"),
        ("? [a]\n: 1", r"line 1, column 3: .*found unhashable key"),
        ("a: \x00", r"x\.yaml: cannot be read as YAML: .*#x0000"),
    ],
)
def test_what_is_no_yaml_is_named_with_its_line(text, message):
    with pytest.raises(ConfigError, match=message):
        yaml_text.read(text, "x.yaml")


@pytest.mark.parametrize(
    "value",
    [
        "1e-4",
        "1_000",
        "true",
        "null",
        "~",
        "",
        "010",
        "no",
        "a: b",
        "- a",
        "#",
        "1:30",
        ".5",
        "ü",
        "a\nb",
        " a ",
    ],
)
def test_text_that_looks_like_something_else_survives(value):
    assert yaml_text.read(yaml_text.write({"a": value}), "x.yaml") == {"a": value}


@pytest.mark.parametrize(
    "value", [1e-6, 1e300, 0.1, 5.25e-4, math.inf, 3, -7, True, None, [], {}, [[1, 2], [3]]]
)
def test_other_values_survive(value):
    assert yaml_text.read(yaml_text.write({"a": value}), "x.yaml") == {"a": value}


def test_equal_values_are_written_out_and_lists_of_scalars_on_one_line():
    pair = [0.3, 1.0]
    assert yaml_text.write({"a": pair, "b": {"c": pair}}) == "a: [0.3, 1.0]\nb:\n  c: [0.3, 1.0]\n"
