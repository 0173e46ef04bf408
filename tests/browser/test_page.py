"""What the pages share, in a browser: rows that are searched, filtered, sorted and saved; texts that stay texts."""

import csv

import pytest
from playwright.sync_api import expect

from textclf.evaluation.pages.page import write_page

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
TEXTS = [
    HOSTILE,
    "=1+1",
    "@SUM(A1)",
    "'=kept",
    "한국어 텍스트 ",
    "مرحبا بالعالم",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and ☕",
    'quoted "text", with a comma\nand a line',
    "\x07bell and \ufeffmark",
    "long " * 400,
]
SCRIPT = """
let table;
startPage(data => {
  table = new RowTable(document.getElementById("main"), {
    count: data.length,
    columns: [
      { title: "number", value: row => row, numeric: true },
      { title: "text", value: row => data[row], show: (row, query) => shownText(data[row], query), kind: "text" },
    ],
    texts: row => [data[row]],
    filters: [{ name: "parity", title: "Parity", choices: [["0", "even"], ["1", "odd"]],
                keep: (row, value) => row % 2 === Number(value) }],
    csv: { file: "rows.csv", columns: [{ title: "text", value: row => data[row] }] },
  });
});
"""


@pytest.fixture
def page(tmp_path, open_page):
    script = tmp_path / "rows.js"
    script.write_text(SCRIPT, encoding="utf-8")

    def opened(texts=TEXTS, **options):
        write_page(tmp_path / "page.html", "page.html", texts, scripts=[str(script)], title=HOSTILE)
        return open_page(tmp_path / "page.html", **options)

    return opened


def shown_numbers(page):
    return [int(number) for number in page.locator("tbody td:first-child").all_inner_texts()]


def test_texts_stay_texts(page):
    shown = page()
    cells = shown.locator("tbody td.text").all_inner_texts()
    assert cells[0] == HOSTILE
    assert cells[4] == "한국어 텍스트·"  # the space at the end is seen
    assert cells[8] == "U+0007bell and U+FEFFmark"
    assert shown.locator("img").count() == 0
    assert shown.title() == HOSTILE


def test_a_long_text_is_shown_on_request(page):
    shown = page()
    cell = shown.locator("tbody td.text").last
    assert len(cell.inner_text()) < 700
    cell.get_by_role("button").click()
    assert cell.inner_text().count("long") == 400


def test_search_filter_and_sorting(page):
    shown = page([f"word{number} Text" for number in range(120)])
    assert shown.get_by_role("status").inner_text() == "120 of 120 rows"
    assert shown_numbers(shown) == list(range(50))
    shown.get_by_role("button", name="Next").click()
    assert shown_numbers(shown) == list(range(50, 100))
    shown.get_by_label("Search").fill("WORD11")
    expect(shown.get_by_role("status")).to_have_text("11 of 120 rows")
    assert shown_numbers(shown) == [11, *range(110, 120)]
    assert shown.locator("mark").first.inner_text() == "word11"
    shown.get_by_label("Parity").select_option("odd")
    assert shown_numbers(shown) == [11, 111, 113, 115, 117, 119]
    shown.get_by_role("button", name="number").click()
    assert shown_numbers(shown) == [119, 117, 115, 113, 111, 11]
    assert shown.locator("th").first.get_attribute("aria-sort") == "descending"
    shown.get_by_role("button", name="Clear filters").click()
    assert shown.get_by_role("status").inner_text() == "120 of 120 rows"


def test_a_spreadsheet_finds_no_formula_in_the_file(page, tmp_path):
    shown = page()
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Download 10 rows as CSV").click()
    download.value.save_as(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", encoding="utf-8-sig", newline="") as file:
        cells = [line["text"] for line in csv.DictReader(file)]
    assert cells[1:4] == ["'=1+1", "'@SUM(A1)", "''=kept"]
    assert [cell for index, cell in enumerate(cells) if index not in (1, 2, 3)] == [
        text for index, text in enumerate(TEXTS) if index not in (1, 2, 3)
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(page, accessibility_faults, theme):
    assert accessibility_faults(page(theme=theme)) == {}


def test_the_theme_can_be_changed(page):
    shown = page()
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(paper)
    shown.get_by_role("button", name="Dark theme").press("Enter")
    assert shown.evaluate(paper) != light
    shown.get_by_role("button", name="Light theme").press("Enter")
    assert shown.evaluate(paper) == light
