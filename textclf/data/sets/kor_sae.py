"""Korean structured argument extraction."""

from __future__ import annotations

from typing import Any

from textclf.data.base import TextDataModule


class KorSAEDataModule(TextDataModule):
    """Korean structured argument extraction: questions and commands in six kinds (Cho et al., 2019).

    30,837 sentences without a test split: a fifth of each kind becomes one, and no sentence is in both. Two kinds are
    rare. The sentence is `intent_pair1`; `intent_pair2`, its content written by annotators as a phrase, can be read as
    the second text, but its ending gives most labels away. Source: https://github.com/warnikchow/sae4k (CC BY-SA 4.0);
    https://arxiv.org/abs/1912.00342.
    """

    label_names = ("yes/no", "alternative", "wh- questions", "prohibitions", "requirements", "strong requirements")
    hub_id = "wicho/kor_sae"
    hub_revision = "refs/convert/parquet"
    hub_fingerprints = {"train": "cdb8f79478cc6dc7e99dd66fa28923ce"}
    hub_splits = ("train",)
    text_column = "intent_pair1"
    test_share = 0.2

    def __init__(self, text_pair_column: str | None = None, **kwargs: Any) -> None:
        """Takes the second text.

        Args:
            text_pair_column: `intent_pair2`, or none.
            **kwargs: What every data set takes.
        """
        super().__init__(**kwargs)
        self.text_pair_column = text_pair_column
