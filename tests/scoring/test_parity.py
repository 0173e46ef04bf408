"""Every strategy gives what the plain route gives."""

from operator import add

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    T5Config,
)

from tests.scoring.tiny import (
    CACHED,
    EVERY,
    GROUPED,
    OTHERS,
    PACKED,
    PLAIN,
    WIDENED,
    byte_tokenizer,
    tiny_model,
)
from textclf.scoring import LabelScorer, UnsupportedModelError, label_log_likelihoods
from textclf.scoring.capabilities import TRIAL_LENGTH, VERIFIED, capabilities_of

PROMPTS = [
    "Which topic? " + text
    for text in ("cats", "", "rain in the north", "a", "사과", "one two three four five six seven", "cats", "dogs,")
]
LABELS = ["a", "abc", "abd", "ab", "긍정", "부정", "x"]
BOTH = {**PACKED, **WIDENED, **OTHERS}
STRATEGIES = {**dict.fromkeys(BOTH, ("packed", "cached")), **dict.fromkeys(CACHED, ("cached",))}
CASES = [*((name, "packed") for name in BOTH), *((name, "cached") for name in (*PACKED, *CACHED))]


def difference(model, prompts, labels, strategy, tokenizer=None, **options):
    tokenizer = tokenizer or byte_tokenizer()
    wanted = oracle(model, prompts, labels)
    got = label_log_likelihoods(model, tokenizer, prompts, labels, strategy=strategy, **options)
    assert got.shape == wanted.shape == (len(prompts), len(labels))
    assert got.dtype == torch.float64
    return float((got - wanted).abs().max())


KNOWN = {}


def oracle(model, prompts, labels):
    """The plain route's scores; each prompt of a model in evaluation is run once with the same labels."""
    keys = [(model, model.dtype, model.training, prompt, tuple(labels)) for prompt in prompts]
    missing = list(dict.fromkeys(key for key in keys if key not in KNOWN))
    scores = label_log_likelihoods(model, byte_tokenizer(), [key[3] for key in missing], labels, strategy="plain")
    KNOWN.update(zip(missing, scores, strict=True))
    return torch.stack([KNOWN[key] for key in keys]) if keys else scores


@pytest.mark.parametrize(("name", "strategy"), CASES)
def test_agrees_with_plain(name, strategy):
    assert difference(tiny_model(name), PROMPTS, LABELS, strategy, max_batch_tokens=100) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKED)
def test_eager_attention_agrees(name):
    assert difference(tiny_model(name, "eager"), PROMPTS, LABELS, "packed", max_batch_tokens=200) < 1e-4


@pytest.mark.parametrize("name", EVERY)
def test_auto_takes_the_fastest_that_is_right(name):
    scorer = LabelScorer(tiny_model(name), byte_tokenizer(), LABELS)
    scorer(PROMPTS)
    wanted = "packed" if name in PACKED else "cached" if name in CACHED else "plain"
    assert scorer.strategy == wanted
    assert (wanted == "packed") == ("not packed" not in scorer.reason)
    assert scorer.reasons == {wanted: scorer.reason}
    assert getattr(scorer.counters, wanted) == len(PROMPTS)


TEXT = st.text("ab 긍", max_size=14)
LABEL = st.builds(add, st.sampled_from(["", "a", "ab", "긍"]), st.text("ab긍가", max_size=4)).filter(
    lambda label: 1 <= len(label.encode()) <= 6  # a token per byte
)
ANY = given(
    head=st.text("ab c", max_size=20),
    tails=st.lists(TEXT, min_size=1, max_size=6),
    picks=st.lists(st.integers(0, 5), min_size=1, max_size=64),
    labels=st.lists(LABEL, min_size=1, max_size=6, unique=True),
    budget=st.integers(1, 400),
    side=st.sampled_from(["left", "right"]),
)


def agrees_on(name, head, tails, picks, labels, budget, side):
    """1 to 64 prompts, of 1 token to more than the windows."""
    model, tokenizer = tiny_model(name), byte_tokenizer(padding_side=side)
    prompts = [head + tails[pick % len(tails)] for pick in picks]
    for strategy in STRATEGIES[name]:
        assert difference(model, prompts, labels, strategy, tokenizer, max_batch_tokens=budget) < 1e-4


@pytest.mark.parametrize("name", [*PACKED, *CACHED])
@settings(max_examples=3)
@ANY
def test_agrees_on_any_text(name, **drawn):
    agrees_on(name, **drawn)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=20)
@ANY
def test_agrees_on_many_texts(name, **drawn):
    agrees_on(name, **drawn)


@pytest.mark.parametrize("strategy", ["packed", "cached"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_padding_side_nor_batch_size_matters(strategy, side):
    tokenizer, model = byte_tokenizer(padding_side=side), tiny_model("opt")
    for budget in (1, 64, 10_000):
        assert difference(model, PROMPTS, LABELS, strategy, tokenizer, max_batch_tokens=budget) < 1e-4


@pytest.mark.parametrize("name", ["mistral", "qwen2, window", "gemma2", "gemma3", "gpt_neo"])
def test_a_window_is_right_at_every_length(name):
    prompts = [text * repeats for text in ("a", "be") for repeats in range(1, 12)]
    assert difference(tiny_model(name), prompts, LABELS, "cached") < 1e-4


def test_a_window_longer_than_all_texts_allows_packing():
    scorer = LabelScorer(tiny_model("mistral, wide window"), byte_tokenizer(), LABELS)
    assert scorer.capabilities.refusal("packed", 128) is None
    assert "window has 128 tokens" in scorer.capabilities.refusal("packed", 129)


def test_one_label_and_no_prompt():
    model = tiny_model("llama")
    assert difference(model, ["", "a"], ["a"], "packed") < 1e-4
    assert label_log_likelihoods(model, byte_tokenizer(), [], LABELS).shape == (0, len(LABELS))


def test_likelihoods_of_all_next_tokens_add_up_to_one():
    letters = [chr(code) for code in range(128)]
    scores = label_log_likelihoods(tiny_model("llama"), byte_tokenizer(), ["ab"], letters)
    assert 0.1 < scores.exp().sum() < 1


@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_raw_logits_are_read_at_the_same_places(strategy):
    scores = [
        LabelScorer(tiny_model("gemma2" if strategy == "cached" else "qwen3"), byte_tokenizer(), LABELS, strategy=way)(
            PROMPTS
        ).logit_sums
        for way in ("plain", strategy)
    ]
    assert torch.allclose(*scores, atol=1e-4)


@pytest.mark.parametrize("strategy", ["plain", "packed", "cached"])
def test_scores_do_not_follow_the_default_dtype(strategy):
    """`bf16-true` makes bf16 the default within a step: likelihoods in it would be off by tenths of a nat."""
    model = tiny_model("llama")
    expected = oracle(model, PROMPTS, LABELS)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = label_log_likelihoods(model, byte_tokenizer(), PROMPTS, LABELS, strategy=strategy)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_half_precision_is_close():
    model = tiny_model("llama", None, torch.bfloat16)
    assert 0 < difference(model, PROMPTS, LABELS, "packed") < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", *CACHED, *WIDENED, *PLAIN])
def test_half_precision_takes_what_was_shown_in_full_precision(name):
    """A trial in bf16 sees little, MPT's padding behind a prefix among it."""
    full, half = (capabilities_of(tiny_model(name, None, dtype)) for dtype in (torch.float32, torch.bfloat16))
    assert set(half.refused) == set(full.refused)
    assert half.needs_equal_lengths(TRIAL_LENGTH) == full.needs_equal_lengths(
        TRIAL_LENGTH
    )  # more than the windows that are too short to pack


def test_what_counts_as_shown_is_what_these_tests_show():
    kinds = {name: tiny_model(name).config.model_type for name in STRATEGIES}
    assert VERIFIED["packed"] == {kinds[name] for name in BOTH}
    assert VERIFIED["cached"] == {kinds[name] for name in CACHED} - VERIFIED["packed"] - {"mpt"}


def test_a_kind_that_was_not_compared_is_packed_in_full_precision_only():
    models = [tiny_model.__wrapped__("llama", None, dtype) for dtype in (torch.float32, torch.bfloat16)]
    for model in models:
        model.config.model_type = "another"
    full, half = map(capabilities_of, models)
    assert not full.refused
    assert full.ignores_padding
    assert "'another'" in half.refused["packed"]
    assert "bfloat16" in half.refused["packed"]
    assert not half.ignores_padding
    assert "cached" not in half.refused
    scorer = LabelScorer(models[1], byte_tokenizer(), LABELS)
    scorer(PROMPTS)
    assert scorer.strategy == "cached"
    assert "load it in fp32" in scorer.reason


def test_a_model_in_training_is_scored_without_dropout_and_goes_on_training():
    model = tiny_model("gpt2")
    model.train()
    try:
        assert difference(model, PROMPTS, LABELS, "packed") < 1e-4
        assert model.training
    finally:
        model.eval()


@pytest.mark.parametrize(
    ("name", "strategy", "reason"),
    [
        ("mistral", "packed", "window has 4 tokens"),
        ("gemma3", "packed", "window has 6 tokens"),
        ("bloom", "packed", "ALiBi"),
        ("mpt", "packed", "ALiBi"),
        ("mamba", "packed", "does not accept past_key_values"),
        ("mamba", "cached", "does not accept past_key_values"),
    ],
)
def test_what_would_be_wrong_is_refused(name, strategy, reason):
    with pytest.raises(UnsupportedModelError, match=reason):
        label_log_likelihoods(tiny_model(name), byte_tokenizer(), PROMPTS, LABELS, strategy=strategy)


def test_rotary_scaling_that_switches_with_the_length_is_scored_alone():
    from transformers import AutoModelForCausalLM, Phi3Config

    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "rope_theta": 1e4}
    rope["original_max_position_embeddings"] = 32
    config = Phi3Config(**GROUPED, rope_parameters=rope, original_max_position_embeddings=32)
    scorer = LabelScorer(AutoModelForCausalLM.from_config(config).eval(), byte_tokenizer(), LABELS)
    scorer(["short"])
    assert scorer.strategy == "packed"
    scorer(["short", "long " * 8])
    assert scorer.strategy == "plain"
    assert "rotary" in scorer.reason


@pytest.mark.parametrize("kind", ["classifier", "encoder-decoder", "not causal"])
def test_what_is_no_causal_model_is_refused(kind):
    small = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    if kind == "classifier":
        model = AutoModelForSequenceClassification.from_config(LlamaConfig(**small, intermediate_size=48))
    elif kind == "encoder-decoder":
        model = AutoModelForSeq2SeqLM.from_config(T5Config(vocab_size=300, d_model=32, d_kv=8, num_layers=1))
    else:
        model = BertLMHeadModel(BertConfig(**small, intermediate_size=48, is_decoder=False))
    with pytest.raises(UnsupportedModelError, match="causal"):
        label_log_likelihoods(model, byte_tokenizer(), PROMPTS, LABELS)


def test_plain_is_left_for_states():
    assert set(PLAIN) == {"mamba"}
    wanted = label_log_likelihoods(tiny_model("mamba"), byte_tokenizer(), PROMPTS, LABELS, strategy="plain")
    assert torch.equal(label_log_likelihoods(tiny_model("mamba"), byte_tokenizer(), PROMPTS, LABELS), wanted)
