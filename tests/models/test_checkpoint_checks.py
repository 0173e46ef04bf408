"""Checkpoints that anybody may have written: sizes are checked before memory is taken, and entries before use."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from textclf.backbones.tokenizer_files import tokenizer_from_files
from textclf.errors import UserError
from textclf.models import TextClassifier
from textclf.models.checkpoint import read_checkpoint

RUNS = Path(__file__).parents[1] / "run_folders"


def stored(name="fine_tuned"):
    return torch.load(RUNS / name / "checkpoints" / "best.ckpt", weights_only=True)


def written(path, checkpoint):
    torch.save(checkpoint, path)
    return path


def shared(levels):
    value = [0]
    for _ in range(levels):
        value = [value, value]
    return value


def own(**entries):
    def change(checkpoint):
        checkpoint["textclf"].update(entries)

    return change


def argument(**entries):
    def change(checkpoint):
        checkpoint["hyper_parameters"].update(entries)

    return change


def fitted(**entries):
    def change(checkpoint):
        checkpoint["textclf"]["fitted"].update(entries)

    return change


def whole(**entries):
    def change(checkpoint):
        checkpoint.update(entries)

    return change


DAMAGES = [
    ("fine_tuned", whole(hyper_parameters=None), "hyper_parameters"),
    ("fine_tuned", whole(hyper_parameters={1: 2}), "hyper_parameters"),
    ("fine_tuned", whole(hyper_parameters={"x": shared(40)}), "more than 1,000,000 values"),
    (
        "fine_tuned",
        whole(hyper_parameters={"load_options": {"trust_remote_code": True}}),
        r"pass load_options=\{'trust_remote_code': True\}",
    ),
    ("fine_tuned", argument(label_smoothing=None), "arguments 'of the checkpoint'"),
    ("fine_tuned", argument(learning_rate={}), "arguments 'of the checkpoint'"),
    ("fine_tuned", lambda checkpoint: checkpoint["hyper_parameters"].pop("label_names"), "arguments 'of the checkpoi"),
    ("tfidf", argument(max_features=[1]), "arguments 'of the checkpoint'"),
    ("tfidf", argument(char_ngrams={"a": 1, "b": 2}), "arguments 'of the checkpoint'"),
    ("fine_tuned", whole(state_dict=[]), "state_dict"),
    ("fine_tuned", whole(state_dict={"x": torch.zeros(1).expand(10**9)}), "larger than the file"),
    ("fine_tuned", whole(state_dict={"network.classifier.bias": [1.0]}), "does not fit"),
    ("fine_tuned", own(class_path=7), "class_path"),
    ("fine_tuned", own(class_path="os.system"), "which is not imported|not a TextClassifier"),
    ("fine_tuned", own(label_names="ab"), "label_names"),
    ("fine_tuned", own(label_names=[1, 2]), "label_names"),
    ("fine_tuned", own(text_steps=["x"]), "text_steps"),
    ("fine_tuned", own(text_steps=[{"class_path": "os.system", "init_args": {}}]), "os.system.*not a TextStep"),
    ("fine_tuned", own(text_steps=[{"class_path": "textclf.data.StripWhitespace", "init_args": {"x": 1}}]), "state"),
    ("fine_tuned", own(calibrators=[{"class_path": "os.system", "state": {}}]), "os.system.*not a Calibrator"),
    ("fine_tuned", own(calibrators={}), "calibrators"),
    ("fine_tuned", own(temperature="x"), "state 'of the checkpoint'"),
    ("fine_tuned", own(thresholds={"x": 1.0}), "state 'of the checkpoint'"),
    ("fine_tuned", own(data={"class_path": "a.B"}), "data is not"),
    ("fine_tuned", own(data={"class_path": "a.B", "init_args": shared(40)}), "more than 1,000,000 values"),
    ("fine_tuned", fitted(encoder_config="{"), "network 'of the checkpoint'"),
    ("fine_tuned", fitted(encoder_config="[" * 5000), "network 'of the checkpoint'.*levels"),
    ("fine_tuned", fitted(encoder_config=3), "network 'of the checkpoint'"),
    ("fine_tuned", fitted(tokenizer=["x"]), "tokenizer 'of the checkpoint'"),
    ("fine_tuned", fitted(tokenizer={"tokenizer.json": "{"}), "tokenizer 'of the checkpoint'"),
    ("tfidf", fitted(blocks=[1]), "n-grams 'of the checkpoint'"),
    ("tfidf", fitted(coefficients=[1.0]), "n-grams 'of the checkpoint'"),
]


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGES)
def test_a_damaged_checkpoint_is_refused(tmp_path, name, damage, words):
    checkpoint = stored(name)
    damage(checkpoint)
    path = written(tmp_path / "x.ckpt", checkpoint)
    with pytest.raises(UserError, match=words):
        TextClassifier.load_from_checkpoint(path).classify(["a film"])


def test_a_compressed_archive_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "x.ckpt", {**stored("tfidf"), "zeros": torch.zeros(5_000_000)})
    packed = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert packed.stat().st_size < path.stat().st_size / 100
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the archive was read"))
    with pytest.raises(UserError, match=r"announces 20,\d\d\d,\d\d\d, as torch never does"):
        read_checkpoint(packed)


class Command:
    def __reduce__(self):
        return os.system, ("touch escaped",)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("place", ["whole", "hyper_parameters", "callbacks"])
def test_no_code_of_a_checkpoint_is_run(tmp_path, monkeypatch, legacy, place):
    monkeypatch.chdir(tmp_path)
    checkpoint = Command() if place == "whole" else {**stored("tfidf"), place: {"x": Command()}}
    torch.save(checkpoint, "x.ckpt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match="could run code"):
        read_checkpoint("x.ckpt")
    Path("x.ckpt").write_bytes(pickle.dumps(checkpoint))
    with pytest.raises(UserError, match=r"could run code|damaged"):
        read_checkpoint("x.ckpt")
    assert not Path("escaped").exists()


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/b", "..", "", ".", "..\\escaped", "sub/../../escaped"])
def test_files_of_a_tokenizer_stay_in_their_folder(tmp_path, monkeypatch, name):
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "inside"))
    monkeypatch.setattr("tempfile.tempdir", None)
    files = {name: "x", **stored()["textclf"]["fitted"]["tokenizer"]}
    with pytest.raises(UserError, match="is not a plain name"):
        tokenizer_from_files(files)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_code_that_a_tokenizer_names_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = dict(stored()["textclf"]["fitted"]["tokenizer"])
    config = json.loads(files["tokenizer_config.json"])
    config |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    files |= {"tokenizer_config.json": json.dumps(config), "own.py": "open('escaped', 'w')\nclass Own: pass\n"}
    checkpoint = stored()
    checkpoint["textclf"]["fitted"]["tokenizer"] = files
    with pytest.raises(UserError, match="custom code"):
        TextClassifier.load_from_checkpoint(written(tmp_path / "x.ckpt", checkpoint)).classify(["a film"])
    assert not Path("escaped").exists()


def test_bytes_that_are_no_checkpoint(tmp_path):
    content = io.BytesIO()
    torch.save(stored("tfidf"), content)
    for changed in (b"", b"PK\x03\x04", content.getvalue()[:1000], b"\x80\x02" + bytes(100)):
        (tmp_path / "x.ckpt").write_bytes(changed)
        with pytest.raises(UserError, match=r"x\.ckpt"):
            read_checkpoint(tmp_path / "x.ckpt")
