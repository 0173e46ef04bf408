import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from lightning.pytorch import Trainer
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, T5Config, T5ForConditionalGeneration
from transformers.models.bert import BertForMaskedLM

from tests.models.contract import MethodContract
from tests.scoring.tiny import byte_tokenizer, save_tiny_lm
from tests.several_processes import run_on_processes
from textclf.backbones.weights import dtype_of
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.data.examples import draw_examples
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.evaluation.rescoring import rescore
from textclf.models import CausalLMClassifier, prompt_scorer
from textclf.scoring import rules
from textclf.scoring.rules import RULES, class_scores
from textclf.scoring.score_file import read_scores
from textclf.scoring.tokens import prompt_token_ids

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive")
PROMPT = "Film: {text}\nIt is"


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def test_alone(rows_folder, tmp_path_factory):
    """A folder with the train rows as its only split, as `test.csv`."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "test.csv").write_text((rows_folder / "train.csv").read_text())
    return folder


def options(lm, data, *more):
    return [
        *("--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model" / "causal_lm.yaml")),
        *("--data.data_dir", str(data), "--model.pretrained", str(lm), "--model.prompt", PROMPT),
        *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.logger", "false"),
        *more,
    ]


def run(lm, data, folder, *more):
    """Tests on the command line; gives the metrics, the prediction table and the stored scores."""
    main(["test", *options(lm, data, *more), "--run_dir", str(folder)])
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    table = read_predictions(folder / "report" / "predictions.parquet")
    return metrics, table, read_scores(folder / "report" / "scores.parquet")


@pytest.fixture(scope="module")
def zero_shot(lm, rows_folder, tmp_path_factory):
    return run(lm, rows_folder, tmp_path_factory.mktemp("zero") / "run", "--model.prior", "{negative: 1, positive: 3}")


@pytest.fixture
def likelihood(lm):
    """Log-likelihood of a word after a prompt, by the book."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(lm), AutoTokenizer.from_pretrained(lm)

    def compute(prompt, word):
        start, tail = tokenizer(prompt)["input_ids"], tokenizer(word, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_probs = model(torch.tensor([start + tail])).logits[0].log_softmax(-1)
        return sum(log_probs[len(start) - 1 + i, token].item() for i, token in enumerate(tail))

    return compute


# Scores


def test_scores_are_likelihoods_of_the_words_after_the_prompt(zero_shot, likelihood):
    _, table, stored = zero_shot
    assert stored.ids[:21] == table.ids
    for row in (0, 7, 20):
        prompt = f"Film: {table.texts[row]}\nIt is"
        expected = [likelihood(prompt, f" {name}") for name in NAMES]
        assert stored.words.sums[row] == pytest.approx(expected, abs=1e-4)
        log_probs = torch.tensor(expected).log_softmax(0)
        assert table.log_scores[row] == pytest.approx(log_probs.tolist(), abs=1e-4)
    assert stored.words.words == [" negative", " positive"]
    assert stored.words.empty == pytest.approx([likelihood("", f" {name}") for name in NAMES], abs=1e-4)
    assert stored.words.domain == pytest.approx([likelihood("It is", f" {name}") for name in NAMES], abs=1e-4)
    nothing = [[likelihood(f"Film: {text}\nIt is", f" {name}") for name in NAMES] for text in ("N/A", "", "[MASK]")]
    np.testing.assert_allclose(stored.words.content_free, nothing, atol=1e-4)


def test_a_prior_is_fitted_to_validation_rows(zero_shot, rows_folder, likelihood):
    _, _, stored = zero_shot
    validation = FilesDataModule(str(rows_folder), label_names=list(NAMES)).rows("validation")
    assert (~stored.scored).tolist() == stored.fit.tolist() == [False] * 21 + [True] * 20
    assert stored.ids[21:] == validation["id"]
    assert stored.labels[21:].tolist() == list(validation["label"])
    expected = [likelihood(f"Film: {validation['text'][3]}\nIt is", f" {name}") for name in NAMES]
    assert stored.words.sums[24] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        rule if rule in ("sum", "contextual", "fitted_prior") else pytest.param(rule, marks=pytest.mark.slow)
        for rule in RULES
        if rule != "as_published"
    ],
)
def test_rescoring_gives_what_a_run_with_that_rule_reports(rule, zero_shot, lm, rows_folder, tmp_path):
    judged, absent = rescore(zero_shot[2], [rule])
    assert not absent
    more = ("--model.rule", rule, "--data.eval_batch_size", "8", "--model.prior", "{negative: 1, positive: 3}")
    metrics, table, stored = zero_shot if rule == "sum" else run(lm, rows_folder, tmp_path / "run", *more)
    for name, value in judged[rule].items():
        if name.startswith("test/") or name == "examples":
            assert metrics[name] == pytest.approx(value, abs=1e-5), name
    assert rescore(stored, [rule])[0][rule]["test/nll"] == pytest.approx(metrics["test/nll"], abs=1e-9)
    scores, labels = stored.scores_by(rule)
    np.testing.assert_allclose(scores, table.log_scores, atol=1e-9)
    assert labels.tolist() == table.labels.tolist()


def test_misread_sums_are_made_on_request(zero_shot, lm, rows_folder, tmp_path):
    assert "as_published" in rescore(zero_shot[2], ["as_published"])[1][0]
    metrics, _, stored = run(lm, rows_folder, tmp_path / "run", "--model.rule", "as_published", "--data.limit", "4")
    assert metrics["examples"] == 4
    assert not np.allclose(stored.words.published[:4], stored.words.logits[:4])
    judged, _ = rescore(stored, ["as_published", "logit_sum", "sum"])
    assert judged["as_published"]["test/nll"] == pytest.approx(metrics["test/nll"], abs=1e-9)
    assert len(judged) == 3


def test_several_words_of_a_class_are_added_up(lm, rows_folder, tmp_path):
    words = "{negative: [bad, dull], positive: good}"
    _, table, stored = run(
        *(lm, rows_folder, tmp_path / "run", "--model.label_words", words, "--model.delimiter", "", "--data.limit", "3")
    )
    sums = stored.words.sums[:3]
    assert stored.words.words == ["bad", "dull", "good"]
    both = np.stack([np.logaddexp(sums[:, 0], sums[:, 1]), sums[:, 2]], axis=1)
    np.testing.assert_allclose(table.log_scores, both - np.logaddexp(*both.T)[:, None])


def test_work_and_the_cost_of_rounding_are_reported(lm, rows_folder, tmp_path, capsys):
    more = ("--model.numerics", "5", "--trainer.precision", "bf16-mixed")
    metrics, table, stored = run(lm, rows_folder, tmp_path / "run", *more)
    assert metrics["numerics/examples"] == 5
    assert 0 < metrics["numerics/largest_difference_nats"] < 2
    assert 0 <= metrics["numerics/changed_predictions"] <= 1
    prompts = [f"Film: {text}\nIt is" for text in table.texts]
    nodes = 2 * (len(" negative") - 1) - 1  # both words without their last bytes; the space is one node
    tokens = sum(1 + len(prompt.encode()) for prompt in prompts) + len(prompts) * nodes
    saved = metrics["scoring/prefix_tokens"] * (len(prompts) - 1)
    assert metrics["scoring/tokens"] == tokens - saved
    assert metrics["scoring/tokens_beside"] > 20 * len(" negative")
    assert stored.facts["strategies"] == {"packed": 21}
    assert metrics["scoring/prompts_beside"] == stored.facts["work"]["prompts_beside"] == 20 + 5  # 5 have no text
    assert stored.facts["reasons"] == {"packed": "one pass for a prompt and all labels"}
    assert "labels are scored packed (one pass for a prompt and all labels)" in capsys.readouterr().err


def test_each_precision_is_compared_with_references_of_its_own(lm, monkeypatch):
    given = {"pretrained": str(lm), "prompt": PROMPT, "rule": "pmi"}
    model = CausalLMClassifier(2, NAMES, **given, load_options={"dtype": "bfloat16"})
    used = []
    monkeypatch.setattr(
        prompt_scorer,
        "class_scores",
        lambda rule, likelihoods: used.append(likelihoods) or class_scores(rule, likelihoods),
    )
    model.measure_rounding(Dataset.from_dict({"text": ["a joy"]}))
    own, exact = (likelihoods.empty for likelihoods in used)
    expected = CausalLMClassifier(2, NAMES, **given).scorer.reference("empty")["empty"]
    np.testing.assert_allclose(exact, expected, atol=1e-4)
    assert np.abs(own - expected).max() > 1e-3


def test_a_prior_is_fitted_once(lm, monkeypatch):
    model = CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT, rule="fitted_prior")
    model.set_examples(None, Dataset.from_dict({"text": ["a bore", "a joy", "fine"], "label": [0, 1, 1]}))
    calls, fit = [], rules.fit_shift
    monkeypatch.setattr(rules, "fit_shift", lambda *given: calls.append(given) or fit(*given))
    for text in ("a joy", "dull"):
        model.log_scores(model.collate(model.encode({"text": [text]})))
    assert len(calls) == 1


def test_weights_are_loaded_in_the_precision_of_the_trainer(lm):
    assert [dtype_of(p) for p in ("bf16-true", "bf16-mixed", "16-mixed", "16-true", "32-true")] == [
        *([torch.bfloat16] * 2),
        *([torch.float16] * 2),
        torch.float32,
    ]
    model = CausalLMClassifier(2, NAMES, pretrained=str(lm), load_options={"dtype": "bfloat16"})
    model.configure_model()
    assert model.network[0].dtype == torch.bfloat16
    assert not list(model.parameters())
    assert not model.state_dict()


# Without our callbacks, and with rules of one's own


def measured(model, rows_folder, folder, names=NAMES, **options):
    """Tests with a plain trainer; gives what it logs, and the stored scores."""
    data = FilesDataModule(str(rows_folder), label_names=list(names), **options)
    plain = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    (metrics,) = Trainer(default_root_dir=folder, **plain).test(model, datamodule=data, verbose=False)
    return metrics, read_scores(folder / "report" / "scores.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["sum", "batch", f"{__name__}.own_batch", f"{__name__}.own_pmi"])
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]])
def test_a_plain_trainer_gives_the_figures_of_the_stored_scores(rule, names, lm, rows_folder, tmp_path):
    """Also where the data has the labels in another order than the model."""
    given = {"pretrained": str(lm), "prompt": PROMPT, "rule": rule}
    metrics, stored = measured(CausalLMClassifier(2, NAMES, **given), rows_folder, tmp_path, names, eval_batch_size=8)
    assert stored.facts["rule"] == rule
    assert stored.facts["work"]["packed"] == stored.facts["strategies"]["packed"] == 21
    scores, labels = stored.apply(rule)
    np.testing.assert_allclose(stored.log_scores, scores, atol=1e-9)
    assert metrics["test/accuracy"] == pytest.approx((scores.argmax(1) == labels).mean(), abs=1e-6)
    assert metrics["test/nll"] == pytest.approx(-scores[np.arange(21), labels].mean(), abs=1e-5)
    truth = [NAMES[label] for label in labels[:21]]
    assert truth == [line.rpartition(",")[2] for line in (rows_folder / "test.csv").read_text().splitlines()[1:]]


def own_scores(stored):
    scores = rules.summed(stored)
    return scores - scores.mean(0)


own_batch = rules.ScoreRule(own_scores, whole_split=True)
own_pmi = rules.ScoreRule(lambda stored: rules.class_log_probs(stored.sums - stored.empty, stored), needs=("empty",))


class Sharper(CausalLMClassifier):
    """Makes scores in a way of its own."""

    def log_scores(self, batch):
        return (super().log_scores(batch) * 3).log_softmax(-1)


def test_rescoring_knows_a_subclass_that_makes_its_own_scores(lm, rows_folder, tmp_path):
    metrics, stored = measured(Sharper(2, NAMES, pretrained=str(lm), prompt=PROMPT), rows_folder, tmp_path)
    own = f"{__name__}.Sharper"
    assert stored.facts["rule"] == own
    judged, _ = rescore(stored)
    for name in ("test/accuracy", "test/macro_f1", "test/nll", "test/ece"):
        assert judged[own][name] == pytest.approx(metrics[name], abs=1e-5), name
    assert judged["sum"]["test/nll"] != pytest.approx(metrics["test/nll"], abs=1e-3)


@pytest.mark.slow
def test_a_rule_of_ones_own_reports_what_it_is_rescored_with(lm, rows_folder, tmp_path):
    for rule in (f"{__name__}.own_batch", f"{__name__}.own_pmi"):
        more = ("--model.rule", rule, "--data.eval_batch_size", "4")
        metrics, table, stored = run(lm, rows_folder, tmp_path / rule, *more)
        np.testing.assert_allclose(stored.log_scores, table.log_scores, atol=1e-9)
        for judged in (rescore(stored, [rule])[0][rule], rescore(replace(stored, log_scores=None), [rule])[0][rule]):
            assert judged["test/nll"] == pytest.approx(metrics["test/nll"], abs=1e-9)


# Prompts


@pytest.mark.slow
def test_an_empty_prompt_without_a_bos_is_left_out_where_the_rule_does_not_need_it(lm, rows_folder, tmp_path, capsys):
    bare = ("--model.prompt", "{text}", "--model.bos", "never")
    _, _, stored = run(lm, rows_folder, tmp_path / "run", *bare)
    assert stored.words.content_free is None
    assert stored.words.domain is None
    refused_line = refused(capsys, "test", *options(lm, rows_folder, *bare, "--model.rule", "contextual"))
    assert "rule 'contextual' needs 'content_free'" in refused_line


def test_long_texts_are_counted_and_said(lm, rows_folder, tmp_path, capsys, likelihood):
    metrics, table, stored = run(lm, rows_folder, tmp_path / "run", "--model.max_length", "60")
    longest = max(range(21), key=lambda i: len(table.texts[i].encode()))
    room = 60 - 1 - len("Film: \nIt is")
    kept = table.texts[longest].encode()[:room].decode(errors="ignore")
    too_long = sum(len(text.encode()) > room for text in table.texts)
    said = capsys.readouterr().err
    assert f"{too_long} of 21 rows are longer than max_length 60" in said
    assert "20 labelled rows are scored beforehand, for the rule fitted_prior" in said
    lost = sum(len(text.encode()) - len(text.encode()[:room].decode(errors="ignore").encode()) for text in table.texts)
    assert (metrics["texts_cut"], metrics["tokens_cut"]) == (too_long, lost)
    expected = [likelihood(f"Film: {kept}\nIt is", f" {name}") for name in NAMES]
    assert stored.words.sums[longest] == pytest.approx(expected, abs=1e-4)


def test_predict_says_what_it_cut(lm, rows_folder, capsys):
    texts = ["--texts", '["a fine film", "ab", "a film that is as long as it is fine"]']
    main(["predict", *options(lm, rows_folder, "--model.max_length", "30", *texts)])
    assert "texts: 1 of 3 rows are longer than max_length 30: 19 tokens" in capsys.readouterr().err
    main(["predict", *options(lm, rows_folder, *texts)])
    assert "longer than" not in capsys.readouterr().err


def test_the_policy_of_bos_reaches_tokens_and_key(lm):
    models = {
        bos: CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT, bos=bos)
        for bos in ("tokenizer", "always", "never")
    }
    lengths = {bos: model.encode({"text": ["a joy"]})["length"] for bos, model in models.items()}
    assert lengths == {"tokenizer": [18], "always": [18], "never": [17]}
    assert len({model.encoding_key() for model in models.values()}) == 3
    sums = [model.word_scores(model.encode({"text": ["a joy"]}))["sums"] for model in models.values()]
    np.testing.assert_allclose(sums[0], sums[1])
    assert np.abs(sums[0] - sums[2]).max() > 0.01
    assert models["never"].scorer.reference("empty")["empty"].shape == (2,)


def test_prompts_are_tokenised_once(lm, monkeypatch):
    texts = ["a joy", "dull", "a film that is as long as it is fine"]
    expected = CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT).classify(texts)
    tokenised = []

    def spy(tokenizer, prompts, bos):
        tokenised.extend(prompts)
        return prompt_token_ids(tokenizer, prompts, bos)

    monkeypatch.setattr("textclf.models.prompts.prompt_token_ids", spy)
    monkeypatch.setattr("textclf.scoring.scorer.prompt_token_ids", None)
    assert CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT).classify(texts) == expected
    assert tokenised == [f"Film: {text}\nIt is" for text in texts]


# Examples


def test_draws_are_balanced_seeded_and_in_mixed_order():
    labels = np.array([0] * 50 + [1] * 50 + [2] * 50)
    drawn = draw_examples(labels, 7, 1, ("a", "b", "c"))
    assert sorted(np.bincount(labels[drawn])) == [2, 2, 3]
    assert len(set(drawn.tolist())) == 7
    assert drawn.tolist() == draw_examples(labels, 7, 1, ("a", "b", "c")).tolist()
    assert drawn.tolist() != draw_examples(labels, 7, 2, ("a", "b", "c")).tolist()
    assert sorted(labels[drawn].tolist()) != labels[drawn].tolist()


def test_examples_come_from_train_alone(lm, rows_folder, tmp_path):
    metrics, _, stored = run(lm, rows_folder, tmp_path / "run", "--model.shots", "4")
    prompt = stored.facts["prompt"]
    data = FilesDataModule(str(rows_folder), label_names=list(NAMES))
    shown = [(row["text"], NAMES[row["label"]]) for row in data.rows("train") if row["text"] in prompt]
    assert sorted(name for _, name in shown) == ["negative", "negative", "positive", "positive"]
    assert all(f"Film: {text}\nIt is {name}\n\n" in prompt for text, name in shown)
    assert prompt.endswith("Film: {text}\nIt is")
    assert metrics["examples"] == 21
    assert metrics["scoring/prefix_hits"] == 21


@pytest.mark.slow
def test_a_test_split_alone(lm, test_alone, tmp_path, capsys):
    """All rows are scored, but by what needs a slice of them."""
    metrics, _, stored = run(lm, test_alone, tmp_path / "sum")
    assert "reserved for training" not in capsys.readouterr().err
    assert metrics["examples"] == 60
    judged, _ = rescore(stored, ["sum", "fitted_prior"])
    assert [judged[rule]["examples"] for rule in ("sum", "fitted_prior")] == [60, 54]

    metrics, table, stored = run(lm, test_alone, tmp_path / "fitted", "--model.rule", "fitted_prior")
    assert "6 rows of the test split are reserved for training, and are not scored" in capsys.readouterr().err
    assert metrics["examples"] == 54
    again, _ = rescore(stored, ["sum", "fitted_prior"])
    assert again["sum"]["examples"] == 60
    for rule in again:
        assert again[rule]["test/nll"] == pytest.approx(judged[rule]["test/nll"], abs=1e-5)
    assert metrics["test/nll"] == pytest.approx(again["fitted_prior"]["test/nll"], abs=1e-9)

    more = ("--model.shots", "2", "--model.shot_seed", "3")
    metrics, table, stored = run(lm, test_alone, tmp_path / "shots", *more)
    assert metrics["examples"] == 54
    assert not any(text in stored.facts["prompt"] for text in table.texts)
    assert (stored.fit & ~stored.scored).sum() == 4
    assert rescore(stored, ["fitted_prior"])[0]["fitted_prior"]["examples"] == 54


@pytest.mark.parametrize(
    "rule",
    [pytest.param("batch", marks=pytest.mark.exhaustive), pytest.param("fitted_prior", marks=pytest.mark.slow)],
)
def test_two_processes_give_what_one_gives(rule, lm, rows_folder, tmp_path):
    """Seven batches; and two, one of them empty for the second process."""
    lines = {
        limit: options(
            *(lm, rows_folder, "--model.rule", rule),
            *("--data.limit", str(limit), "--data.eval_batch_size", str(size)),
        )
        for limit, size in ((21, 3), (2, 2))
    }
    run_on_processes(2, *(["test", *line, "--run_dir", str(tmp_path / f"{limit}-2")] for limit, line in lines.items()))
    for limit, line in lines.items():
        main(["test", *line, "--run_dir", str(tmp_path / f"{limit}-1")])
        (one, table, stored), (two, other_table, other) = (
            (
                json.loads((tmp_path / f"{limit}-{processes}" / "report" / "metrics.json").read_text()),
                read_predictions(tmp_path / f"{limit}-{processes}" / "report" / "predictions.parquet"),
                read_scores(tmp_path / f"{limit}-{processes}" / "report" / "scores.parquet"),
            )
            for processes in (1, 2)
        )
        np.testing.assert_allclose(table.log_scores, other_table.log_scores, atol=1e-4)
        np.testing.assert_allclose(stored.words.sums, other.words.sums, atol=1e-4)
        assert stored.ids == other.ids
        for name in ("test/accuracy", "test/nll", "test/ece", "examples"):
            assert one[name] == pytest.approx(two[name], abs=1e-4), name


# Use


def test_classify_and_predict_agree_with_the_test(zero_shot, lm, rows_folder, tmp_path, capsys):
    _, table, _ = zero_shot
    model = CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT)
    answers = model.classify(table.texts)
    assert [answer["label"] for answer in answers] == [NAMES[p] for p in table.predictions]
    capsys.readouterr()
    texts = ("--texts", json.dumps(table.texts[:3]))
    main(["predict", *options(lm, rows_folder, *texts)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["score"] for row in rows] == pytest.approx([answer["score"] for answer in answers[:3]], abs=1e-5)
    main(["predict", *options(lm, rows_folder, *texts, "--model.shots", "2", "--model.rule", "fitted_prior")])
    assert len(capsys.readouterr().out.splitlines()) == 3
    batch = CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT, rule="batch")
    with pytest.raises(UserError, match="all rows"):
        batch.classify(["a film"])
    with pytest.raises(UserError, match="no examples"):
        CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT, shots=2).classify(["a film"])


@pytest.mark.slow
def test_validation_is_measured_by_any_rule(lm, rows_folder, tmp_path, capsys):
    for rule in ("sum", "batch"):
        main(["validate", *options(lm, rows_folder, "--model.rule", rule), "--run_dir", str(tmp_path / rule)])
        assert "macro avg" in capsys.readouterr().out
        metrics = json.loads((tmp_path / rule / "report" / "validation" / "metrics.json").read_text(encoding="utf-8"))
        assert 0 <= metrics["validation/macro_f1"] <= 1


# What a stranger gets wrong


@pytest.fixture(scope="module")
def not_causal(tmp_path_factory):
    """Folders of a masked LM and of an encoder-decoder."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("bert", "t5")}
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(**sizes, intermediate_size=32)).save_pretrained(folders["bert"])
    T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=16, num_layers=1, num_heads=2)).save_pretrained(
        folders["t5"]
    )
    for folder in folders.values():
        byte_tokenizer().save_pretrained(folder)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--model.label_words '{negative: bad, positive: bad}'", ["' bad'", "same tokens"]),
        ("--model.label_words '{negative: bad}'", ["label_words leaves out 'positive'"]),
        ("--model.label_words '{negative: bad, positive: good, other: so so}'", ["names 'other'", "negative"]),
        ("--model.label_words '{negative: [], positive: good}'", ["'negative'"]),
        ("--model.prompt 'What is it?'", ["'What is it?'", "{text}"]),
        ("--model.prompt '{text} and {text_pair}'", ["{text_pair}"]),
        ("--model.max_length 10", ["no room for the text", "13 tokens without", "10 fit"]),
        ("--model.shots 1000", ["shots 1000", "500 rows of", "30 for training"]),
        ("--model.rule nonsense", ["nonsense", "fitted_prior"]),
        ("--model.rule prior", ["'prior'", "share"]),
        ("--model.prior '{negative: 0, positive: 1}'", ["'negative'", "above 0"]),
        ("--model.chat_template true", ["chat_template", "false"]),
        ("--model.pretrained nobody/nothing", ["'nobody/nothing'", "--model.pretrained"]),
        ("--model.pretrained ./nowhere.gguf", ["'./nowhere.gguf'"]),
        ("--model.load_options '{no_such_option: 1}'", ["no_such_option"]),
        ("--model.numerics=-1", ["numerics -1"]),
    ],
)
def test_mistakes_end_with_one_clear_line(more, words, lm, rows_folder, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, "test", *options(lm, rows_folder, *shlex.split(more)))
    for word in words:
        assert word in line, line


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


@pytest.mark.parametrize(("name", "words"), [("bert", "not causal"), ("t5", "encoder-decoder")])
def test_a_model_that_is_no_causal_lm(name, words, not_causal, rows_folder, capsys, tmp_path):
    line = refused(capsys, "test", *options(not_causal[name], rows_folder), "--run_dir", str(tmp_path / "run"))
    assert words in line


def test_fit_and_validation_of_what_is_fitted_to_it_are_refused(lm, rows_folder, capsys, tmp_path):
    folder = ("--run_dir", str(tmp_path / "run"))
    assert "nothing to train" in refused(capsys, "fit", *options(lm, rows_folder), *folder)
    fitted = options(lm, rows_folder, "--model.rule", "fitted_prior")
    assert "run `test`" in refused(capsys, "validate", *fitted, *folder)


# The reference system


ASKED = (
    "Classify the following news article into one of four categories: World, Sports, Business, or Sci/Tech. "
    "The classification should be based solely on the content of the article.\nArticle:\n"
)
TOPIC = "What is the topic of the following article?"
TOPICS = ["World", "Sports", "Business", "Sci/Tech"]
EXPLAINED = [
    "World: This category includes news articles about international events, politics, conflicts, and global issues.",
    "Sports: This category includes news articles about various sports, athletic events, players, and sports-related "
    "topics.",
    "Business: This category includes news articles about finance, economy, companies, markets, and business-related "
    "topics.",
    "Sci/Tech: This category includes news articles about science, technology, innovations, research, and tech "
    "industry news.",
]


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("R13a", ASKED, TOPICS),
        ("R13b", ASKED, EXPLAINED),
        ("R13c", TOPIC, [*TOPICS[:3], "Science"]),
        ("R13d", TOPIC, TOPICS),
    ],
)
def test_reference_prompts_are_the_documents(name, head, words):
    config = yaml.safe_load((CONFIGS / "reference" / f"{name}.yaml").read_text())
    model = CausalLMClassifier(4, TOPICS, **config["model"]["init_args"])
    assert model.template.fill({"text": "A text."}) == f"{head}A text."
    assert model.words == words
    assert model.rule == "as_published"
    assert config["data"]["init_args"] == {"limit": 50, "limit_by": "first", "cleaning": []}
    assert model.pretrained == "google/gemma-2b"


def test_the_published_anchor_can_be_computed_by_one_line(lm, capsys):
    lines = (CONFIGS / "reference" / "R13a.yaml").read_text().splitlines()
    (code,) = (line.removeprefix('# python -c "').removesuffix('"') for line in lines if "python -c" in line)
    exec(code.replace("google/gemma-2b", str(lm)), {})
    assert "dtype=torch.float64" in capsys.readouterr().out


def test_examples_are_given_by_hand(lm):
    model = CausalLMClassifier(2, NAMES, pretrained=str(lm), prompt=PROMPT, shots=2)
    model.set_examples(Dataset.from_dict({"text": ["a bore", "a joy"], "label": [0, 1]}), None)
    before = model.encoding_key()
    assert model.template.parts[0] == "Film: a bore\nIt is negative\n\nFilm: a joy\nIt is positive\n\nFilm: "
    model.set_examples(Dataset.from_dict({"text": ["a joy", "a bore"], "label": [1, 0]}), None)
    assert model.encoding_key() != before
    assert len(model.classify(["fine"])) == 1


class TestContract(MethodContract):
    method = CausalLMClassifier
