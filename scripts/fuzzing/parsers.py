"""The parsers that are fuzzed: each gets bytes, and gives a result or raises a `UserError`."""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.frame import ROOT
from hypothesis import strategies as st

from fuzzing.inputs import changed_values, damaged_bytes, damaged_json

RUNS = ROOT / "tests" / "run_folders"
"""Complete run folders, whose files are damaged."""
NAMES = ("bad", "good")


@dataclass(frozen=True)
class Parser:
    """A parser.

    Attributes:
        name: In the table of results.
        inputs: Draws the bytes that it reads.
        parse: Reads them.
    """

    name: str
    inputs: st.SearchStrategy[bytes]
    parse: Callable[[bytes], object]


def all_parsers(folder: Path) -> list[Parser]:
    """All parsers.

    Args:
        folder: An empty folder for the files that they read.
    """
    groups = (row_files, configurations, reports, score_files, relabels, checkpoints, chat_answers, model_files)
    return [parser for group in groups for parser in group(folder)]


def from_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of bytes from one of a file.

    Args:
        path: The file that is written first.
        read: Reads it.
    """

    def parse(content: bytes) -> object:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return parse


# Rows

ROWS = [
    {"id": "7", "text": 'a "quoted", fine film', "label": "good", "year": "1999"},
    {"id": "8", "text": "지루한 영화\n", "label": "bad", "year": ""},
]


def csv_of(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    """Rows as CSV, quoted if the delimiter is a comma."""
    quote = '"' if delimiter == "," else ""
    lines = [delimiter.join(rows[0])]
    for row in rows:
        fields = [str(value).replace('"', '""' if quote else "'") for value in row.values()]
        lines.append(delimiter.join(f"{quote}{field if quote else field.strip()}{quote}" for field in fields))
    return ("\n".join(lines) + "\n").encode()


def parquet_of(columns: Any, metadata: Any = None) -> bytes:
    """Columns as a Parquet file; a column of values that it cannot hold becomes text.

    Args:
        columns: Lists of values by name; anything else makes an empty file.
        metadata: JSON values by name, for the schema.
    """
    given = columns if isinstance(columns, dict) else {}
    lists = {as_utf8(name): entries for name, entries in given.items() if isinstance(entries, list)}
    rows = max(map(len, lists.values()), default=0)
    arrays = {}
    for name, entries in lists.items():
        filled = [*entries, *[None] * (rows - len(entries))]
        try:
            arrays[name] = pa.array(filled)
            pq.write_table(pa.table({name: arrays[name]}), io.BytesIO())
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            arrays[name] = pa.array([as_utf8(entry) for entry in filled])
    table = pa.table(arrays)
    if isinstance(metadata, dict):
        encoded = {as_utf8(name): json.dumps(value) for name, value in metadata.items()}
        table = table.replace_schema_metadata(encoded)
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def as_utf8(value: object) -> str:
    """A value as text without half characters."""
    return str(value).encode(errors="replace").decode()


def damaged_parquet(columns: dict[str, list[Any]], metadata: Any = None) -> st.SearchStrategy[bytes]:
    """Parquet files with changed columns and metadata, and files with damaged bytes."""
    changed = st.builds(parquet_of, changed_values([columns]), changed_values([metadata]) if metadata else st.none())
    return changed | damaged_bytes([parquet_of(columns, metadata)])


def row_files(folder: Path) -> Iterator[Parser]:
    """Files of rows, as `fit` and as `predict` read them."""
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    encodings = [csv_of(ROWS).decode().encode(name) for name in ("cp949", "utf-16", "utf-8-sig")]
    inputs = {
        ".csv": damaged_bytes([csv_of(ROWS), csv_of(ROWS, ";"), *encodings]),
        ".tsv": damaged_bytes([csv_of(ROWS, "\t")]),
        ".jsonl": damaged_bytes([lines]) | damaged_json(ROWS),
        ".parquet": damaged_parquet(columns),
    }
    for suffix, drawn in inputs.items():
        yield Parser(f"rows {suffix}", drawn, from_file(folder / f"rows{suffix}", read_rows))
    texts = damaged_bytes(["film\n영화\n".encode(), "film\n영화\n".encode("cp949")])
    yield Parser("texts .txt", texts, from_file(folder / "texts.txt", predicted))


def read_rows(path: Path) -> object:
    """The rows of a file in both ways."""
    from textclf.data.read_files import read_file
    from textclf.hub import cache_folder

    shutil.rmtree(cache_folder() / "files", ignore_errors=True)
    rows = predicted(path)
    return rows, read_file(path)[:]


def predicted(path: Path) -> object:
    """The rows of a file as `predict` reads them."""
    from textclf.run.prediction_inputs import read_texts

    keep: Any = () if path.suffix == ".txt" else "all"
    return list(read_texts(None, str(path), "text", keep=keep).rows)


# Configurations and values

CONFIG = """
data: {class_path: FilesDataModule, init_args: {data_dir: rows, limit: {train: 10}}}
model:
  class_path: TfidfClassifier
  init_args: {class_weights: &weights {bad: 2.0, good: 1}, C: 1.5}
trainer: {max_epochs: 1, callbacks: [{class_path: ExtraMetrics, init_args: {metrics: []}}]}
run_name: "a: b"
"""


def configurations(folder: Path) -> Iterator[Parser]:
    """Configuration files, alone and merged with options, and values of the command line."""
    from textclf.run.yaml_values import dump

    def written(value: Any) -> bytes:
        return dump(value).encode(errors="surrogatepass")

    import yaml

    stored = [path.read_bytes() for path in sorted(RUNS.glob("*/config.yaml"))]
    parts = [yaml.safe_load(text) for text in (CONFIG, *stored)]
    drawn = damaged_bytes([CONFIG.encode(), *stored]) | damaged_json(parts, written)
    yield Parser("configuration", drawn, from_file(folder / "config.yaml", class_paths_of_file))
    yield Parser("merged configuration", drawn, from_file(folder / "merged.yaml", merged))
    texts = damaged_bytes([b"{a: 1}", b'["a", null]', b"1e5", b"bad: 2, good: 1", b"# no", b"'a''b'"])
    yield Parser("option value", texts, option_value)


def class_paths_of_file(path: Path) -> object:
    """The classes of a configuration, which is written again."""
    from textclf.classes.paths import class_paths_in
    from textclf.run.yaml_values import dump, read_config

    config = read_config(path)
    return list(class_paths_in(config)), dump(config)


def merged(path: Path) -> object:
    """The options of a command with a configuration."""
    from textclf.cli.app import merged_config

    return merged_config(["fit", "--config", str(path), "--model.C", "2"])


def option_value(content: bytes) -> object:
    """A value of the command line, read as YAML and as texts."""
    import argparse

    from textclf.cli.config import one_text_or_several
    from textclf.errors import UserError
    from textclf.run.yaml_values import load_or_text, yaml_error

    text = content.decode(errors="surrogateescape")
    try:
        return load_or_text(text), yaml_error(text), one_text_or_several(text)
    except argparse.ArgumentTypeError as error:  # the parser prints it as one line
        raise UserError(str(error)) from error


# Reports

TABLE: dict[str, list[Any]] = {
    "id": ["1", "2"],
    "text": ["fine", "dull"],
    "label": [1, 0],
    "prediction": [1, -1],
    "scores": [[-0.7, -0.69], None],
    "year": [1999, None],
}
TABLE_FACTS = {
    "version": 1,
    "label_names": list(NAMES),
    "has_probabilities": True,
    "temperature": 1.5,
    "thresholds": {"bad": 0.4},
    "calibrators": [{"class_path": "a.B", "state": {}}],
}
MAP: dict[str, list[Any]] = {
    "id": ["1", "2"],
    "text": ["fine", "dull"],
    "label_name": ["good", "bad"],
    "mean": [0.5, 0.2],
    "spread": [0.1, 0.0],
    "correctness": [1.0, 0.0],
}
WEIGHTS = {"kind": "weights", "classes": {"bad": [["dull", -1.5]], "good": [["fine", 2]]}}
ATTRIBUTIONS = {"0": {"id": "1", "tokens": ["a"], "scores": [0.5]}}


def reports(folder: Path) -> Iterator[Parser]:
    """Prediction tables, the other files of a report, and the run folder."""
    table = damaged_parquet(TABLE, TABLE_FACTS)
    yield Parser("prediction table", table, from_file(folder / "predictions.parquet", whole_table))
    run = folder / "run"
    shutil.copytree(RUNS / "tfidf", run)
    report = run / "report"
    for name in ("metrics.json", "run.json"):
        stored = json.loads((report / name).read_text()) if (report / name).is_file() else {"command": "fit", "cost": 1}
        yield Parser(name, damaged_json([stored]), restoring(report / name, lambda _: record_of(run)))
    config = damaged_bytes([(run / "config.yaml").read_bytes()])
    yield Parser("config.yaml of a run", config, restoring(run / "config.yaml", lambda _: record_of(run)))
    page = {"weights.json": damaged_json([WEIGHTS]), "attributions.json": damaged_json([ATTRIBUTIONS])}
    page["cartography.parquet"] = damaged_parquet(MAP, {"epochs": 3})
    page["metrics.json"] = damaged_json([json.loads((report / "metrics.json").read_text())])
    for name, drawn in page.items():
        yield Parser(f"page: {name}", drawn, restoring(report / name, lambda path: page_of(path.parent)))


def whole_table(path: Path) -> object:
    """A prediction table, its frame, and a part of it."""
    import numpy as np

    from textclf.evaluation.prediction_table import read_predictions

    table = read_predictions(path)
    read_predictions(path, rows=np.arange(min(1, len(table.labels))))
    return table.to_pandas()


def restoring(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of bytes from one of a folder, in which one file is damaged and put back afterwards."""

    def parse(content: bytes) -> object:
        before = path.read_bytes() if path.is_file() else None
        path.write_bytes(content)
        try:
            return read(path)
        finally:
            path.unlink()
            if before is not None:
                path.write_bytes(before)

    return parse


def record_of(run: Path) -> object:
    """What a comparison reads of a run."""
    from textclf.evaluation.run_records import read_run

    record = read_run(run)
    return record.table, record.data_set, record.method, record.short_path, record.seeds, record.fold, record.settings


def page_of(report: Path) -> object:
    """The page of a report."""
    from textclf.evaluation.pages.report_page import write_report_page

    return write_report_page(report)


# Other tables

SCORES: dict[str, list[Any]] = {
    "id": ["1", "2"],
    "label": [0, 1],
    "scored": [True, True],
    "fit": [False, False],
    "log_likelihoods": [[-1.0, -2.0], [-3.0, -1.0]],
    "log_scores": [[-0.7, -0.7], [-0.1, -2.0]],
}
SCORE_FACTS = {
    "words": [" bad", " good"],
    "classes": [0, 1],
    "tokens": [1, 1],
    "label_names": list(NAMES),
    "empty": [-1.0, -2.0],
    "domain": [-1.5, -1.5],
    "content_free": [[-1.0, -1.0]],
    "prior": [0.5, 0.5],
    "facts": {"rule": "sum", "prompt": "{text}"},
}


def score_files(folder: Path) -> Iterator[Parser]:
    """The likelihoods of a run, rescored by several rules, and manifests of predictions."""
    yield Parser(
        "manifest",
        damaged_json([MANIFEST, MANIFEST | {"shards": []}]),
        from_file(folder / "shards" / "_manifest.json", claimed),
    )
    drawn = damaged_parquet(SCORES, SCORE_FACTS)
    yield Parser("score file", drawn, from_file(folder / "label_scores.parquet", rescored))


FACTS: dict[str, Any] = {"input": [{"hash": "0"}], "checkpoint": {"hash": "0"}, "options": {"keep": []}}
MANIFEST: dict[str, Any] = {
    **FACTS,
    "format": "jsonl",
    "shard_rows": 2,
    "complete": True,
    "rows": 1,
    "shards": [{"name": "part-00000.jsonl", "first_row": 0, "rows": 1, "bytes": 2, "hash": "0"}],
}


def claimed(manifest: Path) -> object:
    """Takes a folder of shards for a run that is resumed."""
    from textclf.run.prediction_shards import ShardFolder

    (manifest.parent / "part-00000.jsonl").write_text("{}")
    shards = ShardFolder(manifest.parent, ".jsonl", 2)
    try:
        return shards.claim(FACTS, resume=True)
    finally:
        if shards.facts:
            shards.abandon(others_write=True)


def rescored(path: Path) -> object:
    """The scores of a file by several rules."""
    from textclf.scoring.score_file import read_scores

    stored = read_scores(path)
    return [stored.scores_by(rule) for rule in ("sum", "domain_pmi", "prior")]


def relabels(folder: Path) -> Iterator[Parser]:
    """New labels from the page of a report."""
    from textclf.data.relabelling import Relabels

    rows = [{"id": "1", "text": "'=a", "label": "bad", "prediction": "good", "relabel": "good"}]
    parse = from_file(folder / "relabel.csv", lambda path: Relabels(str(path), NAMES))
    yield Parser("relabels", damaged_bytes([csv_of(rows)]), parse)


# Checkpoints


def checkpoints(folder: Path) -> Iterator[Parser]:
    """Checkpoints: their bytes, and their entries."""
    import torch

    stored = [path.read_bytes() for path in sorted(RUNS.glob("*/checkpoints/best.ckpt"))]
    loaded = [torch.load(io.BytesIO(content), weights_only=True) for content in stored]

    def saved(value: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()

    drawn = changed_values(loaded).map(saved) | damaged_bytes(stored)
    yield Parser("checkpoint", drawn, from_file(folder / "x.ckpt", classifier_of))


def classifier_of(path: Path) -> object:
    """The method in a checkpoint, as Python and as the command line read it."""
    from textclf.cli.config import checkpoint_as_config
    from textclf.models import TextClassifier
    from textclf.models.checkpoint import read_checkpoint

    words = checkpoint_as_config(read_checkpoint(path))
    return words, TextClassifier.load_from_checkpoint(path).classify(["film"])


# Answers of chat servers

ANSWER = {
    "choices": [
        {
            "message": {"content": '{"answer": "good"}', "refusal": None},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {
                        "token": "good",
                        "bytes": [103, 111],
                        "logprob": -0.1,
                        "top_logprobs": [{"token": "bad", "bytes": None, "logprob": -2.5}],
                    }
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
TEXTS = (
    b'```json\n{"label": "good"}\n```',
    b"<think>bad</think> Answer: **good**.",
    b"<answer>bad</answer>",
    b"- good",
)


def chat_answers(folder: Path) -> Iterator[Parser]:
    """Responses of servers, texts in them, and their headers."""
    from textclf.chat.retries import retry_after

    yield Parser("chat response", damaged_json([ANSWER]), chat_response)
    yield Parser("chat text", damaged_bytes(TEXTS) | damaged_json([{"answer": "good"}]), chat_text)
    headers = damaged_bytes([b"3", b"Wed, 21 Oct 2015 07:28:00 GMT"])
    yield Parser("chat headers", headers, lambda content: retry_after({"retry-after": content.decode("latin-1")}))


def chat_response(content: bytes) -> object:
    """The scores of a response, by the text of its answer and by its log-probabilities."""
    from textclf.chat.client import checked_answer
    from textclf.chat.retries import PassingError
    from textclf.chat.spending import Account, Limits
    from textclf.errors import UserError

    try:
        answer = checked_answer(content.decode(errors="replace"))
    except PassingError as error:  # the question is asked again, then reported
        raise UserError(str(error)) from error
    Account(Limits()).add(answer, of_run=True)
    return [_scores_of(answer, answer_format) for answer_format in ("text", "logprobs")]


def _scores_of(answer: dict[str, Any], answer_format: Any) -> object:
    from textclf.models import ChatClassifier

    model = ChatClassifier(2, NAMES, model="m", base_url="http://localhost:1", answer_format=answer_format)
    server: Any = SimpleNamespace(ask=lambda requests: [answer] * len(requests))
    model.server = server
    return model.log_scores({"text": ["a film"]})


def chat_text(content: bytes) -> object:
    """The class that a text means."""
    from textclf.chat.answers import class_of_chat
    from textclf.chat.responses import without_reasoning

    text = without_reasoning(content.decode(errors="replace")) or ""
    words = [["bad"], ["good"]]
    return [class_of_chat(text, words, parse, cut) for parse in ("contains", "equals") for cut in (False, True)]


# Models of others


def model_files(folder: Path) -> Iterator[Parser]:
    """Headers of GGUF files, configurations and tokenizers of models, and arguments by label name."""
    from textclf.backbones.tokenizer_files import tokenizer_from_files
    from textclf.models.checkpoint_checks import loading_part

    headers = damaged_bytes([gguf_header("<"), gguf_header(">")])
    yield Parser("GGUF header", headers, from_file(folder / "model.gguf", checked_header))
    config = folder / "model" / "config.json"
    yield Parser("model configuration", damaged_json([MODEL]), from_file(config, network_of))
    files = stored_tokenizer()
    for name in files:

        def tokenized(content: bytes, name: str = name) -> object:
            with loading_part("tokenizer"):
                return tokenizer_from_files({**files, name: content.decode(errors="replace")})

        yield Parser(f"tokenizer: {name}", damaged_json([json.loads(files[name])]), tokenized)
    arguments = changed_values([{"bad": 2.0, "good": 1.0}]).map(lambda value: json.dumps(value).encode())
    yield Parser("label arguments", arguments, label_arguments)


MODEL: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
    "id2label": {"0": "bad", "1": "good"},
    "label2id": {"bad": 0, "good": 1},
}


def gguf_header(order: str) -> bytes:
    """The header of a GGUF file with three values and a tensor.

    Args:
        order: The byte order: `<` or `>`.
    """

    def text(value: str) -> bytes:
        return struct.pack(f"{order}Q", len(value)) + value.encode()

    architecture = text("general.architecture") + struct.pack(f"{order}I", 8) + text("llama")
    blocks = text("llama.block_count") + struct.pack(f"{order}II", 4, 1)
    tokens = text("tokenizer.ggml.tokens") + struct.pack(f"{order}IIQ", 9, 8, 2) + text("a") + text("b")
    tensor = text("output.weight") + struct.pack(f"{order}IQQIQ", 2, 4, 2, 0, 0)
    head = b"GGUF" + struct.pack(f"{order}IQQ", 3, 1, 3)
    return head + architecture + blocks + tokens + tensor + bytes(32)


def checked_header(path: Path) -> object:
    """Checks the header of a GGUF file, as before it is converted."""
    from textclf.backbones.gguf_header import check_header
    from textclf.hub import loading

    with loading("model", str(path), "name another"):
        check_header(path)
    return path


def network_of(config: Path) -> object:
    """The network that a configuration describes, without weights."""
    from textclf.backbones.weights import load_config, skeleton

    folder = str(config.parent)
    return skeleton("AutoModelForSequenceClassification", load_config(folder), folder)


def stored_tokenizer() -> dict[str, str]:
    """The files of the tokenizer in a stored checkpoint, by name."""
    import torch

    checkpoint = torch.load(RUNS / "fine_tuned" / "checkpoints" / "best.ckpt", weights_only=True)
    files: dict[str, str] = checkpoint["textclf"]["fitted"]["tokenizer"]
    return files


def label_arguments(content: bytes) -> object:
    """Numbers by label name."""
    from textclf.models.label_arguments import positive_by_label_name

    given = json.loads(content)
    return positive_by_label_name("class_weights", given, NAMES, complete=True) if isinstance(given, dict) else None
