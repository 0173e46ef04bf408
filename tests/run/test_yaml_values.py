"""Values as YAML text and back."""

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.cli import main
from textclf.cli.config import Parser
from textclf.data import TextDataModule
from textclf.errors import UserError
from textclf.run.yaml_values import MODE, dump, load, read_config, unquoted

LOOK_ALIKES = """
    1e3 1E-3 .5 5. -1 +1 1_000 007 0x10 0o7 0b1 0 .inf -.INF .nan yes no on off y n Yes NO true True false null NULL ~
    2024-01-01 12:30 1:30:20.5 = << - ? : ! & * | > % @ ` # , [] {} [a] {a} #1 !a &a *a - a a:b a: :a a#b --- ... "" ''
    "a" 'a' \\n \\ud83d😀 👩‍💻 🇰🇷 가 가 é ١٢
""".split()
LOOK_ALIKES += ["", " ", " a", "a ", "a: b", "a #b", "- a", "\n", "a\n", "\na", "a\n\nb", "\t", "a\tb", "\r", "\r\n"]
LOOK_ALIKES += [*"\x00\x7f\x85\xa0\xad\u2028\u2029\u200f\ufeff\uffff\U0010ffff", "\x1b[1m"]
NON_UTF8_PATH = "caf\udce9"  # as Python gives a file name that is not UTF-8
texts = st.sampled_from([*LOOK_ALIKES, NON_UTF8_PATH]) | st.text(max_size=200) | st.text("a \n\t\r\x85\u2028'\"#:-\\")
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4), max_leaves=8)


@given(st.dictionaries(texts, values, max_size=4), st.booleans())
@settings(max_examples=100)
def test_what_is_written_is_read_back(value, inline):
    text = dump(value, inline=inline)
    text.encode("utf-8")
    assert load(text) == value
    assert yaml.safe_load(text) == value  # by any other reader too


@given(st.dictionaries(st.text(max_size=20), st.lists(texts, max_size=5)))
@settings(max_examples=100)
def test_json_is_read_as_json(value):
    assert load(json.dumps(value)) == value


def test_texts_that_look_like_something_else_one_by_one():
    for text in LOOK_ALIKES:
        assert load(dump({text: [text]})) == {text: [text]}, ascii(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{0: 2.0, 1: 1}", {"0": 2.0, "1": 1}),
        ("{yes: a, no: b, null: c, ~: d}", {"yes": "a", "no": "b", "null": "c", "~": "d"}),
        (
            "{1e3: a, 007: b, 2024-01-01: c, 12:30: d, 1.50: e}",
            {"1e3": "a", "007": "b", "2024-01-01": "c", "12:30": "d", "1.50": "e"},
        ),
        ("[yes, no, on, off, y, n, =]", ["yes", "no", "on", "off", "y", "n", "="]),
        ("[2024-01-01, 12:30, 007, 1_000, 0x10]", ["2024-01-01", "12:30", "007", "1_000", "0x10"]),
        ("[true, False, null, ~, 1, -2, 1e3, 1.5, .5]", [True, False, None, None, 1, -2, 1000.0, 1.5, 0.5]),
        ('["true", "null", "1"]', ["true", "null", "1"]),
        (r'["\ud83d\ude00", "\ud83d"]', ["😀", "\ud83d"]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("#1", "#1"),
        ("null", None),
    ],
)
def test_what_is_text_and_what_is_not(text, value):
    assert load(text) == value


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"trainer: {max_epochs: 1}\nmodel: x\ntrainer: {max_epochs: 2}\n", ["line 3", "'trainer'", "twice"]),
        (b"a: {0: x, '0': y}\n", ["line 1", "'0'", "twice"]),
        (b"a: 1\nb: [1, 2\nc: 3\n", ["not valid YAML", "line 3"]),
        (b"a:\n\tb: 1\n", ["not valid YAML", "line 2"]),
        (b"? [a]\n: 1\n", ["a key must be"]),
        (b"a: 1\n---\nb: 2\n", ["not valid YAML"]),
        (b"- a\n", ["holds a list"]),
        (b"hello\n", ["holds a str"]),
        (b"", ["is empty"]),
        (b"# nothing\n", ["is empty"]),
        (b"a: \x01\n", ["not valid YAML"]),
        (b"a: \xff\xfe\x00\xd8\n", ["bad.yaml"]),
        (None, ["No such file"]),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(written, words, tmp_path):
    if written is not None:
        (tmp_path / "bad.yaml").write_bytes(written)
    with pytest.raises(UserError) as error:
        read_config(tmp_path / "bad.yaml")
    for word in [str(tmp_path / "bad.yaml"), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(UserError, match="is a folder: give a file"):
        read_config(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp949"])
def test_a_configuration_in_any_encoding(encoding, tmp_path):
    config = {"data": {"init_args": {"label_names": ["부정적인 감상", "긍정적인 감상"], "data_dir": "한국어 자료"}}}
    (tmp_path / "config.yaml").write_bytes(f"# 한국어 설정\n{dump(config)}".encode(encoding))
    assert read_config(tmp_path / "config.yaml") == config


# Through the command line: `--print_config` writes what was read


def printed(capsys, *arguments):
    with suppress(SystemExit):
        main(["fit", "--data", "FilesDataModule", *arguments, "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["inline", "file", "values"])
def test_names_and_paths_keep_their_characters_on_the_way_through_the_parser(source, capsys, tmp_path):
    names = [text for text in LOOK_ALIKES if text.strip()]
    data = {"label_names": names, "data_dir": "리뷰 📁: #1 [a]", "text_column": "1e3", "label_column": "yes"}
    model = {"class_weights": dict.fromkeys(names, 2.0)}
    if source == "values":
        given = [f"--data.{key}={value if isinstance(value, str) else dump(value)}" for key, value in data.items()]
        given = ["--model", "TfidfClassifier", *given, f"--model.class_weights={json.dumps(model['class_weights'])}"]
    else:
        config = {"data": {"init_args": data}, "model": {"class_path": "TfidfClassifier", "init_args": model}}
        given = ["--config", dump(config, inline=True)]
    if source == "file":
        (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
        given = ["--config", str(tmp_path / "config.yaml")]
    found = printed(capsys, *given)
    assert {name: found["data"]["init_args"][name] for name in data} == data
    assert found["model"]["init_args"]["class_weights"] == model["class_weights"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "argument", "written", "value"),
    [
        ("CausalLMClassifier", "label_words", "{positive: yes, negative: no}", {"positive": "yes", "negative": "no"}),
        ("CausalLMClassifier", "label_words", "{0: [no, off], 1: y}", {"0": ["no", "off"], "1": "y"}),
        ("CausalLMClassifier", "prior", "{0: 0.5, yes: 1}", {"0": 0.5, "yes": 1.0}),
        ("FineTunedClassifier", "class_weights", "{0: 2.0, 1e3: 1}", {"0": 2.0, "1e3": 1.0}),
        (
            "FineTunedClassifier",
            "encoder_config",
            '{a: {b: 1}, c: "1e5", d: 1e5}',
            {"a": {"b": 1}, "c": "1e5", "d": 1e5},
        ),
        ("EmbeddingZeroShot", "label_texts", "{0: a bad film, 1: [a, b]}", {"0": "a bad film", "1": ["a", "b"]}),
        ("NLIClassifier", "label_texts", "{0: bad, 1: yes}", {"0": "bad", "1": "yes"}),
        ("ChatClassifier", "answers", "{1: positive, 0: negative}", {"1": "positive", "0": "negative"}),
        ("PretrainedClassifier", "label_map", '{0: null, 1: "null"}', {"0": None, "1": "null"}),
        ("Seq2SeqClassifier", "label_words", r'{"\ud83d\ude00": "a\nb"}', {"😀": "a\nb"}),
    ],
)
@pytest.mark.parametrize("source", ["value", "file"])
def test_arguments_by_label_name(model, argument, written, value, source, capsys, tmp_path):
    (tmp_path / "more.yaml").write_text(f"model:\n  class_path: {model}\n  init_args: {{{argument}: {written}}}\n")
    given = ["--model", model, f"--model.{argument}", written]
    if source == "file":
        given = ["--config", str(tmp_path / "more.yaml")]
    assert printed(capsys, *given)["model"]["init_args"][argument] == value


@pytest.mark.parametrize(
    "prompt",
    ["Review: {text}", "{text}", "[DOCUMENT] {text}", "- {text}", "# {text}", "'{text}'", "{text}: ", "&{text}"],
)
def test_a_text_on_the_command_line_stays_as_it_is(prompt, capsys):
    found = printed(capsys, "--model", "CausalLMClassifier", "--model.prompt", prompt)
    assert found["model"]["init_args"]["prompt"] == prompt


class Recorder(TextDataModule):
    """A data set from outside with arguments of any type."""

    def __init__(self, anything: Any = "", settings: dict[str, Any] | None = None, name: str = ""):
        super().__init__()
        self.given = (anything, settings, name)


@pytest.mark.parametrize(
    "text", ["query: ", "1e5", "12", "0x10", "true", "null", "[a]", "{a: b}", "- a", "# a", "a\nb", " a "]
)
def test_classes_are_given_each_text_as_it_was_read(text):
    parser = Parser(parser_mode=MODE, exit_on_error=False)
    parser.add_subclass_arguments(TextDataModule, "data")
    settings = {"prompt": text, "stop": [text, 1], "inner": {"text": text, "number": 1e5}}
    arguments = {"anything": text, "settings": settings, "name": text}
    given = {"data": {"class_path": f"{__name__}.Recorder", "init_args": arguments}}
    config = unquoted(parser.parse_args(["--data", dump(given["data"], inline=True)]))
    built = parser.instantiate_classes(config).data
    assert built.given == (text, settings, text)
    assert {type(built.given[0]), type(built.given[1]["stop"][0]), type(built.given[2])} == {str}, "plain texts"
