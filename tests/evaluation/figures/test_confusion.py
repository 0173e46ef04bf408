import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from textclf.evaluation.figures.confusion import draw_confusion_matrix


def counts(num_classes, invalid=0):
    matrix = np.random.default_rng(0).integers(0, 50, (num_classes, num_classes + 1))
    matrix[:, -1] = invalid
    return matrix


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws and gives the axes; a warning, such as one about a missing glyph, is an error."""
    axes = []
    save = Figure.savefig

    def spy(figure, *args, **options):
        axes.append(figure.axes[0])
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spy)

    def draw(matrix, names, title=()):
        settings = dict(matplotlib.rcParams)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_confusion_matrix(matrix, names, tmp_path / "matrix.png", title)
        assert dict(matplotlib.rcParams) == settings
        assert [file.name for file in tmp_path.iterdir()] == ["matrix.png"]
        assert imread(tmp_path / "matrix.png").std() > 0
        return axes[-1]

    return draw


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_hangul_latin_and_dollar_signs(drawn):
    names = ["부정 review", "긍정 $5 and $6", "중립 $\\frac"]
    axes = drawn(counts(3), names)
    assert tick_names(axes.yaxis) == names == tick_names(axes.xaxis)
    matrix = counts(3)[:, :3]
    shares = 100 * matrix / matrix.sum(axis=1, keepdims=True)
    expected = [
        f"{count}\n{share:.0f} %" if count else "0" for count, share in zip(matrix.flat, shares.flat, strict=True)
    ]
    assert [text.get_text() for text in axes.texts] == expected


def test_invalid_column_only_when_there_are_any(drawn):
    assert tick_names(drawn(counts(2), ["a", "b"]).xaxis) == ["a", "b"]
    axes = drawn(counts(2, invalid=3), ["a", "b"])
    assert tick_names(axes.xaxis) == ["a", "b", "(invalid)"]
    assert tick_names(axes.yaxis) == ["a", "b"]


def test_colour_is_the_share_of_the_row(drawn):
    axes = drawn(np.array([[3, 1, 0], [0, 0, 0]]), ["a", "b"])
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]


@pytest.mark.slow
def test_cells_of_some_classes_have_no_shares(drawn):
    axes = drawn(counts(20), [f"class number {index}" for index in range(20)])
    assert [text.get_text() for text in axes.texts] == [str(count) for count in counts(20)[:, :20].flat]


@pytest.mark.slow
def test_empty_cells_of_many_classes_have_no_numbers(drawn):
    matrix = np.diag(np.arange(1, 41)) @ np.eye(40, 41, dtype=int) * 1000
    matrix[3, 40] = 7
    axes = drawn(matrix, [f"class number {index}" for index in range(40)])
    axes.figure.draw_without_rendering()
    assert tick_names(axes.xaxis)[:41] == [*tick_names(axes.yaxis)[:40], "(invalid)"]
    numbers = {text.get_text() for text in axes.texts}
    assert numbers == {str(1000 * place) for place in range(1, 41)} | {"7"}
    cell = axes.bbox.width / 41
    assert max(text.get_window_extent().width for text in axes.texts) < cell


@pytest.mark.slow
def test_of_very_many_cells_only_large_counts_have_numbers(drawn):
    matrix = np.ones((60, 61), dtype=int)
    matrix[:, -1] = 0
    matrix[range(60), range(60)] = 5
    axes = drawn(matrix, [f"class number {index}" for index in range(60)])
    assert [text.get_text() for text in axes.texts] == ["5"] * 60
    assert axes.get_xlabel() == "predicted (numbers: counts from 2)"


def test_long_names_are_rotated_and_cut(drawn):
    axes = drawn(counts(2), ["a name with\nmany words " * 4, "b"])
    assert tick_names(axes.yaxis)[0] == "a name with many words a name with many…"
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90}


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip()]


def test_the_title_is_whole_and_all_text_is_in_one_font_with_hangul(drawn):
    title = ["FilesDataModule (한국어/아주 긴 폴더 이름/리뷰)", "Method (" + "long/" * 20 + ")", "$5 rows of test"]
    figure = drawn(counts(3, invalid=1), ["부정", "긍정", "neutral"], title).figure
    lines = figure.get_suptitle().splitlines()
    assert "".join(lines).replace(" ", "") == "".join(title).replace(" ", "")
    assert len(lines) > len(title)
    figure.draw_without_rendering()
    (extent,) = [text.get_window_extent() for text in texts(figure) if text.get_text() == figure.get_suptitle()]
    assert extent.x0 > 0
    assert extent.x1 < figure.get_window_extent().width
    assert {tuple(text.get_fontfamily()) for text in texts(figure)} == {("NanumGothic", "DejaVu Sans")}


def test_characters_that_no_font_has_give_no_warning(drawn):
    drawn(counts(2), ["good 😀", "bad 😡"])


def test_settings_of_the_user_do_not_change_a_picture(tmp_path):
    matrix, pictures = counts(2), []
    for name, settings in (("plain", {}), ("dark", {"figure.facecolor": "black", "font.size": 30})):
        with matplotlib.rc_context(settings):
            draw_confusion_matrix(matrix, ["a", "b"], tmp_path / f"{name}.png", ["A title"])
        pictures.append((tmp_path / f"{name}.png").read_bytes())
    assert pictures[0] == pictures[1]
