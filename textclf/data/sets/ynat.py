"""KLUE's topic classification (YNAT)."""

from textclf.data.base import TextDataModule


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
