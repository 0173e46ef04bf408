"""Base class of the methods that use a ready-made model of transformers with its own head, and train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from textclf.backbones.tokenization import ModelTokenizer
from textclf.backbones.weights import frozen_dtype, load_frozen, load_matched
from textclf.models.base import TextClassifier
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase


class InferenceClassifier(TextClassifier):
    """A method that reads its scores off a model whose weights never change.

    The tokenizer is loaded, and checked against the model's configuration, when the first row is encoded; the weights
    are loaded in `configure_model`. A subclass says what is to be done with them in `adopt`.

    Attributes:
        auto_class: The class of transformers that loads the model, such as `AutoModelForSequenceClassification`.
        network: The model; None until `configure_model`.
    """

    auto_class: ClassVar[str]

    def __init__(self, num_classes: int, label_names: Sequence[str], pretrained: str, max_length: int | None) -> None:
        """Stores what each of these methods takes.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Tokens that are read; null for what the model can read, at most 512.
        """
        super().__init__(num_classes, label_names)
        self.pretrained, self._asked_length = pretrained, max_length
        self.network: PreTrainedModel | None = None

    def load_tokenizer(self) -> ModelTokenizer:
        """Loads the tokenizer, and checks that it belongs to the model.

        Raises:
            UserError: It cannot be loaded, is another model's, or the model cannot read `max_length` tokens.
        """
        return load_matched(self.auto_class, self.pretrained, self._asked_length)

    @cached_property
    def matched(self) -> ModelTokenizer:
        """What `load_tokenizer` gave."""
        return self.load_tokenizer()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.matched.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens that are read of what the model is given."""
        return self.matched.max_length

    def configure_model(self) -> None:
        """Loads the weights once.

        Raises:
            UserError: The model or its tokenizer cannot be loaded, or the method cannot use it.
        """
        if self.network is None:
            _ = self.matched  # a tokenizer of another model is refused before the weights are read
            network = load_frozen(self.auto_class, self.pretrained, frozen_dtype(self))
            self.adopt(network)
            self.network = network

    def adopt(self, network: PreTrainedModel) -> None:
        """Checks and prepares a model that has just been loaded.

        Raises:
            UserError: The method cannot use it.
        """
        raise NotImplementedError
