"""A text that looks like a tag is seen in a tool tip as it is: nearly every SentencePiece model begins with ``<s>``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6 import QtGui
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextDocument

from app.status import StatusBar
from app.theme import DARK
from app.widgets.bars import BarChart
from app.widgets.hidden_chip import Hidden, HiddenChip
from app.widgets.live_chip import LiveChip, LiveState
from app.widgets.still_label import StillLabel
from app.widgets.tips import plain_tip
from app.widgets.values_model import ValuesModel

TEXTS = ("token 0 “<s>”", "<b>bold</b> & <br>\n  second", "a < b and c > d", "", "<pre>", "no tag at all")


def seen(tip: str) -> str:
    """What Qt shows for a tip."""
    if not QtGui.Qt.mightBeRichText(tip):
        return tip
    document = QTextDocument()
    document.setHtml(tip)
    return document.toPlainText()


@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize("text", TEXTS)
def test_a_tip_shows_the_text(text: str) -> None:
    assert seen(plain_tip(text)) == text
    assert plain_tip("plain") == "plain"


def _value(text: str) -> str:
    bar = StatusBar()
    bar.show_value(text)
    return bar.value.toolTip()


def _live(text: str) -> str:
    chip = LiveChip(DARK)
    chip.show_state(LiveState(text, "pin", "text"))
    return chip.findChild(StillLabel).toolTip()


def _hidden(text: str) -> str:
    chip = HiddenChip()
    chip.show_hidden((), (Hidden(text, lambda: None),))
    return chip.toolTip()


def _picture(text: str) -> str:
    bars = BarChart(DARK, "bars", str)
    bars.say_about(text)
    return bars.toolTip()


def _cell(text: str) -> str:
    model = ValuesModel()
    model.show_array(np.array([text]))
    return model.data(model.index(0, 0), Qt.ItemDataRole.ToolTipRole)


@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize("tip", [_value, _live, _hidden, _picture, _cell])
def test_what_names_tokens_shows_a_tag(tip: Callable[[str], str]) -> None:
    assert "token 0 “<s>”" in seen(tip("token 0 “<s>”"))
