"""Figures are typed and written with a point, whatever the desktop's region writes; a comma is understood."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PySide6.QtCore import QLocale, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDoubleSpinBox
from pytestqt.qtbot import QtBot

from app.theme import DARK
from app.widgets.condition_form import ConditionForm
from app.widgets.decimal_box import DecimalBox
from app.widgets.stage_controls import StageControls


def typed(box: QDoubleSpinBox, text: str) -> float:
    box.show()
    box.selectAll()
    QTest.keyClicks(box, text)
    QTest.keyClick(box, Qt.Key.Key_Tab)
    return box.value()


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("0,5", 0.5), (",25", 0.25), ("1", 1.0)])
def test_a_comma_is_a_point(qtbot: QtBot, text: str, value: float) -> None:
    box = DecimalBox()
    qtbot.addWidget(box)
    assert typed(box, text) == value
    assert "," not in box.text()


def test_every_field_with_decimals_is_one(qtbot: QtBot) -> None:
    parts = StageControls(DARK), ConditionForm(int)
    for part in parts:
        qtbot.addWidget(part)
    fields = [field for part in parts for field in part.findChildren(QDoubleSpinBox)]
    assert len(fields) > 5
    assert all(isinstance(field, DecimalBox) for field in fields)


def test_the_program_writes_with_a_point_in_any_region() -> None:
    """Fields take their signs from Qt's default, which the start sets before it makes a window."""
    program = (
        "from PySide6.QtCore import QLocale\n"
        "from app import application\n"
        "from app.command_line import Options\n"
        "application.QApplication = lambda *_: (_ for _ in ()).throw(SystemExit(QLocale().decimalPoint()))\n"
        "QLocale.setDefault(QLocale('de_DE'))\n"
        "application.run_application(Options())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ".", done.stderr
    assert QLocale(QLocale.Language.German).decimalPoint() == ","
