"""Naver Sentiment Movie Corpus."""

from textclf.data.base import TextDataModule


class NSMCDataModule(TextDataModule):
    """Naver Sentiment Movie Corpus: Korean film reviews, negative or positive.

    150,000 train and 50,000 test reviews; there is no validation split: `val_size` of the train rows is held out.
    Source: https://github.com/e9t/nsmc (CC0 1.0). The hub's main branch has only a loading script, so that its parquet
    branch is read.
    """

    label_names = ("negative", "positive")
    hub_id = "e9t/nsmc"
    hub_revision = "153263700c285ac0997b3e2a2d80b826aaf672d6"  # of refs/convert/parquet
    text_column = "document"
    id_column = "id"
