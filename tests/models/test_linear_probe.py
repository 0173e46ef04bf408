"""The linear probe against scikit-learn, and through the command line."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

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


def batches(vectors, labels, shuffle=False):
    return torch.utils.data.DataLoader(Rows(vectors, labels), batch_size=50, shuffle=shuffle)


def fitted(
    vectors,
    labels,
    classes,
    epochs=1,
    precision="32-true",
    counted=None,
    validation=None,
    val_batches=1.0,
    kind=LinearProbe,
    callback=None,
    resume=None,
    **arguments,
):
    """A probe that Lightning has trained on mini-batches of the rows; `counted` are the labels of all there are."""
    model = kind(classes, SIX[:classes], **arguments)
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
        limit_val_batches=val_batches,
        num_sanity_val_steps=0,
        callbacks=callback,
    )
    trainer.fit(model, batches(vectors, labels, shuffle=True), validation and batches(*validation), ckpt_path=resume)
    return model.eval()


def oracle(vectors, labels, C=1.0, weights=None):
    regression = LogisticRegression(C=C, class_weight=weights, tol=1e-10, max_iter=10_000)
    return regression.fit(vectors.astype(np.float64), labels)


@pytest.mark.slow
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


# Several values of C


GRID = [100.0, 0.01, 1.0, 0.1, 10.0]


def split_blobs(classes):
    """Train rows, and validation rows of the same distribution."""
    vectors, labels = blobs(classes, rows=900)
    return (vectors[:600], labels[:600]), (vectors[600:], labels[600:])


def selected(classes=3, C=GRID, **changes):
    """A probe that has selected among several C."""
    train, validation = split_blobs(classes)
    return fitted(*train, classes, C=C, validation=validation, **changes)


@pytest.mark.parametrize("classes", [2, 6])
def test_the_selection_among_several_C_is_that_of_scikit_learn(classes, capsys):
    model = selected(classes, epochs=3)
    train, (unseen, targets) = split_blobs(classes)
    regressions = {C: oracle(*train, C) for C in sorted(GRID)}
    losses = {C: log_loss(targets, each.predict_proba(unseen)) for C, each in regressions.items()}
    assert model.fitted["grid"] == pytest.approx({str(C): loss for C, loss in losses.items()}, abs=1e-5)
    chosen = min(losses, key=losses.get)
    assert model.fitted["C"] == chosen
    np.testing.assert_allclose(model.weights.detach(), regressions[chosen].coef_, rtol=0, atol=1e-3)
    logged = model.trainer.callback_metrics
    assert float(logged["train/C"]) == pytest.approx(chosen)
    assert float(logged["val/nll"]) == pytest.approx(losses[chosen], abs=1e-5)
    assert model.trainer.current_epoch == 1, "one epoch of three"
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("textclf: C ")][:-1] == [
        f"textclf: C {C:g}: val/nll {loss:.4f}" for C, loss in losses.items()
    ]


@pytest.mark.parametrize(
    ("grid", "chosen", "advice"),
    [
        ([0.1, 1.0, 100.0], "1 was chosen of 0.1, 1, 100 by val/nll, ", ""),
        ([1.0, 100.0], "1 was chosen of 1, 100 by val/nll, ", ": try smaller ones, too"),
        ([0.01, 0.1], "0.1 was chosen of 0.01, 0.1 by val/nll, ", ": try larger ones, too"),
    ],
)
def test_the_line_of_the_selection(grid, chosen, advice, capsys):
    model = selected(C=grid)
    lowest = min(model.fitted["grid"].values())
    assert capsys.readouterr().err.splitlines()[-1] == f"textclf: C {chosen}{lowest:.4f}{advice}"


def test_two_runs_select_the_same_head():
    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        heads.append(selected())
    assert torch.equal(heads[0].weights, heads[1].weights)
    assert heads[0].fitted == heads[1].fitted


class Recorded(LinearProbe):
    """Keeps the weights before and after each C."""

    def on_fit_start(self):
        self.solved = []

    def solve(self, embeddings, labels, C):
        before = self.weights.detach().clone()
        super().solve(embeddings, labels, C)
        self.solved.append((C, before, self.weights.detach().clone()))


def test_each_C_starts_at_the_optimum_before():
    model = selected(kind=Recorded)
    assert [C for C, _, _ in model.solved] == sorted(GRID)
    assert not model.solved[0][1].any()
    for (_, _, found), (_, start, _) in zip(model.solved, model.solved[1:], strict=False):
        assert torch.equal(start, found)
    (kept,) = [found for C, _, found in model.solved if model.fitted["C"] == C]
    assert torch.equal(model.weights, kept)


class Undecided(Recorded):
    def log_scores(self, batch):
        return torch.full((len(batch["embeddings"]), self.num_classes), 1 / self.num_classes).log().double()


def test_of_equally_good_C_the_smallest_is_selected():
    model = selected(kind=Undecided)
    assert model.fitted["grid"] == pytest.approx({str(C): np.log(3) for C in GRID})
    assert model.fitted["C"] == 0.01
    assert torch.equal(model.weights, model.solved[0][2])


def test_a_C_that_is_given_twice_is_one():
    vectors, labels = blobs(3)
    model = fitted(vectors, labels, 3, C=[1.0, 1.0])  # without validation rows
    assert model.fitted["C"] == 1.0
    assert "grid" not in model.fitted


def test_one_C_ends_after_an_epoch():
    vectors, labels = blobs(3)
    model = fitted(vectors, labels, 3, epochs=3)
    assert model.trainer.current_epoch == 1
    assert model.trainer.global_step == 1


@pytest.mark.parametrize("hook", ["on_validation_end", "on_train_end"])
def test_what_is_resumed_after_the_epoch_stays_as_it_is(hook, tmp_path):
    path = tmp_path / "last.ckpt"
    whole = selected(epochs=3, callback=LambdaCallback(**{hook: lambda trainer, model: trainer.save_checkpoint(path)}))
    resumed = selected(epochs=3, resume=str(path))
    assert torch.equal(resumed.weights, whole.weights)
    assert resumed.fitted == whole.fitted
    assert resumed.trainer.global_step == len(GRID)


class Moved(LinearProbe):
    """Changes batches in the hooks of their transfer."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return {**batch, "embeddings": batch["embeddings"] + 1}

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {**batch, "embeddings": batch["embeddings"] * 2}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"val_batches": 2}, {"kind": Moved}, {"precision": "bf16-mixed"}])
def test_the_selection_reads_what_the_validation_reads(changes):
    model = selected(**changes)
    logged = float(model.trainer.callback_metrics["val/nll"])
    assert logged == pytest.approx(model.fitted["grid"][str(model.fitted["C"])], rel=1e-6)


def test_classes_without_train_rows_do_not_count_in_the_selection(capsys):
    train, (unseen, targets) = split_blobs(2)
    targets[:7] = 2
    model = fitted(*train, 3, C=[0.1, 1.0, 100.0], validation=(unseen, targets))
    losses = {C: log_loss(targets[7:], oracle(*train, C).predict_proba(unseen[7:])) for C in (0.1, 1.0, 100.0)}
    assert model.fitted["grid"] == pytest.approx({str(C): loss for C, loss in losses.items()}, abs=1e-5)
    assert "7 validation rows have a label without train rows" in capsys.readouterr().err


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


@pytest.mark.slow
def test_validation_chooses_among_several_C(options, tiny_encoder, rows_folder, tmp_path, capsys):
    grid = ["--model.C", "[100.0, 0.0001, 1.0]", "--model.embedding", "{dtype: float32}", "--trainer.max_epochs", "3"]
    main(["fit", *options, *grid, "--trainer.logger", "textclf.run.MetricsCSV"])
    metrics = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    name, *rows = [row.split(",") for row in metrics]
    tried = [float(row[name.index("train/C")]) for row in rows if row[name.index("train/C")]]
    (loss,) = [float(row[name.index("val/nll")]) for row in rows if row[name.index("val/nll")]]
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    losses = best["textclf"]["fitted"]["grid"]
    assert list(losses) == ["0.0001", "1.0", "100.0"]
    assert min(losses.values()) == pytest.approx(loss)
    chosen = best["textclf"]["fitted"]["C"]
    assert losses[str(chosen)] == min(losses.values())
    assert tried == pytest.approx([chosen])
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["textclf"]["fitted"] == best["textclf"]["fitted"]
    assert torch.equal(last["state_dict"]["weights"], best["state_dict"]["weights"])
    assert not any(last["optimizer_states"][0]["state"])
    data = FilesDataModule(str(rows_folder)).rows("train")
    encoder = Embedder(str(tiny_encoder), None, EmbeddingSettings(dtype="float32"))
    expected = oracle(encoder.matrix(list(data["text"])), np.array(data["label"]), C=chosen)
    np.testing.assert_allclose(best["state_dict"]["weights"], expected.coef_, rtol=0, atol=1e-3)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "was chosen" in line]
    assert f"C {chosen:g} was chosen of 0.0001, 1, 100 by val/nll, {loss:.4f}" in line
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
