"""The linear probe against scikit-learn, and through the command line."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from lightning.pytorch import Trainer
from sklearn.linear_model import LogisticRegression

from tests.models.contract import MethodContract
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.hub import cache_folder
from textclf.models import LinearProbe, TextClassifier
from textclf.models.embedding import features

SIX = tuple("abcdef")


def blobs(classes, rows=600, dimension=24, seed=0):
    """Vectors of length 1 around a mean of each class, rare classes among them, in float32."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    vectors = draw.normal(size=(classes, dimension))[labels] + 2 * draw.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


class Rows(torch.utils.data.Dataset):
    """Batches of vectors, as a data module would give them."""

    def __init__(self, vectors, labels):
        self.vectors, self.labels = torch.from_numpy(vectors), torch.from_numpy(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        return {"embeddings": self.vectors[place], "labels": self.labels[place], "row": place}


def fitted(vectors, labels, classes, epochs=1, precision="32-true", counted=None, **arguments):
    """A probe that Lightning has trained on mini-batches of the rows; `counted` are the labels of all there are."""
    model = LinearProbe(classes, SIX[:classes], **arguments)
    counts = np.bincount(labels if counted is None else counted, minlength=classes).tolist()
    model.fitted = {"encoder": "none", "features": vectors.shape[1], "class_counts": counts}
    trainer = Trainer(
        max_epochs=epochs,
        precision=precision,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(Rows(vectors, labels), batch_size=50, shuffle=True))
    return model.eval()


def oracle(vectors, labels, C=1.0, weights=None):
    regression = LogisticRegression(C=C, class_weight=weights, tol=1e-10, max_iter=10_000)
    return regression.fit(vectors.astype(np.float64), labels)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_the_optimum_is_that_of_scikit_learn(classes, C, precision):
    vectors, labels = blobs(classes)
    unseen, _ = blobs(classes, seed=1)
    model, expected = fitted(vectors, labels, classes, C=C, precision=precision), oracle(vectors, labels, C)
    assert model.weights.shape == expected.coef_.shape
    np.testing.assert_allclose(model.weights.detach(), expected.coef_, rtol=0, atol=1e-3)
    scores = model.log_scores({"embeddings": torch.from_numpy(unseen)}).detach()
    assert scores.dtype == torch.float64
    assert np.array_equal(scores.argmax(dim=1), expected.predict(unseen))
    np.testing.assert_allclose(scores, expected.predict_log_proba(unseen), rtol=0, atol=1e-3)


@pytest.mark.parametrize("ours", ["balanced", {"a": 5.0, "c": 0.5}])
def test_class_weights(ours):
    vectors, labels = blobs(3)
    theirs = ours if ours == "balanced" else {0: 5.0, 1: 1.0, 2: 0.5}
    model, expected = fitted(vectors, labels, 3, class_weights=ours), oracle(vectors, labels, weights=theirs)
    np.testing.assert_allclose(model.weights.detach(), expected.coef_, rtol=0, atol=1e-3)


@pytest.mark.parametrize("present", [2, 3])
def test_a_class_without_rows_has_the_probability_0(present):
    vectors, labels = blobs(present)
    labels = labels + (labels > 0)  # class 1 has none
    model, expected = fitted(vectors, labels, present + 1), oracle(vectors, labels)
    scores = model.log_scores({"embeddings": torch.from_numpy(vectors)}).detach()
    assert (scores[:, 1] == -torch.inf).all()
    np.testing.assert_allclose(scores[:, expected.classes_], expected.predict_log_proba(vectors), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_adamw_comes_near_the_same_optimum():
    vectors, labels = blobs(3)
    model = fitted(vectors, labels, 3, epochs=60, optimizer="adamw", learning_rate=0.1)
    expected = oracle(vectors, labels)
    scores = model.log_scores({"embeddings": torch.from_numpy(vectors)}).detach()
    assert (scores.argmax(dim=1).numpy() == expected.predict(vectors)).mean() > 0.99
    np.testing.assert_allclose(model.weights.detach(), expected.coef_, rtol=0, atol=0.02)


def test_the_penalty_is_of_the_rows_that_were_given(capsys):
    vectors, labels = blobs(3)
    model = fitted(vectors[:200], labels[:200], 3, counted=labels)
    np.testing.assert_allclose(model.weights.detach(), oracle(vectors[:200], labels[:200]).coef_, rtol=0, atol=1e-3)
    assert "given 200 of 600 train rows" in capsys.readouterr().err
    fitted(vectors, labels, 3)
    assert "train rows" not in capsys.readouterr().err


def test_scores_keep_the_precision_of_the_weights():
    vectors, labels = blobs(3)
    model = fitted(vectors, labels, 3, C=1e5)
    weights, intercepts = model.weights.detach().numpy(), model.intercepts.detach().numpy()
    exact = vectors.astype(np.float64) @ weights.T + intercepts
    np.testing.assert_allclose(model(torch.from_numpy(vectors)).detach(), exact, rtol=1e-12, atol=1e-12)


def test_too_few_iterations_are_said(capsys):
    vectors, labels = blobs(3)
    fitted(vectors, labels, 3, C=1000.0, max_iterations=2)
    assert "not converged at C 1000" in capsys.readouterr().err


def test_the_features_of_a_pair_are_of_both_and_of_how_they_differ():
    a, b = np.array([1.0, -2.0], dtype=np.float32), np.array([3.0, 0.5], dtype=np.float32)
    assert features([a, b]).tolist() == [1, -2, 3, 0.5, 2, 2.5, 3, -1]
    assert features([a]) is a


# Through the command line


@pytest.fixture
def options(tiny_encoder, rows_folder, tmp_path):
    config = {
        "model": {"class_path": "LinearProbe", "init_args": {"pretrained": str(tiny_encoder)}},
        "data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(rows_folder)}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "precision": "32-true", "logger": False},
    }
    (tmp_path / "probe.yaml").write_text(yaml.safe_dump(config))
    return ["--config", str(tmp_path / "probe.yaml"), "--run_dir", str(tmp_path / "run")]


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_fit_test_predict_without_the_encoder_in_the_checkpoint(options, tiny_encoder, rows_folder, tmp_path):
    main(["fit", *options, "--model.embedding", "{dtype: float32}", "--model.C", "10"])
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert set(torch.load(checkpoint, weights_only=True)["state_dict"]) == {"weights", "intercepts"}
    model = TextClassifier.load_from_checkpoint(checkpoint)
    answers = model.classify(table.texts)
    assert [a["label"] for a in answers] == [table.label_names[p] for p in table.predictions]
    rows = FilesDataModule(str(rows_folder)).rows("train")
    encoder = Embedder(str(tiny_encoder), None, model.settings)
    expected = oracle(encoder.matrix(list(rows["text"])), np.array(rows["label"]), C=10.0)
    np.testing.assert_allclose(model.weights.detach(), expected.coef_, rtol=0, atol=1e-3)
    assert np.array_equal(table.predictions, expected.predict(encoder.matrix(table.texts)))


def test_validation_chooses_among_several_C(options, tiny_encoder, rows_folder, tmp_path, capsys):
    grid = ["--model.C", "[100.0, 0.0001, 1.0]", "--model.embedding", "{dtype: float32}"]
    main(["fit", *options, *grid, "--trainer.logger", "textclf.run.MetricsCSV"])
    metrics = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    name, *rows = [row.split(",") for row in metrics]
    tried = [float(row[name.index("train/C")]) for row in rows if row[name.index("train/C")]]
    losses = [float(row[name.index("val/nll")]) for row in rows if row[name.index("val/nll")]]
    assert tried == pytest.approx([0.0001, 1.0, 100.0])
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == losses.index(min(losses))
    chosen = [0.0001, 1.0, 100.0][best["epoch"]]
    assert best["textclf"]["fitted"]["C"] == chosen
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any(last["optimizer_states"][0]["state"])
    data = FilesDataModule(str(rows_folder)).rows("train")
    encoder = Embedder(str(tiny_encoder), None, EmbeddingSettings(dtype="float32"))
    expected = oracle(encoder.matrix(list(data["text"])), np.array(data["label"]), C=chosen)
    np.testing.assert_allclose(best["state_dict"]["weights"], expected.coef_, rtol=0, atol=1e-3)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "was chosen" in line]
    assert f"C {chosen:g} was chosen of 0.0001, 1, 100 by val/nll, {min(losses):.4f}" in line
    assert ("try" in line) == (chosen != 1.0)


def test_a_choice_needs_validation_rows(options, rows_folder, capsys, tmp_path, monkeypatch):
    (tmp_path / "rows").mkdir()
    for split in ("train", "test"):
        (tmp_path / "rows" / f"{split}.csv").write_text((rows_folder / f"{split}.csv").read_text())
    more = ["--data.data_dir", str(tmp_path / "rows"), "--data.val_size", "0"]
    with monkeypatch.context() as patch:
        patch.setattr("textclf.models.embedding.Embedder", None)  # it is not even loaded
        assert "no validation split" in refused(capsys, "fit", *options, *more, "--model.C", "[0.1, 1.0]")
    none = ["--trainer.limit_val_batches", "0", "--run_dir", str(tmp_path / "other")]
    assert "no validation split" in refused(capsys, "fit", *options, *none, "--model.C", "[0.1, 1.0]")


def copied(folder, of, **changes):
    """An encoder's folder with another configuration."""
    shutil.copytree(of, folder)
    whole = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**whole, **changes}))
    return ["--model.pretrained", str(folder)]


@pytest.mark.slow
def test_another_configuration_is_said_and_another_length_refused(options, tiny_encoder, tmp_path, capsys):
    main(["fit", *options])
    checkpoint = ["--ckpt_path", str(tmp_path / "run" / "checkpoints" / "best.ckpt"), "--trainer.logger", "false"]
    other = copied(tmp_path / "other", tiny_encoder, layer_norm_eps=0.1)
    capsys.readouterr()
    main(["test", *checkpoint, *other, "--run_dir", str(tmp_path / "again")])
    assert capsys.readouterr().err.count("another tokenizer or configuration") == 1
    shorter = copied(tmp_path / "shorter", tiny_encoder)
    (tmp_path / "shorter" / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    tokenizer = json.loads((tmp_path / "shorter" / "tokenizer_config.json").read_text())
    (tmp_path / "shorter" / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 12}))
    line = refused(capsys, "test", *checkpoint, *shorter, "--run_dir", str(tmp_path / "third"))
    assert "another maximum length than" in line


@pytest.mark.slow
def test_settings_of_the_vectors_hold_but_not_the_size_of_a_batch(options, tmp_path, capsys):
    main(["fit", *options, "--model.embedding", "{max_batch_tokens: 100}"])
    checkpoint = ["--ckpt_path", str(tmp_path / "run" / "checkpoints" / "best.ckpt"), "--trainer.logger", "false"]
    again = ["--run_dir", str(tmp_path / "again"), "--model.embedding", "{max_batch_tokens: 200}"]
    main(["test", *checkpoint, *again])
    first, second = (read_predictions(tmp_path / d / "report/predictions.parquet") for d in ("run", "again"))
    assert (first.predictions == second.predictions).all()
    line = refused(capsys, "test", *checkpoint, *again[:1], str(tmp_path / "third"), "--model.embedding.pooling", "cls")
    assert "pooling None of embedding, the configuration says 'cls'" in line


@pytest.mark.parametrize("damage", ["byte", "short", "cut"])
@pytest.mark.slow
def test_encoded_rows_that_are_damaged_are_embedded_again(damage, options, tiny_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    kept = cache_folder()
    main(["fit", *options])
    first = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    vectors = Embedder(str(tiny_encoder), None, EmbeddingSettings(), kept / "embeddings").matrix(first.texts)
    files = [f for f in kept.glob("*.arrow") if vectors[0].tobytes() in f.read_bytes()]
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[content.index(vectors[0].tobytes()) + 3] ^= 1
        file.write_bytes(content if damage == "byte" else content[: len(content) // 2])
        if damage == "short":
            file.unlink()
            Dataset.from_dict({"text": ["a film"]}).map(lambda rows: rows, cache_file_name=str(file))
    capsys.readouterr()
    main(["fit", *options[:-1], str(tmp_path / "again")])
    assert "again" in capsys.readouterr().err
    second = read_predictions(tmp_path / "again" / "report" / "predictions.parquet")
    assert np.array_equal(first.log_scores, second.log_scores)


@pytest.mark.slow
def test_an_encoder_may_move_but_not_change(options, tiny_encoder, tmp_path, capsys):
    main(["fit", *options])
    moved = tmp_path / "moved"
    shutil.copytree(tiny_encoder, moved)
    checkpoint = ["--ckpt_path", str(tmp_path / "run" / "checkpoints" / "best.ckpt"), "--trainer.logger", "false"]
    main(["test", *checkpoint, "--model.pretrained", str(moved), "--run_dir", str(tmp_path / "again")])
    first, again = (read_predictions(tmp_path / d / "report/predictions.parquet") for d in ("run", "again"))
    assert (first.log_scores == again.log_scores).all()
    from safetensors.torch import load_file, save_file

    weights = {name: weight + 1 for name, weight in load_file(moved / "model.safetensors").items()}
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    line = refused(capsys, "test", *checkpoint, "--model.pretrained", str(moved), "--run_dir", str(tmp_path / "third"))
    assert "other weights than the checkpoint was trained with" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model.C", "0"], ["C 0", "above 0"]),
        (["--model.C", "[]"], ["C []", "above 0"]),
        (["--model.C", "[1, 2]", "--model.optimizer", "adamw"], ["[1", "lbfgs"]),
        (["--model.embedding", "{poling: cls}"], ["'poling'", "pooling"]),
        (["--model.class_weights", "{good: 2.0}"], ["good", "negative, positive"]),
        (["--model.max_length", "2"], ["max_length 2"]),
    ],
)
def test_mistakes_are_one_line(options, more, words, capsys):
    line = refused(capsys, "fit", *options, *more)
    for word in words:
        assert word in line, line


def test_unfitted():
    with pytest.raises(UserError, match="run `fit` first"):
        LinearProbe(2, ("a", "b")).configure_model()


def test_what_a_vector_depends_on(tiny_encoder):
    def key(**arguments):
        return LinearProbe(2, ("a", "b"), str(tiny_encoder), **arguments).encoding_key()

    assert key() == key(C=3.0, class_weights="balanced")
    assert key() != key(max_length=20)

    class Own(LinearProbe):
        def encode(self, rows):
            return {**super().encode(rows), "length": [1] * len(rows["text"])}

    own = Own(2, ("a", "b"), str(tiny_encoder)).encoding_key()
    assert own not in (key(), Own(2, ("a", "b"), str(tiny_encoder), C=3.0).encoding_key())
    assert own == Own(2, ("a", "b"), str(tiny_encoder)).encoding_key()
    row = LinearProbe(2, ("a", "b"), str(tiny_encoder)).encode(Dataset.from_dict({"text": ["a film"]})[:])
    assert set(row) == {"embedding", "length", "cut"}


class TestContract(MethodContract):
    method = LinearProbe
