"""Labelled examples in prompts: the same ones for every text, or chosen for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from operator import index
from typing import Any

from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.models.prompts import TEXTS, PromptTemplate, Row, rows_of, with_examples
from textclf.types import Dataset, PreTrainedTokenizerBase


class FewShotPrompts:
    """Prompts with `shots` labelled train rows in them; a mixin of methods that ask with a prompt.

    By default the rows are drawn once, evenly over the classes, and are the same for every text. A subclass that
    overrides `examples_for` chooses them for each text, out of all train rows. Where `shots` is 0, there are no
    examples, and `examples_for` is not called.

    Attributes:
        prompt_template: The prompt as the user wrote it, without examples.
        shots: Number of examples.
        examples: The rows to show, or to choose from, with `text`, `label` (an index into the method's `label_names`),
            and `text_pair` where there are two texts: all train rows if `examples_for` is overridden, else those drawn.
            None until the data module has given them.
    """

    prompt_template: PromptTemplate
    shots: int
    label_names: tuple[str, ...]
    fitted: dict[str, Any]
    examples: Dataset | None = None

    # What a subclass defines

    def examples_for(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Chooses the examples of each text; a subclass overrides it, for instance by nearest neighbours.

        It is called in `encode`, with up to 1,000 texts at once, and its choice is part of the encoded rows that are
        cached on disk. Examples with the same text as the row itself are left out afterwards.

        Args:
            texts: The texts to score (the first ones, where there are two).

        Returns:
            For each text, row numbers of `self.examples`, in the order in which they are shown; by default all of them.
            NumPy arrays and tensors of whole numbers are accepted.
        """
        return [range(self.shots)] * len(texts)

    def answer(self, label: str) -> str:
        """The answer of an example with this label, with the delimiter that separates it from the prompt."""
        raise NotImplementedError

    def prompt_rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Examples as they are put into the prompt; by default as they are."""
        return rows

    @property
    def labels_text(self) -> str:
        """What `{labels}` is replaced by."""
        return ", ".join(self.label_names)

    @property
    def chat(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer whose chat template wraps prompt and examples; None for plain text."""
        return None

    # Templates

    @property
    def chooses_examples(self) -> bool:
        """Whether the examples depend on the text."""
        return self.shots > 0 and type(self).examples_for is not FewShotPrompts.examples_for

    def keep_examples(self, rows: Dataset | None) -> None:
        """Stores the rows to show, or to choose from; they are part of the prompts from now on.

        Args:
            rows: All train rows if the method chooses, else those that were drawn; None for no examples.
        """
        # Both are cached properties that depend on the rows.
        self.__dict__.pop("template", None)
        self.__dict__.pop("examples_key", None)
        self.examples = rows
        if rows is not None and not self.chooses_examples:
            self.fitted = {**self.fitted, "shots": list(map(self._with_label_name, rows))}

    @cached_property
    def examples_key(self) -> str:
        """A hash of the rows that the method chooses from."""
        return rows_hash(self._known_examples())

    @cached_property
    def template(self) -> PromptTemplate:
        """The prompt with the labels filled in, and with the examples where they are the same for every text."""
        if self.chooses_examples:
            return self._template_with([])
        examples = self.fitted.get("shots", [])
        if len(examples) != self.shots:
            raise self._no_examples()
        return self._template_with(examples)

    def templates_for(self, rows: Sequence[Row]) -> tuple[list[PromptTemplate], list[list[int]]]:
        """The prompt of each text with its examples; only the row's own texts are left to fill in.

        Args:
            rows: With `text`, and `text_pair` where there are two.

        Returns:
            A template for each row, and the row numbers of its examples in `examples` (none where all rows have the
            same examples).
        """
        if not self.chooses_examples:
            return [self.template] * len(rows), [[] for _ in rows]
        chosen = self._chosen(rows)
        templates = []
        for indices in chosen:
            examples = map(self._with_label_name, self._rows_at(indices))
            templates.append(self._template_with(examples))
        return templates, chosen

    def _template_with(self, examples: Iterable[Row]) -> PromptTemplate:
        answered = [(row, self.answer(row["label"])) for row in self.prompt_rows(list(examples))]
        return with_examples(self.prompt_template, self.labels_text, answered, self.chat)

    def _with_label_name(self, row: Row) -> dict[str, Any]:
        return {**row, "label": self.label_names[row["label"]]}

    def _no_examples(self) -> UserError:
        return UserError(
            f"shots {self.shots}: no examples are known here; run `test` or `predict`, or call `set_examples`"
        )

    def _known_examples(self) -> Dataset:
        if self.examples is None:
            raise self._no_examples()
        return self.examples

    def _rows_at(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return rows_of(self._known_examples()[list(indices)])

    # The choice of a subclass

    def _chosen(self, rows: Sequence[Row]) -> list[list[int]]:
        """The row numbers that `examples_for` returns, checked, without examples that are the text itself.

        Raises:
            UserError: They are not a list of row numbers for each text.
        """
        size = len(self._known_examples())
        source = f"{type(self).__name__}.examples_for"
        expected = (
            f"expected a list for each of the {len(rows)} texts, of row numbers of self.examples (0 to {size - 1})"
        )
        chosen = self.examples_for([row["text"] for row in rows])
        try:
            lists = [[index(number) for number in numbers] for numbers in chosen]
        except TypeError as error:
            raise UserError(f"{source} gave no lists of whole numbers ({error}): {expected}") from error
        if len(lists) != len(rows):
            raise UserError(f"{source} gave {len(lists)} lists: {expected}")
        for number in chain.from_iterable(lists):
            if not 0 <= number < size:
                raise UserError(f"{source} gave the row number {number}: {expected}")
        return list(map(self._without_itself, rows, lists))

    def _without_itself(self, row: Row, indices: list[int]) -> list[int]:
        """Leaves out examples with the same text (and pair): they would give the answer away."""
        kept = []
        for i, example in zip(indices, self._rows_at(indices), strict=True):
            shared = [name for name in TEXTS if name in row and name in example]
            if any(example[name] != row[name] for name in shared):
                kept.append(i)
        return kept
