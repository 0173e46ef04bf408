"""The page of a comparison in a browser."""

import csv
import json

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.evaluation.run_folders import invented_labels, write_run
from textclf.evaluation.comparison import compare_methods
from textclf.evaluation.pages.comparison_page import write_comparison_page
from textclf.evaluation.run_records import find_runs

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
TEXTS = [HOSTILE, "=1+1", "끝에 빈칸 ", "مرحبا بالعالم 😀"]
NAMES = ("부정", "neutral", "<b>긍정</b>")
ROWS = 120


def written(folder, data_sets=1, methods=3, **options):
    """A page of invented runs; gives its path and what was compared."""
    texts = [TEXTS[row] if row < len(TEXTS) else f"text number {row}" for row in range(ROWS)]
    for number in range(data_sets):
        for place in range(methods):
            run = folder / f"d{number}m{place}"
            accuracy = 0.5 + 0.4 * place / methods
            table = {"rows": ROWS, "texts": texts, "names": NAMES, "accuracy": accuracy, "seed": place, **options}
            facts = {"device": "cpu", "peak_memory_mib": 100.0 + place, "command": "fit --config <b>.yaml"}
            speed = {"examples_per_second": 10.0 ** (place + 1)}
            write_run(run, f"Method{place} {HOSTILE}", data=f"데이터 {number}", facts=facts, metrics=speed, **table)
    values, compared = compare_methods(find_runs([str(folder / "d*")]))
    write_comparison_page(folder / "comparison.html", values, compared)
    return folder / "comparison.html", compared


@pytest.fixture
def page(tmp_path, open_page):
    def opened(theme="light", width=1280, **options):
        path, compared = written(tmp_path, **options)
        return open_page(path, theme=theme, width=width), compared

    return opened


def table_of(page, number=0):
    return page.locator(".row-table").nth(number)


def count_of(page, number=0):
    return table_of(page, number).get_by_role("status")


def right_rows(methods):
    labels = methods[0].runs[0].table.labels
    return [method.answers.predictions[0] == labels for method in methods]


def test_a_cell_of_the_agreement_opens_the_rows_that_one_gets_right_and_the_other_wrong(page):
    shown, compared = page()
    first, second, _ = right_rows(compared["데이터 0"])
    expected = int((first & ~second).sum())
    line = shown.get_by_role("region", name="that the method of the line").locator("tbody tr").first
    assert line.get_by_role("button").first.inner_text() == str(expected)
    line.get_by_role("button").first.press("Enter")
    expect(count_of(shown)).to_have_text(f"{expected} of {ROWS} rows")
    answers = [row.locator("td").all_inner_texts()[3:5] for row in table_of(shown).locator("tbody tr").all()]
    assert len(answers) == min(expected, 50)
    assert all(one.startswith("✓") and other.startswith("✗") for one, other in answers)


FILTERS = {
    "wrong": lambda right: ~right.any(axis=0),
    "right": lambda right: right.all(axis=0),
    "mixed": lambda right: right.any(axis=0) & ~right.all(axis=0),
}


def test_filters_and_search(page):
    shown, compared = page()
    right = np.stack(right_rows(compared["데이터 0"]))
    table = table_of(shown)
    for value, rows in FILTERS.items():
        table.get_by_label("Answers").select_option(value)
        expect(count_of(shown)).to_have_text(f"{int(rows(right).sum())} of {ROWS} rows")
    table.get_by_role("button", name="Clear filters").click()
    table.get_by_label("Label", exact=True).select_option(label=NAMES[2])
    expected = int((invented_labels(ROWS) == 2).sum())
    expect(count_of(shown)).to_have_text(f"{expected} of {ROWS} rows")
    table.get_by_role("button", name="Clear filters").click()
    table.get_by_label("Search").fill("NUMBER 11")
    expect(count_of(shown)).to_have_text(f"11 of {ROWS} rows")
    table.get_by_label("Wrong").select_option("0")
    expected = int((~right[0])[[11, *range(110, 120)]].sum())
    expect(count_of(shown)).to_have_text(f"{expected} of {ROWS} rows")


def test_the_rows_that_all_methods_miss(page):
    shown, compared = page()
    missed = int((~np.stack(right_rows(compared["데이터 0"]))).all(axis=0).sum())
    shown.get_by_text("Rows that all methods miss").get_by_role("button").click()
    expect(count_of(shown)).to_have_text(f"{missed} of {ROWS} rows")


def test_the_leaderboard_can_be_sorted(page):
    shown, _ = page()
    board = shown.get_by_role("region", name="Leaderboard")
    places = board.locator("tbody td:first-child")
    assert places.all_inner_texts() == ["1", "2", "3"]
    board.get_by_role("button", name="accuracy %").press("Enter")
    assert places.all_inner_texts() == ["1", "2", "3"]
    board.get_by_role("button", name="accuracy %").press("Enter")
    assert places.all_inner_texts() == ["3", "2", "1"]


def test_texts_and_names_stay_texts(page):
    shown, _ = page()
    texts = table_of(shown).locator("tbody td.text").all_inner_texts()
    assert texts[:3] == [HOSTILE, "=1+1", "끝에 빈칸·"]
    assert shown.locator("img").count() == 0
    assert shown.locator("b").count() == 0


def test_the_answers_are_saved(page, tmp_path):
    shown, compared = page()
    with shown.expect_download() as download:
        table_of(shown).get_by_role("button", name="as CSV").click()
    download.value.save_as(tmp_path / "answers.csv")
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    methods = compared["데이터 0"]
    assert list(lines[0]) == ["id", "text", "label", *(method.name for method in methods)]
    assert lines[0]["text"] == HOSTILE
    assert lines[1]["text"] == "'=1+1"
    for method in methods:
        assert [line[method.name] for line in lines] == [NAMES[answer] for answer in method.answers.predictions[0]]


def test_each_data_set_has_its_own_rows(page):
    shown, _ = page(data_sets=2)
    assert shown.locator("#ranks").get_by_role("region").count() == 1
    buttons = shown.get_by_text("Rows that all methods miss").get_by_role("button")
    buttons.nth(1).click()
    expect(count_of(shown, 1)).not_to_have_text(f"{ROWS} of {ROWS} rows")
    assert count_of(shown, 0).inner_text() == f"{ROWS} of {ROWS} rows"
    assert json.loads(buttons.nth(1).get_attribute("data-open"))["data"] == 1


def test_the_keyboard_reaches_all(page):
    shown, _ = page()
    names = set()
    for _ in range(150):
        shown.keyboard.press("Tab")
        name = shown.evaluate("document.activeElement.textContent.trim() || document.activeElement.type")
        names.add(name)
    wanted = {"Dark theme", "accuracy %", "Commands and run folders", "search", "Clear filters", "Next"}
    assert wanted <= names


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("dark", 400)])
@pytest.mark.parametrize("methods", [2, pytest.param(9, marks=pytest.mark.exhaustive)])
def test_it_is_accessible(page, accessibility_faults, theme, width, methods):
    shown, _ = page(theme=theme, width=width, methods=methods)
    shown.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert accessibility_faults(shown) == {}
    assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
