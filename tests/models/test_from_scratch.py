"""A new encoder: its tokenizer from the train rows, its weights at random, all of it in the checkpoint."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer, seed_everything

from tests.models.contract import MethodContract
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import FineTunedClassifier, TextClassifier

NAMES = ("negative", "positive")
CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def build(**arguments):
    return FineTunedClassifier(2, NAMES, **{"pretrained": None, "encoder_config": TINY, "max_length": 32, **arguments})


def fit(rows_folder, folder, **options):
    seed_everything(3)
    model = build(learning_rate=0.01)
    trainer = Trainer(
        **{"default_root_dir": folder, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        **{"enable_model_summary": False, "enable_checkpointing": False, "max_steps": 5, **options},
    )
    trainer.fit(model, datamodule=FilesDataModule(str(rows_folder), batch_size=8))
    trainer.save_checkpoint(folder / "model.ckpt")
    return model


@pytest.mark.slow
def test_the_overlay_from_nothing_to_predictions(rows_folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model/from_scratch.yaml")),
            *("--data.data_dir", str(rows_folder), "--run_dir", str(run_dir), "--trainer.precision", "32-true"),
            *(f"--model.encoder_config.{name}={value}" for name, value in TINY.items()),
            *("--model.max_length", "16", "--model.learning_rate", "0.005", "--trainer.accelerator", "cpu"),
            *("--trainer.max_epochs", "10", "--data.batch_size", "16", "--trainer.logger", "false"),
        ]
    )
    assert json.loads((run_dir / "report/metrics.json").read_text())["test/accuracy"] > 0.6
    best = str(run_dir / "checkpoints/best.ckpt")
    capsys.readouterr()
    main(
        ["predict", "--ckpt_path", best, "--texts", '["지루한 영화", "a great film"]', "--trainer.precision", "32-true"]
    )
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    loaded = TextClassifier.load_from_checkpoint(best)
    assert [row["label"] for row in rows] == [
        answer["label"] for answer in loaded.classify(["지루한 영화", "a great film"])
    ]
    main(["test", "--ckpt_path", best, "--trainer.logger", "false", "--run_dir", str(tmp_path / "again")])
    first, again = (read_predictions(run / "report/predictions.parquet") for run in (run_dir, tmp_path / "again"))
    assert first.predictions.tolist() == again.predictions.tolist()


def test_two_runs_with_one_seed_are_equal_to_the_bit(rows_folder, tmp_path):
    (tmp_path / "other").mkdir()
    one, other = fit(rows_folder, tmp_path), fit(rows_folder, tmp_path / "other")
    assert one.fitted == other.fitted
    assert all(torch.equal(weights, other.state_dict()[name]) for name, weights in one.state_dict().items())


def test_the_network_is_as_asked(rows_folder, tmp_path):
    model = fit(rows_folder, tmp_path)
    config = model.network.config
    assert all(getattr(config, name) == value for name, value in TINY.items() if name != "vocab_size")
    assert config.vocab_size == len(model.tokenizer) <= 400
    assert config.max_position_embeddings == model.tokenizer.model_max_length == 32
    assert config.pad_token_id == model.tokenizer.pad_token_id
    assert config.id2label == {0: "negative", 1: "positive"}


def test_the_checkpoint_is_whole_and_plain(rows_folder, tmp_path):
    model = fit(rows_folder, tmp_path)
    stored = torch.load(tmp_path / "model.ckpt", weights_only=True)["textclf"]["fitted"]
    assert all(isinstance(content, str) for content in stored["tokenizer"].values())
    loaded = TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    texts = {"text": ["영화 film", ""]}
    assert loaded.encode(texts) == model.encode(texts)
    model.eval()
    batches = [m.log_scores(m.collate({**texts, **m.encode(texts)})) for m in (model, loaded)]
    assert torch.equal(*batches)
    assert loaded.encoding_key() == model.encoding_key()
    with pytest.raises(UserError, match="encoder_config"):
        FineTunedClassifier.load_from_checkpoint(tmp_path / "model.ckpt", encoder_config={})
    with pytest.raises(UserError, match="max_length 64 is more than 'the new encoder' can read"):
        TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt", max_length=64).classify(["a"])


def test_both_texts_of_a_pair_are_learnt_from():
    model = build()
    rows = {"text": ["영화"] * 9, "text_pair": ["배우"] * 9, "label": [0] * 9}
    model.prepare(Dataset.from_dict(rows))
    assert {"영화", "배우"} <= set(model.tokenizer.get_vocab())


def test_a_second_fit_keeps_the_tokenizer_of_its_network(rows_folder, tmp_path):
    model = fit(rows_folder, tmp_path)
    files = model.fitted["tokenizer"]
    model.prepare(Dataset.from_dict({"text": ["another world"] * 9, "label": [0] * 9}))
    assert model.fitted["tokenizer"] == files


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder_config": {"layers": 2}}, "no 'layers': its keys are vocab_size, hidden_size, num_hidden_layers"),
        ({"encoder_config": {"hidden_size": "wide"}}, "hidden_size is 'wide': give a whole number"),
        ({"encoder_config": {"num_hidden_layers": True}}, "num_hidden_layers is True"),
        ({"encoder_config": {"num_hidden_layers": 0}}, "num_hidden_layers 0"),
        ({"encoder_config": {"vocab_size": 10}}, "vocab_size 10"),
        ({"encoder_config": {"hidden_dropout_prob": 1}}, "hidden_dropout_prob 1"),
        ({"encoder_config": {"hidden_size": 20, "num_attention_heads": 3}}, "hidden_size 20 .* num_attention_heads 3"),
        ({"encoder_config": None}, "pretrained is null without an encoder_config"),
        ({"pretrained": "bert-base-cased"}, "'bert-base-cased' is given together with an encoder_config"),
        ({"lora": {}}, "leave encoder_config out"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(UserError, match=words):
        build(**arguments)


def test_without_a_fit_there_is_no_tokenizer():
    with pytest.raises(UserError, match="run `fit` first"):
        build().encode({"text": ["a"]})


class TestContract(MethodContract):
    method = FineTunedClassifier

    @classmethod
    @contextmanager
    def arguments(cls, folder):
        yield {"pretrained": None, "encoder_config": TINY, "max_length": 32}
