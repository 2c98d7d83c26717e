"""The rows of the palette: what can be done, its keys, and what it is or what keeps it from being done."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPalette, QTextCharFormat, QTextLayout, QTextOption
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from app.palette import Found

Index = QModelIndex | QPersistentModelIndex
FOUND = Qt.ItemDataRole.UserRole
ROW_LINES = 2.5
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class FoundRows(QAbstractListModel):
    """One row for each entry that was found."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.found: Sequence[Found] = ()

    def show(self, found: Sequence[Found]) -> None:
        self.beginResetModel()
        self.found = found
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        return 0 if parent.isValid() else len(self.found)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid() or index.row() >= len(self.found):
            return None
        found = self.found[index.row()]
        texts = {
            Qt.ItemDataRole.DisplayRole: found.entry.text,
            Qt.ItemDataRole.AccessibleTextRole: spoken(found),
            FOUND: found,
        }
        return texts.get(Qt.ItemDataRole(role))


def spoken(found: Found) -> str:
    """Everything that is seen of a row."""
    entry = found.entry
    return ", ".join(filter(None, (entry.text, *entry.keys, entry.why or entry.help)))


class RowPainter(QStyledItemDelegate):
    """Two lines: the text with its keys; what keeps it from being done, or the help, with its kind."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802
        line = option.fontMetrics.height()
        return QSize(20 * line, round(ROW_LINES * line))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        ground = option.palette.color(QPalette.ColorRole.Highlight if chosen else QPalette.ColorRole.Base)
        painter.save()
        painter.fillRect(option.rect, ground)
        self._write(painter, option, index.data(FOUND), chosen)
        painter.restore()

    def _write(self, painter: QPainter, option: QStyleOptionViewItem, found: Found, chosen: bool) -> None:
        line, entry, role = option.fontMetrics.height(), found.entry, QPalette.ColorRole
        plain = option.palette.color(role.HighlightedText if chosen else role.Text)
        quiet = plain if chosen else option.palette.color(role.PlaceholderText)
        room = option.rect.adjusted(line // 2, line // 4, -line // 2, -line // 4)
        upper, lower = QRect(room.topLeft(), QSize(room.width(), line)), room.adjusted(0, line, 0, 0)
        keys = "  ".join(entry.keys)
        self._beside(painter, option, upper, keys, plain)
        self._beside(painter, option, lower, entry.kind, quiet)
        upper.setRight(upper.right() - option.fontMetrics.horizontalAdvance(keys + "  "))
        lower.setRight(lower.right() - option.fontMetrics.horizontalAdvance(entry.kind + "  "))
        self._matched(painter, option, upper, found, plain if chosen or not entry.why else quiet)
        said = f"⊘ {entry.why}" if entry.why else entry.help
        painter.setPen(quiet)
        painter.drawText(lower, option.fontMetrics.elidedText(said, Qt.TextElideMode.ElideRight, lower.width()))

    def _beside(self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, text: str, colour: QColor) -> None:
        painter.setFont(option.font)
        painter.setPen(colour)
        painter.drawText(room, _RIGHT, text)

    def _matched(
        self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, found: Found, colour: QColor
    ) -> None:
        """The text, the typed letters bold and underlined; one that is too long loses its middle."""
        whole = found.entry.text
        text = option.fontMetrics.elidedText(whole, Qt.TextElideMode.ElideMiddle, room.width())
        layout = QTextLayout(text, option.font)
        option_of_text = QTextOption()
        option_of_text.setWrapMode(QTextOption.WrapMode.NoWrap)
        layout.setTextOption(option_of_text)
        layout.setFormats([_typed(whole, place) for place in found.places] if text == whole else [])
        layout.beginLayout()
        layout.createLine()
        layout.endLayout()
        painter.setPen(colour)
        layout.draw(painter, QPointF(room.topLeft()))


def _typed(text: str, place: int) -> QTextLayout.FormatRange:
    """How a letter is drawn that was typed. Qt counts in units of UTF-16."""
    look, one = QTextCharFormat(), QTextLayout.FormatRange()
    look.setFontWeight(QFont.Weight.DemiBold)
    look.setFontUnderline(True)
    one.start, one.length = _units(text[:place]), _units(text[place])
    one.format = look
    return one


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
