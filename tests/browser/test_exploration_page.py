"""The page of an exploration in a browser."""

import csv

import pytest

from tests.evaluation.invented_exploration import HOSTILE, exploration
from textclf.evaluation.pages.exploration_page import write_exploration_page
from textclf.findings.finding import KINDS, Exploration

pytestmark = pytest.mark.slow


@pytest.fixture
def page(tmp_path, open_page):
    def opened(found, **options):
        write_exploration_page(tmp_path / "exploration.html", found)
        return open_page(tmp_path / "exploration.html", **options)

    return opened


def test_examples_are_shown_as_text_when_they_are_opened(page):
    shown = page(exploration())
    first = shown.locator("details.examples").first
    assert first.locator(".group").count() == 0
    first.locator("summary").click()
    assert first.locator(".group").count() == 3
    texts = first.locator(".text").all_inner_texts()
    assert texts[:2] == [HOSTILE, "끝에 빈칸이 있는 글·"]
    assert texts[4:] == ["U+FEFFmark U+0007 U+D83D", "(empty)"]
    assert shown.locator("img").count() == 0


def test_all_findings_are_there_with_their_remedies(page):
    shown = page(exploration())
    articles = shown.locator("article").all_inner_texts()
    listed = shown.locator("#findings table").first.locator("tbody tr")
    cells = listed.nth(0).inner_text().split("\t")
    assert cells[:4] == ["Empty texts", "train", "1,234", "DropRepeats (in the recipe)"]
    assert cells[4].startswith("empty: 1,234 rows (5.0 %) </script>")
    assert listed.count() == len(KINDS)
    assert len(articles) == len(KINDS)
    assert "it has DropRepeats" in articles[0]
    assert "StripWhitespace mends it; the cleaning of this data set does not have it" in articles[1]
    assert "mends" not in articles[2]


def test_ids_are_saved(page, tmp_path):
    shown = page(exploration())
    ids = shown.locator("details.ids").first
    ids.locator("summary").click()
    with shown.expect_download() as download:
        ids.get_by_role("button").click()
    download.value.save_as(tmp_path / "ids.csv")
    with open(tmp_path / "ids.csv", encoding="utf-8-sig", newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == [str(row) for row in range(1000)]


def test_classes_are_sorted_by_their_share(page):
    shown = page(exploration())
    table = shown.locator("#classes table")
    table.get_by_role("button", name="train", exact=True).press("Enter")
    assert table.locator("tbody td:first-child").all_inner_texts() == ["class 2", "분류 1", "class 0"]


def test_a_data_set_without_findings(page):
    shown = page(Exploration("clean", ("a", "b"), {"train": {"a": 1, "b": 1}}, {"train": 2}))
    assert "Nothing was found." in shown.locator("#findings").inner_text()
    assert shown.locator("#lengths").count() == 0


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
@pytest.mark.parametrize("classes", [2, pytest.param(150, marks=pytest.mark.exhaustive)])
def test_it_is_accessible(page, accessibility_faults, theme, width, classes):
    shown = page(exploration(classes), theme=theme, width=width)
    shown.locator("details.examples summary").first.click()
    assert accessibility_faults(shown) == {}
    assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
