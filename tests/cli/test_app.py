"""The command line, run in this process on a tiny encoder and invented rows."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

import textclf
from tests.run_files import WEIGHTS, run_files
from textclf.cli import help, main, messages
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import FineTunedClassifier, TextClassifier

CONFIGS = Path(__file__).parents[2] / "configs"
CSV_LOGGER = ("--trainer.logger", "textclf.run.MetricsCSV")


@pytest.fixture
def options(tiny_encoder, rows_folder):
    return [
        *("--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
        *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
        *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", *CSV_LOGGER),
    ]


@pytest.fixture(scope="module")
def trained(tiny_encoder, rows_folder, tmp_path_factory):
    """The folder of a finished run."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
            *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
            *(
                "--trainer.max_epochs",
                "2",
                "--trainer.accelerator",
                "cpu",
                "--trainer.precision",
                "32-true",
                *CSV_LOGGER,
            ),
            *("--run_dir", str(run_dir)),
        ]
    )
    return run_dir


def parsed(capsys, *arguments):
    """The configuration that a command line comes to."""
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--print_config"])
    assert stop.value.code in (0, None)
    return yaml.safe_load(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The last line of a command that is refused."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code not in (0, None)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


# What a run leaves behind


def test_fit_writes_the_run_folder_and_tests_the_best_checkpoint(trained):
    written = sorted(str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file())
    assert written == run_files()
    metrics = json.loads((trained / "report" / "metrics.json").read_text())
    table = read_predictions(trained / "report" / "predictions.parquet")
    assert metrics["examples"] == len(table.ids)
    assert metrics["test/accuracy"] == pytest.approx((table.labels == table.predictions).mean())
    assert metrics["examples_per_second"] > 0


def test_the_logged_metrics_are_those_of_the_table(trained):
    rows = (trained / "metrics.csv").read_text().splitlines()
    logged = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    for name, value in json.loads((trained / "report" / "metrics.json").read_text()).items():
        if name.startswith("test/") and not name.endswith(("_low", "_high")):
            assert float(logged[name]) == pytest.approx(value, abs=1e-6), name


def test_config_holds_linked_values_and_no_paths_of_the_run(trained):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["init_args"]["label_names"] == ["negative", "positive"]
    assert config["model"]["init_args"]["num_classes"] == 2
    assert config["data"]["init_args"]["label_names"] == ["negative", "positive"]
    assert "run_dir" not in config
    assert "ckpt_path" not in config
    assert str(trained) not in (trained / "config.yaml").read_text()


@pytest.mark.slow
def test_runs_are_numbered_and_named_after_their_configs(options, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    tfidf = ["--config", str(CONFIGS / "model" / "tfidf.yaml"), "--model.min_df", "1"]
    overlay = [*options[:4], *tfidf, *CSV_LOGGER]
    for _ in range(2):
        main(["fit", *overlay])
    assert sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "runs").glob("*/*")) == [
        "runs/files-tfidf/0",
        "runs/files-tfidf/1",
    ]
    assert sorted(
        str(p.relative_to(tmp_path / "runs/files-tfidf/0")) for p in Path("runs/files-tfidf/0").resolve().rglob("*.*")
    ) == run_files(WEIGHTS)
    line = refused(capsys, "fit", *overlay, "--run_dir", "runs/files-tfidf/0")
    assert "holds a run already" in line


# The four commands accept a run's configuration; a checkpoint speaks before the files


@pytest.mark.slow
def test_config_of_a_run_is_accepted_by_all_commands(trained, tmp_path, capsys):
    config = ["--config", str(trained / "config.yaml"), "--trainer.logger", "false"]
    main(["test", *config, "--ckpt_path", "best", "--run_dir", str(tmp_path / "test")])
    first, again = (read_predictions(d / "report/predictions.parquet") for d in (trained, tmp_path / "test"))
    assert (first.log_scores == again.log_scores).all()
    main(["validate", *config, "--ckpt_path", "last", "--run_dir", str(tmp_path / "validate")])
    capsys.readouterr()
    main(["predict", *config, "--ckpt_path", "best", "--texts", '["a fine film", "지루한 영화"]'])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a fine film", "지루한 영화"]
    assert set(rows[0]) == {"id", "text", "label", "score", "scores"}
    main(["fit", *config, "--run_dir", str(tmp_path / "fit"), "--trainer.max_epochs", "1"])
    assert (tmp_path / "fit/report/metrics.json").is_file()


def test_predict_needs_the_checkpoint_alone_and_agrees_with_classify(trained, tmp_path, monkeypatch):
    texts = [f"영화 {'the film ' * (i % 7)} {i}" for i in range(20)]
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-8")
    checkpoint = str(trained / "checkpoints" / "best.ckpt")
    monkeypatch.chdir(tmp_path)
    main(
        [
            *("predict", "--ckpt_path", checkpoint, "--input", "in.txt", "--output", "out.jsonl"),
            *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu"),
        ]
    )
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    answers = TextClassifier.load_from_checkpoint(checkpoint).classify(texts)
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [answer["label"] for answer in answers]
    assert [row["score"] for row in rows] == pytest.approx([answer["score"] for answer in answers], abs=1e-6)
    assert not (tmp_path / "runs").exists()


def test_precedence(trained, capsys, tmp_path):
    """Command line, then files, then the checkpoint, then the defaults."""
    checkpoint = ["--ckpt_path", str(trained / "checkpoints" / "best.ckpt")]
    stored = parsed(capsys, "test", *checkpoint)
    assert stored["model"]["init_args"]["learning_rate"] == 0.01
    assert stored["model"]["init_args"]["label_smoothing"] == 0.0
    (tmp_path / "more.yaml").write_text("model: {init_args: {learning_rate: 0.5, label_smoothing: 0.1}}")
    file = parsed(capsys, "test", "--config", str(tmp_path / "more.yaml"), *checkpoint)
    assert file["model"]["init_args"]["learning_rate"] == 0.5
    typed = parsed(
        capsys, "test", "--config", str(tmp_path / "more.yaml"), *checkpoint, "--model.learning_rate", "0.25"
    )
    assert typed["model"]["init_args"]["learning_rate"] == 0.25
    assert typed["model"]["init_args"]["label_smoothing"] == 0.1
    assert typed["model"]["init_args"]["pretrained"] == stored["model"]["init_args"]["pretrained"]
    assert typed["trainer"]["use_distributed_sampler"] is False


@pytest.mark.slow
def test_resuming_a_finished_run_keeps_its_rows(options, tmp_path):
    run_dir = tmp_path / "run"
    main(["fit", *options, "--run_dir", str(run_dir), "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"])
    before = (run_dir / "metrics.csv").read_text().splitlines()
    config = ["--config", str(run_dir / "config.yaml"), "--run_dir", str(run_dir), "--ckpt_path", "last"]
    main(["fit", *config, "--trainer.max_epochs", "2"])
    after = (run_dir / "metrics.csv").read_text().splitlines()
    steps = [int(row.split(",")[after[0].split(",").index("step")]) for row in after[1:]]
    assert len(after) > len(before)
    assert steps == sorted(steps)
    assert torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


# What a stranger gets wrong


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--model Nonsense", ["'Nonsense'", "FineTunedClassifier", "TfidfClassifier"]),
        ("--data no.such.Data", ["'no.such.Data'", "NSMCDataModule"]),
        ("--model.max_len 3", ["'max_len'", "'max_length'"]),
        ("--model.max_length much", ["model.max_length", "much", "int"]),
        ("--model.optimizer sgd", ["model.optimizer", "sgd", "'adamw', 'adam'"]),
        ("--trainer.max_epochs many", ["trainer.max_epochs", "many"]),
        ("--config nowhere.yaml", ["nowhere.yaml"]),
        ("--data.data_dir nowhere", ["'nowhere'", "folder"]),
        ("--data.val_size 2", ["2.0", "give a share, 0 or more"]),
        ("--model.pretrained ./nowhere", ["'./nowhere'", "package://"]),
        ("--model.pretrained package://no_such_package/model", ["'no_such_package'", "install"]),
        ("--model.pretrained nobody/nothing", ["'nobody/nothing'", "--model.pretrained"]),
        ("--model.max_length 4096", ["4096", "64"]),
        ("--model.class_weights '{good: 2.0}'", ["good", "negative, positive"]),
        ("--model.warmup 1.5", ["1.5"]),
        ("--model.learning_rate=-1", ["learning_rate -1.0", "more than 0"]),
        ("--model.max_length 2", ["max_length 2"]),
        ("--model.label_smoothing 1.5", ["label_smoothing 1.5"]),
        ("--trainer.strategy nonsense", ["nonsense"]),
        ("--ckpt_path nowhere.ckpt", ["'nowhere.ckpt'"]),
        ("--ckpt_path best", ["best"]),
    ],
)
def test_mistakes_end_with_one_clear_line(more, words, options, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, "fit", *options, "--trainer.logger", "false", *shlex.split(more))
    for word in words:
        assert word in line, line
    assert not any(path.is_file() for path in tmp_path.glob("runs/*/*/checkpoints/*"))


def test_a_metric_that_nobody_logs(options, capsys, tmp_path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/nonsense"]
    line = refused(capsys, "fit", *options, *stop, "--run_dir", str(tmp_path / "run"))
    assert "val/nonsense" in line
    assert "val/macro_f1" in line


def test_a_misspelt_section_in_a_file(options, capsys, tmp_path):
    (tmp_path / "bad.yaml").write_text("modle: {class_path: FineTunedClassifier}")
    assert "'model'" in refused(capsys, "fit", *options, "--config", str(tmp_path / "bad.yaml"))


def test_a_checkpoint_named_in_a_file_is_not_ignored(options, capsys, tmp_path):
    (tmp_path / "more.yaml").write_text("ckpt_path: somewhere.ckpt")
    assert "--ckpt_path" in refused(capsys, "fit", *options, "--config", str(tmp_path / "more.yaml"))


@pytest.mark.slow
def test_resuming_with_other_batches_is_refused(options, capsys, tmp_path):
    run_dir = tmp_path / "run"
    main(["fit", *options, "--run_dir", str(run_dir), "--trainer.max_steps", "1", "--data.batch_size", "8"])
    again = ["--config", str(run_dir / "config.yaml"), "--run_dir", str(run_dir), "--ckpt_path", "last"]
    line = refused(capsys, "fit", *again, "--trainer.max_steps", "20", "--data.batch_size", "4")
    assert "same rows, batch size" in line


def test_resuming_with_labels_in_another_order_is_refused(trained, capsys):
    again = ["--config", str(trained / "config.yaml"), "--run_dir", str(trained), "--ckpt_path", "last"]
    line = refused(capsys, "fit", *again, "--data.label_names", '["positive", "negative"]')
    assert "in the order negative, positive" in line


@pytest.mark.slow
def test_a_moved_run_keeps_its_best_score(options, tmp_path):
    first, moved = tmp_path / "first", tmp_path / "moved"
    main(["fit", *options, "--run_dir", str(first), "--trainer.max_epochs", "1"])
    first.rename(moved)
    last = moved / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    (state,) = [s for name, s in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint")]
    state["best_model_score"] = torch.tensor(2.0)  # no later epoch is better
    torch.save(checkpoint, last)
    before = (moved / "checkpoints" / "best.ckpt").read_bytes()
    again = ["--config", str(moved / "config.yaml"), "--run_dir", str(moved), "--ckpt_path", "last"]
    main(["fit", *again, "--trainer.max_epochs", "2"])
    assert (moved / "checkpoints" / "best.ckpt").read_bytes() == before


def test_missing_splits(options, rows_folder, capsys, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{split}.csv").write_text((rows_folder / f"{split}.csv").read_text())
    line = refused(capsys, "fit", *options, "--data.data_dir", str(tmp_path / "test"), "--run_dir", str(tmp_path / "a"))
    assert "'train'" in line
    assert "train.parquet" in line
    main(["fit", *options, "--data.data_dir", str(tmp_path / "train"), "--run_dir", str(tmp_path / "b")])
    assert "no test split" in capsys.readouterr().err
    assert (tmp_path / "b/checkpoints/best.ckpt").is_file()


@pytest.mark.slow
def test_without_validation_the_last_checkpoint_is_tested(options, rows_folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text((rows_folder / f"{split}.csv").read_text())
    run_dir = tmp_path / "run"
    main(["fit", *options, "--data.data_dir", str(tmp_path), "--data.val_size", "0", "--run_dir", str(run_dir)])
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["last.ckpt"]
    assert json.loads((run_dir / "report" / "metrics.json").read_text())["examples"] == 21


@pytest.mark.slow
def test_a_method_that_does_not_train_is_tested_and_not_fitted(options, capsys, tmp_path):
    rule = [
        *options[:4],
        *CSV_LOGGER,
        "--model",
        "tests.models.test_base.LengthRule",
        "--run_dir",
        str(tmp_path / "run"),
    ]
    assert "nothing to train" in refused(capsys, "fit", *rule)
    main(["test", *rule])
    assert json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())["examples"] == 21


def test_trained_methods_need_a_checkpoint(options, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "--ckpt_path" in refused(capsys, "test", *options)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.slow
def test_checkpoints_that_cannot_be_used(trained, options, rows_folder, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    whole = (trained / "checkpoints/best.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut off" in refused(capsys, "test", "--ckpt_path", "cut.ckpt")
    torch.save({"state_dict": {}}, "other.ckpt")
    assert "not a checkpoint of this package" in refused(capsys, "test", "--ckpt_path", "other.ckpt")
    torch.save({"textclf": Evil()}, "evil.ckpt")
    assert "could run code" in refused(capsys, "test", "--ckpt_path", "evil.ckpt")
    assert not Path("ran").exists()
    best = ["--ckpt_path", str(trained / "checkpoints/best.ckpt")]
    labels = ["--data.label_names", '["negative", "neutral", "positive"]']
    assert "neutral" in refused(capsys, "test", *best, *labels)
    line = refused(capsys, "test", *best, "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder))
    assert "bert-base-multilingual-cased" in line
    assert "config.yaml" in line
    assert "FineTunedClassifier" in refused(capsys, "test", *best, "--model", "TfidfClassifier")


def test_the_best_checkpoint_holds_weights_alone_and_the_last_one_everything(trained, capsys):
    best, last = (torch.load(trained / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    resuming = {"optimizer_states", "lr_schedulers", "callbacks"}
    assert last.keys() - best.keys() == resuming
    assert last["optimizer_states"][0]["state"]
    assert any(name.startswith("BestCheckpoint") for name in last["callbacks"])
    sizes = [(trained / f"checkpoints/{name}.ckpt").stat().st_size for name in ("best", "last")]
    weights = sum(weight.nbytes for weight in best["state_dict"].values())
    assert sizes[1] - sizes[0] > 1.9 * weights  # AdamW keeps two numbers for each weight
    again = ["--config", str(trained / "config.yaml"), "--run_dir", str(trained), "--ckpt_path", "best"]
    line = refused(capsys, "fit", *again)
    assert "best.ckpt' holds weights alone" in line
    assert line.endswith("resume with --ckpt_path last")


def test_labels_are_matched_by_name(trained, capsys, tmp_path):
    best = ["--ckpt_path", str(trained / "checkpoints/best.ckpt"), "--trainer.logger", "false"]
    swapped = ["--data.label_names", '["positive", "negative"]', "--trainer.precision", "32-true"]
    main(["test", *best, *swapped, "--run_dir", str(tmp_path / "run")])
    straight = json.loads((trained / "report/metrics.json").read_text())
    other = json.loads((tmp_path / "run/report/metrics.json").read_text())
    assert other["test/macro_f1"] == pytest.approx(straight["test/macro_f1"])
    assert other["test/nll"] == pytest.approx(straight["test/nll"], abs=1e-6)


# Configurations


def all_configs(folder):
    return sorted(folder.glob("*.yaml"), key=str)


SOME = [CONFIGS / f"{name}.yaml" for name in ("nsmc",)]
EVERY = pytest.param(all_configs(CONFIGS), id="every config", marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", all_configs(CONFIGS / "model"), ids=lambda p: p.stem)
@pytest.mark.parametrize("configs", [pytest.param(SOME, id="some configs"), EVERY])
def test_an_overlay_decides_the_method(configs, overlay, capsys, tmp_path):
    alone = parsed(capsys, "fit", "--config", str(overlay), "--data", "BBCNewsDataModule")
    for config in configs:
        both = parsed(
            capsys, "fit", "--config", str(config), "--config", str(overlay), "--data.data_dir", str(tmp_path)
        )
        assert both["model"] == alone["model"], config.stem


@pytest.mark.slow
@pytest.mark.parametrize("config", all_configs(CONFIGS), ids=lambda p: p.stem)
def test_a_class_on_the_command_line_drops_the_files_arguments(config, capsys, tmp_path):
    folder = ["--data.data_dir", str(tmp_path)]
    alone = parsed(capsys, "fit", "--model", "TfidfClassifier", "--data", "BBCNewsDataModule")
    both = parsed(capsys, "fit", "--config", str(config), *folder, "--model", "TfidfClassifier")
    assert both["model"] == alone["model"]


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", text) for name in ("fit", "validate", "test", "predict"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "--help",
            ["usage: textclf {fit,validate,test,predict}", "  NSMCDataModule ", "  TfidfClassifier ", "--version"],
        ),
        (
            "fit --help",
            ["usage: textclf fit", "  NSMCDataModule ", "--run_dir", "--trainer.max_epochs N", "--help.trainer"],
        ),
        ("fit --config nowhere.yaml -h", ["usage: textclf fit"]),
        ("predict --help", ["usage: textclf predict", "--texts", "--output", "--ckpt_path"]),
        ("fit --data.help", ["  NSMCDataModule ", "--data.help NAME"]),
        ("fit --model.help", ["  TfidfClassifier ", "--model.help NAME"]),
        ("fit --data.help FilesDataModule", ["usage: textclf", "--data.data_dir", "--data.batch_size"]),
        ("fit --model.help=TfidfClassifier", ["usage: textclf", "--model.min_df"]),
        ("--version", [f"textclf {textclf.__version__}"]),
    ],
)
def test_help_fits_a_few_screens(command, words, capsys, monkeypatch):
    # Classes of other tests in this process are listed like a person's own.
    def classes_of_the_package(base):
        return [kind for kind in messages.classes(base) if kind.__module__.startswith("textclf.")]

    monkeypatch.setattr(help, "classes", classes_of_the_package)
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code in (0, None)
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 120
    assert all(word in text for word in words), text
    assert "__main__" not in text
    assert ("--test_after_fit" in text) is ("usage: textclf fit [--config" in text)


def test_the_trainers_options_have_a_help_of_their_own(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help.trainer"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--trainer.gradient_clip_val" in text
    assert "Optional[int], default: 3)" in text  # of max_epochs, from the defaults


def test_printing_the_configuration_builds_nothing(options, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr(FineTunedClassifier, "__init__", fail)
    assert parsed(capsys, "fit", *options)["trainer"]["max_epochs"] == 2


def test_an_unknown_class_is_answered_with_each_known_one_once(capsys):
    line = refused(capsys, "test", "--model", "NoSuchMethod", "--data", "FilesDataModule")
    known = line.partition("give one of ")[2].partition(", or the full path")[0].split(", ")
    assert "NearestCentroid" in known
    assert len(known) == len(set(known))
