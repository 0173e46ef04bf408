"""From a source to the rows of its splits."""

import csv

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer

from textclf.data import FilesDataModule, KorSAEDataModule, YNATDataModule
from textclf.data.cleaning import (
    DropEmpty,
    DropOverlap,
    DropRepeats,
    DropUnknownLabels,
    ResolveConflicts,
    StripWhitespace,
)
from textclf.data.ledger import READ, Ledger
from textclf.data.splitting import SPLITS
from textclf.errors import UserError
from textclf.hashing import rows_hash, short_hash
from textclf.models import TextClassifier

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def write(path, rows, columns=("text", "label")):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)}), path)


def steps(ledger, split):
    return {entry.step: (entry.changed, entry.dropped) for entry in ledger.entries if entry.split == split}


def balance(data):
    """Rows read or received, less all rows that the ledger counts as dropped, are the rows that are there."""
    for split in data._rows:
        entries = [entry for entry in data.ledger.entries if entry.split == split]
        assert [entry.first for entry in entries] == [True] + [False] * (len(entries) - 1)
        assert entries[0].rows - sum(entry.dropped for entry in entries) == entries[-1].rows == len(data._rows[split])


TRAIN = [
    ("a ", "n"),
    ("a", "n"),
    ("b", "n"),
    ("b", "p"),
    ("", "p"),
    ("seen", "p"),
    *((f"x{i}", "np"[i % 2]) for i in range(40)),
]
TEST = [("seen", "n"), ("", "p"), ("", "p"), ("t", "n"), ("t", "p"), ("last", "p")]


def test_each_text_is_hashed_once(tmp_path, monkeypatch):
    write(tmp_path / "train.parquet", TRAIN)
    write(tmp_path / "test.parquet", TEST)
    hashed = []
    monkeypatch.setattr("textclf.data.columns.short_hash", lambda text: hashed.append(text) or short_hash(text))
    data = FilesDataModule(str(tmp_path), val_size=0.25)
    for split in SPLITS:
        data.rows(split)
    assert len(hashed) == len(TRAIN) + len(TEST)


def test_default_cleaning_is_counted_and_spares_the_test_split(tmp_path):
    write(tmp_path / "train.parquet", TRAIN)
    write(tmp_path / "test.parquet", TEST)
    data = FilesDataModule(str(tmp_path), val_size=0.25)
    assert data.rows("test")["text"][:] == [text for text, _ in TEST]
    train, validation = data.rows("train"), data.rows("validation")
    assert (len(train), len(validation)) == (31, 10)
    assert sorted([*train["text"], *validation["text"]]) == sorted(["a", *(f"x{i}" for i in range(40))])
    assert "0" in [*train["id"], *validation["id"]]  # numbered before cleaning
    assert steps(data.ledger, "train") == {
        "rows read": (0, 0),
        "NormalizeUnicode": (0, 0),
        "RemoveControlCharacters": (0, 0),
        "StripWhitespace": (1, 0),
        "DropEmpty": (0, 1),
        "ResolveConflicts": (0, 2),
        "DropRepeats": (0, 1),
        "DropOverlap": (0, 1),
        "held out for validation": (0, 10),
    }
    balance(data)
    table = str(data.ledger).splitlines()
    assert table[0].split() == ["train", "validation", "test"]
    assert table[1].split() == ["rows", "read", "46", "6"]
    assert [line.split()[0] for line in table[2:6]] == [
        *("StripWhitespace", "DropEmpty", "ResolveConflicts", "DropRepeats")
    ]
    assert table[-3].split()[:6] == ["held", "out", "for", "validation", "-10", "10"]
    assert table[-2].split() == ["rows", "used", "31", "10", "6"]
    assert table[-1] == "without effect: NormalizeUnicode, RemoveControlCharacters"


def test_a_table_of_what_is_new():
    ledger = Ledger()
    for split, step, rows in (("train", READ, 9), ("test", READ, 5), ("test", "limit", 2), ("test", "Idle", 2)):
        ledger.add(split, step, rows, why="a reason")
    assert ledger.table(since=2).splitlines() == [
        "           test",
        "limit        -3  a reason",
        "rows used     2",
        "without effect: Idle",
    ]


def test_no_cleaning_keeps_all(tmp_path):
    write(tmp_path / "train.parquet", TRAIN)
    data = FilesDataModule(str(tmp_path), val_size=0, cleaning=[])
    assert data.rows("train")["text"][:] == [text for text, _ in TRAIN]


def test_a_recipe_may_drop_test_rows(tmp_path):
    write(tmp_path / "train.parquet", TRAIN)
    write(tmp_path / "test.parquet", TEST)
    both = ("train", "test")
    recipe = [DropEmpty(both), ResolveConflicts(both, "keep_first"), DropRepeats(both)]
    data = FilesDataModule(str(tmp_path), val_size=0, cleaning=recipe)
    assert data.rows("test")["text"][:] == ["seen", "t", "last"]
    assert data.rows("train")["text"][:5] == ["a ", "a", "b", "seen", "x0"]
    balance(data)


def test_unknown_labels_are_refused_or_dropped(tmp_path):
    write(tmp_path / "train.parquet", [*TRAIN, ("odd", "?")])
    names = {"label_names": ["n", "p"], "val_size": 0}
    with pytest.raises(UserError, match=r"row 46 has the label '\?'"):
        FilesDataModule(str(tmp_path), **names).rows("train")
    data = FilesDataModule(str(tmp_path), **names, cleaning=[DropUnknownLabels()])
    assert len(data.rows("train")) == 46
    assert steps(data.ledger, "train")["DropUnknownLabels"] == (0, 1)


def test_cleaning_that_leaves_nothing(tmp_path):
    write(tmp_path / "train.parquet", [("a", "n"), ("a", "p")])
    with pytest.raises(UserError, match="cleaning leaves none of the 2 rows of the 'train' split"):
        FilesDataModule(str(tmp_path), val_size=0).rows("train")


def test_recipe_is_part_of_what_is_cached(tmp_path):
    write(tmp_path / "train.parquet", TRAIN)

    def print_of(**options):
        return rows_hash(FilesDataModule(str(tmp_path), val_size=0, **options).rows("train"))

    assert print_of() == print_of() != print_of(cleaning=[])
    assert print_of(cleaning=[StripWhitespace()]) != print_of(cleaning=[])


# A test split that is made here


def kor_sae(folder, **options):
    names = KorSAEDataModule.label_names
    rows = [(f"문장 {i // 2}" if i % 7 == 0 else f"말 {i}", f"내용 {i}", names[min(i % 11, 5)]) for i in range(330)]
    write(folder / "train.parquet", rows, ("intent_pair1", "intent_pair2", "label"))
    return KorSAEDataModule(data_dir=str(folder), **options)


def test_a_test_split_is_made_by_stratum_and_moves_with_nothing(tmp_path):
    data = kor_sae(tmp_path)
    splits = {split: data.rows(split) for split in SPLITS}
    texts = {split: set(rows["text"]) for split, rows in splits.items()}
    assert (
        not texts["train"] & texts["test"] | texts["train"] & texts["validation"] | texts["validation"] & texts["test"]
    )
    assert abs(len(splits["test"]) - 66) <= 3
    assert min(np.bincount(splits["test"]["label"], minlength=6)) >= 4
    balance(data)
    for options in ({"seed": 7}, {"cleaning": []}, {"val_size": 0.5}):
        assert kor_sae(tmp_path, **options).rows("test")["id"][:] == splits["test"]["id"][:]


def test_the_second_text_is_read_where_it_is_asked_for(tmp_path):
    assert "text_pair" not in kor_sae(tmp_path).rows("train").column_names
    rows = kor_sae(tmp_path, text_pair_column="intent_pair2").rows("test")
    assert rows["text_pair"][0] == f"내용 {rows['id'][0]}"


def test_a_made_test_split_gives_way_to_one_that_is_there(tmp_path):
    write(tmp_path / "test.parquet", [("하나", "둘", 1)], ("intent_pair1", "intent_pair2", "label"))
    data = kor_sae(tmp_path)
    assert data.rows("test")["text"][:] == ["하나"]
    assert len(data.rows("train")) + len(data.rows("validation")) > 250


def test_the_source_may_call_a_split_otherwise(tmp_path):
    for split in ("train", "validation"):
        rows = [(f"{split}{i}", f"{split} 제목 {i}", i % 7) for i in range(70)]
        write(tmp_path / f"{split}.parquet", rows, ("guid", "title", "label"))
    data = YNATDataModule(data_dir=str(tmp_path))
    assert data.source_splits() == ("train", "test")
    assert data.rows("test")["id"][0] == "validation0"
    assert len(data.rows("validation")) == 7
    assert data.rows("validation")["id"][0].startswith("train")


# Few rows


def test_shots_are_balanced_seeded_and_nested(tmp_path):
    write(tmp_path / "train.parquet", [(f"x{i}", "np"[i % 3 == 0]) for i in range(90)])

    def shots(k, **options):
        data = FilesDataModule(str(tmp_path), shots_per_class=k, **options)
        rows = data.rows("train")
        assert len(data.rows("validation")) == 9
        assert np.bincount(rows["label"]).tolist() == [k, k]
        balance(data)
        return set(rows["id"])

    assert shots(3) < shots(5) < shots(20)
    assert shots(3) == shots(3) != shots(3, seed=1)
    with pytest.raises(UserError, match="shots_per_class 28 is more than the 27 rows of 'p'"):
        shots(28)


def test_shots_come_from_a_test_split_that_stands_alone(tmp_path, capsys):
    rows = [(f"x{i}", "np"[i % 2]) for i in range(60)] + [("twice", "n"), ("twice", "p"), ("", "n")]
    write(tmp_path / "test.parquet", rows)
    with pytest.raises(UserError, match=r"no 'train' split: .*pass --data.shots_per_class to train on a few rows"):
        FilesDataModule(str(tmp_path)).rows("train")
    data = FilesDataModule(str(tmp_path), shots_per_class=5)
    train, test = data.rows("train"), data.rows("test")
    assert np.bincount(train["label"]).tolist() == [5, 5]
    assert not set(train["id"]) & set(test["id"])
    assert len(train) + len(test) == 63
    assert not {"twice", ""} & set(train["text"])
    assert not data.has_split("validation")
    assert "10 rows of the test split are reserved for training, and are not scored" in capsys.readouterr().err
    balance(data)
    assert len(FilesDataModule(str(tmp_path)).rows("test")) == 63


# Whatever the texts are


class Letters(TextClassifier):
    """Keeps what it is given."""

    def encode(self, rows):
        return {"length": [1 + len(text) % 5 for text in rows["text"]]}

    def collate(self, rows):
        return {"text": rows["text"]}

    def log_scores(self, batch):
        import torch

        self.seen.append(batch)
        return torch.zeros(len(batch["text"]), self.num_classes).log_softmax(1)


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
MIXED = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(["", " ", "같은 글", "같은 글 ", "\ufeff같은 글", "NA", '"', "a\nb", "한", "\x85"]),
            st.text(CHARACTERS, max_size=12),
        ),
        st.sampled_from(["n", "p"]),
    ),
    min_size=1,
    max_size=25,
)
RECIPES = st.lists(
    st.sampled_from(
        [
            DropEmpty(SPLITS),
            ResolveConflicts(SPLITS, "keep_first"),
            DropRepeats(SPLITS),
            DropOverlap(("train",), ("test",)),
        ]
    ),
    unique=True,
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=MIXED, test=MIXED, tail=RECIPES, strip=st.booleans(), suffix=st.sampled_from(["parquet", "csv", "jsonl"]))
def test_any_texts_survive_to_the_batches_and_none_is_dropped_uncounted(
    train, test, tail, strip, suffix, tmp_path_factory
):
    from datasets import Dataset

    train, test = [("글로 된 글", "n"), *train], [("또 하나", "p"), *test]  # texts that are all numbers are refused
    folder = tmp_path_factory.mktemp("mixed")
    for split, rows in (("train", train), ("test", test)):
        path = folder / f"{split}.{suffix}"
        if suffix == "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
        else:
            table = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
            table.to_parquet(path) if suffix == "parquet" else table.to_json(path, force_ascii=False)
    recipe = [*([StripWhitespace()] if strip else []), *tail]
    data = FilesDataModule(str(folder), label_names=["n", "p"], val_size=0, eval_batch_size=4, cleaning=recipe)
    model = Letters(2, ["n", "p"])
    model.seen = []
    expected = {}
    for split, rows in (("train", train), ("test", test)):
        expected[split] = by_hand(rows, recipe, split, {text.strip() if strip else text for text, _ in test})
        got = data.rows(split)
        assert list(zip(got["id"], got["text"], got["label"], strict=True)) == expected[split]
    balance(data)
    Trainer(accelerator="cpu", **QUIET).test(model, datamodule=data, verbose=False)
    seen = {
        row: (id_, text, label)
        for batch in model.seen
        for row, id_, text, label in zip(
            batch["row"].tolist(), batch["id"], batch["text"], batch["labels"].tolist(), strict=True
        )
    }
    assert [seen[i] for i in range(len(seen))] == expected["test"]


def by_hand(rows, recipe, split, test_texts):
    kept = [
        (str(i), text.strip() if StripWhitespace() in recipe else text, "np".index(label))
        for i, (text, label) in enumerate(rows)
    ]
    for step in recipe:
        if isinstance(step, DropEmpty):
            kept = [row for row in kept if row[1].strip()]
        elif isinstance(step, ResolveConflicts):
            first = {}
            for _, text, label in kept:
                first.setdefault(text, label)
            kept = [row for row in kept if row[2] == first[row[1]]]
        elif isinstance(step, DropRepeats):
            seen = set()
            kept = [row for row in kept if not (row[1:] in seen or seen.add(row[1:]))]
        elif isinstance(step, DropOverlap) and split == "train":
            kept = [row for row in kept if row[1] not in test_texts]
    return kept
