"""Odd characters and markup: each is found where it was planted, with the step that mends it."""

import unicodedata

import pytest

from tests.findings.splits import invented_texts, places_in, split_of
from textclf.data import cleaning
from textclf.findings.characters import ODDITIES, find_mojibake, find_odd_characters

PLANTED = (
    # what is put into a text, the name of what is found
    ("\ufeffthe", "byte-order marks"),
    ("fine\x96print", "control characters"),
    ("bell\x07", "control characters"),
    ("half \ufffd", "replacement characters (U+FFFD)"),
    ("cafÃ©", "mojibake"),
    ("itâ€™s", "mojibake"),
    ("ì•ˆë…•í•˜ì„¸ìš”", "mojibake"),
    ("¾È³çÇÏ¼¼¿ä", "mojibake"),
    ("ðŸ˜€", "mojibake"),
    (unicodedata.normalize("NFD", "한국어"), "characters that are not composed (NFC)"),
    (unicodedata.normalize("NFD", "café"), "characters that are not composed (NFC)"),
    ("zero\u200bwidth", "invisible characters"),
    ("soft\u00adhyphen", "invisible characters"),
    ("\u202eturned", "invisible characters"),
    ("\ue000", "characters of private use"),
    ("no\u00a0break", "rare white space"),
    ("a\ttab", "rare white space"),
    ("wide\u3000space", "rare white space"),
    ("two  spaces", "several spaces in a row"),
    ("Q&amp;A", "HTML entities or tags"),
    ("a #39;quote", "HTML entities or tags"),
    ("a <br /> break", "HTML entities or tags"),
    ("<script>alert(1)</script>", "other tags"),
    ("<!-- hidden -->", "other tags"),
    ("new\\nline", "backslashes"),
)


@pytest.mark.parametrize(("planted", "name"), PLANTED)
def test_planted_oddity_is_found(planted, name):
    texts = invented_texts(120, seed=len(planted))
    places = places_in(120, 4, seed=ord(planted[0]))
    for place in places:
        texts[place] = f"{texts[place]} {planted} end"
    (found,) = find_odd_characters(split_of(texts))
    assert name in found.detail
    assert found.count == 4
    assert found.rows == tuple(f"train-{place}" for place in places)
    assert [group[0].text for group in found.examples] == [texts[place] for place in places]
    assert all(group[0].note for group in found.examples)


@pytest.mark.parametrize("text", [" before", "after ", "after\n", "\u00a0before"])
def test_white_space_at_the_ends(text):
    found = find_odd_characters(split_of(["clean", text]))
    ends = [one for one in found if "white space at the ends" in one.detail]
    assert [one.rows for one in ends] == [("train-1",)]
    assert ends[0].detail.startswith("1 of 2 texts (50.0%) has white space at the ends. ")
    assert ends[0].remedy == "StripWhitespace"


CLEAN = (
    "안녕하세요, 영화가 정말 재미있었어요!! ㅋㅋㅋ ^^ 100%",
    "Größe und Straße, naïve café à la carte, « français », ¿qué? ¡sí! CAFÉ»",
    "à\u00a0»".replace("\u00a0", " ") + " fin; 3 × 4 ÷ 2 ± 1 °C ···· §§§§",
    "مرحبا بالعالم", "שלום עולם", "日本語の文章です。", "我喜欢这部电影", "Привет, мир", "Γειά σου Κόσμε",
    "family 👨‍👩‍👧‍👦 and flag 🇰🇷 and ❤️",
    "می‌خواهم",  # a joiner within a Persian word
    "AT&T and R&D, a < b > c, Dell Inc. <DELL.O>, C:/folder, x <- y; e.g. #1; #2",
    "one line\nand another one\r\nand a third",
)  # fmt: skip


@pytest.mark.parametrize("text", CLEAN)
def test_clean_texts_have_no_oddities(text):
    assert [(one.detail, one.examples[0][0].note) for one in find_odd_characters(split_of([text]))] == []


def test_lone_surrogate():
    (oddity,) = [oddity for oddity in ODDITIES if oddity.name == "lone surrogates"]
    assert oddity.found("half \ud83d") == (5, 6)


@pytest.mark.parametrize(("text", "encoding"), [("naïve", "utf-8"), ("안녕", "utf-8"), ("정말 좋아요", "euc-kr")])
def test_mojibake_of_latin_1(text, encoding):
    assert find_mojibake(text) is None
    assert find_mojibake(text.encode(encoding).decode("latin-1")) is not None


def test_remedies_mend_what_they_are_named_for():
    for planted, name in PLANTED:
        (oddity,) = [oddity for oddity in ODDITIES if oddity.name == name]
        if oddity.remedy is not None:
            step = getattr(cleaning, oddity.remedy)()
            assert oddity.found(step.clean(f"some {planted} text")) is None


def test_both_texts_of_a_pair_are_looked_at():
    split = split_of(["clean", "odd\ufffd"], pairs=["odd\ufffd", "odd\ufffd"])
    (found,) = find_odd_characters(split)
    assert found.count == 2
    assert found.rows == ("train-0", "train-1")
