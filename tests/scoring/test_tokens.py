"""The boundary between prompt and label, the audit, and the misread sum."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, processors

from tests.scoring.tiny import byte_tokenizer, tiny_model
from textclf.errors import UserError
from textclf.scoring import LabelScorer, as_published, audit_labels, label_log_likelihoods
from textclf.scoring.tokens import label_token_ids, prompt_token_ids


def sentencepiece_like():
    from transformers import PreTrainedTokenizerFast

    pieces = {piece: i for i, piece in enumerate(["<unk>", "<s>", "▁", "a", "b", "▁a", "▁b"])}
    tokenizer = Tokenizer(models.BPE(pieces, [("▁", "a"), ("▁", "b")], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Replace("▁", " ")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("bos", [False, True])
def test_one_bos_and_no_appended_eos(bos, eos):
    tokenizer = byte_tokenizer(bos=bos, eos=eos)
    a = tokenizer.convert_tokens_to_ids("a")
    assert prompt_token_ids(tokenizer, ["a", "<s>a", "a</s>"]) == [[0] * bos + [a], [0, a], [0] * bos + [a, 1]]
    assert label_token_ids(tokenizer, ["a", " a"]) == [[a], [tokenizer.convert_tokens_to_ids("Ġ"), a]]


@pytest.mark.parametrize("name", ["</s>", "<pad>"])
def test_an_appended_token_goes_whichever_special_one_it_is(name):
    """Also where one token is BOS and EOS."""
    tokenizer = byte_tokenizer.__wrapped__(eos=True)
    a = tokenizer.convert_tokens_to_ids("a")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{name} $A {name}", special_tokens=[(name, tokenizer.convert_tokens_to_ids(name))]
    )
    tokenizer.bos_token = tokenizer.eos_token = name
    start = tokenizer.bos_token_id
    assert prompt_token_ids(tokenizer, ["a", ""]) == [[start, a], [start]]
    assert prompt_token_ids(tokenizer, [f"a{name}"]) == [[start, a, start]]


def test_what_ends_a_text_and_is_not_special_stays():
    tokenizer = byte_tokenizer.__wrapped__()
    tokens = {sign: tokenizer.convert_tokens_to_ids(sign) for sign in "a!"}
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A !", special_tokens=[("!", tokens["!"])]
    )
    assert prompt_token_ids(tokenizer, ["a"]) == [[tokens["a"], tokens["!"]]]


def test_texts_are_tokenised_in_parts(monkeypatch):
    monkeypatch.setattr("textclf.scoring.tokens.TEXTS_PER_CALL", 3)
    texts, tokenizer = [f"{i} 편" * i for i in range(8)], byte_tokenizer(bos=True)
    assert prompt_token_ids(tokenizer, texts) == [prompt_token_ids(tokenizer, [text])[0] for text in texts]


@pytest.mark.parametrize("written", [False, True])
def test_the_policy_of_bos(written):
    tokenizer = byte_tokenizer(bos=written)
    a = tokenizer.convert_tokens_to_ids("a")
    for bos, starts in {"tokenizer": [written, True], "always": [True, True], "never": [False, False]}.items():
        assert prompt_token_ids(tokenizer, ["a", "<s>a"], bos) == [[0] * start + [a] for start in starts]
    without = byte_tokenizer.__wrapped__(bos=False)
    without.bos_token = None
    assert prompt_token_ids(without, ["a"], "never") == prompt_token_ids(without, ["a"]) == [[a]]
    with pytest.raises(UserError, match="bos is 'always', but the tokenizer has no BOS"):
        prompt_token_ids(without, ["a"], "always")


def test_scores_follow_the_policy_of_bos():
    model, ways = tiny_model("llama"), ("tokenizer", "always", "never")
    scores = [LabelScorer(model, byte_tokenizer(), ["x"], bos=bos)(["ab"]).log_likelihoods for bos in ways]
    assert scores[0] == scores[1] != scores[2]
    misread = [as_published(model, byte_tokenizer(), ["ab"], ["x"], bos) for bos in ways]
    assert misread[0] == misread[1] != misread[2]


def test_settings_saved_with_a_tokenizer_change_nothing():
    tokenizer = byte_tokenizer()
    rows = prompt_token_ids(tokenizer, ["abc", "a"])
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    assert prompt_token_ids(tokenizer, ["abc", "a"]) == rows == [*prompt_token_ids(tokenizer, ["abc"]), rows[1]]


def test_audit_of_labels_that_are_fine():
    report = audit_labels(byte_tokenizer(), ["Topic:", "주제:"], ["World", "긍정"])
    assert (report.errors, report.notices, report.bos, report.prompts) == ((), (), (1, 1), 2)
    assert [(label.characters, label.bytes, len(label.token_ids)) for label in report.labels] == [(5, 5, 5), (2, 6, 6)]
    assert "'World': W o r l d (5 tokens, 5 characters, 5 bytes)" in str(report)


def test_audit_finds_a_merge_over_the_boundary():
    report = audit_labels(byte_tokenizer(merges=((":", "a"),)), ["Topic:", "Topic?"], ["a", "b"])
    assert [label.joined_differs for label in report.labels] == [1, 0]
    assert report.notices == ("label 'a' is split differently when it is tokenised with the prompt (e.g. 'Topic:')",)


def test_audit_finds_labels_that_cannot_be_told_apart():
    report = audit_labels(sentencepiece_like(), ["a"], ["x", "y", "a"])
    assert report.errors == ("labels 'x' and 'y' have the same tokens [2, 0]: their scores are always equal",)
    assert "label 'x' has tokens that the vocabulary does not know" in report.notices


def test_audit_says_that_one_label_begins_another():
    assert audit_labels(byte_tokenizer(), ["a"], ["ab", "a"]).notices == (
        "label 'a' begins label 'ab': its sum is never the lower one",
    )


@pytest.mark.parametrize("tokenizer", [sentencepiece_like(), byte_tokenizer(prefix_space=True)])
def test_audit_says_that_a_space_is_written_before_every_string(tokenizer):
    notices = audit_labels(tokenizer, ["b"], ["a"]).notices
    assert "the tokenizer puts a space before every string: a label 'x' is scored as ' x'" in notices
    assert any(notice.startswith("label 'a' is split differently") for notice in notices)


def test_audit_counts_bos():
    assert audit_labels(byte_tokenizer(bos=False), ["a"], ["b"]).bos == (0, 0)
    twice = audit_labels(byte_tokenizer(), ["<s>a", "a"], ["b"])
    assert twice.bos == (1, 2)
    assert twice.notices == ("prompts start with 1 to 2 BOS tokens, not with one ('<s>'): at most one is kept",)
    assert "none is scored" in audit_labels(byte_tokenizer(), ["<s>a"], ["b"], "never").notices[-1]
    none = audit_labels(byte_tokenizer(bos=False), ["a"], ["b"]).notices[0]
    assert "start with 0 BOS" in none
    assert "'always'" in none


def test_as_published_reads_late_and_backwards():
    model, tokenizer = tiny_model("llama"), byte_tokenizer()
    prompt, label = prompt_token_ids(tokenizer, ["abc"])[0], label_token_ids(tokenizer, ["xyz"])[0]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + label])).logits[0]
    # the rows after the first, second and third label token, with the last, second and first of them
    wanted = logits[4, label[2]] + logits[5, label[1]] + logits[6, label[0]]
    (got,) = as_published(model, tokenizer, ["abc"], ["xyz"])
    assert got.dtype == torch.float64
    assert float(got[0]) == pytest.approx(float(wanted), abs=1e-4)


def test_as_published_switches_dropout_off_and_checks_the_context():
    model, tokenizer = tiny_model.__wrapped__("gpt2"), byte_tokenizer()
    expected = as_published(model, tokenizer, ["abc"], ["xyz"])
    model.train()
    assert torch.equal(as_published(model, tokenizer, ["abc"], ["xyz"]), expected)
    assert model.training
    fits = "a" * (128 - 1 - 3)
    assert as_published(model, tokenizer, [fits], ["xyz"]).shape == (1, 1)
    with pytest.raises(UserError, match=r"prompt 1 \('aaaa.*126 tokens; with 3 .*context of 128"):
        as_published(model, tokenizer, ["a", fits + "a"], ["xyz"])


def test_a_label_is_scored_as_written():
    scores = label_log_likelihoods(tiny_model("llama"), byte_tokenizer(), ["abc"], ["x", " x"])
    assert scores[0, 0] != scores[0, 1]
