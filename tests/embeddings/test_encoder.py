"""Frozen encoders against sentence-transformers itself, and what makes a vector another one."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer

from tests.conftest import invented_rows
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.embeddings.sentence_transformer import configuration
from textclf.errors import UserError

TEXTS = [text for text, _ in invented_rows(60, seed=3)] + ["", "영화", "the film " * 60]
PROMPTS = {"query": "the plot: ", "passage": "영화: "}


@pytest.fixture(scope="module")
def model_folder(tiny_encoder, tmp_path_factory):
    """A sentence-transformers model with mean pooling, length 1, and two prompts."""
    folder = tmp_path_factory.mktemp("sentence-transformer")
    encoder = Transformer(str(tiny_encoder), max_seq_length=32)
    modules = [encoder, Pooling(encoder.get_embedding_dimension(), "mean"), Normalize()]
    SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu").save(str(folder))
    return folder


@pytest.fixture
def embedder(model_folder, tmp_path):
    def build(reference=model_folder, max_length=None, **settings):
        return Embedder(str(reference), max_length, EmbeddingSettings(**{"dtype": "float32", **settings}), tmp_path)

    return build


@pytest.fixture
def oracle(model_folder):
    return SentenceTransformer(str(model_folder), device="cpu", model_kwargs={"dtype": torch.float32})


def close(one, other, atol=1e-6):
    np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("budget", [None, 1, 40, 100_000])
def test_vectors_are_those_of_sentence_transformers(embedder, oracle, budget):
    close(embedder(max_batch_tokens=budget).matrix(TEXTS), oracle.encode(TEXTS, batch_size=1))


def test_no_texts(embedder):
    own = embedder()
    vectors = own.matrix([])
    assert vectors.shape == (0, own.dimension)
    assert vectors.dtype == np.float32


def test_padding_on_the_left(embedder, oracle):
    one = embedder(max_batch_tokens=1)  # each text alone: no padding is left to count as positions
    one.model.tokenizer.padding_side = "left"
    close(one.matrix(TEXTS), oracle.encode(TEXTS, batch_size=1))


@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "lasttoken"])
def test_poolings(embedder, oracle, pooling):
    oracle[1] = Pooling(16, pooling)
    close(embedder(pooling=pooling).matrix(TEXTS), oracle.encode(TEXTS, batch_size=1))


def test_prompts_and_lengths_and_dimensions(embedder, oracle):
    oracle.max_seq_length = 20
    got = embedder(max_length=20, prompt_name="query", truncate_dim=8)
    expected = oracle.encode(TEXTS, prompt_name="query", truncate_dim=8, normalize_embeddings=True)
    close(got.matrix(TEXTS), expected)
    assert got.dimension == 8
    close(embedder(max_length=20, prompt="the plot: ", truncate_dim=8).matrix(TEXTS), expected)


def test_a_prompt_can_be_left_out_of_pooling(tiny_encoder, embedder, tmp_path):
    encoder = Transformer(str(tiny_encoder), max_seq_length=32)
    model = SentenceTransformer(modules=[encoder, Pooling(16, "mean", include_prompt=False)], device="cpu")
    model.save(str(tmp_path / "model"))
    close(
        embedder(tmp_path / "model", prompt="the plot: ").matrix(TEXTS),
        model.encode(TEXTS, prompt="the plot: ", normalize_embeddings=True),
    )


def test_another_pooling_still_leaves_the_prompt_out(tiny_encoder, embedder, tmp_path):
    encoder = Transformer(str(tiny_encoder), max_seq_length=32)
    model = SentenceTransformer(modules=[encoder, Pooling(16, "max", include_prompt=False)], device="cpu")
    expected = model.encode(TEXTS, prompt="the plot: ", normalize_embeddings=True)
    model[1] = Pooling(16, "mean", include_prompt=False)
    model.save(str(tmp_path / "model"))
    close(embedder(tmp_path / "model", prompt="the plot: ", pooling="max").matrix(TEXTS), expected)


def test_positions_that_begin_behind_the_padding(tiny_encoder, embedder, tmp_path):
    from transformers import AutoTokenizer, MPNetConfig, MPNetModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    config = MPNetConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=50,
    )
    MPNetModel(config).save_pretrained(tmp_path / "mpnet")
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path / "mpnet")
    with pytest.raises(UserError, match=r"max_length 49 is more .* at most 48"):
        embedder(tmp_path / "mpnet", max_length=49)
    assert embedder(tmp_path / "mpnet", max_length=48).embed(["the film " * 60])[0].length == 48


def test_a_plain_encoder_gets_mean_pooling_and_its_own_length_where_asked(embedder, tiny_encoder, oracle):
    oracle.max_seq_length = 64
    plain = embedder(tiny_encoder, normalize=False)
    assert not np.allclose(np.linalg.norm(plain.matrix(TEXTS), axis=1), 1)
    close(embedder(tiny_encoder).matrix(TEXTS), oracle.encode(TEXTS))


def test_an_encoder_without_tokens(embedder, tiny_encoder, tmp_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    model.save(str(tmp_path / "static"))
    close(embedder(tmp_path / "static", normalize=False).matrix(TEXTS), model.encode(TEXTS))


def test_bf16_is_near_and_what_follows_the_transformer_is_fp32(embedder):
    narrow, wide = embedder(dtype="bfloat16").matrix(TEXTS), embedder().matrix(TEXTS)
    assert not np.array_equal(narrow, wide)
    close(narrow, wide, atol=0.05)
    close(np.linalg.norm(narrow, axis=1), 1)


def test_a_trainers_autocast_changes_no_vector(embedder):
    one = embedder()
    expected = {place: found.vector for place, found in one.compute(TEXTS)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for place, found in one.compute(TEXTS):
            assert torch.is_autocast_enabled("cpu")  # the caller's stays as it is
            assert np.array_equal(found.vector, expected[place])


def test_long_texts_are_tokenised_in_smaller_windows(embedder, oracle, monkeypatch):
    monkeypatch.setattr("textclf.embeddings.encoder.WINDOW", 40)
    monkeypatch.setattr("textclf.embeddings.encoder.WINDOW_TOKENS", 400)
    windows = []
    compute = Embedder.compute

    def counting(self, texts):
        windows.append([min(32, len(text)) for text in texts])
        return compute(self, texts)

    monkeypatch.setattr(Embedder, "compute", counting)
    texts = [*TEXTS, *(f"a{i}" for i in range(80))]
    close(embedder().matrix(texts), oracle.encode(texts, batch_size=1))
    assert len(windows) > 4
    assert all(len(window) * max(window) <= 400 for window in windows)
    assert max(map(len, windows)) == 40


def test_lengths_and_what_is_cut_off(embedder):
    one = embedder(max_length=10)
    for found, text in zip(one.embed(TEXTS), TEXTS, strict=True):
        tokens = len(one.model.tokenizer(text)["input_ids"])
        assert found.length == min(10, tokens)
        assert found.cut == max(0, tokens - 10)


# The cache


@pytest.fixture
def computed(monkeypatch):
    """The texts that were embedded, not found."""
    seen = []
    compute = Embedder.compute

    def counting(self, texts):
        seen.extend(texts)
        yield from compute(self, texts)

    monkeypatch.setattr(Embedder, "compute", counting)
    return seen


def test_a_text_is_embedded_once(embedder, computed):
    first = embedder().matrix(["a film", "the plot", "a film"])
    assert sorted(computed) == ["a film", "the plot"]
    computed.clear()
    again = embedder(max_batch_tokens=7).matrix(["a film", "another", "the plot"])
    assert computed == ["another"]
    assert np.array_equal(first, again[[0, 2, 0]])


def test_an_interruption_loses_little(embedder, computed, monkeypatch):
    monkeypatch.setattr("textclf.embeddings.encoder.KEPT_TOGETHER", 10)
    compute = Embedder.compute

    def interrupted(self, texts):
        for i, found in enumerate(compute(self, texts)):
            if i == 35:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "compute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embedder().embed(TEXTS)
    computed.clear()
    embedder().embed(TEXTS)
    assert len(computed) == len(set(TEXTS)) - 30


CHANGES = [
    {"max_length": 20},
    {"prompt": "the plot: "},
    {"prompt_name": "passage"},
    {"pooling": "cls"},
    {"normalize": False},
    {"truncate_dim": 8},
    {"dtype": "bfloat16"},
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_each_part_of_the_key(embedder, computed, change):
    embedder().embed(["a film"])
    other = embedder(**change)
    other.embed(["a film"])
    assert computed == ["a film", "a film"]
    embedder().embed(["a film"])
    embedder(**change).embed(["a film"])
    assert len(computed) == 2


def test_the_same_text_under_two_prompts(embedder):
    one = embedder(prompt_name="query")
    other = one.with_prompt(PROMPTS["passage"])
    assert not np.allclose(one.matrix(["a film"]), other.matrix(["a film"]))
    assert np.array_equal(other.matrix(["a film"]), embedder(prompt_name="passage").matrix(["a film"]))
    assert one.prompt == PROMPTS["query"]


def test_the_same_prompt_under_two_names_is_one(embedder):
    assert embedder(prompt="the plot: ").key == embedder(prompt_name="query").key
    assert embedder(prompt="").key == embedder().key


def change_weights(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("value.bias"))
    weights[name][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_tokenizer(folder):
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(whole))


def change_configuration(folder):
    whole = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**whole, "layer_norm_eps": 0.1}))


@pytest.mark.parametrize("change", [change_weights, change_tokenizer, change_configuration])
def test_two_models_of_one_name_do_not_collide(model_folder, embedder, tmp_path, change):
    keys = []
    for name in ("here", "there"):
        folder = tmp_path / name / "model"
        shutil.copytree(model_folder, folder)
        keys.append(embedder(folder).key)
    assert keys[0] == keys[1] == embedder().key  # where it lies is not part of it
    change(folder)
    assert embedder(folder).key != keys[0]


def test_the_configuration_is_plain(embedder):
    assert json.dumps(configuration(embedder().model))


def test_a_configuration_that_is_not_plain_has_a_key(embedder, monkeypatch):
    found = embedder().key
    monkeypatch.setattr("textclf.embeddings.encoder.configuration", lambda model: [torch.float32])
    assert embedder().key == embedder().key != found


def test_use_leaves_no_trace_in_the_key(embedder):
    one = embedder()
    one.embed(TEXTS)
    assert one.with_prompt("").key == embedder().key


PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from textclf.embeddings import encoder

model, folder, budget, stop_at = sys.argv[1:]
encoder.KEPT_TOGETHER = 10
settings = encoder.EmbeddingSettings(dtype="float32", max_batch_tokens=int(budget))
embedder = encoder.Embedder(model, None, settings, Path(folder))
print("ready", flush=True)
texts = sys.stdin.read().splitlines()
compute = encoder.Embedder.compute

def watched(self, texts):
    for i, found in enumerate(compute(self, texts)):
        if i == int(stop_at):
            print("stopped", flush=True)
            time.sleep(600)
        time.sleep(0.01)
        yield found

encoder.Embedder.compute = watched
np.save(Path(folder) / f"{budget}.npy", embedder.matrix(texts))
"""
LINES = [text for text in TEXTS if text]


def start(model_folder, folder, budget, stop_at=-1):
    command = [sys.executable, "-c", PROCESS, str(model_folder), str(folder), str(budget), str(stop_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")


def embed(*processes):
    """Gives the texts to all of them once all are ready."""
    for process in processes:
        assert "ready\n" in process.stdout  # reads up to it
    for process in processes:
        process.stdin.write("\n".join(LINES))
        process.stdin.close()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_killed_process_loses_little(model_folder, embedder, oracle, computed, tmp_path):
    process = start(model_folder, tmp_path, 100, stop_at=35)
    embed(process)
    assert process.stdout.readline() == "stopped\n"
    process.kill()
    process.wait()
    close(embedder().matrix(LINES), oracle.encode(LINES, batch_size=1))
    assert len(computed) == len(set(LINES)) - 30


@pytest.mark.exhaustive
def test_two_processes_at_once_have_equal_vectors(model_folder, embedder, tmp_path):
    both = {budget: start(model_folder, tmp_path, budget) for budget in (1, 5000)}  # other rounding
    embed(*both.values())
    assert [process.wait(timeout=120) for process in both.values()] == [0, 0]
    one, other = (np.load(tmp_path / f"{budget}.npy") for budget in both)
    assert np.array_equal(one, other)
    assert np.array_equal(one, embedder().matrix(LINES))


# What a stranger gets wrong


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling": "average"}, ["pooling 'average'", "mean"]),
        ({"dtype": "int8"}, ["dtype 'int8'", "bfloat16"]),
        ({"truncate_dim": 0}, ["truncate_dim 0", "1 or more"]),
        ({"max_batch_tokens": "many"}, ["max_batch_tokens 'many'"]),
        ({"prompt": "a", "prompt_name": "b"}, ["prompt_name 'b'", "one of the two"]),
        ({"prompt_name": "nosuch"}, ["'nosuch'", "passage"]),
        ({"max_length": 65}, ["max_length 65", "at most 64"]),
        ({"reference": "./nowhere"}, ["'./nowhere'"]),
        ({"reference": "nobody/nothing"}, ["'nobody/nothing'", "--model.pretrained"]),
    ],
)
def test_mistakes_are_one_line(embedder, settings, words):
    with pytest.raises(UserError) as raised:
        embedder(**settings)
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)
