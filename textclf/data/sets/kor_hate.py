"""Korean hate speech."""

from textclf.data.base import TextDataModule


class KorHateDataModule(TextDataModule):
    """Korean hate speech: comments on entertainment news, hateful, offensive, or neither (Moon et al., 2020).

    7,896 train and 471 test comments (the source's dev split). The texts are abusive: keep them out of screenshots.
    Source: https://github.com/kocohub/korean-hate-speech (CC BY-SA 4.0); https://aclanthology.org/2020.socialnlp-1.4.
    """

    label_names = ("hate", "offensive", "none")
    hub_id = "inmoonlight/kor_hate"
    hub_revision = "refs/convert/parquet"
    hub_fingerprints = {"train": "8044c0c53ad8817fb972973fc05eceb4", "test": "649f721ebc047c87bac4e3c8f19f86cc"}
    text_column = "comments"
    label_column = "hate"
