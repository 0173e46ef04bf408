"""Base class of the methods that run a ready-made transformers model with its own head, and train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from textclf.backbones.tokenization import ModelTokenizer
from textclf.backbones.weights import load_frozen, load_matched, ready_made_dtype
from textclf.findings.lengths import Tokenization
from textclf.models.base import TextClassifier
from textclf.models.tokenizations import tokenization_with
from textclf.processes import attached_trainer
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase


class InferenceClassifier(TextClassifier):
    """A method that scores with a model whose weights never change.

    The tokenizer is loaded, and checked against the model's configuration, when the first row is encoded; the weights
    are loaded in `configure_model`. A subclass checks and prepares the loaded model in `adopt`.

    Attributes:
        auto_class: The class of transformers that loads the model, such as `AutoModelForSequenceClassification`.
        network: The model; None until `configure_model`.
    """

    auto_class: ClassVar[str]

    def __init__(self, num_classes: int, label_names: Sequence[str], pretrained: str, max_length: int | None) -> None:
        """Stores the arguments that these methods have in common.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Maximum length in tokens; None for what the model can read, at most 512.
        """
        super().__init__(num_classes, label_names)
        self.pretrained = pretrained
        self._max_length_argument = max_length
        self.network: PreTrainedModel | None = None

    def load_tokenizer(self) -> ModelTokenizer:
        """Loads the tokenizer, and checks that it belongs to the model.

        Raises:
            UserError: It cannot be loaded, is another model's, or the model cannot read `max_length` tokens.
        """
        return load_matched(self.auto_class, self.pretrained, self._max_length_argument)

    @cached_property
    def matched(self) -> ModelTokenizer:
        """The tokenizer from `load_tokenizer`, loaded once."""
        return self.load_tokenizer()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.matched.tokenizer

    @property
    def max_length(self) -> int:
        """Maximum length of the model's input in tokens."""
        return self.matched.max_length

    def tokenization(self) -> Tokenization:
        """The tokens of the model."""
        return tokenization_with(self.pretrained, self.tokenizer, self.max_length)

    def configure_model(self) -> None:
        """Loads the weights once.

        Raises:
            UserError: The model or its tokenizer cannot be loaded, or the method cannot use it.
        """
        if self.network is not None:
            return
        _ = self.matched  # a tokenizer of another model is refused before the weights are read
        trainer = attached_trainer(self)
        precision = "32-true" if trainer is None else str(trainer.precision)
        network = load_frozen(self.auto_class, self.pretrained, ready_made_dtype(precision, type(self).__name__))
        self.adopt(network)
        self.network = network

    def adopt(self, network: PreTrainedModel) -> None:
        """Checks and prepares a model that has just been loaded.

        Raises:
            UserError: The method cannot use it.
        """
        raise NotImplementedError
