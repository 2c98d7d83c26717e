"""The frame around a panel: title, badge, caption, export, maximise."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QContextMenuEvent, QGuiApplication, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.asking import MOST_NAMED, Folders, ask_where_last
from app.export import WRITERS, FiguresError, files_of, table_text
from app.keys import alone, pressed
from app.panels.panel import Panel
from app.theme import Theme, icon
from app.widgets.canvas import Canvas
from app.widgets.explanation import Explanation
from app.widgets.least import least_height, least_width
from app.widgets.room import Room
from app.widgets.still_label import StillLabel
from app.widgets.tips import plain_tip
from app.widgets.values_table import ValuesTable


class PanelDock(QDockWidget):
    """``maximise_asked``: a double click on the title; ``key_pressed``: a key that no part of the panel took."""

    maximise_asked = Signal()
    key_pressed = Signal(str)  # a letter or a sign
    shown_changed = Signal(bool)  # on screen: open, and its tab on top
    said = Signal(str)  # what is picked in the table, for the status bar
    failed = Signal(str)  # an export that could not be written, one sentence
    saved = Signal(str)  # as which files, for the status bar
    left = Signal()  # it is closed while it has the focus
    menu_opening = Signal(QMenu)  # what can be done with the panel: whoever knows more of it adds to the menu

    def __init__(self, panel: Panel, theme: Theme) -> None:
        super().__init__(panel.title())
        self.panel = panel
        self.shown = False
        self._note = ""
        self.setObjectName(f"dock.{panel.key}")
        self.need = NeedLine()
        self.explanation = Explanation(theme)
        self.table: ValuesTable | None = None  # in the place of the picture
        self.room = Room(panel)
        self._stack, self._column = _stacked(self.explanation, self.need, self.room)
        self._stack.installEventFilter(self.explanation)
        self.setWidget(self._stack)
        self.bar = TitleBar(self)
        self.setTitleBarWidget(self.bar)
        panel.setAccessibleName(panel.accessibleName() or panel.title())
        panel.caption_changed.connect(self.refresh)
        panel.watches_changed.connect(self.explain)  # another stage or page of it was chosen
        for canvas in panel.findChildren(Canvas):
            canvas.told.connect(self.said)
        self.visibilityChanged.connect(self._visibility_changed)
        self.restyle(theme)

    def refresh(self) -> None:
        """Title, badge and caption as the panel gives them now."""
        self.setWindowTitle(self.panel.title())
        self.setAccessibleName(self.panel.title())
        badge = " · ".join(filter(None, (self.panel.side(), self.panel.badge(), self._note)))
        self.bar.show_texts(self.panel.title(), badge, self.panel.caption())
        self.explain()
        need = self.panel.need or self.panel.aside()
        self.need.say("" if self.panel.stands_alone else need, whole=self.panel.shows_nothing)
        for part in (self.room, self.panel):
            part.setVisible(not self.panel.shows_nothing and self.table is None)
        if self.hasFocus():  # it was given the keyboard before it had a picture
            self.take_focus()

    def explain(self) -> None:
        """What is shown, at the depth that is chosen."""
        self.explanation.say(self.panel.context.depth, self.panel.explanation())

    def set_note(self, note: str) -> None:
        """What the window has to say about the panel's picture, after the panel's own badge."""
        if note != self._note:
            self._note = note
            self.refresh()

    def toggle_table(self) -> None:
        """Show the figures as a table in the place of the picture, or the picture again."""
        focused = self.isAncestorOf(self.window().focusWidget())
        if self.table is None:
            self.table = ValuesTable(self.panel.title())
            self.table.left.connect(self.toggle_table)
            self.table.said.connect(self.said)
            self._column.addWidget(self.table, 1)
            self.table.show()
            self.refresh_table()
        else:
            self.table.hide()
            self.table.deleteLater()
            self.table = None
        self.refresh()
        if focused:
            self.take_focus()

    def refresh_table(self) -> None:
        """What the panel shows now."""
        if self.table is not None:
            self.table.show_values(self.panel.values(), self.panel.axes())

    @property
    def content(self) -> QWidget:
        """What is below the title: the panel, or its table."""
        return self._stack

    def take_back(self) -> None:
        """The content, which stood somewhere else meanwhile."""
        if self.widget() is not self._stack:
            self.setWidget(self._stack)
            self._stack.show()

    def take_focus(self) -> None:
        """To what had the focus here last, else to the main picture, else to what takes it; the dock keeps it until
        there is something."""
        parts = self._stack.findChildren(QWidget)
        table, main = None if self.table is None else self.table.view, self.panel.main_picture()
        pictures = (part for part in parts if isinstance(part, Canvas))
        wanted = (table, self._stack.focusWidget(), main, *pictures, *parts)
        fitting = (part for part in wanted if part is not None and part.isEnabled() and _takes_focus(part))
        next(fitting, self).setFocus(Qt.FocusReason.OtherFocusReason)

    def least_width(self) -> int:
        """Pixels in which its picture and its title are not cut off, also while there is no picture yet."""
        return max(self.bar.minimumSizeHint().width(), least_width(self.panel, filled=True))

    def least_height(self, width: int) -> int:
        """Pixels that its picture needs at a width, with the title and what is said above it."""
        explained = 0 if self.explanation.isHidden() else least_height(self.explanation, width)
        return self.bar.sizeHint().height() + explained + self._unexplained_height(self.panel, width)

    def content_least_width(self) -> int:
        """Pixels in which nothing of the content as it is now has to scroll."""
        parts = [self._main] if self.need.isHidden() else [self.need, self._main]
        return max(least_width(part, filled=True) for part in parts)

    def content_least_height(self, width: int) -> int:
        """Pixels in which nothing of it has to scroll at a width; an explanation takes its share of what there is."""
        high = self._unexplained_height(self._main, width, spared=True)
        return high if self.explanation.isHidden() else high + self.explanation.most_height(high)

    @property
    def _main(self) -> QWidget:
        return self.panel if self.table is None else self.table

    def _unexplained_height(self, main: QWidget, width: int, *, spared: bool = False) -> int:
        """``spared``: without what the panel leaves out first."""
        need = 0 if self.need.isHidden() else least_height(self.need, width)
        whole = self.panel.spared_height() if spared else self.panel.whole_height()
        return need + max(whole, least_height(main, width, filled=True))

    def restyle(self, theme: Theme) -> None:
        self.bar.restyle(theme)
        self.need.restyle(theme)
        self.explanation.restyle(theme)
        self.refresh()

    def copy_picture(self) -> None:
        QGuiApplication.clipboard().setImage(self.panel.picture())

    def copy_table(self) -> bool:
        """The figures, as a spreadsheet takes them; where there are none or too many, ``failed`` says so."""
        try:
            QGuiApplication.clipboard().setText(table_text(self.panel.values()))
        except FiguresError as error:
            self.failed.emit(str(error))
            return False
        return True

    def save_as(self, kind: str, folders: Folders) -> None:
        """Ask for a file and write the panel there."""
        try:
            written = files_of(self.panel, kind)
        except FiguresError as error:
            self.failed.emit(str(error))
            return
        name, kinds = f"{self.panel.key}.{kind}", {f".{kind}": kind.upper()}
        path = ask_where_last(folders, self, self.tr("Save panel"), name, kinds, written)
        if path is not None:
            self.save(kind, path)

    def save(self, kind: str, path: Path) -> None:
        """Write the panel; what goes wrong is told by ``failed``."""
        try:
            files = WRITERS[kind](self.panel, path)
        except FiguresError as error:
            self.failed.emit(str(error))
        except OSError as error:
            self.failed.emit(self.tr("The file {0} could not be written: {1}.").format(path, error.strerror or error))
        else:
            self._tell_saved([file.name for file in files])

    def _tell_saved(self, names: list[str]) -> None:
        many = self.tr("{0} and {1} more").format(names[0], len(names) - 1)
        named = many if len(names) > MOST_NAMED else ", ".join(names)
        self.saved.emit(self.tr("saved {0} as {1}").format(self.panel.title(), named))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        if self.isAncestorOf(self.window().focusWidget()):
            self.left.emit()
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        key = pressed(event)
        if key and alone(key):
            self.key_pressed.emit(key)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        """Wherever nothing in the panel has a menu of its own."""
        self.bar.contextMenuEvent(event)

    def _visibility_changed(self, visible: bool) -> None:
        if visible != self.shown:
            self.shown = visible
            self.shown_changed.emit(visible)


def _takes_focus(widget: QWidget) -> bool:
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.isVisible()


def _stacked(*widgets: QWidget) -> tuple[QWidget, QVBoxLayout]:
    """One below the other, the last one with all the room that is left."""
    stack = QWidget()
    column = QVBoxLayout(stack)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for widget in widgets:
        column.addWidget(widget)
    column.setStretch(len(widgets) - 1, 1)
    return stack, column


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
        self._title, self._badge, self._caption = QLabel(), QLabel(), StillLabel(elide=True)
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
        self._badge.setToolTip(plain_tip(badge))
        self._badge.setVisible(bool(badge))
        self._caption.setText(caption)
        self._caption.setToolTip(plain_tip(caption))
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
        self._badge.setMinimumWidth(1)  # cut off before it widens the column; the tool tip has it
        row.addWidget(self._badge)
        row.addWidget(self._caption, 1)
        row.addWidget(self._export)
        row.addWidget(self._maximise)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        event.accept()
        self._export.menu().popup(event.globalPos())

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.aboutToShow.connect(self._fill_menu)
        return menu

    def _fill_menu(self) -> None:
        menu = self._export.menu()
        menu.clear()
        self._dock.menu_opening.emit(menu)
