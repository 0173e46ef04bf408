"""Prompts: templates that are filled once, examples that stand before them, and texts that are shortened to fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.errors import UserError
from textclf.scoring.tokens import Bos, prompt_token_ids
from textclf.types import PreTrainedTokenizerBase

SLOTS = re.compile(r"\{(text|text_pair|labels)\}")
MARKS = re.compile("\ue000(text|text_pair)\ue001")
"""What stands for a slot where a slot's own name could stand in a text: characters that no text has."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PromptTemplate:
    """A text with slots; it is filled once, so that a text which holds a slot's name stays as it is.

    Attributes:
        parts: What is written, and names of slots, in turn; the first and the last are written.
    """

    parts: tuple[str, ...]

    @classmethod
    def of(cls, template: str) -> PromptTemplate:
        """Reads a template as a person writes it: `{text}`, `{text_pair}`, `{labels}`.

        Raises:
            UserError: It has no `{text}`.
        """
        parts = tuple(SLOTS.split(template))
        if "text" not in parts[1::2]:
            raise UserError(f"prompt {template[:60]!r} has no {{text}}: write it where the text is to stand")
        return cls(parts)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of its slots, in order."""
        return self.parts[1::2]

    @property
    def tail(self) -> str:
        """What is written behind the last slot."""
        return self.parts[-1]

    def fill(self, values: Row) -> str:
        """The text with a value in each slot."""
        return "".join(values[part] if i % 2 else part for i, part in enumerate(self.parts))


def with_examples(
    template: PromptTemplate, labels: str, examples: Sequence[tuple[Row, str]], chat: PreTrainedTokenizerBase | None
) -> PromptTemplate:
    """Puts the names of the labels and answered examples before a prompt.

    Args:
        template: The prompt of one text.
        labels: What stands for `{labels}`.
        examples: Rows and their answers, each answer with what divides it from its prompt. Between two examples there
            is an empty line; in a chat each is a turn of the user's and one of the assistant's.
        chat: The tokenizer whose chat template wraps it all; None for plain text.

    Returns:
        A template with the slots `text` and `text_pair` only.

    Raises:
        UserError: The tokenizer has no chat template, or it changes what the user says.
    """
    asked = [(template.fill({**row, "labels": labels}), answer) for row, answer in examples]
    open_prompt = template.fill(
        {"labels": labels, **{name: f"\ue000{name}\ue001" for name in ("text", "text_pair")}},
    )
    if chat is None:
        whole = "".join(f"{prompt}{answer}\n\n" for prompt, answer in asked) + open_prompt
    else:
        if not chat.chat_template:
            raise UserError("chat_template is true, but the tokenizer has no chat template: set it to false")
        turns = [(("user", prompt), ("assistant", answer.strip())) for prompt, answer in asked]
        messages = [{"role": role, "content": text} for turn in turns for role, text in turn]
        messages.append({"role": "user", "content": open_prompt})
        whole = as_chat(messages, chat)
        if MARKS.findall(whole) != MARKS.findall(open_prompt):
            raise UserError(
                "the tokenizer's chat template leaves out or repeats the prompt: set chat_template to false"
            )
    return PromptTemplate(tuple(MARKS.split(whole)))


def as_chat(messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    """Wraps turns in a tokenizer's chat template, up to where the assistant would answer.

    Templates may strip white space around what is said, and nothing else.

    Raises:
        UserError: The template fails, or changes what is said.
    """
    from jinja2 import TemplateError

    try:
        turns = [dict(message) for message in messages]
        whole = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the tokenizer's chat template fails ({reason}): set chat_template to false") from error
    for message in messages:
        if (said := message["content"].strip()) not in whole:
            shown = MARKS.sub(r"{\1}", said)[:60]
            raise UserError(
                f"the tokenizer's chat template changes what the {message['role']} says ({shown!r}): "
                "set chat_template to false"
            )
    return whole


def shortened(template: PromptTemplate, row: Row, kept: int) -> dict[str, str]:
    """A row whose texts have `kept` characters in all: of two the longer one is shortened first."""
    if "text_pair" not in template.slots:
        return {"text": row["text"][:kept]}
    first, second = len(row["text"]), len(row["text_pair"])
    mine = min(first, max(kept - second, kept - kept // 2))
    return {"text": row["text"][:mine], "text_pair": row["text_pair"][: kept - mine]}


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    """The texts of each row, from columns: `text`, and `text_pair` where there is one."""
    names = [name for name in ("text", "text_pair") if name in columns]
    return [dict(zip(names, texts, strict=True)) for texts in zip(*(columns[name] for name in names), strict=True)]


def fit_texts(
    templates: Sequence[PromptTemplate],
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    limit: int | None,
    bos: Bos = "tokenizer",
) -> tuple[list[int], list[int], list[int]]:
    """Finds how much of each text fits; nothing else of a prompt is ever cut.

    Args:
        templates: The prompt of each row.
        tokenizer: What counts its tokens.
        rows: With `text`, and `text_pair` where the prompt has it.
        limit: Most tokens of a prompt; None for no limit.
        bos: Policy of BOS, as in `prompt_token_ids`.

    Returns:
        Characters kept, tokens of the prompt then, and tokens cut off, of each row.

    Raises:
        UserError: There is no room for any text.
    """

    def lengths(kept: Mapping[int, int]) -> dict[int, int]:
        prompts = [templates[i].fill(shortened(templates[i], rows[i], n)) for i, n in kept.items()]
        return dict(zip(kept, map(len, prompt_token_ids(tokenizer, prompts, bos)), strict=True))

    sizes = {i: sum(len(row[name]) for name in {*templates[i].slots}) for i, row in enumerate(rows)}
    whole = lengths(sizes)
    kept, found = dict(sizes), dict(whole)
    if limit is not None and (long := [i for i, length in whole.items() if length > limit]):
        one_of_each = {templates[i]: i for i in long}
        bare = lengths(dict.fromkeys(one_of_each.values(), 0))
        if (most := max(bare.values())) >= limit:
            raise UserError(
                f"prompt leaves no room for the text: it has {most} tokens without one, and {limit} fit; shorten the "
                "prompt, show fewer shots, or give a larger max_length or a model with a longer context"
            )
        fits, too_many = dict.fromkeys(long, 0), {i: sizes[i] for i in long}
        found.update({i: bare[one_of_each[templates[i]]] for i in long})
        while trial := {i: (fits[i] + too_many[i]) // 2 for i in long if too_many[i] - fits[i] > 1}:
            for i, length in lengths(trial).items():
                if length <= limit:
                    fits[i], found[i] = trial[i], length
                else:
                    too_many[i] = trial[i]
        kept.update(fits)
    return list(kept.values()), list(found.values()), [whole[i] - found[i] for i in whole]
