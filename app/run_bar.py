"""The bar above everything: the model, the prompt, the run's buttons, how many tokens to make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPlainTextEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QWidget,
)

from app.commands import TOOLBAR
from app.examples import Example
from app.speed_button import SpeedButton
from app.theme import Theme, icon

MOST_LINES = 5
MOST_TOKENS = 1_000_000
LEAST_LETTERS = 28  # of the prompt beside buttons with texts; where there is less room, they show icons only


class PromptField(QPlainTextEdit):
    """A text field that grows with its lines. Return runs, Shift+Return starts a new line, Tab moves on."""

    submitted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setPlaceholderText(self.tr("Prompt: Return runs it, Shift+Return starts a new line"))
        self.setAccessibleName(self.tr("Prompt"))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.textChanged.connect(self.fit)
        self.fit()

    def fit(self) -> None:
        """As high as its lines, up to MOST_LINES; then it scrolls."""
        wanted = max(1, round(self.document().size().height()))
        lines, policy = min(MOST_LINES, wanted), Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAsNeeded if wanted > lines else policy.ScrollBarAlwaysOff)
        margins = 2 * (self.frameWidth() + round(self.document().documentMargin()))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + margins)

    def put(self, text: str) -> None:
        """Another text instead of what is there, in one step that can be undone."""
        cursor = self.textCursor()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self.setTextCursor(cursor)

    def offer(self, text: str) -> None:
        """Put a text into an empty field that nobody has typed in."""
        if not self.toPlainText() and not self.document().isModified():
            self.put(text)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.fit()


class RunBar(QWidget):
    """Made from the table of commands; the model button and the fields are its own."""

    def __init__(self, actions: Mapping[str, QAction]) -> None:
        super().__init__()
        self.model = QToolButton()
        self.prompt = PromptField()
        self.examples = _button(actions["show_examples"])
        self.examples_menu = QMenu(self.examples)
        self.tokens = QSpinBox()
        self.chat = QCheckBox(self.tr("Chat"))
        self.buttons = [_button(actions[name]) for name in TOOLBAR]
        self.speed = SpeedButton()
        self._prepare(actions)
        self._arrange()

    def show_model(self, name: str, has_chat_template: bool) -> None:
        """The name on the button; chat is possible only where the model has a template."""
        self.model.setText(name or self.tr("Open a model"))
        self.chat.setEnabled(has_chat_template)
        if not has_chat_template:
            self.chat.setChecked(False)
        self._fit_buttons()

    def show_examples(self, examples: Iterable[Example]) -> None:
        """What the button's menu, and the same menu in the menu bar, puts into the prompt field."""
        for example in examples:
            action = self.examples_menu.addAction(example.name, partial(self.prompt.put, example.text))
            action.setToolTip(example.text)

    def open_examples(self) -> None:
        """The menu, with its first example chosen for whoever goes on with the keyboard."""
        self.examples_menu.popup(self.examples.mapToGlobal(self.examples.rect().bottomLeft()))
        self.examples_menu.setActiveAction(self.examples_menu.actions()[0])

    def restyle(self, theme: Theme) -> None:
        side = round(self.fontMetrics().height() * 1.2)
        self.model.setIcon(icon("model", theme))
        for button in (self.model, self.examples, *self.buttons):
            button.setIconSize(QSize(side, side))
        self.speed.restyle(theme)
        self.prompt.fit()
        self._fit_buttons()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit_buttons()

    def _fit_buttons(self) -> None:
        """Texts beside the icons where the prompt keeps its room; what an icon does is in its tip."""
        labelled = (self.examples, *self.buttons)
        for button in labelled:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        room = self.width() - (self.sizeHint().width() - self.prompt.sizeHint().width())
        if room < LEAST_LETTERS * self.fontMetrics().averageCharWidth():
            for button in labelled:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)

    def _prepare(self, actions: Mapping[str, QAction]) -> None:
        self.model.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.model.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.model.setAccessibleName(self.tr("Model"))
        self.model.setToolTip(self.tr("The model; press to open another"))
        self._prepare_examples(actions["show_examples"])
        self.tokens.setRange(1, MOST_TOKENS)
        self.tokens.setAccessibleName(self.tr("Tokens to make"))
        self.tokens.setToolTip(self.tr("How many tokens to make at most"))
        self.tokens.setKeyboardTracking(False)
        self.chat.setToolTip(self.tr("Wrap the prompt in the model's chat template"))
        self.show_model("", False)

    def _prepare_examples(self, action: QAction) -> None:
        self.examples_menu.setToolTipsVisible(True)
        action.setMenu(self.examples_menu)
        self.examples.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    def _arrange(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 4, 6, 4)
        row.setSpacing(4)
        row.addWidget(self.model)
        row.addWidget(self.prompt, 1)
        row.addWidget(self.examples)
        row.addWidget(self.chat)
        for button in self.buttons:
            row.addWidget(button)
        row.addWidget(self.speed)
        tokens = QLabel(self.tr("Tokens"))
        tokens.setBuddy(self.tokens)
        row.addWidget(tokens)
        row.addWidget(self.tokens)


def _button(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(action)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setAutoRaise(True)
    button.setAccessibleName(action.text().replace("&", ""))
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
