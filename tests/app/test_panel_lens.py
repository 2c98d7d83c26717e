"""The lens panel: a real run's readings, its window of positions, colours, words and lines, what it asks and says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.panels.lens import LensPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT, SHOWN
from app.widgets.lens_grid import spread, steps_on
from app.widgets.lens_scales import QUANTITIES
from engine.frames import Lens, LensColumn, Piece
from engine.questions import AskLens, AskLensColumn
from tests.app.panel_runs import Shown, read_run, real_run, show

WORDS = (" Paris", " the", "\n", " London", " a", " most", " Rome", " is", " of", " not")
PIECES = tuple(Piece(id, WORDS[id % len(WORDS)], b"", 0, 0) for id in range(40))


def lens(start: int, count: int, n_total: int, *, rows: int = 7, known: int = 7) -> Lens:
    """Random readings; in the last column only the first ``known`` boundaries are computed."""
    random = np.random.default_rng(start * 100 + count)
    ids = random.integers(0, 40, (rows, count))
    ids[-2:] = ids[-1]  # settled two boundaries before the end, or earlier
    figures = {name: random.uniform(0.01, 0.99, (rows, count)).astype(np.float32) for name in ("p", "q", "h", "kl")}
    rank, next_ids = random.integers(0, 90, (rows, count)), random.integers(0, 40, count)
    settled = np.array([_settled(column) for column in ids.T], np.int64)
    if known < rows:
        ids[known:, -1], rank[:, -1], next_ids[-1], settled[-1] = -1, -1, -1, -1
        figures["kl"][:, -1] = figures["q"][:, -1] = np.nan
        for name in ("p", "h"):
            figures[name][known:, -1] = np.nan
    p, q, h, kl = figures.values()
    return Lens(start, n_total, ids, p, q, h, kl, next_ids, rank, settled, PIECES)


def _settled(ids: np.ndarray) -> int:
    others = np.flatnonzero(ids != ids[-1])
    return int(others[-1]) + 1 if len(others) else 0


def column(position: int, *, rows: int = 7, known: int = 7, words: tuple[int, ...] = (1, 2, 3, 4, 5)) -> LensColumn:
    random = np.random.default_rng(position)
    ids = np.array([random.permutation(40)[:10] for _ in range(known)])
    figures = np.sort(random.uniform(0, 0.1, (known, 10)).astype(np.float32), axis=1)[:, ::-1]
    row, whole = figures[:, 0], ids[:, 0]
    ranks = random.integers(0, 90, (len(words), known))
    p = random.uniform(0, 1, ranks.shape).astype(np.float32)
    settled = _settled(ids[:, 0]) if known == rows else -1
    return LensColumn(
        position, rows, ids, figures * 100, figures, row, row, 3, row, whole, np.array(words), p, ranks, settled, PIECES
    )


def figures(qtbot: Any, n: int = 30, theme: Theme = DARK, known: int = 7, size: tuple[int, int] = (1000, 700)) -> Shown:
    """``n`` positions are read, the newest up to boundary ``known``."""
    shown = show(qtbot, LensPanel, read_run(n), theme, size)
    answer(shown, n, known)
    qtbot.wait(1)  # its parts get their sizes
    answer(shown, n, known)
    return shown


def answer(shown: Shown, n: int, known: int = 7) -> None:
    asked = shown.panel.watches()
    window, own = asked["lens.window"], asked.get("lens.column", AskLensColumn(None))
    start = max(0, n - window.count) if window.start is None else window.start
    count = min(window.count, n - start)
    shown.panel.show_answer("lens.window", lens(start, count, n, known=known))
    position = n - 1 if own.position is None else own.position
    shown.panel.show_answer("lens.column", column(position, known=known, words=(1, 2, 3, 4, 5, *own.words)))


# --- figures ------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_transformers(qtbot: Any, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, LensPanel, real_run(session, "residual", 4))
    shown.answer(session)
    values, ids = shown.panel.values(), torch.tensor([[piece.id for piece in shown.run.pieces]])
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    final: list[Any] = []
    model.model.norm.register_forward_pre_hook(lambda module, given: final.append(given[0]))
    with torch.no_grad():
        streams = model(ids[:, : shown.run.n_read], output_hidden_states=True).hidden_states
        logits = model.lm_head(model.model.norm(torch.cat([*streams[:-1], final[0]])))
    start = shown.run.n_read - values["ids"].shape[1]
    p = logits.double().softmax(-1)[:, start:]
    np.testing.assert_array_equal(values["ids"], logits[:, start:].argmax(-1))
    np.testing.assert_allclose(values["probabilities"], p.amax(-1), rtol=1e-4, atol=1e-6)
    following = ids[0, start + 1 :]
    np.testing.assert_array_equal(values["next_ids"], following)
    expected = p.gather(-1, following[None, :, None].expand(len(p), -1, 1))[..., 0]
    np.testing.assert_allclose(values["next_probability"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(values["column_ids"][:, 0], values["ids"][:, -1])
    np.testing.assert_allclose(values["column_logits"][-1, 0], float(logits[-1, -1].max()), rtol=1e-4)


def test_the_real_model_says_paris(qtbot: Any, smollm2_gguf: Path) -> None:
    import engine

    session = engine.Session(engine.load(smollm2_gguf, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, LensPanel, real_run(session, "The capital of France is", 1))
    shown.answer(session)
    assert shown.panel.values()["ids"].shape == (31, 5)
    assert shown.panel._grid._texts[-1][-1] == "␣Paris"
    assert "“␣Paris”" in shown.panel._column._title.text()
    assert "31 boundaries, positions 0 to 4 of 5" in shown.panel.caption()
    assert shown.panel.badge() == "recomputed"


# --- the grid -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.key)
def test_one_control_chooses_the_colour(qtbot: Any, quantity: Any) -> None:
    shown = figures(qtbot, known=4)
    box = shown.panel._quantity
    box.setCurrentIndex(box.findData(quantity.key))
    cells, frame = shown.panel._grid.cells, shown.panel._lens
    expected = {
        "first": frame.probabilities,
        "next": frame.next_probability,
        "place": frame.next_rank + 1,
        "entropy": frame.entropy,
        "divergence": frame.divergence,
    }[quantity.key]
    np.testing.assert_array_equal(cells.values[:, :-1], expected[:, :-1].astype(np.float32))
    assert (cells.state[:, :-1] == SHOWN).all()
    assert np.isfinite(cells.values).all()
    known = 4 if quantity.key in ("first", "entropy") else 0
    assert (cells.state[:known, -1] == SHOWN).all()
    assert (cells.state[known:, -1] == ABSENT).all()
    assert "not computed yet" in shown.panel._grid.describe(5, cells.values.shape[1] - 1)


def test_the_first_place_is_the_brightest(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.panel._quantity.setCurrentIndex(shown.panel._quantity.findData("place"))
    scale = shown.panel._grid.cells.scale
    np.testing.assert_allclose(scale.fraction(np.array([1, 10, 100], np.float32)), [1, 0.5, 0], atol=1e-6)
    assert [text for _, text in sorted(scale.ticks())] == ["100", "10", "1"]


def test_words_where_there_is_room_and_every_layer_on_demand(qtbot: Any) -> None:
    shown = figures(qtbot, size=(900, 400))
    frame = replace(lens(0, 8, 30, rows=31), settled=np.full(8, 25))
    shown.panel.show_answer("lens.window", frame)
    rows = shown.panel._boundaries
    assert (rows[0], rows[-1]) == (0, 30)
    assert 3 <= len(rows) < 31
    assert f"{len(rows)} of 31 boundaries" in shown.panel.caption()
    grid = shown.panel._grid
    assert grid._font(grid.plot.height() / len(rows)) is not None
    assert [len(grid._texts), len(grid._texts[0])] == [len(rows), 8]
    picked = int(rows[2])
    assert f"entering layer {picked}," in grid.describe(2, 0)
    grid.pick(2, 0)
    assert shown.cursor.pinned.layer == picked
    shown.panel._every.click()
    assert len(grid.cells.values) == 31
    assert "31 boundaries" in shown.panel.caption()
    assert grid._steps.tolist() == [25] * 8


@pytest.mark.parametrize(("total", "most"), [(31, 31), (31, 16), (31, 11), (31, 3), (7, 30), (2, 3), (127, 20)])
def test_which_boundaries_have_a_row(total: int, most: int) -> None:
    rows = spread(total, most)
    assert (rows[0], rows[-1]) == (0, total - 1)
    assert len(rows) <= most + 1
    steps = np.diff(rows)
    assert (steps[1:] == steps[-1]).all()
    assert steps[0] <= steps[-1]


def test_a_line_stands_where_the_final_choice_begins() -> None:
    rows = np.array([0, 2, 4, 6])
    assert steps_on(rows, np.array([-1, 0, 1, 2, 3, 6])).tolist() == [-1, -1, 1, 1, 2, 3]


def test_words_are_read_on_every_colour(qtbot: Any) -> None:
    from app.theme import contrast

    shown = figures(qtbot)
    grid = shown.panel._grid
    for words, inks in zip(grid._words.tolist(), grid._inks(), strict=True):
        for word, ink in zip(words, inks, strict=True):
            assert contrast(f"#{word & 0xFFFFFF:06x}", ink) >= 4.5


def test_the_read_out_has_the_exact_figures(qtbot: Any) -> None:
    shown = figures(qtbot)
    frame, last = shown.panel._lens, shown.panel._lens.ids.shape[1] - 1
    said = shown.panel._grid.describe(3, last)
    assert f"entering layer 3, position {frame.start + last}" in said
    for figure in (frame.probabilities, frame.next_probability, frame.entropy, frame.divergence):
        assert f"{float(figure[3, last]):.7g}" in said
    assert f"place {frame.next_rank[3, last] + 1}" in said
    assert "leaving the last layer" in shown.panel._grid.describe(6, last)


# --- the window ---------------------------------------------------------------------------------------------------


def test_it_follows_the_newest_until_a_position_is_pinned(qtbot: Any) -> None:
    shown = figures(qtbot, 60)
    count = shown.panel.watches()["lens.window"].count
    assert 3 <= count <= 12
    assert shown.panel.watches() == {"lens.column": AskLensColumn(None), "lens.window": AskLens(None, count)}
    shown.pin(position=59)
    assert shown.panel.watches()["lens.window"] == AskLens(60 - count, count), "where it is, it stands"
    shown.pin(position=20)
    start = shown.panel.watches()["lens.window"].start
    assert start <= 20 < start + count
    shown.pin(position=21)
    assert shown.panel.watches() == {"lens.column": AskLensColumn(21), "lens.window": AskLens(start, count)}
    shown.cursor.follow()
    shown.panel.show_cursor()
    assert shown.panel.watches()["lens.window"] == AskLens(None, count)


def test_what_is_pinned_before_it_is_read_comes_into_view(qtbot: Any) -> None:
    shown = figures(qtbot, 20)
    count = shown.panel.watches()["lens.window"].count
    shown.pin(position=40)
    assert shown.panel.watches() == {"lens.column": AskLensColumn(None), "lens.window": AskLens(None, count)}
    longer = read_run(60)
    shown.run.prompt, shown.run.steps[:] = longer.prompt, longer.steps
    asked = shown.panel.watches()
    assert asked["lens.column"] == AskLensColumn(40)
    assert asked["lens.window"].start <= 40 < asked["lens.window"].start + count


def test_labels_are_cut_where_turned_ones_would_take_the_room(qtbot: Any) -> None:
    low, high = figures(qtbot, 60, size=(640, 300)), figures(qtbot, 60, size=(640, 900))
    label = "␣internationalisation"
    assert low.panel._grid.cut(label, 8).endswith("…")
    assert low.panel._grid.cut("␣is", 8) == "␣is"
    assert high.panel._grid.cut(label, 8) == label
    low.panel._grid.settle()
    assert not low.panel._grid._columns.rotated


def test_it_scrolls(qtbot: Any) -> None:
    shown = figures(qtbot, 60)
    bar, count = shown.panel._bar, shown.panel.watches()["lens.window"].count
    assert bar.isVisible()
    assert (bar.maximum(), bar.value(), bar.pageStep()) == (60 - count, 60 - count, count)
    with qtbot.waitSignal(shown.panel.watches_changed):
        bar.setValue(7)
    assert shown.panel.watches()["lens.window"] == AskLens(7, count)
    answer(shown, 60)
    assert shown.panel._grid.cells.columns.label(0) == shown.run.label(7)
    bar.setValue(bar.maximum())
    assert shown.panel.watches()["lens.window"] == AskLens(None, count)
    assert not figures(qtbot, 3).panel._bar.isVisible()


def test_another_size_keeps_the_pinned_position(qtbot: Any) -> None:
    shown = figures(qtbot, 60, size=(1400, 700))
    shown.pin(position=30)
    wide = shown.panel.watches()["lens.window"]
    shown.panel.resize(700, 500)
    narrow = shown.panel.watches()["lens.window"]
    assert narrow.count < wide.count
    assert narrow.start <= 30 < narrow.start + narrow.count
    answer(shown, 60)
    assert shown.panel._grid.pinned[1] == 30 - narrow.start


@pytest.mark.parametrize("pins", [True, False])
def test_a_larger_one_has_no_empty_columns(qtbot: Any, pins: bool) -> None:
    shown = figures(qtbot, 20, size=(700, 500))
    if pins:
        shown.pin(position=17)
    else:
        shown.panel._bar.setValue(shown.panel._bar.maximum() - 1)
    narrow = shown.panel.watches()["lens.window"]
    assert narrow.start > 0
    shown.panel.resize(4000, 500)
    wide = shown.panel.watches()["lens.window"]
    assert wide.count > narrow.count
    assert wide.start == max(0, 20 - wide.count)


def test_a_small_panel_shows_and_asks_the_grid_only(qtbot: Any) -> None:
    shown = figures(qtbot, size=(500, 400))
    assert set(shown.panel.watches()) == {"lens.window"}
    assert not shown.panel._column.isVisible()
    assert "a larger panel shows one position, too" in shown.panel.caption()
    shown.panel.resize(1000, 700)
    assert set(shown.panel.watches()) == {"lens.window", "lens.column"}
    assert shown.panel._column.isVisible()


def test_never_more_than_the_engine_answers(qtbot: Any) -> None:
    shown = figures(qtbot, 60, size=(4000, 200))
    shown.panel._every.click()
    assert shown.panel.watches()["lens.window"].count <= 48


# --- mouse and keys -----------------------------------------------------------------------------------------------


def test_a_pick_pins_layer_and_position(qtbot: Any) -> None:
    shown = figures(qtbot, 60)
    start = shown.panel._lens.start
    shown.panel._grid.pick(3, 2)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.position) == (3, start + 2)
    assert shown.panel._grid.pinned == (3, 2)
    assert shown.panel._column._lines.pinned == 3
    qtbot.keyClick(shown.panel._grid, Qt.Key.Key_Up)
    assert shown.cursor.pinned.layer == 2
    shown.panel._grid.pick(6, 2)
    assert shown.cursor.pinned.layer == 5, "the last boundary belongs to the last layer"
    assert "leaving the last layer" in shown.said[-1]
    shown.panel._column._lines.pick(4)
    assert shown.cursor.pinned.layer == 4


def test_hovering_asks_nothing_and_previews(qtbot: Any) -> None:
    shown = figures(qtbot, 60)
    before = shown.panel.watches()
    for picture in (shown.panel._grid, shown.panel._column.table):
        picture.settle()
        picture.on_move(picture.box(2, 1).center())
        assert shown.said[-1]
        assert shown.cursor.hovered.layer == 2
        picture.on_leave()
    lines = shown.panel._column._lines
    lines.settle()
    lines.on_move(lines.plot.center())
    assert "place" in shown.said[-1]
    assert shown.asked == []
    assert shown.panel.watches() == before


def test_a_clicked_word_is_followed_and_let_go(qtbot: Any) -> None:
    shown = figures(qtbot)
    table = shown.panel._column.table
    table.settle()
    word = int(shown.panel._column._shown.ids[2, 1])
    with qtbot.waitSignal(shown.panel.watches_changed):
        qtbot.mouseClick(table, Qt.MouseButton.LeftButton, pos=table.box(2, 1).center().toPoint())
    assert shown.panel.watches()["lens.column"].words == (word,)
    assert shown.cursor.pinned.layer == 2
    answer(shown, 30)
    lines = shown.panel._column._lines.chart.lines
    assert [line.dashed for line in lines] == [id == word for id in (1, 2, 3, 4, 5, word)]
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert shown.panel.watches()["lens.column"].words == ()
    qtbot.keyClick(table, Qt.Key.Key_Right)
    assert shown.panel.watches()["lens.column"].words == (), "an arrow key only picks"
    for cell in (0, 1, 2):
        table.cell_chosen.emit(3, cell)
    table.cell_chosen.emit(4, 0)
    chosen = shown.panel._column._shown.ids
    assert shown.panel.watches()["lens.column"].words == (int(chosen[3, 1]), int(chosen[3, 2]), int(chosen[4, 0]))
    assert shown.panel.undo()
    assert shown.panel.watches()["lens.column"].words == (int(chosen[3, 1]), int(chosen[3, 2]))
    assert [shown.panel.undo() for _ in range(3)] == [True, True, False]


def test_what_is_followed_ends_with_the_model(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.panel._column.table.cell_chosen.emit(2, 0)
    followed = shown.panel.watches()["lens.column"].words
    assert len(followed) == 1
    again = read_run(9)
    shown.run.prompt, shown.run.steps = again.prompt, again.steps
    shown.panel.show_run()
    assert shown.panel.values() == {}
    assert shown.panel.watches()["lens.column"].words == followed
    shown.run.model, shown.run.steps = replace(shown.run.model), list(again.steps)
    shown.panel.show_run()
    assert shown.panel.watches()["lens.column"].words == ()


# --- one position -------------------------------------------------------------------------------------------------


def test_lines_show_places_or_probabilities(qtbot: Any) -> None:
    shown = figures(qtbot)
    view = shown.panel._column
    chart, frame = view._lines.chart, view._shown
    for index, line in enumerate(chart.lines):
        np.testing.assert_array_equal(line.y, frame.word_rank[index] + 1)
        assert line.colour == DARK.groups[index]
    assert (chart.y_low, chart.y_high, chart.y_log) == (100.0, 1.0, True), "the first place is at the top"
    view._lines.settle()
    assert view._lines._y_of(np.array([1.0, 10.0, 100.0])).tolist() == pytest.approx(
        [view._lines.plot.top(), view._lines.plot.center().y(), view._lines.plot.bottom()]
    )
    assert [text for _, text in view._lines._y_ticks(4)] == ["1", "10", "100"]
    view.scale.setCurrentIndex(view.scale.findData("probability"))
    chart = view._lines.chart
    np.testing.assert_array_equal(chart.lines[0].y, frame.word_probability[0])
    assert (chart.y_low, chart.y_high, chart.y_log) == (0.0, 1.0, False)


def test_it_says_from_where_on_the_final_choice_is_first(qtbot: Any) -> None:
    shown, frame = figures(qtbot), column(29)
    first = frame.ids.copy()
    for settled, text in ((3, "from layer 3 on"), (6, "only after the last layer")):
        first[:, 0] = np.where(np.arange(7) < settled, 9, 7)
        shown.panel.show_answer("lens.column", replace(frame, ids=first.copy(), settled=settled))
        assert text in shown.panel._column._title.text()
        assert "“␣is”" in shown.panel._column._title.text()


def test_a_stopped_pass_is_hatched(qtbot: Any) -> None:
    shown = figures(qtbot, known=3)
    table, chart = shown.panel._column.table, shown.panel._column._lines.chart
    assert (table.cells.state[:3] == SHOWN).all()
    assert (table.cells.state[3:] == ABSENT).all()
    assert chart.computed == 2.5
    assert "not computed yet" in shown.panel._column._title.text()
    assert "not computed yet" in table.describe(5, 0)
    assert "not computed yet" in shown.panel._column._describe_row(5)


# --- the contract -------------------------------------------------------------------------------------------------


def test_what_is_shown_comes_as_values(qtbot: Any) -> None:
    shown = figures(qtbot)
    values = shown.panel.values()
    assert {"ids", "probabilities", "entropy", "column_ids", "column_word_rank"} <= set(values)
    np.testing.assert_array_equal(values["divergence"], shown.panel._lens.divergence)
    np.testing.assert_array_equal(values["column_probabilities"], shown.panel._column._shown.probabilities)
    texts, words, axes = values["column_texts"], shown.panel._words.text, shown.panel.axes()
    assert texts.ravel().tolist() == [words(id) for id in values["column_ids"].ravel().tolist()]
    assert {name: len(axes[name]) for name in values} == {name: array.ndim for name, array in values.items()}
    assert axes["column_texts"][1].first == 0, "ranks do not begin where the window does"


def test_a_pass_that_moves_shows_a_sentence(qtbot: Any) -> None:
    shown = show(qtbot, LensPanel, read_run(9))
    shown.panel.show_answer("lens.window", lens(0, 0, 0))
    assert "Reading the prompt" in shown.panel._pages.accessibleDescription()
    assert shown.panel.badge() == shown.panel.caption() == ""


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize(("n", "size"), [(1, (1000, 700)), (2000, (1000, 700)), (40, (300, 150)), (40, (500, 1200))])
def test_any_length_size_and_theme(qtbot: Any, n: int, size: tuple[int, int], theme: Theme) -> None:
    shown = figures(qtbot, n, theme, size=size)
    assert not shown.panel.picture().isNull()
    assert f"of {n};" in shown.panel.caption()
    shown.panel.context.theme = LIGHT if theme is DARK else DARK
    shown.panel.restyle()
    assert not shown.panel.picture().isNull()


def test_larger_letters_show_fewer_positions(qtbot: Any) -> None:
    shown = figures(qtbot, 60)
    counts = []
    for points in (9.0, 24.0):  # whatever the font of the tests before
        font = shown.panel.font()
        font.setPointSizeF(points)
        shown.panel._grid.setFont(font)  # a style sheet of the program keeps fonts from being inherited
        counts.append(shown.panel.watches()["lens.window"].count)
    assert counts[1] < counts[0]


def test_it_explains_itself(qtbot: Any) -> None:
    shown = figures(qtbot)
    about, words = shown.panel._about, shown.panel._words_about
    assert "not what the model “thinks”" in about.toolTip()
    assert about.accessibleDescription() == about.toolTip() == words.text()
    assert not words.isVisible()
    about.click()
    assert words.isVisible()
    about.click()
    assert not words.isVisible()


def test_without_a_run_one_sentence_says_what_to_do(qtbot: Any) -> None:
    shown = show(qtbot, LensPanel, Run())
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    assert shown.panel.watches() == shown.panel.values() == {}


def test_figures_that_are_none_are_drawn_as_errors(qtbot: Any) -> None:
    """A broken model gives NaN; the picture says so, as everywhere."""
    shown = figures(qtbot)
    frame = shown.panel._lens
    broken = np.full_like(frame.probabilities, math.nan)
    shown.panel.show_answer("lens.window", replace(frame, probabilities=broken))
    assert (shown.panel._grid._words == int("ff" + DARK.cut[1:], 16)).all()
