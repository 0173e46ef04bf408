"""The rules that scores must keep, one line a violation, and the places where scores are read."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import (
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    PretrainedClassifier,
    TextClassifier,
    score_check,
)
from textclf.models.score_check import ScoreCheck, ScoreRules

NAMES = ("negative", "positive")
CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")
HALF = torch.full((3, 2), 0.5)
FAIR = HALF.log()
RULES = ScoreRules("KNN.log_scores", num_classes=2)


def check(scores, rules=RULES, rows=3):
    return ScoreCheck().add(rules, scores, torch.arange(rows), CPU)


def with_row(*row):
    """Fair scores, but for the row at place 1."""
    scores = FAIR.clone()
    scores[1] = torch.tensor(row)
    return scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, "gave None: wanted .* return the scores"),
        (FAIR.numpy(), r"gave a NumPy array of shape \(3, 2\): .*torch.from_numpy"),
        (FAIR.tolist(), "gave an object of type list: wanted"),
        (SimpleNamespace(logits=FAIR), r"gave an object of type SimpleNamespace: .*write output.logits.float\(\)"),
        (FAIR[:, 0], r"gave a float32 tensor of shape \(3,\): .*\(3, 2\), one row per text and one column per label"),
        (FAIR[:2], r"gave a float32 tensor of shape \(2, 2\): wanted .*\(3, 2\)"),
        (FAIR.T, r"gave a float32 tensor of shape \(2, 3\): wanted .*transpose"),
        (FAIR[:, :1], r"gave a float32 tensor of shape \(3, 1\): wanted"),
        (FAIR[None], r"gave a float32 tensor of shape \(1, 3, 2\): wanted"),
        (torch.tensor(0.0), r"gave a float32 tensor of shape \(\): wanted"),
        (FAIR.long(), "gave an int64 tensor"),
        (HALF > 0, "gave a bool tensor"),
        (FAIR.cfloat(), "gave a complex64 tensor"),
        (FAIR.half(), r"gave a float16 tensor .*write logits.float\(\).log_softmax\(dim=-1\)"),
        (FAIR.bfloat16(), r"gave a bfloat16 tensor .*write logits.float\(\).log_softmax\(dim=-1\)"),
        (FAIR.to_sparse(), r"gave a float32 tensor of shape \(3, 2\) that is sparse: .*to_dense"),
    ],
)
def test_type_shape_and_dtype(scores, message):
    with pytest.raises(UserError, match=f"^KNN.log_scores {message}"):
        check(scores)


def test_a_batch_of_one_row_keeps_its_dimension():
    with pytest.raises(UserError, match=r"shape \(2,\): .*shape \(1, 2\).*squeeze"):
        check(FAIR[:1].squeeze(), rows=1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((3.0, 1.0), r"gave \[3, 1\] for row 1 .* sum to 22.8.* these look like logits"),
        ((-0.3, -0.3), "these look like logits"),
        ((0.9, 0.1), r"gave \[0.9, 0.1\] .*these look like probabilities: take .log\(\)"),
        ((0.0, 1.0), "these look like probabilities"),
        ((0.105, 2.303), "these look like negative log-probabilities"),
        ((-0.69, -0.69), "these look rounded"),
        ((-0.70, -0.70), "these look rounded"),
        ((-2.0, -3.0), r"take .log_softmax\(dim=-1\), or set loses_mass = True"),
        ((INF, -1.0), r"gave \[inf, -1\] for row 1 .*wanted log-probabilities, at most 0"),
        ((INF, NAN), "wanted NaN in no entry, or in the whole row"),
        ((-1.0, NAN), "wanted NaN in no entry, or in the whole row"),
        ((-INF, -INF), "wanted a class that is possible"),
    ],
)
def test_values(row, message):
    with pytest.raises(UserError, match=f"^KNN.log_scores .*{message}"):
        check(with_row(*row))


@pytest.mark.parametrize(
    ("scores", "changes"),
    [
        (FAIR, {}),
        (FAIR.double(), {}),
        (FAIR + 9e-4, {}),
        (with_row(NAN, NAN), {}),
        (with_row(0.0, -INF), {}),
        (with_row(-2.0, -3.0), {"loses_mass": True}),
        (with_row(3.0, 1.0), {"has_probabilities": False}),
        (with_row(-INF, 5.0), {"has_probabilities": False}),
        (nn.Parameter(FAIR.clone()), {}),
        (FAIR.T.contiguous().T, {}),
        (torch.randn(3, 1000).log_softmax(-1), {"num_classes": 1000}),
    ],
)
def test_what_keeps_the_rules(scores, changes):
    checked = check(scores, ScoreRules(**{**vars(RULES), **changes}))
    torch.testing.assert_close(checked, scores.detach(), equal_nan=True)
    assert not checked.requires_grad


def test_scores_are_copied_so_that_a_method_may_reuse_its_own_tensor():
    own = FAIR.clone()
    checked = check(own)
    own.zero_()
    torch.testing.assert_close(checked, FAIR)


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ((3.0, 1.0), {"loses_mass": True}),
        ((-INF, -INF), {"loses_mass": True}),
        ((-INF, -INF), {"has_probabilities": False}),
        ((INF, 1.0), {"has_probabilities": False}),
        ((1.0, NAN), {"has_probabilities": False}),
    ],
)
def test_what_no_method_may_give(row, changes):
    with pytest.raises(UserError, match="for row 1"):
        check(with_row(*row), ScoreRules(**{**vars(RULES), **changes}))


@pytest.mark.parametrize(
    "wrong", [with_row(3.0, 1.0), with_row(NAN, 1.0), FAIR[:, 0], FAIR.long()], ids=["high", "NaN", "shape", "dtype"]
)
def test_of_several_processes_the_fault_of_a_later_batch_is_raised_at_the_end(wrong, monkeypatch):
    monkeypatch.setattr("textclf.processes.share", lambda part, processes: [part])
    checks = ScoreCheck(processes=2)
    checks.add(RULES, FAIR, torch.arange(3), CPU)
    checks.add(RULES, wrong, torch.arange(3) + 3, CPU)
    checks.add(RULES, FAIR + 5, torch.arange(3) + 6, CPU)
    with pytest.raises(UserError, match=r"for row 4|of shape"):
        checks.finish()
    with pytest.raises(UserError):
        ScoreCheck(processes=2).add(RULES, wrong, torch.arange(3), CPU)


def test_batches_on_a_device_are_looked_at_together(monkeypatch):
    monkeypatch.setattr(score_check, "batches_per_check", lambda device: 3)
    checks = ScoreCheck()
    batches = [FAIR, FAIR, with_row(NAN, NAN), FAIR, with_row(NAN, 1.0), FAIR + 5]
    for number, scores in enumerate(batches):
        checks.add(RULES, scores, torch.arange(3) + 3 * number, CPU)
    with pytest.raises(UserError, match=r"gave .* for row 13"):
        checks.add(RULES, FAIR, torch.arange(3) + 18, CPU)
    rest = ScoreCheck()
    for scores in batches[:3]:
        rest.add(RULES, scores, torch.arange(3), CPU)
    assert rest.finish() == (3, 9, 1)


def test_the_error_of_another_process_is_raised_here(monkeypatch):
    other = UserError("KNN.log_scores gave ...")
    monkeypatch.setattr("textclf.processes.share", lambda part, processes: [part, other])
    with pytest.raises(UserError, match=r"KNN\.log_scores gave"):
        ScoreCheck(processes=2).add(RULES, FAIR, torch.arange(3), CPU)


def test_rows_of_fillers_are_checked_and_not_counted():
    checks = ScoreCheck()
    checks.add(RULES, with_row(NAN, NAN), torch.arange(3), CPU)
    checks.add(RULES, FAIR, torch.arange(3), CPU, counted=False)
    assert checks.finish() == (2, 3, 1)
    with pytest.raises(UserError):
        checks.add(RULES, FAIR[0], torch.arange(3), CPU, counted=False)


# The places where scores are read


class Fair(TextClassifier):
    """Keeps the rules; a test replaces `scores`."""

    def log_scores(self, batch):
        scores = torch.full((len(batch["text"]), self.num_classes), 0.5, dtype=torch.float32).log()
        return self.scores(scores)

    def scores(self, fair):
        return fair


class Squeezed(Fair):
    """Wrong for a batch of one row, and for nothing else."""

    def scores(self, fair):
        return fair.squeeze()


class Logits(Fair):
    def scores(self, fair):
        return fair * 5 + 3


class WholeSplit(Fair):
    needs_whole_split = True

    def calibrate_split(self, log_scores):
        return log_scores.exp()


class ShorterSplit(WholeSplit):
    def calibrate_split(self, log_scores):
        return log_scores[:-1]


class Trained(Fair):
    """Has a step of training, and a weight."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.weight = nn.Parameter(torch.zeros(1))

    def scores(self, fair):
        return (fair + self.weight).log_softmax(-1)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Diverged(Trained):
    def scores(self, fair):
        return fair + self.weight * NAN


class Silent(Diverged):
    has_probabilities = False


class Unsure(Diverged):
    may_not_answer = True


class Broken(Fair):
    def scores(self, fair):
        return fair * NAN


def trainer(folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, enable_checkpointing=False, **quiet, **options)


def data(rows_folder, **options):
    return FilesDataModule(str(rows_folder), **options)


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Logits, "^Logits.log_scores gave .*logits"),
        (Squeezed, "^Squeezed.log_scores gave .*squeeze"),
        (WholeSplit, "^WholeSplit.calibrate_split gave .*probabilities"),
        (ShorterSplit, "^ShorterSplit.calibrate_split gave .*of shape"),
        (Broken, "^Broken.log_scores gave NaN for all .* rows: not one has an answer: .*may_not_answer = True"),
        (Diverged, "^Diverged.log_scores gave NaN for all .* rows: training has diverged: .*learning rate"),
    ],
)
def test_evaluation(kind, message, command, rows_folder, tmp_path):
    last_of_one_row = data(rows_folder, eval_batch_size=19 if command == "validate" else 20)
    with pytest.raises(UserError, match=message):
        getattr(trainer(tmp_path), command)(kind(2, NAMES), last_of_one_row, verbose=False)


@pytest.mark.parametrize("kind", [Silent, Unsure])
def test_a_method_that_may_answer_nothing(kind, rows_folder, tmp_path):
    assert trainer(tmp_path).test(kind(2, NAMES), data(rows_folder), verbose=False)[0]["test/invalid"] == 21


def test_scores_that_diverge_end_training(rows_folder, tmp_path):
    with pytest.raises(UserError, match="training has diverged"):
        trainer(tmp_path, max_epochs=5, num_sanity_val_steps=0).fit(Diverged(2, NAMES), data(rows_folder))
    with pytest.raises(UserError, match="NaN for all 20 rows: not one has an answer"):
        trainer(tmp_path, max_epochs=5, num_sanity_val_steps=2).fit(Diverged(2, NAMES), data(rows_folder))


@pytest.mark.parametrize("kind", [Logits, Squeezed])
def test_predictions(kind):
    with pytest.raises(UserError, match=f"^{kind.__name__}.log_scores gave"):
        kind(2, NAMES).classify(["one text"])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "gave None: wanted a dictionary with row, prediction, log_scores"),
        (["positive"], "gave an object of type list: wanted a dictionary"),
        ({"label": ["positive"]}, "gave a dictionary without row, prediction, log_scores: wanted"),
        ({"prediction": torch.zeros(2)}, r"gave prediction of shape \(2,\): wanted a tensor of shape \(1,\)"),
        ({"prediction": ["positive"]}, "gave prediction as an object of type list"),
        ({"prediction": torch.tensor([0.0])}, "gave prediction of dtype float32: wanted int64"),
        ({"prediction": torch.tensor([2])}, "gave prediction 2: wanted a class from 0 to 1, or -1"),
        ({"prediction": torch.tensor([-2])}, "gave prediction -2: wanted a class"),
        ({"row": torch.tensor([7])}, r"gave other places as row .*batch\['row'\]"),
        ({"log_scores": torch.tensor([[2.0, 1.0]])}, "gave .* for row 0 .*logits"),
        ({"log_scores": torch.tensor([[0, -9]])}, "gave an int64 tensor"),
    ],
)
def test_an_overridden_predict_step(returned, message):
    class Own(Fair):
        def predict_step(self, batch, batch_idx):
            if isinstance(returned, dict) and "label" not in returned:
                return {**super().predict_step(batch, batch_idx), **returned}
            return returned

    with pytest.raises(UserError, match=f"^Own.predict_step {message}"):
        Own(2, NAMES).classify(["a text"])


# Precision


class Watched(Fair):
    """Records the precision in which it computes."""

    def scores(self, fair):
        self.seen = torch.is_autocast_enabled("cpu")
        return ((fair @ torch.eye(2)).float()).log_softmax(-1)


class Asking(Watched):
    autocast = True


class Careless(Asking):
    def scores(self, fair):
        return fair @ torch.eye(2)


class Constant(Fair):
    def log_scores(self, batch):
        return torch.full((len(batch["text"]), 2), 0.5).log()


@pytest.mark.parametrize(("kind", "seen"), [(Watched, False), (Asking, True)])
def test_evaluation_leaves_autocast_unless_it_is_asked_for(kind, seen, rows_folder, tmp_path):
    model = kind(2, NAMES)
    trainer(tmp_path, precision="bf16-mixed").test(model, data(rows_folder), verbose=False)
    assert model.seen == seen


@pytest.mark.parametrize(("kind", "precision"), [(Careless, "bf16-mixed"), (Constant, "bf16-true")])
def test_a_message_names_the_precision(kind, precision, rows_folder, tmp_path):
    with pytest.raises(UserError, match=rf"bfloat16 .*precision {precision} computes in bfloat16: .*\.float\(\)"):
        trainer(tmp_path, precision=precision).test(kind(2, NAMES), data(rows_folder), verbose=False)


def test_fine_tuning_is_evaluated_in_the_precision_of_training(tiny_encoder, rows_folder, tmp_path):
    model = FineTunedClassifier(2, NAMES, pretrained=str(tiny_encoder), max_length=16)
    model.configure_model()
    seen = set()
    layer = next(module for module in model.network.modules() if isinstance(module, nn.Linear))
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    trainer(tmp_path, precision="bf16-mixed").test(model, data(rows_folder), verbose=False)
    assert seen == {torch.bfloat16}


def test_what_the_built_in_methods_declare():
    assert FineTunedClassifier.autocast
    assert not any(kind.autocast for kind in (TextClassifier, LinearProbe, EmbeddingZeroShot, PretrainedClassifier))
    for unmapped, lost in {"sum": True, "drop": False}.items():
        assert PretrainedClassifier(2, NAMES, unmapped=unmapped).loses_mass == lost


PROCESSES = """
import torch
from torch import nn
from textclf.models import TextClassifier

class OnOneProcess(TextClassifier):
    def log_scores(self, batch):
        scores = torch.full((len(batch["text"]), 2), 0.5).log()
        return scores if len(scores) > 1 else scores.squeeze()

class OneRow(OnOneProcess):
    def log_scores(self, batch):
        scores = torch.full((len(batch["text"]), 2), 0.5).log()
        return torch.where((batch["row"] == 0)[:, None], scores + 3, scores)
"""


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("OnOneProcess", marks=pytest.mark.exhaustive), "OneRow"])
def test_a_fault_on_one_process_is_raised_on_both(name, rows_folder, tmp_path):
    (tmp_path / "faulty.py").write_text(PROCESSES)
    command = [
        *(sys.executable, "-m", "textclf", "test", "--model", f"faulty.{name}", "--data", "FilesDataModule"),
        *("--data.data_dir", str(rows_folder), "--data.eval_batch_size", "4", "--trainer.logger", "false"),
        *("--trainer.devices", "2", "--trainer.accelerator", "cpu", "--run_dir", str(tmp_path / "run")),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 2
    assert done.stderr.count(f"textclf: error: {name}.log_scores gave") == 2
    assert not (tmp_path / "run" / "report" / "metrics.json").exists()
