"""Korean intents (3i4K)."""

from textclf.data.base import TextDataModule


class Kor3i4kDataModule(TextDataModule):
    """Korean intents: spoken-style sentences without punctuation in seven intents (Cho et al., 2018).

    55,134 train and 6,121 test sentences; every tenth test sentence is in train too, until `DropOverlap` takes it out
    there. Source: https://github.com/warnikchow/3i4k (CC BY-SA 4.0); https://arxiv.org/abs/1811.04231.
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
