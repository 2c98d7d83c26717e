"""The focus ring: around what has the focus and nothing else, in every kind of control, and never in the way."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSlider,
    QTabBar,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from app import theme as themes
from app.theme import CONTRAST, DARK, LIGHT, THEMES
from app.widgets.bars import BarChart
from app.widgets.focus_ring import FocusRing
from app.widgets.heatmap import Heatmap

KINDS = {
    "button": lambda: QPushButton("push"),
    "box": lambda: QCheckBox("tick"),
    "field": QLineEdit,
    "slider": lambda: QSlider(Qt.Orientation.Horizontal),
    "table": lambda: QTableWidget(2, 2),
    "tabs": lambda: _tabs(),
    "heatmap": lambda: Heatmap(DARK, "map", str),
    "chart": lambda: BarChart(DARK, "bars", str),
}


def _tabs() -> QTabBar:
    made = QTabBar()
    made.addTab("one")
    made.addTab("two")
    return made


class Held:
    """A window with controls below each other, and the ring."""

    def __init__(self, qtbot, *widgets: QWidget, theme=DARK) -> None:
        self.window = QWidget()
        qtbot.addWidget(self.window)
        column = QVBoxLayout(self.window)
        for widget in widgets:
            column.addWidget(widget)
        self.ring = FocusRing(self.window, theme)
        self.window.resize(300, 400)
        self.window.show()
        self.window.activateWindow()
        qtbot.waitUntil(self.window.isActiveWindow)

    def focus(self, qtbot, widget: QWidget) -> None:
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(widget.hasFocus)


def rim(held: Held, widget: QWidget) -> set[str]:
    """The colours just outside a widget, on each side."""
    picture, box = held.window.grab().toImage(), widget.geometry()
    middle = box.center()
    places = ((box.left(), middle.y()), (box.right(), middle.y()), (middle.x(), box.top()), (middle.x(), box.bottom()))
    return {picture.pixelColor(x, y).name() for x, y in places}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_whatever_has_the_focus_has_the_ring(qapp, qtbot, kind: str, theme) -> None:
    themes.apply(theme, qapp, 10.0)
    first, second = QPushButton("first"), KINDS[kind]()
    held = Held(qtbot, first, second, theme=theme)
    held.focus(qtbot, second)
    assert rim(held, second) == {theme.focus}
    assert held.ring.around.contains(second.geometry())
    held.focus(qtbot, first)
    assert rim(held, first) == {theme.focus}
    assert theme.focus not in rim(held, second)
    themes.apply(DARK, qapp, 10.0)


def test_it_grows_and_moves_with_what_it_is_around(qtbot) -> None:
    button = QPushButton("push")
    held = Held(qtbot, QLineEdit(), button)
    held.focus(qtbot, button)
    held.window.resize(500, 300)
    qtbot.waitUntil(lambda: held.ring.around.contains(button.geometry()))
    assert held.ring.around.width() < button.width() + 8
    button.hide()
    qtbot.waitUntil(lambda: not held.ring.around.intersects(button.geometry()))


def test_it_takes_no_click_and_no_focus(qtbot) -> None:
    button, clicks = QPushButton("push"), []
    held = Held(qtbot, button)
    button.clicked.connect(lambda: clicks.append(1))
    held.focus(qtbot, button)
    edge = held.window.childAt(button.geometry().topLeft() + QPoint(0, 4))
    assert edge is button
    qtbot.mouseClick(edge, Qt.MouseButton.LeftButton, pos=QPoint(0, 4))
    assert clicks == [1]


def test_it_is_cut_off_where_the_rest_is_scrolled_away(qtbot) -> None:
    tall, area = QTableWidget(2, 2), QScrollArea()
    tall.setMinimumHeight(2000)
    area.setWidgetResizable(True)
    area.setWidget(tall)
    held = Held(qtbot, area)
    held.focus(qtbot, tall)
    assert held.window.rect().contains(held.ring.around)
    assert held.ring.around.height() < 420


def test_it_follows_a_change_of_theme(qtbot) -> None:
    field = QLineEdit()
    held = Held(qtbot, field)
    held.focus(qtbot, field)
    for theme in (LIGHT, CONTRAST):
        held.ring.restyle(theme)
        assert rim(held, field) == {theme.focus}


def test_it_follows_into_a_dialog_and_out_of_it(qtbot) -> None:
    field = QLineEdit()
    held = Held(qtbot, field)
    held.focus(qtbot, field)
    dialog = QDialog(held.window)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    inner = QLineEdit(dialog)
    inner.setGeometry(QRect(20, 20, 100, 30))
    dialog.show()
    dialog.activateWindow()
    inner.setFocus()
    qtbot.waitUntil(inner.hasFocus)
    assert held.ring.around.contains(QRect(20, 20, 100, 30))
    dialog.close()
    held.window.activateWindow()
    qtbot.waitUntil(field.hasFocus)
    assert rim(held, field) == {DARK.focus}


def test_another_window_has_no_ring_of_ours(qtbot) -> None:
    held, other = Held(qtbot, QLineEdit()), QLineEdit()
    qtbot.addWidget(other)
    other.show()
    other.activateWindow()
    other.setFocus()
    qtbot.waitUntil(other.hasFocus)
    assert held.ring.around.isEmpty()
