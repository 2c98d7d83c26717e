"""One table of tokens per theme; the palette, pyqtgraph and every panel read colours from here only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

import pyqtgraph  # isort: skip  (after PySide6: it takes the Qt that is already there)

import resources


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb. Text on ``window``, ``panel`` and ``raised`` reaches a contrast of 4.5."""

    name: str
    window: str  # behind everything
    panel: str  # behind a picture
    raised: str  # buttons, fields, title bars
    line: str  # borders, grid lines, axes
    text: str
    faint: str  # secondary text
    accent: str  # selection, the pinned place
    hover: str  # the hovered place
    prefill: str  # things that prefill made
    decode: str  # things that decode made
    cut: str  # what a stage cut, errors
    good: str  # done, ok
    absent: str  # hatching of what is not computed yet
    attention: str  # series colour: Δ(attention)
    mlp: str  # series colour: Δ(MLP)
    groups: tuple[str, ...]  # outlines of KV-head groups, safe for colour-blind viewers
    sequential: str  # name of a pyqtgraph colour map for 0..1 and norms
    diverging: str  # for signed data: zero is as dark (bright) as the panel, blue against yellow or red


DARK = Theme(
    name="dark",
    window="#15181d",
    panel="#1b1f26",
    raised="#262b34",
    line="#3a414d",
    text="#e8eaed",
    faint="#a3acb9",
    accent="#4da3ff",
    hover="#ffd166",
    prefill="#5b8def",
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
    text="#14171c",
    faint="#525c69",
    accent="#0b62c4",
    hover="#a86400",
    prefill="#2f63c8",
    decode="#b35c00",
    cut="#c22f2f",
    good="#18794e",
    absent="#d5dae2",
    attention="#0d7ca8",
    mlp="#b35c00",
    groups=("#0b62c4", "#b35c00", "#18794e", "#8a2fc0", "#b8304f", "#6a7300", "#007a7a", "#6d5636"),
    sequential="viridis",
    diverging="CET-D1A",
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT)}

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
    application.setStyle("Fusion")
    application.setPalette(palette(theme))
    application.setFont(_font(SANS, points or _present_points(application)))
    if not application.styleSheet():  # only a change of sheet tells widgets that exist before exec() of the font
        application.setStyleSheet("QToolTip { padding: 4px; }")
    application.setStyleSheet(_SHEET.format(**asdict(theme)))
    pyqtgraph.setConfigOptions(
        background=theme.panel, foreground=theme.text, imageAxisOrder="row-major", antialias=False
    )


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
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText, _Role.ToolTipText, _Role.HighlightedText):
        made.setColor(QPalette.ColorGroup.Disabled, role, mix(theme.faint, theme.window, 0.45))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Highlight, QColor(theme.line))
    made.setColor(QPalette.ColorGroup.Disabled, _Role.Base, QColor(theme.window))
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


# what the palette cannot reach: tool tips, the titles of docks, the gaps between them, the mark of keyboard focus
_SHEET = """
QToolTip {{ color: {text}; background: {raised}; border: 1px solid {line}; padding: 4px; }}
QMainWindow::separator {{ background: {line}; width: 3px; height: 3px; }}
QMainWindow::separator:hover {{ background: {accent}; }}
QDockWidget::title {{ background: {raised}; padding: 4px 6px; }}
QToolButton:focus {{ border: 1px solid {accent}; border-radius: 3px; }}
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
    """A pyqtgraph colour map as uint32 [256], 0xffRRGGBB: what a QImage of Format_RGB32 holds. Not writable."""
    table = pyqtgraph.colormap.get(name).getLookupTable(nPts=256).astype(np.uint32)
    packed = 0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]
    packed.setflags(write=False)
    return packed


def icon(name: str, theme: Theme, colour: str | None = None) -> QIcon:
    """One of ``resources/icons``, drawn in the theme's text colour (or ``colour``), crisp at every size.

    Raises FileNotFoundError where there is no icon of that name.
    """
    source = resources.path(f"icons/{name}.svg").read_text(encoding="utf-8")
    return QIcon(_TintedIcon(source, colour or theme.text, mix(theme.faint, theme.window, 0.45).name()))


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
        drawn = QPixmap(size)
        drawn.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawn)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return drawn

    def clone(self) -> QIconEngine:
        return _TintedIcon(*self._parts)
