"""WordPiece tokenizers, trained on the rows at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from textclf.types import PreTrainedTokenizerBase

SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
MIN_COUNT = 2
"""Occurrences in the training texts below which a character or piece is left out."""


def train_wordpiece(
    batches: Callable[[], Iterator[Sequence[str]]], vocab_size: int, max_length: int, lowercase: bool = True
) -> PreTrainedTokenizerBase:
    """Trains a WordPiece tokenizer like BERT's; the same texts give the same tokenizer.

    Texts are composed first (NFC), and no accent is stripped, so that a Hangul syllable stays one character. The
    vocabulary consists of single characters, at most a quarter of it as first and another quarter as later letters of a
    word, and of the most frequent pieces merged from them. A word with any other character is unknown.

    Source: Wu et al., 2016, https://arxiv.org/abs/1609.08144.

    Args:
        batches: Returns an iterator over batches of the texts; called twice.
        vocab_size: Upper limit of the vocabulary's size.
        max_length: Maximum length of its encoder, in tokens.
        lowercase: Whether texts are converted to lower case.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)]
    )
    splitter = pre_tokenizers.BertPreTokenizer()
    letters = _letters(batches(), normalizer, splitter, vocab_size // 4)
    # The trainer numbers later letters in the order of a hash table that differs from run to run, and breaks ties
    # between equal counts by these numbers. Special tokens are numbered in the order in which they are given.
    later = [f"##{letter}" for letter in letters if len(splitter.pre_tokenize_str(f"a{letter}")) == 1]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizer
    learner.pre_tokenizer = splitter
    learner.train_from_iterator(
        batches(),
        trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=MIN_COUNT,
            special_tokens=[*SPECIAL.values(), *later],
            initial_alphabet=letters,
            limit_alphabet=len(letters),
            show_progress=False,
        ),
    )
    pieces = learner.get_vocab()
    tokenizer = Tokenizer(models.WordPiece(vocab=pieces, unk_token="[UNK]"))  # later letters are not special in it
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, pieces[mark]) for mark in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **SPECIAL,
    )


def _letters(batches: Iterator[Sequence[str]], normalizer: Any, splitter: Any, limit: int) -> list[str]:
    """The most frequent characters of words, most frequent first."""
    counts: Counter[str] = Counter()
    for batch in batches:
        counts.update(normalizer.normalize_str("\n".join(batch)))
    frequent = [(-count, letter) for letter, count in counts.items() if count >= MIN_COUNT]
    # White space is counted too, but is not part of any word.
    letters = [letter for _, letter in sorted(frequent) if splitter.pre_tokenize_str(letter)]
    return letters[:limit]
