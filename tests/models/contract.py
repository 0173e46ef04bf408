"""The contract between a method and the rest of the package: the tests of every method inherit `MethodContract`."""

from contextlib import contextmanager

import pytest
import torch
from lightning.pytorch import LightningModule

from tests.models.test_batch_independence import ARCHITECTURES, ENCODER_DECODERS, NAMES, NLI_NAMES, SEQUENCE, save
from textclf.conformance.subject import TEXTS, Subject, isolated
from textclf.models import (
    CausalLMClassifier,
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
    TextClassifier,
)

TINY = {  # method with weights: (what its model is loaded by, an architecture)
    FineTunedClassifier: (SEQUENCE, "bert"),
    PretrainedClassifier: (SEQUENCE, "bert"),
    NLIClassifier: (SEQUENCE, "bert"),
    Seq2SeqClassifier: ("AutoModelForSeq2SeqLM", "bart"),
    CausalLMClassifier: ("AutoModelForCausalLM", "gpt2"),
    LinearProbe: ("AutoModel", "bert"),
    NearestCentroid: ("AutoModel", "bert"),
    EmbeddingZeroShot: ("AutoModel", "bert"),
}


def tiny_model(method, folder):
    """A folder with a random model and a tokenizer, as `pretrained` of a method with weights."""
    auto, kind = TINY[method]
    names = NLI_NAMES if method is NLIClassifier else NAMES
    return save(folder, auto, kind, {**ENCODER_DECODERS, **ARCHITECTURES}[kind], names)


class MethodContract:
    """What holds for every method; a subclass names its `method`, and the `arguments` that it is made with.

    `check_method` runs once for each class (`tests/models/conftest.py`). Each method here names a part of the contract,
    and the checks that it is made of.
    """

    method: type[TextClassifier]
    labels = NAMES

    @classmethod
    @contextmanager
    def arguments(cls, folder):
        """Arguments of the constructor; by default a tiny random model."""
        yield {"pretrained": tiny_model(cls.method, folder)}

    def assert_passed(self, checks, *names):
        for name in names:
            assert name in checks, f"{name!r} was not checked: {[check for check in checks.values() if check.reason]}"
            assert checks[name].status == "passed", checks[name].reason

    @pytest.mark.slow
    def test_the_contract(self, checks):
        # One test: with several, each process of pytest-xdist would repeat the checks for its share of them.
        self.assert_a_run_from_the_train_rows_to_the_report(checks)
        self.assert_encode_and_collate_are_pure_and_can_be_sent_to_workers(checks)
        self.assert_the_composition_of_batches_changes_nothing(checks)
        self.assert_columns_follow_the_label_names(checks)
        self.assert_the_key_of_cached_rows_changes_with_what_encode_depends_on_and_with_an_override(checks)
        self.assert_classify_and_predict_and_the_report_are_equal(checks)
        self.assert_a_second_run_with_the_same_seed_is_equal(checks)
        self.assert_a_checkpoint_gives_the_same_answers_here_and_in_a_new_process(checks)

    def assert_a_run_from_the_train_rows_to_the_report(self, checks):
        self.assert_passed(checks, "constructor", "run", "scores")

    def assert_encode_and_collate_are_pure_and_can_be_sent_to_workers(self, checks):
        self.assert_passed(checks, "encode", "collate", "workers")

    def assert_the_composition_of_batches_changes_nothing(self, checks):
        self.assert_passed(checks, "repetition", "batches", "batch sizes")
        assert checks["text pairs"].status in ("passed", "skipped"), checks["text pairs"].reason

    def assert_columns_follow_the_label_names(self, checks):
        assert checks["label order"].status in ("passed", "skipped"), checks["label order"].reason

    def assert_the_key_of_cached_rows_changes_with_what_encode_depends_on_and_with_an_override(self, checks):
        self.assert_passed(checks, "encoding key")

    def assert_classify_and_predict_and_the_report_are_equal(self, checks):
        self.assert_passed(checks, "predictions")

    def assert_a_second_run_with_the_same_seed_is_equal(self, checks):
        self.assert_passed(checks, "seed")

    def assert_a_checkpoint_gives_the_same_answers_here_and_in_a_new_process(self, checks):
        if self.method.training_step is not LightningModule.training_step:
            self.assert_passed(checks, "checkpoint", "new process")
        else:
            assert checks["checkpoint"].reason == "it is not trained, so no run saves it"

    @pytest.mark.slow
    def test_a_row_of_nan_is_an_answer_that_fits_no_class(self, arguments, monkeypatch):
        with isolated() as folder:
            subject = Subject(lambda names: self.method(len(names), names, **arguments), self.labels, folder)
            model = subject.ready(subject.new())
            log_scores = model.log_scores

            def without_the_first(batch):
                rows = torch.tensor([row == 0 for row in batch["row"].tolist()])
                return log_scores(batch).masked_fill(rows[:, None], torch.nan)

            monkeypatch.setattr(model, "log_scores", without_the_first)
            first, *others = model.classify(TEXTS)
        assert first == {"label": None, "score": None}
        assert all(answer["label"] in self.labels for answer in others)
