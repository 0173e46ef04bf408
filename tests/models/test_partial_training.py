"""Training a part of the weights: LoRA, frozen layers, and checkpoints that hold what was trained."""

import logging
import shutil
import sys

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file

from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import FineTunedClassifier, TextClassifier
from textclf.models.checkpoint import read_checkpoint
from textclf.models.encoders import merged

NAMES = ("negative", "positive")
TEXTS = ["영화", "a fine film with a long tail of words", "지루한 영화 the film", ""]
PARTS = [{"lora": {"rank": 2, "dropout": 0.1}}, {"freeze_layers": 1}]


@pytest.fixture
def encoder(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    return tmp_path / "encoder"


def build(encoder, **arguments):
    return FineTunedClassifier(2, NAMES, **{"pretrained": str(encoder), "max_length": 32, **arguments})


def built(encoder, **arguments):
    model = build(encoder, **arguments)
    model.configure_model()
    return model


def fit(model, rows_folder, folder, resume=None, **options):
    trainer = Trainer(
        **{"default_root_dir": folder, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        **{"enable_model_summary": False, "enable_checkpointing": False, "max_steps": 5, **options},
    )
    trainer.fit(model, datamodule=FilesDataModule(str(rows_folder), batch_size=8), ckpt_path=resume)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


def scores(model):
    model.eval()
    return model.log_scores(model.collate({"text": TEXTS, **model.encode({"text": TEXTS})}))


@pytest.mark.parametrize("part", PARTS)
def test_the_checkpoint_holds_what_was_trained(part, encoder, rows_folder, tmp_path, capsys):
    model = build(encoder, learning_rate=0.05, **part)
    path = fit(model, rows_folder, tmp_path)
    before = built(encoder, **part).state_dict()
    after = model.state_dict()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained - changed <= {name for name in trained if "key.bias" in name}  # its gradient is 0
    stored = read_checkpoint(path)
    assert set(stored["state_dict"]) == trained | {"loss_weights"}
    assert "network.classifier.weight" in trained
    if "lora" in part:
        assert {name for name in trained if "lora_" not in name} == {
            "network.classifier.weight",
            "network.classifier.bias",
        }
    else:
        assert not any(".layer.0." in name or ".embeddings." in name for name in trained)
        assert sum(".layer.1." in name for name in trained) == 16
        assert any(".pooler." in name for name in trained)
    capsys.readouterr()
    loaded = TextClassifier.load_from_checkpoint(path)
    assert torch.equal(scores(loaded), scores(model))
    assert "random at first" not in capsys.readouterr().err  # the head is in the checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_frozen_weights_may_move_but_not_change(part, encoder, rows_folder, tmp_path):
    model = build(encoder, **part)
    path = fit(model, rows_folder, tmp_path)
    moved = encoder.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="does not exist: give a folder"):
        TextClassifier.load_from_checkpoint(path)
    loaded = TextClassifier.load_from_checkpoint(path, pretrained=str(moved))
    assert torch.equal(scores(loaded), scores(model))
    weights = load_file(moved / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][0, 0] += 1e-3
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="not those that the checkpoint was trained on"):
        TextClassifier.load_from_checkpoint(path, pretrained=str(moved))


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_training_goes_on_from_such_a_checkpoint(part, encoder, rows_folder, tmp_path):
    path = fit(build(encoder, **part), rows_folder, tmp_path)
    first = read_checkpoint(path)
    model = build(encoder, **part)
    model.restore(first)
    fit(model, rows_folder, tmp_path, resume=str(path), max_steps=8)
    again = read_checkpoint(path)
    assert again["global_step"] == 8
    assert set(again["state_dict"]) == set(first["state_dict"])
    assert again["textclf"]["fitted"]["frozen"] == first["textclf"]["fitted"]["frozen"]
    assert torch.equal(scores(TextClassifier.load_from_checkpoint(path)), scores(model))


def test_another_part_is_another_architecture(encoder, rows_folder, tmp_path):
    path = fit(build(encoder, freeze_layers=1), rows_folder, tmp_path)
    for other in ({"freeze_layers": 2}, {"freeze_layers": 0, "lora": {}}):
        with pytest.raises(UserError, match=r"was trained with (freeze_layers 1|lora None)"):
            TextClassifier.load_from_checkpoint(path, **other)


def test_what_is_not_pretrained_is_trained_and_kept(encoder, rows_folder, tmp_path):
    weights = load_file(encoder / "model.safetensors")
    save_file({k: w for k, w in weights.items() if "pooler" not in k}, encoder / "model.safetensors", {"format": "pt"})
    model = build(encoder, lora={})
    path = fit(model, rows_folder, tmp_path)
    assert model.network.bert.pooler.dense.weight.requires_grad
    assert "network.bert.pooler.dense.weight" in read_checkpoint(path)["state_dict"]
    assert torch.equal(scores(TextClassifier.load_from_checkpoint(path)), scores(model))


def test_merged_adapters_give_the_same_scores(encoder, rows_folder, tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = build(encoder, lora={"alpha": 64, "target_modules": "all-linear"}, learning_rate=0.05)
    fit(model, rows_folder, tmp_path)
    expected = scores(model)
    merged(model.network).save_pretrained(tmp_path / "export")
    batch = model.collate({"text": TEXTS, **model.encode({"text": TEXTS})})
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export").eval()
    torch.testing.assert_close(plain(**batch).logits.log_softmax(-1), expected, atol=1e-5, rtol=0)
    assert torch.equal(scores(model), expected)  # the model itself is as it was


def test_frozen_weights_at_random_are_kept(rows_folder, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = FineTunedClassifier(
        2, NAMES, pretrained=None, encoder_config=sizes | {"vocab_size": 200}, max_length=32, freeze_layers=1
    )
    path = fit(model, rows_folder, tmp_path)
    assert set(read_checkpoint(path)["state_dict"]) == set(model.state_dict())
    assert torch.equal(scores(TextClassifier.load_from_checkpoint(path)), scores(model))


def test_all_layers_may_be_frozen_but_no_more(encoder):
    model = built(encoder, freeze_layers=2)
    free = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".pooler." in name or ".classifier." in name for name in free)
    with pytest.raises(UserError, match=r"freeze_layers 3 .* at most 2"):
        built(encoder, freeze_layers=3)


def test_checkpointed_gradients_are_the_same(encoder, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(5)
        model = built(encoder, gradient_checkpointing=checkpointing)
        torch.manual_seed(6)
        model.forward(model.collate({"text": TEXTS, **model.encode({"text": TEXTS})})).logsumexp(1).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
        assert any(getattr(each, "gradient_checkpointing", False) for each in model.modules()) is checkpointing
    assert "use_cache" not in caplog.text
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
def test_compiling_renames_no_weights(encoder):
    assert list(built(encoder, compile=True).state_dict()) == list(built(encoder).state_dict())


@pytest.mark.exhaustive
def test_a_compiled_model_gives_the_same_scores_and_gradients(encoder):
    model, plain = built(encoder, compile=True), built(encoder)
    plain.load_state_dict(model.state_dict())
    results = [scores(each) for each in (model, plain)]
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)
    for each, result in zip((model, plain), results, strict=True):
        result[:, 0].sum().backward()
        assert each.network.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lora": {"r": 4}}, "lora has no 'r': its keys are rank, alpha, dropout, target_modules"),
        ({"lora": {"rank": 0}}, "rank 0"),
        ({"lora": {"alpha": 0}}, "alpha 0"),
        ({"lora": {"dropout": 1.0}}, "dropout 1.0"),
        ({"lora": {"target_modules": ["wrong"]}}, "wrong.*The modules are named .*query.*"),
        ({"lora": {}, "freeze_layers": 1}, "leave freeze_layers 1 out"),
        ({"freeze_layers": -1}, "freeze_layers -1"),
    ],
)
def test_bad_arguments(arguments, words, encoder):
    with pytest.raises(UserError, match=words):
        built(encoder, **arguments)


def test_lora_without_its_package(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'textclf\[lora\]'"):
        build(encoder, lora={})
