import unicodedata

import pytest

from textclf.backbones.tokenizer_files import tokenizer_files, tokenizer_from_files
from textclf.backbones.wordpiece import train_wordpiece

TEXTS = ["영화가 재미있는 영화", "Café 영화를 봤다 ㅋㅋㅋ", "the Film, the film 영화는", "漢字 漢 문제 문제를"] * 5


def train(texts=TEXTS, vocab_size=400, lowercase=True):
    return train_wordpiece(lambda: iter([texts[:3], texts[3:]]), vocab_size, 16, lowercase)


def test_the_same_texts_give_the_same_tokenizer():
    assert len({tokenizer_files(train())["tokenizer.json"] for _ in range(5)}) == 1


def test_hangul_stays_whole_however_it_is_written():
    tokenizer = train()
    composed, decomposed = "재미있는 영화", unicodedata.normalize("NFD", "재미있는 영화")
    assert composed != decomposed
    assert tokenizer(decomposed)["input_ids"] == tokenizer(composed)["input_ids"]
    pieces = tokenizer.tokenize(decomposed)
    assert "".join(piece.removeprefix("##") for piece in pieces) == "재미있는영화"
    assert tokenizer.tokenize("ㅋㅋㅋ")[0].startswith("ㅋ")


def test_accents_are_kept_and_capitals_as_asked():
    assert train().tokenize("Café") == ["café"]
    assert train().unk_token in train().tokenize("cafè")
    assert train(lowercase=False).tokenize("Film")[0].startswith("F")
    assert train().tokenize("FILM") == ["film"]


def test_only_the_marks_are_special():
    tokenizer = train()
    assert sorted(tokenizer.all_special_tokens) == ["[CLS]", "[MASK]", "[PAD]", "[SEP]", "[UNK]"]
    assert tokenizer.pad_token_id == 0
    assert set(tokenizer.get_added_vocab()) == set(tokenizer.all_special_tokens)
    assert "##화" in tokenizer.get_vocab()
    assert tokenizer.tokenize("##화") != ["##화"]  # written in a text, it is no piece


def test_seldom_characters_are_unknown_and_the_size_is_kept():
    tokenizer = train([*TEXTS, "닭"])
    assert tokenizer.tokenize("닭") == ["[UNK]"]
    many = ["".join(chr(0xAC00 + 40 * i + j) for j in range(30)) for i in range(100)] * 2
    assert len(train(many, vocab_size=200)) <= 200


def test_it_survives_as_text():
    tokenizer = train()
    again = tokenizer_from_files(tokenizer_files(tokenizer))
    assert again(TEXTS, TEXTS[::-1], truncation=True) == tokenizer(TEXTS, TEXTS[::-1], truncation=True)
    assert again.model_max_length == 16
    assert set(again(["영화"], ["film"])["token_type_ids"][0]) == {0, 1}


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_no_texts(texts):
    assert train(texts).tokenize("영화") == ["[UNK]"]
