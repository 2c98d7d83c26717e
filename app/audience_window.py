"""The audience's window: the stage in large letters, and the chosen panels as large as they can be."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import QCloseEvent, QFont, QResizeEvent
from PySide6.QtWidgets import QApplication, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.audience_places import places
from app.dock import PanelDock
from app.projecting import READABLE, BlackScreen, readable_points
from app.theme import Theme
from app.widgets.panel_mirror import PanelMirror
from app.widgets.stage_banner import StageBanner

SIZE = QSize(1280, 720)  # where it has no screen of its own
MARGIN = 12


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
        self.black = BlackScreen(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.stage, 1)
        self.frozen = False

    def freeze(self, still: bool) -> None:
        """Everything stays as it is seen now, or follows again."""
        self.frozen = still
        self.stage.hold(still)

    def restyle(self, theme: Theme) -> None:
        self.banner.restyle(theme)
        self.fit()

    def fit(self) -> None:
        """Letters for the height of this window: it may stand on another screen than the presenter's."""
        font = QFont(QApplication.font())
        font.setPointSizeF(readable_points(self.height(), self.logicalDpiY()))
        if font.pointSizeF() != self.stage.font().pointSizeF():
            for part in (self.banner, self.stage):  # a program with a style sheet hands no font down
                part.setFont(font)

    def smallest(self) -> list[tuple[str, float]]:
        """The panels whose letters are too small for the back row: their titles, and how often the letters go into the
        height of the window."""
        pixels = QApplication.font().pointSizeF() * self.logicalDpiY() / 72
        cells = self.stage.cells
        told = [(cell.dock.panel.title(), self.height() / max(0.1, pixels * cell.mirror.scale)) for cell in cells]
        return [(title, times) for title, times in told if times > READABLE * 1.02]

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.fit()
        self.black.setGeometry(self.rect())

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        super().closeEvent(event)
        self.left.emit()


class Cell(QWidget):
    """A panel with its title above it."""

    def __init__(self, dock: PanelDock, parent: QWidget) -> None:
        super().__init__(parent)
        self.dock = dock
        self.still = False
        self.heading = QLabel()
        self.heading.setTextFormat(Qt.TextFormat.PlainText)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.mirror = PanelMirror(dock.content)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.heading)
        column.addWidget(self.mirror, 1)
        self.setAccessibleName(dock.panel.title())
        dock.panel.caption_changed.connect(self.tell)
        self.tell()

    def tell(self) -> None:
        """The title with what the panel says about itself; nothing else while the picture is held."""
        if not self.still:
            panel, room = self.dock.panel, self.width()
            text = " · ".join(filter(None, (panel.title(), panel.badge(), panel.caption())))
            self.heading.setText(self.heading.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room))

    def hold(self, still: bool) -> None:
        self.still = still
        self.mirror.hold(still)
        self.tell()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.tell()

    def release(self) -> None:
        self.dock.panel.caption_changed.disconnect(self.tell)
        self.mirror.close()


class Stage(QWidget):
    """The cells, and behind the scenes the contents of docks that are not on the presenter's screen."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.cells: list[Cell] = []
        self._hosts: dict[PanelDock, QWidget] = {}
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

    def lend(self, dock: PanelDock, lent: bool) -> None:
        """Take the content of a dock that nobody else sees, or give it back."""
        if lent and dock not in self._hosts:
            host = self._hosts[dock] = QWidget(self)
            host.setFont(QApplication.font())
            dock.content.setParent(host)
            dock.content.show()
            host.show()
        elif not lent and dock in self._hosts:
            dock.take_back()
            self._hosts.pop(dock).deleteLater()
        self.arrange()

    def note(self) -> None:
        """Something was told to the panels: those behind the scenes paint nothing by themselves."""
        for cell in self.cells:
            if cell.dock in self._hosts:
                cell.mirror.note()

    def hold(self, still: bool) -> None:
        self._still = still
        for cell in self.cells:
            cell.hold(still)

    def clear(self) -> None:
        """Every content where it belongs."""
        self.hold(False)
        self.show_docks(())

    def arrange(self) -> None:
        """Each cell in its box; who is behind the scenes gets the size whose letters can be read."""
        self.empty.setGeometry(self.rect())
        if not self.cells:
            return
        area = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        for cell, box in zip(self.cells, places(area, [self._shape(cell) for cell in self.cells]), strict=True):
            cell.setGeometry(box.toAlignedRect())
            cell.show()
        for cell in self.cells:
            self._fit_host(cell)

    def _shape(self, cell: Cell) -> QSizeF:
        """Of the content with the heading; of one behind the scenes, what it needs at least."""
        heading = self.fontMetrics().height()
        host = self._hosts.get(cell.dock)
        size = cell.dock.content.minimumSizeHint() if host is not None else cell.dock.content.size()
        return QSizeF(max(1, size.width()), max(1, size.height()) + heading / max(0.5, self._enlarged()))

    def _fit_host(self, cell: Cell) -> None:
        host = self._hosts.get(cell.dock)
        if host is not None and not self._still:
            times, high = self._enlarged(), cell.height() - cell.heading.sizeHint().height()
            wanted = QSize(round(cell.width() / times), round(high / times))
            size = wanted.expandedTo(cell.dock.content.minimumSizeHint())
            host.setGeometry(-size.width() - MARGIN, -size.height() - MARGIN, size.width(), size.height())
            cell.dock.content.setGeometry(0, 0, size.width(), size.height())
            cell.mirror.note()

    def _enlarged(self) -> float:
        """How many times as large as the presenter's letters those here are to be."""
        return self.font().pointSizeF() / QApplication.font().pointSizeF()

    def _cell(self, dock: PanelDock) -> Cell:
        cell = Cell(dock, self)
        cell.heading.setFont(self.font())
        cell.hold(self._still)
        if not dock.shown:
            self.lend(dock, True)
        dock.content.installEventFilter(self)
        return cell

    def _let_go(self, cell: Cell) -> None:
        self.cells.remove(cell)
        cell.hide()
        cell.dock.content.removeEventFilter(self)
        self.lend(cell.dock, False)
        cell.release()
        cell.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Resize and not any(watched.parent() is host for host in self._hosts.values()):
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
