import io
import json
import math
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Callback, Trainer
from scipy.sparse import hstack
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, normalize

from tests.models.contract import MethodContract
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import counted_rows, streamed_regression
from textclf.models.tfidf import TfidfClassifier
from textclf.run.checkpoints import BestCheckpoint

NAMES = ("나쁨", "보통", "good")
TEXTS = [
    "정말 지루한 영화 😴",
    "지루하고 돈이 아깝다",
    "최악 . 지루해서 잤다",
    "그냥 그런 영화",
    "그저 그런 이야기 , 그냥 봤다",
    "그냥 무난한 영화",
    "a wonderful film",
    "wonderful , 굳",
    "What a film ! Wonderful",
    "굳 굳 굳",
]
LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
PAIRS = ["b a", "a", "c", "c b", "a c", "c", "b", "a", "b c", "a b"]
UNSEEN = ["지루한 film", "그냥 그런", "a wonderful 영화 굳", "", "全く別の文"]


def rows(texts=TEXTS, labels=LABELS, pairs=None):
    columns = {"id": [str(i) for i in range(len(texts))], "text": texts, "label": labels}
    return Dataset.from_dict(columns if pairs is None else columns | {"text_pair": pairs})


def fitted(train_rows=None, names=NAMES, **arguments):
    model = TfidfClassifier(len(names), names, **{"min_df": 1, **arguments})
    model.prepare(train_rows or rows())
    return model


def scores(model, texts=UNSEEN, pairs=None):
    return model.log_scores({"text": texts} if pairs is None else {"text": texts, "text_pair": pairs})


def oracle(labels=LABELS, pairs=None, weights=None, word=(1, 2), char=(1, 4), min_df=1):
    """A plain scikit-learn pipeline; returns its log-probabilities for unseen texts."""
    options = {"min_df": min_df, "sublinear_tf": True, "norm": None}
    kinds = [TfidfVectorizer(ngram_range=word, token_pattern=r"\b\w+\b", **options)] if word else []
    kinds += [TfidfVectorizer(analyzer="char", ngram_range=char, **options)] if char else []
    columns = (0,) if pairs is None else (0, 1)
    union = ColumnTransformer([(f"{c} {i}", kind, c) for c in columns for i, kind in enumerate(kinds)])
    regression = LogisticRegression(C=5, solver="newton-cg", class_weight=weights, max_iter=1000)
    pipeline = make_pipeline(union, Normalizer(), regression)

    def table(texts, pairs):
        return np.array([texts, texts if pairs is None else pairs], dtype=object).T

    pipeline.fit(table(TEXTS, pairs), labels)
    return lambda texts, pairs=None: torch.from_numpy(pipeline.predict_log_proba(table(texts, pairs)))


def assert_equal(actual, expected):
    assert actual.dtype == torch.float64
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


TWO = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("names", "labels"), [(NAMES, LABELS), (("나쁨", "good"), TWO)])
@pytest.mark.parametrize(
    ("word", "char", "min_df"),
    [((1, 2), (1, 4), 1), ((1, 2), (1, 4), 2), ((1, 1), None, 1), (None, (2, 3), 1)],
)
def test_scores_are_those_of_a_plain_pipeline(names, labels, word, char, min_df):
    model = fitted(rows(labels=labels), names, word_ngrams=word, char_ngrams=char, min_df=min_df)
    assert_equal(scores(model), oracle(labels, word=word, char=char, min_df=min_df)(UNSEEN))
    assert_equal(scores(model).exp().sum(dim=1), torch.ones(len(UNSEEN), dtype=torch.float64))


def coefficients_of_scikit_learn(train_rows, weights=None, **options):
    """Those of scikit-learn's own loops over all texts in memory."""
    kinds = [
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", sublinear_tf=True, norm=None, **options),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, norm=None, **options),
    ]
    columns = [column for column in ("text", "text_pair") if column in train_rows.column_names]
    matrices = [kind.fit_transform(list(train_rows[column])) for column in columns for kind in kinds]
    regression = LogisticRegression(C=5, solver="newton-cg", class_weight=weights, max_iter=1000)
    regression.fit(normalize(hstack(matrices, format="csr")), list(train_rows["label"]))
    return torch.tensor(regression.coef_), torch.tensor(regression.intercept_)


def invented_rows(number, classes=2, pairs=False):
    """Rows whose classes use some words more often than others, sorted by class; some classes have few rows."""
    draw = random.Random(0)
    texts, labels = [], []
    for i in range(number):
        label = i * classes // number
        words = draw.choices(range(60), k=8) + draw.choices(range(label * 5, label * 5 + 20), k=4)
        texts.append(" ".join(f"w{word}" for word in words))
        labels.append(label)
    return rows(texts, labels, texts[::-1] if pairs else None)


@pytest.mark.parametrize("chunk", [500, 10**6])
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({}, {"min_df": 2}),
        ({"max_features": 50}, {"min_df": 1, "max_features": 50}),
        ({"class_weights": {"b": 3.0}}, {"min_df": 2, "weights": {0: 1, 1: 3, 2: 1}}),
    ],
)
@pytest.mark.parametrize("pairs", [False, True])
def test_the_fit_is_that_of_scikit_learn_to_the_last_bit(arguments, options, pairs, chunk, monkeypatch):
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", chunk)
    monkeypatch.setattr("textclf.models.tfidf.usable_cores", lambda: 1)
    train_rows = invented_rows(90, 3, pairs)
    model = fitted(train_rows, ("a", "b", "c"), min_df=options["min_df"], **arguments)
    coefficients, intercepts = coefficients_of_scikit_learn(train_rows, **options)
    assert torch.equal(model.fitted["coefficients"], coefficients)
    assert torch.equal(model.fitted["intercepts"], intercepts)


@pytest.fixture
def streamed(monkeypatch):
    """As if all features together were too large for the memory, on rows of many chunks, slices and blocks."""
    monkeypatch.setattr("textclf.models.tfidf.MAX_VALUES", 0)
    monkeypatch.setattr("textclf.models.tfidf.usable_cores", lambda: 1)
    monkeypatch.setattr(counted_rows, "CHUNK_CHARACTERS", 2000)
    monkeypatch.setattr(streamed_regression, "SLICE_VALUES", 300)
    monkeypatch.setattr(streamed_regression, "BLOCK_SLICES", 20)


@pytest.mark.parametrize(("classes", "pairs"), [(2, False), pytest.param(5, True, marks=pytest.mark.slow)])
def test_a_streamed_fit_agrees_with_one_in_memory(classes, pairs, monkeypatch, streamed, capsys):
    monkeypatch.setattr(streamed_regression, "EPOCHS", 40)  # as many steps as for many rows
    names = [str(i) for i in range(classes)]
    train_rows = invented_rows(300, classes, pairs)
    given = [train_rows["text"], train_rows["text_pair"] if pairs else None]
    actual = scores(fitted(train_rows, names), *given)
    assert "stochastic gradient descent" in capsys.readouterr().err
    monkeypatch.setattr("textclf.models.tfidf.MAX_VALUES", 10**8)
    expected = scores(fitted(train_rows, names), *given)
    assert not capsys.readouterr().err
    assert (actual.argmax(dim=1) == expected.argmax(dim=1)).double().mean() > 0.98
    if classes == 2:  # for several, the logits are those of one class against all others
        torch.testing.assert_close(actual.exp(), expected.exp(), rtol=0, atol=0.05)


def test_a_streamed_fit_keeps_weights_names_and_missing_classes(streamed):
    train_rows = invented_rows(300, 2)
    labels = [label * 2 for label in train_rows["label"]]
    plain, weighted = (
        scores(fitted(rows(train_rows["text"], labels), class_weights=weights)) for weights in (None, {"good": 20.0})
    )
    assert (plain[:, 1] == -math.inf).all()
    assert (weighted[:, 2] > plain[:, 2]).all()


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 5])
def test_a_streamed_fit_does_not_depend_on_the_processes(classes, streamed, monkeypatch):
    names = [str(i) for i in range(classes)]
    train_rows = invented_rows(400, classes)
    alone = fitted(train_rows, names).fitted
    monkeypatch.setattr("textclf.models.tfidf.usable_cores", lambda: 2)
    together = fitted(train_rows, names).fitted
    assert [block["vocabulary"] for block in together["blocks"]] == [block["vocabulary"] for block in alone["blocks"]]
    assert torch.equal(together["coefficients"], alone["coefficients"])
    assert torch.equal(together["intercepts"], alone["intercepts"])


def test_learns_its_rows():
    assert scores(fitted(), TEXTS).argmax(dim=1).tolist() == LABELS


def test_pairs_are_features_of_their_own():
    pairs = ["b a", "c", "a", "b", "c c"]
    model = fitted(rows(pairs=PAIRS))
    assert_equal(scores(model, UNSEEN, pairs), oracle(pairs=PAIRS)(UNSEEN, pairs))
    # The label hangs on which of the two texts says it: what no bag of both could tell.
    words = ["yes", "no"] * 6
    swapped = fitted(rows(words, [0, 1] * 6, words[1:] + words[:1]), ("a", "b"))
    assert scores(swapped, ["yes", "no"], ["no", "yes"]).argmax(dim=1).tolist() == [0, 1]


@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_other_columns_than_fitted_are_refused(pairs):
    with pytest.raises(UserError, match=r"the rows have text.*was fitted on text.*same columns"):
        scores(fitted(rows(pairs=pairs)), TEXTS, PAIRS if pairs is None else None)


@pytest.mark.parametrize("pairs", [None, PAIRS])
@pytest.mark.parametrize(("names", "labels"), [(NAMES, LABELS), (("나쁨", "good"), TWO)])
def test_fitted_survives_a_safe_load(names, labels, pairs):
    model = fitted(rows(labels=labels, pairs=pairs), names, char_ngrams=(1, 3))
    before = scores(model, TEXTS, pairs)
    file = io.BytesIO()
    torch.save(model.fitted, file)
    file.seek(0)
    fresh = TfidfClassifier(len(names), names, char_ngrams=[1, 3])
    fresh.fitted = torch.load(file, weights_only=True)
    assert torch.equal(scores(fresh, TEXTS, pairs), before)
    assert fresh.encoding_key()  # that is: it can be hashed


def test_scores_follow_a_replaced_fit():
    model, other = fitted(), fitted(word_ngrams=None)
    scores(model)
    model.fitted = other.fitted
    assert torch.equal(scores(model), scores(other))


def test_batches_do_not_matter():
    model = fitted()
    singly = torch.cat([scores(model, [text]) for text in UNSEEN])
    assert_equal(singly, scores(model))


@pytest.mark.parametrize("weights", ["balanced", {"good": 0.1, "나쁨": 7}, {"good": 3.0}])
def test_class_weights_follow_the_names(weights):
    by_index = weights if isinstance(weights, str) else {i: weights.get(n, 1) for i, n in enumerate(NAMES)}
    expected = oracle(weights=by_index)(UNSEEN)
    assert not torch.allclose(expected, oracle()(UNSEEN))
    assert_equal(scores(fitted(class_weights=weights)), expected)
    order = [2, 0, 1]
    permuted = fitted(
        rows(labels=[order.index(label) for label in LABELS]),
        tuple(NAMES[i] for i in order),
        class_weights=weights,
    )
    # Another order of the classes is another path of the optimiser to the same optimum.
    torch.testing.assert_close(scores(permuted), expected[:, order], rtol=0, atol=1e-2)


@pytest.mark.parametrize("weights", [None, "balanced", {"없음": 5.0, "good": 2.0}])
def test_a_class_without_rows_keeps_its_column(weights):
    by_index = {0: 1, 2: 1, 3: 2} if isinstance(weights, dict) else weights
    labels = [(0, 2, 3)[label] for label in LABELS]
    actual = scores(fitted(rows(labels=labels), ("나쁨", "없음", "보통", "good"), class_weights=weights))
    assert (actual[:, 1] == -math.inf).all()
    assert_equal(actual[:, [0, 2, 3]], oracle(labels, weights=by_index)(UNSEEN))


def test_two_of_three_classes():
    labels = [label * 2 for label in TWO]
    actual = scores(fitted(rows(labels=labels)))
    assert (actual[:, 1] == -math.inf).all()
    assert_equal(actual[:, [0, 2]], oracle(labels)(UNSEEN))


def test_max_features_keeps_the_most_frequent():
    blocks = fitted(max_features=3, char_ngrams=(2, 2)).fitted["blocks"]
    vocabularies = {block["analyzer"]: json.loads(block["vocabulary"]) for block in blocks}
    assert {analyzer: len(vocabulary) for analyzer, vocabulary in vocabularies.items()} == {
        "word": 3,
        "char": 3,
    }
    assert "굳" in vocabularies["word"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"word_ngrams": (2, 1)}, r"word_ngrams \[2, 1\] is not a range.*null"),
        ({"char_ngrams": (0, 2)}, r"char_ngrams \[0, 2\] is not a range.*null"),
        ({"word_ngrams": None, "char_ngrams": None}, "both null: give at least one"),
        ({"C": 0.0}, "C 0.0 is out of range: give a number above 0"),
        ({"C": math.nan}, "C nan is out of range"),
        ({"min_df": 0}, "min_df 0 is too small: give 1"),
        ({"max_features": 0}, "max_features 0 is too small: give 1"),
        ({"class_weights": {"goed": 2.0}}, "names 'goed', which is not a label: the labels are 나쁨, 보통, good"),
        ({"class_weights": {"good": -1.0}}, "gives good -1.0: give a number above 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        TfidfClassifier(len(NAMES), NAMES, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("min_df", [9, 1000])
def test_an_empty_vocabulary(min_df):
    with pytest.raises(UserError, match=rf"min_df {min_df} with word_ngrams \[1, 2\] keeps no.*lower min_df"):
        fitted(min_df=min_df)


def test_one_class_only():
    with pytest.raises(UserError, match=r"one class only \(보통\): give rows"):
        fitted(rows(labels=[1] * len(TEXTS)))


def test_scores_before_the_fit():
    with pytest.raises(UserError, match="is not fitted: run `fit` first"):
        scores(TfidfClassifier(len(NAMES), NAMES))


class Counted(Callback):
    """Counts the validations after training began."""

    number = 0

    def on_validation_end(self, trainer, pl_module):
        self.number += not trainer.sanity_checking


@pytest.mark.parametrize(
    "options",
    [{"max_epochs": 3}, {"max_epochs": 1, "limit_train_batches": 1}, {"max_epochs": 3, "accumulate_grad_batches": 4}],
    ids=lambda options: " ".join(options),
)
def test_one_validation_whatever_the_number_of_epochs(rows_folder, tmp_path, options):
    counted = Counted()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[counted, BestCheckpoint()],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,
    )
    trainer.fit(TfidfClassifier(2, ("negative", "positive"), min_df=1), FilesDataModule(str(rows_folder), batch_size=8))
    assert (counted.number, trainer.current_epoch) == (1, 1)
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


def test_a_checkpoint_gives_the_same_scores(tmp_path):
    model = fitted(char_ngrams=(1, 3), class_weights={"good": 2.0})
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        max_epochs=1,
        limit_train_batches=1,
    )
    trainer.fit(model, torch.utils.data.DataLoader([0]))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    restored = TfidfClassifier.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(scores(restored), scores(model))
    answers = restored.classify(TEXTS)
    assert [answer["label"] for answer in answers] == [NAMES[label] for label in LABELS]


class TestContract(MethodContract):
    method = TfidfClassifier

    @classmethod
    @contextmanager
    def arguments(cls, folder):
        yield {}
