"""An encoder with a classification head: pretrained or new, trained whole or in part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from textclf.backbones.classification_head import class_logits
from textclf.backbones.padding import pad
from textclf.backbones.tokenization import ModelTokenizer
from textclf.backbones.tokenizer_files import tokenizer_files, tokenizer_from_files
from textclf.backbones.weights import load_config, load_tokenizer, skeleton
from textclf.backbones.wordpiece import train_wordpiece
from textclf.data.columns import class_counts
from textclf.errors import UserError
from textclf.hardware.kernels import use_fast_dropout
from textclf.hashing import value_hash
from textclf.models import encoders
from textclf.models.arguments import build_settings, check_least, check_range
from textclf.models.base import TextClassifier
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import check_class_weights, weights_in_loss
from textclf.types import Dataset, PreTrainedModel, PreTrainedTokenizerBase

KIND = "AutoModelForSequenceClassification"
MAX_LENGTH = 128
"""Most tokens of a text that are read where nothing else is asked for."""


class FineTunedClassifier(TextClassifier):
    """Fine-tunes any encoder that `AutoModelForSequenceClassification` knows, or trains a small BERT from scratch.

    Weights are kept in fp32; `trainer.precision` chooses what is computed in. A checkpoint holds no pretrained weights
    that were frozen: they are loaded again, and known by their hashes. Source: Devlin et al., 2019,
    https://arxiv.org/abs/1810.04805.

    A subclass can replace any one of `loss`, `parameter_groups`, `optimizer_for` and `schedule_for`.
    """

    architecture = ("pretrained", "encoder_config", "lora", "freeze_layers")
    autocast = True

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str | None = "bert-base-multilingual-cased",
        max_length: int | None = None,
        optimizer: Literal["adamw", "adam"] = "adamw",
        learning_rate: float = 5e-5,
        weight_decay: float = 0.01,
        warmup: int | float = 0.1,
        schedule: Literal["constant", "linear", "cosine"] = "linear",
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
        encoder_config: dict[str, Any] | None = None,
        lora: dict[str, Any] | None = None,
        freeze_layers: int = 0,
        gradient_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        """Takes the recipe; weights are loaded when training starts.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`; null for `encoder_config`.
            max_length: Tokens of a text (or pair) that are read, the rest is cut off; null for 128, or as many as the
                encoder can read where those are fewer.
            optimizer: `adamw`, or `adam`, whose weight decay is added to the gradient.
            learning_rate: After warm-up.
            weight_decay: Of matrices; biases and norms have none.
            warmup: Steps (an int) or share of all steps (a float) in which the rate rises from 0.
            schedule: Of the rate after warm-up: kept, or down to 0 along a line or half a cosine.
            label_smoothing: Share of the target that goes to all classes alike.
            class_weights: Weights of the classes in the loss by name; `balanced` takes them inverse to the counts.
            encoder_config: A small BERT with random weights, and a tokenizer trained on the train rows, instead of
                `pretrained`: any of `vocab_size`, `hidden_size`, `num_hidden_layers`, `num_attention_heads`,
                `intermediate_size`, `hidden_dropout_prob`, `attention_probs_dropout_prob`, `lowercase`.
            lora: Train adapters and the head only: any of `rank`, `alpha`, `dropout`, `target_modules`.
            freeze_layers: Lower layers that are not trained, and the embeddings with them; 0 trains all.
            gradient_checkpointing: Compute activations again in the backward pass, for less memory and more time.
            compile: Use `torch.compile`; the first batches take long.

        Raises:
            UserError: A value is out of range, a weight's name is no label, or arguments exclude each other.
        """
        super().__init__(num_classes, label_names)
        longest_warmup = 1 if isinstance(warmup, float) else math.inf
        check_least("max_length", max_length, 3, ": every text is enclosed in two special tokens")
        check_range("learning_rate", learning_rate, learning_rate > 0, "more than 0")
        check_least("weight_decay", weight_decay, 0)
        check_range("warmup", warmup, 0 <= warmup <= longest_warmup, "steps (5) or a share (0.1)")
        check_range(
            "label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "a share from 0 up to, not including, 1"
        )
        check_least("freeze_layers", freeze_layers, 0)
        if (pretrained is None) == (encoder_config is None):
            wrong = "is null without" if pretrained is None else f"{pretrained!r} stands beside"
            raise UserError(
                f"pretrained {wrong} an encoder_config: name an encoder that there is, or give `pretrained: null` and "
                "`encoder_config: {}` for a new one"
            )
        if lora is not None and (freeze_layers or pretrained is None):
            other = f"freeze_layers {freeze_layers}" if freeze_layers else "encoder_config"
            raise UserError(f"lora freezes a pretrained encoder whole: leave {other} out")
        self.new_encoder = None
        if encoder_config is not None:
            self.new_encoder = build_settings(encoders.EncoderConfig, "encoder_config", encoder_config)
        self.lora = None if lora is None else build_settings(encoders.LoraSettings, "lora", lora)
        self.pretrained, self._asked_length = pretrained, max_length
        self.optimizer, self.learning_rate, self.weight_decay = optimizer, learning_rate, weight_decay
        self.warmup, self.schedule = warmup, schedule
        self.label_smoothing = label_smoothing
        self.class_weights = check_class_weights(class_weights, self.label_names)
        self.freeze_layers, self.gradient_checkpointing = freeze_layers, gradient_checkpointing
        self.compiled = compile
        self.network: PreTrainedModel | None = None
        self._tokenizer: ModelTokenizer | None = None
        self._frozen: set[str] = set()
        self._frozen_hash = ""
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.tensor(self._weights_by_class()))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer: the fitted one where there is one."""
        return self._load_tokenizer().tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a text (or pair) that are read."""
        if self.pretrained is None and self._tokenizer is None and not self.fitted:
            return self._asked_length or MAX_LENGTH
        return self._load_tokenizer().max_length

    def _load_tokenizer(self) -> ModelTokenizer:
        """The tokenizer, checked against its network; the fitted one where there is one."""
        stored = self.fitted.get("tokenizer")
        if self._tokenizer is None or (stored is not None and stored is not self._tokenizer.files):
            if stored is not None:
                tokenizer = tokenizer_from_files(stored)
            elif self.pretrained is None:
                raise UserError("a new encoder's tokenizer is not trained: run `fit` first, or load a checkpoint")
            else:
                tokenizer = load_tokenizer(self.pretrained)
            self._tokenizer = self._matched(tokenizer)
            if stored is not None:  # its files are the ones that the checkpoint keeps
                self._tokenizer = replace(self._tokenizer, files=stored)
        return self._tokenizer

    def _matched(self, tokenizer: PreTrainedTokenizerBase) -> ModelTokenizer:
        asked = self._asked_length or self.fitted.get("max_length")
        reference = self.pretrained or "the new encoder"
        if self.network is not None:
            network = self.network
        elif "encoder_config" in self.fitted:
            network = skeleton(KIND, encoders.stored_config(self.fitted["encoder_config"]), reference)
        elif self.pretrained is not None:
            network = skeleton(KIND, load_config(self.pretrained), reference)
        else:  # it will be built for this tokenizer
            return ModelTokenizer(tokenizer, tokenizer_files(tokenizer), asked or MAX_LENGTH)
        return ModelTokenizer.matched(tokenizer, network, reference, asked, MAX_LENGTH)

    def _train_tokenizer(self, rows: Dataset) -> PreTrainedTokenizerBase:
        assert self.new_encoder is not None
        columns = [name for name in ("text", "text_pair") if name in rows.column_names]

        def batches() -> Iterator[list[str]]:
            for batch in rows.iter(batch_size=1000):  # never all of them in memory
                yield from (batch[name] for name in columns)

        return train_wordpiece(batches, self.new_encoder.vocab_size, self.max_length, self.new_encoder.lowercase)

    def configure_model(self) -> None:
        """Builds the network once, and freezes what is not to be trained."""
        if self.network is not None:
            return
        pretrained: set[int] = set()
        if self.textclf.restored and "frozen" not in self.fitted:
            network = encoders.stored_network(self.fitted["encoder_config"])
        elif self.pretrained is not None:
            network, pretrained = encoders.pretrained_network(
                self.pretrained, self.label_names, restored=self.textclf.restored
            )
        else:
            assert self.new_encoder is not None
            padding: Any = self.tokenizer.pad_token_id
            sizes = len(self.tokenizer), padding, self.max_length
            network = encoders.new_network(self.new_encoder, *sizes, self.label_names)
        encoders.name_padding(network, self.tokenizer)
        use_fast_dropout(network)
        self.fitted.setdefault("encoder_config", network.config.to_json_string(use_diff=False))
        if self.lora is not None:
            encoders.add_lora(network, self.lora, pretrained)
        if self.freeze_layers:
            encoders.freeze_lower_layers(network, self.freeze_layers)
        if self.gradient_checkpointing:
            encoders.checkpoint_gradients(network)
        if self.compiled:
            network.compile(dynamic=True)  # in place: the weights keep their names
        self.network = network.train()
        parameters = self.named_parameters()
        self._frozen = {name for name, p in parameters if id(p) in pretrained and not p.requires_grad}

    # Checkpoints without frozen weights

    @required_hook
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out the frozen weights that can be loaded again, and keeps their hash."""
        super().on_save_checkpoint(checkpoint)
        weights = checkpoint["state_dict"]
        kept = {name: weight for name, weight in weights.items() if name not in self._frozen}
        fitted = {name: value for name, value in self.fitted.items() if name != "frozen"}
        if self._frozen:
            self._frozen_hash = self._frozen_hash or value_hash({n: weights[n] for n in self._frozen & weights.keys()})
            fitted["frozen"] = self._frozen_hash
        checkpoint["state_dict"], checkpoint["textclf"]["fitted"] = kept, fitted

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes all but the weights from a checkpoint; frozen ones may have moved: they are known by their hash."""
        if "frozen" in checkpoint["textclf"]["fitted"]:
            stored = {**checkpoint["hyper_parameters"], "pretrained": self.pretrained}
            checkpoint = {**checkpoint, "hyper_parameters": stored}
        super().restore(checkpoint)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights, and keeps the frozen ones that a checkpoint does not hold.

        Raises:
            UserError: The pretrained weights are others now.
        """
        left_out = {name: weight for name, weight in self.state_dict().items() if name not in state_dict}
        if left_out and "frozen" in self.fitted:
            if value_hash(left_out) != self.fitted["frozen"]:
                raise UserError(
                    f"the weights of pretrained {self.pretrained!r} are not those that the checkpoint was trained on: "
                    "pass --model.pretrained with the place of the old ones"
                )
            state_dict = {**left_out, **state_dict}
        self._frozen, self._frozen_hash = self._frozen & left_out.keys(), ""
        return super().load_state_dict(state_dict, strict, assign)

    # The contract

    def prepare(self, train_rows: Dataset) -> None:
        """Trains a new encoder's tokenizer; keeps any, and the class counts where `balanced` weights need them."""
        new = self.new_encoder is not None and self.network is None  # a network keeps the tokenizer it was built for
        files = tokenizer_files(self._train_tokenizer(train_rows)) if new else self._load_tokenizer().files
        self.fitted = {**self.fitted, "max_length": self.max_length, "tokenizer": files}
        if self.class_weights == "balanced":
            self.fitted["class_counts"] = class_counts(train_rows, self.num_classes)

    def encoding_facts(self) -> list[Any]:
        """The tokenizer's files and the length."""
        return ["cut", self.max_length, self._load_tokenizer().files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids, segment ids where the encoder has segments, `length` in tokens, and those `cut` off."""
        return self._load_tokenizer().tokenize_rows(rows)

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Pads on the right: `input_ids`, `attention_mask`, and segment ids, int64 `(batch, seq)`."""
        return pad(rows, self.tokenizer.pad_token_id)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Logits, fp32, shape `(batch, num_classes)`."""
        assert self.network is not None, "configure_model comes first"
        return class_logits(self.network, batch).float()

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-softmax of the logits, shape `(batch, num_classes)`, in nats."""
        return self.forward(batch).log_softmax(dim=-1)

    # Training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Computes and logs the loss of one batch; `loss` is what a subclass replaces."""
        logits = self.forward(batch)
        loss = self.loss(logits, batch["labels"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with `label_smoothing`, weighted by `loss_weights`.

        A subclass may return any differentiable scalar instead. `loss_weights`, float32 `(num_classes,)`, follows
        `class_weights`, and is 1 for every class where none are given; a loss of one's own has to apply it itself.

        Args:
            logits: Of the batch, float32 `(batch, num_classes)`.
            labels: Class indices, int64 `(batch,)`.

        Returns:
            The mean loss of the batch, a scalar.
        """
        return nn.functional.cross_entropy(
            logits, labels, weight=self.loss_weights, label_smoothing=self.label_smoothing
        )

    @required_hook
    def on_fit_start(self) -> None:
        """Sets `loss_weights`, once the counts of the classes are known."""
        if self.class_weights is not None:
            self.loss_weights.copy_(torch.tensor(self._weights_by_class()))

    def _weights_by_class(self) -> list[float]:
        """Weight of each class in the loss; `balanced` gives 1 to each until `prepare` has counted them."""
        equal = [1] * self.num_classes
        return weights_in_loss(self.class_weights, self.label_names, self.fitted.get("class_counts", equal))

    def configure_optimizers(self) -> Any:
        """Joins `parameter_groups`, `optimizer_for` and `schedule_for`, each of which a subclass can replace alone."""
        optimizer = self.optimizer_for(self.parameter_groups())
        schedule = self.schedule_for(optimizer)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters in groups, each with options of its own, as `torch.optim.Optimizer` takes them.

        By default there are two: matrices with `weight_decay`, biases and the gains of norms without any. A group may
        also set its own `lr`; `schedule_for` scales every group by the same factor.
        """
        parameters = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def optimizer_for(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimiser of these parameter groups, by default AdamW or Adam with `learning_rate`.

        Args:
            groups: What `parameter_groups` returned.
        """
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.optimizer]
        # `fused` updates the weights in one pass instead of a dozen.
        optimizer: Optimizer = kind(groups, lr=self.learning_rate, fused=True)
        # A fused optimiser would unscale the gradients of fp16 itself, and Lightning refuses to clip for one that does:
        # the gradient scaler unscales them before they are clipped.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # set by torch on fused ones
        return optimizer

    def schedule_for(self, optimizer: Optimizer) -> LRScheduler | None:
        """The learning-rate schedule, stepped after every optimiser step; by default `warmup`, then `schedule`.

        Args:
            optimizer: What `optimizer_for` returned.

        Returns:
            The schedule; a subclass may return None for rates that stay as they are.

        Raises:
            UserError: The schedule depends on the number of steps, and training has no end.
        """
        from transformers import get_scheduler

        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps) and (self.schedule != "constant" or isinstance(self.warmup, float)):
            raise UserError(f"a {self.schedule} schedule needs an end: set trainer.max_epochs or trainer.max_steps")
        scheduler: LRScheduler = get_scheduler(
            {"constant": "constant_with_warmup"}.get(self.schedule, self.schedule),
            optimizer,
            num_warmup_steps=round(self.warmup * steps) if isinstance(self.warmup, float) else self.warmup,
            num_training_steps=int(steps) if math.isfinite(steps) else None,
        )
        return scheduler
