"""Zero-shot classification by natural language inference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textclf.backbones.classification_head import class_logits
from textclf.backbones.padding import pad_in_chunks
from textclf.backbones.tokenization import ModelTokenizer
from textclf.backbones.weights import own_precision
from textclf.errors import UserError
from textclf.models.inference import InferenceClassifier
from textclf.models.label_arguments import by_label_name, folded
from textclf.scoring.planning import default_budget
from textclf.types import PreTrainedModel


class NLIClassifier(InferenceClassifier):
    """Asks an NLI model how far a text entails each label's hypothesis.

    Each text is paired with each hypothesis; a batch's pairs run sorted by length, under a token budget. Source: Yin et
    al., 2019, https://arxiv.org/abs/1909.00161.
    """

    auto_class = "AutoModelForSequenceClassification"

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "MoritzLaurer/mDeBERTa-v3-base-mnli-xnli",
        max_length: int | None = None,
        hypothesis_template: str = "This example is {label}.",
        label_texts: dict[str, str] | None = None,
        multi_label: bool = False,
        max_batch_tokens: int | None = None,
    ) -> None:
        """Takes the hypotheses; the model is loaded when it is needed.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path` of a model whose labels name entailment.
            max_length: Tokens of text and hypothesis that are read; the text is cut, never the hypothesis. Null for
                512, or as many as the model can read where those are fewer.
            hypothesis_template: What is asked; `{label}` stands for the label, or `{}`, as transformers writes it.
            label_texts: What stands for a label in the template, by name; the name itself by default.
            multi_label: Whether each label is judged alone, entailment against contradiction (and the results then
                normalised); else the labels' entailment logits compete in one softmax.
            max_batch_tokens: Tokens of pairs that run together, padding included; by default few on a CPU.

        Raises:
            UserError: The template has no one slot, a label's text is for no label, or two labels have the same text.
        """
        super().__init__(num_classes, label_names, pretrained, max_length)
        parts = re.split(r"\{(?:label)?\}", hypothesis_template)
        if len(parts) != 2:
            raise UserError(
                f"hypothesis_template {hypothesis_template!r} must have one {{label}}, where it is to stand"
            )
        texts = by_label_name("label_texts", label_texts or {}, self.label_names)
        self.hypotheses = [texts.get(name, name).join(parts) for name in self.label_names]
        if len(set(self.hypotheses)) < num_classes:
            raise UserError(f"label_texts {texts} give two labels the same hypothesis: write others")
        self.multi_label, self.max_batch_tokens = multi_label, max_batch_tokens

    def load_tokenizer(self) -> ModelTokenizer:
        """Loads the tokenizer.

        Raises:
            UserError: It cannot be loaded, is another model's, or `max_length` leaves no room for a text.
        """
        matched = super().load_tokenizer()
        count = len(self.hypotheses)
        longest = max(len(ids) for ids in matched.tokenizer([""] * count, self.hypotheses)["input_ids"])
        if longest >= matched.max_length:
            raise UserError(f"max_length {matched.max_length}: a hypothesis alone has {longest} tokens: give more")
        return matched

    def adopt(self, network: PreTrainedModel) -> None:
        """Finds entailment among the model's labels."""
        names: Any = network.config.id2label  # keys are ints once a configuration is loaded
        self.entailment, self.contradiction = entailment_places(names, self.pretrained)

    def encoding_facts(self) -> list[Any]:
        """The hypotheses, the tokenizer's files and the length."""
        return ["pairs", self.hypotheses, self.max_length, self.matched.files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Each text with each hypothesis: per row a list of token ids per label, `length` and `cut` of all together."""
        if "text_pair" in rows:
            raise UserError("NLIClassifier reads one text: the hypothesis is the second; leave text_pair_column out")
        count = len(self.hypotheses)
        texts = [text for text in rows["text"] for _ in range(count)]
        pairs = self.hypotheses * len(rows["text"])
        encoded = self.matched(texts, pairs, truncation="only_first", max_length=self.max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        cut = self.matched.count_cut(texts, pairs, lengths)
        starts = range(0, len(texts), count)
        return {
            **{name: [field[i : i + count] for i in starts] for name, field in encoded.items()},
            "length": [sum(lengths[i : i + count]) for i in starts],
            "cut": [sum(cut[i : i + count]) for i in starts],
        }

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Flattens, sorts and cuts pairs.

        Returns:
            `chunks`, each with `input_ids` and the like, int64 `(pairs, seq)`, and `order`, the place of each pair in
            the flattened batch, int64 `(batch * num_classes,)`.
        """
        names = [name for name in ("input_ids", "token_type_ids") if name in rows]
        fields: dict[str, list[Any]] = {name: [ids for row in rows[name] for ids in row] for name in names}
        chunks, order = pad_in_chunks(
            fields, self.tokenizer.pad_token_id, self.max_batch_tokens or default_budget(self.device)
        )
        return {"chunks": chunks, "order": order}

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities of the labels, fp32, `(batch, num_classes)`, in nats."""
        assert self.network is not None, "configure_model comes first"
        with own_precision(self.network):
            sorted_logits = torch.cat([class_logits(self.network, chunk).float() for chunk in batch["chunks"]])
        logits = torch.empty_like(sorted_logits)
        logits[batch["order"]] = sorted_logits
        return self.judged(logits.view(-1, self.num_classes, logits.shape[-1]))

    def judged(self, logits: Tensor) -> Tensor:
        """From the model's logits `(batch, num_classes, theirs)` to log-probabilities `(batch, num_classes)`."""
        entailed = logits[..., self.entailment]
        if self.multi_label:
            entailed = torch.nn.functional.logsigmoid(entailed - logits[..., self.contradiction])
        return entailed.log_softmax(-1)


def entailment_places(id2label: dict[int, str], reference: str) -> tuple[int, int]:
    """Finds entailment, and its contrary, among a model's labels by their names.

    (Their places differ from model to model.) Where there is no contradiction, what is not entailed is the contrary.

    Raises:
        UserError: There is no one of a kind.
    """
    names = {i: folded(name).replace("-", " ") for i, name in id2label.items()}
    found = []
    for kinds in (("entail",), ("contradict", "not entail", "non entail")):
        places = next((p for kind in kinds if (p := [i for i, n in names.items() if n.startswith(kind)])), [])
        if len(places) != 1:
            raise UserError(
                f"the labels of {reference!r} are {', '.join(id2label.values())}: none, or no one of them, is "
                f"{kinds[0]}...: name an NLI model whose config names entailment and contradiction"
            )
        found += places
    return found[0], found[1]
