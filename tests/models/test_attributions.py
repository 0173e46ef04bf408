"""Integrated gradients of fine-tuned encoders, and the callback that explains the rows of a report."""

import json

import pytest
import torch

from textclf import run_experiment
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import FineTunedClassifier, LinearProbe, TextClassifier
from textclf.models.attributions import explainable, integrated_gradients
from textclf.run import TokenAttributions

NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def run(rows_folder, tiny_encoder, tmp_path_factory):
    """A run with the callback, whose report lists few rows."""
    run_dir = tmp_path_factory.mktemp("explained") / "run"
    model = FineTunedClassifier(2, NAMES, str(tiny_encoder), learning_rate=0.01)
    run_experiment(
        model, FilesDataModule(str(rows_folder)), run_dir=run_dir, callbacks=[TokenAttributions(rows=3)], max_epochs=4,
        logger=False, enable_progress_bar=False,
    )  # fmt: skip
    return run_dir


@pytest.fixture
def model(run):
    return TextClassifier.load_from_checkpoint(run / "checkpoints/last.ckpt")


def logits(model, embeddings, batch):
    return model.network(inputs_embeds=embeddings, **batch).logits


TEXTS = ["지루한 영화 the film", "wonderful great", "🎬 재미있는!", "the  plot\tand the film", "x"]


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("label", [0, 1])
def test_weights_are_those_of_a_plain_integration(model, text, label):
    """Mean gradient along the straight line from padding to the text, times the difference of the embeddings."""
    batch = model.collate(model.encode({"text": [text]}))
    ids = batch.pop("input_ids")
    embed = model.network.get_input_embeddings()
    special = torch.isin(ids, torch.tensor(model.tokenizer.all_special_ids)) & (ids != model.tokenizer.unk_token_id)
    start = embed(ids.masked_fill(~special, model.tokenizer.pad_token_id)).detach()
    end = embed(ids).detach()
    steps = 100
    total = torch.zeros_like(end)
    for step in range(steps):
        point = (start + (step + 0.5) / steps * (end - start)).requires_grad_()
        total += torch.autograd.grad(logits(model, point, batch)[0, label], point)[0] / steps
    expected = ((end - start) * total).sum(-1)[0][~special[0]]
    found = integrated_gradients(model, text, None, label)
    assert torch.tensor(found.weights).sum() == pytest.approx(float(expected.sum()), abs=1e-3)
    if len(found.tokens) == len(expected):
        torch.testing.assert_close(torch.tensor(found.weights), expected, atol=1e-3, rtol=1e-3)
    difference = (logits(model, end, batch) - logits(model, start, batch))[0, label]
    assert sum(found.weights) == pytest.approx(float(difference), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_the_text_in_pieces(model, text):
    assert "".join(integrated_gradients(model, text, None, 0).tokens) == text


def test_both_texts_of_a_pair_have_tokens(model):
    found = integrated_gradients(model, "the film", "지루한 영화", 1)
    assert "".join(found.tokens) == "the film지루한 영화"


def test_the_model_is_left_as_it_was(model):
    model.train()
    model.network.dropout.eval()
    first = integrated_gradients(model, TEXTS[0], None, 1)
    assert model.training
    assert not model.network.dropout.training
    assert first == integrated_gradients(model, TEXTS[0], None, 1)  # no dropout
    assert all(weight.grad is None for weight in model.parameters())
    with torch.inference_mode():
        assert integrated_gradients(model, TEXTS[0], None, 1) == first


def test_the_listed_rows_of_a_report_are_explained(run):
    from textclf.evaluation.prediction_table import read_predictions

    found = json.loads((run / "report/attributions.json").read_text(encoding="utf-8"))
    assert 1 <= len(found) <= 9
    table = read_predictions(run / "report/predictions.parquet")
    for number, attribution in found.items():
        row = int(number)
        assert attribution["id"] == table.ids[row]
        assert attribution["prediction"] == table.label_names[table.predictions[row]]
        assert "".join(attribution["tokens"]) == table.texts[row]
        assert len(attribution["weights"]) == len(attribution["tokens"])


def test_rows_that_cannot_be_explained_do_not_end_the_run(rows_folder, tiny_encoder, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise UserError("its tokenizer gives no places in the text")

    monkeypatch.setattr("textclf.run.attributions.integrated_gradients", fail)
    result = run_experiment(
        FineTunedClassifier(2, NAMES, str(tiny_encoder)), FilesDataModule(str(rows_folder)), run_dir=tmp_path / "run",
        callbacks=[TokenAttributions(rows=3)], max_epochs=1, logger=False, enable_progress_bar=False,
    )  # fmt: skip
    assert result.metrics["examples"] == 21
    assert "the rows of the report were not explained (its tokenizer gives" in capsys.readouterr().err
    assert not (tmp_path / "run/report/attributions.json").exists()


def test_only_fine_tuned_encoders_can_be_explained(tiny_encoder):
    with pytest.raises(UserError, match="need a fine-tuned encoder, not LinearProbe: leave TokenAttributions out"):
        explainable(LinearProbe(2, NAMES, str(tiny_encoder)))
    with pytest.raises(UserError, match="cannot look into a compiled network"):
        explainable(FineTunedClassifier(2, NAMES, str(tiny_encoder), compile=True))


def test_captum_is_asked_for_where_it_is_missing(tiny_encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(UserError, match=r"pip install 'textclf\[explain\]'"):
        explainable(FineTunedClassifier(2, NAMES, str(tiny_encoder)))


@pytest.mark.parametrize("options", [{"rows": 0}, {"steps": 1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(UserError, match="too small"):
        TokenAttributions(**options)
