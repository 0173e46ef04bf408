"""All figures of a report: which there are, what they show, and that nothing is cut off."""

import itertools
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from textclf.evaluation.curves import calibration, rankings, risk_coverage
from textclf.evaluation.figures.report import draw_report
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.report import summarize

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("all_drawn")]

NAMES = ("부정 $5", "긍정 😀", "neutral & other")
ALWAYS = ["confusion_matrix", "lengths"]
OF_PROBABILITIES = ["reliability", "risk_coverage", "precision_recall", "roc"]
TITLE = ("한국어/아주 긴 폴더 이름/리뷰 " * 4, "Method ($x$)", "60 rows of test")


def made_table(names=NAMES, rows=60, invalid=0, has_probabilities=True, texts=None, pairs=False):
    draw = np.random.default_rng(rows)
    labels = draw.integers(len(names), size=rows)
    logits = draw.normal(size=(rows, len(names)))
    logits[np.arange(rows), labels] += 2
    log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    predictions = log_scores.argmax(axis=1)
    predictions[:invalid] = -1
    log_scores[:invalid] = np.nan
    if not has_probabilities:
        log_scores[:] = np.nan
    ids = [str(row) for row in range(rows)]
    texts = texts or ["가나 😀" * int(length) for length in draw.geometric(0.05, rows)]
    second = texts if pairs else None
    return PredictionTable(ids, texts, labels, predictions, log_scores, tuple(names), has_probabilities, second)


@pytest.fixture
def drawn(tmp_path, saved_figures):
    """Draws all figures of a table; gives them by name. A warning, such as one about a missing glyph, is an error."""

    def draw(table):
        settings = dict(matplotlib.rcParams)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            files = draw_report(table, tmp_path / "report", TITLE)
        assert dict(matplotlib.rcParams) == settings
        assert sorted(files) == sorted((tmp_path / "report").iterdir())
        assert all(imread(file).std() > 0 for file in files)
        return dict(zip([file.stem for file in files], saved_figures, strict=True))

    return draw


TABLES = {
    "pairs": ({"pairs": True}, ALWAYS + OF_PROBABILITIES),
    "some invalid": ({"invalid": 5}, ALWAYS + OF_PROBABILITIES),
    "all invalid": ({"invalid": 60}, ALWAYS + OF_PROBABILITIES),
    "no probabilities": ({"has_probabilities": False}, ALWAYS),
    "one row": ({"rows": 1}, [*ALWAYS, "reliability", "risk_coverage"]),
    "empty texts": ({"rows": 30, "texts": [""] * 30}, ALWAYS + OF_PROBABILITIES),
    "names of one letter": ({"names": ("a", "b")}, ALWAYS + OF_PROBABILITIES),
}


def visible_texts(figure):
    figure.draw_without_rendering()
    texts = [figure._suptitle]
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label]
        if axes.images:  # a matrix; the numbers of other axes may be outside of their limits
            texts += [*axes.get_xticklabels(), *axes.get_yticklabels()]
        if legend := axes.get_legend():
            texts += [legend.get_title(), *legend.get_texts()]
    return [text for text in texts if text.get_text().strip() and text.get_visible()]


QUICK = ("some invalid", "no probabilities", "one row")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TABLES]
)
def test_the_figures_that_a_table_has_and_nothing_is_cut_off(name, drawn):
    options, expected = TABLES[name]
    figures = drawn(made_table(**options))
    assert list(figures) == expected
    for stem, figure in figures.items():
        page = figure.get_window_extent()
        for text in visible_texts(figure):
            extent = text.get_window_extent()
            assert extent.x0 >= page.x0 - 1, (stem, text)
            assert extent.x1 <= page.x1 + 1, (stem, text)
            assert extent.y1 <= page.y1 + 1, (stem, text)


def legend_of(figure):
    return [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]


def test_the_numbers_in_the_figures_are_those_of_the_table(drawn):
    table = made_table(rows=200)
    figures = drawn(table)
    ece = summarize(table)["test/ece"]
    assert f"15 bins, 95 %; ECE {ece:.3f}" in legend_of(figures["reliability"])
    risk = risk_coverage(table)
    assert f"by confidence, area {risk.area:.3f}" in legend_of(figures["risk_coverage"])
    assert f"all rows, {1 - summarize(table)['test/accuracy']:.3f}" in legend_of(figures["risk_coverage"])
    for stem, area in (("precision_recall", "average_precision"), ("roc", "auroc")):
        shown = [text for text in legend_of(figures[stem]) if "rows" in text]
        for text, ranking, name in zip(shown, rankings(table), NAMES, strict=True):
            assert text.lstrip("\u200e") == f"{name} ({ranking.rows:,} rows): {getattr(ranking, area):.3f}"


@pytest.mark.slow
def test_the_reliability_diagram_has_a_point_for_each_bin_with_rows(drawn):
    table = made_table(rows=200)
    upper, lower = drawn(table)["reliability"].axes
    found = calibration(table)
    (line,) = [line for line in upper.lines if line.get_marker() == "o"]
    filled = found.rows > 0
    assert np.array(line.get_xdata()) == pytest.approx(found.confidence[filled])
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(200)


@pytest.mark.slow
def test_the_precision_recall_curve_has_the_area_that_it_states(drawn):
    table = made_table(rows=100)
    axes = drawn(table)["precision_recall"].axes[0]
    for line, ranking in zip(axes.lines, rankings(table), strict=True):
        assert line.get_drawstyle() == "steps-post"
        recall, precision = line.get_data()
        area = -np.sum(np.diff(recall) * precision[:-1])  # a step's height is that of its left end in the data
        assert area == pytest.approx(ranking.average_precision)


@pytest.mark.slow
def test_of_many_classes_those_with_the_smallest_areas_are_named(drawn):
    table = made_table(names=[f"의도 number {place}" for place in range(30)], rows=900)
    figures = drawn(table)
    worst = sorted(rankings(table), key=lambda ranking: ranking.auroc)[:7]
    shown = [text.lstrip("\u200e").split(" (")[0] for text in legend_of(figures["roc"])]
    assert shown == ["23 other classes", *(table.label_names[ranking.label] for ranking in worst), "chance"]
    assert len(figures["roc"].axes[0].lines) == 31


@pytest.mark.slow
def test_150_classes(drawn):
    table = made_table(names=[f"{place} 의도의 긴 이름 with words" for place in range(150)], rows=1500, invalid=3)
    matrix = drawn(table)["confusion_matrix"].axes[0]
    matrix.figure.draw_without_rendering()
    names = [text.get_window_extent() for text in matrix.get_yticklabels()][:150]  # then those on the right
    assert len({name.y0 for name in names}) == 150
    assert all(abs(one.y0 - other.y0) > one.height * 0.7 for one, other in itertools.pairwise(names))
