import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from textclf.evaluation.metrics import ClassificationMetrics, predicted_classes


def random_rows(num_classes, rows, seed, invalid=0.1, classes=None, dtype=torch.float64):
    """Log-probabilities with a share of NaN rows, and targets out of `classes` only."""
    random = np.random.default_rng(seed)
    log_scores = torch.tensor(random.normal(size=(rows, num_classes)) * 2).log_softmax(dim=1)
    log_scores[torch.tensor(random.random(rows) < invalid), 0] = torch.nan
    targets = torch.tensor(random.choice(classes or num_classes, size=rows))
    return log_scores.to(dtype), targets


def measured(log_scores, targets, batch_size=None, **options):
    metrics = ClassificationMetrics(log_scores.shape[1], **options)
    for start in range(0, len(targets), batch_size or len(targets)):
        rows = slice(start, start + (batch_size or len(targets)))
        metrics.update(log_scores[rows], targets[rows])
    return {key: value.item() for key, value in metrics.compute().items()}


def plain_ece(log_scores, targets):
    answered = ~log_scores.isnan().any(dim=1)
    probabilities = log_scores[answered].exp().numpy()
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets[answered].numpy()
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(15)]
    return sum(gaps) / len(confidence)


def from_sklearn(log_scores, targets):
    num_classes = log_scores.shape[1]
    answered = ~log_scores.isnan().any(dim=1)
    predictions = np.where(answered, log_scores.nan_to_num().argmax(dim=1), -1)
    options = {"labels": range(num_classes), "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rows, many classes
        macro = sk.precision_recall_fscore_support(targets, predictions, average="macro", **options)
        weighted = sk.f1_score(targets, predictions, average="weighted", **options)
        single = sk.precision_recall_fscore_support(targets, predictions, **options)
        mcc = sk.matthews_corrcoef(targets, predictions)
    expected = {
        "accuracy": sk.accuracy_score(targets, predictions),
        "macro_precision": macro[0],
        "macro_recall": macro[1],
        "macro_f1": macro[2],
        "weighted_f1": weighted,
        "mcc": mcc,
        "majority_accuracy": np.bincount(targets).max() / len(targets),
        "invalid": (predictions == -1).sum(),
        "examples": len(targets),
    }
    if num_classes == 2:
        expected |= {"precision": single[0][1], "recall": single[1][1], "f1": single[2][1]}
    return expected


def test_predicted_classes():
    log_scores = torch.tensor([[-1.0, -0.5], [torch.nan, 0.0], [-0.7, -0.7], [-torch.inf, 0.0]])
    predictions = predicted_classes(log_scores)
    assert predictions.tolist() == [1, -1, 0, 1]
    assert predictions.dtype == torch.int64
    assert predicted_classes(torch.empty(0, 3)).shape == (0,)


@settings(deadline=None, max_examples=40)
@given(
    num_classes=st.sampled_from([2, 3, 6]),
    rows=st.integers(1, 60),
    seed=st.integers(0, 10_000),
    invalid=st.sampled_from([0.0, 0.3]),
)
def test_counts_agree_with_sklearn(num_classes, rows, seed, invalid):
    log_scores, targets = random_rows(num_classes, rows, seed, invalid)
    scores = measured(log_scores, targets, has_probabilities=False)
    assert scores == pytest.approx(from_sklearn(log_scores, targets), abs=1e-12)


def test_class_that_is_never_a_target_nor_predicted_counts_as_zero():
    log_scores, targets = random_rows(6, 200, seed=1, classes=[0, 1, 3])
    log_scores[:, 4] = -50
    scores = measured(log_scores, targets, has_probabilities=False)
    assert scores == pytest.approx(from_sklearn(log_scores, targets), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [2, 6])
def test_nll_and_ece_are_over_answered_rows(num_classes, dtype):
    log_scores, targets = random_rows(num_classes, 3000, seed=2, dtype=dtype)
    answered = ~log_scores.isnan().any(dim=1)
    scores = measured(log_scores, targets)
    nll = torch.nn.functional.nll_loss(log_scores[answered].double(), targets[answered])
    assert scores["nll"] == pytest.approx(nll.item(), rel=1e-12)
    probabilities = log_scores[answered].double().softmax(dim=1).numpy()
    brier = sk.brier_score_loss(targets[answered], probabilities, labels=range(num_classes), scale_by_half=False)
    assert scores["brier"] == pytest.approx(brier, rel=1e-6)
    assert scores["ece"] == pytest.approx(plain_ece(log_scores.double(), targets), abs=1e-6)
    theirs = multiclass_calibration_error(log_scores[answered].exp(), targets[answered], num_classes, n_bins=15)
    assert scores["ece"] == pytest.approx(theirs.item(), abs=1e-6)


def test_ece_of_full_confidence_falls_in_the_last_bin():
    log_scores = torch.tensor([[0.0, -30.0], [0.0, -30.0], [-0.02, -3.9], [1e-6, -30.0]])
    targets = torch.tensor([0, 1, 1, 0])
    assert measured(log_scores, targets)["ece"] == pytest.approx(abs(2 - (3 + np.exp(-0.02))) / 4, abs=1e-6)


def test_impossible_target_has_infinite_nll_and_the_highest_brier_score():
    scores = measured(torch.tensor([[0.0, -torch.inf]]), torch.tensor([1]))
    assert (scores["nll"], scores["brier"]) == (torch.inf, 2)


def test_batches_add_up():
    log_scores, targets = random_rows(6, 500, seed=3)
    whole = measured(log_scores, targets)
    for batch_size in (1, 7, 499):
        assert measured(log_scores, targets, batch_size) == pytest.approx(whole, abs=1e-6)


def test_nothing_answered():
    scores = measured(torch.full((4, 2), torch.nan), torch.tensor([0, 1, 1, 1]))
    assert np.isnan([scores["nll"], scores["brier"], scores["ece"]]).all()
    assert (scores["accuracy"], scores["mcc"], scores["invalid"]) == (0, 0, 4)
    assert scores["majority_accuracy"] == 0.75


@pytest.mark.parametrize("update", [True, False])
def test_no_rows(update):
    metrics = ClassificationMetrics(3)
    if update:
        metrics.update(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    scores = {key: value.item() for key, value in metrics.compute().items()}
    assert scores["examples"] == scores["macro_f1"] == 0
    assert np.isnan([scores[key] for key in ("accuracy", "nll", "brier", "ece", "majority_accuracy")]).all()


def test_empty_batch_between_others_changes_nothing():
    log_scores, targets = random_rows(2, 20, seed=4)
    metrics = ClassificationMetrics(2)
    metrics.update(log_scores, targets)
    metrics.update(log_scores[:0], targets[:0])
    assert {key: value.item() for key, value in metrics.compute().items()} == measured(log_scores, targets)


def test_reset_and_reuse():
    log_scores, targets = random_rows(2, 50, seed=5)
    metrics = ClassificationMetrics(2)
    metrics.update(*random_rows(2, 30, seed=6))
    metrics.compute()
    metrics.reset()
    metrics.update(log_scores, targets)
    first = metrics.compute()
    assert {key: value.item() for key, value in first.items()} == measured(log_scores, targets)
    metrics.update(log_scores, targets)
    assert metrics.compute()["examples"] == 100


def test_confusion_matrix_has_a_column_of_invalid_answers():
    nan = torch.nan
    log_scores = torch.tensor([[0.0, -9.0], [-9.0, 0.0], [nan, nan], [0.0, -9.0]])
    metrics = ClassificationMetrics(2)
    metrics.update(log_scores, torch.tensor([0, 1, 1, 1]))
    assert metrics.confusion_matrix().tolist() == [[1, 0, 0], [1, 1, 1]]


def test_without_probabilities_there_is_no_nll():
    keys = measured(*random_rows(6, 10, seed=7), has_probabilities=False).keys()
    assert not {"nll", "brier", "ece"} & keys
    assert "f1" not in keys
    assert "macro_f1" in keys


def test_module_in_low_precision_keeps_wide_sums():
    log_scores, targets = random_rows(3, 400, seed=8)
    metrics = ClassificationMetrics(3).to(torch.bfloat16)
    metrics.update(log_scores, targets)
    low = {key: value.item() for key, value in metrics.compute().items()}
    assert low == measured(log_scores, targets)
    assert not metrics.state_dict()


def test_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2, 3\)"):
        ClassificationMetrics(3).update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))


def rank_rows(log_scores, targets, rank, share):
    """The first rows go to rank 0, the others to rank 1."""
    cut = int(len(targets) * share)
    rows = slice(cut) if rank == 0 else slice(cut, None)
    return log_scores[rows], targets[rows]


def worker(rank, folder, share, update_empty, low_precision):
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    log_scores, targets = rank_rows(*random_rows(3, 103, seed=9), rank, share)
    metrics = ClassificationMetrics(3)
    if low_precision:
        metrics.to(torch.bfloat16)
    for rows, row_targets in zip(log_scores.split(8), targets.split(8), strict=True):
        if len(rows) or update_empty:
            metrics.update(rows, row_targets)
    result = {key: value.item() for key, value in metrics.compute().items()}
    again = {key: value.item() for key, value in metrics.compute().items()}
    matrix = metrics.confusion_matrix()
    alone = None
    if rank == 0:  # the other rank takes no part in this
        own = ClassificationMetrics(3, sync_on_compute=False)
        own.update(log_scores, targets)
        alone = own.compute()["examples"].item()
    torch.save((result, again, matrix, alone), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "update_empty", "low_precision"),
    [
        (0.3, True, False),
        pytest.param(1.0, True, False, marks=pytest.mark.exhaustive),
        pytest.param(1.0, False, False, marks=pytest.mark.exhaustive),
        pytest.param(1.0, False, True, marks=pytest.mark.exhaustive),
    ],
)
def test_two_processes_with_unequal_rows(tmp_path, share, update_empty, low_precision):
    torch.multiprocessing.spawn(worker, (str(tmp_path), share, update_empty, low_precision), nprocs=2)
    log_scores, targets = random_rows(3, 103, seed=9)
    expected = measured(log_scores, targets)
    for rank in range(2):
        result, again, matrix, alone = torch.load(tmp_path / f"{rank}.pt")
        assert result == pytest.approx(expected, abs=1e-6)
        assert again == pytest.approx(result)
        assert matrix.sum() == 103
        assert alone == (int(103 * share) if rank == 0 else None)


@pytest.mark.slow
def test_import_loads_no_sklearn_pandas_or_lightning():
    code = "import sys, textclf.evaluation.metrics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "pandas", "lightning", "pyarrow"} & set(done.stdout.split())
