"""What the pages share: one file, everything escaped, nothing loaded."""

import base64
import gzip
import hashlib
import json
import re

import pytest

from textclf.evaluation.pages.page import packed, write_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def unpacked(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("text", ["한국어 ☕ \U0001f600", "lone \ud83d surrogate", HOSTILE, "\x00\x1f\u2028", ""])
def test_data_is_packed_and_unpacked(text):
    assert unpacked(packed({"text": text})) == {"text": text}


def test_packed_data_has_no_nan():
    with pytest.raises(ValueError):
        packed([float("nan")])


def test_a_page_is_one_file_in_which_nothing_is_markup(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page(path, "page.html", {"rows": [HOSTILE]}, title=f"{HOSTILE} \ud83d")
    page = path.read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("<script") == 2  # the data and the script of the page
    assert re.findall(r"<(?:link|img|script|iframe|a)\b[^>]*(?:src|href)=.(.)", page) == [
        "d",
        "#",
    ]  # data:, and a place
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_policy_allows_the_script_of_the_page_alone(tmp_path):
    write_page(tmp_path / "page.html", "page.html", None, title="t")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    policy = page.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert policy.startswith("default-src 'none'")
    for name in ("style", "script"):
        contents = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert len(contents) == 1
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
