"""Refuses secrets among the options of a run, which are written to its folder, to checkpoints and to loggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from textclf.errors import UserError
from textclf.redaction import USER_OF_ADDRESS, is_secret_name, secrets

NO_SECRETS = ("true", "false", "null")
"""Values that are no secrets: the first says that the key of the environment is used."""
NOT_WRITTEN = ("--texts",)
"""Options that are not written anywhere."""


def check_words(words: Sequence[str]) -> None:
    """Refuses secrets among the words of a command, before an error could repeat them.

    Args:
        words: The command and its options.

    Raises:
        UserError: There is one; the message does not repeat it.
    """
    for option, following in pairwise([*words, ""]):
        if not option.startswith("--"):
            continue
        name, equals, value = option.partition("=")
        given = value if equals else following
        if name in NOT_WRITTEN or given.startswith("--"):
            continue
        last = name.removeprefix("--").rpartition(".")[2]
        if is_secret_name(last) and given.lower() not in NO_SECRETS:
            _refuse(name)
        _check_text(given, name)


def check_options(config: Mapping[str, Any]) -> None:
    """Refuses secrets in a configuration.

    Args:
        config: Nested dictionaries and lists, with all options of a run.

    Raises:
        UserError: There is one; the message does not repeat it.
    """
    for path, value in _values_in(config, ""):
        if is_secret_name(path.rpartition(".")[2]):
            _refuse(path)
        _check_text(value, path)


def _values_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The texts in a configuration that are not empty, and the numbers as texts, with the keys that lead to them."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            inner = path if name == "init_args" else f"{path}.{name}".removeprefix(".")
            yield from _values_in(entry, inner)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _values_in(entry, path)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield path, str(value)


def _check_text(text: str, option: str) -> None:
    for name, value in secrets():
        if value in text:
            raise UserError(
                f"{option} has the value of the environment variable {name} in it, and options are written to files: "
                "leave it out"
            )
    if USER_OF_ADDRESS.search(text):
        raise UserError(
            f"{option} has an address with a user name and a password, and options are written to files: leave them out"
        )


def _refuse(option: str) -> NoReturn:
    raise UserError(
        f"{option} is a secret, and options are written to files: leave it out, and set an environment variable, such "
        "as OPENAI_API_KEY, HF_TOKEN or WANDB_API_KEY"
    )
