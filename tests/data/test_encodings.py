import codecs
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.data import encodings
from textclf.data.encodings import text_encoding
from textclf.errors import UserError

TEXTS = {
    "ko": ["배우들 연기가 참 좋았다", "짱", "ㅋㅋㅋ 돈이 아깝다…", "끝까지 지루했다", "또 보고 싶은 영화 ♥", "뷁"],
    "en": ["a joy to watch", "dull and far too long", "its second half is great"],
    "fr": ["C'est très bien joué, même à la fin", "Le début était déjà ennuyeux", "Où est passé le scénario, hélas"],
    "de": [
        "Ein schöner Film für die ganze Familie",
        "Größtenteils überflüssig und öde",
        "Ich würde ihn wieder ansehen",
    ],
    "ru": ["Очень хороший фильм, советую всем", "Скучно и слишком долго", "Актёры играют прекрасно"],
    "ja": ["とても面白い映画でした", "途中で眠くなってしまった", "俳優の演技が素晴らしい", "もう一度見たいと思います"],
    "zh": ["这部电影非常好看，演员很出色", "剧情太长了，我差点睡着", "结尾让人感动，值得再看一遍"],
}
SUPERSETS = {"latin_1": "cp1252", "shift_jis": "cp932"}  # which are detected instead


def lines(language, rows):
    texts = TEXTS[language]
    return "text,label\r\n" + "".join(f"{texts[i % len(texts)]},{i % 2}\r\n" for i in range(rows))


def put(tmp_path, content, name="rows.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def text_of(path):
    return path.read_bytes().decode(text_encoding(path))


@pytest.mark.parametrize("rows", [2, 20, 2000])
@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        ("ko", "cp949"),
        ("fr", "cp1252"),
        ("fr", "latin_1"),
        ("de", "cp1252"),
        ("ru", "cp1251"),
        ("zh", "gb18030"),
        ("ko", "utf-16"),
        ("ko", "utf-16-le"),
        ("ko", "utf-16-be"),
        ("en", "utf-16-le"),
        ("ko", "utf-32"),
    ],
)
def test_encodings_other_than_utf8_are_detected_and_reported(tmp_path, capsys, language, encoding, rows):
    check_detected(tmp_path, capsys, language, encoding, rows)


@pytest.mark.parametrize("rows", [20, 2000])
@pytest.mark.parametrize("encoding", ["shift_jis", "euc_jp"])
def test_japanese_is_detected_from_several_lines(tmp_path, capsys, encoding, rows):
    check_detected(tmp_path, capsys, "ja", encoding, rows)


def check_detected(tmp_path, capsys, language, encoding, rows):
    path = put(tmp_path, lines(language, rows).encode(encoding))
    assert text_of(path) == lines(language, rows)
    assert text_encoding(path) == SUPERSETS.get(encoding, encoding)
    said = f"rows.csv': detected encoding {SUPERSETS.get(encoding, encoding)}; if the texts look wrong,"
    assert capsys.readouterr().err.count(said) == 1


@pytest.mark.parametrize("language", ["ko", "en", "fr", "zh"])
def test_utf8_needs_no_word(tmp_path, capsys, language):
    content = lines(language, 20).encode()
    assert text_encoding(put(tmp_path, content)) == "utf-8"
    assert text_encoding(put(tmp_path, codecs.BOM_UTF8 + content, "marked.csv")) == "utf-8-sig"
    assert text_encoding(put(tmp_path, b"", "empty.csv")) == "utf-8"
    assert capsys.readouterr().err == ""


def test_what_is_cut_between_two_blocks_is_no_mistake(tmp_path):
    content = ("a" + "가" * 400_000 + "\n").encode()  # a block ends within one of them
    assert text_encoding(put(tmp_path, content)) == "utf-8"


def test_the_encoding_of_a_changed_file_is_detected_again(tmp_path):
    path = put(tmp_path, lines("ko", 5).encode("cp949"))
    assert text_encoding(path) == "cp949"
    path.write_bytes(lines("ko", 5).encode())
    assert text_encoding(path) == "utf-8"


def test_rare_syllables_and_signs_do_not_make_korean_something_else(tmp_path):
    text = "text\nㅋㅋㅋㅋㅋㅋ ㅠㅠ 뭐냐 이건…\n똠방각하 봤다 ★★★\n大박 영화\n"
    assert text_of(put(tmp_path, text.encode("cp949"))) == text


@pytest.mark.parametrize("rows", [10, 3000])
@pytest.mark.parametrize("place", [0, 4, -1])
@pytest.mark.parametrize(
    ("most", "language", "other", "off"),
    [
        ("utf-8", "ko", "cp949", "조금 길지만 볼 만하다"),
        ("cp949", "ko", "utf-8", "조금 길지만 볼 만하다"),
        ("cp949", "ko", "utf-8", "재미"),  # whose bytes are cp949 as well
        ("utf-8", "fr", "cp1252", "Vraiment très drôle"),
        ("cp1252", "fr", "utf-8", "drôle"),
        ("gb18030", "zh", "utf-8", "很好看的"),
        ("utf-8-sig", "ko", "cp949", "조금 길지만 볼 만하다"),
    ],
)
def test_one_line_in_another_encoding_is_named(tmp_path, most, language, other, off, place, rows):
    encoded = [line.encode(most.removesuffix("-sig")) for line in lines(language, rows).splitlines(keepends=True)]
    place = place % rows + 1  # after the header
    encoded[place] = f"{off},1\r\n".encode(other)
    mark = codecs.BOM_UTF8 if most == "utf-8-sig" else b""
    with pytest.raises(UserError, match=rf"rows.csv' .* line {place + 1} is not\b") as raised:
        text_encoding(put(tmp_path, mark + b"".join(encoded)))
    assert str(raised.value).endswith("write all of it in UTF-8")
    assert "\n" not in str(raised.value)


def test_halves_in_two_encodings(tmp_path):
    korean = lines("ko", 60)
    content = korean.encode("cp949") + korean.encode()
    with pytest.raises(UserError, match=r"mixes encodings: line \d+ is not "):
        text_encoding(put(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\n" + bytes(range(128, 256)) * 8, "is not UTF-8 in line 2, and its encoding cannot be detected"),
        (b"text\n" + lines("ko", 9).encode("cp949") + b"\xff\xff\n", "line 12 is not cp949, as most lines are"),
        (lines("ko", 9).encode("utf-16")[:-1], "starts as utf-16, but line 10 is not valid utf-16"),
        (lines("ko", 9).encode("utf-16-le") + lines("ko", 9).encode("cp949"), "starts as utf-16-le, but line"),
    ],
)
def test_what_cannot_be_detected(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as raised:
        text_encoding(put(tmp_path, content))
    assert "UTF-8" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["a warm film \ud83d\nb", "정말 좋은 영화\n\ud83d 나쁜 영화"])
def test_half_a_character_in_utf8(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    line = 1 + text.partition("\ud83d")[0].count("\n")
    with pytest.raises(UserError, match=f"a.csv' is UTF-8, but line {line} has half of a character"):
        text_encoding(path)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 1 << 14)
    peaks = []
    for rows in (3_000, 30_000):
        path = put(tmp_path, lines("ko", rows).encode("cp949"), f"{rows}.csv")
        tracemalloc.start()
        text_encoding(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 500_000
    assert peaks[1] < peaks[0] + 100_000


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20))
def test_any_text_in_utf8_is_utf8(tmp_path_factory, texts):
    content = "text,label\n" + "\n".join(texts).replace("\0", "")
    path = put(tmp_path_factory.mktemp("any"), content.encode())
    assert path.read_bytes().decode(text_encoding(path)) == content
