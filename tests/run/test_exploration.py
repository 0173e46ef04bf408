"""An exploration as a whole: rows as in the source, important findings first, a line for what cannot be done."""

import json

import pytest

from tests.findings.splits import invented_texts
from textclf.data import FilesDataModule
from textclf.data.cleaning import DropEmpty, DropNearOverlap, DropOverlap, StripWhitespace
from textclf.errors import UserError
from textclf.findings.finding import KINDS
from textclf.findings.table import as_text
from textclf.models import FineTunedClassifier, LinearProbe, TfidfClassifier
from textclf.run import similar_texts
from textclf.run.exploration import IMPORTANCE, explore

NAMES = ["bad", "good"]


def write(folder, split, texts, labels):
    lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, labels, strict=True)]
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Two splits; half of the good texts of train end in a space."""
    for seed, (split, rows) in enumerate({"train": 200, "test": 80}.items()):
        texts = invented_texts(rows, seed)
        if split == "train":
            texts = [text + " " if index % 4 == 1 else text for index, text in enumerate(texts)]
        write(tmp_path, split, texts, [NAMES[index % 2] for index in range(rows)])
    return tmp_path


def data_of(folder, **arguments):
    return FilesDataModule(str(folder), label_names=NAMES, **arguments)


def test_importance_has_each_kind():
    assert sorted(IMPORTANCE) == sorted(KINDS)


def test_rows_are_those_of_the_source(folder):
    found = explore(data_of(folder), label_errors=False)
    assert found.rows == {"train": 200, "test": 80}
    assert found.splits["train"] == {"bad": 100, "good": 100}
    assert [(finding.kind, finding.remedy) for finding in found.findings] == [
        ("leak", "StripWhitespace"),
        ("odd_characters", "StripWhitespace"),
    ]
    assert found.findings[0].count == 50
    assert "The source has no validation split." in found.notes
    assert any("A classifier tells test from train" in note for note in found.notes)
    text = as_text(found)
    assert "The recipe mends it (StripWhitespace)." in text
    assert "good  100 (50.0%)  40 (50.0%)" in text
    json.dumps(found.as_json())


def test_recipe_without_the_step(folder):
    text = as_text(explore(data_of(folder, cleaning=[]), label_errors=False))
    assert "The cleaning step StripWhitespace mends it; the recipe does not have it." in text
    text = as_text(explore(data_of(folder, cleaning=[StripWhitespace()]), label_errors=False))
    assert "The recipe mends it (StripWhitespace)." in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "split", "steps", "mended"),
    [
        ("empty", "train", [DropEmpty()], True),
        ("empty", "test", [DropEmpty()], False),
        ("empty", "test", [DropEmpty(), DropEmpty(splits=["test"])], True),
        ("empty", "test", [], False),
        ("overlap", "train, test", [DropOverlap()], True),
        ("overlap", "train, test", [DropOverlap(splits=["test"], others=["train"])], False),
        ("overlap", "train, test", [DropOverlap(others=["validation"])], False),
        ("overlap", "train, test", [DropNearOverlap()], False),
    ],
)
def test_what_the_recipe_mends(kind, split, steps, mended, tmp_path):
    texts = invented_texts(40, 0)
    labels = [NAMES[index % 2] for index in range(42)]
    write(tmp_path, "train", [*texts, "", " "], labels)
    write(tmp_path, "test", [*texts[:20], *invented_texts(20, 1), "", " "], labels)
    found = explore(data_of(tmp_path, cleaning=steps), label_errors=False)
    one = next(finding for finding in found.findings if (finding.kind, finding.split) == (kind, split))
    assert one.mended == mended
    text = " ".join(as_text(found).split())
    other = "the recipe has it, but not for" if one.remedy in found.recipe else "the recipe does not have it."
    expected = f"The recipe mends it ({one.remedy})." if mended else f"The cleaning step {one.remedy} mends it; {other}"
    assert expected in text


def test_new_labels(tmp_path):
    """Also of rows that had none; a row that no split has is refused, as in training."""
    write(tmp_path, "train", invented_texts(40, 0), [*(NAMES[index % 2] for index in range(39)), "odd"])
    new = tmp_path / "new.csv"
    lines = ["id,text,relabel", *(f"{row},{invented_texts(40, 0)[row]},good" for row in (0, 39))]
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = explore(data_of(tmp_path, relabel=str(new)), label_errors=False)
    assert found.splits["train"] == {"bad": 19, "good": 21}
    new.write_text("id,text,relabel\n7,some other text,good\n", encoding="utf-8")
    with pytest.raises(UserError, match="1 of 1 relabelled rows are in no split"):
        explore(data_of(tmp_path, relabel=str(new)), label_errors=False)


def test_limit(folder):
    found = explore(data_of(folder, limit={"train": 60}), label_errors=False)
    assert found.rows == {"train": 60, "test": 80}
    assert found.splits["train"] == {"bad": 30, "good": 30}
    assert "train: looked at 60 rows of 200 (limit)." in found.notes
    first = explore(data_of(folder, limit={"train": 40, "test": 40}, limit_by="first"), label_errors=False)
    assert first.rows == {"train": 40, "test": 40}


def test_tokens_of_the_configured_method(folder, tiny_encoder):
    model = FineTunedClassifier(2, NAMES, pretrained=str(tiny_encoder), max_length=12)
    found = explore(data_of(folder), model, label_errors=False)
    assert {"tokens"} < {lengths.unit for lengths in found.lengths}
    (cut,) = [finding for finding in found.findings if finding.kind == "cut" and finding.split == "train"]
    assert cut.count > 100
    assert "longer than max_length 12" in cut.detail


@pytest.mark.parametrize(
    ("pretrained", "part"), [("./nowhere", "'./nowhere' does not exist"), (None, "name a method that has a tokenizer")]
)
def test_without_a_tokenizer_all_else_is_shown(folder, pretrained, part):
    model = TfidfClassifier(2, NAMES)
    if pretrained:
        model = FineTunedClassifier(2, NAMES, pretrained=pretrained)
    found = explore(data_of(folder), model, label_errors=False)
    assert [finding.kind for finding in found.findings] == ["leak", "odd_characters"]
    (note,) = [note for note in found.notes if "Tokens were not counted" in note]
    assert part in note
    assert "\n" not in note


def test_rows_without_a_valid_label(folder):
    write(folder, "test", invented_texts(60, 5), ["good"] * 28 + ["", "unheard"] + ["bad"] * 30)
    found = explore(data_of(folder), label_errors=False)
    assert found.rows["test"] == 60
    assert found.splits["test"] == {"bad": 30, "good": 28}
    (note,) = [note for note in found.notes if "have no label" in note]
    assert note.startswith("test: 2 rows of 60 have no label, or none of the classes, first the one with the id '28'")


def test_only_a_test_split(tmp_path):
    write(tmp_path, "test", invented_texts(60, 5), NAMES * 30)
    found = explore(data_of(tmp_path), label_errors=False)
    assert found.findings == ()
    assert "The source has no train and no validation split." in found.notes


def test_no_rows(tmp_path):
    with pytest.raises(UserError, match=r"has no rows: add train\."):
        explore(data_of(tmp_path))


def test_label_errors(folder):
    wrong = ["a dull film, awful and boring"] * 2
    texts = [f"a great film, wonderful {text}" for text in invented_texts(60, 1)]
    texts += [f"a dull film, awful {text}" for text in invented_texts(60, 2)]
    write(folder, "train", [*texts, *wrong], ["good"] * 60 + ["bad"] * 60 + ["good"] * 2)
    found = explore(data_of(folder))
    (errors,) = [one for one in found.findings if one.kind == "label_error" and one.split == "train"]
    assert {"120", "121"} <= set(errors.rows)


def test_rows_that_occur_more_than_once(folder):
    texts = [*invented_texts(60, 7), "  ", *invented_texts(2, 1), invented_texts(1, 7)[0].upper() + "!"]
    write(folder, "train", texts, [NAMES[index % 2] for index in range(64)])
    found = {finding.kind: finding for finding in explore(data_of(folder), label_errors=False).findings}
    assert found["empty"].rows == ("60",)
    assert found["overlap"].rows == ("0", "1")
    assert found["near_repeat"].rows == ("0", "63")
    assert found["near_repeat"].remedy == "DropNearRepeats"


def test_similar_embeddings(folder, tiny_encoder, monkeypatch):
    texts = invented_texts(20, 7)
    write(folder, "train", [*texts, texts[3] + " " + texts[3]], [NAMES[index % 2] for index in range(21)])
    model = LinearProbe(2, NAMES, pretrained=str(tiny_encoder), max_length=64)
    found = explore(data_of(folder), model, label_errors=False, similar=True).findings
    (similar,) = [one for one in found if one.kind == "near_repeat" and "cosine" in one.detail and one.split == "train"]
    assert {"3", "20"} <= set(similar.rows)
    assert similar.remedy is None
    monkeypatch.setattr(similar_texts, "MOST_ROWS", 100)
    notes = explore(data_of(folder), model, label_errors=False, similar=True).notes
    assert any("Embeddings were not compared: the embeddings of 101 rows would be compared" in note for note in notes)


@pytest.mark.parametrize("model", [None, TfidfClassifier(2, NAMES)])
def test_similar_without_embeddings(folder, model):
    with pytest.raises(UserError, match=r"add --config configs/model/linear_probe\.yaml"):
        explore(data_of(folder), model, label_errors=False, similar=True)
