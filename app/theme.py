"""One table of tokens per theme; the palette, pyqtgraph and every panel read colours from here only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, QThread
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

import pyqtgraph  # isort: skip  (after PySide6: it takes the Qt that is already there)

import resources
from app.colour_maps import DIVERGING, SEQUENTIAL, colour_map


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb. Text on ``window``, ``panel`` and ``raised`` reaches a contrast of 4.5, what carries meaning
    without being text 3; in high contrast text reaches 7 and what is merely quiet elsewhere is as plain as the rest."""

    name: str
    window: str  # behind everything
    panel: str  # behind a picture
    raised: str  # buttons, fields, title bars
    line: str  # borders of what is no control, grid lines, axes
    edge: str  # borders of fields, boxes to tick, handles
    text: str
    faint: str  # secondary text
    off: str  # the text of what cannot be used now
    accent: str  # selection, the pinned place
    focus: str  # the ring around what has the keyboard focus
    stroke: int  # width of that ring, pixels at 100 %
    hover: str  # the hovered place
    prefill: str  # things that prefill made
    decode: str  # things that decode made
    cut: str  # what a stage cut, errors
    good: str  # done, ok
    absent: str  # ground of what is not computed yet, with lines of ``faint`` across
    attention: str  # series colour: Δ(attention)
    mlp: str  # series colour: Δ(MLP)
    groups: tuple[str, ...]  # outlines of KV-head groups, safe for colour-blind viewers
    sequential: str  # the map for 0..1 and norms, by a name that app/colour_maps.py knows
    diverging: str  # for signed data: zero is as dark (bright) as the panel, blue against yellow or red


DARK = Theme(
    name="dark",
    window="#15181d",
    panel="#1b1f26",
    raised="#262b34",
    line="#3a414d",
    edge="#7d8796",
    text="#e8eaed",
    faint="#a3acb9",
    off="#7d8594",
    accent="#4da3ff",
    focus="#ffffff",
    stroke=2,
    hover="#ffd166",
    prefill="#6f9bf3",
    decode="#f2a541",
    cut="#ff6b6b",
    good="#4cc38a",
    absent="#39404b",
    attention="#5bc0eb",
    mlp="#f2a541",
    groups=("#4da3ff", "#f2a541", "#4cc38a", "#d783ff", "#ff8fa3", "#c9d65b", "#5bd6d6", "#b8a07e"),
    sequential="viridis",
    diverging="CET-D6",
)

LIGHT = Theme(
    name="light",
    window="#f3f4f6",
    panel="#ffffff",
    raised="#e6e9ee",
    line="#b6bdc8",
    edge="#6f7885",
    text="#14171c",
    faint="#525c69",
    off="#757d89",
    accent="#0b62c4",
    focus="#14171c",
    stroke=2,
    hover="#8f5500",
    prefill="#2f63c8",
    decode="#9a4f00",
    cut="#c22f2f",
    good="#136c44",
    absent="#d5dae2",
    attention="#096b92",
    mlp="#9a4f00",
    groups=("#0b62c4", "#9a4f00", "#136c44", "#8a2fc0", "#b8304f", "#5c6400", "#006b6b", "#6d5636"),
    sequential="viridis",
    diverging="CET-D1A",
)

CONTRAST = Theme(
    name="contrast",
    window="#000000",
    panel="#000000",
    raised="#161616",
    line="#9a9a9a",
    edge="#d0d0d0",
    text="#ffffff",
    faint="#e0e0e0",
    off="#969696",
    accent="#57c7ff",
    focus="#ffe600",
    stroke=4,
    hover="#ffe600",
    prefill="#8fb8ff",
    decode="#ffb84d",
    cut="#ff9090",
    good="#63f2a5",
    absent="#3c3c3c",
    attention="#66d9ff",
    mlp="#ffb84d",
    groups=("#57c7ff", "#ffb84d", "#63f2a5", "#e5a8ff", "#ffa3b5", "#dbea6b", "#6ff0f0", "#d9c3a0"),
    sequential="viridis",
    diverging="CET-D6",
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST)}


def coloured(theme: Theme, sequential: str, diverging: str) -> Theme:
    """The theme with these colour maps, by their keys in app/colour_maps.py; an unknown key leaves its own."""
    signed = DIVERGING.get(diverging, (theme.diverging, theme.diverging))
    light = luminance(theme.panel) > 0.5
    return replace(theme, sequential=SEQUENTIAL.get(sequential, theme.sequential), diverging=signed[light])


SANS = "Inter"
MONO = "DejaVu Sans Mono"
DEFAULT_POINTS = 10.0

_FONTS = ("Inter-Regular.otf", "Inter-SemiBold.otf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")


def apply(theme: Theme, application: QApplication, points: float | None = None) -> None:
    """Style, palette, font and pyqtgraph's defaults of the whole program.

    Args:
        points: size of the application font, from which every size on screen follows; None keeps the present one.
    """
    load_fonts()
    application.setStyleSheet("")  # straight from one sheet to another takes three times as long
    if application.style().objectName() != "fusion":
        application.setStyle("Fusion")
    application.setPalette(palette(theme))
    for kind in _CONTROLS:
        application.setPalette(edged(theme), kind)  # type: ignore[arg-type]  # the stub says bytes, Qt takes none
    font = _font(SANS, points or _present_points(application))
    unheard = font != application.font() and not QThread.currentThread().loopLevel()
    application.setFont(font)
    if unheard:  # before exec() only a change from one sheet to another tells the widgets that exist of the font
        application.setStyleSheet(_NO_SHEET)
    mark = round(QFontMetricsF(application.font()).ascent())  # a box to tick is as high as a capital with its accent
    sheet = _SHEET.format(
        **asdict(theme), on_accent=ink(theme.accent).name(), on_line=ink(theme.line).name(), mark=mark
    )
    application.setStyleSheet(sheet)
    pyqtgraph.setConfigOptions(
        background=theme.panel, foreground=theme.text, imageAxisOrder="row-major", antialias=False
    )


_NO_SHEET = "QToolTip { padding: 4px; }"


def load_fonts() -> None:
    """Make the bundled fonts known to Qt; needs a QGuiApplication. Raises RuntimeError where Qt refuses one."""
    for name in _FONTS:
        if not QFontDatabase.applicationFontFamilies(_font_ids.get(name, -1)):
            _font_ids[name] = _add_font(name)


_font_ids: dict[str, int] = {}


def _add_font(name: str) -> int:
    added = QFontDatabase.addApplicationFont(str(resources.path(f"fonts/{name}")))
    if added < 0:
        raise RuntimeError(f"Qt cannot read the bundled font {name}; install Fluoroscope again.")
    return added


def mono_font(points: float | None = None) -> QFont:
    """The bundled font of fixed width, at the size of the application font unless said otherwise."""
    font = _font(MONO, points or QApplication.font().pointSizeF())
    font.setStyleHint(QFont.StyleHint.Monospace)
    return font


def _present_points(application: QApplication) -> float:
    font = application.font()
    return font.pointSizeF() if font.family() == SANS and font.pointSizeF() > 0 else DEFAULT_POINTS


def _font(family: str, points: float) -> QFont:
    font = QFont(family)
    font.setPointSizeF(points)
    return font


def palette(theme: Theme) -> QPalette:
    """Every role that Fusion draws with, for the active, inactive and disabled group."""
    made = QPalette()
    for role, colour in _roles(theme).items():
        made.setColor(role, QColor(colour))
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText, _Role.ToolTipText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.off))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.HighlightedText, ink(theme.line))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Highlight, QColor(theme.line))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Base, QColor(theme.window))
    return made


# Fusion takes the borders of these from the ground behind them, darkened, which on a dark ground nobody sees
_CONTROLS = (
    "QCheckBox",
    "QRadioButton",
    "QGroupBox",
    "QLineEdit",
    "QPlainTextEdit",
    "QAbstractSpinBox",
    "QComboBox",
    "QPushButton",
    "QSlider",
    "QProgressBar",
    "QScrollBar",
    "QToolButton",
)
_FUSION_DARKENS = 140  # per cent


def edged(theme: Theme) -> QPalette:
    """The palette of controls: Fusion draws their borders in the theme's ``edge``."""
    made = palette(theme)
    for group in (QPalette.ColorGroup.Active, QPalette.ColorGroup.Inactive):
        made.setColor(group, _Role.Window, QColor(theme.edge).lighter(_FUSION_DARKENS))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Window, QColor(theme.line).lighter(_FUSION_DARKENS))
    return made


_Role = QPalette.ColorRole


def _roles(theme: Theme) -> dict[QPalette.ColorRole, str]:
    return {
        _Role.Window: theme.window,
        _Role.WindowText: theme.text,
        _Role.Base: theme.panel,
        _Role.AlternateBase: theme.window,
        _Role.Text: theme.text,
        _Role.PlaceholderText: theme.faint,
        _Role.ToolTipBase: theme.raised,
        _Role.ToolTipText: theme.text,
        _Role.Button: theme.raised,
        _Role.ButtonText: theme.text,
        _Role.BrightText: theme.cut,
        _Role.Highlight: theme.accent,
        _Role.HighlightedText: ink(theme.accent).name(),
        _Role.Accent: theme.accent,
        _Role.Link: theme.accent,
        _Role.LinkVisited: theme.prefill,
        _Role.Light: mix(theme.raised, theme.text, 0.12).name(),
        _Role.Midlight: mix(theme.raised, theme.text, 0.06).name(),
        _Role.Mid: theme.line,
        _Role.Dark: mix(theme.line, "#000000", 0.3).name(),
        _Role.Shadow: "#000000",
    }


# what the palette cannot reach: tool tips, the titles of docks, the gaps between them, buttons that are pressed in
_SHEET = """
QToolTip {{ color: {text}; background: {raised}; border: 1px solid {line}; padding: 4px; }}
QMainWindow::separator {{ background: {line}; width: 3px; height: 3px; }}
QMainWindow::separator:hover {{ background: {accent}; }}
QDockWidget::title {{ background: {raised}; padding: 4px 6px; }}
QTabBar {{ qproperty-elideMode: ElideNone; qproperty-usesScrollButtons: true; }}
QTabBar::tab {{ background: {raised}; color: {faint}; padding: 4px 9px; border: 1px solid {line};
    border-top: 3px solid {line}; }}
QTabBar::tab:selected {{ background: {panel}; color: {text}; border-top: 3px solid {accent}; border-bottom: none; }}
QTabBar::tab:hover {{ color: {text}; }}
QTabBar::tab:disabled {{ color: {off}; }}
QPushButton {{ icon-size: {mark}px; }}
QCheckBox::indicator, QRadioButton::indicator, QGroupBox::indicator {{ width: {mark}px; height: {mark}px; }}
QPushButton:checked, QToolButton:checked {{ background: {accent}; color: {on_accent}; border: 1px solid {accent};
    border-radius: 3px; padding: 2px 5px; }}
QPushButton:checked:disabled, QToolButton:checked:disabled {{ background: {line}; color: {on_line};
    border: 1px solid {line}; }}
"""


def mix(colour: str, other: str, share: float) -> QColor:
    """``colour`` with ``share`` (0..1) of ``other`` in it, per sRGB channel."""
    a, b = QColor(colour), QColor(other)
    channels = zip((a.red(), a.green(), a.blue()), (b.red(), b.green(), b.blue()), strict=True)
    return QColor(*(round(x + (y - x) * share) for x, y in channels))


def luminance(colour: QColor | str) -> float:
    """Relative luminance, 0..1 (WCAG 2.2)."""
    channels = (QColor(colour).redF(), QColor(colour).greenF(), QColor(colour).blueF())
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: QColor | str, second: QColor | str) -> float:
    """Contrast ratio of two colours, 1..21 (WCAG 2.2)."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def ink(background: QColor | str) -> QColor:
    """Black or white, whichever reads better on ``background`` (at least 4.58 : 1)."""
    return QColor("#000000") if luminance(background) > 0.1791 else QColor("#ffffff")


@cache
def lut(name: str) -> np.ndarray:
    """A colour map as uint32 [256], 0xffRRGGBB: what a QImage of Format_RGB32 holds. Not writable."""
    table = colour_map(name).getLookupTable(nPts=256).astype(np.uint32)
    packed = 0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]
    packed.setflags(write=False)
    return packed


def icon(name: str, theme: Theme, colour: str | None = None) -> QIcon:
    """One of ``resources/icons``, drawn in the theme's text colour (or ``colour``), crisp at every size.

    Raises FileNotFoundError where there is no icon of that name.
    """
    return QIcon(_TintedIcon(_outlines(name), colour or theme.text, theme.off))


@cache
def _outlines(name: str) -> str:
    return resources.path(f"icons/{name}.svg").read_text(encoding="utf-8")


class _TintedIcon(QIconEngine):
    """Draws an SVG from its outlines each time, with ``currentColor`` replaced; disabled icons are dimmed."""

    def __init__(self, source: str, colour: str, disabled: str) -> None:
        super().__init__()
        self._parts = (source, colour, disabled)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        source, colour, disabled = self._parts
        tint = disabled if mode == QIcon.Mode.Disabled else colour
        renderer = QSvgRenderer(source.replace("currentColor", tint).encode())
        renderer.setAspectRatioMode(Qt.AspectRatioMode.KeepAspectRatio)
        renderer.render(painter, QRectF(rect))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        if size.isEmpty():  # of a button in which nothing has room; Qt cannot paint on that
            return QPixmap()
        drawn = QPixmap(size)
        drawn.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawn)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return drawn

    def clone(self) -> QIconEngine:
        return _TintedIcon(*self._parts)
