"""The parts that panels share: scales, axes, heatmaps, head grids, candidates."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage
from PySide6.QtWidgets import QApplication

from app.theme import DARK, LIGHT, ink
from app.widgets.amounts import bytes_text, grouped, percent
from app.widgets.axis import Axis, column_labels, row_labels
from app.widgets.candidates import Candidate, CandidateTable
from app.widgets.canvas import outline_pen
from app.widgets.head_grid import HeadGrid, Heads
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, TITLE, Cells, Heatmap
from app.widgets.legend import Kinds, Routed, draw_legend
from app.widgets.lens_words import boundary_axis
from app.widgets.lettering import Metrics, Painter
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pattern import pattern_state
from app.widgets.scale import Scale, beyond, colour_words, figure, log_scale, marks, signed_scale, word
from app.widgets.stage_banner import StageBanner


def heatmap(qtbot: Any, values: np.ndarray, state: np.ndarray | None = None, scale: Scale | None = None) -> Heatmap:
    picture = Heatmap(DARK, "figures", lambda row, column: f"{row} {column}")
    qtbot.addWidget(picture)
    picture.resize(500, 400)
    rows, columns = (Axis(name, size, lambda entry: f"t{entry}") for name, size in zip("rc", values.shape, strict=True))
    picture.show_cells(Cells(values, rows, columns, scale or Scale(0, 1, "linear", "viridis", "share"), state))
    picture.show()
    qtbot.waitExposed(picture)
    picture.settle()
    return picture


@pytest.mark.parametrize(
    ("curve", "low", "value", "share"),
    [("linear", 0, 0.25, 0.25), ("root", 0, 0.25, 0.5), ("log", 0.01, 0.1, 0.5), ("linear", -1, 0, 0.5)],
)
def test_curves(curve: Any, low: float, value: float, share: float) -> None:
    scale = Scale(low, 1, curve, "viridis", "")
    assert float(scale.fraction(np.float32(value))) == pytest.approx(share, abs=1e-6)
    assert scale.codes(np.array([low, 1], np.float32)).tolist() == [1, 254]


def test_zero_is_the_middle_of_a_signed_scale_and_the_ends_clip() -> None:
    values = np.append(np.linspace(-1, 1, 999), 50).astype(np.float32)
    scale = signed_scale(values, "CET-D1A", "")
    assert -scale.low == scale.high == pytest.approx(np.quantile(np.abs(values), 0.99))
    codes = scale.codes(values)
    assert beyond(scale, values) == (codes == 255).sum() + (codes == 0).sum() == (np.abs(values) > scale.high).sum()
    assert abs(int(scale.codes(np.zeros(1, np.float32))[0]) - 127) <= 1


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros(0), np.full(4, 3.0), np.array([0, 1e-30, 1e30])])
def test_scales_of_odd_figures_stay_finite(values: np.ndarray) -> None:
    values = values.astype(np.float32)
    for scale in (signed_scale(values, "CET-D1A", ""), log_scale(values, "viridis", "")):
        assert scale.low < scale.high
        assert np.isfinite(scale.fraction(values)).all()
        assert all(0 <= share <= 1 + 1e-6 for share, _ in scale.ticks())


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_marks_are_no_colours_of_the_map(theme: Any) -> None:
    inner = set(colour_words(theme.diverging)[1:-1].tolist())
    assert not inner & {word(mark) for mark in marks(theme.diverging)}


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.5"), (-1.25, "−1.25"), (12345, "12345"), (1e-4, "0.0001"), (2e7, "2e+07")]
)
def test_figures_on_axes(value: float, text: str) -> None:
    assert figure(value) == text


def test_amounts() -> None:
    assert grouped(46080) == "46\u202f080"
    assert [bytes_text(n) for n in (12, 46080, 1_234_567, 5e9)] == ["12 B", "46.1 kB", "1.23 MB", "5 GB"]
    assert [percent(p) for p in (0, 1, 0.77254, 0.9999999, 0.0098, 1e-9)] == [
        "0 %",
        "100 %",
        "77.3 %",
        "99.9 %",
        "0.98 %",
        "<0.01 %",
    ]


def test_labels_are_thinned_to_fit_and_numbers_stay_round(qapp: Any) -> None:
    metrics = QFontMetricsF(qapp.font())
    layers = Axis("layer", 100, str, numbers=True)
    labels = row_labels(layers, metrics.height() / 3, metrics, 1000)
    assert labels.cells == tuple(range(0, 100, 5))
    dimensions = Axis("dimension", 192, str, numbers=True, block=3)
    labels = column_labels(dimensions, 2.0, metrics, 1000)
    assert all(int(text) % 10 == 0 for text in labels.texts)
    assert [int(text) // 3 for text in labels.texts] == list(labels.cells)
    tokens = Axis("token", 50, lambda entry: f"word{entry}")
    lying = column_labels(tokens, 200.0, metrics, 1000)
    assert not lying.rotated
    assert lying.texts[3] == "word3"
    thinned = column_labels(tokens, metrics.height() / 2.5, metrics, 1000)
    assert thinned.rotated
    assert thinned.texts[1] == "3 word3"  # the index says that others were left out


@pytest.mark.parametrize("most", [20.0, 200.0])
def test_turned_words_of_which_no_letters_are_left_are_indices(qapp: Any, most: float) -> None:
    metrics = QFontMetricsF(qapp.font())
    tokens = Axis("token", 16, lambda entry: f"long-word{entry}")
    labels = column_labels(tokens, metrics.height() * 1.5, metrics, most)
    assert labels.rotated == (most == 200.0)
    assert labels.texts == tuple(f"long-word{place}" if labels.rotated else str(place) for place in labels.cells)


def test_words_that_are_cut_but_can_be_read_stay_words(qapp: Any) -> None:
    metrics = QFontMetricsF(qapp.font())
    texts = ["a", *["of"] * 12, "translation", "of", "of"]  # one word in sixteen is too long
    labels = column_labels(
        Axis("token", 16, texts.__getitem__), metrics.height() * 1.5, metrics, metrics.horizontalAdvance("of") + 1
    )
    assert labels.texts == tuple(texts)


def test_layers_that_are_left_out_are_told_by_their_own_numbers(qapp: Any) -> None:
    metrics = QFontMetricsF(qapp.font())
    axis = boundary_axis(np.array([0, 15, 22, 30]), str)
    assert row_labels(axis, metrics.height() * 2, metrics, 1000).texts == ("0", "15", "22", "final")
    labels = row_labels(axis, metrics.height() / 2, metrics, 1000)
    assert dict(zip(labels.cells, labels.texts, strict=True)) == {0: "0", 3: "final"}


def test_cells_and_pixels_agree(qtbot: Any) -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    picture = heatmap(qtbot, values)
    image = picture.grab().toImage()
    for row in range(3):
        for column in range(4):
            centre = picture.box(row, column).center()
            assert picture.at(centre) == (row, column)
            expected = int(colour_words("viridis")[picture.cells.scale.codes(values[row : row + 1, column])[0]])
            assert image.pixel(centre.toPoint()) == expected
    assert picture._image.format() == QImage.Format.Format_RGB32


def test_states_decide_what_is_drawn(qtbot: Any) -> None:
    state = np.array([[SHOWN, MASKED], [SHOWN, ABSENT]], np.uint8)
    picture = heatmap(qtbot, np.full((2, 2), 0.5, np.float32), state)
    image = picture.grab().toImage()
    assert image.pixelColor(picture.box(0, 1).center().toPoint()) == QColor(DARK.panel)
    box = picture.box(1, 1).adjusted(4, 4, -4, -4).toRect()
    colours = {image.pixelColor(x, box.center().y()).name() for x in range(box.left(), box.right())}
    assert DARK.absent in colours
    assert len(colours) > 1


def test_figures_that_are_no_numbers_are_marked_and_told(qtbot: Any) -> None:
    values = np.array([[0.5, np.nan], [np.inf, 0.25]], np.float32)
    for scale in (
        Scale(0, 1, "root", "viridis", ""),
        signed_scale(values, "CET-D1A", ""),
        log_scale(values, "viridis", ""),
    ):
        assert np.isfinite([scale.low, scale.high]).all()
        picture = heatmap(qtbot, values, scale=scale)
        image = picture.grab().toImage()
        for row, column in ((0, 1), (1, 0)):
            box = picture.box(row, column)  # beside its cross
            beside = QPointF(box.left() + box.width() / 4, box.center().y()).toPoint()
            assert image.pixelColor(beside) == QColor(DARK.cut)
        assert image.pixelColor(picture.box(0, 0).center().toPoint()) != QColor(DARK.cut)


def test_everything_lies_inside_the_widget(qtbot: Any) -> None:
    for size in ((1000, 700), (300, 200), (160, 100)):
        picture = heatmap(qtbot, np.zeros((40, 40), np.float32))
        picture.resize(*size)
        picture.settle()
        assert picture.area().contains(picture.plot)
        assert picture._row_places
        assert picture._column_places
        for left, _, _, _ in picture._row_places:
            assert left >= 0
        for _, top, _, high in picture._column_places:
            assert top + high <= picture.height()


def test_keys_stop_at_the_edges_and_others_pass_on(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((3, 4), np.float32))
    picture.pick(0, 0)
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Up):
        qtbot.keyClick(picture, key)
    assert picture.cell == (0, 0)
    for key in (Qt.Key.Key_End, Qt.Key.Key_PageDown):
        qtbot.keyClick(picture, key)
    assert picture.cell == (2, 3)
    assert picture.accessibleDescription() == "2 3"
    with qtbot.assertNotEmitted(picture.cell_picked):
        qtbot.keyClick(picture, Qt.Key.Key_Space)
        qtbot.keyClick(picture, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)


def test_a_cell_that_went_is_not_picked_any_more(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((3, 4), np.float32))
    picture.pick(2, 3)
    axis = Axis("", 2, str)
    picture.show_cells(Cells(np.zeros((2, 2), np.float32), axis, axis, Scale(0, 1, "linear", "viridis", "")))
    assert picture.cell is None
    picture.mark((7, 9), (None, 30))  # places that are not there are not drawn
    assert not picture.grab().isNull()
    picture.show_cells(None)
    assert picture.at(picture.area().center()) is None
    assert not picture.grab().isNull()


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(9, 3), (32, 8), (32, 32), (16, 1), (1, 1), (40, 8), (14, 2)])
@pytest.mark.parametrize("size", [(400, 600), (900, 300), (200, 200)])
def test_tiles_of_any_grouping_lie_apart_and_inside(
    qtbot: Any, n_heads: int, n_kv_heads: int, size: tuple[int, int]
) -> None:
    grid = HeadGrid(DARK, "heads")
    qtbot.addWidget(grid)
    grid.resize(*size)
    maps = np.zeros((n_heads, 4, 4), np.float32)
    scale = Scale(0, 1, "root", "viridis", "")
    grid.show_heads(Heads(maps, pattern_state(4, 4, 1), scale, n_kv_heads))
    grid.settle()
    tiles = [grid.tile(head) for head in range(n_heads)]
    assert all(grid.area().contains(tile) for tile in tiles)
    assert not any(a.intersects(b) for i, a in enumerate(tiles) for b in tiles[:i])
    assert [grid.head_at(tile.center()) for tile in tiles] == list(range(n_heads))
    for head, tile in enumerate(tiles):
        if grid.heads.grouped:
            assert grid.group_box(head // grid.heads.per_group).contains(tile)
    assert not grid.grab().isNull()


def test_lines_are_hatched_where_nothing_is_computed(qtbot: Any) -> None:
    chart = LineChart(DARK, "lines")
    qtbot.addWidget(chart)
    chart.resize(500, 300)
    line = Line("one", np.arange(3.0), np.array([1.0, 10.0, 100.0]), "attention")
    chart.show_chart(Chart((line,), "x", "y", 0, 10, 1, 1000, y_log=True, computed=2.5))
    chart.settle()
    image = chart.grab().toImage()
    assert image.pixelColor(round(chart.x_of(1)), round(chart.plot.bottom()) - 5) == QColor(DARK.panel)
    y = round(chart.plot.bottom()) - 5
    right = {image.pixelColor(x, y).name() for x in range(round(chart.x_of(6)), round(chart.x_of(8)))}
    assert DARK.absent in right


def test_how_much_a_heatmap_asks_for_does_not_swing_with_its_labels(qtbot) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    picture.resize(100, 80)
    picture.settle()

    def fits(width: float) -> int:
        picture.plot = QRectF(0, 0, width, 10)
        return picture.fits()

    assert fits(130) == 128
    assert fits(126) == 64  # never more cells than pixels
    assert [fits(130), fits(126), fits(130)] == [64, 64, 64]
    assert fits(170) == 128  # the user has made the window larger


def test_what_is_no_number_has_a_cross_besides_its_colour(qtbot) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[1, 2] = np.nan
    picture = heatmap(qtbot, values)
    image, box = picture.grab().toImage(), picture.box(1, 2)
    inside = {
        image.pixelColor(x, y).name()
        for x in range(round(box.left()) + 2, round(box.right()) - 1)
        for y in range(round(box.top()) + 2, round(box.bottom()) - 1)
    }
    assert {DARK.cut, ink(DARK.cut).name()} <= inside


def test_what_is_under_the_mouse_is_dashed_and_what_is_picked_is_not() -> None:
    assert outline_pen(DARK, DARK.hover, 2).style() == Qt.PenStyle.DashLine
    assert outline_pen(DARK, DARK.accent, 2).style() == Qt.PenStyle.SolidLine


def test_a_long_name_of_the_pinned_row_leaves_the_title_of_the_axis_alone(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((40, 8), np.float32))
    names = Axis("title of the rows", 40, lambda row: "a token that is long" if row == 21 else "t")
    assert picture.cells is not None
    picture.show_cells(replace(picture.cells, rows=names))
    picture.settle()
    edge = QRect(0, 0, round(picture.metrics().height() * TITLE), picture.height())
    before = picture.grab(edge).toImage()
    picture.mark((21, None), (None, None))
    picture.settle()
    assert picture.grab(edge).toImage() == before
    assert picture.grab().toImage() != before


def texts_of_legend(monkeypatch: Any, qapp: Any, legend: Any, lines: float) -> list[tuple[str, QRectF]]:
    """What is written beside a picture so many lines high, and where."""
    written: list[tuple[str, QRectF]] = []
    monkeypatch.setattr("app.widgets.legend.put", lambda painter, box, text, *rest: written.append((text, box)))
    picture = QImage(300, 300, QImage.Format.Format_RGB32)
    metrics = Metrics(qapp.font())
    painter = Painter(picture, metrics)
    try:
        draw_legend(painter, QRectF(0, 0, 200, lines * metrics.height()), legend, DARK)
    finally:
        painter.end()
    return written


@pytest.mark.parametrize("lines", [2.0, 2.4, 3.0, 6.0])
@pytest.mark.parametrize("clips", [False, True])
def test_a_legend_shows_both_ends_however_low_it_is(monkeypatch: Any, qapp: Any, lines: float, clips: bool) -> None:
    scale = Scale(-8.38, 8.38, "linear", "CET-D6", "K", clips=clips)
    written = texts_of_legend(monkeypatch, qapp, scale, lines)
    texts = [text for text, _ in written]
    assert {"K", "−8.38", "8.38"} <= set(texts)
    boxes = [box for _, box in sorted(written, key=lambda pair: pair[1].top())]
    for upper, lower in pairwise(boxes):
        assert lower.center().y() - upper.center().y() >= boxes[0].height() * 0.85, "none lies over another"
    assert texts.index("8.38") > texts.index("−8.38"), "the ends come first"


@pytest.mark.parametrize("lines", [2.5, 4.0, 5.5, 6.5, 12.0])
def test_figures_of_two_bars_do_not_lie_over_each_other(monkeypatch: Any, qapp: Any, lines: float) -> None:
    scales = (Scale(0, 1, "linear", "viridis", title) for title in ("chosen: weight", "others: score"))
    written = texts_of_legend(monkeypatch, qapp, Routed(*scales), lines)
    boxes = sorted((box for _, box in written), key=QRectF.top)
    if lines > 5:
        assert [text for text, _ in written].count("1") == 2
        for upper, lower in pairwise(boxes):
            assert lower.center().y() - upper.center().y() >= upper.height() * 0.85
    elif lines < 3:
        assert len(boxes) == 4, "a title and an end each"


def test_a_low_legend_names_every_kind(monkeypatch: Any, qapp: Any) -> None:
    kinds = Kinds(("prefill", "decode", "this pass"), (DARK.prefill, DARK.decode, DARK.accent), "written by", "not yet")
    for lines in (4.5, 5.0, 8.0):
        texts = [text for text, _ in texts_of_legend(monkeypatch, qapp, kinds, lines)]
        assert texts == ["written by", "prefill", "decode", "this pass", "not yet"]


def candidates(chosen: int, count: int = 12) -> tuple[Candidate, ...]:
    return tuple(Candidate(rank, rank, f"t{rank}", 0.1, 0.1, "", rank == chosen) for rank in range(count))


@pytest.mark.parametrize("chosen", [0, 1, 9])
def test_the_one_candidate_that_is_shown_is_the_chosen_one(qtbot: Any, chosen: int) -> None:
    table = CandidateTable(DARK, "candidates")
    qtbot.addWidget(table)
    high = table._high()
    table.resize(600, round(high * 2.5))
    table.show_candidates(candidates(chosen))
    table.show()
    assert (table.fits(), table.visible_rows()) == (1, [chosen])
    table.resize(600, round(high * 30))
    table.resize(600, round(high * 2.5))
    assert chosen in table.visible_rows()
    table.resize(600, table.minimumSizeHint().height())
    assert table.fits() >= 3


@pytest.mark.parametrize("width", [640, 1280])
@pytest.mark.parametrize("beside", ["token 9", "looking at token 6 “␣the” of a long prompt"])
def test_the_headline_is_cut_in_its_middle_and_only_without_room(qtbot: Any, width: int, beside: str) -> None:
    banner = StageBanner(DARK)
    qtbot.addWidget(banner)
    banner.resize(width, 140)
    banner.show()
    qtbot.waitExposed(banner)
    for words in ("layer 3", "the next token is “␣symbol” and what comes after it “␣and”"):
        banner.show_stage(words, beside, "")
        qtbot.waitUntil(lambda: abs(banner.headline.width() + banner.beside.width() - width) < 50, timeout=2_000)
        QApplication.processEvents()
        for label in (banner.headline, banner.beside):
            assert (label.shown() == label.text()) == (label.needed() <= label.width() + 1)
            assert "…" in label.shown() or label.shown() == label.text()
        roomy = banner.headline.needed() + banner.beside.needed() < width - 60
        assert (banner.headline.shown() == words) or not roomy
        assert not roomy or banner.beside.shown() == beside
        assert banner.minimumSizeHint().width() < 300, "words never widen the window"
