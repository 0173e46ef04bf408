"""The writer of `report/scores.parquet`: what a test of label likelihood leaves for the score rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.class_paths import public_path
from textclf.console import say
from textclf.data.columns import int_column, text_keys
from textclf.data.labels import normalized_names
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.evaluation.rescoring import facts_lines, rounding_line
from textclf.models.numerics import price_of_rounding
from textclf.processes import gather, run_folder
from textclf.scoring import audit_labels
from textclf.scoring.capabilities import Strategy
from textclf.scoring.rules import MATRICES, Likelihoods
from textclf.scoring.score_file import StoredScores, write_scores
from textclf.types import Dataset

SAMPLE = 16
"""Prompts at which the boundary between prompt and label is looked at."""
SAME = 1e-4
"""Largest difference in nats between the scores of a run and those of the rule that it names."""


class ScoreRecord(Callback):
    """Looks at the boundary before a test, keeps the label words' scores, and writes them on the first process."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what one should know of the words' tokens, and scores what the rules need beside the rows.

        Raises:
            UserError: The words cannot be told apart.
        """
        model: Any = pl_module
        self._parts: list[dict[str, np.ndarray]] = []
        if _data(trainer) is None:  # nothing is known of the rows but their batches
            return
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

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        if _data(trainer) is not None:
            kept = ("row", "log_scores", *(name for name in MATRICES if name in outputs))
            self._parts.append({name: outputs[name].cpu().numpy() for name in kept})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers, and writes."""
        model: Any = pl_module
        model.check_evaluation()
        if _data(trainer) is None:
            return
        if model.needs_whole_split:
            self._settle(model)
        parts = [part for process in gather(self._parts, trainer) for part in process]
        folder, work = run_folder(trainer), model.work()  # every process takes part
        if trainer.is_global_zero:
            columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            places = columns.pop("row")
            order = np.argsort(places)
            rows = _data(trainer).rows("test").select(places[order])
            path = folder / "report" / "scores.parquet"
            tested = {name: column[order] for name, column in columns.items()}
            write_scores(path, stored_scores(model, rows, tested, work, _data(trainer)))
            say(facts_lines({"work": work})[0])
            say(f"every rule's figures: python scripts/rescore.py {folder}")
        trainer.strategy.barrier("scores")

    def _settle(self, model: Any) -> None:
        """Replaces the batches' log-scores by those that the rule gives to all rows at once."""
        scores = [part["log_scores"] for part in self._parts] or [np.empty((0, model.num_classes))]
        rows = [part["row"] for part in self._parts] or [np.empty(0, dtype=np.int64)]
        given = [torch.from_numpy(np.concatenate(parts)) for parts in (scores, rows)]
        settled = model.checked_split_scores(*given).cpu().numpy()
        ends = np.cumsum([len(part["row"]) for part in self._parts])
        for part, own in zip(self._parts, np.split(settled, ends[:-1]), strict=False):
            part["log_scores"] = own


def stored_scores(
    model: Any, rows: Dataset, tested: dict[str, np.ndarray], work: dict[str, int], data: Any
) -> StoredScores:
    """Puts a test's rows, and those that a prior is fitted to, into one table.

    Args:
        model: The `CausalLMClassifier` that was tested.
        rows: The test rows, in their order.
        tested: `log_scores` of these rows, columns in the order of the data's labels, and their matrices by their names
            in `Likelihoods`.
        work: What the scorers of all processes have done.
        data: The data module: where no rows were set aside, a slice of the test is what a prior is fitted to.
    """
    scores = {name: matrix for name, matrix in tested.items() if name != "log_scores"}
    likelihoods: Likelihoods = model.likelihoods(scores, everything=True)
    # Words and their classes are in the order of the model's labels, so all labels are stored in that order.
    places = np.array([model.label_names.index(name) for name in normalized_names(data.label_names)])
    labels = places[int_column(rows, "label")]
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
        "rule": model.rule,
        **{
            name: getattr(model, name)
            for name in ("pretrained", "shots", "shot_seed", "bos", "content_free", "premise")
        },
        "prompt": "".join(f"{{{part}}}" if i % 2 else part for i, part in enumerate(model.template.parts)),
        "strategies": {name: n for name in get_args(Strategy) if (n := work[name])},
        "reasons": model.scorer.reasons,
        "work": work,
        "numerics": model.price,
    }
    stored = StoredScores(
        ids=ids,
        labels=labels,
        scored=scored,
        fit=fit,
        words=likelihoods,
        label_names=model.label_names,
        facts=facts,
        log_scores=tested["log_scores"].astype(np.float64)[:, np.argsort(places)],
    )
    return stored if reports_its_rule(stored) else replace(stored, facts={**facts, "rule": public_path(type(model))})


def reports_its_rule(stored: StoredScores) -> bool:
    """Whether the scores that a run reported are those of the rule that it names; a subclass may make its own."""
    assert stored.log_scores is not None
    expected, _ = stored.apply(stored.facts["rule"])
    same_rows = expected.shape == stored.log_scores.shape
    return same_rows and np.allclose(expected, stored.log_scores, rtol=0, atol=SAME, equal_nan=True)


def _data(trainer: Trainer) -> Any:
    return trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's data connector


def _spread(rows: Dataset, number: int) -> Dataset:
    """Some rows, evenly spread."""
    number = min(number, len(rows))
    return rows.select([i * len(rows) // number for i in range(number)])
