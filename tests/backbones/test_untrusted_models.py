"""Models that anybody may have written: none of their code is run, and sizes are checked before memory is taken."""

import builtins
import json
import os
import pickle
import shutil
import struct

import pytest
import torch

from tests.scoring.tiny import save_tiny_lm, write_gguf
from textclf.backbones.gguf_header import check_header
from textclf.backbones.weights import load_causal, load_config, load_frozen, load_matched, load_tokenizer
from textclf.embeddings.encoder import Embedder
from textclf.embeddings.settings import EmbeddingSettings
from textclf.errors import UserError
from textclf.models import CausalLMClassifier
from textclf.models.encoders import pretrained_network, stored_network

KIND = "AutoModelForSequenceClassification"
NAMES = ("bad", "good")
EVIL = "import pathlib\npathlib.Path('escaped').touch()\nclass Own: pass\n"


@pytest.fixture
def model(tiny_encoder, tmp_path, monkeypatch):
    """A folder of a model, in the current folder; whoever asks the user a question fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    folder = tmp_path / "model"
    shutil.copytree(tiny_encoder, folder)
    return folder


def change(file, **entries):
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | entries))


def embed(folder):
    return Embedder(str(folder), None, EmbeddingSettings())


LOADERS = {
    "tokenizer": lambda folder: load_tokenizer(str(folder)),
    "config": lambda folder: load_config(str(folder)),
    "matched": lambda folder: load_matched(KIND, str(folder), None),
    "frozen": lambda folder: load_frozen(KIND, str(folder), torch.float32),
    "fine-tuned": lambda folder: pretrained_network(str(folder), NAMES),
    "causal": lambda folder: load_causal(str(folder), {}, torch.float32),
    "embedder": embed,
}


@pytest.mark.parametrize("name", LOADERS)
def test_code_of_a_model_is_not_run(model, tmp_path, name):
    (model / "own.py").write_text(EVIL)
    classes = dict.fromkeys(("AutoConfig", "AutoModel", KIND, "AutoModelForCausalLM"), "own.Own")
    change(model / "config.json", model_type="own", auto_map=classes)
    change(model / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    with pytest.raises(UserError, match=r"custom code|trust_remote_code"):
        LOADERS[name](model)
    assert not (tmp_path / "escaped").exists()


def test_code_is_run_if_the_user_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save_tiny_lm(tmp_path / "lm")
    (folder / "own.py").write_text(
        "import pathlib\npathlib.Path('asked').touch()\nfrom transformers import LlamaConfig\n"
        "class Own(LlamaConfig):\n    model_type = 'own'\n"
    )
    change(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own"})
    model = CausalLMClassifier(
        2, NAMES, pretrained=str(folder), prompt="{text}", load_options={"trust_remote_code": True}
    )
    assert load_config(str(folder), model.load_options).model_type
    assert (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    "module", ["own.Own", "os.system", "sentence_transformers_own.Own", "builtins.exec", "model.own.Own"]
)
def test_modules_of_a_sentence_transformer_are_its_own(model, tmp_path, module):
    (model / "own.py").write_text(EVIL)
    modules = [{"idx": 0, "name": "0", "path": "", "type": module}]
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match="cannot load the encoder"):
        embed(model)
    assert not (tmp_path / "escaped").exists()


class Command:
    def __reduce__(self):
        return os.system, ("touch escaped",)


@pytest.mark.parametrize("name", ["frozen", "fine-tuned", "causal", "embedder"])
def test_pickled_weights_run_no_code(model, tmp_path, name):
    (model / "model.safetensors").unlink()
    for content in (pickle.dumps(Command()), None):
        if content is None:
            torch.save({"embeddings.word_embeddings.weight": Command()}, model / "pytorch_model.bin")
        else:
            (model / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UserError, match="cannot load"):
            LOADERS[name](model)
    assert not (tmp_path / "escaped").exists()


def test_safetensors_come_first(model, tmp_path):
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Command()))
    pretrained_network(str(model), NAMES)
    embed(model)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 2**62),
        struct.pack("<Q", 2**33) + b"{}",
        struct.pack("<Q", 90)
        + b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'.ljust(90),
        struct.pack("<Q", 60) + b'{"x":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}'.ljust(60) + bytes(4),
    ],
)
def test_headers_of_safetensors_that_announce_too_much(model, header):
    (model / "model.safetensors").write_bytes(header)
    for name in ("frozen", "fine-tuned", "embedder"):
        with pytest.raises(UserError, match="cannot load"):
            LOADERS[name](model)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"hidden_size": 2**21, "intermediate_size": 2**21}, "parameters .*GiB in 16 bits"),
        ({"vocab_size": 2**40}, "parameters .*GiB in 16 bits"),
        ({"max_position_embeddings": 2**40}, "parameters .*GiB in 16 bits"),
        ({"num_hidden_layers": 10**9}, "announces num_hidden_layers 1,000,000,000"),
    ],
)
def test_configurations_that_announce_too_much(model, entries, words):
    change(model / "config.json", **entries)
    for load in (LOADERS["matched"], LOADERS["fine-tuned"], LOADERS["frozen"]):
        with pytest.raises(UserError, match=words):
            load(model)
    with pytest.raises(UserError, match=words):
        stored_network((model / "config.json").read_text())


def test_a_causal_model_that_announces_too_much(tmp_path):
    folder = save_tiny_lm(tmp_path / "lm")
    change(folder / "config.json", hidden_size=2**21, intermediate_size=2**21)
    with pytest.raises(UserError, match="GiB in 16 bits"):
        load_causal(str(folder), {}, torch.float32)


# GGUF


def gguf(values=b"", tensors=b"", counts=(0, 1), version=3, order="<"):
    return b"GGUF" + struct.pack(f"{order}IQQ", version, *counts) + values + tensors


def key(name=b"k", order="<"):
    return struct.pack(f"{order}Q", len(name)) + name


def tensor(*shape, name=b"t", dimensions=None):
    return key(name) + struct.pack(f"<I{len(shape)}QIQ", dimensions or len(shape), *shape, 0, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "too short"),
        (b"GGUF", "too short"),
        (bytes(100), "does not start"),
        (gguf(version=9), "version 9"),
        (gguf(version=1), "version 1"),
        (gguf(counts=(0, 2**60)), "announces"),
        (gguf(counts=(2**60, 0)), "announces"),
        (gguf(key(bytes(3)) + struct.pack("<IQ", 8, 2**60)), "announces 1,152,921,504,606,846,976 bytes"),
        (gguf(struct.pack("<Q", 2**63)), "announces"),
        (gguf(key() + struct.pack("<IIQ", 9, 0, 2**40)), "announces"),
        (gguf(key() + struct.pack("<IIQ", 9, 4, 2**63)), "announces"),
        (gguf(key() + struct.pack("<IIQ", 9, 8, 2**40) + bytes(80)), "announces"),
        (gguf(key() + struct.pack("<IIQ", 9, 9, 2**40)), "array of type 9"),
        (gguf(key() + struct.pack("<I", 77)), "value of type 77"),
        (gguf(tensors=tensor(2**20, 2**20), counts=(1, 0)), "announces 1,099,511,627,776 weights"),
        (gguf(tensors=tensor(2**63, 2**63, 2**63), counts=(1, 0)), "weights"),
        (gguf(tensors=tensor(1, dimensions=2**31), counts=(1, 0)), "dimensions"),
    ],
)
def test_headers_of_gguf_files_that_announce_too_much(tmp_path, content, words):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        check_header(tmp_path / "x.gguf")
    with pytest.raises(UserError, match=f"cannot load the model.*{words}"):
        load_tokenizer(str(tmp_path / "x.gguf"))


def test_headers_of_gguf_files_that_are_read(tmp_path):
    write_gguf(tmp_path / "x.gguf")
    check_header(tmp_path / "x.gguf")
    values = key(order=">") + struct.pack(">IQ", 8, 2) + b"ab"
    (tmp_path / "x.gguf").write_bytes(gguf(values, order=">"))
    check_header(tmp_path / "x.gguf")
