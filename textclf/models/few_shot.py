"""Labelled examples in prompts: the same ones before every text, or others for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from operator import index
from typing import Any

from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.models.prompts import PromptTemplate, Row, with_examples
from textclf.types import Dataset, PreTrainedTokenizerBase


class FewShotPrompts:
    """Prompts with `shots` labelled train rows in them; a base class of methods that ask with a prompt.

    By default the rows are drawn once, as many of each class as of the others, and every text has the same ones. A
    subclass that overrides `examples_for` chooses other ones for each text, out of all train rows. Where `shots` is 0,
    there are no examples, and `examples_for` is not called.

    Attributes:
        asked: The prompt as it was given, without examples.
        shots: Number of examples.
        examples: The rows that may be shown, with `text`, `label` (an index into the method's `label_names`), and
            `text_pair` where there are two texts: all train rows if `examples_for` is overridden, else those drawn.
            None until `see` was called.
    """

    asked: PromptTemplate
    shots: int
    label_names: tuple[str, ...]
    fitted: dict[str, Any]
    examples: Dataset | None = None

    def examples_for(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Chooses the examples of each text; a subclass overrides it, for instance by nearest neighbours.

        It is called in `encode`, with up to 1,000 texts at once, and its choice is part of the encoded rows that are
        cached on disk. Examples that say the same as the text itself are left out afterwards.

        Args:
            texts: The texts that will be scored (the first ones, where there are two).

        Returns:
            For each text, row numbers of `self.examples`, in the order in which they are shown; by default all of them.
            NumPy arrays and tensors of whole numbers will do.
        """
        return [range(self.shots)] * len(texts)

    @property
    def chooses_examples(self) -> bool:
        """Whether the examples depend on the text."""
        return self.shots > 0 and type(self).examples_for is not FewShotPrompts.examples_for

    def keep_examples(self, rows: Dataset | None) -> None:
        """Takes the rows that may be shown; they are part of the prompts from now on.

        Args:
            rows: All train rows if the method chooses, else those that were drawn; None for no examples.
        """
        self.__dict__.pop("template", None)
        self.__dict__.pop("examples_key", None)
        self.examples = rows
        if rows is not None and not self.chooses_examples:
            self.fitted = {**self.fitted, "shots": [self._named(row) for row in rows]}

    @cached_property
    def examples_key(self) -> str:
        """A hash of the rows that the method chooses from."""
        return rows_hash(self._known_examples())

    @cached_property
    def template(self) -> PromptTemplate:
        """The prompt with the labels in it, and with the examples where they are the same for every text."""
        examples = [] if self.chooses_examples else self.fitted.get("shots", [])
        if len(examples) != self.shots and not self.chooses_examples:
            raise self._no_examples()
        return self._with(examples)

    def templates_for(self, rows: Sequence[Row]) -> tuple[list[PromptTemplate], list[list[int]]]:
        """The prompt of each text with its examples: only the row's own texts are missing.

        Args:
            rows: With `text`, and `text_pair` where there are two.

        Returns:
            A template for each row, and the row numbers of its examples in `examples` (none where all rows have the
            same examples).
        """
        if not self.chooses_examples:
            return [self.template] * len(rows), [[] for _ in rows]
        places = self._chosen(rows)
        return [self.template_with(each) for each in places], places

    def template_with(self, places: Sequence[int]) -> PromptTemplate:
        """The prompt with chosen examples.

        Args:
            places: Their row numbers in `examples`; of no meaning where all rows have the same examples.
        """
        if not self.chooses_examples:
            return self.template
        return self._with([self._named(row) for row in self._rows_at(places)])

    def answer(self, label: str) -> str:
        """How an example of a label is answered, with what divides the answer from the prompt."""
        raise NotImplementedError

    @property
    def labels_text(self) -> str:
        """What stands for `{labels}` in the prompt."""
        return ", ".join(self.label_names)

    @property
    def chat(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer whose chat template wraps prompt and examples; None for plain text."""
        return None

    def _with(self, examples: Sequence[Row]) -> PromptTemplate:
        answered = [(row, self.answer(row["label"])) for row in examples]
        return with_examples(self.asked, self.labels_text, answered, self.chat)

    def _named(self, row: Row) -> dict[str, Any]:
        return {**row, "label": self.label_names[row["label"]]}

    def _no_examples(self) -> UserError:
        return UserError(f"shots {self.shots}: no examples are known here; run `test` or `predict`, or call `see`")

    def _known_examples(self) -> Dataset:
        if self.examples is None:
            raise self._no_examples()
        return self.examples

    def _rows_at(self, places: Sequence[int]) -> list[dict[str, Any]]:
        columns = self._known_examples()[list(places)]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _chosen(self, rows: Sequence[Row]) -> list[list[int]]:
        """The row numbers that `examples_for` gives, checked, without examples that are the text itself.

        Raises:
            UserError: They are no list of row numbers for each text.
        """
        size = len(self._known_examples())
        called = f"{type(self).__name__}.examples_for"
        wanted = f"wanted a list for each of the {len(rows)} texts, of row numbers of self.examples (0 to {size - 1})"
        given = self.examples_for([row["text"] for row in rows])
        try:
            places = [[index(place) for place in each] for each in given]
        except TypeError as error:
            raise UserError(f"{called} gave no lists of whole numbers ({error}): {wanted}") from error
        if len(places) != len(rows):
            raise UserError(f"{called} gave {len(places)} lists: {wanted}")
        for each in places:
            if outside := [place for place in each if not 0 <= place < size]:
                raise UserError(f"{called} gave the row number {outside[0]}: {wanted}")
        return [self._without_itself(row, each) for row, each in zip(rows, places, strict=True)]

    def _without_itself(self, row: Row, places: list[int]) -> list[int]:
        """Leaves out examples with the same text (and pair): they would give the answer away."""
        shown = self._rows_at(places)
        names = [name for name in ("text", "text_pair") if name in row and (not shown or name in shown[0])]
        return [
            place
            for place, example in zip(places, shown, strict=True)
            if any(example[name] != row[name] for name in names)
        ]
