"""Themes: readable colours, bundled fonts with every mark we draw, colour maps as pixels, tinted icons."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyqtgraph
import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QFont, QFontInfo, QIcon, QPalette, QRawFont
from PySide6.QtWidgets import QApplication

import resources
from app import theme as themes
from app.theme import DARK, LIGHT, THEMES, Theme

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
    "fluoroscope",
]
BACKGROUNDS = ("window", "panel", "raised")
ACCENTS = ("accent", "hover", "prefill", "decode", "cut", "good", "attention", "mlp")
MARKS = "␣⏎⇥⌫·×→Δ∅✓▶…"

both = pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)


@pytest.fixture
def dressed(qapp: QApplication) -> QApplication:
    themes.apply(DARK, qapp, 10.0)
    return qapp


def test_contrast_is_that_of_wcag() -> None:
    assert themes.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert themes.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@both
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_text_can_be_read(theme: Theme, background: str) -> None:
    for role in ("text", "faint"):
        assert themes.contrast(getattr(theme, role), getattr(theme, background)) >= 4.5, role


@both
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_accents_stand_out(theme: Theme, background: str) -> None:
    for colour in (*(getattr(theme, role) for role in ACCENTS), *theme.groups):
        assert themes.contrast(colour, getattr(theme, background)) >= 3, colour


@pytest.mark.parametrize("grey", range(0, 256, 5))
def test_ink_can_be_read_on_every_background(grey: int) -> None:
    background = QColor(grey, grey, grey)
    assert themes.contrast(themes.ink(background), background) >= 4.5


@both
def test_palette_has_every_role(theme: Theme) -> None:
    made = themes.palette(theme)
    roles = set(QPalette.ColorRole) - {QPalette.ColorRole.NoRole, QPalette.ColorRole.NColorRoles}
    assert {role for role in roles if not made.isBrushSet(QPalette.ColorGroup.Active, role)} == set()
    disabled = made.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.WindowText)
    assert disabled != made.color(QPalette.ColorRole.WindowText)


@both
def test_selected_text_can_be_read(theme: Theme) -> None:
    made = themes.palette(theme)
    chosen = (made.color(QPalette.ColorRole.HighlightedText), made.color(QPalette.ColorRole.Highlight))
    assert themes.contrast(*chosen) >= 4.5


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


@both
def test_luts_are_opaque_pixels(theme: Theme) -> None:
    for name in (theme.sequential, theme.diverging):
        table = themes.lut(name)
        assert (table.shape, table.dtype) == ((256,), np.uint32)
        assert (table >> 24 == 255).all()
        assert not table.flags.writeable


def test_lut_agrees_with_pyqtgraph() -> None:
    red, green, blue = pyqtgraph.colormap.get("viridis").getLookupTable(nPts=256)[200]
    assert themes.lut("viridis")[200] == 0xFF000000 + (int(red) << 16) + (int(green) << 8) + int(blue)


@both
def test_zero_of_a_diverging_map_lies_near_the_panel(theme: Theme) -> None:
    table = themes.lut(theme.diverging)
    shades = [themes.luminance(QColor(int(table[code]) & 0xFFFFFF)) for code in (0, 128, 255)]
    near = [abs(shade - themes.luminance(theme.panel)) for shade in shades]
    assert near[1] < 0.25 * min(near[0], near[2])


def test_every_icon_is_there_and_no_other() -> None:
    assert {file.stem for file in resources.path("icons").glob("*.svg")} == set(ICONS)


@both
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
    assert {"dark": DARK, "light": LIGHT} == THEMES


def test_widgets_that_exist_before_the_first_apply_get_the_font() -> None:
    code = (
        "from PySide6.QtWidgets import QApplication, QLabel, QMainWindow; application = QApplication([]); "
        "window = QMainWindow(); label = QLabel('x'); window.setCentralWidget(label); window.menuBar(); "
        "from app import theme; theme.apply(theme.DARK, application, 13); window.show(); "
        "assert (label.font().family(), label.font().pointSizeF()) == (theme.SANS, 13), label.font()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(themes.__file__).parents[1])
