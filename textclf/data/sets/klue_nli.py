"""KLUE's natural language inference."""

from textclf.data.base import TextDataModule


class KLUENLIDataModule(TextDataModule):
    """KLUE's natural language inference: whether a hypothesis follows from a premise, Korean (Park et al., 2021).

    Pairs of texts: the premise and, as second text, the hypothesis. 24,998 train pairs, and 3,000 of the validation
    split, which are the test split here: KLUE's own test labels are not published. `val_size` of train is held out for
    choosing. Part of the labels can be guessed from the hypothesis alone. Source:
    https://github.com/KLUE-benchmark/KLUE (CC BY-SA 4.0); https://arxiv.org/abs/2105.09680.
    """

    label_names = ("entailment", "neutral", "contradiction")
    hub_id = "klue/klue"
    hub_config = "nli"
    hub_revision = "349481ec73fff722f88e0453ca05c77a447d967c"
    split_names = {"test": "validation"}
    text_column = "premise"
    text_pair_column = "hypothesis"
    id_column = "guid"
