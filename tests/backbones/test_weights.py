import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.scoring.tiny import MERGES, byte_tokenizer, save_tiny_lm, write_gguf
from textclf.backbones import gguf, weights
from textclf.backbones.gguf import converted_folder
from textclf.backbones.weights import load_causal, source
from textclf.errors import UserError
from textclf.hardware import kernels
from textclf.hub import cache_folder
from textclf.models import CausalLMClassifier
from textclf.scoring import label_log_likelihoods
from textclf.scoring.tokens import prompt_token_ids

NAMES = ("negative", "positive")
PROMPTS = ["Film: a joy\nIt is", "Film: 지루한 영화\nIt is"]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("lm"))


def test_a_file_of_a_folder_or_repository(tmp_path):
    assert source("org/repo/model-q4.gguf") == ("org/repo", {"gguf_file": "model-q4.gguf"})
    assert source("org/repo/sub/er/model.GGUF") == ("org/repo", {"gguf_file": "sub/er/model.GGUF"})
    assert source("org/repo") == ("org/repo", {})
    path = tmp_path / "more" / "model.gguf"
    path.parent.mkdir()
    path.touch()
    assert source(str(path)) == (str(path.parent), {"gguf_file": "model.gguf"})


def sums_of(classifier):
    """The log-likelihood of each label word after each prompt."""
    input_ids = prompt_token_ids(classifier.tokenizer, PROMPTS, classifier.bos)
    return classifier.scorer.score(input_ids)["sums"]


def test_a_file_is_read_as_its_model(tmp_path):
    model = write_gguf(tmp_path / "model.gguf")
    classifier = CausalLMClassifier(2, NAMES, pretrained=str(tmp_path / "model.gguf"), prompt="Film: {text}\nIt is")
    labels = [" negative", " positive"]
    assert classifier.words == labels
    expected = label_log_likelihoods(model, byte_tokenizer(merges=MERGES), PROMPTS, labels, strategy="plain")
    classifier.bos = "always"  # the file does not say that its tokenizer writes one
    torch.testing.assert_close(torch.from_numpy(sums_of(classifier)), expected, atol=1e-4, rtol=0)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return cache_folder() / "gguf"


def test_a_file_is_converted_once(empty_cache, tmp_path, capsys, monkeypatch):
    model = write_gguf(tmp_path / "model.gguf")

    def scores(place):
        classifier = CausalLMClassifier(2, NAMES, pretrained=str(place), bos="always")
        return sums_of(classifier)

    expected = scores(tmp_path / "model.gguf")
    first, second = (line for line in capsys.readouterr().err.splitlines() if "convert" in line)
    assert f"converting '{tmp_path / 'model.gguf'}'" in first
    folder = second.rpartition(" ")[2]
    assert Path(folder).parent == empty_cache
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(folder).state_dict(), dict(model.state_dict()))
    shutil.move(tmp_path / "model.gguf", tmp_path / "moved.gguf")
    monkeypatch.setattr(gguf, "convert", None)
    for place in (tmp_path / "moved.gguf", folder):
        assert (scores(place) == expected).all()
    assert "convert" not in capsys.readouterr().err


def test_a_file_is_hashed_once(empty_cache, tmp_path, monkeypatch):
    write_gguf(tmp_path / "model.gguf")
    hashed, located = [], []
    monkeypatch.setattr(gguf, "file_hash", lambda file: hashed.append(file) or "of-the-file")
    monkeypatch.setattr(weights, "converted_folder", lambda *given: located.append(given) or converted_folder(*given))
    load_causal(str(tmp_path / "model.gguf"), {}, torch.float32)
    assert len(located) == 1
    sums_of(CausalLMClassifier(2, NAMES, pretrained=str(tmp_path / "model.gguf")))
    assert hashed == [tmp_path / "model.gguf"]


def test_a_file_of_the_same_time_and_size_is_converted_again(empty_cache, tmp_path):
    path = tmp_path / "model.gguf"
    write_gguf(path)
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-3] ^= 64  # in the last weight
    folders = [converted_folder(str(tmp_path), "model.gguf", {}, str(path), "")]
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    folders.append(converted_folder(str(tmp_path), "model.gguf", {}, str(path), ""))
    before, after = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in folders)
    assert any((before[name] != after[name]).any() for name in before)


def test_a_damaged_file_is_refused_and_leaves_nothing(empty_cache, tmp_path):
    whole = tmp_path / "whole.gguf"
    write_gguf(whole)
    (tmp_path / "model.gguf").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for name, words in {"model": "cannot load the model", "missing": "does not exist"}.items():
        with pytest.raises(UserError, match=words):
            load_causal(str(tmp_path / f"{name}.gguf"), {}, torch.float32)
    assert not [path for path in empty_cache.iterdir() if path.is_dir()]


def test_device_map_puts_the_weights_where_it_says(lm, monkeypatch):
    plain, mapped = (
        CausalLMClassifier(2, NAMES, pretrained=str(lm), load_options=options)
        for options in (None, {"device_map": "cpu"})
    )
    mapped.configure_model()
    monkeypatch.setattr(mapped.network[0], "to", None)  # nor are they moved from there
    torch.testing.assert_close(*(torch.from_numpy(sums_of(m)) for m in (plain, mapped)))
    assert len(mapped.classify(["a joy"])) == 1


def test_quantisation_is_handed_on(lm, monkeypatch):
    given = {}
    read = AutoModelForCausalLM.from_pretrained

    def spy(place, **options):
        given.update(options)
        options.pop("quantization_config")
        return read(place, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", spy)
    asked = {"load_in_8bit": True}
    model = CausalLMClassifier(2, NAMES, pretrained=str(lm), load_options={"quantization_config": asked})
    model.configure_model()
    assert given["quantization_config"] is asked
    assert given["dtype"] == torch.float32


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, kernels.ATTENTION), ({"attn_implementation": "sdpa"}, "sdpa"), ({"attn_implementation": "eager"}, "eager")],
)
def test_attention_that_is_asked_for_is_kept(options, expected, lm, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_causal(str(lm), options, torch.bfloat16).config._attn_implementation == expected


def test_a_gpu_keeps_its_attention(lm, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load_causal(str(lm), {}, torch.bfloat16).config._attn_implementation == "sdpa"
