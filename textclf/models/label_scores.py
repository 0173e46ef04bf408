"""The callback that writes `report/scores.parquet`: the label scores of a test, for rescoring with other rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, get_args

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.classes.paths import public_path
from textclf.console import say
from textclf.data.base import data_module_of
from textclf.data.columns import int_column, text_keys, without_kept
from textclf.data.labels import normalized_names
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.evaluation.rescoring import facts_lines
from textclf.models.prompt_scorer import Scores, concatenated
from textclf.processes import gather, run_folder
from textclf.scoring import audit_labels
from textclf.scoring.capabilities import Strategy
from textclf.scoring.rules import MATRICES
from textclf.scoring.score_file import StoredScores, write_scores
from textclf.types import Dataset

AUDITED_PROMPTS = 16
"""Prompts at which the boundary between prompt and label is audited."""
RULE_TOLERANCE = 1e-4
"""Largest difference in nats between the scores that a run reports and those of the rule that it names."""


class ScoreRecord(Callback):
    """Audits the label words before a test, and writes their scores at its end, on the first process.

    Without a data module, nothing is known of the rows, and nothing is written.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports what a user should know of the words' tokens, and scores the reference prompts of all rules.

        Raises:
            UserError: The tokenizer cannot tell the words apart.
        """
        model: Any = pl_module
        self._batches: list[Scores] = []
        data = data_module_of(trainer)
        if data is None:
            return
        rows = without_kept(data.rows("test"))
        prompts = [fitted.prompt for fitted in model.prompts(_spread(rows, AUDITED_PROMPTS)[:])]
        audit = audit_labels(model.tokenizer, prompts, model.words, model.bos)
        if audit.errors:
            raise UserError(audit.errors[0])
        for notice in audit.notices:
            say(notice)
        no_rows: Scores = {"sums": np.empty((0, len(model.words)))}
        model.scorer.likelihoods(no_rows)
        if model.numerics and trainer.is_global_zero:
            say(facts_lines({"numerics": model.measure_rounding(_spread(rows, model.numerics))})[0])

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keeps a batch's scores."""
        if data_module_of(trainer) is None:
            return
        batch_scores = {}
        for name in ("row", "log_scores", *MATRICES):
            if name in outputs:
                batch_scores[name] = outputs[name].cpu().numpy()
        self._batches.append(batch_scores)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the scores of all processes, and writes them."""
        model: Any = pl_module
        model.check_evaluation()
        data = data_module_of(trainer)
        if data is None:
            return
        if model.needs_whole_split:
            self._calibrate_split(model)
        # All processes take part in these three.
        gathered = gather(self._batches, trainer)
        folder = run_folder(trainer)
        work = model.scorer.work(trainer.world_size)
        if trainer.is_global_zero:
            columns = concatenated(list(chain.from_iterable(gathered)))
            indices = columns.pop("row")
            order = np.argsort(indices)
            rows = data.rows("test").select(indices[order])
            tested = {name: column[order] for name, column in columns.items()}
            write_scores(folder / "report" / "scores.parquet", stored_scores(model, rows, tested, work, data))
            say(facts_lines({"work": work})[0])
            say(f"every rule's figures: python scripts/rescore.py {folder}")
        trainer.strategy.barrier("scores")

    def _calibrate_split(self, model: Any) -> None:
        """Replaces the batches' log-scores by those that the rule gives for all rows at once."""
        scores = np.empty((0, model.num_classes))
        rows = np.empty(0, dtype=np.int64)
        if self._batches:
            scores = np.concatenate([batch["log_scores"] for batch in self._batches])
            rows = np.concatenate([batch["row"] for batch in self._batches])
        # Also without a row: all processes take part.
        calibrated = model.checked_split_scores(torch.from_numpy(scores), torch.from_numpy(rows)).cpu().numpy()
        start = 0
        for batch in self._batches:
            stop = start + len(batch["row"])
            batch["log_scores"] = calibrated[start:stop]
            start = stop


def stored_scores(model: Any, rows: Dataset, tested: Scores, work: Mapping[str, int], data: Any) -> StoredScores:
    """Puts a test's rows, and those that a prior is fitted to, into one table.

    Words and their classes are in the order of the model's labels, so all labels are stored in that order.

    Args:
        model: The `CausalLMClassifier` that was tested.
        rows: The test rows, in their order.
        tested: `log_scores` of these rows, columns in the order of the data's labels, and their matrices by their names
            in `Likelihoods`.
        work: Work of the scorers of all processes.
        data: The data module; if no rows are reserved, a prior is fitted to some of the test rows.
    """
    matrices = dict(tested)
    log_scores = matrices.pop("log_scores")
    likelihoods = model.scorer.likelihoods(matrices)
    label_indices = np.array([model.label_names.index(name) for name in normalized_names(data.label_names)])
    labels = label_indices[int_column(rows, "label")]
    ids = list(rows["id"])
    scored = np.ones(len(rows), dtype=bool)
    fit = np.zeros(len(rows), dtype=bool)
    if likelihoods.fit_sums is not None:
        count = len(model.fit_rows)
        ids += list(model.fit_rows["id"])
        labels = np.concatenate([labels, likelihoods.fit_labels])
        scored = np.concatenate([scored, np.full(count, model.fit_rows_of_test)])
        fit = np.concatenate([fit, np.ones(count, dtype=bool)])
        likelihoods = replace(likelihoods, **_with_fit_rows(matrices, model.scorer.fit_scores))
    elif data.val_size:
        fit[stratified_split(labels, data.val_size, data.seed, text_keys(rows))[1]] = True
    stored = StoredScores(
        ids=ids,
        labels=labels,
        scored=scored,
        fit=fit,
        words=likelihoods,
        label_names=model.label_names,
        facts=_facts(model, work),
        log_scores=log_scores.astype(np.float64)[:, np.argsort(label_indices)],
    )
    if not reports_its_rule(stored):
        stored.facts["rule"] = public_path(type(model))
    return stored


def _with_fit_rows(matrices: Scores, fit_scores: Scores) -> dict[str, Any]:
    """The matrices with the rows that are fitted to behind the tested ones; NaN where these were not scored so."""
    unknown = np.full_like(fit_scores["sums"], np.nan)  # misread sums are computed of tested rows alone
    whole = {}
    for name, matrix in matrices.items():
        whole[name] = np.concatenate([matrix, fit_scores.get(name, unknown)])
    return whole


def _facts(model: Any, work: Mapping[str, int]) -> dict[str, Any]:
    """What the file records about the run."""
    names = ("rule", "pretrained", "shots", "shot_seed", "bos", "content_free", "premise")
    facts = {name: getattr(model, name) for name in names}
    facts["prompt"] = str(model.template)
    facts["strategies"] = {name: work[name] for name in get_args(Strategy) if work[name]}
    facts["reasons"] = model.scorer.label_scorer.reasons
    facts["work"] = work
    facts["numerics"] = model.rounding_cost
    return facts


def reports_its_rule(stored: StoredScores) -> bool:
    """Whether the scores that a run reported are those of the rule that it names; a subclass may make its own."""
    assert stored.log_scores is not None
    expected, _ = stored.apply(stored.facts["rule"])
    same_rows = expected.shape == stored.log_scores.shape
    return same_rows and np.allclose(expected, stored.log_scores, rtol=0, atol=RULE_TOLERANCE, equal_nan=True)


def _spread(rows: Dataset, number: int) -> Dataset:
    """A number of rows, evenly spread."""
    number = min(number, len(rows))
    return rows.select(np.arange(number) * len(rows) // number)
