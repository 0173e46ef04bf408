"""Emotion in tweets."""

from textclf.data.base import TextDataModule


class EmotionDataModule(TextDataModule):
    """Emotion: English tweets, lower-cased, in six emotions taken from their hashtags (Saravia et al., 2018).

    16,000 train, 2,000 validation and 2,000 test texts; `joy` is nine times as frequent as `surprise`. Nearly all
    repeats in train have two different labels. Source: https://aclanthology.org/D18-1404 (for research and education).
    """

    label_names = ("sadness", "joy", "love", "anger", "fear", "surprise")
    hub_id = "dair-ai/emotion"
    hub_config = "split"
    hub_revision = "cab853a1dbdf4c42c2b3ef2173804746df8825fe"
    hub_splits = ("train", "validation", "test")
