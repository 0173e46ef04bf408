import inspect
import math
import re
import shutil

import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer
from torch import nn
from transformers import get_scheduler

from tests.models.contract import MethodContract
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import FineTunedClassifier, TextClassifier

NAMES = ("negative", "positive")
TEXTS = ["영화", "a fine film with a long tail of words", "지루한 영화 the film", ""]


def build(encoder, **arguments):
    return FineTunedClassifier(2, NAMES, pretrained=str(encoder), **{"max_length": 32, **arguments})


def batch_of(model, texts, pairs=None):
    rows = {"text": texts, **({"text_pair": pairs} if pairs else {})}
    return model.collate(rows | model.encode(rows))


@pytest.fixture
def model(tiny_encoder):
    model = build(tiny_encoder)
    model.configure_model()
    return model


def fit(model, rows_folder, folder, **options):
    data = FilesDataModule(str(rows_folder), batch_size=8)
    trainer = Trainer(
        **{
            **{"default_root_dir": folder, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
            **{"enable_model_summary": False, "enable_checkpointing": False, "max_steps": 5, **options},
        }
    )
    trainer.fit(model, datamodule=data)
    return trainer


def test_batches_of_any_composition_give_the_same_scores(model):
    model.eval()
    together = model.log_scores(batch_of(model, TEXTS))
    alone = torch.cat([model.log_scores(batch_of(model, [text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(together.exp().sum(1), torch.ones(len(TEXTS)))
    assert together.dtype == torch.float32


def test_scores_are_those_of_a_plain_loop_over_transformers(model, tiny_encoder):
    from transformers import AutoTokenizer

    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    fields = tokenizer(TEXTS, ["film"] * 4, padding=True, truncation=True, max_length=32, return_tensors="pt")
    plain = model.network(**fields).logits.log_softmax(-1)
    ours = model.log_scores(batch_of(model, TEXTS, ["film"] * 4))
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=0)


def test_pairs_have_segments(model):
    batch = batch_of(model, ["영화"], ["film"])
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert set(batch["token_type_ids"][0].tolist()) == {0, 1}


def test_texts_are_cut_at_max_length(tiny_encoder):
    encoded = build(tiny_encoder, max_length=8).encode({"text": ["film " * 100, "film"]})
    assert encoded["length"][0] == 8
    assert encoded["length"][1] < 8


def test_tokens_that_are_cut_are_counted(tiny_encoder):
    short, long = build(tiny_encoder, max_length=8), build(tiny_encoder, max_length=64)
    rows = {"text": ["film " * 12, "film", "the film " * 3, ""], "text_pair": ["", "film " * 9, "a film", "영화"]}
    for texts in (rows, {"text": rows["text"]}):
        whole, encoded = long.encode(texts), short.encode(texts)
        assert not any(whole["cut"])
        assert encoded["cut"] == [a - b for a, b in zip(whole["length"], encoded["length"], strict=True)]
        assert 0 in encoded["cut"]
        assert max(encoded["cut"]) > 2


@pytest.mark.slow
def test_what_is_cut_is_said_once_per_split_from_the_cache_too(tiny_encoder, rows_folder, tmp_path, capsys):
    for folder in ("first", "cached"):
        trainer = fit(build(tiny_encoder, max_length=9), rows_folder, tmp_path / folder, max_epochs=2, max_steps=-1)
        trainer.test(trainer.lightning_module, datamodule=trainer.datamodule, verbose=False)
        encoded = build(tiny_encoder, max_length=9).encode({"text": list(trainer.datamodule.rows("train")["text"])})
        rows, tokens = sum(cut > 0 for cut in encoded["cut"]), sum(encoded["cut"])
        said = [line for line in capsys.readouterr().err.splitlines() if "longer than" in line]
        assert [line.split(": ")[1] for line in said] == ["validation", "train", "test"]
        assert f"train: {rows} of 60 rows are longer than max_length 9: {tokens} tokens (" in said[1]


def test_nothing_is_said_where_nothing_is_cut(tiny_encoder, rows_folder, tmp_path, capsys):
    fit(build(tiny_encoder, max_length=64), rows_folder, tmp_path)
    assert "longer than" not in capsys.readouterr().err


def test_weights_are_fp32_whatever_the_checkpoint_is(tiny_encoder, tmp_path):
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path / "half"
    shutil.copytree(tiny_encoder, folder)
    AutoModelForSequenceClassification.from_pretrained(tiny_encoder, dtype=torch.bfloat16).save_pretrained(folder)
    model = build(folder)
    model.configure_model()
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_weights_that_start_at_random_are_named_in_one_line(tiny_encoder, tmp_path, capsys, caplog):
    model = build(tiny_encoder)
    model.configure_model()
    head, pooler = "classifier.bias, classifier.weight", "bert.pooler.dense.bias, bert.pooler.dense.weight"
    assert capsys.readouterr().err == f"textclf: random at first, not in {str(tiny_encoder)!r}: {head}\n"
    everything = model.network.state_dict()
    no_head = {name: weight for name, weight in everything.items() if name.startswith("bert.") and "pooler" not in name}
    for weights, said in ((no_head, f"{head}\n"), (everything, "")):
        folder = tmp_path / str(len(weights))
        shutil.copytree(tiny_encoder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.save(weights, folder / "pytorch_model.bin")
        build(folder).configure_model()
        output = capsys.readouterr().err
        assert output == (f"textclf: random at first, not in {str(folder)!r}: {pooler}, {said}" if said else "")
    assert not caplog.records


def test_biases_and_norms_have_no_weight_decay(model, rows_folder, tmp_path):
    fit(model, rows_folder, tmp_path)
    decayed, free = model.optimizers().optimizer.param_groups
    assert decayed["weight_decay"] == 0.01
    assert free["weight_decay"] == 0
    named = {id(p): name for name, p in model.named_parameters()}
    assert {name for p in free["params"] if "bias" not in (name := named[id(p)]) and "LayerNorm" not in name} == set()
    assert {name for p in decayed["params"] if "bias" in (name := named[id(p)]) or "LayerNorm" in name} == set()
    assert len(decayed["params"]) + len(free["params"]) == len(named)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "rates"),
    [
        ({"schedule": "constant", "warmup": 0}, [1, 1, 1, 1, 1]),
        ({"schedule": "constant", "warmup": 2}, [0, 0.5, 1, 1, 1]),
        ({"schedule": "linear", "warmup": 0}, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"schedule": "linear", "warmup": 0.2}, [0, 1, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine", "warmup": 1}, [0, 1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_schedules(arguments, rates, tiny_encoder, rows_folder, tmp_path):
    seen = []

    class Watched(FineTunedClassifier):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append(self.optimizers().optimizer.param_groups[0]["lr"])

    fit(
        Watched(2, NAMES, pretrained=str(tiny_encoder), max_length=32, learning_rate=1.0, **arguments),
        rows_folder,
        tmp_path,
    )
    assert seen == pytest.approx(rates, abs=1e-4)


class InOnePiece(FineTunedClassifier):
    """The training of `FineTunedClassifier` written out, without the parts that subclasses replace."""

    def training_step(self, batch, batch_idx):
        logits = self.forward(batch)
        weight, smoothing = self.loss_weights, self.label_smoothing
        return nn.functional.cross_entropy(logits, batch["labels"], weight=weight, label_smoothing=smoothing)

    def configure_optimizers(self):
        parameters = [p for _, p in self.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
        steps = self.trainer.estimated_stepping_batches
        scheduler = get_scheduler("linear", optimizer, round(self.warmup * steps), int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def test_the_parts_of_training_give_the_weights_of_one_piece(tiny_encoder, rows_folder, tmp_path):
    recipe = {"label_smoothing": 0.1, "class_weights": {"positive": 2.0}, "learning_rate": 1e-3, "warmup": 0.2}
    weights = []
    for kind in (FineTunedClassifier, InOnePiece):
        torch.manual_seed(0)
        model = kind(2, NAMES, pretrained=str(tiny_encoder), max_length=32, **recipe)
        fit(model, rows_folder, tmp_path)
        weights.append(model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


class FocalLoss(FineTunedClassifier):
    def loss(self, logits, labels):
        log_p = logits.log_softmax(-1).gather(1, labels[:, None])
        return -((1 - log_p.exp()) ** 2 * log_p).mean()


def test_a_loss_alone_can_be_replaced(tiny_encoder, rows_folder, tmp_path):
    model = FocalLoss(2, NAMES, pretrained=str(tiny_encoder), max_length=32)
    logits, labels = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([1, 0])
    p = torch.tensor([0.5, torch.tensor(3.0).sigmoid()])
    torch.testing.assert_close(model.loss(logits, labels), (-((1 - p) ** 2) * p.log()).mean())
    trainer = fit(model, rows_folder, tmp_path, max_steps=2, log_every_n_steps=1)
    model.eval()
    assert 0 < trainer.logged_metrics["train/loss"] < 0.5  # about a quarter of the cross-entropy of two classes


class LayerWise(FineTunedClassifier):
    """Each layer learns at 0.8 times the rate of the one above it."""

    def parameter_groups(self):
        layers = self.network.config.num_hidden_layers
        groups = []
        for name, parameter in self.named_parameters():
            layer = re.search(r"layer\.(\d+)\.", name)
            depth = int(layer[1]) + 1 if layer else layers + 1 if "embeddings" not in name else 0
            groups.append({"params": [parameter], "lr": self.learning_rate * 0.8 ** (layers + 1 - depth)})
        return groups


def test_layer_wise_rates_take_eight_lines(tiny_encoder, rows_folder, tmp_path):
    seen = []

    class Watched(LayerWise):
        def on_train_batch_start(self, batch, batch_idx):
            groups = self.optimizers().optimizer.param_groups
            named = {id(p): name for name, p in self.named_parameters()}
            seen.append({named[id(group["params"][0])]: group["lr"] for group in groups})

    options = {"learning_rate": 1.0, "warmup": 0, "schedule": "linear"}
    fit(Watched(2, NAMES, pretrained=str(tiny_encoder), max_length=32, **options), rows_folder, tmp_path, max_steps=2)
    for rates, factor in zip(seen, (1.0, 0.5), strict=True):
        assert rates["network.classifier.weight"] == pytest.approx(factor)
        assert rates["network.bert.encoder.layer.1.output.dense.weight"] == pytest.approx(factor * 0.8)
        assert rates["network.bert.encoder.layer.0.output.dense.weight"] == pytest.approx(factor * 0.8**2)
        assert rates["network.bert.embeddings.word_embeddings.weight"] == pytest.approx(factor * 0.8**3)
    assert len(inspect.getsource(LayerWise.parameter_groups).splitlines()) == 8


def test_an_optimizer_and_a_schedule_alone_can_be_replaced(tiny_encoder, rows_folder, tmp_path):
    class Descent(FineTunedClassifier):
        def optimizer_for(self, groups):
            return torch.optim.SGD(groups, lr=0.5)

        def schedule_for(self, optimizer):
            return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)

    model = Descent(2, NAMES, pretrained=str(tiny_encoder), max_length=32)
    fit(model, rows_folder, tmp_path, max_steps=3)
    optimizer = model.optimizers().optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.05])


def test_the_scaler_of_fp16_unscales_gradients_before_they_are_clipped():
    model = FineTunedClassifier(2, ("negative", "positive"), "not loaded")
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = model.optimizer_for([{"params": [weights]}])
    scaler = torch.amp.GradScaler("cpu")
    norms = []
    for factor in (3.0, math.inf):
        optimizer.zero_grad()
        scaler.scale((weights * factor).sum()).backward()
        scaler.unscale_(optimizer)
        norms.append(float(torch.nn.utils.clip_grad_norm_([weights], 1.0)))
        before = weights.detach().clone()
        scaler.step(optimizer)
        scaler.update()
    assert norms == [pytest.approx(math.sqrt(18)), math.inf]
    assert torch.equal(weights, before)  # a step that overflows is left out
    assert torch.all(before < 0)


def test_there_may_be_no_schedule(tiny_encoder, rows_folder, tmp_path):
    class Constant(FineTunedClassifier):
        def schedule_for(self, optimizer):
            return None

    model = Constant(2, NAMES, pretrained=str(tiny_encoder), max_length=32, learning_rate=0.01)
    fit(model, rows_folder, tmp_path, max_steps=2)
    assert [group["lr"] for group in model.optimizers().optimizer.param_groups] == [0.01, 0.01]


def test_a_module_named_like_a_method_is_refused(tiny_encoder):
    class Hidden(FineTunedClassifier):
        def __init__(self, num_classes, label_names, pretrained: str):
            super().__init__(num_classes, label_names, pretrained)
            self.loss = nn.CrossEntropyLoss()

    with pytest.raises(UserError, match=r"Hidden\.loss is a method of FineTunedClassifier"):
        Hidden(2, NAMES, str(tiny_encoder))


def test_class_weights_follow_names(tiny_encoder, rows_folder, tmp_path):
    model = build(tiny_encoder, class_weights={"positive": 3.0})
    fit(model, rows_folder, tmp_path, max_steps=1)
    assert model.loss_weights.tolist() == [1.0, 3.0]
    other = FineTunedClassifier(2, NAMES[::-1], pretrained=str(tiny_encoder), class_weights={"positive": 3.0})
    other.on_fit_start()
    assert other.loss_weights.tolist() == [3.0, 1.0]


def test_weights_by_name_are_in_the_loss_from_the_start(tiny_encoder):
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([0, 1])
    found = build(tiny_encoder, class_weights={"positive": 3.0}).loss(logits, labels)
    expected = nn.functional.cross_entropy(logits, labels, weight=torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(found, expected)


def test_balanced_weights_are_inverse_to_the_counts(tiny_encoder):
    model = build(tiny_encoder, class_weights="balanced")
    model.prepare(Dataset.from_dict({"text": ["a"] * 4, "label": [0, 0, 0, 1]}))
    model.on_fit_start()
    assert model.loss_weights.tolist() == pytest.approx([4 / 6, 2.0])


def test_the_loss_is_smoothed_and_weighted(model):
    model.label_smoothing, model.trainer = 0.2, Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    model.loss_weights.copy_(torch.tensor([1.0, 5.0]))
    model.log = lambda *args, **kwargs: None
    model.eval()
    batch = batch_of(model, TEXTS) | {"labels": torch.tensor([0, 1, 1, 0])}
    expected = nn.CrossEntropyLoss(torch.tensor([1.0, 5.0]), label_smoothing=0.2)(model(batch), batch["labels"])
    torch.testing.assert_close(model.training_step(batch, 0), expected)


def test_a_checkpoint_needs_nothing_but_itself(tiny_encoder, rows_folder, tmp_path):
    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, encoder)
    model = build(encoder)
    trainer = fit(model, rows_folder, tmp_path)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    shutil.rmtree(encoder)
    loaded = TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert isinstance(loaded, FineTunedClassifier)
    assert not loaded.training
    model.eval()
    assert torch.equal(loaded.log_scores(batch_of(loaded, TEXTS)), model.log_scores(batch_of(model, TEXTS)))
    answers = loaded.classify(TEXTS)
    assert [set(answer) for answer in answers] == [{"label", "score"}] * 4
    scores = model.log_scores(batch_of(model, TEXTS))
    assert [answer["label"] for answer in answers] == [NAMES[i] for i in scores.argmax(1)]
    assert [answer["score"] for answer in answers] == pytest.approx(scores.exp().amax(1).tolist(), abs=1e-6)
    assert loaded.network.config.id2label == {0: "negative", 1: "positive"}


def test_the_encoding_key_knows_the_tokenizer_and_the_length(tiny_encoder, tmp_path):
    model = build(tiny_encoder)
    key = model.encoding_key()
    model.encode({"text": TEXTS})  # truncation leaves traces in a tokenizer
    assert model.encoding_key() == key == build(tiny_encoder, learning_rate=1.0).encoding_key()
    assert build(tiny_encoder, max_length=16).encoding_key() != key
    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8").replace('"film"', '"f1lm"'), encoding="utf-8")
    assert build(other).encoding_key() != key


def test_a_subclass_that_encodes_otherwise_has_a_key_of_its_own(tiny_encoder):
    class Prefixed(FineTunedClassifier):
        def __init__(self, num_classes, label_names, pretrained: str, prefix: str):
            super().__init__(num_classes, label_names, pretrained, 32)
            self.prefix = prefix

        def encode(self, rows):
            return super().encode({"text": [self.prefix + text for text in rows["text"]]})

    keys = {Prefixed(2, NAMES, str(tiny_encoder), prefix).encoding_key() for prefix in ("a", "b")}
    assert len(keys | {build(tiny_encoder).encoding_key()}) == 3


def test_one_data_module_serves_several_methods(tiny_encoder, rows_folder, tmp_path):
    data = FilesDataModule(str(rows_folder), batch_size=8)
    options = {"default_root_dir": tmp_path, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    for length in (8, 16):
        trainer = Trainer(max_steps=1, enable_progress_bar=False, **options)
        trainer.fit(build(tiny_encoder, max_length=length), datamodule=data)
        assert next(iter(trainer.train_dataloader))["input_ids"].shape[1] <= length
    assert max(batch["input_ids"].shape[1] for batch in trainer.train_dataloader) > 8


def test_fitting_twice_leaves_a_checkpoint_that_loads(tiny_encoder, rows_folder, tmp_path):
    model = build(tiny_encoder)
    fit(model, rows_folder, tmp_path, max_steps=1)
    fit(model, rows_folder, tmp_path, max_steps=1).save_checkpoint(tmp_path / "twice.ckpt")
    assert TextClassifier.load_from_checkpoint(tmp_path / "twice.ckpt").classify(["영화"])[0]["label"] in NAMES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 100}, "max_length 100"),
        ({"warmup": 1.5}, "warmup 1.5"),
        ({"class_weights": {"good": 1.0}}, "good"),
    ],
)
def test_bad_arguments(arguments, words, tiny_encoder):
    with pytest.raises(UserError, match=words):
        build(tiny_encoder, **arguments).encode({"text": ["a"]})


class TestContract(MethodContract):
    method = FineTunedClassifier
