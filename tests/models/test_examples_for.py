"""Few-shot examples that are chosen for each text, out of all train rows."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.scoring.tiny import save_tiny_lm
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import CausalLMClassifier
from textclf.scoring.score_file import read_scores

NAMES = ("negative", "positive")
PROMPT = "Film: {text}\nIt is"
POOL = Dataset.from_dict({"text": ["a joy", "a bore", "so dull", "great fun"], "label": [1, 0, 0, 1]})


class Nearest(CausalLMClassifier):
    """Shows the rows that are nearest by TF-IDF, the nearest one last."""

    def examples_for(self, texts):
        pool = TfidfVectorizer(analyzer="char", ngram_range=(1, 3))
        of_pool = pool.fit_transform(self.examples["text"])
        return (pool.transform(texts) @ of_pool.T).toarray().argsort(1, kind="stable")[:, -self.shots :]


class First(CausalLMClassifier):
    """Gives what a test sets."""

    given = [[0]]

    def examples_for(self, texts):
        return self.given


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """With room for several examples."""
    return save_tiny_lm(tmp_path_factory.mktemp("lm"), 2048)


@pytest.fixture(scope="module")
def test_alone(rows_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    (folder / "test.csv").write_text((rows_folder / "train.csv").read_text())
    return folder


def build(kind, lm, **arguments):
    return kind(2, NAMES, pretrained=str(lm), **{"prompt": PROMPT, "shots": 2, **arguments})


def prompts_of(model, rows):
    return [fitted.prompt for fitted in model.prompts(rows)]


def measured(model, rows_folder, folder, **options):
    data = FilesDataModule(str(rows_folder), label_names=list(NAMES), **options)
    plain = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    Trainer(default_root_dir=folder, **plain).test(model, datamodule=data, verbose=False)
    return data, read_scores(folder / "report" / "scores.parquet")


def test_each_text_has_its_nearest_train_rows_before_it(lm, rows_folder, tmp_path):
    model = build(Nearest, lm)
    data, stored = measured(model, rows_folder, tmp_path)
    train, test = data.rows("train"), data.rows("test")
    assert model.examples["text"] == train["text"]
    assert model.textclf.train_rows == len(train) == 60
    expected = model.examples_for(test["text"])
    for i, prompt in enumerate(prompts_of(model, test[:])):
        shown = [f"Film: {train[int(j)]['text']}\nIt is {NAMES[train[int(j)]['label']]}\n\n" for j in expected[i]]
        assert prompt == "".join(shown) + f"Film: {test[i]['text']}\nIt is"
    assert len({tuple(row) for row in expected.tolist()}) > 5
    assert stored.facts["prompt"] == PROMPT


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_scores_are_those_of_plain_passes(strategy, lm, rows_folder, tmp_path):
    """What the prompts of a batch begin with is run once, although their examples differ."""
    found = []
    for name in (strategy, "plain"):
        model = build(Nearest, lm, strategy=name, prompt="Is this film good or bad? Film: {text}\nIt is")
        _, stored = measured(model, rows_folder, tmp_path / name, eval_batch_size=5)
        assert stored.facts["strategies"] == {name: 21}
        found.append(stored)
    for part in ("sums", "content_free", "domain", "empty"):
        np.testing.assert_allclose(getattr(found[0].words, part), getattr(found[1].words, part), atol=1e-4)
    assert found[0].facts["work"]["prefix_hits"] == 21


def test_a_text_is_never_its_own_example(lm):
    model = build(Nearest, lm)
    model.set_examples(POOL, None)
    (prompt,) = prompts_of(model, {"text": ["a joy"], "label": [1]})
    assert prompt.count("a joy") == 1
    assert prompt.endswith("\n\nFilm: a joy\nIt is")


def test_pairs_are_the_same_only_if_both_texts_are(lm):
    model = build(First, lm, prompt="{text} / {text_pair}:", shots=1)
    pool = Dataset.from_dict({"text": ["a"], "text_pair": ["b"], "label": [0]})
    model.set_examples(pool, None)
    rows = {"text": ["a", "a"], "text_pair": ["b", "c"]}
    model.given = [[0], [0]]
    assert prompts_of(model, rows) == ["a / b:", "a / b: negative\n\na / c:"]


def test_long_texts_are_shortened_by_the_room_that_their_own_examples_leave(lm):
    model = build(First, lm, max_length=60, shots=1)
    model.set_examples(POOL, None)
    model.given = [[0], [3], [0]]
    rows = {"text": ["x" * 100, "y" * 100, "z"]}
    encoded = model.encode(rows)
    assert encoded["length"][:2] == [60, 60]
    prompts = prompts_of(model, rows)
    assert model.tokenizer(prompts)["input_ids"] == encoded["input_ids"]
    assert [prompt.partition("Film: ")[2].partition("\n")[0] for prompt in prompts] == ["a joy", "great fun", "a joy"]
    assert prompts[0].count("x") - prompts[1].count("y") == len("great fun") - len("a joy")
    with pytest.raises(UserError, match="no room for the text"):
        build_and_see(lm, max_length=20).encode(rows)


def build_and_see(lm, **arguments):
    model = build(First, lm, shots=1, **arguments)
    model.set_examples(POOL, None)
    model.given = [[0]] * 3
    return model


def test_the_key_of_cached_rows_knows_the_pool_and_the_class(lm):
    def key(kind, rows, **arguments):
        model = build(kind, lm, **arguments)
        model.set_examples(rows, None)
        return model.encoding_key()

    class Other(Nearest):
        def examples_for(self, texts):
            return [[0, 1]] * len(texts)

    changed = POOL.select([0, 1, 2])
    relabelled = Dataset.from_dict({**POOL[:], "label": [0, 0, 0, 1]})
    keys = [key(Nearest, POOL), key(Nearest, changed), key(Nearest, relabelled), key(Other, POOL)]
    assert len({*keys, key(Nearest, POOL, shots=1)}) == 5
    assert key(Nearest, POOL) == keys[0]
    drawn = POOL.select([0, 1])
    assert key(CausalLMClassifier, drawn) == key(CausalLMClassifier, drawn, rule="token_mean")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([[0]], "gave 1 lists: expected a list for each of the 2 texts, of row numbers of self.examples .0 to 3."),
        ([[0], [4]], "gave the row number 4"),
        ([[0], [-1]], "gave the row number -1"),
        ([0, 1], "gave no lists of whole numbers"),
        ([[0.5], [1]], "gave no lists of whole numbers"),
        (None, "gave no lists of whole numbers"),
    ],
)
def test_what_is_no_choice_is_refused(given, words, lm):
    model = build(First, lm, shots=1)
    model.set_examples(POOL, None)
    model.given = given
    with pytest.raises(UserError, match=rf"^First\.examples_for {words}"):
        model.encode({"text": ["a", "b"]})


@pytest.mark.parametrize("given", [np.array([[2, 0]] * 2), torch.tensor([[2, 0]] * 2), [(2, 0), range(2, -1, -2)]])
def test_arrays_tensors_and_ranges_are_taken(given, lm):
    model = build(First, lm)
    model.set_examples(POOL, None)
    model.given = given
    _, chosen = model.templates_for([{"text": "a"}, {"text": "b"}])
    assert chosen == [[2, 0], [2, 0]]


def test_without_shots_or_without_rows(lm):
    zero_shot = build(Nearest, lm, shots=0)
    assert zero_shot.encode({"text": ["a"]})["length"] == [len(PROMPT.replace("{text}", "a")) + 1]
    assert not zero_shot.example_request().all_rows
    with pytest.raises(UserError, match="no examples are known here"):
        build(Nearest, lm).encode({"text": ["a"]})


@pytest.mark.parametrize("rule", ["sum", "fitted_prior"])
def test_rows_of_a_test_split_alone_are_scored_or_shown_never_both(rule, lm, test_alone, tmp_path):
    model = build(Nearest, lm, rule=rule)
    _, stored = measured(model, test_alone, tmp_path, val_size=0.3)
    shown, scored = set(model.examples["id"]), {i for i, one in zip(stored.ids, stored.scored, strict=True) if one}
    assert len(scored) == 42
    assert not shown & scored
    fitted_to = set(stored.ids[42:])
    assert not shown & fitted_to
    assert (len(shown), len(fitted_to)) == ((18, 0) if rule == "sum" else (10, 8))


def test_too_few_rows_to_choose_from(lm, rows_folder, tmp_path):
    with pytest.raises(UserError, match="shots 61: there are 60 train rows to choose from"):
        measured(build(Nearest, lm, shots=61), rows_folder, tmp_path)


@pytest.mark.slow
def test_predict_and_workers_choose_alike(lm, rows_folder, tmp_path, capsys):
    options = ["--data", "FilesDataModule", "--data.data_dir", str(rows_folder), "--trainer.accelerator", "cpu"]
    options += ["--model", f"{__name__}.Nearest", "--model.pretrained", str(lm), "--model.prompt", PROMPT]
    options += ["--model.shots", "2", "--trainer.logger", "false", "--trainer.precision", "32-true"]
    main(["test", *options, "--data.num_workers", "2", "--run_dir", str(tmp_path / "run")])
    capsys.readouterr()
    main(["predict", *options, "--input", str(rows_folder / "test.csv"), "--output", str(tmp_path / "out.jsonl")])
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in lines] == [NAMES[p] for p in table.predictions]
