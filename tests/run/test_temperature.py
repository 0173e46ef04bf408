"""Temperature scaling: the number, and where it comes into force."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, Trainer, seed_everything

from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.calibration import BOUNDS, Temperature, fit_temperature, mean_nll
from textclf.models import FineTunedClassifier, TextClassifier, TfidfClassifier
from textclf.models.checkpoint import read_checkpoint
from textclf.run.calibration import TemperatureScaling
from textclf.run.checkpoints import BestCheckpoint, LastCheckpoint

NAMES = ("negative", "positive")
TEXTS = ["영화", "a fine film", "지루한 영화 the film", ""]


def log_softmax(scores):
    return torch.from_numpy(scores).log_softmax(1).numpy()


def drawn(rows, classes, temperature, seed=0):
    """Scores whose labels were drawn at a temperature."""
    random = np.random.default_rng(seed)
    log_scores = log_softmax(random.normal(size=(rows, classes)) * 4)
    honest = np.exp(log_softmax(log_scores / temperature))
    labels = (honest.cumsum(1) < random.random((rows, 1))).sum(1).clip(max=classes - 1)
    return log_scores, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature):
    log_scores, labels = drawn(20_000, 4, temperature)
    assert fit_temperature(log_scores, labels) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 5), st.sampled_from([0.1, 1.0, 30.0]))
def test_the_likelihood_never_gets_worse(seed, rows, classes, scale):
    random = np.random.default_rng(seed)
    log_scores = log_softmax(random.normal(size=(rows, classes)) * scale)
    labels = random.integers(0, classes, rows)
    temperature = fit_temperature(log_scores, labels)
    assert BOUNDS[0] <= temperature <= BOUNDS[1]
    reached = mean_nll(log_scores, labels, temperature)
    assert reached <= mean_nll(log_scores, labels, 1.0)
    grid = np.geomspace(*BOUNDS, 50)
    assert reached <= min(mean_nll(log_scores, labels, other) for other in grid) + 1e-5


def test_rows_that_say_nothing_are_left_out():
    log_scores, labels = drawn(500, 3, 2.0)
    odd = np.array([[np.nan] * 3, [0.0, -np.inf, -np.inf]])
    more = fit_temperature(np.concatenate([log_scores, odd]), np.append(labels, [0, 1]))
    assert more == fit_temperature(log_scores, labels)
    assert fit_temperature(odd, np.array([0, 1])) == 1.0


def temperature_of(model):
    calibrator = model.textclf.calibrator(decides=False)
    return 1.0 if calibrator is None else calibrator.temperature


class Seen(Callback):
    """Keeps the labels and the log-scores of the last validation."""

    def on_validation_epoch_start(self, trainer, pl_module):
        self.parts = []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, *args):
        self.parts.append((outputs["log_scores"].double().numpy(), batch["labels"].numpy()))


def fit(model, rows_folder, folder, *more, **options):
    seed_everything(1)
    seen = Seen()
    trainer = Trainer(
        **{"default_root_dir": folder, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        **{"enable_model_summary": False, "max_epochs": 2, **options},
        callbacks=[BestCheckpoint(), LastCheckpoint(), seen, TemperatureScaling(), *more],
    )
    trainer.fit(model, datamodule=FilesDataModule(str(rows_folder), batch_size=8))
    return trainer, *(np.concatenate(part) for part in zip(*seen.parts, strict=True))


@pytest.fixture
def model(tiny_encoder):
    return FineTunedClassifier(2, NAMES, str(tiny_encoder), max_length=32, learning_rate=0.01)


def test_a_checkpoint_has_the_temperature_of_its_own_validation(model, rows_folder, tmp_path):
    trainer, scores, labels = fit(model, rows_folder, tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    temperature = fit_temperature(scores, labels)
    assert temperature != 1
    assert read_checkpoint(last)["textclf"]["temperature"] == temperature
    assert trainer.callback_metrics["val/temperature"] == pytest.approx(temperature)
    assert trainer.callback_metrics["val/nll"] == pytest.approx(mean_nll(scores, labels, 1.0), abs=1e-6)
    validated = trainer.validate(model, datamodule=trainer.datamodule, ckpt_path=str(last), verbose=False)[0]
    assert validated["val/nll"] == pytest.approx(mean_nll(scores, labels, temperature), abs=1e-6)
    assert temperature_of(model) == temperature  # not fitted again


def test_later_scores_are_divided_by_it_and_the_labels_stay(model, rows_folder, tmp_path):
    fit(model, rows_folder, tmp_path)
    loaded = TextClassifier.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    own = loaded.log_scores(loaded.collate({"text": TEXTS, **loaded.encode({"text": TEXTS})}))
    answers = loaded.classify(TEXTS)
    expected = (own / temperature_of(loaded)).softmax(1)
    assert [answer["score"] for answer in answers] == pytest.approx(expected.amax(1).tolist(), abs=1e-6)
    assert [answer["label"] for answer in answers] == [NAMES[i] for i in own.argmax(1)]


def test_the_loss_of_training_knows_nothing_of_it(tiny_encoder, rows_folder, tmp_path):
    class Hot(Callback):
        def on_train_batch_start(self, trainer, pl_module, *args):
            pl_module.textclf.calibrators = (Temperature(7.0),)

    weights = []
    for number, more in enumerate([(), (Hot(),)]):
        seed_everything(1)
        model = FineTunedClassifier(2, NAMES, str(tiny_encoder), max_length=32, learning_rate=0.01)
        fit(model, rows_folder, tmp_path / str(number), *more, max_epochs=1)
        weights.append(model.state_dict())
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_a_method_that_prepare_fits_whole_is_scaled_too(rows_folder, tmp_path):
    model = TfidfClassifier(2, NAMES, min_df=1)
    _, scores, labels = fit(model, rows_folder, tmp_path)
    assert temperature_of(model) == fit_temperature(scores, labels)


def test_without_validation_the_temperature_is_one(model, rows_folder, tmp_path):
    seed_everything(1)
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, max_steps=1, callbacks=[TemperatureScaling()]
    )
    trainer.fit(model, train_dataloaders=None, datamodule=NoValidation(str(rows_folder)))
    assert temperature_of(model) == 1.0


class NoValidation(FilesDataModule):
    def has_split(self, split):
        return split != "validation" and super().has_split(split)


def test_a_method_without_probabilities_is_refused(rows_folder, tmp_path):
    class Labels(TfidfClassifier):
        has_probabilities = False

    with pytest.raises(UserError, match="Labels gives no probabilities"):
        fit(Labels(2, NAMES), rows_folder, tmp_path)


@pytest.mark.slow
def test_the_command_line_knows_it_by_its_short_name(tiny_encoder, rows_folder, tmp_path):
    from tests.cli.test_app import CONFIGS, CSV_LOGGER
    from textclf.cli import main

    run_dir = tmp_path / "run"
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder), *CSV_LOGGER),
            *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
            *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--run_dir", str(run_dir)),
            "--trainer.callbacks+=TemperatureScaling",
        ]
    )
    assert "val/temperature" in (run_dir / "metrics.csv").read_text().splitlines()[0]
    assert read_checkpoint(run_dir / "checkpoints/best.ckpt")["textclf"]["temperature"] != 1
    assert json.loads((run_dir / "report/metrics.json").read_text())["test/nll"] > 0
