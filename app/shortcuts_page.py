"""Other keys for commands: chosen by pressing them, kept, and taken back one by one or all at once."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.commands import MENUS, Command, bare, identity, key_names, translate
from app.keys import alone, native
from app.shortcuts import Shortcuts, keys_of, plain_text
from app.widgets.key_field import KeyField
from app.widgets.over_page import OverPage
from app.widgets.search_field import SearchField

_NAME = Qt.ItemDataRole.UserRole
_WIDTH, _HEIGHT = 48, 34  # in heights of a line
COMMAND, KEYS, STATE = range(3)


class ShortcutsPage(OverPage):
    """A command is picked in the list, a key is pressed in the field below it."""

    def __init__(self, parent: QWidget, shortcuts: Shortcuts) -> None:
        super().__init__(parent, "shortcuts")
        self._shortcuts = shortcuts
        self._items: dict[str, QTreeWidgetItem] = {}
        self._heads: list[QTreeWidgetItem] = []  # the menus
        self.setAccessibleName(self.tr("Change shortcuts"))
        self.field, self.list, self.key, self.words = SearchField(), QTreeWidget(), KeyField(), QLabel()
        self.use, self.add = (
            self._button(self.tr("Use this key"), self._use),
            self._button(self.tr("Add it"), self._add),
        )
        self.none = self._button(self.tr("No key"), self._take_away)
        self.first = self._button(self.tr("First keys"), self._reset)
        self.all_first = self._button(self.tr("First keys of all"), self._reset_all)
        self.done = self._button(self.tr("Close"), self.leave)
        self._prepare()
        self._arrange()
        shortcuts.changed.connect(self._refresh)

    def _button(self, text: str, do) -> QPushButton:
        button = QPushButton(text)
        button.setAutoDefault(False)
        button.clicked.connect(lambda: do())
        return button

    def _prepare(self) -> None:
        self.field.setPlaceholderText(self.tr("Letters of a command or a key"))
        self.field.setAccessibleName(self.tr("Letters of a command or a key"))
        self.field.textChanged.connect(self._filter)
        self.field.moved.connect(self.list.keyPressEvent)
        self.list.setAccessibleName(self.tr("Commands and their keys"))
        self.list.setHeaderLabels([self.tr("Command"), self.tr("Keys"), ""])
        self.list.header().setSectionResizeMode(COMMAND, QHeaderView.ResizeMode.Stretch)
        self.list.header().setSectionResizeMode(KEYS, QHeaderView.ResizeMode.ResizeToContents)
        self.list.header().setSectionResizeMode(STATE, QHeaderView.ResizeMode.ResizeToContents)
        self.list.header().setStretchLastSection(False)
        self.list.setUniformRowHeights(True)
        self.list.setAllColumnsShowFocus(True)
        self.list.currentItemChanged.connect(self._picked)
        self.list.itemActivated.connect(lambda: self.key.setFocus())
        self.key.set_name(self.tr("New key: press it"))
        self.key.entered.connect(self._use)
        self.key.keySequenceChanged.connect(self._judge)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.words.setWordWrap(True)
        self.words.setMinimumHeight(2 * self.fontMetrics().lineSpacing())
        self.first.setToolTip(self.tr("The keys that this command had at the first start"))
        self.all_first.setToolTip(self.tr("Every command has the keys of the first start again"))

    def _arrange(self) -> None:
        label = QLabel(self.tr("New key"))
        label.setBuddy(self.key)
        upper, lower = QHBoxLayout(), QHBoxLayout()
        upper.addWidget(label)
        upper.addWidget(self.key, 1)
        for button in (self.use, self.add):
            upper.addWidget(button)
        for button in (self.none, self.first, self.all_first):
            lower.addWidget(button)
        lower.addStretch(1)
        lower.addWidget(self.done)
        column = QVBoxLayout(self)
        column.addWidget(self.field)
        column.addWidget(self.list, 1)
        column.addLayout(upper)
        column.addWidget(self.words)
        column.addLayout(lower)

    # -- the list ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.field.clear()
        if not self._items:
            self._fill()
        self._refresh()
        self.list.setCurrentItem(self.list.currentItem() or next(iter(self._items.values())))
        self._picked()
        self.field.setFocus()

    def pick(self, name: str) -> None:
        """Go to the command of an identity."""
        self.list.setCurrentItem(self._items[name])

    @property
    def picked(self) -> Command | None:
        """The command that is picked; None where a menu is, or nothing."""
        item = self.list.currentItem()
        name = None if item is None or item.isHidden() else item.data(COMMAND, _NAME)
        return None if name is None else self._shortcuts.row(name)

    def _fill(self) -> None:
        """Every command below its menu."""
        for menu in MENUS:
            head = QTreeWidgetItem(self.list, [bare(translate(menu))])
            for row in self._shortcuts.rows:
                if row.menu == menu:
                    item = QTreeWidgetItem(head, [plain_text(row)])
                    item.setData(COMMAND, _NAME, identity(row))
                    item.setToolTip(COMMAND, translate(row.help))
                    self._items[identity(row)] = item
            head.setHidden(head.childCount() == 0)
            self._heads.append(head)
        self.list.expandAll()

    def _refresh(self) -> None:
        """The keys as they are now."""
        for row in self._shortcuts.rows if self.isVisible() else ():
            item = self._items[identity(row)]
            item.setText(KEYS, "  ".join(key_names(row)))
            item.setText(STATE, self.tr("changed") if self._shortcuts.is_changed(identity(row)) else "")
        self._show_possible()

    def _filter(self) -> None:
        typed = self.field.text().lower().split()
        for item in self._items.values():
            said = f"{item.text(COMMAND)} {item.text(KEYS)} {item.text(STATE)} {item.toolTip(COMMAND)}".lower()
            item.setHidden(not all(word in said for word in typed))
        for head in self._heads:
            head.setHidden(all(head.child(row).isHidden() for row in range(head.childCount())))
        first = next((item for item in self._items.values() if not item.isHidden()), None)
        if first is not None and (self.picked is None):
            self.list.setCurrentItem(first)
        self._show_possible()

    def _picked(self) -> None:
        self.key.clear()
        self.words.setText("" if self.picked is None else translate(self.picked.help))
        self._show_possible()

    # -- keys ----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """What is to be known of the key that was pressed."""
        key, picked = self.key.key, self.picked
        if self.key.keySequence().isEmpty() or picked is None:
            self.words.setText("" if picked is None else translate(picked.help))
        else:
            self.words.setText(self._shortcuts.refusal(identity(picked), key) or self._of_key(key))
        self._show_possible()

    def _of_key(self, key: str) -> str:
        if alone(key):
            text = self.tr("{0} is also typed, so it works where a picture or the token strip has the focus.")
            return text.format(native(key))
        return self.tr("{0} is free.").format(native(key))

    def _show_possible(self) -> None:
        picked, key = self.picked, self.key.key
        name = "" if picked is None else identity(picked)
        free = bool(picked is not None and key and not self._shortcuts.refusal(name, key))
        self.use.setEnabled(free)
        self.add.setEnabled(free)
        self.none.setEnabled(picked is not None and bool(keys_of(picked)) and self._shortcuts.may_change(name))
        self.first.setEnabled(self._shortcuts.is_changed(name))
        self.all_first.setEnabled(self._shortcuts.any_changed)

    def _use(self) -> None:
        self._set((self.key.key,))

    def _add(self) -> None:
        """Beside the keys that it has; of the keys that are also typed a command has one."""
        picked, key = self.picked, self.key.key
        if picked is not None and key:
            self._set((*(have for have in keys_of(picked) if not (alone(have) and alone(key))), key))

    def _set(self, keys: tuple[str, ...]) -> None:
        picked = self.picked
        if picked is None or not keys[-1] or self._shortcuts.refusal(identity(picked), keys[-1]):
            return  # the sentence is there already
        self._shortcuts.set_keys(identity(picked), keys)
        self._say(self.tr("“{0}” is called by {1} now."), identity(picked))

    def _take_away(self) -> None:
        picked = self.picked
        if picked is not None:
            self._shortcuts.set_keys(identity(picked), ())
            self._say(self.tr("“{0}” has no key now; the menu and the palette still have it."), identity(picked))

    def _reset(self) -> None:
        picked = self.picked
        if picked is not None:
            self._shortcuts.reset(identity(picked))
            self._say(self.tr("“{0}” is called by {1} again."), identity(picked))

    def _reset_all(self) -> None:
        self._shortcuts.reset_all()
        self.key.clear()
        self.words.setText(self.tr("Every command has the keys of the first start again."))

    def _say(self, text: str, name: str) -> None:
        self.key.clear()
        row = self._shortcuts.row(name)
        self.words.setText(text.format(plain_text(row), ", ".join(key_names(row)) or self.tr("no key")))

    def place(self) -> None:
        """In the middle of the window."""
        room, line = self.window().size(), self.fontMetrics().height()
        wide, high = min(room.width() - line, _WIDTH * line), min(room.height() - line, _HEIGHT * line)
        self.setGeometry((room.width() - wide) // 2, (room.height() - high) // 2, wide, high)
