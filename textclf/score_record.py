"""The writer of `report/scores.parquet`: what a test of label likelihood leaves for the score rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.console import say
from textclf.data.keys import int_column, text_keys
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.evaluation.rescoring import facts_lines, rounding_line
from textclf.models.numerics import price_of_rounding
from textclf.processes import gather, run_folder
from textclf.scoring import audit_labels
from textclf.scoring.rules import Likelihoods
from textclf.scoring.stored import StoredScores, write_scores
from textclf.scoring.support import Strategy
from textclf.types import Dataset

SAMPLE = 16
"""Prompts at which the boundary between prompt and label is looked at."""


class ScoreRecord(Callback):
    """Looks at the boundary before a test, keeps the label words' scores, and writes them on the first process."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what one should know of the words' tokens, and scores what the rules need beside the rows.

        Raises:
            UserError: The words cannot be told apart.
        """
        model: Any = pl_module
        rows = _data(trainer).rows("test")
        audit = audit_labels(model.tokenizer, model.prompts(_spread(rows, SAMPLE)), model.words, model.bos)
        if audit.errors:
            raise UserError(audit.errors[0])
        for notice in audit.notices:
            say(notice)
        model.likelihoods({"sums": np.empty((0, len(model.words)))}, everything=True)
        if model.numerics and trainer.is_global_zero:
            model.price = price_of_rounding(model, model.prompts(_spread(rows, model.numerics)))
            rows_tried, nats, changed = model.price.values()
            say(rounding_line(int(rows_tried), nats, changed))
        self._parts: list[dict[str, np.ndarray]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        model: Any = pl_module
        self._parts.append({name: outputs[name].cpu().numpy() for name in ("row", *model.scored)})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers, and writes."""
        model: Any = pl_module
        parts = [part for process in gather(self._parts, trainer) for part in process]
        folder = run_folder(trainer)  # every process takes part
        if trainer.is_global_zero:
            columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            places = columns.pop("row")
            order = np.argsort(places)
            rows = _data(trainer).rows("test").select(places[order])
            path = folder / "report" / "scores.parquet"
            write_scores(path, stored_scores(model, rows, {n: c[order] for n, c in columns.items()}, _data(trainer)))
            say(facts_lines({"work": model.work})[0])
            say(f"every rule's figures: python scripts/rescore.py {folder}")
        trainer.strategy.barrier("scores")


def stored_scores(model: Any, rows: Dataset, scores: dict[str, np.ndarray], data: Any) -> StoredScores:
    """Puts a test's rows, and those that a prior is fitted to, into one table.

    Args:
        model: The `CausalLMClassifier` that was tested.
        rows: The test rows, in their order.
        scores: Matrices of these rows by their names in `Likelihoods`.
        data: The data module: where no rows were set aside, a slice of the test is what a prior is fitted to.
    """
    likelihoods: Likelihoods = model.likelihoods(scores, everything=True)
    labels = int_column(rows, "label")
    ids, scored = list(rows["id"]), np.ones(len(rows), dtype=bool)
    fit = np.zeros(len(rows), dtype=bool)
    if likelihoods.fit_sums is None:
        if data.val_size:
            fit[stratified_split(labels, data.val_size, data.seed, text_keys(rows))[1]] = True
    else:
        aside, of_test = model.fit_rows
        ids += list(aside["id"])
        labels = np.concatenate([labels, likelihoods.fit_labels])
        scored = np.concatenate([scored, np.full(len(aside), of_test)])
        fit = np.concatenate([fit, np.ones(len(aside), dtype=bool)])
        unknown = np.full_like(likelihoods.fit_sums, np.nan)  # misread sums are made of scored rows alone
        whole: dict[str, Any] = {
            name: np.concatenate([m, model.fit_scores.get(name, unknown)]) for name, m in scores.items()
        }
        likelihoods = replace(likelihoods, **whole)
    facts = {
        **{
            name: getattr(model, name)
            for name in ("rule", "pretrained", "shots", "shot_seed", "bos", "content_free", "premise")
        },
        "prompt": "".join(f"{{{part}}}" if i % 2 else part for i, part in enumerate(model.template.parts)),
        "strategies": {name: n for name in get_args(Strategy) if (n := model.work[name])},
        "reasons": model.scorer.reasons,
        "work": model.work,
        "numerics": model.price,
    }
    return StoredScores(
        ids=ids,
        labels=labels,
        scored=scored,
        fit=fit,
        words=likelihoods,
        label_names=model.label_names,
        facts=facts,
    )


def _data(trainer: Trainer) -> Any:
    return trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's data connector


def _spread(rows: Dataset, number: int) -> Dataset:
    """Some rows, evenly spread."""
    number = min(number, len(rows))
    return rows.select([i * len(rows) // number for i in range(number)])
