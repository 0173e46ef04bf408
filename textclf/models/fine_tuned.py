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
from textclf.errors import UserError, check_least, check_range
from textclf.findings.lengths import Tokenization
from textclf.hardware.kernels import use_fast_dropout
from textclf.hashing import value_hash
from textclf.models import encoders
from textclf.models.arguments import build_settings
from textclf.models.base import TextClassifier
from textclf.models.checkpoint_checks import loading_part
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import check_class_weights, weights_in_loss
from textclf.models.tokenizations import tokenization_with
from textclf.types import Dataset, PreTrainedModel, PreTrainedTokenizerBase

MAX_LENGTH = 128
"""Default maximum length, for encoders that can read as many tokens."""


class FineTunedClassifier(TextClassifier):
    """Fine-tunes any encoder that `AutoModelForSequenceClassification` knows, or trains a small BERT from scratch.

    Weights are fp32; `trainer.precision` is the precision of the computation. A checkpoint holds only the hash of
    pretrained weights that were frozen: they are loaded from `pretrained` again.

    Source: Devlin et al., 2019, https://arxiv.org/abs/1810.04805.

    A subclass can override any of `loss`, `parameter_groups`, `optimizer_for` and `schedule_for`.
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
        """Stores the hyperparameters; weights are loaded in `configure_model`.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`; null for `encoder_config`.
            max_length: Maximum length of a text (or pair) in tokens, the rest is cut off; null for 128, or the limit
                of the encoder if that is lower.
            optimizer: `adamw`, or `adam`, whose weight decay is added to the gradient.
            learning_rate: The learning rate after warm-up.
            weight_decay: Weight decay of matrices; biases and norms have none.
            warmup: Steps (an int) or share of all steps (a float) in which the learning rate rises from 0.
            schedule: The learning rate after warm-up: constant, or decreasing to 0 linearly or along half a cosine.
            label_smoothing: Share of the target that is distributed evenly over all classes.
            class_weights: Weights of the classes in the loss by name; `balanced` for weights inverse to the counts.
            encoder_config: A small BERT with random weights, and a tokenizer trained on the train rows, instead of
                `pretrained`: any of `vocab_size`, `hidden_size`, `num_hidden_layers`, `num_attention_heads`,
                `intermediate_size`, `hidden_dropout_prob`, `attention_probs_dropout_prob`, `lowercase`.
            lora: Train adapters and the head only: any of `rank`, `alpha`, `dropout`, `target_modules`.
            freeze_layers: Lower layers that are not trained, and the embeddings with them; 0 trains all.
            gradient_checkpointing: Recompute activations in the backward pass, which saves memory and costs time.
            compile: Use `torch.compile`; the first batches are slow.

        Raises:
            UserError: A value is out of range, a weight's name is not a label, or arguments exclude each other.
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
            conflict = "is null without" if pretrained is None else f"{pretrained!r} is given together with"
            raise UserError(
                f"pretrained {conflict} an encoder_config: name an existing encoder, or give `pretrained: null` and "
                "`encoder_config: {}` for a new one"
            )
        if lora is not None and (freeze_layers or pretrained is None):
            other = f"freeze_layers {freeze_layers}" if freeze_layers else "encoder_config"
            raise UserError(f"lora freezes a pretrained encoder whole: leave {other} out")
        self.new_encoder = None
        if encoder_config is not None:
            self.new_encoder = build_settings(encoders.EncoderConfig, "encoder_config", encoder_config)
        self.lora = None
        if lora is not None:
            self.lora = build_settings(encoders.LoraSettings, "lora", lora)
        self.pretrained = pretrained
        self._max_length_argument = max_length
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.class_weights = check_class_weights(class_weights, self.label_names)
        self.freeze_layers = freeze_layers
        self.gradient_checkpointing = gradient_checkpointing
        self.compiled = compile
        self.network: PreTrainedModel | None = None
        self._tokenizer: ModelTokenizer | None = None
        self._frozen: set[str] = set()
        self._frozen_hash = ""
        self.loss_weights: Tensor
        self.register_buffer("loss_weights", torch.tensor(self._weights_by_class()))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer: the fitted one if there is one."""
        return self._load_tokenizer().tokenizer

    @property
    def max_length(self) -> int:
        """Maximum length of a text (or pair) in tokens."""
        if self.pretrained is None and self._tokenizer is None and not self.fitted:
            return self._max_length_argument or MAX_LENGTH
        return self._load_tokenizer().max_length

    def _load_tokenizer(self) -> ModelTokenizer:
        """The tokenizer, checked against its network; the fitted one if there is one."""
        stored = self.fitted.get("tokenizer")
        if self._tokenizer is None or (stored is not None and stored is not self._tokenizer.files):
            if stored is not None:
                with loading_part("tokenizer"):
                    tokenizer = tokenizer_from_files(stored)
            elif self.pretrained is None:
                raise UserError("a new encoder's tokenizer is not trained: run `fit` first, or load a checkpoint")
            else:
                tokenizer = load_tokenizer(self.pretrained)
            self._tokenizer = self._matched(tokenizer)
            if stored is not None:  # the same files as in the checkpoint, not those after a round trip
                self._tokenizer = replace(self._tokenizer, files=stored)
        return self._tokenizer

    def _matched(self, tokenizer: PreTrainedTokenizerBase) -> ModelTokenizer:
        """Checks a tokenizer against the network, or against its configuration before it is built."""
        max_length = self._max_length_argument or self.fitted.get("max_length")
        reference = self.pretrained or "the new encoder"
        if self.network is not None:
            network = self.network
        elif "encoder_config" in self.fitted:
            with loading_part("network"):
                config = encoders.stored_config(self.fitted["encoder_config"])
            network = skeleton(encoders.AUTO_CLASS, config, reference)
        elif self.pretrained is not None:
            network = skeleton(encoders.AUTO_CLASS, load_config(self.pretrained), reference)
        else:  # the network will be built for this tokenizer
            return ModelTokenizer(tokenizer, tokenizer_files(tokenizer), max_length or MAX_LENGTH)
        return ModelTokenizer.matched(tokenizer, network, reference, max_length, MAX_LENGTH)

    def _train_tokenizer(self, rows: Dataset) -> PreTrainedTokenizerBase:
        assert self.new_encoder is not None
        columns = [name for name in ("text", "text_pair") if name in rows.column_names]

        def batches() -> Iterator[list[str]]:
            for batch in rows.iter(batch_size=1000):  # never all of them in memory
                yield from (batch[name] for name in columns)

        return train_wordpiece(batches, self.new_encoder.vocab_size, self.max_length, self.new_encoder.lowercase)

    def configure_model(self) -> None:
        """Builds the network once, and freezes the weights that are not trained."""
        if self.network is not None:
            return
        pretrained: set[int] = set()  # `id` of each parameter that has pretrained weights
        if self.textclf.restored and "frozen" not in self.fitted:
            with loading_part("network"):
                network = encoders.stored_network(self.fitted["encoder_config"])
        elif self.pretrained is not None:
            network, pretrained = encoders.pretrained_network(
                self.pretrained, self.label_names, restored=self.textclf.restored
            )
        else:
            assert self.new_encoder is not None
            network = encoders.new_network(self.new_encoder, self.tokenizer, self.max_length, self.label_names)
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
        for name, parameter in self.named_parameters():
            if id(parameter) in pretrained and not parameter.requires_grad:
                self._frozen.add(name)

    # Checkpoints without frozen weights

    @required_hook
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out the frozen weights that can be loaded again, and adds their hash."""
        super().on_save_checkpoint(checkpoint)
        trained: dict[str, Tensor] = {}
        frozen: dict[str, Tensor] = {}
        for name, weight in checkpoint["state_dict"].items():
            if name in self._frozen:
                frozen[name] = weight
            else:
                trained[name] = weight
        fitted = {name: value for name, value in self.fitted.items() if name != "frozen"}
        if self._frozen:
            if not self._frozen_hash:
                self._frozen_hash = value_hash(frozen)
            fitted["frozen"] = self._frozen_hash
        checkpoint["state_dict"] = trained
        checkpoint["textclf"]["fitted"] = fitted

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Restores all but the weights from a checkpoint; `pretrained` may differ, as frozen weights have a hash."""
        if "frozen" in checkpoint["textclf"]["fitted"]:
            stored = {**checkpoint["hyper_parameters"], "pretrained": self.pretrained}
            checkpoint = {**checkpoint, "hyper_parameters": stored}
        super().restore(checkpoint)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights, and keeps the frozen ones that a checkpoint leaves out.

        Raises:
            UserError: The weights of `pretrained` are not those of the checkpoint.
        """
        left_out = {name: weight for name, weight in self.state_dict().items() if name not in state_dict}
        if left_out and "frozen" in self.fitted:
            if value_hash(left_out) != self.fitted["frozen"]:
                raise UserError(
                    f"the weights of pretrained {self.pretrained!r} are not those that the checkpoint was trained on: "
                    "pass --model.pretrained with the place of the old ones"
                )
            state_dict = {**left_out, **state_dict}
        self._frozen &= left_out.keys()
        self._frozen_hash = ""
        return super().load_state_dict(state_dict, strict, assign)

    # The contract

    def prepare(self, train_rows: Dataset) -> None:
        """Fits the tokenizer of a new encoder, and the class counts if `balanced` weights need them."""
        # A network that exists keeps the tokenizer that it was built for.
        if self.new_encoder is not None and self.network is None:
            files = tokenizer_files(self._train_tokenizer(train_rows))
        else:
            files = self._load_tokenizer().files
        self.fitted = {**self.fitted, "max_length": self.max_length, "tokenizer": files}
        if self.class_weights == "balanced":
            self.fitted["class_counts"] = class_counts(train_rows, self.num_classes)

    def tokenization(self) -> Tokenization | None:
        """The tokens of the encoder; None for a new one, whose tokenizer is trained on the train rows."""
        if self.pretrained is None:
            return None
        return tokenization_with(self.pretrained, self.tokenizer, self.max_length)

    def encoding_facts(self) -> list[Any]:
        """The tokenizer's files and the maximum length."""
        return ["text, cut", self.max_length, self._load_tokenizer().files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids, segment ids if the encoder has segments, `length` in tokens, and number of tokens `cut` off."""
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
        """Computes and logs the loss of one batch; a subclass can override `loss`."""
        logits = self.forward(batch)
        loss = self.loss(logits, batch["labels"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with `label_smoothing`, weighted by `loss_weights`.

        A subclass may return any differentiable scalar instead. `loss_weights`, float32 `(num_classes,)`, holds the
        `class_weights`, 1 for each class by default; a loss of your own has to apply it itself.

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
        """Combines `parameter_groups`, `optimizer_for` and `schedule_for`, each of which a subclass can override."""
        optimizer = self.optimizer_for(self.parameter_groups())
        schedule = self.schedule_for(optimizer)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters in groups, each with its own options, as `torch.optim.Optimizer` takes them.

        By default there are two: matrices with `weight_decay`, biases and the gains of norms without any. A group may
        also set its own `lr`; `schedule_for` scales every group by the same factor.
        """
        matrices: list[nn.Parameter] = []
        vectors: list[nn.Parameter] = []
        for parameter in self.parameters():
            if parameter.requires_grad:
                (matrices if parameter.ndim > 1 else vectors).append(parameter)
        return [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def optimizer_for(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimiser of these parameter groups, by default AdamW or Adam with `learning_rate`.

        Args:
            groups: What `parameter_groups` returned.
        """
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.optimizer]
        # `fused` updates the weights in one pass instead of a dozen.
        optimizer: Optimizer = kind(groups, lr=self.learning_rate, fused=True)
        unscale_before_step(optimizer)
        return optimizer

    def schedule_for(self, optimizer: Optimizer) -> LRScheduler | None:
        """The learning-rate schedule, stepped after every optimiser step; by default `warmup`, then `schedule`.

        Args:
            optimizer: What `optimizer_for` returned.

        Returns:
            The schedule; a subclass may return None for constant learning rates.

        Raises:
            UserError: The schedule depends on the number of steps, and training has no end.
        """
        from transformers import get_scheduler

        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps) and (self.schedule != "constant" or isinstance(self.warmup, float)):
            raise UserError(f"a {self.schedule} schedule needs an end: set trainer.max_epochs or trainer.max_steps")
        name = "constant_with_warmup" if self.schedule == "constant" else self.schedule
        warmup_steps = round(self.warmup * steps) if isinstance(self.warmup, float) else self.warmup
        scheduler: LRScheduler = get_scheduler(
            name,
            optimizer,
            num_warmup_steps=warmup_steps,
            num_training_steps=int(steps) if math.isfinite(steps) else None,
        )
        return scheduler


def unscale_before_step(optimizer: Optimizer) -> None:
    """Makes the gradient scaler of fp16 unscale gradients before a fused optimiser's step, not in the step.

    Lightning refuses to clip gradients for an optimiser that unscales them itself. The attribute is private to torch,
    which has no public one; it would not be needed if Lightning clipped the gradients of such optimisers.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # set by torch on fused optimisers
