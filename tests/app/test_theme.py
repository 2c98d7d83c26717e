"""Themes: readable colours, bundled fonts with every mark we draw, colour maps as pixels, tinted icons."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyqtgraph
import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QFont, QFontInfo, QIcon, QPalette, QRawFont
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QRadioButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import resources
from app import theme as themes
from app.theme import CONTRAST, DARK, LIGHT, THEMES, Theme
from app.widgets.canvas import HATCHING

ICONS = [
    "run",
    "pause",
    "step-layer",
    "step-stage",
    "step-token",
    "stop",
    "open-folder",
    "open-file",
    "download",
    "examples",
    "cancel",
    "export",
    "copy",
    "maximise",
    "restore",
    "theme",
    "settings",
    "help",
    "pin",
    "follow-live",
    "layers",
    "attention",
    "residual",
    "cache",
    "sampling",
    "model",
    "tensors",
    "close",
    "warning",
    "seed",
    "larger",
    "smaller",
    "edit",
    "speed",
    "note",
    "bookmark",
    "record",
    "fluoroscope",
]
BACKGROUNDS = ("window", "panel", "raised")
CONTROLS = (QCheckBox, QRadioButton, QLineEdit, QSpinBox, QComboBox, QPushButton, QPlainTextEdit)
ACCENTS = ("accent", "hover", "prefill", "decode", "cut", "good", "attention", "mlp")
MARKS = "␣⏎⇥⌫·×→Δ∅✓▶…"

each = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)


@pytest.fixture
def dressed(qapp: QApplication) -> QApplication:
    themes.apply(DARK, qapp, 10.0)
    return qapp


def test_contrast_is_that_of_wcag() -> None:
    assert themes.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert themes.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


LETTERS = ("text", "faint", *ACCENTS)  # what words are written in
GRAPHICS = ("edge", "focus", *ACCENTS)


@each
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_text_can_be_read(theme: Theme, background: str) -> None:
    least = 7 if theme is CONTRAST else 4.5
    for role in LETTERS:
        assert themes.contrast(getattr(theme, role), getattr(theme, background)) >= least, role


@each
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_what_carries_meaning_stands_out(theme: Theme, background: str) -> None:
    for colour in (*(getattr(theme, role) for role in GRAPHICS), *theme.groups):
        assert themes.contrast(colour, getattr(theme, background)) >= 3, colour


@each
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_what_cannot_be_used_is_quieter_and_can_still_be_read(theme: Theme, background: str) -> None:
    ground = getattr(theme, background)
    assert themes.contrast(theme.off, ground) >= (4.5 if theme is CONTRAST else 3)
    assert themes.contrast(theme.off, ground) < themes.contrast(theme.faint, ground)


@each
def test_what_is_not_computed_yet_is_seen_on_the_panel(theme: Theme) -> None:
    lines = themes.mix(theme.absent, theme.faint, HATCHING)
    assert themes.contrast(lines, theme.panel) >= 3
    assert themes.contrast(lines, theme.absent) >= 1.9


def test_high_contrast_has_thicker_lines() -> None:
    assert CONTRAST.stroke >= 2 * max(DARK.stroke, LIGHT.stroke)


@each
@pytest.mark.parametrize("make", CONTROLS)
def test_a_control_has_a_border_that_is_seen(qapp: QApplication, qtbot, theme: Theme, make) -> None:
    themes.apply(theme, qapp, 10.0)
    holder, control = QWidget(), make()
    qtbot.addWidget(holder)
    QVBoxLayout(holder).addWidget(control)
    holder.resize(200, 60)
    holder.show()
    picture = holder.grab().toImage()
    middle = control.geometry().center().y()
    row = {picture.pixelColor(x, middle).name() for x in range(control.x(), control.geometry().right() + 1)}
    assert max(themes.contrast(colour, theme.window) for colour in row) >= 3, row


@each
def test_a_button_that_is_pressed_in_is_told_from_one_that_is_not(qapp: QApplication, qtbot, theme: Theme) -> None:
    themes.apply(theme, qapp, 10.0)
    for kind in (QPushButton, QToolButton):
        button = kind()
        qtbot.addWidget(button)
        button.setCheckable(True)
        button.resize(60, 30)
        grounds = []
        for checked in (False, True):
            button.setChecked(checked)
            grounds.append(button.grab().toImage().pixelColor(30, 15))
        assert themes.contrast(*grounds) >= 3


@pytest.mark.parametrize("grey", range(0, 256, 5))
def test_ink_can_be_read_on_every_background(grey: int) -> None:
    background = QColor(grey, grey, grey)
    assert themes.contrast(themes.ink(background), background) >= 4.5


@each
def test_palette_has_every_role(theme: Theme) -> None:
    made = themes.palette(theme)
    roles = set(QPalette.ColorRole) - {QPalette.ColorRole.NoRole, QPalette.ColorRole.NColorRoles}
    assert {role for role in roles if not made.isBrushSet(QPalette.ColorGroup.Active, role)} == set()
    disabled = made.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.WindowText)
    assert disabled != made.color(QPalette.ColorRole.WindowText)


@each
@pytest.mark.parametrize("group", [QPalette.ColorGroup.Active, QPalette.ColorGroup.Disabled])
def test_selected_text_can_be_read(theme: Theme, group: QPalette.ColorGroup) -> None:
    made = themes.palette(theme)
    chosen = (made.color(group, QPalette.ColorRole.HighlightedText), made.color(group, QPalette.ColorRole.Highlight))
    assert themes.contrast(*chosen) >= 4.5


@each
def test_a_button_that_is_pressed_in_and_disabled_can_be_read(qapp: QApplication, theme: Theme) -> None:
    themes.apply(theme, qapp, 12.0)
    rule = qapp.styleSheet().split("QToolButton:checked:disabled")[1].split("}")[0]
    ground, text = (re.search(rf"{name}: (#\w+)", rule) for name in ("background", "[^-]color"))
    assert ground is not None
    assert text is not None
    assert themes.contrast(ground[1], text[1]) >= 4.5


def test_apply_reaches_widgets_and_pyqtgraph(qapp: QApplication) -> None:
    for theme in (DARK, LIGHT):
        themes.apply(theme, qapp, 12.0)
        assert qapp.palette().color(QPalette.ColorRole.Window).name() == theme.window
        assert pyqtgraph.getConfigOption("background") == theme.panel
        assert pyqtgraph.getConfigOption("imageAxisOrder") == "row-major"
        assert not pyqtgraph.getConfigOption("antialias")


def test_size_is_kept_on_a_change_of_theme(qapp: QApplication) -> None:
    themes.apply(DARK, qapp, 17.0)
    themes.apply(LIGHT, qapp)
    assert qapp.font().pointSizeF() == 17.0
    assert themes.mono_font().pointSizeF() == 17.0
    themes.apply(DARK, qapp, 10.0)


def test_bundled_fonts_are_used(dressed: QApplication) -> None:
    assert QFontInfo(dressed.font()).family() == themes.SANS
    assert QFontInfo(themes.mono_font()).family() == themes.MONO
    assert QFontInfo(themes.mono_font()).fixedPitch()
    strong = QFont(dressed.font())
    strong.setWeight(QFont.Weight.DemiBold)
    assert QRawFont.fromFont(strong).styleName() in ("SemiBold", "Semi Bold")


def test_fonts_have_our_marks(dressed: QApplication) -> None:
    for font in (dressed.font(), themes.mono_font()):
        raw = QRawFont.fromFont(font)
        assert [mark for mark in MARKS if not raw.supportsCharacter(ord(mark))] == []


def test_fonts_are_small_and_have_their_licences() -> None:
    folder = resources.path("fonts")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    assert "SIL OPEN FONT LICENSE" in (folder / "Inter-LICENSE.txt").read_text()
    assert "Bitstream" in (folder / "DejaVu-LICENSE.txt").read_text()


def test_a_missing_resource_is_said_plainly() -> None:
    with pytest.raises(FileNotFoundError, match=r"icons/none\.svg is missing"):
        resources.path("icons/none.svg")


@each
def test_luts_are_opaque_pixels(theme: Theme) -> None:
    for name in (theme.sequential, theme.diverging):
        table = themes.lut(name)
        assert (table.shape, table.dtype) == ((256,), np.uint32)
        assert (table >> 24 == 255).all()
        assert not table.flags.writeable


def test_lut_agrees_with_pyqtgraph() -> None:
    red, green, blue = pyqtgraph.colormap.get("viridis").getLookupTable(nPts=256)[200]
    assert themes.lut("viridis")[200] == 0xFF000000 + (int(red) << 16) + (int(green) << 8) + int(blue)


@each
def test_zero_of_a_diverging_map_lies_near_the_panel(theme: Theme) -> None:
    table = themes.lut(theme.diverging)
    shades = [themes.luminance(QColor(int(table[code]) & 0xFFFFFF)) for code in (0, 128, 255)]
    near = [abs(shade - themes.luminance(theme.panel)) for shade in shades]
    assert near[1] < 0.25 * min(near[0], near[2])


def test_every_icon_is_there_and_no_other() -> None:
    assert {file.stem for file in resources.path("icons").glob("*.svg")} == set(ICONS)


@each
@pytest.mark.parametrize("name", ICONS)
def test_icons_draw_at_every_size(dressed: QApplication, theme: Theme, name: str) -> None:
    drawn = themes.icon(name, theme)
    for size in (16, 24, 48, 200):
        picture = drawn.pixmap(QSize(size, size)).toImage()
        alphas = [picture.pixelColor(x, y).alpha() for x in range(size) for y in range(size)]
        assert 0.02 < sum(alphas) / 255 / size**2 < 0.99


def test_icons_take_the_colour_of_the_theme(dressed: QApplication) -> None:
    def colours(icon: QIcon, mode: QIcon.Mode = QIcon.Mode.Normal) -> set[str]:
        picture = icon.pixmap(QSize(64, 64), mode).toImage()
        pixels = [picture.pixelColor(x, y) for x in range(64) for y in range(64)]
        return {pixel.name() for pixel in pixels if pixel.alpha() == 255}

    assert colours(themes.icon("pause", DARK)) == {DARK.text}
    assert colours(themes.icon("pause", LIGHT)) == {LIGHT.text}
    assert colours(themes.icon("pause", LIGHT, "#ff0000")) == {"#ff0000"}
    assert colours(themes.icon("pause", DARK), QIcon.Mode.Disabled).isdisjoint({DARK.text})


def test_icon_survives_copying(dressed: QApplication) -> None:
    copy = QIcon(themes.icon("run", DARK))
    assert not copy.pixmap(QSize(32, 32)).isNull()


def test_an_icon_in_no_room_is_nothing_and_qt_says_nothing(dressed: QApplication, qtbot) -> None:
    drawn = themes.icon("cancel", DARK)
    for size in (QSize(0, 0), QSize(0, 16), QSize(16, 0)):
        assert drawn.pixmap(size).isNull()
    button = QToolButton()
    qtbot.addWidget(button)
    button.setIcon(drawn)
    for width in (0, 1, 2, 5):
        button.resize(width, 20)
        button.grab()


def test_the_file_of_an_icon_is_read_once(dressed: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    themes.icon("pause", DARK)
    monkeypatch.setattr(resources, "path", lambda name: pytest.fail(f"{name} is read again"))
    assert not themes.icon("pause", LIGHT).pixmap(16, 16).isNull()


def test_own_icons_follow_one_style() -> None:
    for name in set(ICONS) - {"fluoroscope"}:
        text = Path(resources.path(f"icons/{name}.svg")).read_text()
        assert 'viewBox="0 0 24 24"' in text
        assert 'stroke="currentColor"' in text
        assert "#" not in text


def test_import_needs_no_application() -> None:
    code = (
        "import app.theme; from PySide6.QtCore import QCoreApplication; assert QCoreApplication.instance() is None; "
        "assert 'torch' not in __import__('sys').modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(themes.__file__).parents[1])


def test_themes_are_known_by_name() -> None:
    assert {"dark": DARK, "light": LIGHT, "contrast": CONTRAST} == THEMES


def test_widgets_that_exist_before_the_first_apply_get_the_font() -> None:
    code = (
        "from PySide6.QtWidgets import QApplication, QLabel, QMainWindow; application = QApplication([]); "
        "window = QMainWindow(); label = QLabel('x'); window.setCentralWidget(label); window.menuBar(); "
        "from app import theme; theme.apply(theme.DARK, application, 13); window.show(); "
        "assert (label.font().family(), label.font().pointSizeF()) == (theme.SANS, 13), label.font()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(themes.__file__).parents[1])
