"""A pretrained encoder with a classification head, all of it trained."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

import textclf
from textclf.errors import UserError
from textclf.hub import loading, local_reference
from textclf.models.base import TextClassifier, check_class_weights
from textclf.models.tokenization import tokenizer_files, tokenizer_from_files
from textclf.types import Dataset, PreTrainedModel, PreTrainedTokenizerBase

REMEDY = "pass --model.pretrained with a hub id that can be reached, a folder, or package://module/path"


class FineTunedClassifier(TextClassifier):
    """Fine-tunes any encoder that `AutoModelForSequenceClassification` knows.

    Weights are kept in fp32; `trainer.precision` chooses what is computed in. Source: Devlin et al., 2019,
    https://arxiv.org/abs/1810.04805.
    """

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "bert-base-multilingual-cased",
        max_length: int = 128,
        optimizer: Literal["adamw", "adam"] = "adamw",
        learning_rate: float = 5e-5,
        weight_decay: float = 0.01,
        warmup: int | float = 0.1,
        schedule: Literal["constant", "linear", "cosine"] = "linear",
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
    ) -> None:
        """Takes the recipe; weights are loaded when training starts.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Tokens of a text (or pair) that are read; the rest is cut off.
            optimizer: `adamw`, or `adam`, whose weight decay is added to the gradient.
            learning_rate: After warm-up.
            weight_decay: Of matrices; biases and norms have none.
            warmup: Steps (an int) or share of all steps (a float) in which the rate rises from 0.
            schedule: Of the rate after warm-up: kept, or down to 0 along a line or half a cosine.
            label_smoothing: Share of the target that goes to all classes alike.
            class_weights: Weights of the classes in the loss by name; `balanced` takes them inverse to the counts.

        Raises:
            UserError: A value is out of range, or a weight's name is no label.
        """
        super().__init__(num_classes, label_names)
        checks = {
            "max_length": (max_length >= 3, "3 or more: two tokens stand around every text"),
            "learning_rate": (learning_rate > 0, "more than 0"),
            "weight_decay": (weight_decay >= 0, "0 or more"),
            "warmup": (0 <= warmup <= (1 if isinstance(warmup, float) else math.inf), "steps (5) or a share (0.1)"),
            "label_smoothing": (0 <= label_smoothing < 1, "a share from 0 up to, not including, 1"),
        }
        for name, (good, allowed) in checks.items():
            if not good:
                raise UserError(f"{name} {locals()[name]} is out of range: give {allowed}")
        if isinstance(class_weights, dict):
            check_class_weights(class_weights, label_names)
        self.pretrained, self.max_length = pretrained, max_length
        self.optimizer, self.learning_rate, self.weight_decay = optimizer, learning_rate, weight_decay
        self.warmup, self.schedule = warmup, schedule
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.network: PreTrainedModel | None = None
        self._tokenizer: tuple[PreTrainedTokenizerBase, dict[str, str]] | None = None
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.ones(num_classes))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer: the checkpoint's own where there is one."""
        return self._load_tokenizer()[0]

    def _load_tokenizer(self) -> tuple[PreTrainedTokenizerBase, dict[str, str]]:
        """The tokenizer, and its files as they were before use: truncation leaves traces in them."""
        stored = self.fitted["tokenizer"] if self.restored else None
        if self._tokenizer is None or (stored is not None and stored is not self._tokenizer[1]):
            if stored is not None:
                self._tokenizer = tokenizer_from_files(stored), stored
            else:
                from transformers import AutoTokenizer

                with loading("tokenizer", self.pretrained, REMEDY):
                    tokenizer = AutoTokenizer.from_pretrained(local_reference(self.pretrained))
                self._tokenizer = tokenizer, tokenizer_files(tokenizer)
            longest = self._tokenizer[0].model_max_length
            if self.max_length > longest:
                raise UserError(
                    f"max_length {self.max_length} is more than {self.pretrained!r} can read: give at most {longest}"
                )
        return self._tokenizer

    def configure_model(self) -> None:
        """Builds the network once: from the pretrained weights, or, for a checkpoint's, from its configuration."""
        if self.network is not None:
            return
        from transformers import AutoConfig, AutoModelForSequenceClassification

        names = dict(enumerate(self.label_names))
        labels = {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: i for i, name in names.items()},
        }
        if self.restored:
            stored = json.loads(self.fitted["encoder_config"])
            config = AutoConfig.for_model(stored["model_type"]).from_dict(stored)
            self.network = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.float32
            )
        else:
            with loading("model", self.pretrained, REMEDY):
                self.network = AutoModelForSequenceClassification.from_pretrained(
                    local_reference(self.pretrained),
                    dtype=torch.float32,  # else the checkpoint's own, and bf16 master weights train badly
                    ignore_mismatched_sizes=True,  # a head of another number of labels is replaced
                    **labels,
                )
            self.fitted["encoder_config"] = self.network.config.to_json_string(use_diff=False)
        self.network.train()

    # The contract

    def prepare(self, train_rows: Dataset) -> None:
        """Keeps the tokenizer, and the class counts where `balanced` weights need them."""
        self.fitted = {**self.fitted, "tokenizer": self._load_tokenizer()[1]}
        if self.class_weights == "balanced":
            counts = Counter(train_rows["label"])
            self.fitted["class_counts"] = [counts[i] for i in range(self.num_classes)]

    def encoding_key(self) -> str:
        """The tokenizer's files and the length: nothing else changes what `encode` gives."""
        files = json.dumps(self._load_tokenizer()[1], sort_keys=True)
        other = "" if type(self).encode is FineTunedClassifier.encode else super().encoding_key()
        parts = (textclf.__version__, str(self.max_length), other, files)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids, segment ids where the encoder has segments, and `length` in tokens."""
        encoded = self.tokenizer(
            rows["text"],
            rows.get("text_pair"),
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        return {**encoded, "length": [len(ids) for ids in encoded["input_ids"]]}

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Pads on the right: `input_ids`, `attention_mask`, and segment ids, int64 `(batch, seq)`."""
        fields: dict[str, list[Any]] = {name: rows[name] for name in ("input_ids", "token_type_ids") if name in rows}
        fields["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
        values = {"input_ids": self.tokenizer.pad_token_id or 0}
        return {
            name: nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in field], batch_first=True, padding_value=values.get(name, 0)
            )
            for name, field in fields.items()
        }

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Logits, fp32, shape `(batch, num_classes)`."""
        assert self.network is not None, "configure_model comes first"
        fields = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        logits: Tensor = self.network(**fields).logits
        return logits.float()

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-softmax of the logits, shape `(batch, num_classes)`, in nats."""
        return self.forward(batch).log_softmax(dim=-1)

    # Training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Cross-entropy, with smoothing and class weights where they are asked for."""
        logits = self.forward(batch)
        loss = nn.functional.cross_entropy(
            logits, batch["labels"], weight=self.loss_weights, label_smoothing=self.label_smoothing
        )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def on_fit_start(self) -> None:
        """Sets the classes' weights in the loss."""
        if isinstance(self.class_weights, dict):
            weights = [float(self.class_weights.get(name, 1.0)) for name in self.label_names]
        elif self.class_weights == "balanced":
            counts = self.fitted["class_counts"]
            # As scikit-learn has it: rows / (classes * count). A class without rows is never a target.
            weights = [sum(counts) / (len(counts) * max(1, count)) for count in counts]
        else:
            return
        self.loss_weights.copy_(torch.tensor(weights))

    def configure_optimizers(self) -> Any:
        """The optimiser, and its rate per step."""
        parameters = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        # One dimension: biases, and the gains of norms.
        groups = [
            {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.optimizer]
        scaled = self.trainer.precision == "16-mixed"
        optimizer = kind(groups, lr=self.learning_rate, fused=not scaled)  # one pass over the weights, not a dozen
        if not scaled:
            # Lightning refuses to clip for an optimiser that unscales the loss; without fp16 nothing is scaled.
            optimizer._step_supports_amp_scaling = False
        from transformers import get_scheduler

        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps) and (self.schedule != "constant" or isinstance(self.warmup, float)):
            raise UserError(f"a {self.schedule} schedule needs an end: set trainer.max_epochs or trainer.max_steps")
        scheduler = get_scheduler(
            {"constant": "constant_with_warmup"}.get(self.schedule, self.schedule),
            optimizer,
            num_warmup_steps=round(self.warmup * steps) if isinstance(self.warmup, float) else self.warmup,
            num_training_steps=int(steps) if math.isfinite(steps) else None,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
