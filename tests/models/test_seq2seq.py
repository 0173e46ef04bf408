"""Encoder-decoders with random weights: likelihoods against plain loops, and answers that are read."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, BartConfig, GenerationConfig, T5Config

from tests.conftest import invented_rows, real_texts
from tests.models.contract import MethodContract
from tests.scoring.tiny import SIZES, byte_tokenizer
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import Seq2SeqClassifier
from textclf.scoring.seq2seq import plain_seq2seq_score, target_token_ids

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive", "부정")
WORDS = {"negative": ["bad", "ba", "awful"], "positive": ["good", "긍정"], "부정": "부정"}
PROMPT = "영화: {text} ({labels})"
TEXTS = [text for text, _ in invented_rows(9, seed=5)] + ["", "영화 " * 200]
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "relative_attention_num_buckets": 8}
BART = {"d_model": 16, "max_position_embeddings": 512, "forced_eos_token_id": None} | {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"layers": 2, "attention_heads": 2, "ffn_dim": 32}.items()
}
KINDS = {
    "t5": (T5Config, {**T5, "decoder_start_token_id": 2}, False),
    "t5 v1.1": (T5Config, {**T5, "decoder_start_token_id": 2, "feed_forward_proj": "gated-gelu"}, False),
    "bart": (BartConfig, {**BART, "decoder_start_token_id": 1}, True),
}


@pytest.fixture(scope="module")
def seq2seq_model(tmp_path_factory):
    """Makes a folder with an encoder-decoder with large random weights."""

    def make(kind):
        config, sizes, bos = KINDS[kind]
        folder = tmp_path_factory.mktemp("seq2seq")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForSeq2SeqLM.from_config(config(**{**SIZES, **sizes}))
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
        byte_tokenizer(bos=bos, eos=True).save_pretrained(folder)
        return str(folder)

    return make


def scores(model, texts):
    """Log-probabilities `(texts, labels)`, and the filled prompts."""
    model.configure_model()
    model.eval()
    rows = {"text": texts}
    found = model.log_scores(model.collate({**rows, **model.encode(rows)}))
    return found, [prompt.prompt for prompt in model.prompts(rows)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("budget", "real"), [(1, False), (None, False), (None, True)])
def test_likelihoods_agree_with_a_plain_loop(kind, budget, real, seq2seq_model):
    model = Seq2SeqClassifier(3, NAMES, seq2seq_model(kind), 200, PROMPT, WORDS, max_batch_tokens=budget)
    found, prompts = scores(model, real_texts() if real else TEXTS)
    flat = [word for words in model.words for word in words]
    assert flat == ["bad", "ba", "awful", "good", "긍정", "부정"]
    labels = target_token_ids(model.tokenizer, flat)
    assert all(ids[-1] == 1 for ids in labels), "each label has its end"
    with torch.inference_mode():
        plain = torch.stack(
            [
                torch.stack([plain_seq2seq_score(model.network, ids, label) for label in labels])
                for ids in model.tokenizer(prompts)["input_ids"]
            ]
        )
    of_class = torch.stack([words.logsumexp(1) for words in torch.split(plain, [3, 2, 1], dim=1)], dim=1)
    assert of_class.std(0).min() > 0.1
    torch.testing.assert_close(found, of_class.log_softmax(1), atol=1e-4, rtol=0)


def test_the_oracle_is_what_transformers_says_itself(seq2seq_model):
    model = AutoModelForSeq2SeqLM.from_pretrained(seq2seq_model("t5")).eval()
    ids, label = torch.tensor([[5, 6, 7, 1]]), torch.tensor([[9, 8, 1]])
    with torch.inference_mode():
        loss = model(input_ids=ids, labels=label).loss  # the mean over the label's tokens
        torch.testing.assert_close(plain_seq2seq_score(model, ids[0].tolist(), label[0].tolist()).float(), -3 * loss)


def test_only_the_text_is_shortened(seq2seq_model):
    model = Seq2SeqClassifier(3, NAMES, seq2seq_model("t5"), 100, PROMPT, WORDS)
    long, short = model.prompts({"text": ["영화 " * 200, "short"]})
    assert long.prompt.startswith("영화: 영화 ")
    assert long.prompt.endswith(" (bad, good, 부정)")
    encoded = model.encode({"text": ["영화 " * 200, "short"]})
    assert encoded["length"][0] <= 100
    assert encoded["cut"] == [long.cut, short.cut]
    assert long.cut > 1000
    assert short.cut == 0
    assert [row[-1] for row in encoded["input_ids"]] == [1, 1]


def bend(folder):
    """Settings beside a model that would make its generation other than greedy."""
    settings = GenerationConfig.from_pretrained(folder)
    settings.update(min_length=20, no_repeat_ngram_size=1, forced_bos_token_id=7, num_beams=3, suppress_tokens=[5])
    settings.save_pretrained(folder)


def greedily(network, ids, steps):
    """The oracle: the likeliest token, time after time."""
    written = [network.config.decoder_start_token_id]
    while len(written) <= steps and network.config.eos_token_id not in written[1:]:  # BART starts with its end
        logits = network(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([written])).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_generation_in_batches_is_greedy_whatever_the_model_brings(kind, seq2seq_model):
    folder = seq2seq_model(kind)
    bend(folder)
    options = {"mode": "generate", "label_words": WORDS, "max_new_tokens": 8}
    model = Seq2SeqClassifier(3, NAMES, folder, 200, PROMPT, **options)
    found, prompts = scores(model, TEXTS)
    assert found.isnan().all(), "random weights write no label"
    rows = {"text": TEXTS}
    batch = model.collate({**rows, **model.encode(rows)})
    written = [answer for chunk in batch["chunks"] for answer in model.write(chunk)]
    for answer, place in zip(written, batch["order"].tolist(), strict=True):
        with torch.inference_mode():
            alone = greedily(model.network, model.tokenizer(prompts[place])["input_ids"], 8)
        assert answer == model.tokenizer.decode(alone, skip_special_tokens=True)


@pytest.mark.slow
def test_answers_that_fit_no_class_are_counted(seq2seq_model, rows_folder, tmp_path, monkeypatch):
    answers = ["negative", " negative ", "very negative", "Negative", "positive", "negative positive", ""]
    monkeypatch.setattr(
        Seq2SeqClassifier, "write", lambda self, chunk: [answers[i % 7] for i in range(len(chunk["input_ids"]))]
    )
    lines = [f"{'x' * (20 - i)},negative" for i in range(7)]  # the longest first, as they run
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "test.csv").write_text("\n".join(["text,label", *lines, "y,positive"][:8]))
    results = {}
    for name, more in {
        "equals": {"parse": "equals"},
        "contains": {"parse": "contains"},
        "otherwise": {"parse": "contains", "otherwise": "positive", "label_words": {"negative": "negative"}},
    }.items():
        given = {"pretrained": seq2seq_model("t5"), "mode": "generate", "prompt": "{text}", **more}
        (tmp_path / "more.yaml").write_text(json.dumps({"model": {"init_args": given}}))
        configs = (CONFIGS / "files.yaml", CONFIGS / "model" / "seq2seq.yaml", tmp_path / "more.yaml")
        main(
            [
                *("test", *(f"--config={config}" for config in configs), "--data.data_dir", str(tmp_path / "rows")),
                *("--data.label_names", '["negative", "positive"]', "--data.cleaning", "[]"),
                *("--trainer.logger", "false", "--trainer.accelerator", "cpu", "--run_dir", str(tmp_path / name)),
            ]
        )
        report = tmp_path / name / "report"
        metrics = json.loads((report / "metrics.json").read_text())
        table = read_predictions(report / "predictions.parquet")
        results[name] = table.predictions.tolist(), metrics["test/invalid"], metrics.get("test/otherwise")
    assert results["equals"] == ([0, 0, -1, -1, 1, -1, -1], 4, None)
    assert results["contains"] == ([0, 0, 0, -1, 1, -1, -1], 3, None)
    assert results["otherwise"] == ([0, 0, 0, 1, 1, 0, 1], 0, 3)
    assert metrics["test/no_label"] == 1, "'Negative' names one, the empty answer none"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"otherwise": "good", "mode": "generate"}, "'good', which is not a label"),
        ({"otherwise": "negative"}, "needs mode generate"),
        ({"prompt": "what?"}, "has no {text}"),
        ({"label_words": {"negative": "bad"}}, "leaves out 'positive'"),
        ({"max_length": 0}, "max_length 0"),
    ],
)
def test_what_cannot_be_asked(values, words):
    with pytest.raises(UserError) as error:
        Seq2SeqClassifier(2, NAMES[:2], **values)
    assert words in str(error.value)


def test_labels_that_the_tokenizer_cannot_tell_apart(seq2seq_model):
    model = Seq2SeqClassifier(2, NAMES[:2], seq2seq_model("t5"), 64, "{text}", {"negative": "x", "positive": "x"})
    with pytest.raises(UserError, match="the same tokens"):
        _ = model.trie


def test_never_in_fp16(seq2seq_model, capsys):
    model = Seq2SeqClassifier(2, NAMES[:2], seq2seq_model("t5"), 64)

    class Trainer:
        precision = "16-mixed"

    model.trainer = Trainer()
    model.configure_model()
    assert model.network.dtype == torch.float32
    assert "Seq2SeqClassifier computes in fp32, not in fp16" in capsys.readouterr().err
    model.network = None
    Trainer.precision = "bf16-mixed"
    model.configure_model()
    assert model.network.dtype == torch.bfloat16
    assert capsys.readouterr().err == ""
    model.network = None
    Trainer.precision = "16-true"
    with pytest.raises(UserError, match=r"16-true: .* may overflow in fp16: give bf16-true or 32-true"):
        model.configure_model()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["likelihood", "generate"])
def test_scores_do_not_follow_the_default_dtype(mode, seq2seq_model):
    """`bf16-true` makes bf16 the default within a step: sums of log-probabilities in it would be off by percents."""
    more = {"otherwise": "positive"} if mode == "generate" else {}
    model = Seq2SeqClassifier(2, NAMES[:2], seq2seq_model("t5"), 200, "{text}", mode=mode, **more)
    wanted, _ = scores(model, TEXTS)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found, _ = scores(model, TEXTS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == wanted.dtype == (torch.float64 if mode == "likelihood" else torch.float32)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_more_tokens_than_there_are_places_for(seq2seq_model):
    assert BART["max_position_embeddings"] == 512
    for limit, kind in ((512, "bart"), (5000, "t5")):
        Seq2SeqClassifier(2, NAMES[:2], seq2seq_model(kind), limit, "{text}").configure_model()
    with pytest.raises(UserError, match=r"max_length 513 is more than .* can read: give at most 512"):
        Seq2SeqClassifier(2, NAMES[:2], seq2seq_model("bart"), 513, "{text}").configure_model()


@pytest.mark.slow
def test_true_precisions_on_the_command_line(seq2seq_model, rows_folder, tmp_path, capsys):
    files = [f"--config={CONFIGS / name}" for name in ("files.yaml", "model/seq2seq.yaml")]
    options = [
        "--data.data_dir",
        str(rows_folder),
        "--model.pretrained",
        seq2seq_model("t5"),
        "--model.max_length",
        "200",
    ]
    run = ["--trainer.logger", "false", "--trainer.accelerator", "cpu", "--run_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main(["test", *files, *options, *run, "--trainer.precision", "16-true"])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].endswith("give bf16-true or 32-true")
    main(["test", *files, *options, *run[:-1], str(tmp_path / "again"), "--trainer.precision", "bf16-true"])
    table = read_predictions(tmp_path / "again" / "report" / "predictions.parquet")
    sums = torch.tensor(table.log_scores).exp().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-6, rtol=0)


class TestContract(MethodContract):
    method = Seq2SeqClassifier
