"""The figures of a comparison."""

import warnings

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from tests.evaluation.test_leaderboard import KOREAN, LONG, comparison
from textclf.evaluation.comparison_figures import draw_comparison


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a comparison; gives the figures by their files. A warning is an error."""
    figures = []
    save = Figure.savefig

    def spy(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spy)

    def draw(values):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            files = draw_comparison(values, tmp_path / "figures")
        assert all(imread(file).std() > 0 for file in files)
        return dict(zip([file.name for file in files], figures, strict=True))

    return draw


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
