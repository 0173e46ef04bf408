"""Questions to a misbehaving server: none is lost, none is paid for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from soaks.memory import GROWTH, Sampler
from soaks.server import RESTART, Server

MOST_ROUNDS = 10
"""Runs of the command, each of which asks again what the one before got no answer to."""
CONCURRENCY = 32
TIMEOUT = 10.0
CONFIG = """
model:
  class_path: ChatClassifier
  init_args:
    model: m
    prompt: "{text}"
    answers: {"0": bad, "1": good}
data:
  class_path: FilesDataModule
  init_args: {label_names: [bad, good], cleaning: [], eval_batch_size: 2000}
trainer:
  accelerator: cpu
  devices: 1
  precision: 32-true
  logger: textclf.run.MetricsCSV
  callbacks: []
"""


def soak_chat(questions: int, folder: Path) -> dict[str, Any]:
    """Asks the questions by the command `test`, until each has an answer, and once more, when nothing may be sent.

    Args:
        questions: Number of questions, all different.
        folder: An empty folder for rows, answers and runs.

    Returns:
        The counts, with `ok`: whether each question has its right answer, none was paid for twice, and memory stayed
        flat.
    """
    from textclf.evaluation.prediction_table import read_predictions

    rows = [f"question {i}: {'good' if i % 2 else 'bad'},{'good' if i % 2 else 'bad'}" for i in range(questions)]
    (folder / "rows").mkdir()
    (folder / "rows" / "test.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    rounds: list[dict[str, Any]] = []
    with Server(folder / "server.log", max(50, questions // 10)) as server:
        with Sampler(folder) as sampler:
            while len(rounds) < MOST_ROUNDS and not is_over(rounds):
                rounds.append(asked(server.url, folder, len(rounds)))
        behaviours, paid = server.counts()
    right = 0
    if is_over(rounds):
        table = read_predictions(folder / f"run-{len(rounds) - 1}" / "report" / "predictions.parquet")
        right = int((table.predictions == table.labels).sum())
    found = {
        "questions": questions,
        "right_answers": right,
        "requests": behaviours.total(),
        "paid": sum(paid.values()),
        "paid_twice": sum(count > 1 for count in paid.values()),
        "restarts_of_the_server": behaviours[RESTART],
        "behaviours": dict(behaviours.most_common()),
        "rounds": rounds,
        **sampler.found(),
    }
    is_right = right == questions and not found["paid_twice"]
    return {**found, "ok": is_right and found["memory_growth_mib"] <= GROWTH}


def is_over(rounds: list[dict[str, Any]]) -> bool:
    """Whether the last run got all answers from the store."""
    return bool(rounds) and rounds[-1].get("requests") == 0


def asked(url: str, folder: Path, number: int) -> dict[str, Any]:
    """Runs the command once.

    Returns:
        Requests that were sent, questions without an answer, and answers from the store; the exit code of a run that
        stopped, since the server gave no answer to many questions in a row.
    """
    from textclf.cli import main

    run = folder / f"run-{number}"
    words = [
        *("test", "--config", str(folder / "config.yaml"), "--run_dir", str(run)),
        *("--data.data_dir", str(folder / "rows"), "--model.base_url", url),
        *("--model.cache", str(folder / "answers.sqlite"), "--model.timeout", str(TIMEOUT)),
        *("--model.concurrency", str(CONCURRENCY)),
    ]
    try:
        main(words)
    except SystemExit as stop:
        return {"exit_code": stop.code}
    metrics = json.loads((run / "report" / "metrics.json").read_text(encoding="utf-8"))
    return {name: metrics[f"chat/{name}"] for name in ("requests", "failed", "cached")}
