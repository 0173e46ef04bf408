"""Classification with an encoder-decoder: by the likelihood of each label, or by what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from textclf.backbones.padding import pad_in_chunks
from textclf.backbones.weights import own_precision
from textclf.chat.answers import Parse, as_scores, class_of
from textclf.errors import UserError, check_least
from textclf.findings.lengths import Tokenization
from textclf.models.hooks import required_hook
from textclf.models.inference import InferenceClassifier
from textclf.models.label_arguments import by_label_name, label_named, words_of
from textclf.models.prompts import FittedPrompt, PromptTemplate, fit_texts, prompt_length, with_examples
from textclf.models.tokenizations import tokenization_with
from textclf.scoring.planning import default_budget
from textclf.scoring.seq2seq import decoder_start, seq2seq_scores, target_token_ids
from textclf.scoring.tokens import appended_ids
from textclf.scoring.trie import LabelTrie, build_trie
from textclf.types import PreTrainedModel

PROMPT = "Classify the text into one of these categories: {labels}. Text: {text} Category:"


class Seq2SeqClassifier(InferenceClassifier):
    """Asks an encoder-decoder such as T5 or BART; nothing is trained.

    `likelihood` compares how likely each label word is as the whole answer. `generate` lets the model write, greedily,
    and reads a class out of that; there are no probabilities then. Weights are bf16 where the trainer computes in bf16,
    else fp32, never fp16, in which T5 overflows. Source: Raffel et al., 2020, https://arxiv.org/abs/1910.10683.
    """

    auto_class = "AutoModelForSeq2SeqLM"

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "google/flan-t5-base",
        max_length: int | None = None,
        prompt: str = PROMPT,
        label_words: dict[str, str | list[str]] | None = None,
        mode: Literal["likelihood", "generate"] = "likelihood",
        parse: Parse = "equals",
        otherwise: str | None = None,
        max_new_tokens: int = 20,
        max_batch_tokens: int | None = None,
    ) -> None:
        """Stores the settings; weights are loaded in `configure_model`.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Maximum number of tokens of a prompt; only the text is shortened. Null for 512, or the model's
                limit if that is lower.
            prompt: Contains `{text}`, and may contain `{text_pair}` and `{labels}`.
            label_words: Label word of each class by its name, or a list of words, any of which counts; by default the
                class names. The class `otherwise` needs none.
            mode: `likelihood` or `generate`.
            parse: Whether a generated answer must be equal to a label word (`equals`) or contain it (`contains`);
                case matters.
            otherwise: Class of an answer that fits no class, or several; by default it is invalid.
            max_new_tokens: Maximum number of tokens of a generated answer.
            max_batch_tokens: Maximum number of tokens in a forward pass, padding included; the default is small on a
                CPU.

        Raises:
            UserError: A value is out of range, the prompt has no `{text}`, or words do not fit the classes.
        """
        super().__init__(num_classes, label_names, pretrained, max_length)
        self.has_probabilities = mode == "likelihood"
        check_least("max_length", max_length, 1)
        check_least("max_new_tokens", max_new_tokens, 1)
        if otherwise is not None and mode == "likelihood":
            raise UserError(f"otherwise {otherwise!r} needs mode generate: a likelihood always decides; leave it out")
        default = None if otherwise is None else label_named("otherwise", otherwise, self.label_names)
        self.mode = mode
        self.parse: Parse = parse
        self.otherwise = None if default is None else self.label_names.index(default)
        self.words = words_by_class(label_words, self.label_names, default)
        labels = []
        for words, name in zip(self.words, self.label_names, strict=True):
            labels.append(words[0] if words else name)
        self.template = with_examples(PromptTemplate.of(prompt), ", ".join(labels), [], None)
        self.max_new_tokens = max_new_tokens
        self.max_batch_tokens = max_batch_tokens
        self._counts = {"otherwise": 0, "no_label": 0}

    @cached_property
    def trie(self) -> LabelTrie:
        """All label words as a tree of tokens."""
        return build_trie(target_token_ids(self.tokenizer, list(chain.from_iterable(self.words))))

    @cached_property
    def end(self) -> list[int]:
        """What the tokenizer puts behind a text, such as EOS."""
        return appended_ids(self.tokenizer)

    def adopt(self, network: PreTrainedModel) -> None:
        """Makes the model generate greedily."""
        network.generation_config = greedy(network)

    # The contract

    @property
    def limit(self) -> int:
        """Maximum number of tokens of a prompt, without the EOS that the tokenizer appends."""
        return self.max_length - len(self.end)

    def tokenization(self) -> Tokenization:
        """The tokens of a text inside the prompt."""
        around = prompt_length(self.template, self.tokenizer)
        return tokenization_with(self.pretrained, self.tokenizer, self.limit, around=around, special=False)

    def encoding_facts(self) -> list[Any]:
        """The prompt, the tokenizer's files and the length."""
        return ["filled with text", self.template.parts, self.max_length, self.matched.files]

    def prompts(self, rows: Mapping[str, Sequence[Any]]) -> list[FittedPrompt]:
        """The prompt of each row, its text shortened to fit; the token ids are those without the appended EOS.

        Args:
            rows: Columns `text`, and `text_pair` where the prompt has it.

        Raises:
            UserError: The rows have no second text, or there is no room for any text.
        """
        texts = self.template.rows(rows)
        return fit_texts([self.template] * len(texts), self.tokenizer, texts, self.limit)

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids of the filled prompts, their number as `length`, and the number of tokens `cut` off the texts."""
        prompts = self.prompts(rows)
        ids = self.matched.checked([[*prompt.input_ids, *self.end] for prompt in prompts])
        return {"input_ids": ids, "length": list(map(len, ids)), "cut": [prompt.cut for prompt in prompts]}

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Splits rows into `chunks`, each with int64 `(rows, seq)`, and gives their `order`."""
        budget = self.max_batch_tokens or default_budget(self.device)
        chunks, order = pad_in_chunks({"input_ids": rows["input_ids"]}, self.tokenizer.pad_token_id, budget)
        return {"chunks": chunks, "order": order}

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Scores of the labels.

        Returns:
            Log-probabilities in nats, float64 `(batch, num_classes)`; without probabilities 0 and -inf, and NaN for an
            answer that fits no class.
        """
        assert self.network is not None, "configure_model comes first"
        with own_precision(self.network):
            if self.mode == "generate":
                scores = self._scores_of_answers(batch["chunks"], counted=not batch.get("filler"))
            else:
                scores = self._likelihoods(batch["chunks"])
        scores = scores[batch["order"].cpu().argsort()]
        return scores.to(self.device, torch.float32 if self.device.type == "mps" else None)

    def _likelihoods(self, chunks: Sequence[dict[str, Tensor]]) -> Tensor:
        assert self.network is not None
        of_words = torch.cat([seq2seq_scores(self.network, chunk, self.trie) for chunk in chunks])
        per_class = torch.split(of_words, list(map(len, self.words)), dim=1)
        of_classes = torch.stack([scores.logsumexp(1) for scores in per_class], dim=1)
        return of_classes.log_softmax(1)

    def _scores_of_answers(self, chunks: Sequence[dict[str, Tensor]], counted: bool) -> Tensor:
        answers: list[str] = []
        for chunk in chunks:
            answers += self.write(chunk)
        classes = list(map(self.decide, answers))
        if counted:
            self._count(answers, classes)
        decided = [self.otherwise if c is None else c for c in classes]
        return as_scores(decided, self.num_classes)

    def write(self, chunk: dict[str, Tensor]) -> list[str]:
        """The model's answers, decoded greedily, to the prompts of a chunk."""
        network: Any = self.network
        ids = network.generate(**chunk, max_new_tokens=self.max_new_tokens)
        return [str(answer) for answer in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def decide(self, answer: str) -> int | None:
        """The class that an answer fits; None where it fits none, or several."""
        return class_of(answer, self.words, self.parse)

    @contextmanager
    def scored_apart(self) -> Iterator[None]:
        """Leaves the counts of answers as they are."""
        counts = dict(self._counts)
        try:
            yield
        finally:
            self._counts = counts

    # Figures of an evaluation

    def _count(self, answers: Sequence[str], classes: Sequence[int | None]) -> None:
        """Counts answers that fit no class, and those that contain no label's name or word, in any case."""
        known = set(map(str.casefold, chain(self.label_names, *self.words)))
        for answer, c in zip(answers, classes, strict=True):
            folded = answer.casefold()
            self._counts["otherwise"] += c is None
            self._counts["no_label"] += not any(word in folded for word in known)

    @required_hook
    def on_validation_epoch_start(self) -> None:
        """Sets the counts to 0."""
        self._counts = dict.fromkeys(self._counts, 0)

    @required_hook
    def on_test_epoch_start(self) -> None:
        """Sets the counts to 0."""
        self._counts = dict.fromkeys(self._counts, 0)

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """Over all processes: answers that were replaced by `otherwise`, and those that name no label at all."""
        if self.otherwise is None:
            return {}
        counts: Any = self.all_gather(torch.tensor(list(self._counts.values()), device=self.device))
        totals = counts.view(-1, len(self._counts)).sum(0).tolist()
        return {f"{split}/{name}": total for name, total in zip(self._counts, totals, strict=True)}


def words_by_class(
    label_words: Mapping[str, str | list[str]] | None, label_names: Sequence[str], default: str | None
) -> list[list[str]]:
    """The words of each class, in the order of `label_names`.

    Args:
        label_words: One word or several by label name; the names themselves where nothing is given.
        label_names: Name of each class.
        default: The class of answers that fit no class; it needs no words.

    Raises:
        UserError: A name is not a label, a label has no word, or a word is empty.
    """
    if label_words is None:
        return words_of(None, label_names)
    given = by_label_name("label_words", label_words, label_names)
    with_words = [name for name in label_names if name != default or name in given]
    words = dict(zip(with_words, words_of(given, with_words), strict=True))
    return [words.get(name, []) for name in label_names]


def greedy(network: PreTrainedModel) -> Any:
    """Settings of greedy generation, with a model's own special tokens and nothing else of its settings.

    (A minimum length, or n-grams that may not repeat, which its files may contain, would distort the answers.)
    """
    from transformers import GenerationConfig

    own: Any = network.generation_config
    start = getattr(own, "decoder_start_token_id", None)
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=getattr(own, "bos_token_id", None),
        eos_token_id=getattr(own, "eos_token_id", None),
        pad_token_id=getattr(own, "pad_token_id", None),
        decoder_start_token_id=decoder_start(network) if start is None else start,
        do_sample=False,
        num_beams=1,
    )
