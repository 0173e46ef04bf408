"""WordPiece tokenizers, trained on the rows at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from textclf.types import PreTrainedTokenizerBase

SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
MIN_COUNT = 2  # a piece that was seen once is no help


def train_wordpiece(
    batches: Callable[[], Iterator[Sequence[str]]], vocab_size: int, max_length: int, lowercase: bool = True
) -> PreTrainedTokenizerBase:
    """Trains a WordPiece tokenizer in BERT's manner; the same texts give the same one.

    Texts are composed first (NFC), and no accent is stripped: a Hangul syllable stays one character. The pieces are
    single characters, at most a quarter of them as first and as many as later letters of a word, and what is most often
    merged from them. A word with a character that is none of them is unknown.

    Source: Wu et al., 2016, https://arxiv.org/abs/1609.08144.

    Args:
        batches: Gives the texts, a batch at a time; called twice.
        vocab_size: Most pieces.
        max_length: Tokens that its encoder can read.
        lowercase: Whether capital letters are read as small ones.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)]
    )
    splitter = pre_tokenizers.BertPreTokenizer()
    letters = _letters(batches(), normalizer, splitter, vocab_size // 4)
    # The trainer would number later letters in the order of a hash table that differs from run to run, and decide
    # between equal counts by those numbers. What is given as special is numbered as it comes.
    later = [f"##{letter}" for letter in letters if len(splitter.pre_tokenize_str(f"a{letter}")) == 1]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, splitter
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
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
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


def _letters(batches: Iterator[Sequence[str]], normalizer: Any, splitter: Any, most: int) -> list[str]:
    """The most frequent characters of words, most frequent first."""
    counts: Counter[str] = Counter()
    for batch in batches:
        counts.update(normalizer.normalize_str("\n".join(batch)))
    often = sorted((-count, letter) for letter, count in counts.items() if count >= MIN_COUNT)
    return [letter for _, letter in often if splitter.pre_tokenize_str(letter)][:most]
