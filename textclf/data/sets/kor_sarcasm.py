"""Korean sarcasm."""

from textclf.data.base import TextDataModule


class KorSarcasmDataModule(TextDataModule):
    """Korean sarcasm: tweets, labelled by their hashtags, which is noisy.

    9,000 train and 301 test tweets. A space at the end of a text occurs in most sarcastic ones and in no other: without
    `StripWhitespace` the label can be read from it. Source: https://github.com/SpellOnYou/korean-sarcasm (MIT).
    """

    label_names = ("no_sarcasm", "sarcasm")
    hub_id = "SpellOnYou/kor_sarcasm"
    hub_revision = "3d96e36e10a88d5b7a3f617cf8362d997504494b"
    text_column = "tokens"
