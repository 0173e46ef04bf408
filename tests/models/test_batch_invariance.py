"""Every method in fp32: scores at batch sizes 1, 7 and 64, with a token budget, and in another order of the rows."""

import pytest
import torch

from tests.chat_server import ChatServer, completion
from tests.models.contract import tiny_model
from tests.models.test_batch_independence import ARCHITECTURES, ENCODER_DECODERS, NAMES, NLI_NAMES, SEQUENCE, save
from tests.models.test_from_scratch import TINY
from tests.scoring.tiny import EVERY
from textclf.conformance.invariance import (
    SIZES,
    TOLERANCE,
    difference,
    differences,
    many_texts,
    scores_by_way,
)
from textclf.conformance.subject import Subject, isolated
from textclf.models import (
    CausalLMClassifier,
    ChatClassifier,
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
    TfidfClassifier,
)

TEXTS = many_texts(72)
FP32 = {"embedding": {"dtype": "float32"}}
POOLING = {"embedding": {"dtype": "float32", "pooling": "cls"}}
LORA = {"lora": {"rank": 4, "target_modules": "all-linear"}}
SHOTS = {"shots": 2, "prompt": "{text} is"}
METHODS = {  # name: (method, architecture of its model, arguments)
    "tfidf": (TfidfClassifier, None, {}),
    "from_scratch": (FineTunedClassifier, None, {"pretrained": None, "encoder_config": TINY, "max_length": 32}),
    "fine_tuned": (FineTunedClassifier, "bert", {}),
    "fine_tuned, roberta": (FineTunedClassifier, "roberta", {}),
    "fine_tuned, gpt2": (FineTunedClassifier, "gpt2", {}),
    "fine_tuned, lora": (FineTunedClassifier, "bert", LORA),
    "linear_probe": (LinearProbe, "bert", FP32),
    "linear_probe, cls": (LinearProbe, "bert", POOLING),
    "nearest_centroid": (NearestCentroid, "bert", FP32),
    "embedding_zero_shot": (EmbeddingZeroShot, "bert", FP32),
    "embedding_zero_shot, llama": (EmbeddingZeroShot, "llama", FP32),
    "pretrained": (PretrainedClassifier, "bert", {}),
    "pretrained, deberta-v2": (PretrainedClassifier, "deberta-v2", {}),
    "nli": (NLIClassifier, "bert", {}),
    "nli, multi-label": (NLIClassifier, "xlnet", {"multi_label": True}),
    "seq2seq": (Seq2SeqClassifier, "t5", {"prompt": "{text} is"}),
    "seq2seq, bart": (Seq2SeqClassifier, "bart", {"prompt": "{text} is"}),
    "seq2seq, generate": (Seq2SeqClassifier, "bart", {"prompt": "{text} is", "mode": "generate", "max_new_tokens": 4}),
    **{
        f"causal_lm, {kind}": (CausalLMClassifier, kind, {"prompt": "{text} is"})
        for kind in ("llama", "gpt2", "gpt_neo", "qwen2", "gemma")
    },
    **{
        f"causal_lm, {strategy}": (CausalLMClassifier, "llama", {"prompt": "{text} is", "strategy": strategy})
        for strategy in ("packed", "cached", "plain")
    },
    "causal_lm, two shots": (CausalLMClassifier, "llama", SHOTS),
    "causal_lm, contextual": (CausalLMClassifier, "llama", {"prompt": "{text} is", "rule": "contextual"}),
}
FURTHER = {
    f"causal_lm, {kind}": (CausalLMClassifier, kind, {"prompt": "{text} is"})
    for kind in ("gemma2", "gemma3", "bloom", "mistral", "mamba")
}
ALONE = ("causal_lm, plain", "causal_lm, mamba")
"""These run each prompt and label alone anyway."""
AUTO = {Seq2SeqClassifier: "AutoModelForSeq2SeqLM", CausalLMClassifier: "AutoModelForCausalLM"}
EMBEDDING = (LinearProbe, NearestCentroid, EmbeddingZeroShot)


def arguments_of(method, kind, arguments, folder):
    """The arguments of a method, with the folder of a tiny random model."""
    if kind is None:
        return arguments
    if method is CausalLMClassifier:
        kind, config = EVERY[kind]
        config = {**config, **{size: 512 for size in ("max_position_embeddings", "n_positions") if size in config}}
    else:
        config = {**ENCODER_DECODERS, **ARCHITECTURES}[kind]
    names = NLI_NAMES if method is NLIClassifier else NAMES
    auto = "AutoModel" if method in EMBEDDING else AUTO.get(method, SEQUENCE)
    return {"pretrained": save(folder, auto, kind, config, names), **arguments}


def ready(method, arguments, folder):
    """A method that can score: trained for two steps where its scores would be the same for all rows otherwise."""
    subject = Subject(lambda names: method(len(names), names, **arguments), NAMES, folder)
    if method in (LinearProbe, FineTunedClassifier):
        model = subject.run().model.eval()
        if arguments.get("encoder_config"):  # two steps change its small weights by little
            torch.manual_seed(0)
            for weights in model.parameters():
                if weights.ndim > 1:
                    torch.nn.init.normal_(weights, std=0.3)
        return model
    return subject.ready(subject.new())


def assert_invariant(model, alone=False):
    """Compares the ways to form batches; the shapes that were seen differ, unless each row is run alone."""
    found = scores_by_way(model, TEXTS)
    ways = {way: scores for way, (scores, _) in found.items()}
    for way, each in differences(ways).items():
        assert each.largest <= TOLERANCE, (way, each)
        assert each.changed == each.near_ties, (way, each)
    shapes = [shapes for _, shapes in found.values()]
    for size, seen in zip(SIZES, shapes, strict=False):
        assert max(shape[0] for shape in seen if len(shape) == 1) == size
    of_modules = [{shape for shape in seen if len(shape) > 1} for seen in shapes[: len(SIZES)]]
    if any(of_modules) and not alone:  # a method with a network
        assert of_modules[0] != of_modules[1] != of_modules[2]
        assert of_modules[2] - of_modules[0]
    return ways


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS),
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in FURTHER),
    ],
)
def test_scores_do_not_depend_on_the_batch_size(name, tmp_path):
    method, kind, arguments = {**METHODS, **FURTHER}[name]
    with isolated() as folder:
        model = ready(method, arguments_of(method, kind, arguments, tmp_path), folder)
        ways = assert_invariant(model, name in ALONE)
    scores = next(iter(ways.values()))
    if model.has_probabilities:
        assert (scores[:, 0] - scores[:, 1]).std() > 1e-3, "the texts are told apart"


@pytest.mark.slow
def test_answers_of_a_chat_server_do_not_depend_on_the_batch_size(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    arguments = {"model": "m", "prompt": "Judge: {text}", "cache": str(tmp_path / "answers.sqlite")}
    with ChatServer(lambda body: completion(NAMES["film" in body["messages"][0]["content"]])) as server:
        model = ChatClassifier(2, NAMES, base_url=server.url, **arguments)
        assert_invariant(model)
        assert len(server.answered) == len(TEXTS)
        replayed = ChatClassifier(2, NAMES, base_url=server.url, replay=True, **arguments)
        assert_invariant(replayed)
        assert len(server.answered) == len(TEXTS)
        server.shutdown()


@pytest.mark.slow
def test_pairs_do_not_depend_on_the_batch_size(tmp_path):
    model = PretrainedClassifier(2, NAMES, tiny_model(PretrainedClassifier, tmp_path))
    model.configure_model()
    ways = {way: scores for way, (scores, _) in scores_by_way(model.eval(), TEXTS, TEXTS[::-1]).items()}
    assert max(each.largest for each in differences(ways).values()) <= TOLERANCE


def test_differences_are_counted():
    one = torch.tensor([[0.6, 0.4], [0.50001, 0.49999], [0.9, 0.1], [torch.nan, torch.nan]]).log().double()
    other = torch.tensor([[0.4, 0.6], [0.49999, 0.50001], [0.9, 0.1], [torch.nan, torch.nan]]).log().double()
    assert difference(one, other) == (4, pytest.approx(float(torch.tensor(1.5).log()), abs=1e-6), 2, 1)
    other[3] = one[2]
    assert difference(one, other).largest == torch.inf
    assert difference(one, other).changed == 3
    assert difference(torch.tensor([[-torch.inf, 0.0]]), torch.tensor([[-torch.inf, 0.0]])) == (1, 0, 0, 0)
