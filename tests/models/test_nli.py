"""Zero-shot by NLI, against a plain loop and against the pipeline of transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, DebertaV2Config, pipeline

from tests.conftest import invented_rows, real_texts
from tests.models.contract import MethodContract
from tests.several_processes import run_on_processes
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import NLIClassifier
from textclf.models.nli import entailment_indices

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive", "mixed")
KNOWN = ("dull", "great", "wonderful")  # to the tokenizer, too
TEXTS = [text for text, _ in invented_rows(9, seed=3)] + ["", "영화 " * 200]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
USUAL = ("contradiction", "neutral", "entailment")
UNUSUAL = ("neutral", "entailment", "contradiction")


@pytest.fixture(scope="module")
def nli_model(tiny_encoder, tmp_path_factory):
    """Makes a folder with an NLI model with large random weights."""

    def make(names=UNUSUAL, kind=BertConfig):
        folder = tmp_path_factory.mktemp("nli")
        tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
        relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
        config = kind(
            vocab_size=len(tokenizer),
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            pad_token_id=tokenizer.pad_token_id,
            type_vocab_size=2 if kind is BertConfig else 0,
            **SIZES,
            **(relative if kind is DebertaV2Config else {}),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = AutoModelForSequenceClassification.from_config(config)
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.4)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


def probabilities(model, texts):
    """What a classifier says, `(texts, labels)`."""
    model.configure_model()
    model.eval()
    batch = model.collate({"text": texts, **model.encode({"text": texts})})
    return model.log_scores(batch).exp()


def plain_loop(folder, texts, hypotheses, multi_label, places):
    """One pass per text and label."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        inputs = [
            tokenizer(text, hypothesis, truncation="only_first", max_length=64, return_tensors="pt")
            for hypothesis in hypotheses
        ]
        with torch.no_grad():
            logits = torch.cat([model(**each).logits for each in inputs])
        entailed = logits[:, places[0]].softmax(0)
        if multi_label:
            entailed = logits[:, list(places)].softmax(1)[:, 0]
        rows.append(entailed / entailed.sum())
    return torch.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BertConfig, DebertaV2Config])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("budget", "texts"), [(1, TEXTS), (200, TEXTS), (None, TEXTS), (None, "real")])
def test_it_agrees_with_a_plain_loop(kind, multi_label, budget, texts, nli_model):
    texts = real_texts() if texts == "real" else texts
    folder = nli_model(kind=kind)
    template, label_texts = "이 영화 {label} .", {"negative": "지루한", "mixed": "dull and great"}
    model = NLIClassifier(3, NAMES, folder, 64, template, label_texts, multi_label, budget)
    hypotheses = ["이 영화 지루한 .", "이 영화 positive .", "이 영화 dull and great ."]
    assert model.hypotheses == hypotheses
    wanted = plain_loop(folder, texts, hypotheses, multi_label, (1, 2))
    assert wanted.std(0).min() > 0.005
    torch.testing.assert_close(probabilities(model, texts), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("multi_label", [False, True])
def test_contradiction_is_found_by_name_where_the_pipeline_assumes_its_place(multi_label, nli_model):
    for names, pipeline_is_right in ((USUAL, True), (UNUSUAL, not multi_label)):
        folder = nli_model(names)
        classify = pipeline("zero-shot-classification", model=folder, device="cpu")
        model = NLIClassifier(3, KNOWN, folder, 64, "{} film", multi_label=multi_label)
        ours = probabilities(model, TEXTS[:-2])
        answers = classify(TEXTS[:-2], list(KNOWN), hypothesis_template="{} film", multi_label=multi_label)
        theirs = torch.tensor([[dict(zip(a["labels"], a["scores"], strict=True))[n] for n in KNOWN] for a in answers])
        theirs = theirs / theirs.sum(1, keepdim=True)
        assert ((ours - theirs).abs().max() < 1e-4) == pipeline_is_right
        places = (names.index("entailment"), names.index("contradiction"))
        wanted = plain_loop(folder, TEXTS[:-2], [f"{name} film" for name in KNOWN], multi_label, places)
        torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=0)


def test_entailment_is_found_by_name():
    assert entailment_indices({0: "ENTAILMENT", 1: "Neutral", 2: "CONTRADICTION"}, "m") == (0, 2)
    assert entailment_indices({0: "not_entailment", 1: "entailment"}, "m") == (1, 0)
    for names in ({0: "LABEL_0", 1: "LABEL_1"}, {0: "entailment", 1: "neutral"}, {0: "entailment", 1: "entails"}):
        with pytest.raises(UserError, match=", ".join(names.values())):
            entailment_indices(names, "m")


@pytest.mark.slow
def test_a_run_and_what_is_refused(nli_model, rows_folder, tmp_path, capsys):
    options = [
        *("test", "--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model" / "nli.yaml")),
        *("--data.data_dir", str(rows_folder), "--model.pretrained", nli_model(), "--trainer.logger", "false"),
        *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu"),
    ]
    main([*options, "--run_dir", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())["examples"] == 21
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    model = NLIClassifier(2, NAMES[:2], options[options.index("--model.pretrained") + 1], 64)
    torch.testing.assert_close(
        torch.tensor(table.log_scores).exp(), probabilities(model, table.texts).double(), atol=1e-5, rtol=0
    )
    for more, words in {
        "--model.max_length 5": "a hypothesis alone has",
        "--model.max_length 999": "at most 64",
        "--model.hypothesis_template film": "must have one {label}",
        "--model.label_texts {good:fine}": "'good', which is not a label: the labels are negative, positive",
        "--model.label_texts {negative:positive}": "the same hypothesis",
    }.items():
        with pytest.raises(SystemExit):
            main([*options, *more.replace(":", ": ").split(" ", 1), "--run_dir", str(tmp_path / "refused")])
        assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.exhaustive
def test_two_processes_give_what_one_gives(nli_model, rows_folder, tmp_path):
    options = [
        *("test", "--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model" / "nli.yaml")),
        *("--data.data_dir", str(rows_folder), "--model.pretrained", nli_model(), "--trainer.logger", "false"),
        *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu"),
    ]
    main([*options, "--run_dir", str(tmp_path / "1")])
    run_on_processes(2, [*options, "--run_dir", str(tmp_path / "2")])
    tables = [read_predictions(tmp_path / name / "report" / "predictions.parquet") for name in ("1", "2")]
    assert tables[0].texts == tables[1].texts
    np.testing.assert_allclose(tables[0].log_scores, tables[1].log_scores, atol=1e-5)


class TestContract(MethodContract):
    method = NLIClassifier
