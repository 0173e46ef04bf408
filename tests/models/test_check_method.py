"""Every method of the package, with a tiny random model, keeps what `check_method` checks."""

import pytest

import textclf
from tests.backbones.test_tokenization import METHODS
from tests.chat_server import ChatServer, completion
from tests.models.test_batch_independence import ARCHITECTURES, ENCODER_DECODERS, NAMES, NLI_NAMES, save
from tests.models.test_from_scratch import TINY
from textclf.models import ChatClassifier, FineTunedClassifier, NLIClassifier, TfidfClassifier


def passed(method, **arguments):
    """Checks a method; gives the names of the checks that passed."""
    checks = textclf.check_method(method, labels=NAMES, new_process=False, **arguments)
    return {check.name for check in checks if check.status == "passed"}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_methods_with_weights(method, tmp_path):
    auto, kind = METHODS[method]
    names = NLI_NAMES if method is NLIClassifier else NAMES
    folder = save(tmp_path, auto, kind, {**ENCODER_DECODERS, **ARCHITECTURES}[kind], names)
    assert passed(method, pretrained=folder) >= {"scores", "batches", "encoding key", "predictions", "seed"}


@pytest.mark.slow
def test_tfidf():
    assert passed(TfidfClassifier) >= {"scores", "batches", "encoding key", "predictions", "checkpoint", "seed"}


@pytest.mark.slow
def test_training_from_scratch():
    arguments = {"pretrained": None, "encoder_config": TINY, "max_length": 32}
    assert passed(FineTunedClassifier, **arguments) >= {"scores", "batches", "predictions", "checkpoint", "seed"}


@pytest.mark.slow
def test_chat(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ChatServer(lambda body: completion("0" if "film" in body["messages"][-1]["content"] else "1")) as server:
        answers = {"0": "negative", "1": "positive"}
        arguments = {"model": "m", "base_url": server.url, "prompt": "Judge: {text}", "answers": answers}
        assert passed(ChatClassifier, **arguments) >= {"scores", "batches", "predictions"}
