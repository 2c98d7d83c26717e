"""The table in the place of a picture: any rank, exact figures, the places of the run, copying, by keyboard."""

from __future__ import annotations

import csv
import io
import time

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from app.command_line import Options
from app.panels import PANELS
from app.panels.lens import LensPanel
from app.run import written
from app.widgets.values_model import MOST_LINES, Along, ValuesModel
from app.widgets.values_table import MOST_COPIED, ValuesTable
from app.window import Window
from engine.breakpoints import Test as Condition
from engine.edits import Edit
from tests.app.conftest import GREEDY, MakeWindow, with_run

HEADS = (Along("head"), Along("query", 10, 1), Along("key", 4, 2))
DOWN, ACROSS = Qt.Orientation.Vertical, Qt.Orientation.Horizontal


def shown(model: ValuesModel) -> list[list[str]]:
    rows, columns = range(model.rowCount()), range(model.columnCount())
    return [[str(model.data(model.index(row, column))) for column in columns] for row in rows]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (0, 3), (3, 0), (4, 3), (2, 3, 4), (2, 0, 4), (2, 1, 3, 2)])
def test_an_array_of_any_rank_is_a_table_of_all_its_figures(qtmodeltester, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    model = ValuesModel()
    model.show_array(array)
    qtmodeltester.check(model)
    assert model.rowCount() * model.columnCount() == array.size
    for row in range(model.rowCount()):
        for column in range(model.columnCount()):
            assert np.float32(model.data(model.index(row, column))) == array[model.place(row, column)]


def test_lists_stand_side_by_side(qtmodeltester) -> None:
    model = ValuesModel()
    model.show_columns({"ids": np.array([7, 8]), "words": np.array(["a", "b\tc"]), "on": np.array([True, False])})
    qtmodeltester.check(model)
    assert shown(model) == [["7", "a", "True"], ["8", "b\tc", "False"]]
    assert [model.headerData(column, ACROSS) for column in range(3)] == ["ids", "words", "on"]


def test_another_array_with_the_same_places_changes_figures_alone(qtbot) -> None:
    model = ValuesModel()
    model.show_array(np.zeros((2, 2)))
    with qtbot.waitSignal(model.dataChanged), qtbot.assertNotEmitted(model.modelReset):
        model.show_array(np.ones((2, 2)))
    with qtbot.waitSignal(model.modelReset):
        model.show_array(np.ones((3, 2)))
    with qtbot.waitSignal(model.modelReset):
        model.show_columns({"a": np.ones(3), "b": np.ones(3)})


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.float32(0.1), "0.1"), (np.float32(1 / 3), "0.33333334"), (np.float64(1 / 3), "0.3333333333333333"),
     (np.float32("nan"), "nan"), (np.float32("-inf"), "-inf"), (np.int64(2**62), "4611686018427387904")],
)  # fmt: skip
def test_figures_are_exact(value: np.generic, text: str) -> None:
    model = ValuesModel()
    model.show_array(np.array([value]))
    assert shown(model) == [[text]]


def test_the_places_are_those_of_the_run_and_not_of_the_picture() -> None:
    model = ValuesModel()
    model.show_array(np.arange(12.0).reshape(2, 3, 2), HEADS)
    assert [model.headerData(row, DOWN) for row in (0, 1, 3, 5)] == ["0, 10", "0, 11", "1, 10", "1, 12"]
    assert [model.headerData(column, ACROSS) for column in range(2)] == ["4–5", "6–7"]
    assert model.describe(5, 1) == "head 1, query 12, key 6–7: 11.0"


def test_a_large_array_is_shown_at_once() -> None:
    array = np.broadcast_to(np.float32(1), (3000, 50_000))
    model, start = ValuesModel(), time.perf_counter()
    model.show_array(array)
    assert model.data(model.index(2999, 49_999)) == "1.0"
    assert time.perf_counter() - start < 0.5


def test_more_lines_than_qt_can_count_are_said_to_be_cut(qtbot) -> None:
    table = ValuesTable("Huge")
    qtbot.addWidget(table)
    table.show_values({"huge": np.broadcast_to(np.int8(1), (MOST_LINES + 1,))}, {})
    assert table.model.rowCount() == MOST_LINES
    assert f"{MOST_LINES:,}" in table.about.text()


@pytest.fixture
def table(qtbot) -> ValuesTable:
    made = ValuesTable("Attention")
    qtbot.addWidget(made)
    made.resize(600, 300)
    made.show_values(
        {
            "grid": np.arange(12.0).reshape(2, 3, 2),
            "ids": np.arange(4),
            "figures": np.arange(4) / 2,
            "none": np.zeros(0),
        },
        {"grid": HEADS, "ids": (Along("rank"),), "figures": (Along("rank"),)},
    )
    made.show()
    qtbot.waitExposed(made)
    return made


def test_every_array_can_be_chosen_and_lists_of_one_axis_together(table: ValuesTable) -> None:
    texts = [table.choice.itemText(row) for row in range(table.choice.count())]
    assert texts[0] == "ids, figures · 4 lines"
    assert [text.split(" · ")[0] for text in texts[1:]] == ["grid", "ids", "figures", "none"]
    table.choice.setCurrentIndex(1)
    assert table.about.text() == "down: head, query · across: key"
    table.choice.setCurrentIndex(4)
    assert table.empty.isVisible()
    assert not table.view.isVisible()


def test_arrow_keys_move_the_cell_and_it_is_read_out(table: ValuesTable, qtbot) -> None:
    table.choice.setCurrentIndex(1)
    table.view.setFocus()
    table.view.setCurrentIndex(table.model.index(0, 0))
    with qtbot.waitSignal(table.said) as said:
        qtbot.keyClick(table.view, Qt.Key.Key_Down)
    assert said.args == ["head 0, query 11, key 4–5: 2.0"]
    assert table.view.accessibleDescription() == said.args[0]
    assert table.view.accessibleName() == "Figures of Attention"


def test_selected_cells_are_copied_with_tabs(table: ValuesTable, qtbot) -> None:
    table.choice.setCurrentIndex(1)
    table.view.selectAll()
    qtbot.keyClick(table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = QApplication.clipboard().text().split("\n")
    assert [[float(cell) for cell in line.split("\t")] for line in lines] == np.arange(12.0).reshape(6, 2).tolist()
    table.view.clearSelection()
    selection = table.view.selectionModel()
    for row, column in ((0, 0), (1, 1)):
        selection.select(table.model.index(row, column), selection.SelectionFlag.Select)
    table.copy.click()
    assert QApplication.clipboard().text() == "0.0\t\n\t3.0"


def test_a_text_is_copied_as_one_cell_and_as_no_formula(table: ValuesTable) -> None:
    words = ["plain", "=1+1", "", "a\tb", "c\n=1", "d\r=1"]
    table.show_values({"words": np.array(words)}, {})
    table.view.selectAll()
    table.copy.click()
    rows = list(csv.reader(io.StringIO(QApplication.clipboard().text()), dialect="excel-tab"))
    assert [row[0] if row else "" for row in rows] == ["plain", "'=1+1", "", "a\tb", "c\n=1", "d\\x0d=1"]


def test_too_many_cells_for_the_clipboard_are_refused(table: ValuesTable, qtbot) -> None:
    QApplication.clipboard().setText("before")
    table.show_values({"large": np.broadcast_to(np.float32(1), (MOST_COPIED + 1,))}, {})
    table.view.selectAll()
    with qtbot.waitSignal(table.said) as said:
        table.copy.click()
    assert "too many" in said.args[0]
    assert QApplication.clipboard().text() == "before"


def test_new_figures_leave_the_choice_and_the_cell(table: ValuesTable) -> None:
    table.choice.setCurrentIndex(1)
    table.view.setCurrentIndex(table.model.index(4, 1))
    table.show_values({"ids": np.arange(9), "grid": np.zeros((3, 3, 2))}, {"grid": HEADS})
    assert table.choice.currentData() == ("grid",)
    assert (table.view.currentIndex().row(), table.view.currentIndex().column()) == (4, 1)
    table.show_values({}, {})
    assert table.empty.isVisible()


# ---- in the window -------------------------------------------------------------------------------------------------


@pytest.fixture
def live(make_window: MakeWindow, qtbot, tiny_model) -> Window:
    """A run of six tokens on the tiny model, every panel on screen."""
    return with_run(make_window, qtbot, tiny_model, PANELS, tokens=6, size=(1600, 900), layout="all")


def test_every_panel_has_a_table_of_its_figures(live: Window, qtbot) -> None:
    for key, dock in live.workspace.docks.items():
        live.workspace.bring_up(key)
        qtbot.waitUntil(lambda dock=dock: dock.shown and live.complete)
        dock.take_focus()
        live.actions_by_name["show_table"].trigger()
        assert dock.table is not None, key
        assert dock.table.isVisible()
        assert not dock.panel.isVisible()
        values = dock.panel.values()
        choices = [dock.table.choice.itemData(row) for row in range(dock.table.choice.count())]
        assert [names[0] for names in choices if len(names) == 1] == list(values)
        for name, axes in dock.panel.axes().items():
            assert name not in values or len(axes) == np.ndim(values[name]), (key, name)
        live.actions_by_name["undo_one"].trigger()
        assert dock.table is None
        assert dock.panel.isVisible()


def test_the_table_of_attention_shows_what_the_panel_has_and_follows_the_run(live: Window, qtbot) -> None:
    dock = live.workspace.docks["attention"]
    dock.take_focus()
    live.actions_by_name["show_table"].trigger()
    assert dock.table is not None
    assert live.focusWidget() is dock.table.view
    dock.table.choice.setCurrentIndex(1)
    assert dock.table.choice.currentData() == ("map",)
    table = np.array(shown(dock.table.model), np.float32)
    np.testing.assert_array_equal(table, dock.panel.values()["map"])
    live.context.cursor.pin(layer=2, head=1)
    qtbot.waitUntil(lambda: live.complete)
    wanted = dock.panel.values()["map"]
    assert not np.array_equal(wanted, table)
    qtbot.waitUntil(lambda: np.array_equal(np.array(shown(dock.table.model), np.float32), wanted))  # type: ignore[union-attr]


def test_tables_say_tokens_names_and_states_in_words(live: Window, qtbot) -> None:
    """Whoever cannot see the picture learns as much from the table as the picture's read-out says."""
    run = live.context.run
    live.context.cursor.pin(position=run.n_tokens - 1)
    found = {}
    for key in ("strip", "sampling", "lens", "layers", "attention", "models"):
        live.workspace.bring_up(key)
        qtbot.waitUntil(lambda key=key: live.workspace.docks[key].shown and live.complete)
        found[key] = live.workspace.docks[key].panel.values()
    step = run.steps[-1]
    assert found["strip"]["tokens"].tolist() == [run.label(place) for place in range(run.n_tokens)]
    assert found["sampling"]["tokens"].tolist() == [written(piece) for piece in step.candidates]
    assert found["sampling"]["stage"].shape == found["sampling"]["ids"].shape
    lens = live.board.find(LensPanel)
    assert lens is not None
    texts = dict(zip(found["lens"]["ids"].ravel().tolist(), found["lens"]["words"].ravel().tolist(), strict=True))
    assert all(text == lens._words.text(id) for id, text in texts.items())
    assert set(texts.values()) != {""}
    assert set(found["layers"]["computed"].tolist()) == {"computed"}
    assert found["layers"]["stage"][0]
    assert len(found["models"]["names"]) == len(found["models"]["size"]) > 0
    query = live.workspace.docks["attention"].panel.axes()["map"][0]
    assert query.entry(0) == f"0 “{run.label(0)}”"
    table = ValuesTable("Lens")
    qtbot.addWidget(table)
    table.show_values(found["lens"], live.workspace.docks["lens"].panel.axes())
    assert table.choice.currentData() == ("words",), "what the picture shows comes first"
    assert f"“{run.label(lens._lens.start)}”" in table.model.describe(0, 0)  # type: ignore[union-attr]


def test_lists_are_told_in_words_and_every_axis_has_its_name(live: Window, qtbot) -> None:
    live.context.tray.add(Edit("zero", "attn.hook_z", layers=(2,), heads=(1,), name="no head 1"))
    live.context.breaks.add((Condition("entropy", limit=2.5),))
    said = {}
    for key, dock in live.workspace.docks.items():
        live.workspace.bring_up(key)
        qtbot.waitUntil(lambda dock=dock: dock.shown and live.complete)
        values, axes = dock.panel.values(), dock.panel.axes()
        assert set(values) <= set(axes), (key, set(values) - set(axes))
        assert all(len(axes[name]) == np.ndim(array) for name, array in values.items()), key
        table = ValuesTable(dock.panel.title())
        qtbot.addWidget(table)
        table.show_values(values, axes)
        said[key] = [table.model.describe(row, 0) for row in range(table.model.rowCount())]  # type: ignore[union-attr]
    assert said["edits"][0].startswith("edit 0, texts: layer 2 · head 1 · z: ")
    assert said["breakpoints"][-1] == "breakpoint 1, texts: entropy > 2.5 nats"


def test_the_place_of_a_zoomed_map_is_told_in_positions(live: Window, qtbot) -> None:
    from app.widgets.zoom_map import View

    dock = live.workspace.docks["attention"]
    dock.panel._large.go(View((2, 9), (1, 9)))  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: live.complete)
    places = [(axis.name, axis.first, axis.block) for axis in dock.panel.axes()["map"]]
    assert places == [("query", 2, 1), ("key", 1, 1)]


def test_a_panel_without_figures_says_so(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY, layout="explore"), PANELS)
    window.pages.setCurrentWidget(window.workspace)
    dock = window.workspace.docks["attention"]
    dock.toggle_table()
    assert dock.table is not None
    assert dock.table.empty.isVisible()
    dock.table.back.click()
    assert dock.table is None
