"""What `transformers` alone makes of an exported checkpoint."""

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from tests.conftest import invented_rows
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.calibration import Temperature, Thresholds
from textclf.evaluation.prediction_table import read_predictions
from textclf.export import export_checkpoint, scores_of_folder
from textclf.models import FineTunedClassifier, TextClassifier, TfidfClassifier

ROOT = Path(__file__).parents[1]
FIVE = list(invented_rows(30, seed=8))
TEXTS = [text for text, _ in invented_rows(60, seed=7)] + ["the film " * 100, "", "영화 개재밌어 ㅋㅋㅋㅋㅋ"]


@pytest.fixture(scope="module")
def run(tiny_encoder, rows_folder, tmp_path_factory):
    """The folder of a run that tells the labels apart."""
    run_dir = tmp_path_factory.mktemp("export") / "run"
    main(
        [
            *("fit", "--config", str(ROOT / "configs" / "files.yaml"), "--data.data_dir", str(rows_folder)),
            *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--model.learning_rate", "0.02"),
            *("--data.batch_size", "4", "--trainer.max_epochs", "3", "--trainer.accelerator", "cpu"),
            *("--trainer.logger", "textclf.run.MetricsCSV", "--run_dir", str(run_dir)),
        ]
    )
    return run_dir


@pytest.fixture(scope="module")
def exported(run):
    folder = run.parent / "exported"
    export_checkpoint(run / "checkpoints" / "best.ckpt", folder)
    return folder


@pytest.mark.slow
def test_a_process_with_transformers_alone_gives_the_same_scores(run, exported):
    program = """
import json, sys
from transformers import pipeline
classify = pipeline("text-classification", model=sys.argv[1], truncation=True, top_k=None)
answers = classify(json.load(sys.stdin))
json.dump([answers, "textclf" in sys.modules or "lightning" in sys.modules], sys.stdout)
"""
    command = [sys.executable, "-c", program, str(exported)]
    done = subprocess.run(command, input=json.dumps(TEXTS), capture_output=True, text=True, check=True, cwd="/")
    answers, ours_is_there = json.loads(done.stdout)
    assert not ours_is_there
    expected = TextClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt").classify(TEXTS)
    best = [max(answer, key=lambda entry: entry["score"]) for answer in answers]
    assert [entry["label"] for entry in best] == [answer["label"] for answer in expected]
    assert {entry["label"] for entry in best} == {"negative", "positive"}
    assert [entry["score"] for entry in best] == pytest.approx([answer["score"] for answer in expected], abs=1e-5)


@pytest.mark.slow
def test_the_tokenizer_cuts_where_training_did(exported):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.model_max_length == 32
    assert len(tokenizer("the film " * 100, truncation=True)["input_ids"]) == 32


@pytest.mark.slow
def test_the_card_tells_of_the_run(run, exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    for words in (
        "library_name: transformers",
        'model="exported", truncation=True',
        "cut at 32 tokens",
        "textclf.data.FilesDataModule",
        "text_column: text",
        "21 test rows; accuracy of the majority class: 0.5238.",
        f"| accuracy | {metrics['test/accuracy']:.4f} |",
        f"| macro_f1 | {metrics['test/macro_f1']:.4f} "
        f"| {metrics['test/macro_f1_low']:.4f} to {metrics['test/macro_f1_high']:.4f} |",
        "python -m textclf fit --config config.yaml",
        f"torch {torch.__version__}",
        "for the classes: negative, positive.",
    ):
        assert words in card, words
    assert (exported / "config.yaml").read_bytes() == (run / "config.yaml").read_bytes()
    assert (exported / "model.safetensors").stat().st_mode & 0o777 == (exported / "README.md").stat().st_mode & 0o777


TWO = {"num_classes": 2, "label_names": ("negative", "positive"), "max_length": 32}


def saved(model, rows_folder, folder):
    """The checkpoint of a model after a step of training."""
    options = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = Trainer(max_steps=1, default_root_dir=folder, **options)
    trainer.fit(model, datamodule=FilesDataModule(str(rows_folder)))
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"lora": {"rank": 2}}])
def test_temperature_adapters_and_thresholds(settings, tiny_encoder, rows_folder, tmp_path, capsys):
    model = FineTunedClassifier(**TWO, pretrained=str(tiny_encoder), learning_rate=0.1, warmup=0, **settings)
    model.textclf.calibrators = (Temperature(0.05), Thresholds([0.99, 0.01]))
    checkpoint = saved(model, rows_folder, tmp_path)
    card = card_of(checkpoint, tmp_path / "out")
    ours = TextClassifier.load_from_checkpoint(checkpoint)
    answers = ours.classify(TEXTS)
    scores = scores_of_folder(tmp_path / "out", TEXTS)
    assert [score[answer["label"]] for score, answer in zip(scores, answers, strict=True)] == pytest.approx(
        [answer["score"] for answer in answers], abs=1e-5
    )
    assert max(max(score.values()) for score in scores) > 0.6  # the temperature is felt
    said = capsys.readouterr().err
    for text in (card, said):
        assert "highest ratio of probability to threshold (negative 0.99, positive 0.01)" in text
        assert "Texts were cleaned first (`NormalizeUnicode`, " in text


def copied(run, folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((run / name).read_bytes())
    return folder


def card_of(checkpoint, folder):
    export_checkpoint(checkpoint, folder)
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_card_gives_no_results_that_are_not_the_checkpoints(run, tiny_encoder, rows_folder, tmp_path):
    report = ("report/metrics.json", "report/predictions.parquet", "report/report.txt")
    card = card_of(copied(run, tmp_path / "a", "checkpoints/best.ckpt") / "checkpoints" / "best.ckpt", tmp_path / "b")
    assert "the run has no report" in card
    assert "there is no `config.yaml` in the folder of the run" in card
    assert "best checkpoint" in card_of(run / "checkpoints" / "last.ckpt", tmp_path / "c")
    other = saved(FineTunedClassifier(**TWO, pretrained=str(tiny_encoder)), rows_folder, tmp_path)
    other = other.rename(copied(run, tmp_path / "d", *report, "checkpoints/best.ckpt") / "checkpoints" / "best.ckpt")
    assert "of another checkpoint" in card_of(other, tmp_path / "e")


# Ready-made, in this project itself


def judged(folder, rows_folder, run_dir, *options):
    """The metrics and the prediction table of `PretrainedClassifier` on the test rows."""
    files = [f"--config={ROOT / 'configs' / name}" for name in ("files.yaml", "model/pretrained.yaml")]
    main(
        [
            *("test", *files, "--data.data_dir", str(rows_folder), "--model.pretrained", str(folder)),
            *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
            *("--trainer.logger", "false", "--run_dir", str(run_dir), *options),
        ]
    )
    metrics = json.loads((run_dir / "report" / "metrics.json").read_text())
    del metrics["examples_per_second"]
    return metrics, read_predictions(run_dir / "report" / "predictions.parquet")


def permuted(exported, folder, order):
    """The same classifier with its labels, and the rows of its head, in another order."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(exported)
    names = [network.config.id2label[i] for i in order]
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: i for i, name in enumerate(names)}
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.copy_(parameter[list(order)].clone())
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(exported).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_an_export_predicts_as_its_checkpoint_did_in_any_order_of_labels(run, exported, rows_folder, tmp_path):
    metrics, table = judged(exported, rows_folder, tmp_path / "run")
    expected = TextClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt").classify(table.texts)
    assert [table.label_names[i] for i in table.predictions] == [answer["label"] for answer in expected]
    assert set(table.predictions) == {0, 1}
    best = torch.tensor(table.log_scores).exp().amax(dim=1).tolist()
    assert best == pytest.approx([answer["score"] for answer in expected], abs=1e-5)
    other, same = judged(permuted(exported, tmp_path / "other", (1, 0)), rows_folder, tmp_path / "again")
    assert json.loads((tmp_path / "other" / "config.json").read_text())["id2label"] == {
        "0": "positive",
        "1": "negative",
    }
    first, second = ({key: value for key, value in m.items() if key.startswith("test/")} for m in (metrics, other))
    assert second == pytest.approx(first, abs=1e-6)
    assert (same.predictions == table.predictions).all()


@pytest.mark.slow
def test_an_export_of_five_labels_comes_to_two(tiny_encoder, rows_folder, tmp_path):
    stars = [f"{i} star{'s' * (i > 1)}" for i in range(1, 6)]
    (tmp_path / "five").mkdir()
    lines = [f'"{text}",{stars[(i % 3 + 3 * (label == "positive")) % 5]}' for i, (text, label) in enumerate(FIVE)]
    (tmp_path / "five" / "train.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    model = FineTunedClassifier(5, stars, pretrained=str(tiny_encoder), max_length=32, learning_rate=0.1, warmup=0)
    export_checkpoint(saved(model, tmp_path / "five", tmp_path), tmp_path / "out")
    to_two = dict(zip(stars, ["negative", "negative", None, "positive", "positive"], strict=True))
    _, table = judged(tmp_path / "out", rows_folder, tmp_path / "run", "--model.label_map", json.dumps(to_two))
    for found, score in zip(table.log_scores, scores_of_folder(tmp_path / "out", table.texts), strict=True):
        low, high = score["1 star"] + score["2 stars"], score["4 stars"] + score["5 stars"]
        assert torch.tensor(found).exp().tolist() == pytest.approx([low / (low + high), high / (low + high)], abs=1e-5)


# What cannot be exported


def test_a_folder_that_holds_something_stays_as_it_is(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("before")
    with pytest.raises(UserError, match="out' exists and is not an empty folder"):
        export_checkpoint(run / "checkpoints" / "best.ckpt", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_another_method(rows_folder, tmp_path):
    checkpoint = saved(TfidfClassifier(2, ("negative", "positive"), min_df=1), rows_folder, tmp_path)
    with pytest.raises(UserError, match="TfidfClassifier, which transformers alone cannot run"):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_that_transformers_cannot_give(run, tmp_path, monkeypatch):
    forward = FineTunedClassifier.forward
    monkeypatch.setattr(FineTunedClassifier, "forward", lambda self, batch: 2 * forward(self, batch))
    with pytest.raises(UserError, match=r"gives other scores for .* than the checkpoint"):
        export_checkpoint(run / "checkpoints" / "best.ckpt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(run, tmp_path, monkeypatch):
    from transformers import PreTrainedModel

    def save_half(self, folder):
        Path(folder, "model.safetensors").write_text("half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save_half)
    with pytest.raises(UserError, match="no space left"):
        export_checkpoint(run / "checkpoints" / "best.ckpt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# The script


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("export_under_test", ROOT / "scripts" / "export.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script(script, run, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    arguments = [str(run / "checkpoints" / "best.ckpt"), str(tmp_path / "out")]
    assert script.main(arguments) == 0
    assert "longer than" not in caplog.text  # a probe is, and is cut
    assert "truncation=True" in capsys.readouterr().err
    assert set(scores_of_folder(tmp_path / "out", ["영화"])[0]) == {"negative", "positive"}
    assert script.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("export: error: ")
    assert "name another folder" in line
    assert script.main([str(tmp_path / "nowhere.ckpt"), str(tmp_path / "new")]) == 2
    assert "nowhere.ckpt' does not exist" in capsys.readouterr().err


TUNED = """
from textclf.models import FineTunedClassifier


class Tuned(FineTunedClassifier):
    pass
"""


@pytest.fixture
def tuned(tiny_encoder, rows_folder, tmp_path, monkeypatch):
    """The checkpoint of a subclass whose module is in the current folder, and is not imported any more."""
    (tmp_path / "tuned_package").mkdir()
    (tmp_path / "tuned_package" / "tuned.py").write_text(TUNED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("tuned_package.tuned")
    model = module.Tuned(2, ("negative", "positive"), pretrained=str(tiny_encoder), learning_rate=0.1)
    checkpoint = saved(model, rows_folder, tmp_path)
    for name in ("tuned_package.tuned", "tuned_package"):
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    return checkpoint


def test_the_script_imports_the_module_of_a_subclass(script, tuned, tmp_path, capsys):
    assert script.main(["--import", "tuned_package.tuned", str(tuned), str(tmp_path / "out")]) == 0
    assert set(scores_of_folder(tmp_path / "out", ["영화"])[0]) == {"negative", "positive"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "which is not imported: write `from tuned_package.tuned import Tuned` first (for scripts/export.py: `--"),
        (["--import", "nowhere.tuned"], "--import nowhere.tuned: there is no module 'nowhere': install its package"),
        (["--import", "tuned_package.tune"], "--import tuned_package.tune: there is no module 'tuned_package.tune':"),
    ],
)
def test_the_script_without_the_module(script, tuned, tmp_path, capsys, options, message):
    assert script.main([*options, str(tuned), str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_inside_the_module_is_one_line(script, tmp_path, monkeypatch, capsys, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty_module.py").write_text(source)
    assert script.main(["--import", "faulty_module", "best.ckpt", "out"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"export: error: --import faulty_module: importing its module fails: {message} (")
    assert error.endswith("faulty_module.py, line 1)")
