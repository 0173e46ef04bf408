"""Types of heavy libraries, by name only: importing them here would slow the start of every command.

(The command line's parser runs the `TYPE_CHECKING` blocks of the modules whose classes it reads; it does not read
this one.)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from pandas import DataFrame
    from sklearn.linear_model import LogisticRegression
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
else:
    DataFrame = Dataset = LogisticRegression = PreTrainedConfig = PreTrainedModel = Any
    PreTrainedTokenizerBase = Any

__all__ = [
    "DataFrame",
    "Dataset",
    "LogisticRegression",
    "PreTrainedConfig",
    "PreTrainedModel",
    "PreTrainedTokenizerBase",
]
