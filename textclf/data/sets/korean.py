"""Korean sentences: hate speech, sarcasm, kinds of question and command, intents, and news topics."""

from __future__ import annotations

from typing import Any

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


class KorSarcasmDataModule(TextDataModule):
    """Korean sarcasm: tweets, labelled by their hashtags, which is noisy.

    9,000 train and 301 test tweets. A space at the end of a text occurs in most sarcastic ones and in no other: without
    `StripWhitespace` the label can be read from it. Source: https://github.com/SpellOnYou/korean-sarcasm (MIT).
    """

    label_names = ("no_sarcasm", "sarcasm")
    hub_id = "SpellOnYou/kor_sarcasm"
    hub_revision = "3d96e36e10a88d5b7a3f617cf8362d997504494b"
    text_column = "tokens"


class KorSAEDataModule(TextDataModule):
    """Korean structured argument extraction: questions and commands in six kinds (Cho et al., 2019).

    30,837 sentences without a test split: a fifth of each kind becomes one, and no sentence stands on both sides. Two
    kinds are rare. The sentence is `intent_pair1`; `intent_pair2`, its content written by annotators as a phrase, can
    be read as the second text, but its ending gives most labels away. Source: https://github.com/warnikchow/sae4k
    (CC BY-SA 4.0); https://arxiv.org/abs/1912.00342.
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


class Kor3i4kDataModule(TextDataModule):
    """Korean intents: spoken-style sentences without punctuation in seven intents (Cho et al., 2018).

    55,134 train and 6,121 test sentences; every tenth test sentence stands in train too, until `DropOverlap` takes it
    out there. Source: https://github.com/warnikchow/3i4k (CC BY-SA 4.0); https://arxiv.org/abs/1811.04231.
    """

    label_names = (
        "fragment",
        "statement",
        "question",
        "command",
        "rhetorical question",
        "rhetorical command",
        "intonation-dependent utterance",
    )
    hub_id = "wicho/kor_3i4k"
    hub_fingerprints = {"train": "f74f68e1ce6f6cc7333fc4f96c37717c", "test": "6959fdb69d7cf3b3038b2d01bd2acd81"}


class YNATDataModule(TextDataModule):
    """KLUE's topic classification (YNAT): headlines of Yonhap News in seven topics (Park et al., 2021).

    45,678 train headlines, and 9,107 of the validation split, which are the test split here: KLUE's own test labels are
    not published, and figures on YNAT are reported on these rows. `val_size` of train is held out for choosing.
    Source: https://github.com/KLUE-benchmark/KLUE (CC BY-SA 4.0); https://arxiv.org/abs/2105.09680.
    """

    label_names = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")
    hub_id = "klue/klue"
    hub_config = "ynat"
    hub_revision = "349481ec73fff722f88e0453ca05c77a447d967c"
    split_names = {"test": "validation"}
    text_column = "title"
    id_column = "guid"
