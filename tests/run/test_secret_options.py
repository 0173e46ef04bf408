"""Secrets among the options are refused, and removed from what is printed."""

import sys

import pytest

from textclf.cli import main
from textclf.errors import UserError
from textclf.redaction import is_secret_name, print_redacted, redacted
from textclf.run.secret_options import check_options, check_words

CANARY = "canary-0123456789"


@pytest.mark.parametrize(
    "name",
    "api_key apikey API_KEY api-key openai_api_key token hf_token HF_TOKEN use_auth_token access_token password "
    "PASSWORD passwd db_password secret client_secret secret_key aws_secret_access_key authorization Authorization "
    "proxy_authorization credentials wandb_api_key access_key passphrase auth_token api_token".split(),
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "pad_token eos_token unk_token max_tokens max_batch_tokens tokens tokenizer key keys keep_columns ngrams model "
    "tokenize monkey text_column token_pattern secretary max_new_tokens completion_tokens".split(),
)
def test_names_of_other_options(name):
    assert not is_secret_name(name)


@pytest.fixture
def canary(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("SHORT_TOKEN", "none")
    return CANARY


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key {CANARY} refused", "key *** refused"),
        ("none of it", "none of it"),
        ("http://user:pass@proxy:8080/x", "http://***@proxy:8080/x"),
        ("https://user@host/x", "https://user@host/x"),
        ("see https://host/a:b@c", "see https://host/a:b@c"),
        ("Authorization: Bearer abcdefgh123", "Authorization: Bearer ***"),
        ("bearer of news", "bearer of news"),
    ],
)
def test_texts_without_secrets(canary, text, expected):
    assert redacted(text) == expected
    assert str(UserError(text)) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--model.api_key", CANARY],
        [f"--model.api_key={CANARY}"],
        ["--api-key", "x"],
        ["--model.load_options.token", "hf_x"],
        ["--trainer.logger.init_args.api_key", "x"],
        ["--model.system", f"use {CANARY}"],
        [f"--model.system={CANARY}"],
        ["--model.base_url", "http://user:hunter2@host/v1"],
        ["--model.options", "{extra_body: {proxy: 'http://user:hunter2@host'}}"],
    ],
)
def test_secrets_among_the_words_of_a_command_are_refused(canary, capsys, words):
    with pytest.raises(UserError, match="options are written to files") as caught:
        check_words(["fit", *words])
    with pytest.raises(SystemExit):
        main(["fit", *words])
    shown = str(caught.value) + "".join(capsys.readouterr())
    assert CANARY not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"init_args": {"load_options": {"token": "hf_x"}}}},
        {"model": {"init_args": {"options": {"extra_body": {"api_key": "x"}}}}},
        {"trainer": {"logger": [{"class_path": "a.B", "init_args": {"password": "x"}}]}},
        {"trainer": {"logger": [{"class_path": "a.B", "init_args": {"password": 12345678}}]}},
        {"model": {"init_args": {"load_options": {"token": ["hf_x"]}}}},
        {"model": {"init_args": {"prompt": f"{CANARY} {{text}}"}}},
        {"data": {"init_args": {"data_dir": "s3://user:hunter2@bucket"}}},
        {"x": ["a", {"y": [f"- {CANARY}"]}]},
    ],
    ids=str,
)
def test_secrets_in_a_configuration_are_refused(canary, config):
    with pytest.raises(UserError, match="options are written to files") as caught:
        check_options(config)
    assert CANARY not in str(caught.value)


def test_options_that_are_no_secrets(canary):
    check_options({"model": {"init_args": {"load_options": {"token": True}, "prompt": "none {text}", "api_key": None}}})
    check_words(
        ["predict", "--texts", CANARY, "--model.load_options.token", "true", "--model.base_url", "http://host/v1"]
    )


def test_an_error_that_nothing_has_handled_is_printed_without_secrets(canary, capsys):
    try:
        raise RuntimeError(f"refused: {CANARY}")
    except RuntimeError:
        print_redacted(*sys.exc_info())
    shown = capsys.readouterr().err
    assert shown.endswith("RuntimeError: refused: ***\n")
    assert "Traceback" in shown
