"""Rotten Tomatoes film reviews."""

from textclf.data.base import TextDataModule


class RottenTomatoesDataModule(TextDataModule):
    """Rotten Tomatoes: one-sentence English film reviews, negative or positive (Pang and Lee, 2005).

    8,530 train, 1,066 validation and 1,066 test sentences, half of each class; the hub's rows are sorted by label and
    call the classes `neg` and `pos`. Source: https://www.cs.cornell.edu/people/pabo/movie-review-data/.
    """

    label_names = ("negative", "positive")
    hub_id = "cornell-movie-review-data/rotten_tomatoes"
    hub_revision = "aa13bc287fa6fcab6daf52f0dfb9994269ffea28"
    hub_splits = ("train", "validation", "test")
