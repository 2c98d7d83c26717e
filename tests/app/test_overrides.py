"""What goes wrong in a method that Qt calls is told, and the program goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

PROGRAM = """
import sys
from PySide6.QtCore import QAbstractTableModel, QEvent, QObject, Qt
from PySide6.QtWidgets import QApplication, QTableView, QWidget
from shiboken6 import delete
from app import overrides

def fail():
    {fault}

class Early(QWidget):
    def closeEvent(self, event):
        fail()

overrides.guard()
overrides.guard()

class Late(QAbstractTableModel):
    def rowCount(self, parent=None):
        return 1
    def columnCount(self, parent=None):
        return 1
    def data(self, index, role=Qt.ItemDataRole.DisplayRole):
        fail()

class Filter(QObject):
    def eventFilter(self, watched, event):
        return event.type() == QEvent.Type.Paint and fail()

told = []

def attempt(call):
    try:
        call()
    except Exception as error:
        told.append(type(error).__name__)

sys.excepthook = lambda kind, error, trace: told.append(kind.__name__)
application = QApplication([])
table, filtered, widget = QTableView(), QWidget(), Early()
model, watcher = Late(), Filter()
table.setModel(model)
filtered.installEventFilter(watcher)
for act in (table.show, filtered.show, widget.show, widget.close, *[application.processEvents] * 20):
    attempt(act)
print(sorted(set(told)), len(told) >= 3)
"""

FAULTS = {
    "int('x')": "ValueError",
    "[][1]": "IndexError",
    "next(iter(()))": "StopIteration",
    "w = QWidget(); delete(w); w.close()": "RuntimeError",
    "raise KeyError('x')": "KeyError",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_in_what_qt_calls_crashes_nothing(fault: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(fault=fault)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"[{FAULTS[fault]!r}] True"), done.stderr


def test_the_tests_run_with_it(qtbot: QtBot) -> None:
    class Broken(QWidget):
        def event(self, event: QEvent) -> bool:
            return bool(int("x")) if event.type() == QEvent.Type.User else super().event(event)

    widget = Broken()
    qtbot.addWidget(widget)
    with pytest.raises(ValueError, match="invalid literal"):
        QApplication.sendEvent(widget, QEvent(QEvent.Type.User))
