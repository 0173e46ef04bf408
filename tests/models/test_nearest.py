"""Nearest centroid and zero-shot, against the definitions written out."""

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from tests.conftest import invented_rows
from tests.models.contract import MethodContract
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import EmbeddingZeroShot, LinearProbe, NearestCentroid, TextClassifier

NAMES = ("negative", "positive")
EXACT = {"dtype": "float32"}
ROWS = [(text, NAMES.index(label)) for text, label in invented_rows(50, seed=5)]
TEXTS, LABELS = [text for text, _ in ROWS], np.array([label for _, label in ROWS])


@pytest.fixture(scope="module")
def vectors(tiny_encoder):
    model = SentenceTransformer(str(tiny_encoder), device="cpu", model_kwargs={"dtype": torch.float32})
    return lambda texts: model.encode(list(texts), normalize_embeddings=True).astype(np.float64)


def scores(model, texts=TEXTS):
    return model.log_scores(model.collate(model.encode({"text": list(texts)})))


def softmax(similarities, temperature):
    return torch.from_numpy(similarities / temperature).log_softmax(dim=1)


def train_rows(labels=LABELS):
    return Dataset.from_dict({"text": TEXTS, "label": labels.tolist()})


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_nearest_mean(metric, tiny_encoder, vectors, monkeypatch):
    monkeypatch.setattr(NearestCentroid, "encoded_together", 7)
    model = NearestCentroid(2, NAMES, str(tiny_encoder), embedding=EXACT, metric=metric, temperature=0.1)
    model.prepare(train_rows())
    own = vectors(TEXTS)
    means = np.stack([own[label == LABELS].mean(axis=0) for label in (0, 1)])
    if metric == "cosine":
        similarities = own @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    else:
        similarities = -((own[:, None] - means[None]) ** 2).sum(axis=2)
    torch.testing.assert_close(scores(model), softmax(similarities, 0.1), rtol=0, atol=1e-4)


def test_a_class_without_rows_is_never_nearest(tiny_encoder):
    model = NearestCentroid(3, ("negative", "nobody", "positive"), str(tiny_encoder))
    model.prepare(train_rows(LABELS * 2))
    assert (scores(model)[:, 1] == -torch.inf).all()
    assert scores(model).exp().sum(dim=1).numpy() == pytest.approx(1)


@pytest.mark.parametrize("method", [NearestCentroid, LinearProbe])
def test_pairs_and_single_texts_are_not_mixed(method, tiny_encoder):
    model = method(2, NAMES, str(tiny_encoder))
    pairs = train_rows().add_column("text_pair", TEXTS)
    for fitted, given in ((train_rows(), pairs), (pairs, train_rows())):
        model.fitted = {}
        model.prepare(fitted)
        columns = {name: list(given[name]) for name in given.column_names if name != "label"}
        with pytest.raises(UserError, match=f"{method.__name__} was fitted on .*, and is given .*: give rows"):
            model.collate(columns | model.encode(columns))


LABEL_TEXTS = {"negative": ["dull", "a waste of time"], "positive": "a joy to watch"}


def zero_shot(encoder, names=NAMES, **arguments):
    return EmbeddingZeroShot(len(names), names, str(encoder), embedding=EXACT, **arguments)


def test_the_nearest_description(tiny_encoder, vectors):
    model = zero_shot(tiny_encoder, label_texts=LABEL_TEXTS, template="the film: {label} .", temperature=0.2)
    labels = [vectors(["the film: dull .", "the film: a waste of time ."]), vectors(["the film: a joy to watch ."])]
    means = np.stack([label.mean(axis=0) for label in labels])
    similarities = vectors(TEXTS) @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    torch.testing.assert_close(scores(model), softmax(similarities, 0.2), rtol=0, atol=1e-4)


def test_descriptions_are_matched_by_name(tiny_encoder):
    straight = scores(zero_shot(tiny_encoder, label_texts=LABEL_TEXTS))
    turned = scores(zero_shot(tiny_encoder, label_texts=dict(reversed(LABEL_TEXTS.items()))))
    other_order = scores(zero_shot(tiny_encoder, NAMES[::-1], label_texts=LABEL_TEXTS))
    assert torch.equal(straight, turned)
    assert torch.equal(straight, other_order[:, [1, 0]])
    assert not torch.allclose(straight, scores(zero_shot(tiny_encoder)))


def test_the_answer_does_not_depend_on_the_temperature(tiny_encoder):
    cold, warm = (scores(zero_shot(tiny_encoder, label_texts=LABEL_TEXTS, temperature=t)) for t in (0.001, 10.0))
    assert torch.equal(cold.argmax(dim=1), warm.argmax(dim=1))
    assert cold.exp().max() > warm.exp().max()


def test_labels_may_have_a_prompt_of_their_own(tiny_encoder):
    model = zero_shot(tiny_encoder, label_texts=LABEL_TEXTS, label_prompt="the plot: ")
    same = zero_shot(tiny_encoder, label_texts=LABEL_TEXTS, template="the plot: {label}")
    torch.testing.assert_close(scores(model), scores(same), rtol=0, atol=1e-4)
    assert model.embedder.prompt is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"label_texts": {"negative": "dull"}}, ["leaves out 'positive'"]),
        ({"label_texts": {**LABEL_TEXTS, "positive": []}}, ["nothing for 'positive'"]),
        ({"label_texts": {**LABEL_TEXTS, "neutral": "so so"}}, ["names 'neutral'", "negative, positive"]),
        ({"template": "a film"}, ["'a film'", "{label}"]),
        ({"temperature": 0.0}, ["temperature 0.0", "above 0"]),
    ],
)
def test_mistakes_are_one_line(arguments, words, tiny_encoder):
    with pytest.raises(UserError) as raised:
        zero_shot(tiny_encoder, **arguments)
    for word in words:
        assert word in str(raised.value)


def test_pairs_are_refused(tiny_encoder):
    with pytest.raises(UserError, match="single texts"):
        zero_shot(tiny_encoder).encode({"text": ["a"], "text_pair": ["b"]})


def run(kind, encoder, rows_folder, tmp_path, **arguments):
    config = {
        "model": {"class_path": kind, "init_args": {"pretrained": str(encoder), **arguments}},
        "data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(rows_folder)}},
        "trainer": {"precision": "32-true", "logger": False},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return ["--config", str(tmp_path / "config.yaml"), "--trainer.accelerator", "cpu"]


def test_zero_shot_is_tested_and_not_fitted(tiny_encoder, rows_folder, tmp_path, capsys):
    options = run("EmbeddingZeroShot", tiny_encoder, rows_folder, tmp_path, label_texts=LABEL_TEXTS)
    with pytest.raises(SystemExit):
        main(["fit", *options, "--run_dir", str(tmp_path / "fit")])
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("textclf: error: fit: EmbeddingZeroShot has")
    main(["test", *options, "--run_dir", str(tmp_path / "run")])
    assert len(read_predictions(tmp_path / "run" / "report" / "predictions.parquet").ids) == 21
    capsys.readouterr()
    main(["predict", *options, "--texts", '["a joy to watch"]'])
    assert '"label": "positive"' in capsys.readouterr().out


def test_the_centroids_are_in_the_checkpoint(tiny_encoder, rows_folder, tmp_path, capsys):
    options = run("NearestCentroid", tiny_encoder, rows_folder, tmp_path)
    with pytest.raises(SystemExit):
        main(["test", *options, "--run_dir", str(tmp_path / "test")])
    assert "--ckpt_path" in capsys.readouterr().err
    main(["fit", *options, "--run_dir", str(tmp_path / "run")])
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    model = TextClassifier.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    answers = model.classify(table.texts)
    assert [a["label"] for a in answers] == [table.label_names[p] for p in table.predictions]


@pytest.mark.exhaustive  # much of it is the contract of the zero-shot method below
class TestContractOfNearestCentroid(MethodContract):
    method = NearestCentroid


class TestContractOfEmbeddingZeroShot(MethodContract):
    method = EmbeddingZeroShot
