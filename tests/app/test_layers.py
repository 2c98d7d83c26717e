"""The list of layers: the state of every row wherever the pass stands, the cursor, and what an update costs."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import theme as themes
from app.panels.layers import LayersPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets import pass_fold
from app.widgets.pass_fold import cell_box, label_width
from app.widgets.pass_painter import PassPainter
from app.widgets.pass_rows import State, pass_rows, stages_computed, state
from engine.frames import EndFrame, Where
from tests.app.made_runs import STAGES, context, generated, grow, prompted

ABSENT, PARTIAL, DONE = State.ABSENT, State.PARTIAL, State.DONE


def panel_of(qtbot: QtBot, qapp: QApplication, run: Run, height: int = 500) -> LayersPanel:
    themes.apply(DARK, qapp, 10.0)
    panel = LayersPanel(context(run))
    panel.context.cursor.pinned_changed.connect(panel.show_cursor)
    panel.context.cursor.hover_changed.connect(panel.show_cursor)
    qtbot.addWidget(panel)
    panel.resize(300, height)
    panel.show()
    panel.show_run()
    return panel


def paused(layer: int | None, stage: str, step: int = 0, end: int = 5) -> Where:
    return Where("paused", step, "prefill" if step == 0 else "decode", 0 if step == 0 else end - 1, end, layer, stage)


def states(run: Run) -> dict[str, State]:
    """The state of every row that is not a stage of a layer."""
    computed = stages_computed(run)
    return {row.stage or f"layer {row.layer}": state(row, computed) for row in pass_rows(run.model, None)}


# -- states --------------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_model() -> None:
    names = [row.stage or row.layer for row in pass_rows(prompted(n_layers=3).model, 1)]
    assert names == ["embed", 0, 1, *STAGES, 2, "final norm", "logits", "sampling"]
    assert pass_rows(None, 0) == ()


def test_nothing_is_computed_before_the_first_pass() -> None:
    assert set(states(prompted()).values()) == {ABSENT}


def test_everything_is_done_after_a_step() -> None:
    run = generated(2)
    assert set(states(run).values()) == {DONE}
    run.absorb(EndFrame("limit"))
    assert set(states(run).values()) == {DONE}


@pytest.mark.parametrize(
    ("where", "done", "partial"),
    [
        (paused(None, "start"), 0, 0),
        (paused(None, "embed"), 1, 0),
        (paused(0, "norm 1"), 1, 1),
        (paused(2, "rope"), 3, 1),
        (paused(2, "add 2"), 4, 0),
        (paused(5, "add 2"), 7, 0),
        (paused(None, "final norm"), 8, 0),
        (paused(None, "logits"), 9, 0),
        (paused(None, "sampling"), 10, 0),
    ],
)
def test_states_where_the_pass_stands(where: Where, done: int, partial: int) -> None:
    run = prompted()
    run.absorb(where)
    found = list(states(run).values())
    assert found == [DONE] * done + [PARTIAL] * partial + [ABSENT] * (10 - done - partial)


def test_the_next_pass_starts_from_nothing() -> None:
    run = generated(1)
    run.absorb(paused(None, "start", step=1, end=6))
    assert set(states(run).values()) == {ABSENT}


def test_stages_of_the_opened_layer(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted()
    run.absorb(paused(2, "rope"))
    panel = panel_of(qtbot, qapp, run)
    panel.context.cursor.pin(layer=2)
    values = panel.values()
    opened = values["state"][(values["layer"] == 2)]
    assert opened.tolist() == [PARTIAL, DONE, DONE, DONE, ABSENT, ABSENT, ABSENT]
    here = panel.view.here()
    assert here is not None
    assert panel.view.rows[here].stage == "rope"


def test_a_cancelled_pass_leaves_the_last_step(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(1)
    run.absorb(paused(1, "rope", step=1, end=6))
    panel = panel_of(qtbot, qapp, run)
    assert ABSENT in panel.values()["state"]
    run.absorb(EndFrame("stopped"))
    panel.show_run()
    assert set(panel.values()["state"].tolist()) == {DONE}
    assert panel.view.here() is None


# -- words ---------------------------------------------------------------------------------------------------------


def test_head_says_what_the_pass_reads(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted()
    panel = panel_of(qtbot, qapp, run)
    assert panel.head.text() == "Nothing is computed yet"
    run.absorb(paused(1, "rope"))
    panel.show_run()
    assert panel.head.text() == "token 5 · prefill · reads positions 0 … 4"
    grow(run)
    run.absorb(paused(1, "rope", step=1, end=6))
    panel.show_run()
    assert panel.head.text() == "token 6 · decode · reads position 5"
    assert panel.view.accessibleDescription().endswith(panel.caption())


def test_without_a_model(qtbot: QtBot, qapp: QApplication) -> None:
    panel = panel_of(qtbot, qapp, Run())
    assert panel.head.text() == "No model yet"
    assert panel.values()["state"].size == 0
    assert panel.badge() == ""
    qtbot.keyClick(panel.view, Qt.Key.Key_Down)
    assert panel.context.cursor.pinned.layer == 0


# -- what is drawn -------------------------------------------------------------------------------------------------


def row_colours(panel: LayersPanel, index: int) -> set[str]:
    picture = panel.view.viewport().grab().toImage()
    box = panel.view.row_box(index).toAlignedRect()
    return {
        picture.pixelColor(x, y).name()
        for x in range(box.left() + 5, box.right() - 5)
        for y in range(box.top() + 3, box.bottom() - 3)
    }


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_absent_rows_are_hatched_and_done_rows_ticked(qtbot: QtBot, qapp: QApplication, theme: Theme) -> None:
    run = prompted()
    run.absorb(paused(1, "rope"))
    panel = panel_of(qtbot, qapp, run)
    themes.apply(theme, qapp, 10.0)
    panel.context.theme = theme
    panel.restyle()
    panel.context.cursor.pin(layer=5)
    layers = {row.layer: index for index, row in enumerate(panel.view.rows) if row.layer is not None and not row.stage}
    assert theme.good in row_colours(panel, layers[0])
    assert theme.decode in row_colours(panel, layers[1])
    assert theme.absent in row_colours(panel, layers[3])
    assert {theme.good, theme.decode}.isdisjoint(row_colours(panel, layers[3]))
    assert theme.absent not in row_colours(panel, layers[0])


# -- the cursor ----------------------------------------------------------------------------------------------------


def test_click_pins_a_layer_and_its_row_stays_under_the_mouse(qtbot: QtBot, qapp: QApplication) -> None:
    panel = panel_of(qtbot, qapp, prompted(n_layers=8), height=300)
    panel.context.cursor.pin(layer=1)
    index = next(i for i, row in enumerate(panel.view.rows) if row.layer == 4)
    panel.view.verticalScrollBar().setValue(panel.view._tops[index] - 120)
    middle = panel.view.row_box(index).center().toPoint()
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert panel.context.cursor.pinned.layer == 4
    now = panel.view.row_at(middle.y())
    assert now is not None
    assert (panel.view.rows[now].layer, panel.view.rows[now].stage) == (4, "")


def cell_of(panel: LayersPanel, layer: int) -> QPointF:
    """The middle of a folded layer's cell."""
    view = panel.view
    index = view._index_of(layer)
    assert index is not None
    row, label = view.rows[index], label_width(QFontMetrics(view.font()))
    assert row.last is not None
    return cell_box(row, layer, view.row_box(index), view._high, label).center()


@pytest.mark.parametrize("layer", [0, 9, 19, 21, 30, 99, 100, 125])
def test_a_click_on_a_cell_of_a_fold_pins_its_layer(qtbot: QtBot, qapp: QApplication, layer: int) -> None:
    panel = panel_of(qtbot, qapp, prompted(n_layers=126), height=900)
    panel.context.cursor.pin(layer=20)
    place = cell_of(panel, layer)
    assert panel.view.place_at(place) == (layer, "")
    assert f"layer {layer}" in panel.view.tip(place)
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert panel.context.cursor.pinned.layer == layer
    assert (layer, "mix") in {(row.layer, row.stage) for row in panel.view.rows}


def test_keys_move_the_pin_and_keep_it_in_sight(qtbot: QtBot, qapp: QApplication) -> None:
    panel = panel_of(qtbot, qapp, prompted(n_layers=126))
    for key, layer in (
        (Qt.Key.Key_Up, 0),
        (Qt.Key.Key_Down, 1),
        (Qt.Key.Key_Down, 2),
        (Qt.Key.Key_End, 125),
        (Qt.Key.Key_Down, 125),
        (Qt.Key.Key_Up, 124),
        (Qt.Key.Key_Home, 0),
    ):
        qtbot.keyClick(panel.view, key)
        assert panel.context.cursor.pinned.layer == layer
        index = next(i for i, row in enumerate(panel.view.rows) if row.layer == layer and row.last is None)
        assert panel.view.viewport().rect().contains(panel.view.row_box(index).center().toPoint())


def test_hover_tells_the_cursor(qtbot: QtBot, qapp: QApplication) -> None:
    panel = panel_of(qtbot, qapp, prompted())
    panel.context.cursor.pin(layer=5)
    qtbot.mouseMove(panel.view.viewport(), QPoint(1, 1))  # embed: no layer
    assert panel.context.cursor.hovered.layer is None
    qtbot.mouseMove(panel.view.viewport(), panel.view.row_box(4).center().toPoint())
    assert panel.context.cursor.hovered.layer == 2
    assert DARK.hover in {
        panel.view.viewport().grab().toImage().pixelColor(150, int(panel.view.row_box(4).top()) + dy).name()
        for dy in (0, 1, 2)
    }


def test_a_stop_comes_into_sight_unless_the_user_scrolled_away(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(n_layers=126)
    panel = panel_of(qtbot, qapp, run, height=300)

    def stop_at(layer: int) -> bool:
        run.absorb(paused(layer, "add 2"))
        panel.show_run()
        here = panel.view.here()
        assert here is not None
        return panel.view.viewport().rect().contains(panel.view.row_box(here).center().toPoint())

    assert stop_at(60)
    assert stop_at(61)
    panel.view.verticalScrollBar().setValue(0)
    assert not stop_at(62)
    assert panel.view.verticalScrollBar().value() == 0
    run.absorb(Where("running", 0, "prefill", 0, 5, 63, "rope"))
    panel.show_run()
    assert stop_at(80)  # a new stop after running is news


# -- cost ----------------------------------------------------------------------------------------------------------


def test_an_update_costs_less_than_a_millisecond(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(n_layers=126)
    panel = panel_of(qtbot, qapp, run, height=900)
    spent = []
    for layer in range(100):
        run.absorb(Where("running", 0, "prefill", 0, 5, layer, "rope"))
        start = time.perf_counter()
        panel.show_run()
        spent.append(time.perf_counter() - start)
    assert sorted(spent)[50] < 0.001


def test_an_update_repaints_only_rows_that_differ(
    qtbot: QtBot, qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prompted()
    run.absorb(paused(2, "norm 1"))
    panel = panel_of(qtbot, qapp, run)
    qapp.processEvents()
    drawn: list[int | None] = []
    original = PassPainter.draw
    monkeypatch.setattr(PassPainter, "draw", lambda self, row, box: (drawn.append(row.layer), original(self, row, box)))
    run.absorb(paused(2, "q k v"))
    panel.show_run()
    qapp.processEvents()
    assert drawn == [2, 2, 2], "the layer, the stage that was left, the one that is entered"
    panel.show_run()
    qapp.processEvents()
    assert len(drawn) == 3


def test_names_for_screen_readers(qtbot: QtBot, qapp: QApplication) -> None:
    panel = panel_of(qtbot, qapp, prompted())
    assert panel.accessibleName()
    assert panel.view.accessibleName()
    assert not panel.picture().isNull()


def test_in_a_fold_only_the_cells_that_differ_are_drawn_again(
    qtbot: QtBot, qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prompted(n_layers=126)
    panel = panel_of(qtbot, qapp, run, height=900)
    panel.context.cursor.pin(layer=20)
    drawn: list[int] = []
    original = pass_fold._draw_cell
    monkeypatch.setattr(pass_fold, "_draw_cell", lambda *given: (drawn.append(1), original(*given)))

    def moved_to(layer: int) -> int:
        run.absorb(Where("running", 0, "prefill", 0, 5, layer, "rope"))
        panel.show_run()
        drawn.clear()
        qapp.processEvents()
        return len(drawn)

    moved_to(43)
    assert 2 <= moved_to(44) <= 12, "the layer that was left, the one that is entered, and what touches them"
    assert moved_to(68) >= 24, "what lies between has been computed meanwhile"
    assert moved_to(68) == 0
