"""Prompts: templates that are filled once, examples before the text, and texts that are shortened to fit.

Everything but the text to classify is filled in beforehand, once for all texts with the same examples. With one
example, the prompt `Film: {text} It is` becomes the template

    Film: a bore It is negative

    Film: {text} It is
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.errors import UserError
from textclf.scoring.look_alikes import look_alikes
from textclf.scoring.tokens import Bos, prompt_token_ids
from textclf.types import PreTrainedTokenizerBase

TEXTS = ("text", "text_pair")
SLOTS = re.compile(r"\{(text|text_pair|labels)\}")
MARKS = re.compile("\ufdd1(text|text_pair)\ufdd2")
"""What is written for a slot while examples, which may contain a slot's name, are filled in: code points that no text
may contain, and that `LookAlikes.marked` takes out of the examples."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PromptTemplate:
    """A text with slots; it is filled once, so that a text which contains a slot's name stays as it is.

    Attributes:
        parts: Literal text and names of slots, in turn; the first and the last part are literal.
    """

    parts: tuple[str, ...]

    @classmethod
    def of(cls, template: str) -> PromptTemplate:
        """Parses a template as a user writes it, with `{text}`, `{text_pair}` and `{labels}`.

        Raises:
            UserError: It has no `{text}`.
        """
        parts = tuple(SLOTS.split(template))
        if "text" not in parts[1::2]:
            raise UserError(f"prompt {template[:60]!r} has no {{text}}: write it where the text is to be put")
        return cls(parts)

    def __str__(self) -> str:
        """The template as a user writes it."""
        return self.fill({name: f"{{{name}}}" for name in self.slots})

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of its slots, in order."""
        return self.parts[1::2]

    @property
    def tail(self) -> str:
        """The literal text behind the last slot."""
        return self.parts[-1]

    def fill(self, values: Row) -> str:
        """The text with a value in each slot."""
        filled = list(self.parts)
        for place in range(1, len(filled), 2):
            filled[place] = values[filled[place]]
        return "".join(filled)

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The texts of each row, from columns: `text`, and `text_pair` where there is one.

        Raises:
            UserError: The template has a slot for a second text, and the rows have none.
        """
        if "text_pair" in self.slots and "text_pair" not in columns:
            raise UserError("prompt has {text_pair}, but the rows have one text each: leave it out")
        texts = {"text": columns["text"]}
        if "text_pair" in columns:
            texts["text_pair"] = columns["text_pair"]
        return rows_of(texts)


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as dictionaries, from columns of equal length."""
    rows = []
    for values in zip(*columns.values(), strict=True):
        rows.append(dict(zip(columns, values, strict=True)))
    return rows


def marked_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows whose texts may be put into prompts: what looks like a special token is marked as text."""
    found = look_alikes(tokenizer)
    marked = []
    for row in rows:
        texts = {name: found.marked(row[name]) for name in TEXTS if name in row}
        marked.append({**row, **texts})
    return marked


def fill_all(templates: Sequence[PromptTemplate], rows: Sequence[Row]) -> list[str]:
    """The prompt of each row by its own template."""
    return [template.fill(row) for template, row in zip(templates, rows, strict=True)]


# Examples and chat templates


def with_examples(
    template: PromptTemplate, labels: str, examples: Sequence[tuple[Row, str]], chat: PreTrainedTokenizerBase | None
) -> PromptTemplate:
    """Fills in the names of the labels, and puts answered examples before a prompt.

    Args:
        template: The prompt of one text.
        labels: What `{labels}` is replaced by.
        examples: Rows and their answers, each answer with the delimiter that separates it from its prompt. Between two
            examples there is an empty line; in a chat, each is a turn of the user and one of the assistant.
        chat: The tokenizer whose chat template wraps it all; None for plain text.

    Returns:
        A template with the slots `text` and `text_pair` only.

    Raises:
        UserError: The tokenizer has no chat template, or it changes what the user says.
    """
    marks = {name: f"\ufdd1{name}\ufdd2" for name in TEXTS}
    question = template.fill({**marks, "labels": labels})
    answered = []
    for row, answer in examples:
        answered.append((template.fill({**row, "labels": labels}), answer))
    if chat is None:
        whole = "".join(f"{prompt}{answer}\n\n" for prompt, answer in answered) + question
    else:
        whole = _in_chat(answered, question, chat)
    return PromptTemplate(tuple(MARKS.split(whole)))


def _in_chat(answered: Sequence[tuple[str, str]], question: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Wraps examples and the question as the turns of a chat."""
    if not tokenizer.chat_template:
        raise UserError("chat_template is true, but the tokenizer has no chat template: set it to false")
    messages = []
    for prompt, answer in answered:
        messages.append({"role": "user", "content": prompt})
        messages.append({"role": "assistant", "content": answer.strip()})
    messages.append({"role": "user", "content": question})
    whole = as_chat(messages, tokenizer)
    if MARKS.findall(whole) != MARKS.findall(question):
        raise UserError("the tokenizer's chat template leaves out or repeats the prompt: set chat_template to false")
    return whole


def as_chat(messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    """Wraps turns in a tokenizer's chat template, up to where the assistant would answer.

    Templates may strip white space around a turn's content; any other change is refused.

    Raises:
        UserError: The template fails, or changes the content of a turn.
    """
    from jinja2 import TemplateError

    try:
        turns = [dict(message) for message in messages]
        whole = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the tokenizer's chat template fails ({reason}): set chat_template to false") from error
    for message in messages:
        content = message["content"].strip()
        if content not in whole:
            shown = MARKS.sub(r"{\1}", content)[:60]
            raise UserError(
                f"the tokenizer's chat template changes what the {message['role']} says ({shown!r}): "
                "set chat_template to false"
            )
    return whole


# Texts that fit


@dataclass(frozen=True)
class FittedPrompt:
    """The prompt of a text that has been shortened to fit.

    Attributes:
        prompt: The prompt; what looks like a special token in its texts is marked, as `textclf.scoring.look_alikes`
            says.
        input_ids: Its token ids.
        cut: Number of tokens that were cut off.
    """

    prompt: str
    input_ids: list[int]
    cut: int


def ids_of(prompts: Sequence[FittedPrompt]) -> list[list[int]]:
    """Token ids of each prompt."""
    return [prompt.input_ids for prompt in prompts]


def fit_texts(
    templates: Sequence[PromptTemplate],
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    limit: int | None,
    bos: Bos = "tokenizer",
) -> list[FittedPrompt]:
    """Makes prompts, and shortens their texts where they are too long; nothing else of a prompt is ever cut.

    What looks like a special token in a text is read as text.

    Args:
        templates: The prompt of each row.
        tokenizer: The tokenizer that counts the tokens.
        rows: With `text`, and `text_pair` where the prompt has it.
        limit: Maximum number of tokens of a prompt; None for no limit.
        bos: BOS policy, as in `prompt_token_ids`.

    Returns:
        The prompt of each row.

    Raises:
        UserError: There is no room for any text.
    """
    rows = marked_rows(tokenizer, rows)
    prompts = fill_all(templates, rows)
    token_ids = prompt_token_ids(tokenizer, prompts, bos)
    fitted = [FittedPrompt(prompt, ids, 0) for prompt, ids in zip(prompts, token_ids, strict=True)]
    if limit is None:
        return fitted
    too_long = [i for i, ids in enumerate(token_ids) if len(ids) > limit]
    if too_long:
        shortest = _without_text([templates[i] for i in too_long], tokenizer, limit, bos)
        longest = _bisect([(templates[i], rows[i]) for i in too_long], shortest, tokenizer, limit, bos)
        for i, (prompt, ids) in zip(too_long, longest, strict=True):
            fitted[i] = FittedPrompt(prompt, ids, len(token_ids[i]) - len(ids))
    return fitted


def prompt_length(template: PromptTemplate, tokenizer: PreTrainedTokenizerBase, bos: Bos = "tokenizer") -> int:
    """Number of tokens of a prompt without a text.

    Args:
        template: The prompt.
        tokenizer: The tokenizer that counts the tokens.
        bos: BOS policy, as in `prompt_token_ids`.
    """
    (ids,) = prompt_token_ids(tokenizer, [template.fill(dict.fromkeys(TEXTS, ""))], bos)
    return len(ids)


def _without_text(
    templates: Sequence[PromptTemplate], tokenizer: PreTrainedTokenizerBase, limit: int, bos: Bos
) -> list[tuple[str, list[int]]]:
    """The prompt of each template without a text, and its token ids.

    Raises:
        UserError: One of them leaves no room for a text.
    """
    prompts = {template: template.fill(dict.fromkeys(TEXTS, "")) for template in templates}
    token_ids = dict(zip(prompts, prompt_token_ids(tokenizer, list(prompts.values()), bos), strict=True))
    most = max(map(len, token_ids.values()))
    if most >= limit:
        raise UserError(
            f"prompt leaves no room for the text: it has {most} tokens without one, and {limit} fit; shorten the "
            "prompt, show fewer shots, or give a larger max_length or a model with a longer context"
        )
    return [(prompts[template], token_ids[template]) for template in templates]


def _bisect(
    pairs: Sequence[tuple[PromptTemplate, Row]],
    shortest: Sequence[tuple[str, list[int]]],
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    bos: Bos,
) -> list[tuple[str, list[int]]]:
    """Finds the longest beginning of each text that fits.

    By bisection over the number of characters, for all rows at once: a tokenizer is much faster with many texts.

    Args:
        pairs: Template and row of each prompt that is too long.
        shortest: The same prompts without a text, which fit.
        tokenizer: The tokenizer.
        limit: Maximum number of tokens of a prompt.
        bos: BOS policy.

    Returns:
        Prompts that fit, and their token ids.
    """
    found = list(shortest)
    fits = [0] * len(pairs)  # characters of the texts of `found`
    too_many = [sum(len(row[name]) for name in set(template.slots)) for template, row in pairs]
    while True:
        undecided = [i for i in range(len(pairs)) if too_many[i] - fits[i] > 1]
        if not undecided:
            return found
        trials = []
        for i in undecided:
            template, row = pairs[i]
            trials.append(template.fill(shortened(template, row, (fits[i] + too_many[i]) // 2)))
        for i, trial, ids in zip(undecided, trials, prompt_token_ids(tokenizer, trials, bos), strict=True):
            middle = (fits[i] + too_many[i]) // 2
            if len(ids) <= limit:
                fits[i] = middle
                found[i] = (trial, ids)
            else:
                too_many[i] = middle


def shortened(template: PromptTemplate, row: Row, kept: int) -> dict[str, str]:
    """A row whose texts have `kept` characters in all: of two texts, the longer one is shortened first."""
    if "text_pair" not in template.slots:
        return {"text": row["text"][:kept]}
    text, pair = row["text"], row["text_pair"]
    # Both get half (the text the larger one); what the shorter one does not need is the other's.
    of_text = min(len(text), max(kept - len(pair), kept - kept // 2))
    return {"text": text[:of_text], "text_pair": pair[: kept - of_text]}
