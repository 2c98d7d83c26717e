"""The frame around a panel: title, badge, caption, export, maximise."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QMouseEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.export import WRITERS
from app.panels.panel import Panel
from app.theme import Theme, icon
from app.widgets.still_label import StillLabel


class PanelDock(QDockWidget):
    """``maximise_asked``: a double click on the title; ``key_pressed``: a key that no part of the panel took."""

    maximise_asked = Signal()
    key_pressed = Signal(str)
    shown_changed = Signal(bool)  # on screen: open, and its tab on top
    failed = Signal(str)  # an export that could not be written, one sentence

    def __init__(self, panel: Panel, theme: Theme) -> None:
        super().__init__(panel.title())
        self.panel = panel
        self.shown = False
        self._note = ""
        self.setObjectName(f"dock.{panel.key}")
        self.need = NeedLine()
        self.setWidget(_stacked(self.need, panel))
        self.bar = TitleBar(self)
        self.setTitleBarWidget(self.bar)
        panel.setAccessibleName(panel.accessibleName() or panel.title())
        panel.caption_changed.connect(self.refresh)
        self.visibilityChanged.connect(self._visibility_changed)
        self.restyle(theme)

    def refresh(self) -> None:
        """Title, badge and caption as the panel gives them now."""
        self.setWindowTitle(self.panel.title())
        badge = " · ".join(filter(None, (self.panel.side(), self.panel.badge(), self._note)))
        self.bar.show_texts(self.panel.title(), badge, self.panel.caption())
        need = self.panel.need or self.panel.aside()
        self.need.say("" if self.panel.stands_alone else need, whole=self.panel.shows_nothing)
        self.panel.setVisible(not self.panel.shows_nothing)

    def set_note(self, note: str) -> None:
        """What the window has to say about the panel's picture, after the panel's own badge."""
        if note != self._note:
            self._note = note
            self.refresh()

    def restyle(self, theme: Theme) -> None:
        self.bar.restyle(theme)
        self.need.restyle(theme)
        self.refresh()

    def copy_picture(self) -> None:
        QGuiApplication.clipboard().setImage(self.panel.picture())

    def save_as(self, kind: str) -> None:
        """Ask for a file and write the panel there."""
        suggestion = f"{self.panel.key}.{kind}"
        name, _ = QFileDialog.getSaveFileName(self, self.tr("Save panel"), suggestion, f"{kind.upper()} (*.{kind})")
        if name:
            self.save(kind, Path(name))

    def save(self, kind: str, path: Path) -> None:
        """Write the panel; what goes wrong is told by ``failed``."""
        target = path if path.suffix else path.with_suffix(f".{kind}")
        try:
            WRITERS[kind](self.panel, target)
        except OSError as error:
            self.failed.emit(self.tr("The file {0} could not be written: {1}.").format(target, error.strerror or error))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        key = _key_name(event)
        if key:
            self.key_pressed.emit(key)
        else:
            super().keyPressEvent(event)

    def _visibility_changed(self, visible: bool) -> None:
        if visible != self.shown:
            self.shown = visible
            self.shown_changed.emit(visible)


def _key_name(event: QKeyEvent) -> str:
    """ "Space", "F" or "?" when pressed alone; "" for every other key."""
    if event.text() == "?":
        return "?"
    if event.modifiers() != Qt.KeyboardModifier.NoModifier or event.key() not in (Qt.Key.Key_Space, Qt.Key.Key_F):
        return ""
    return QKeySequence(event.key()).toString()


def _stacked(*widgets: QWidget) -> QWidget:
    """One below the other, the last one with all the room that is left."""
    stack = QWidget()
    column = QVBoxLayout(stack)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for widget in widgets:
        column.addWidget(widget)
    column.setStretch(len(widgets) - 1, 1)
    return stack


class NeedLine(QLabel):
    """Above a panel of a run without its model: which model what is not recorded would take. Hidden otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setAutoFillBackground(True)
        self.setAccessibleName(self.tr("About this picture"))
        self._said = ("", False)
        self.hide()

    def say(self, sentence: str, *, whole: bool) -> None:
        """``whole``: in the middle of the room that the panel leaves it."""
        if (sentence, whole) == self._said:  # captions change with every token
            return
        self._said = (sentence, whole)
        self.setText(sentence)
        self.setVisible(bool(sentence))
        policies, where = QSizePolicy.Policy, Qt.AlignmentFlag
        policy = QSizePolicy(policies.Ignored, policies.Expanding if whole else policies.Minimum)
        policy.setHeightForWidth(not whole)  # as many lines as the words need, and no more
        self.setSizePolicy(policy)
        self.setAlignment(where.AlignCenter if whole else where.AlignLeft | where.AlignVCenter)

    def restyle(self, theme: Theme) -> None:
        self.setStyleSheet(
            f"NeedLine {{ color: {theme.text}; background: {theme.raised}; padding: 3px 6px;"
            f" border-left: 4px solid {theme.accent}; }}"
        )


class TitleBar(QWidget):
    """Title, badge and caption; a button for the export menu, one to maximise."""

    def __init__(self, dock: PanelDock) -> None:
        super().__init__(dock)
        self._dock = dock
        self._title, self._badge, self._caption = QLabel(), QLabel(), StillLabel()
        self._texts: tuple[str, str, str] | None = None
        self._caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._export, self._maximise = QToolButton(), QToolButton()
        self._export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._export.setMenu(self._menu())
        self._maximise.clicked.connect(dock.maximise_asked)
        for label in (self._title, self._badge, self._caption.label):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._arrange()

    def show_texts(self, title: str, badge: str, caption: str) -> None:
        if self._texts == (title, badge, caption):
            return
        self._texts = (title, badge, caption)
        self._title.setText(title)
        self._badge.setText(badge)
        self._badge.setVisible(bool(badge))
        self._caption.setText(caption)
        self._caption.setToolTip(caption)
        self._export.setAccessibleName(self.tr("Export {0}").format(title))
        self._maximise.setAccessibleName(self.tr("Maximise or restore {0}").format(title))

    def restyle(self, theme: Theme) -> None:
        side = self.fontMetrics().height()
        for button, name in ((self._export, "export"), (self._maximise, "maximise")):
            button.setIcon(icon(name, theme))
            button.setIconSize(QSize(side, side))
            button.setAutoRaise(True)
        self.setStyleSheet(
            f"QLabel#badge {{ color: {theme.faint}; border: 1px solid {theme.line}; padding: 0 3px; }}"
            f"QLabel#caption {{ color: {theme.faint}; }} QLabel#title {{ font-weight: 600; }}"
        )
        ground = self.palette()  # after the sheet: setting one brings back the palette from before the last
        ground.setColor(self.backgroundRole(), theme.raised)
        self.setPalette(ground)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        event.accept()
        self._dock.maximise_asked.emit()

    def _arrange(self) -> None:
        self.setAutoFillBackground(True)  # opaque, so that a new caption paints nothing behind it
        for label, name in ((self._title, "title"), (self._badge, "badge"), (self._caption.label, "caption")):
            label.setObjectName(name)
        self._export.setToolTip(self.tr("Copy or save what this panel shows"))
        self._maximise.setToolTip(self.tr("Maximise or restore (double click)"))
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 2, 2, 2)
        row.addWidget(self._title)
        row.addWidget(self._badge)
        row.addWidget(self._caption, 1)
        row.addWidget(self._export)
        row.addWidget(self._maximise)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction(self.tr("Copy picture"), self._dock.copy_picture)
        for kind in WRITERS:
            menu.addAction(self.tr("Save as {0}…").format(kind.upper()), _saver(self._dock, kind))
        return menu


def _saver(dock: PanelDock, kind: str):
    return lambda: dock.save_as(kind)
