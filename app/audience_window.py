"""The audience's window: the stage in large letters, and the chosen panels as large as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import QCloseEvent, QFont, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QApplication, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.audience_homes import Behind, Framed
from app.audience_places import Wish, first_shape, places
from app.dock import PanelDock
from app.projecting import READABLE, SMALLEST, BlackScreen, readable_points
from app.theme import Theme
from app.widgets.panel_mirror import PanelMirror, centred
from app.widgets.stage_banner import StageBanner

SIZE = QSize(1280, 720)  # where it has no screen of its own
MARGIN = 8
SPACING = 2  # between a panel and the title above it


class AudienceWindow(QWidget):
    """``stage.show_docks`` says which panels. What is not on the presenter's screen is lent to this window, where it
    stays live."""

    left = Signal()  # its user closed it

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setWindowTitle(self.tr("Fluoroscope: audience"))
        self.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)
        self.setAutoFillBackground(True)
        self.banner, self.stage = StageBanner(theme), Stage(self)
        self.held, self.black = HeldPicture(self), BlackScreen(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.stage, 1)
        self.frozen = False

    def freeze(self, still: bool) -> None:
        """Everything stays as it is seen now, whatever theme or letters the presenter takes; or follows again."""
        self.frozen = still
        self.stage.hold(still)
        if still:
            self._hold()
        else:
            self.held.hide()

    def _hold(self) -> None:
        """What lies below the black screen, if that is there."""
        black = self.black.isVisible()
        self.black.hide()
        self.held.show_picture(self.grab())
        self.black.setVisible(black)

    def restyle(self, theme: Theme) -> None:
        self.banner.restyle(theme)
        self.fit()
        self.stage.arrange()  # the presenter's letters may have another size

    def fit(self) -> None:
        """Letters for the height of this window: it may stand on another screen than the presenter's."""
        font = QFont(QApplication.font())
        font.setPointSizeF(readable_points(self.height(), self.logicalDpiY()))
        if font.pointSizeF() != self.stage.font().pointSizeF():
            for part in (self.banner, self.stage):  # a program with a style sheet hands no font down
                part.setFont(font)

    def smallest(self) -> list[tuple[str, float]]:
        """The panels whose smallest letters are too small for the back row: their titles, and how often those letters
        go into the height of the window."""
        pixels = QApplication.font().pointSizeF() * self.logicalDpiY() / 72 * SMALLEST
        cells = self.stage.cells
        told = [(cell.dock.panel.title(), self.height() / max(0.1, pixels * cell.mirror.scale)) for cell in cells]
        return [(title, times) for title, times in told if times > READABLE * 1.001]

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.fit()
        for cover in (self.held, self.black):
            cover.setGeometry(self.rect())

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        super().closeEvent(event)
        self.left.emit()


class HeldPicture(BlackScreen):
    """Over the whole of its parent, what was seen there at a moment; black beside it where the shape is another."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Frozen picture"))
        self._picture = QPixmap()

    def show_picture(self, picture: QPixmap) -> None:
        self._picture = picture
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        shape = QSizeF(self._picture.size()).scaled(QSizeF(self.size()), Qt.AspectRatioMode.KeepAspectRatio)
        painter.drawPixmap(centred(shape, self.size()), self._picture, QRectF(self._picture.rect()))
        painter.end()


class Cell(QWidget):
    """A panel with its title above it."""

    def __init__(self, dock: PanelDock, parent: QWidget) -> None:
        super().__init__(parent)
        self.dock = dock
        self.heading = QLabel()
        self.heading.setTextFormat(Qt.TextFormat.PlainText)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.mirror = PanelMirror(dock.content)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACING)
        column.addWidget(self.heading)
        column.addWidget(self.mirror, 1)
        self.setAccessibleName(dock.panel.title())
        dock.panel.caption_changed.connect(self.tell)
        self.tell()

    @property
    def heading_height(self) -> int:
        """Pixels that the panel does not have."""
        return self.heading.sizeHint().height() + SPACING

    def tell(self) -> None:
        """The title with what the panel says about itself."""
        panel, room = self.dock.panel, self.width()
        text = " · ".join(filter(None, (panel.title(), panel.badge(), panel.caption())))
        self.heading.setText(self.heading.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.tell()

    def release(self) -> None:
        self.dock.panel.caption_changed.disconnect(self.tell)
        self.mirror.close()


class Stage(QWidget):
    """The cells, and homes for the contents of docks: behind the scenes for those that the presenter does not see, and
    where the back row is to read them, within the docks of the others, in the audience's shape."""

    moved = Signal()  # a panel needs another room than before

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.cells: list[Cell] = []
        self.readable = True
        self._homes: dict[PanelDock, Framed | Behind] = {}
        self._wishes: dict[PanelDock, Wish] = {}
        self._still = False
        self.empty = QLabel(self.tr("No panel is chosen for the audience."), self)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def show_docks(self, docks: Sequence[PanelDock]) -> None:
        """Mirror these and no others."""
        for cell in [cell for cell in self.cells if cell.dock not in docks]:
            self._let_go(cell)
        known = {cell.dock: cell for cell in self.cells}
        self.cells = [known.get(dock) or self._cell(dock) for dock in docks]
        self.empty.setVisible(not self.cells)
        self.arrange()

    def set_readable(self, readable: bool) -> None:
        """Panels in a shape in which the back row can read them; else as the presenter has them."""
        self.readable = readable
        for cell in self.cells:
            self._house(cell.dock)
        self.arrange()

    def follow(self, dock: PanelDock) -> None:
        """A dock came into the presenter's view, or went."""
        if any(cell.dock is dock for cell in self.cells):
            self._house(dock)
            self.moved.emit()  # many come and go with another layout

    def cut(self) -> list[str]:
        """The titles of panels of which the presenter sees a part, at their place."""
        return [dock.panel.title() for dock, home in self._homes.items() if home.cut]

    def note(self) -> None:
        """Something was told to the panels: what the presenter does not see of them paints nothing by itself."""
        for cell in self.cells:
            if cell.dock in self._homes:
                cell.mirror.note()

    def hold(self, still: bool) -> None:
        """No panel gets another shape, while a picture of all is held over them."""
        self._still = still
        self.arrange()

    def clear(self) -> None:
        """Every content where it belongs."""
        self.hold(False)
        self.show_docks(())

    def arrange(self) -> None:
        """Each cell in its box; who has a home here gets the size whose letters can be read."""
        self.empty.setGeometry(self.rect())
        if not self.cells:
            return
        area = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        if not self._still:  # while the picture is held, nothing that a panel needs by now moves it
            self._wishes = {cell.dock: self._wish(cell) for cell in self.cells}
        wishes = [self._wishes.get(cell.dock) or self._wish(cell) for cell in self.cells]
        for cell, box in zip(self.cells, places(area, wishes), strict=True):
            cell.setGeometry(box.toAlignedRect())
            cell.show()
        for cell in self.cells:
            self._fit(cell)

    def _wish(self, cell: Cell) -> Wish:
        """With the heading, in pixels of this window."""
        dock, heading, times = cell.dock, cell.heading_height, self._enlarged()
        height = dock.content_least_height
        if self.readable:
            return Wish(
                first_shape(dock.panel.key),
                dock.content_least_width() * times,
                cache(lambda width: height(int(width / times)) * times + heading),  # the same ones are tried often
            )
        size = dock.content.minimumSizeHint() if dock in self._homes else dock.content.size()
        return Wish(QSizeF(size.width(), size.height() + heading / max(0.5, times)))

    def _fit(self, cell: Cell) -> None:
        home = self._homes.get(cell.dock)
        if home is not None and not self._still:
            times, high = self._enlarged(), cell.height() - cell.heading_height
            wide = max(int(cell.width() / times), cell.dock.content_least_width())
            size = QSize(wide, max(int(high / times), cell.dock.content_least_height(wide)))
            if size != cell.dock.content.size():
                home.place(size)
                cell.mirror.note()

    def _enlarged(self) -> float:
        """How many times as large as the presenter's letters those here are to be."""
        return self.font().pointSizeF() / QApplication.font().pointSizeF()

    def _house(self, dock: PanelDock, leaves: bool = False) -> None:
        """Its content into the home that it is to have now; where that is its dock, it has none here."""
        kind = None if leaves else Behind if not dock.shown else Framed if self.readable else None
        home = self._homes.get(dock)
        if kind is (None if home is None else type(home)):
            return
        focused, size = QApplication.focusWidget(), dock.size()
        if home is not None:
            home.leave()
            dock.take_back()
            self._homes.pop(dock).deleteLater()
        if kind is not None:
            self._homes[dock] = kind(dock, self, self.moved)
        if dock.isFloating():
            dock.resize(size)  # with nothing in it, it had its least one
        if focused is not None and dock.shown and dock.content.isAncestorOf(focused):
            focused.setFocus()

    def _cell(self, dock: PanelDock) -> Cell:
        cell = Cell(dock, self)
        cell.heading.setFont(self.font())
        self._house(dock)
        dock.content.installEventFilter(self)
        return cell

    def _let_go(self, cell: Cell) -> None:
        self.cells.remove(cell)
        cell.hide()
        cell.dock.content.removeEventFilter(self)
        self._house(cell.dock, leaves=True)
        cell.release()
        cell.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.LayoutRequest:
            self.moved.emit()
        elif event.type() == QEvent.Type.Resize and not any(watched is dock.content for dock in self._homes):
            self.arrange()
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.arrange()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "empty"):
            for label in (self.empty, *(cell.heading for cell in self.cells)):
                label.setFont(self.font())
            self.arrange()
