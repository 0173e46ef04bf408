"""The page of a report in a browser."""

import csv

import pytest
from datasets import Dataset
from playwright.sync_api import expect

from tests.evaluation.invented_report import HOSTILE, TEXTS, report_folder, write_cartography
from textclf.data.relabelling import Relabels
from textclf.evaluation.pages.report_page import write_report_page
from textclf.evaluation.prediction_table import read_predictions

pytestmark = pytest.mark.slow

WEIGHTS = {"kind": "n-grams", "classes": {"class 0": [["best ", 2.0], [HOSTILE, -1.0]], "분류 1": [["최악", 1.5]]}}
ATTRIBUTIONS = {"0": {"id": "0", "prediction": "class 0", "tokens": ["</script>", "<img>"], "weights": [0.5, -1.0]}}


@pytest.fixture
def page(tmp_path, open_page):
    def opened(theme="light", width=1280, **options):
        folder = report_folder(tmp_path, **options)
        return open_page(write_report_page(folder), theme=theme, width=width)

    return opened


def count_of(page):
    return page.locator("#row-table [role=status]")


def shown_pairs(page):
    rows = page.locator("#row-table tbody tr")
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    return [(line[2], line[3].split(" ", 1)[1]) for line in cells]


def test_a_cell_of_the_matrix_opens_its_rows(page, tmp_path):
    shown = page()
    table = read_predictions(tmp_path / "predictions.parquet")
    expected = int(((table.labels == 0) & (table.predictions == 1)).sum())
    cell = shown.locator("#matrix tbody tr").nth(0).locator("td").nth(1)
    assert cell.inner_text() == str(expected)
    cell.get_by_role("button").click()
    expect(count_of(shown)).to_have_text(f"{expected} of 200 rows")
    assert set(shown_pairs(shown)) == {("class 0", "분류 1")}


def test_the_arrow_keys_move_in_the_matrix(page):
    shown = page()
    first = shown.locator("#matrix button").first
    first.focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowDown")
    focused = shown.evaluate("document.activeElement.title")
    assert focused.startswith("true 분류 1, predicted 분류 1")
    shown.keyboard.press("Enter")
    assert set(shown_pairs(shown)) == {("분류 1", "분류 1")}


def test_lists_classes_and_groups_open_their_rows(page):
    shown = page(rows=300, columns={"author": [f"작가 {row % 2}" for row in range(300)]})
    shown.get_by_role("button", name="most confident mistakes").click()
    expect(count_of(shown)).to_have_text("50 of 300 rows")
    assert all(label != prediction for label, prediction in shown_pairs(shown))
    confidences = [float(text) for text in shown.locator("#row-table td.number summary").all_inner_texts()]
    assert confidences == sorted(confidences, reverse=True)
    shown.locator("#groups").get_by_role("button", name="작가 1").click()
    expect(count_of(shown)).to_have_text("150 of 300 rows")
    mistakes = shown.locator("#classes tbody tr").first.get_by_role("button").nth(1)
    number = mistakes.inner_text()
    mistakes.click()
    expect(count_of(shown)).to_have_text(f"{number} of 300 rows")
    lengths = shown.locator("#groups tbody").first.locator("tr")
    number = lengths.first.locator("td").nth(1).inner_text()
    lengths.first.get_by_role("button").click()
    expect(count_of(shown)).to_have_text(f"{number} of 300 rows")


def test_groups_of_any_column_open_their_rows(page):
    columns = {
        "year": [2000.0 + row % 3 if row % 7 else None for row in range(200)],
        "post": [2**60 + row % 3 for row in range(200)],
        "rate": [1e-5 * (row % 3) for row in range(200)],
        "score": [row / 7 if row % 9 else None for row in range(200)],
        "flag": [row % 2 == 0 for row in range(200)],
        '"<b>,': ["" if row % 2 else None for row in range(200)],
    }
    shown = page(columns=columns)
    for line in shown.locator("#groups tbody tr").all():
        rows = line.locator("td").nth(1).inner_text()
        line.get_by_role("button").click()
        assert count_of(shown).inner_text() == f"{rows} of 200 rows", line.inner_text()


def test_the_classes_with_most_mistakes_come_first_and_can_be_sorted(page):
    shown = page(classes=5)
    column = shown.locator("#classes tbody tr td:nth-child(3)")
    mistakes = [int(text) for text in column.all_inner_texts()]
    assert mistakes == sorted(mistakes, reverse=True)
    shown.locator("#classes").get_by_role("button", name="mistakes").click()
    shown.locator("#classes").get_by_role("button", name="mistakes").click()
    assert [int(text) for text in column.all_inner_texts()] == sorted(mistakes)


def saved_rows(shown, path, name):
    with shown.expect_download() as download:
        shown.get_by_role("button", name=name).click()
    download.value.save_as(path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("pairs", [False, True])
def test_rows_are_saved_with_the_chosen_labels(page, tmp_path, pairs):
    shown = page(pairs=pairs, invalid=2)
    shown.get_by_label("new label of row 1", exact=True).focus()
    shown.get_by_label("new label of row 1", exact=True).select_option("class 2")
    rows = saved_rows(shown, tmp_path / "relabel.csv", "Download 200 rows as CSV")
    second = ["text_pair"] if pairs else []
    assert list(rows[0]) == ["id", "text", *second, "label", "prediction", "relabel"]
    assert [row["relabel"] for row in rows] == ["", "class 2", *[""] * 198]
    assert [row["prediction"] for row in rows[:2]] == ["", ""]
    assert rows[0]["text"] == TEXTS[0]
    assert rows[1]["text"] == "'=HYPERLINK(1)"
    shown.get_by_label("Relabel", exact=True).select_option("yes")
    expect(count_of(shown)).to_have_text("1 of 200 rows")
    shown.reload()
    expect(shown.get_by_label("new label of row 1", exact=True)).to_have_value("class 2")


def test_saved_labels_are_read_back(page, tmp_path):
    shown = page()
    for row in range(8):
        shown.get_by_label(f"new label of row {row}", exact=True).focus()
        shown.get_by_label(f"new label of row {row}", exact=True).select_option("분류 1")
    saved_rows(shown, tmp_path / "relabel.csv", "Download 200 rows as CSV")
    table = read_predictions(tmp_path / "predictions.parquet")
    relabels = Relabels(str(tmp_path / "relabel.csv"), table.label_names)
    classes = relabels.classes(Dataset.from_dict({"id": table.ids, "text": table.texts}))
    relabels.check_all_found()
    assert classes.tolist() == [1] * 8 + [-1] * 192


def test_texts_stay_texts(page, tmp_path):
    write_cartography(tmp_path)
    shown = page(names=("a", HOSTILE, "c"), weights=WEIGHTS, attributions=ATTRIBUTIONS)
    texts = shown.locator("#row-table td.text").all_inner_texts()
    assert texts[0].startswith(HOSTILE)
    assert texts[2] == "끝에 빈칸이 있는 글·"
    assert texts[5] == "U+0007bell"
    shown.locator("#row-table summary", has_text="why").click()
    assert shown.locator(".token").all_inner_texts() == ["</script>", "<img>"]
    assert "best␣" in shown.locator("#weights").inner_text()
    assert shown.locator("#training tbody tr").count() >= 50
    assert shown.locator("img").count() == 0


def test_a_method_without_probabilities(page):
    shown = page(has_probabilities=False)
    assert shown.locator("#confidence").count() == 0
    assert "gives no probabilities" in shown.locator("#figures").inner_text()
    assert "confidence" not in shown.locator("#row-table thead").inner_text()
    shown.get_by_role("button", name="first mistakes").click()
    assert all(label != prediction for label, prediction in shown_pairs(shown))


@pytest.mark.parametrize(
    ("classes", "theme", "width"),
    [
        (2, "light", 1280),
        (6, "dark", 400),
        pytest.param(77, "dark", 1280, marks=pytest.mark.exhaustive),
        pytest.param(150, "light", 400, marks=pytest.mark.exhaustive),
    ],
)
def test_it_is_accessible(page, accessibility_faults, tmp_path, theme, width, classes):
    write_cartography(tmp_path)
    shown = page(theme=theme, width=width, classes=classes, weights=WEIGHTS, attributions=ATTRIBUTIONS)
    shown.locator("#matrix").scroll_into_view_if_needed()
    expect(shown.locator("#matrix table")).to_be_visible()
    assert accessibility_faults(shown) == {}
    assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_long_names_of_classes_are_wrapped(page):
    shown = page(names=("a", "x" * 300, "c"))
    widths = shown.locator("table.sortable td").evaluate_all("cells => cells.map(cell => cell.clientWidth)")
    assert max(widths) < 640


def test_the_keyboard_alone_reaches_everything(page):
    shown = page(rows=60)
    stops = "[...document.querySelectorAll('a, button, select, input, summary')]"
    wanted = shown.evaluate(
        f"{stops}.filter(each => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()).length"
    )
    reached = set()
    for _ in range(wanted + 40):  # regions that scroll are stops as well
        shown.keyboard.press("Tab")
        reached.add(shown.evaluate(f"{stops}.indexOf(document.activeElement)"))
    assert len(reached - {-1}) == wanted
