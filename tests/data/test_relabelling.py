"""New labels from the CSV file that the page of a report saves: `data.relabel`, and the file as a split."""

import csv
import json

import pytest

from textclf import run_experiment
from textclf.data import FilesDataModule, TextDataModule
from textclf.data.relabelling import without_quote
from textclf.errors import UserError
from textclf.models import TfidfClassifier

NAMES = ["negative", "positive"]


def saved_by_page(path, rows, answers):
    """Writes a CSV file as the page does: a byte-order mark, all cells quoted, a quote before a formula."""
    columns = ["id", "text", *(["text_pair"] if "text_pair" in rows[0] else []), "label", "prediction", "relabel"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            cells = {"prediction": "positive", "relabel": answers.get(row["id"], "")} | row
            writer.writerow(
                [f"'{cell}" if cell.startswith(tuple("=+-@'")) else cell for cell in map(cells.get, columns)]
            )
    return str(path)


def rows_of(data, split):
    return [{"id": row["id"], "text": row["text"], "label": data.label_names[row["label"]]} for row in data.rows(split)]


def other(label):
    return NAMES[1 - NAMES.index(label)]


def entries(data, split):
    return [
        (entry.changed, entry.dropped)
        for entry in data.ledger.entries
        if (entry.split, entry.step) == (split, "relabel")
    ]


@pytest.fixture
def page(rows_folder, tmp_path):
    """The file of a page of the test split with ten answers, and these."""
    rows = rows_of(FilesDataModule(str(rows_folder)), "test")
    answers = {row["id"]: other(row["label"]) for row in rows[::2][:10]}
    return saved_by_page(tmp_path / "rows.csv", rows, answers), answers


def test_the_rows_of_a_page_get_their_new_labels(rows_folder, page):
    path, answers = page
    before = rows_of(FilesDataModule(str(rows_folder)), "test")
    data = FilesDataModule(str(rows_folder), relabel=path)
    after = rows_of(data, "test")
    assert after == [row | {"label": answers.get(row["id"], row["label"])} for row in before]
    assert entries(data, "test") == [(10, 0)]
    assert "relabel" in str(data.ledger)
    assert rows_of(data, "train") == rows_of(FilesDataModule(str(rows_folder)), "train")  # the same ids, other texts
    assert entries(data, "train") == []


@pytest.mark.slow
def test_a_run_is_trained_on_relabelled_rows_and_counts_them(rows_folder, tmp_path):
    data = FilesDataModule(str(rows_folder), val_size=0)
    rows = rows_of(data, "train")
    answers = {row["id"]: other(row["label"]) for row in rows[5:15]}
    saved_by_page(tmp_path / "train.csv", rows, answers)
    (tmp_path / "test.csv").write_text((rows_folder / "test.csv").read_text())
    data = FilesDataModule(str(tmp_path), val_size=0)
    model = TfidfClassifier(data.num_classes, data.label_names, min_df=1)
    run_experiment(model, data, run_dir=tmp_path / "run")
    assert [row["label"] for row in rows_of(data, "train")] == [answers.get(row["id"], row["label"]) for row in rows]
    with (tmp_path / "run/cleaning.csv").open() as file:
        counted = [row for row in csv.DictReader(file) if row["step"] == "relabel"]
    assert [(row["split"], row["changed"], row["dropped"]) for row in counted] == [("train", "10", "0")]


def test_both_texts_of_a_pair_are_compared(tmp_path):
    rows = [{"id": "0", "text": "a text", "text_pair": f"pair {i}", "label": NAMES[i % 2]} for i in range(4)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = saved_by_page(tmp_path / "rows.csv", rows[2:3], {"0": "positive"})
    data = FilesDataModule(str(tmp_path), text_pair_column="text_pair", relabel=path)
    assert list(data.rows("test")["label"]) == [0, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["=1+1", "-3 stars", "@me so good", "+", "'=quoted", "it's fine", "  two  words ", "a\nb"]
)
def test_texts_survive_spreadsheets_and_pages(tmp_path, text):
    rows = [{"id": f"-{i}", "text": text if i == 1 else f"text {i}", "label": NAMES[i % 2]} for i in range(4)]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = saved_by_page(tmp_path / "page.csv", rows, {"-1": "negative"})
    data = FilesDataModule(str(tmp_path / "rows"), relabel=path, cleaning=[])
    assert list(data.rows("test")["label"]) == [0, 0, 0, 1]
    (tmp_path / "again").mkdir()
    saved_by_page(tmp_path / "again/test.csv", rows, {"-1": "negative"})
    again = FilesDataModule(str(tmp_path / "again"), cleaning=[]).rows("test")
    assert (again["id"][1], again["text"][1], again["label"][1]) == ("-1", text, 0)


def test_texts_of_other_files_keep_their_quotes(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\n'=1+1,a\nother,b\n")
    assert FilesDataModule(str(tmp_path)).rows("test")["text"][0] == "'=1+1"


class Hub(TextDataModule):
    label_names = ("dry", "wet")
    row_labels = (0, 1) * 10

    def source_splits(self):
        return ("train", "test")

    def load_split(self, split):
        return [{"text": f"{split} {i}", "label": label} for i, label in enumerate(self.row_labels)]


@pytest.mark.parametrize("options", [{}, {"val_size": 0.5}, {"folds": 2, "fold": 1}, {"cleaning": []}], ids=str)
def test_any_data_set_and_any_division_of_it_can_be_relabelled(tmp_path, options):
    path = saved_by_page(tmp_path / "rows.csv", [{"id": "2", "text": "train 2", "label": "dry"}], {"2": "wet"})
    data = Hub(relabel=path, **options)
    splits = [split for split in ("train", "validation", "test") if data.has_split(split)]
    labels = {row["text"]: row["label"] for split in splits for row in data.rows(split)}
    assert labels["train 2"] == 1
    assert sum(entry.changed for entry in data.ledger.entries if entry.step == "relabel") == 1


def test_the_rows_of_folds_do_not_depend_on_new_labels(tmp_path):
    path = saved_by_page(tmp_path / "rows.csv", [{"id": "2", "text": "train 2", "label": "dry"}], {"2": "wet"})
    texts = [list(Hub(folds=2, fold=0, cleaning=[], **more).rows("test")["text"]) for more in ({}, {"relabel": path})]
    assert texts[0] == texts[1]


def test_an_exploration_sees_new_labels(rows_folder, page, tmp_path):
    path, answers = page
    data = FilesDataModule(str(rows_folder), relabel=path)
    before = FilesDataModule(str(rows_folder)).source_rows("test")
    after = data.source_rows("test")
    assert after.column_names == before.column_names
    for old, new in zip(before, after, strict=True):
        assert data.label_names[new["label"]] == answers.get(old["id"], data.label_names[old["label"]])
    assert FilesDataModule(str(rows_folder)).source_rows("train")["label"][:] == data.source_rows("train")["label"][:]


def test_labels_that_are_the_same_are_not_counted_as_changed(rows_folder, tmp_path):
    rows = rows_of(FilesDataModule(str(rows_folder)), "test")
    answers = {row["id"]: row["label"] for row in rows[:5]} | {row["id"]: other(row["label"]) for row in rows[5:7]}
    data = FilesDataModule(str(rows_folder), relabel=saved_by_page(tmp_path / "rows.csv", rows, answers))
    assert rows_of(data, "test") == [row | {"label": answers.get(row["id"], row["label"])} for row in rows]
    (entry,) = [entry for entry in data.ledger.entries if entry.step == "relabel"]
    assert (entry.split, entry.changed, entry.why) == ("test", 2, "new labels; 5 more are as before")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["id,text,relabel", "0,train 0,wett"],
            r"row 0 .* has the new label 'wett': known are 'dry', 'wet' \(did you mean",
        ),
        (["id,text,label", "0,train 0,dry"], "has no column 'relabel': it has id, text, label"),
        (["text,relabel", "train 0,dry"], "has no column 'id'"),
        (
            ["id,text,relabel", "0,another text,dry"],
            "1 of 1 relabelled rows are in no split, such as with the id '0' and",
        ),
        (["id,text,relabel", "9,train 0,dry", "1,train 1,dry"], "1 of 2 relabelled rows are in no split"),
        (["id,text,relabel", "0,train 0,dry", "0,train 0,wet"], "two new labels of the row with the id '0'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, lines, message):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message):
        Hub(relabel=str(path)).rows("test")


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Hub(relabel=str(tmp_path / "rows.csv")).rows("test")


def test_a_file_without_answers_changes_nothing_and_says_so(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("id,text,relabel\n0,train 0,\n1,train 1,  \n")
    assert list(Hub(relabel=str(tmp_path / "rows.csv")).rows("test")["label"]) == list(Hub.row_labels)
    assert "has no new labels" in capsys.readouterr().err


def test_a_column_of_another_meaning_can_be_left_out(tmp_path):
    (tmp_path / "test.csv").write_text("text,label,relabel\none,a,yes\ntwo,b,no\n")
    with pytest.raises(UserError, match=r"column 'relabel' of the test split: row 0 .* has the new label 'yes'"):
        FilesDataModule(str(tmp_path)).rows("test")
    assert list(FilesDataModule(str(tmp_path), relabel_column=None).rows("test")["label"]) == [0, 1]


@pytest.mark.parametrize(
    ("cell", "text"), [("'=1", "=1"), ("''=1", "'=1"), ("'quoted'", "'quoted'"), ("=1", "=1"), ("", ""), ("'＝", "＝")]
)
def test_one_quote_is_taken_from_a_formula(cell, text):
    assert without_quote(cell) == text
