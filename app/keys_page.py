"""Which key does what: made from the table of commands, by menu; a few letters leave what they are found in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.commands import MENUS, Command, bare, identity, key_names, translate
from app.keys import OWN_KEYS
from app.shortcuts import Shortcuts, plain_text
from app.theme import mono_font
from app.widgets.over_page import OverPage
from app.widgets.search_field import SearchField

_MOST_COLUMNS = 4
_LEAST_LINES = 12  # in a column, before there is another one


@dataclass(frozen=True)
class Line:
    keys: str
    text: str
    help: str = ""


Group = tuple[str, Sequence[Line]]


class KeysPage(OverPage):
    """Lies over the middle of the window; scrolls where that is smaller. ``change_asked``: other keys are wanted."""

    change_asked = Signal()

    def __init__(self, parent: QWidget, shortcuts: Shortcuts) -> None:
        super().__init__(parent, "keys")
        self._shortcuts = shortcuts
        self._whole = QSize(0, 0)  # of the page while nothing is typed
        self.setAccessibleName(self.tr("Keys"))
        self.field, self.area = SearchField(), QScrollArea()
        self.change = QPushButton(self.tr("Change shortcuts…"))
        self._prepare()
        top = QHBoxLayout()
        top.addWidget(self.field, 1)
        top.addWidget(self.change)
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(self.area, 1)

    def _prepare(self) -> None:
        self.field.setPlaceholderText(self.tr("Letters of a command or a key"))
        self.field.setAccessibleName(self.tr("Letters of a command or a key"))
        self.field.textChanged.connect(self.fill)
        self.field.moved.connect(self.area.keyPressEvent)
        self.change.clicked.connect(self.change_asked)
        self.change.setAutoDefault(False)
        self.area.setAccessibleName(self.tr("Keys by menu"))
        self.area.setFrameShape(QScrollArea.Shape.NoFrame)
        self._shortcuts.changed.connect(self.fit)

    def begin(self) -> None:
        self.field.clear()
        self.fill()
        self.field.setFocus()

    def fill(self) -> None:
        """What was typed is found in: everything at first."""
        typed = self.field.text().lower().split()
        groups = [(title, [line for line in lines if _has(line, title, typed)]) for title, lines in self._groups()]
        found = [group for group in groups if group[1]]
        page = _page(self._shared(found)) if found else QLabel(self.tr("No key is called so"))
        self.area.setWidget(page)
        for part in (page, self.area.viewport()):
            part.setAutoFillBackground(False)
        page.adjustSize()
        if not typed:
            self._whole = page.size()
        self.place()

    def _groups(self) -> list[Group]:
        rows = self._shortcuts.rows
        own = [Line(shown, translate(text)) for _, shown, text in OWN_KEYS]
        return [*key_groups(rows, self._shortcuts.is_changed, self.tr), (self.tr("In pictures, lists, fields"), own)]

    def _shared(self, groups: Sequence[Group]) -> list[list[Group]]:
        """In as many columns as there is room for, none nearly empty."""
        most = min(_MOST_COLUMNS, max(1, sum(len(lines) + 1 for _, lines in groups) // _LEAST_LINES))
        ways = [shared(groups, columns) for columns in range(most, 0, -1)]
        room = self.window().width() - 4 * self._gap
        return next((parts for parts in ways if sum(map(self._width, parts)) <= room), ways[-1])

    def _width(self, part: Sequence[Group]) -> int:
        """Of a column, with the gaps in it and beside it."""
        letters, mono = self.fontMetrics(), QFontMetrics(mono_font())
        lines = [line for _, lines in part for line in lines]
        keys = max(mono.horizontalAdvance(line.keys) for line in lines)
        return keys + max(letters.horizontalAdvance(line.text) for line in lines) + 3 * self._gap

    @property
    def _gap(self) -> int:
        return self.fontMetrics().height()

    def place(self) -> None:
        """In the middle of the window, as large as all its lines where there is room."""
        bar, room = self.area.verticalScrollBar().sizeHint().width(), self.window().size()
        wanted = self._whole + QSize(bar + 2 * self._gap, self.change.sizeHint().height() + 3 * self._gap)
        self.resize(wanted.expandedTo(QSize(30 * self._gap, 0)).boundedTo(room))
        self.move(self.window().rect().center() - self.rect().center())

    def fit(self) -> None:
        """What is shown has another size, or other keys."""
        if self.isVisible():
            self.fill()


def key_groups(
    rows: Iterable[Command], is_changed: Callable[[str], bool], tr: Callable[[str], str]
) -> list[tuple[str, list[Line]]]:
    """By menu, every command that has a key or had one: what the user changed says so."""
    lines: dict[str, list[Line]] = {menu: [] for menu in MENUS}
    for row in rows:
        changed, keys = is_changed(identity(row)), " ".join(key_names(row))
        if keys or changed:
            text = tr("{0} · changed").format(plain_text(row)) if changed else plain_text(row)
            lines[row.menu].append(Line(keys or tr("no key"), text, translate(row.help)))
    return [(bare(translate(menu)), found) for menu, found in lines.items() if found]


def _has(line: Line, title: str, typed: Sequence[str]) -> bool:
    said = f"{line.keys} {line.text} {line.help} {title}".lower()
    return all(word in said for word in typed)


def _page(parts: Sequence[Sequence[Group]]) -> QWidget:
    """The groups one below the other, in columns."""
    page = QWidget()
    row = QHBoxLayout(page)
    letter = page.fontMetrics().height()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(2 * letter)
    for part in parts:
        grid = QGridLayout()
        grid.setHorizontalSpacing(letter)
        grid.setVerticalSpacing(letter // 8)
        for title, lines in part:
            _add(grid, title, lines)
        grid.setRowStretch(grid.rowCount(), 1)
        row.addLayout(grid)
    row.addStretch(1)
    return page


def shared(groups: Sequence[Group], columns: int) -> list[list[Group]]:
    """The lines in their order, over at most so many columns of about the same height. A group that goes on in the next
    one has its title there too; a title is never the last line of one."""
    whole = sum(len(lines) + 1 for _, lines in groups)
    parts: list[list[Group]] = [[]]
    left = most = -(-whole // columns) + 1
    for title, lines in groups:
        while lines:
            if left < 3 and parts[-1] and len(parts) < columns:
                parts.append([])
                left = most
            fit = len(lines) if len(parts) == columns else min(len(lines), max(1, left - 1))
            parts[-1].append((title, lines[:fit]))
            lines, left = lines[fit:], left - fit - 1
    return parts


def _add(grid: QGridLayout, title: str, lines: Sequence[Line]) -> None:
    heading = QLabel(title)
    font = heading.font()
    font.setWeight(QFont.Weight.DemiBold)
    heading.setFont(font)
    heading.setContentsMargins(0, heading.fontMetrics().height() // 3, 0, 0)
    grid.addWidget(heading, grid.rowCount(), 0, 1, 2)
    for line in lines:
        at, keys, text = grid.rowCount(), QLabel(line.keys), QLabel(line.text)
        keys.setFont(mono_font())
        for label in (keys, text):
            label.setTextFormat(Qt.TextFormat.PlainText)
        text.setToolTip(line.help)
        text.setAccessibleDescription(line.keys)
        grid.addWidget(keys, at, 0, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(text, at, 1)
