"""Each option of a data module with each shape of source: in force, and in the ledger, or refused in one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer

from textclf.data import FilesDataModule, KorSAEDataModule
from textclf.data.cleaning import DropEmpty, DropRepeats, StripWhitespace
from textclf.data.contract import ExampleRequest
from textclf.data.options import refuse_for_method
from textclf.data.splitting import draw_sample
from textclf.errors import UserError
from textclf.models import (
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    PreparedClassifier,
    TextClassifier,
    TfidfClassifier,
)

NAMES = ["a", "b", "c"]
SIZES = {"train": (40, 20, 4), "validation": (20, 10, 2), "test": (30, 15, 5)}
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class MadeDataModule(FilesDataModule):
    """Makes its test split where the source has none."""

    test_share = 0.25


SHAPES = {
    "train": (FilesDataModule, ("train",)),
    "train + test": (FilesDataModule, ("train", "test")),
    "test": (FilesDataModule, ("test",)),
    "all": (FilesDataModule, ("train", "validation", "test")),
    "made": (MadeDataModule, ("train",)),
    "made + validation": (MadeDataModule, ("train", "validation")),
    "validation": (FilesDataModule, ("validation",)),
    "validation + test": (FilesDataModule, ("validation", "test")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each shape; rows are sorted by label."""
    root = tmp_path_factory.mktemp("shapes")
    for shape, (_, splits) in SHAPES.items():
        for split in splits:
            labels = [name for name, size in zip(NAMES, SIZES[split], strict=True) for _ in range(size)]
            table = pa.table({"text": [f"{split} {i} text" for i in range(len(labels))], "label": labels})
            (root / shape).mkdir(exist_ok=True)
            pq.write_table(table, root / shape / f"{split}.parquet")
    return root


def made(folders, shape, **options):
    return SHAPES[shape][0](str(folders / shape), label_names=NAMES, **options)


def counts(data, split):
    return np.bincount(data.rows(split)["label"], minlength=3).tolist()


# Rows: the step of the ledger, and the rows of each class that are left; or what the refusal says.
HELD = "held out for validation"
CASES = [
    # shape, options, split, step of the ledger, classes that are left
    ("train", {"shots_per_class": 3}, "train", "shots_per_class", [3, 3, 3]),
    ("train + test", {"shots_per_class": 3}, "train", "shots_per_class", [3, 3, 3]),
    ("all", {"shots_per_class": 3}, "train", "shots_per_class", [3, 3, 3]),
    ("made", {"shots_per_class": 2}, "train", "shots_per_class", [2, 2, 2]),
    ("made + validation", {"shots_per_class": 3}, "train", "shots_per_class", [3, 3, 3]),
    ("made", {"shots_per_class": 2}, "validation", HELD, [3, 2, 0]),
    ("made", {"shots_per_class": 2}, "test", "rows read", [10, 5, 1]),
    ("test", {"shots_per_class": 3}, "train", "taken from test", [3, 3, 3]),
    ("test", {"shots_per_class": 3}, "test", "taken from test", [27, 12, 2]),
    ("validation + test", {"shots_per_class": 3}, "train", "taken from test", [3, 3, 3]),
    ("train", {"val_size": 0.5}, "validation", HELD, [20, 10, 2]),
    ("train", {"val_size": 0.5}, "train", HELD, [20, 10, 2]),
    ("train + test", {"val_size": 0.25}, "validation", HELD, [10, 5, 1]),
    ("made", {"val_size": 0.5}, "validation", HELD, [15, 8, 2]),
    ("all", {"val_size": 0}, "train", "rows read", [40, 20, 4]),
    ("train + test", {"limit": 10}, "test", "limit", [6, 3, 1]),
    ("test", {"limit": 10}, "test", "limit", [6, 3, 1]),
    ("all", {"limit": {"test": 10}}, "test", "limit", [6, 3, 1]),
    ("made", {"limit": 8}, "test", "limit", [5, 2, 1]),
    ("validation + test", {"limit": 10}, "test", "limit", [6, 3, 1]),
    ("test", {"limit": 10, "limit_by": "first"}, "test", "limit", [10, 0, 0]),
    ("test", {"limit": 99}, "test", "limit", [30, 15, 5]),
    ("test", {"limit": 10, "shots_per_class": 5}, "test", "limit", [7, 3, 0]),
    ("train", {"limit": {"train": 16}, "val_size": 0}, "train", "limit", [10, 5, 1]),
    ("train", {"limit": {"train": 16}, "val_size": 0.5}, "train", "limit", [10, 5, 1]),
    ("train", {"limit": {"train": 16}, "val_size": 0.5}, "validation", HELD, [20, 10, 2]),
    ("train", {"limit": {"validation": 16}, "val_size": 0.5}, "validation", "limit", [10, 5, 1]),
    ("train + test", {"limit": {"train": 1}}, "train", "limit", [1, 0, 0]),
    ("made", {"limit": {"train": 12}}, "train", "limit", [7, 4, 1]),
    ("made + validation", {"limit": {"validation": 16}}, "validation", "limit", [10, 5, 1]),
    ("all", {"limit": {"train": 16, "validation": 16, "test": 10}}, "validation", "limit", [10, 5, 1]),
    ("all", {"limit": {"validation": 9}, "limit_by": "first"}, "validation", "limit", [9, 0, 0]),
    ("validation", {"limit": {"validation": 16}}, "validation", "limit", [10, 5, 1]),
    ("all", {"limit": {"validation": 16}, "shots_per_class": 3}, "train", "shots_per_class", [3, 3, 3]),
    ("test", {"cleaning": [DropRepeats(("test",))]}, "test", "DropRepeats", [30, 15, 5]),
    ("made", {"cleaning": [DropRepeats(("test",))]}, "test", "DropRepeats", [10, 5, 1]),
    ("test", {"cleaning": [DropRepeats(("train",))], "shots_per_class": 3}, "train", "DropRepeats", [3, 3, 3]),
    ("all", {"cleaning": [StripWhitespace()]}, "validation", "StripWhitespace", [20, 10, 2]),
]
REFUSED = [
    # shape, options, split, what the one line says
    ("validation", {"shots_per_class": 3}, "validation", "shots_per_class 3 has no effect: the source has only valid"),
    ("all", {"val_size": 0.2}, "train", "val_size 0.2 has no effect: the source has a validation split; leave it out"),
    ("all", {"val_size": 0.2}, "test", "val_size 0.2 has no effect: the source has a validation split; leave it out"),
    ("made + validation", {"val_size": 0.2}, "train", "val_size 0.2 has no effect: the source has a validation"),
    ("validation + test", {"val_size": 0.2}, "test", "val_size 0.2 has no effect: the source has a validation split"),
    (
        "test",
        {"val_size": 0.2, "shots_per_class": 3},
        "test",
        "val_size 0.2 has no effect: shots_per_class determines the",
    ),
    ("train", {"limit": 10}, "train", "limit of test has no effect: the source has only train, so there is no test"),
    ("train", {"limit": {"validation": 9}, "val_size": 0}, "train", "limit of validation has no effect: the source"),
    ("train + test", {"limit": {"validation": 9}, "val_size": 0}, "test", "limit of validation has no effect"),
    ("test", {"limit": {"train": 9}}, "test", "limit of train has no effect: the source has only test, so there is no"),
    ("validation", {"limit": {"test": 9}}, "validation", "limit of test has no effect"),
    ("validation + test", {"limit": {"train": 9}}, "test", "limit of train has no effect"),
    ("train", {"cleaning": [DropEmpty(("test",))]}, "train", "cleaning: DropEmpty for test has no effect: the source"),
    ("made", {"cleaning": [DropEmpty(("validation",))]}, "train", "DropEmpty for validation .* put train into its"),
    ("test", {"cleaning": [DropEmpty(("validation",))]}, "test", "DropEmpty for validation has no effect: the source"),
]
BAD = [
    ({"limit": 0}, "limit 0 of test is not a number of rows: give a whole number from 1"),
    ({"limit": -3}, "limit -3 of test is not a number of rows"),
    ({"limit": True}, "limit True of test is not a number of rows"),
    ({"limit": {"train": 0}}, "limit 0 of train is not a number of rows"),
    ({"limit": {"train": 1.5}}, "limit 1.5 of train is not a number of rows"),
    ({"limit": {"tset": 5}}, "limit names 'tset', which is not a split: give a number for train, validation, test"),
    ({"limit": {}}, "limit {} names no split"),
    ({"limit_by": "first"}, "limit_by 'first' has no effect without a limit"),
    ({"limit": {"train": 9}, "shots_per_class": 2}, "limit of train 9 and shots_per_class 2 are two ways"),
    ({"seed": -1}, "seed -1 is too small: give 0 or more"),
]


@pytest.mark.parametrize(("shape", "options", "split", "step", "left"), CASES)
def test_an_option_is_in_force_and_in_the_ledger(folders, shape, options, split, step, left):
    data = made(folders, shape, **options)
    assert counts(data, split) == left
    entry = next(entry for entry in data.ledger.entries if entry.split == split and entry.step == step)
    assert entry.rows == sum(left) or step in ("rows read", HELD)
    assert data.rows(split)["id"][:] == sorted(data.rows(split)["id"], key=int)
    for name in data._rows:
        entries = [entry for entry in data.ledger.entries if entry.split == name]
        assert entries[0].rows - sum(entry.dropped for entry in entries) == len(data.rows(name))


@pytest.mark.parametrize(("shape", "options", "split", "words"), REFUSED)
def test_an_option_that_a_source_gives_no_effect_is_refused(folders, shape, options, split, words):
    with pytest.raises(UserError, match=f"^.*{words}") as caught:
        made(folders, shape, **options).rows(split)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("options", "words"), BAD)
def test_a_value_that_is_none_is_refused(options, words):
    with pytest.raises(UserError, match=f"^{words}"):
        FilesDataModule("folder", label_names=NAMES, **options)


@pytest.mark.parametrize(
    ("shape", "limit"),
    [
        ("train", {"train": 9, "validation": 4}),
        ("train + test", {"train": 9, "validation": 4, "test": 9}),
        ("test", {"test": 9}),
        ("all", {"train": 9, "validation": 4, "test": 9}),
        ("made", {"train": 9, "validation": 4, "test": 9}),
        ("validation + test", {"validation": 4, "test": 9}),
    ],
)
def test_the_seed_moves_what_is_learnt_from_and_never_what_is_tested(folders, shape, limit):
    one, two = (made(folders, shape, seed=seed, limit=limit) for seed in (1, 2))
    for split in limit:
        assert (one.rows(split)["id"][:] == two.rows(split)["id"][:]) == (split == "test"), split


def test_the_ledger_names_the_seed_and_each_limit(folders):
    data = made(folders, "train + test", seed=7, limit={"train": 1000, "test": 20})
    for split in ("train", "test"):
        data.rows(split)
    why = {entry.why for entry in data.ledger.entries if entry.step == "limit"}
    assert why == {"1,000 of train, stratified by seed 7", "20 of test, stratified by seed 42"}
    lines = str(data.ledger).splitlines()
    line = next(line for line in lines if line.startswith("limit"))
    assert line.endswith("1,000 of train, stratified by seed 7; 20 of test, stratified by seed 42")
    assert next(line for line in lines if line.startswith("held out")).endswith("val_size 0.1, seed 7")
    first = made(folders, "test", limit=5, limit_by="first")
    first.rows("test")
    assert first.ledger.entries[-1].why == "the first 5 of test"


def test_a_slice_of_a_test_split_that_stands_alone(folders):
    data = made(folders, "test", limit={"train": 4, "test": 10}, val_size=0.2)
    data.reserve_test_rows()
    assert (counts(data, "train"), counts(data, "test")) == ([2, 1, 1], [6, 3, 1])
    taken = [(e.split, e.dropped, e.rows, e.why) for e in data.ledger.entries if e.step == "taken from test"]
    assert taken == [("train", 0, 10, "val_size 0.2, seed 42"), ("test", 10, 40, "val_size 0.2, seed 42")]


@pytest.mark.parametrize(
    ("kind", "files", "read"),
    [
        (FilesDataModule, ("train",), ("train", "validation")),
        (FilesDataModule, ("train", "test"), ("train", "validation", "test")),
        (FilesDataModule, ("test",), ("test",)),
        (FilesDataModule, ("train", "validation", "test"), ("train", "validation", "test")),
        (MadeDataModule, ("train",), ("train", "validation", "test")),
    ],
)
def test_columns_of_other_names_are_read_in_every_split(tmp_path, kind, files, read):
    for split in files:
        columns = {"q": [f"{split} q {i}" for i in range(40)], "a": [f"{split} a {i}" for i in range(40)]}
        pq.write_table(pa.table(columns | {"y": ["n", "p"] * 20}), tmp_path / f"{split}.parquet")
    data = kind(str(tmp_path), text_column="q", text_pair_column="a", label_column="y", label_names=["p", "n"])
    for split in read:
        rows = data.rows(split)
        for text, pair, label in zip(rows["text"], rows["text_pair"], rows["label"], strict=True):
            assert pair == text.replace(" q ", " a ")
            assert label == 1 - int(text.split()[-1]) % 2


def test_a_second_text_is_read_in_every_split_that_is_made(tmp_path):
    names = KorSAEDataModule.label_names
    rows = [(f"문장 {i}", f"내용 {i}", names[i % 6]) for i in range(240)]
    table = {name: [row[i] for row in rows] for i, name in enumerate(("intent_pair1", "intent_pair2", "label"))}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    options = {"data_dir": str(tmp_path), "text_pair_column": "intent_pair2"}
    data = KorSAEDataModule(**options, shots_per_class=3, limit={"validation": 6, "test": 12})
    for split, size in {"train": 18, "validation": 6, "test": 12}.items():
        rows = data.rows(split)
        assert rows["text_pair"][:] == [text.replace("문장", "내용") for text in rows["text"]]
        assert np.bincount(rows["label"]).tolist() == [size // 6] * 6


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_a_sample_is_stratified_and_part_of_a_larger_one(labels, number, seed):
    labels = np.array(labels, dtype=np.int64)
    drawn = draw_sample(labels, number, seed)
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == min(number, len(labels))
    assert set(drawn) <= set(draw_sample(labels, number + 1, seed))
    sizes, taken = np.bincount(labels, minlength=5), np.bincount(labels[drawn], minlength=5)
    if number >= (sizes > 0).sum():
        assert (taken[sizes > 0] > 0).all()
    # No class could give a row to another one, and the shares would be nearer to each other.
    for more in np.flatnonzero(taken > 1):
        assert all((taken[more] - 0.5) / sizes[more] <= (taken[k] + 0.5) / sizes[k] for k in np.flatnonzero(sizes))


# Scored splits that lack a class


@pytest.mark.parametrize(
    ("shape", "options", "split", "line"),
    [
        ("made", {}, "validation", "the validation split has no rows of 'c': each counts 0 in the macro averages"),
        ("all", {"limit": 2}, "test", "the test split has no rows of 'c': each counts 0 in the macro averages"),
        ("all", {"limit": 5, "limit_by": "first"}, "test", "the test split has no rows of 'b', 'c': each counts 0"),
        ("test", {"shots_per_class": 5}, "test", "the test split has no rows of 'c': each counts 0"),
        ("train", {"limit": {"train": 2}}, "train", "the train split has no rows of 'c': a model cannot learn them"),
        ("all", {"limit": {"validation": 3}}, "validation", None),
        ("all", {}, "test", None),
    ],
)
def test_a_split_without_a_class_is_reported(folders, capsys, shape, options, split, line):
    made(folders, shape, **options).rows(split)
    said = [text for text in capsys.readouterr().err.splitlines() if f"{split} split has no rows" in text]
    assert len(said) == (line is not None)
    assert not said or said[0].startswith(f"textclf: {line}")


def test_cleaning_and_the_source_may_leave_out_a_class(tmp_path, capsys):
    pq.write_table(pa.table({"text": ["x", "y", ""], "label": ["a", "b", "c"]}), tmp_path / "test.parquet")
    names = [*NAMES, *(f"more {i}" for i in range(12))]
    FilesDataModule(str(tmp_path), label_names=names, cleaning=[DropEmpty(("test",))]).rows("test")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("textclf: the test split has no rows of 'c', 'more 0', ")
    assert line.endswith("'more 8', 3 more classes: each counts 0 in the macro averages")


# Methods


class ZeroShot(TextClassifier):
    """Has nothing to train."""

    shots = fit = None

    def example_request(self):
        return None if self.shots is None else ExampleRequest(self.shots, 0, bool(self.fit))


class Examples(ZeroShot):
    """Shows rows in its prompts."""

    shots = 4


class NoExamples(ZeroShot):
    """Could show rows, and does not."""

    shots = 0


class Prepared(PreparedClassifier):
    """Is fitted whole."""


class Trained(TextClassifier):
    """Learns by batches, and keeps the sizes of those that it sees."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "evaluation": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append(batch["labels"].tolist())
        return self.weight**2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())

    def log_scores(self, batch):
        self.seen["evaluation"].append(batch["labels"].tolist())
        return torch.zeros(len(batch["text"]), self.num_classes).log_softmax(1)


@pytest.mark.parametrize(
    ("kind", "options", "by_batches"),
    [
        (TfidfClassifier, {}, False),
        (NearestCentroid, {"pretrained": "encoder"}, False),
        (LinearProbe, {"pretrained": "encoder"}, False),
        (LinearProbe, {"pretrained": "encoder", "optimizer": "adamw"}, True),
        (FineTunedClassifier, {"pretrained": "encoder"}, True),
        (EmbeddingZeroShot, {"pretrained": "encoder"}, False),
    ],
)
def test_which_methods_are_trained_by_batches(kind, options, by_batches):
    assert kind(3, NAMES, **options).trains_by_batches == by_batches


SHOTS, BALANCED = {"shots_per_class": 2}, {"balanced": True}


@pytest.mark.parametrize(
    ("kind", "stage", "shape", "options", "words"),
    [
        (Prepared, "fit", "all", BALANCED, "balanced has no effect: Prepared is not trained by batches"),
        (Prepared, "fit", "made", BALANCED, "balanced has no effect: Prepared is not trained by batches"),
        (Trained, "fit", "all", BALANCED, None),
        (Trained, "test", "test", BALANCED, None),
        (Prepared, "test", "all", SHOTS, None),
        (ZeroShot, "test", "all", BALANCED, "balanced has no effect: ZeroShot is not trained"),
        (ZeroShot, "validate", "all", SHOTS, "shots_per_class 2 has no effect: ZeroShot reads no train rows"),
        (ZeroShot, "test", "made", SHOTS, "shots_per_class 2 has no effect: ZeroShot reads no train rows"),
        (NoExamples, "test", "train + test", SHOTS, "shots_per_class 2 has no effect: NoExamples reads no train"),
        (Examples, "test", "train + test", SHOTS, None),
        (ZeroShot, "test", "test", SHOTS, None),  # takes its rows from test, and the ledger shows it
        (ZeroShot, "test", "test", {"val_size": 0.2}, "val_size 0.2 has no effect: there is a test split only"),
        (NoExamples, "test", "test", {"val_size": 0.2}, None),  # of the rows that a prior is fitted to afterwards
        (Trained, "test", "test", {"val_size": 0.2}, None),
    ],
)
def test_an_option_that_a_method_gives_no_effect_is_refused(folders, kind, stage, shape, options, words):
    data, model = made(folders, shape, **options), kind(3, NAMES)
    if words is None:
        return refuse_for_method(data, model, stage)
    with pytest.raises(UserError, match=f"^{words}") as caught:
        refuse_for_method(data, model, stage)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        ("all", {"limit": {"train": 9}}, "limit of train is not used: ZeroShot reads no train rows"),
        (
            "test",
            {"seed": 7},
            "seed 7 of the data is not used: nothing is drawn from the test split alone",
        ),
        (
            "test",
            {"cleaning": [DropEmpty(("train", "validation"))]},
            "cleaning: DropEmpty is for train, validation rows",
        ),
        ("test", {"max_batch_tokens": 99, "batch_size": 8}, "max_batch_tokens 99 is used instead of batch_size 8 and"),
        ("test", {"cleaning": MadeDataModule.recipe}, None),
        ("test", {}, None),
    ],
)
def test_an_option_that_is_not_used_is_reported(folders, capsys, shape, options, line):
    data = made(folders, shape, **options)
    refuse_for_method(data, ZeroShot(3, NAMES), "test")
    data.rows("test")
    said = [text for text in capsys.readouterr().err.splitlines() if text.startswith("textclf: ")]
    assert len(said) == (line is not None)
    assert not said or said[0].startswith(f"textclf: {line}")


# Loaders


@pytest.mark.parametrize(
    ("stage", "shape", "options", "sizes"),
    [
        ("fit", "train", {"batch_size": 40, "val_size": 0}, {40, 24}),
        ("fit", "train + test", {"batch_size": 30, "val_size": 0.5}, {30, 2}),
        ("fit", "made", {"batch_size": 30, "val_size": 0, "max_batch_tokens": 70}, {5, 3}),
        ("fit", "test", {"batch_size": 4, "shots_per_class": 3}, {4, 1}),
        ("test", "test", {"eval_batch_size": 40}, {40, 10}),
        ("test", "all", {"eval_batch_size": 40, "num_workers": 1}, {40, 10}),
        ("test", "made", {"eval_batch_size": 12}, {12, 4}),
        ("validate", "all", {"eval_batch_size": 20}, {20, 12}),
        ("validate", "train", {"eval_batch_size": 4, "val_size": 0.25}, {4}),
        ("validate", "validation", {"max_batch_tokens": 140}, {7, 4}),
    ],
)
def test_batch_options_are_in_force(folders, stage, shape, options, sizes):
    data, model = made(folders, shape, **options), Trained(3, NAMES)
    trainer = Trainer(max_epochs=1, accelerator="cpu", num_sanity_val_steps=0, limit_val_batches=1.0, **QUIET)
    getattr(trainer, stage)(model, datamodule=data, **({} if stage == "fit" else {"verbose": False}))
    seen = model.seen["train" if stage == "fit" else "evaluation"]
    assert {len(batch) for batch in seen} == sizes


@pytest.mark.parametrize("shape", ["train", "train + test", "all", "made", "made + validation"])
def test_balanced_batches(folders, shape):
    data, model = made(folders, shape, balanced=True), Trained(3, NAMES)
    Trainer(max_epochs=1, accelerator="cpu", limit_val_batches=0, **QUIET).fit(model, datamodule=data)
    drawn = np.bincount([label for batch in model.seen["train"] for label in batch], minlength=3)
    assert drawn.max() - drawn.min() <= 1
    assert drawn.sum() == len(data.rows("train"))
