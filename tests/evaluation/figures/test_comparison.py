"""The figures of a comparison."""

import warnings

import pytest
from matplotlib.image import imread

from tests.evaluation.invented_comparison import KOREAN, LONG, comparison
from textclf.evaluation.figures.comparison import draw_comparison, file_stems


@pytest.fixture
def drawn(tmp_path, saved_figures):
    """Draws a comparison; gives the figures by their files. A warning is an error."""

    def draw(values):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            files = draw_comparison(values, tmp_path / "figures")
        assert all(imread(file).std() > 0 for file in files)
        return dict(zip([file.name for file in files], saved_figures, strict=True))

    return draw


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "name"), [(2, KOREAN), (12, LONG)])
def test_each_method_is_in_both_and_no_name_is_cut_off(drawn, methods, name):
    figures = drawn(comparison(methods, name))
    assert list(figures) == ["Toy-intervals.png", "Toy-speed.png"]
    forest, speed = figures.values()
    names = forest.axes[0].get_yticklabels()
    assert [int(text.get_text().split()[0]) for text in names] == list(range(1, methods + 1))
    assert len([line for line in forest.axes[1].lines if line.get_marker() == "o"]) == methods - 1
    marks = [line for line in speed.axes[0].lines if line.get_marker() in ("o", "s")]
    assert len(marks) == min(methods, 5)
    legend = speed.axes[0].get_legend().get_texts()
    for figure, texts in ((forest, names), (speed, legend)):
        figure.draw_without_rendering()
        for text in (*texts, figure._suptitle):
            extent = text.get_window_extent()
            assert extent.x0 >= 0, text
            assert extent.x1 <= figure.get_window_extent().x1, text


def test_a_name_of_a_data_set_becomes_a_file_name(drawn):
    figures = drawn(comparison(2, data="KorSarcasm/Data (without StripWhitespace)"))
    assert next(iter(figures)) == "KorSarcasm-Data-without-StripWhitespace-intervals.png"


def test_file_names_are_short():
    (stem,) = file_stems([300 * "한"])
    assert len(stem.encode()) < 200  # file systems take 255 bytes, and more is added


def test_files_of_two_data_sets_have_different_names():
    assert file_stems(["A (b)", "A b", "a-B", "?"]) == ["A-b", "A-b-2", "a-B-3", "data"]


@pytest.mark.slow
@pytest.mark.parametrize("methods", [2, 7, 20])
def test_numbers_of_points_that_are_close_cover_nothing(drawn, methods):
    values = comparison(methods)
    for place, run in enumerate(values["data_sets"]["Toy"]["runs"]):
        run |= {"examples_per_second": (100.0, 101.0, 5000.0)[place % 3], "speed_note": None}
        run["metrics"]["accuracy"] = {"value": 0.9 - 0.005 * place, "low": 0.75, "high": 0.92}
    figure = drawn(values)["Toy-speed.png"]
    figure.draw_without_rendering()  # with its own resolution, not that of the file
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [str(number) for number in range(1, methods + 1)]
    for number, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [0, 6])
def test_the_mark_of_the_baseline_is_inside_the_axes(drawn, baseline):
    values = comparison(7)
    result = values["data_sets"]["Toy"]
    result["baseline"] = f"M{baseline}"
    for place, run in enumerate(result["runs"]):
        value = 0.02 * (baseline - place)
        run["difference"] = None if place == baseline else {"accuracy": {"value": value, "low": value, "high": value}}
    figure = drawn(values)["Toy-intervals.png"]
    figure.draw_without_rendering()
    axes = figure.axes[1]
    (mark,) = axes.texts
    extent = mark.get_window_extent()
    assert axes.bbox.x0 <= extent.x0 < extent.x1 <= axes.bbox.x1


def test_without_speeds_there_is_no_figure_of_them(drawn):
    values = comparison(3)
    for run in values["data_sets"]["Toy"]["runs"]:
        run |= {"examples_per_second": None, "speed_note": "not measured", "pareto": False}
    assert list(drawn(values)) == ["Toy-intervals.png"]


def test_a_metric_that_some_methods_lack(drawn):
    values = comparison(3)
    values["metric"] = "nll"
    last = values["data_sets"]["Toy"]["runs"][2]
    last["metrics"]["nll"] = {"value": None, "low": None, "high": None}
    forest, speed = drawn(values).values()
    assert len(forest.axes[0].get_yticklabels()) == 2
    assert speed.axes[0].yaxis_inverted()
