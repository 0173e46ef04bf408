"""The reference systems that are used as they are: what they send, to the byte, and how they decide, by hand."""

import copy
import json
import math
import shlex
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from tokenizers import decoders

import textclf.models
from tests.chat_server import ChatServer, completion
from tests.conftest import invented_rows
from tests.models.test_seq2seq import KINDS
from tests.scoring.tiny import SIZES, byte_tokenizer
from textclf.cli import main
from textclf.evaluation.prediction_table import read_predictions
from textclf.models.label_arguments import map_labels

CONFIGS = Path(__file__).parents[1] / "configs" / "reference"
NAMES = ("negative", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ROOM = {"max_position_embeddings": 600, "type_vocab_size": 2}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
DISTILLED = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 600}
STAND_INS = {  # name: (architecture, sizes, the labels of the model that is meant)
    "R1": ("Roberta", {**SMALL, **ROOM}, ("negative", "neutral", "positive")),
    "R2": ("DistilBert", DISTILLED, ("NEGATIVE", "POSITIVE")),
    "R8": ("DistilBert", DISTILLED, ("NEGATIVE", "POSITIVE")),
    "R9": ("Bert", {**SMALL, **ROOM}, STARS),
    "R10": ("DebertaV2", {**SMALL, **ROOM, **RELATIVE}, ("entailment", "neutral", "contradiction")),
}
R6_PROMPT = "Is the following sentence positive or negative? a fine film."
R7_PROMPT = (
    "Predict whether the following document is a positive or negative movie review:\n\n[DOCUMENT]\n\n"
    "If it is positive return 1 and if it is negative return 0. Do not give any other answers.\n"
)
SENTENCES = {
    "R8": ["어떻게 감독이 된 건지 의문인 영화"],
    "R9": ["이 제품 정말 좋아요! 추천합니다.", "배송이 너무 늦었어요. 실망스럽네요.", "가격 대비 괜찮은 것 같습니다."],
}


def configured(name, **values):
    """The method that a reference system's config describes."""
    model = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))["model"]
    return getattr(textclf.models, model["class_path"])(2, NAMES, **{**model["init_args"], **values})


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Makes a folder with a tiny model of a reference system's architecture and labels."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if name.startswith("R6"):
                config, sizes, _ = KINDS["t5 v1.1"]
                model = transformers.AutoModelForSeq2SeqLM.from_config(config(**{**SIZES, **sizes}))
            else:
                kind, sizes, labels = STAND_INS[name]
                ids = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
                config = getattr(transformers, f"{kind}Config")(vocab_size=300, pad_token_id=2, **sizes, **ids)
                model = transformers.AutoModelForSequenceClassification.from_config(config)
        model.save_pretrained(folder)
        tokenizer = copy.deepcopy(byte_tokenizer(eos=True))
        tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture
def films(tmp_path):
    """Some rows in the columns of the real data sets."""
    rows = list(invented_rows(6, seed=2))
    (tmp_path / "rows").mkdir()
    lines = [json.dumps({"text": text, "document": text, "id": i, "label": i % 2}) for i, (text, _) in enumerate(rows)]
    (tmp_path / "rows" / "test.jsonl").write_text("\n".join(lines))
    return tmp_path


def run(name, films, *options):
    """A test of a reference system as its config says, on a CPU in fp32."""
    main(
        [
            *("test", "--config", str(CONFIGS / f"{name}.yaml"), "--data.data_dir", str(films / "rows"), *options),
            *("--trainer.logger", "false", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
            *("--run_dir", str(films / "run")),
        ]
    )
    metrics = json.loads((films / "run" / "report" / "metrics.json").read_text())
    return metrics, read_predictions(films / "run" / "report" / "predictions.parquet")


@pytest.mark.parametrize(
    "name",
    ["R1", "R6_base", *(pytest.param(n, marks=pytest.mark.slow) for n in "R2 R6_small R6_large R8 R9 R10".split())],
)
def test_it_runs_from_end_to_end(name, stand_in, films):
    metrics, table = run(name, films, "--model.pretrained", stand_in(name))
    assert metrics["examples"] == len(table.texts) == 6
    assert metrics.get("test/otherwise") == (6 if name.startswith("R6") else None), "random weights write no label"
    assert metrics.get("test/no_label") == metrics.get("test/otherwise")
    assert metrics["test/invalid"] == 0


def test_r7_runs_from_end_to_end(films, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key-for-tests")
    with ChatServer(lambda body: completion("1")) as server:
        metrics, table = run("R7", films, f"--model.base_url={server.url}", f"--model.cache={films / 'answers'}")
        server.shutdown()
    assert metrics["chat/requests"] == 6
    assert table.predictions.tolist() == [1] * 6
    wanted = [R7_PROMPT.replace("[DOCUMENT]", text) for text in table.texts]
    assert sorted(body["messages"][1]["content"] for body in server.bodies) == sorted(wanted)


@pytest.mark.parametrize("name", ["R8", "R9"])
def test_the_sentences_are_predicted(name, stand_in, capsys):
    assert json.dumps(SENTENCES[name], ensure_ascii=False) in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    texts = json.dumps(SENTENCES[name], ensure_ascii=False)
    options = ["--model.pretrained", stand_in(name), "--trainer.accelerator", "cpu"]
    main(["predict", "--config", str(CONFIGS / f"{name}.yaml"), *options, "--texts", texts])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == SENTENCES[name]
    assert {row["label"] for row in rows} <= {*NAMES}


def test_r9_shows_its_stars(stand_in, capsys):
    """The second command in the config's head, as it stands there but for the model."""
    head = [line[2:] for line in (CONFIGS / "R9.yaml").read_text(encoding="utf-8").splitlines() if line[0] == "#"]
    start = next(i for i, line in enumerate(head) if "configs/files.yaml" in line)
    words = shlex.split(" ".join(head[start : start + 4]))
    assert words[:4] == ["python", "-m", "textclf", "predict"]
    assert words.count("--texts") == 1
    arguments = [str(CONFIGS.parents[1] / word) if word.startswith("configs/") else word for word in words[3:]]
    main([*arguments, "--model.pretrained", stand_in("R9"), "--trainer.accelerator", "cpu"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == SENTENCES["R9"]
    assert {tuple(row["scores"]) for row in rows} == {STARS}


# What is sent


@pytest.mark.parametrize("name", ["R1", "R2", "R8", "R9"])
def test_ready_made_models_read_the_text_alone(name, stand_in):
    model = configured(name, pretrained=stand_in(name))
    for text in SENTENCES["R8"] + SENTENCES["R9"] + [" two  blanks "]:
        (ids,) = model.encode({"text": [text]})["input_ids"]
        assert ids[0] == 0
        assert ids[-1] == 1
        assert model.tokenizer.decode(ids[1:-1]) == text


@pytest.mark.parametrize("size", ["base", "small", "large"])
def test_what_r6_sends(size, stand_in):
    model = configured(f"R6_{size}", pretrained=stand_in("R6"))
    assert [fitted.prompt for fitted in model.prompts({"text": ["a fine film."]})] == [R6_PROMPT]
    assert yaml.safe_load((CONFIGS / f"R6_{size}.yaml").read_text())["model"]["init_args"]["pretrained"] == (
        f"google/flan-t5-{size}"
    )


def test_what_r7_sends():
    assert configured("R7").request({"text": "a fine film ."}) == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": R7_PROMPT.replace("[DOCUMENT]", "a fine film .")},
        ],
        "temperature": 0.0,
    }


def test_what_r10_asks(stand_in):
    model = configured("R10", pretrained=stand_in("R10"))
    assert model.hypotheses == ["이 문장은 부정을 표현한다.", "이 문장은 긍정을 표현한다."]
    (pairs,) = model.encode({"text": ["재밌다"]})["input_ids"]
    assert [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs] == [
        "재밌다이 문장은 부정을 표현한다.",
        "재밌다이 문장은 긍정을 표현한다.",
    ]


# How it decides: five cases each, worked by hand


@pytest.mark.parametrize(
    ("name", "theirs", "cases"),
    [
        (
            "R1",  # negative, neutral, positive
            ("negative", "neutral", "positive"),
            {
                (0.2, 0.5, 0.3): (0.4, 0.6),
                (0.1, 0.9, 0.0): (1.0, 0.0),
                (0.3, 0.1, 0.6): (1 / 3, 2 / 3),
                (0.75, 0.0, 0.25): (0.75, 0.25),
                (0.09, 0.9, 0.01): (0.9, 0.1),
            },
        ),
        (
            "R2",  # theirs in another order than ours
            ("POSITIVE", "NEGATIVE"),
            {
                (0.9, 0.1): (0.1, 0.9),
                (0.6, 0.4): (0.4, 0.6),
                (0.49, 0.51): (0.51, 0.49),
                (0.22, 0.78): (0.78, 0.22),
                (0.01, 0.99): (0.99, 0.01),
            },
        ),
        (
            "R8",
            ("POSITIVE", "NEGATIVE"),
            {
                (0.78, 0.22): (0.22, 0.78),  # the sentence of the documents
                (0.5, 0.5): (0.5, 0.5),
                (0.45, 0.55): (0.55, 0.45),
                (0.001, 0.999): (0.999, 0.001),
                (1.0, 0.0): (0.0, 1.0),
            },
        ),
        (
            "R9",
            STARS,
            {
                (0.03, 0.02, 0.05, 0.18, 0.72): (0.05 / 0.95, 0.9 / 0.95),
                (0.43, 0.27, 0.2, 0.06, 0.04): (0.875, 0.125),
                (0.02, 0.1, 0.56, 0.24, 0.08): (3 / 11, 8 / 11),
                (0.3, 0.0, 0.3, 0.0, 0.4): (3 / 7, 4 / 7),
                (0.2, 0.2, 0.25, 0.35, 0.0): (8 / 15, 7 / 15),
            },
        ),
    ],
)
def test_how_ready_made_models_decide(name, theirs, cases):
    model = configured(name)
    model.targets = map_labels(theirs, NAMES, model.label_map)
    found = model.mapped(torch.tensor(list(cases)).clamp(min=1e-30).log()).exp()
    torch.testing.assert_close(found, torch.tensor(list(cases.values())), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "decisions"),
    [
        ("R6_base", {"negative": 0, "positive": 1, "it is negative.": 0, "Negative": 1, "": 1}),
        ("R6_small", {"negative": 0, "positive": 1, "it is negative.": 1, "Negative": 1, "negative negative": 1}),
        ("R6_large", {"negative": 0, "positive": 1, "very negative": 0, "not negative but positive": 0, "no": 1}),
    ],
)
def test_how_r6_decides(name, decisions):
    model = configured(name)
    for answer, wanted in decisions.items():
        decided = model.decide(answer)
        assert (model.otherwise if decided is None else decided) == wanted, answer


def test_how_r7_decides():
    model = configured("R7")
    for answer, wanted in {"1": 1, "0": 0, " 1\n": 1, "positive": None, "-1": None, "10": None}.items():
        assert model.read(completion(answer)) == wanted, answer


def test_how_r10_decides():
    model = configured("R10")
    model.entailment, model.contradiction = 0, 2
    for (negative, positive), wanted in {
        (0.0, math.log(3)): 0.75,
        (2.0, 2.0): 0.5,
        (math.log(9), 0.0): 0.1,
        (-1.0, -1.0 + math.log(4)): 0.8,
        (5.0, 5.0 - math.log(3)): 0.25,
    }.items():
        logits = torch.tensor([[[negative, 7.0, 1.0], [positive, -3.0, 9.0]]])  # only entailment counts
        assert model.label_log_probs(logits)[0].exp().tolist() == pytest.approx([1 - wanted, wanted])
