"""What is run: each token once, no more projected than is read; and what cannot be run."""

import pytest
import torch

from tests.scoring.tiny import byte_tokenizer, tiny_model
from textclf.scoring import LabelScorer, forward, label_log_likelihoods
from textclf.scoring.planning import CACHED_PER_BUDGET, default_budget, plan_batches
from textclf.scoring.trie import build_trie, common_prefix, prefix_pairs

HEAD = "Which topic has this text? "
TEXTS = ["cats and dogs", "rain", "snow", "the north wind", "a", "cats and bogs"]
PROMPTS = [HEAD + text for text in TEXTS]
LABELS = ["a", "abc", "abd", "ab", "xyz"]
NODES = 4  # a, ab, x, xy
SHARED = 1 + len(HEAD)  # BOS and a token per character
NEEDED = SHARED + sum(map(len, TEXTS)) + NODES * len(TEXTS)
# Tokens of the first 200 test texts of AG News, by SmolLM2's tokenizer.
NEWS = [
    int(length)
    for length in """
35 82 54 70 48 177 190 182 25 53 101 75 62 31 27 31 57 64 58 30 32 24 25 85 68 29 46 93 88 96 55 43 57 81 75 86 31 55 58
63 61 71 63 73 72 49 57 80 61 47 57 77 54 51 74 32 58 67 49 61 62 43 119 64 67 28 55 64 52 69 44 99 38 21 56 59 61 41 58
25 56 47 67 74 55 58 76 61 114 126 66 26 49 44 46 67 57 133 67 64 62 59 72 24 59 55 75 47 58 38 56 64 44 56 55 43 46 203
66 68 69 50 72 60 88 34 37 44 73 51 59 58 60 32 52 81 42 77 65 38 44 33 61 53 49 42 54 66 60 68 35 70 38 57 75 24 67 65
60 57 61 55 66 67 55 82 109 59 61 47 120 37 61 66 65 84 60 49 66 44 72 39 29 48 91 63 45 52 45 29 72 71 58 36 107 45 100
55 106 56
""".split()
]


class Watch:
    """Counts what goes through a model, with its own hooks; `real` are the tokens that are not padding, by the mask."""

    def __init__(self, model):
        self.tokens = self.real = self.calls = self.rows = 0
        self.handles = [
            model.register_forward_pre_hook(self.enter, with_kwargs=True),
            model.get_output_embeddings().register_forward_pre_hook(self.project),
        ]

    def enter(self, module, args, kwargs):
        self.calls += 1
        ids, mask = kwargs["input_ids"], kwargs["attention_mask"]
        self.tokens += ids.numel()
        if mask.dim() == 2:
            self.real += int(mask[:, -ids.shape[1] :].sum())
        else:  # what the prompt's last token or a node sees of the new columns
            self.real += int((mask[:, 0, -1 - NODES :, -ids.shape[1] :] == 0).any(1).sum())

    def project(self, module, args):
        self.rows += args[0].shape[:-1].numel()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "opt"])
@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_each_token_is_run_once(name, strategy):
    scorer = LabelScorer(tiny_model(name), byte_tokenizer(), LABELS, strategy=strategy, max_batch_tokens=60)
    with Watch(scorer.model) as watch:
        scorer(PROMPTS)
    counters = scorer.counters
    assert watch.real == counters.tokens == NEEDED
    assert counters.tokens + counters.padding == watch.tokens > watch.real
    assert counters.forwards == watch.calls
    assert counters.prefix_tokens == SHARED
    assert counters.prefix_hits == len(PROMPTS)
    assert counters.projection_rows == watch.rows == 1 + (1 + NODES) * len(PROMPTS)
    assert 0 < counters.padding_share < 0.3


def test_windows_cost_no_token_twice():
    scorer = LabelScorer(tiny_model("mistral"), byte_tokenizer(), LABELS)
    scorer(PROMPTS)
    assert scorer.strategy == "cached"
    assert (scorer.counters.tokens, scorer.counters.padding) == (NEEDED, 0)


def test_single_token_labels_cost_nothing_beyond_the_prompt():
    scorer = LabelScorer(tiny_model("llama"), byte_tokenizer(), ["a", "b", "c"])
    scorer(PROMPTS)
    assert scorer.counters.tokens == NEEDED - NODES * len(TEXTS)


def test_the_prefix_is_kept_between_calls():
    scorer = LabelScorer(tiny_model("llama"), byte_tokenizer(), LABELS)
    whole = label_log_likelihoods(scorer.model, byte_tokenizer(), PROMPTS, LABELS, strategy="plain")
    parts = [scorer(PROMPTS[:3]), scorer(PROMPTS[3:5]), scorer(PROMPTS[5:])]
    assert torch.allclose(torch.cat([part.log_likelihoods for part in parts]), whole, atol=1e-4)
    assert scorer.counters.tokens == NEEDED


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3"])
def test_prefixes_that_differ_between_calls(name):
    model, tokenizer = tiny_model(name), byte_tokenizer()
    scorer = LabelScorer(model, tokenizer, LABELS)
    for prompts in (
        PROMPTS,
        ["other", "others"],
        ["Which"],
        PROMPTS[::2],
        [HEAD + "x" * i for i in range(20)],
        PROMPTS,
    ):
        wanted = label_log_likelihoods(model, tokenizer, prompts, LABELS, strategy="plain")
        assert torch.allclose(scorer(prompts).log_likelihoods, wanted, atol=1e-4)


def test_equal_prompts_share_all_but_the_last_token():
    scorer = LabelScorer(tiny_model("gpt2"), byte_tokenizer(), LABELS)
    scores = scorer([HEAD] * 5).log_likelihoods
    assert torch.allclose(scores, scores[:1].expand(5, -1), atol=1e-4)
    assert scorer.counters.tokens == SHARED - 1 + 5 * (1 + NODES)


@pytest.mark.slow
def test_a_batch_is_halved_where_memory_runs_out(monkeypatch):
    model, tokenizer = tiny_model("llama"), byte_tokenizer()
    call = forward.Forward.__call__

    def small(self, ids, *rest, **named):
        if ids.shape[0] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return call(self, ids, *rest, **named)

    monkeypatch.setattr(forward.Forward, "__call__", small)
    scorer = LabelScorer(model, tokenizer, LABELS, max_batch_tokens=1000)
    wanted = label_log_likelihoods(model, tokenizer, PROMPTS, LABELS, strategy="plain")
    assert torch.allclose(scorer(PROMPTS).log_likelihoods, wanted, atol=1e-4)
    assert scorer.counters.out_of_memory > 0
    assert scorer.budget < 1000


def test_other_errors_and_a_prompt_that_never_fits_are_not_hidden(monkeypatch):
    for message in ("out of memory", "sizes do not match"):
        scorer = LabelScorer(tiny_model("llama"), byte_tokenizer(), LABELS)

        def fail(self, *args, error=message, **named):
            raise RuntimeError(error)

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match=message):
            patch.setattr(forward.Forward, "__call__", fail)
            scorer(PROMPTS)


def test_a_prompt_beyond_the_context_is_named():
    model, tokenizer = tiny_model("llama"), byte_tokenizer()
    fits = "a" * (128 - 1 - 2)  # BOS before it, two of three label tokens behind it
    assert label_log_likelihoods(model, tokenizer, [fits], LABELS).shape == (1, 5)
    with pytest.raises(ValueError, match=r"prompt 1 \('aaaa.*127 tokens.*context of 128"):
        label_log_likelihoods(model, tokenizer, ["a", fits + "a"], LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": []}, "no labels"),
        ({"prompts": "abc"}, "expected a list of texts, not the string 'abc'"),
        ({"labels": ["a", ""]}, "label '' has no tokens"),
        ({"strategy": "fast"}, "strategy is 'fast'"),
        ({"max_batch_tokens": 0}, "max_batch_tokens 0 is too small"),
        ({"labels": ["b", "a", "b"]}, r"labels 'b' and 'b' have the same tokens \[\d+\]: give labels"),
        ({"tokenizer": byte_tokenizer(bos=False), "prompts": ["a", ""]}, r"prompt 1 \(''\) has no tokens"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(change, message):
    arguments = {"tokenizer": byte_tokenizer(), "prompts": ["a"], "labels": ["b"], **change}
    with pytest.raises(ValueError, match=message) as error:
        label_log_likelihoods(tiny_model("llama"), **arguments)
    assert "\n" not in str(error.value)


def test_trie():
    trie = build_trie([[1, 2], [1, 3, 4], [5], [1, 3, 4, 6], [1]])
    assert trie.tokens.tolist() == [1, 3, 4]
    assert trie.depths.tolist() == [1, 2, 3]
    assert trie.ancestors.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert trie.reads.tolist() == [0, 0, 1, 1, 2, 3]
    assert trie.edge_tokens.tolist() == [1, 5, 2, 3, 4, 6]
    assert trie.members.sum(0).tolist() == [2, 3, 1, 4, 1]
    assert [chain.nodes for chain in trie.chains] == [(0, 3)]
    assert trie.longest == 4


def test_common_prefix_and_beginnings():
    assert common_prefix([[1, 2, 3], [1, 2], [1, 2, 4]]) == 2
    assert common_prefix([[1], [2]]) == 0
    assert common_prefix([[7, 8]]) == 2
    assert prefix_pairs([[1, 2], [1], [3], [1, 2]]) == [(1, 0), (1, 3), (0, 3)]


def test_batches_waste_little_and_keep_to_the_budget():
    lengths = sorted(([5, 40, 41, 200, 7, 39, 6] * 30), reverse=True)
    batches = plan_batches(lengths, 2, 300, equal=False)
    assert [start for start, _ in batches[1:]] == [stop for _, stop in batches[:-1]]
    assert (batches[0][0], batches[-1][1]) == (0, len(lengths))
    run = [(stop - start) * (lengths[start] + 2) for start, stop in batches]
    assert max(run) <= 300
    assert 1 - (sum(lengths) + 2 * len(lengths)) / sum(run) < 0.05


def test_padding_of_news_is_small_at_the_default_budget():
    lengths = sorted(NEWS, reverse=True)
    for extra in (0, 5):
        batches = plan_batches(lengths, extra, default_budget(torch.device("cpu")), False, prefix=40)
        run = sum((stop - start) * (lengths[start] + extra) for start, stop in batches)
        assert 1 - (sum(lengths) + extra * len(lengths)) / run <= 0.05
        assert len(batches) < 40


def test_a_long_prefix_limits_the_rows_of_a_batch():
    """Its keys stand in memory once per row."""
    held = [
        max((stop - start) * (prefix + 10) for start, stop in plan_batches([8] * 100, 2, 300, False, prefix))
        for prefix in (0, 60, 500, 5000)
    ]
    assert held[:2] == [300, 30 * 70]  # as many rows as without one
    assert 300 < held[2] <= CACHED_PER_BUDGET * 300
    assert held[3] == 5010  # a prompt at a time


def test_batches_of_equal_lengths():
    assert plan_batches([9, 9, 9, 4, 4, 1], 0, 20, equal=True) == [(0, 2), (2, 3), (3, 5), (5, 6)]
    assert plan_batches([500], 0, 20, equal=False) == [(0, 1)]
    assert plan_batches([], 0, 20, equal=False) == []


def test_memory_is_given_back_as_batches_go_by(monkeypatch):
    calls = []
    monkeypatch.setattr("textclf.scoring.scorer.trim_heap", lambda: calls.append(1))
    scorer = LabelScorer(tiny_model("llama"), byte_tokenizer(), [" a"], max_batch_tokens=1)
    scorer(["a prompt"] * 6)
    for _ in range(3):
        scorer(["a prompt"])
    assert scorer.counters.forwards >= 9
    assert len(calls) == 2
