"""Tokenizers that do not belong to their model's weights: refused in one line, or matched, for every method."""

import json
import shutil
from pathlib import Path

import lightning
import pytest
import torch
import transformers
from transformers import AutoTokenizer, BertTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.models.contract import TINY, tiny_model
from tests.models.test_batch_independence import ARCHITECTURES, NAMES, NLI_NAMES, TEXTS, save
from tests.scoring.tiny import byte_tokenizer
from textclf.backbones.compatibility import check_vocabulary, token_limit
from textclf.backbones.weights import load_matched, skeleton
from textclf.errors import UserError
from textclf.export import export_checkpoint
from textclf.models import (
    CausalLMClassifier,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
    TextClassifier,
)

SEQUENCE = "AutoModelForSequenceClassification"
POSITIONS = {  # kind: (a config, most tokens that it reads)
    "bert": ({"max_position_embeddings": 40}, 40),
    "roberta": ({"max_position_embeddings": 40, "pad_token_id": 2}, 37),
    "gpt2": ({"n_positions": 40}, 40),
    "opt": ({"max_position_embeddings": 40}, 40),
    "bart": ({"max_position_embeddings": 40}, 40),
    "openai-gpt": ({"n_positions": 40}, 40),
    "gptj": ({"n_positions": 40, "rotary_dim": 8}, 40),
    "nystromformer": ({"max_position_embeddings": 40}, 40),
    "t5": ({}, None),
    "xlnet": ({}, None),
    "llama": ({"max_position_embeddings": 40}, None),
}


def folder_of(method, folder):
    return Path(tiny_model(method, folder))


def read(method, folder, texts=("a film",), **arguments):
    """What a method makes of texts, from the tokenizer to the scores."""
    model = method(2, NAMES, pretrained=str(folder), **arguments)
    rows = {"text": list(texts)}
    rows |= model.encode(rows)
    if method not in (LinearProbe, NearestCentroid):  # they need a fit
        model.configure_model()
        model.log_scores(model.collate(rows))
    return model


def remove_tokenizer(folder):
    for path in folder.glob("token*"):
        path.unlink()


def leave_tokenizer_config(folder):
    remove_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}))


def widen_vocabulary(folder):
    remove_tokenizer(folder)
    merges = tuple((a, b) for a in "abcdefgh" for b in "abcdefgh")  # 323 tokens in all
    byte_tokenizer(merges=merges, eos=True).save_pretrained(folder)


@pytest.mark.parametrize("method", TINY, ids=lambda method: method.__name__)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove_tokenizer, ["tokenizer"]),
        (leave_tokenizer_config, ["tokenizer"]),
        (widen_vocabulary, ["token ids up to 322", "embeddings for 300 tokens", "do not belong together"]),
    ],
)
def test_what_does_not_belong_together_is_refused(spoil, words, method, tmp_path):
    folder = folder_of(method, tmp_path)
    read(method, folder)
    spoil(folder)
    with pytest.raises(UserError) as error:
        read(method, folder)
    for word in [*words, str(folder)]:
        assert word in str(error.value)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "t5", "xlnet", "electra", "deberta-v2", "opt", "qwen3"])
def test_a_tokenizer_that_transformers_makes_up_is_refused(kind, tmp_path):
    CONFIG_MAPPING[kind](**ARCHITECTURES[kind]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        check_vocabulary(AutoTokenizer.from_pretrained(tmp_path), str(tmp_path))


@pytest.mark.parametrize("method", TINY, ids=lambda method: method.__name__)
def test_added_tokens_without_embeddings_may_be_there_but_not_in_texts(method, tmp_path):
    folder = folder_of(method, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(50)])
    tokenizer.add_tokens([f"<special{i}>" for i in range(50)], special_tokens=True)
    tokenizer.save_pretrained(folder)
    read(method, folder, ["a <special49> film"])  # which is read as text
    with pytest.raises(UserError, match="a text holds '<extra49>', an added token"):
        read(method, folder, ["a film", "a <extra49> film"])


@pytest.mark.parametrize("method", TINY, ids=lambda method: method.__name__)
def test_a_padding_token_without_embedding_is_not_used(method, tmp_path):
    """As a tokenizer has it that was given one, where the model was not resized."""
    folder = folder_of(method, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(50)])
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    assert tokenizer.pad_token_id >= 300
    model = read(method, folder, TEXTS)
    if method in (PretrainedClassifier, FineTunedClassifier, NLIClassifier, Seq2SeqClassifier):
        assert model.tokenizer.pad_token_id < 300


def test_an_embedder_whose_tokenizer_cannot_pad(tmp_path):
    folder = folder_of(LinearProbe, tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    special = ("bos_token", "eos_token", "pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in special}))
    with pytest.raises(UserError, match="no token to pad with"):
        read(LinearProbe, folder)


@pytest.mark.parametrize("kind", POSITIONS)
def test_most_tokens(kind):
    sizes, most = POSITIONS[kind]
    config = CONFIG_MAPPING[kind](**{**ARCHITECTURES.get(kind, ARCHITECTURES["gpt2"]), **sizes})
    assert token_limit(skeleton(SEQUENCE, config, kind)) == most


@pytest.mark.parametrize("method", TINY, ids=lambda method: method.__name__)
@pytest.mark.parametrize("limit", [40, 10**30])
def test_no_more_tokens_than_a_model_reads(limit, method, tmp_path, capsys):
    """By default as many as it reads; the tokenizer does not always know."""
    auto, kind = TINY[method]
    sizes = {"max_position_embeddings": 40, "n_positions": 40}
    names = NLI_NAMES if method is NLIClassifier else NAMES
    folder = save(tmp_path, auto, kind, {**ARCHITECTURES[kind], **sizes}, names)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = limit
    tokenizer.save_pretrained(folder)
    arguments = {"prompt": "{text}"} if method in (Seq2SeqClassifier, CausalLMClassifier) else {}
    if method is NLIClassifier:
        arguments = {"hypothesis_template": "{label}"}
    model = read(method, folder, ["long " * 50], **arguments)
    if method in (FineTunedClassifier, PretrainedClassifier, NLIClassifier, Seq2SeqClassifier):
        assert model.max_length == 40
        assert "max_length is 40 tokens, as many as" in capsys.readouterr().err
    if method is not CausalLMClassifier:  # it takes what its context leaves
        with pytest.raises(UserError, match=r"max_length 41 is more than .* can read: give at most 40"):
            read(method, folder, max_length=41, **arguments)


def save_bert_tokenizer(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "a", "good", "bad", "this", "example", "is", "."]
    words += [*NAMES]
    remove_tokenizer(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=64).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "distilbert", "modernbert", "mpnet"])
def test_segments_that_a_model_does_not_know_are_left_out(kind, tmp_path):
    folder = Path(save(tmp_path, SEQUENCE, kind, {**ARCHITECTURES[kind], "pad_token_id": 0}, NLI_NAMES))
    save_bert_tokenizer(folder)
    pairs = {"text": ["a good film", "bad film"], "text_pair": ["this is good", "is this a film"]}
    model = FineTunedClassifier(2, NAMES, pretrained=str(folder))
    model.configure_model()
    encoded = model.encode(pairs)
    assert "token_type_ids" not in encoded
    assert model.log_scores(model.collate({**pairs, **encoded})).isfinite().all()
    assert "token_type_ids" not in model.tokenizer("a", "b")
    nli = NLIClassifier(2, NAMES, pretrained=str(folder))
    nli.configure_model()
    assert {answer["label"] for answer in nli.classify(["a good film", "bad"])} <= set(NAMES)


def test_segments_that_a_model_knows_stay(tmp_path):
    folder = Path(save(tmp_path, SEQUENCE, "bert", {**ARCHITECTURES["bert"], "pad_token_id": 0}))
    save_bert_tokenizer(folder)
    before = AutoTokenizer.from_pretrained(folder)
    matched = load_matched(SEQUENCE, str(folder), 32)
    assert matched(["a film"], ["good"])["token_type_ids"] == [[0, 0, 0, 0, 1, 1]]
    assert before.init_kwargs.keys() == AutoTokenizer.from_pretrained(folder).init_kwargs.keys()


@pytest.mark.parametrize("padding", ["none", "config", "tokenizer", "different"])
def test_a_checkpoint_and_an_export_keep_the_match(padding, tmp_path):
    """Scores of a batch are those of `transformers` alone, in a batch as well."""
    options = {"bos": False}  # as GPT-2's own
    folder = save(tmp_path / "model", SEQUENCE, "gpt2", ARCHITECTURES["gpt2"], NAMES, padding, options)
    model = FineTunedClassifier(2, NAMES, pretrained=folder, max_length=32)
    model.fitted = {"tokenizer": model._load_tokenizer().files}
    model.configure_model()
    checkpoint = {"state_dict": model.state_dict(), "pytorch-lightning_version": lightning.__version__}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "model.ckpt")
    shutil.rmtree(folder)
    again = TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    export_checkpoint(tmp_path / "model.ckpt", tmp_path / "export")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    network = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "export").eval()
    texts = [text for text in TEXTS if text]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
    with torch.no_grad():
        expected = network(**inputs).logits.softmax(-1).max(1).values
    found = [answer["score"] for answer in again.classify(texts)]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_weights_of_another_model_are_refused(tmp_path):
    folder = Path(save(tmp_path, SEQUENCE, "bert", ARCHITECTURES["bert"]))
    config = json.loads((folder / "config.json").read_text())
    for change in ({"vocab_size": 310}, {"max_position_embeddings": 256}, {"model_type": "electra"}):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match="has no weights for"):
            FineTunedClassifier(2, NAMES, pretrained=str(folder)).configure_model()
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {i: str(i) for i in range(5)}}))
    FineTunedClassifier(2, NAMES, pretrained=str(folder)).configure_model()  # another head is replaced


def test_an_end_that_the_tokenizer_does_not_write(tmp_path):
    folder = Path(save(tmp_path, SEQUENCE, "bart", ARCHITECTURES["bart"]))
    remove_tokenizer(folder)
    byte_tokenizer().save_pretrained(folder)
    with pytest.raises(UserError, match="does not end texts with the model's end token"):
        read(PretrainedClassifier, folder)
