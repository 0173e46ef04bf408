"""JSON and YAML that anybody may have written: no code, and limits of depth and size."""

import time

import pytest
import yaml

from textclf.parsing import LimitedLoader, check_size, parse_json, parse_yaml
from textclf.run.yaml_values import load, read_config


def alias_bomb(levels=9, first="[x, x, x, x, x, x, x, x, x, x]"):
    """A few lines whose aliases make 10 ** levels values."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


def merge_bomb(levels=9):
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (alias_bomb(), "more than 1,000,000 values"),
        (merge_bomb(), "more than 1,000,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: {c: *a}}", "contains itself"),
        ("[" * 150 + "]" * 150, "levels"),
        ("[" * 5000, "levels"),
        ("{a: " * 150 + "1" + "}" * 150, "levels"),
        ("a: !!timestamp x", "cannot be read"),
        ("a: !!int x", "cannot be read"),
        ("a: !!bool x", "cannot be read"),
        ("a: !!float x", "cannot be read"),
        (f"a: {'9' * 5000}", "cannot be read"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
    ],
    ids=lambda value: value[:25],
)
def test_yaml_that_is_refused(text, words):
    started = time.monotonic()
    for read in (parse_yaml, load):
        with pytest.raises(yaml.YAMLError, match=words):
            read(text)
    assert time.monotonic() - started < 30


def test_a_configuration_that_is_too_large_is_refused_in_one_line(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(alias_bomb())
    with pytest.raises(ValueError, match=r"^the configuration '.*bomb\.yaml' is not valid YAML: line 1, column 1: it"):
        read_config(path)


def test_aliases_and_merges_are_read():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}] * 2}
    assert issubclass(LimitedLoader, yaml.SafeLoader)


@pytest.mark.parametrize("text", ["[" * 102 + "]" * 102, '{"a":' * 101 + "1" + "}" * 101, "[" * 5000, b"[" * 5000])
def test_json_that_is_too_deep_is_refused(text):
    with pytest.raises(ValueError, match="more than 100 levels"):
        parse_json(text)


@pytest.mark.parametrize("text", ["9" * 301, f'{{"a": [-{"9" * 5000}]}}'])
def test_json_with_a_number_that_is_no_float_is_refused(text):
    with pytest.raises(ValueError, match="more than 300 digits"):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["[" * 100 + "]" * 100, '{"a":' * 100 + "1" + "}" * 100, f'["{"[" * 1000}"]', b"[1]", "9" * 300]
)
def test_json_is_read(text):
    assert parse_json(text)


def test_shared_lists_are_counted_as_often_as_they_occur():
    value = [0]
    for _ in range(30):
        value = [value, value]
    with pytest.raises(ValueError, match="more than 1,000,000 values"):
        check_size(value)
    value = {"a": []}
    value["a"].append(value)
    with pytest.raises(ValueError, match="contains itself"):
        check_size(value)
