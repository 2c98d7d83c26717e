"""The bar above everything: the model, the prompt, the run's buttons, how many tokens to make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPlainTextEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QWidget,
)

from app.commands import TOOLBAR, bare
from app.depth import USUAL, Depth, depth_names
from app.examples import Example
from app.speed_control import SpeedControl
from app.theme import Theme, icon
from app.widgets.line_breaks import break_long_words
from app.widgets.term_words import told
from app.widgets.tips import plain_tip

MOST_LINES, FEWEST_LINES = 5, 2
MOST_HEIGHT = 0.1  # of the window's: in a low one the prompt scrolls sooner, so that the panels have their room
MOST_TOKENS = 1_000_000
SHORTEST_NAME = 8  # letters of the model's
LEAST_LETTERS = 25  # of the prompt beside buttons with texts; where there is less room, they show icons only
# the first in which the prompt has its room: a text beside the examples, beside the run's buttons, the slider inline
SHAPES = ((True, True, True), (True, True, False), (False, True, False), (False, False, False))
MOST_FITS = 3  # shapes may resize the bar, which then wants another shape
ROOMY = 190  # letters: a bar that is narrower has the slider of the speed in a menu


class PromptField(QPlainTextEdit):
    """A text field that grows with its lines. Return runs, Shift+Return starts a new line, Tab moves on."""

    submitted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.held = False  # it keeps its height, whatever width it gets
        self._fitted: object = None  # for what there is a scroll bar, or none
        self.setTabChangesFocus(True)
        self._hint = self.tr("Prompt: Return runs it, Shift+Return starts a new line")
        self.setAccessibleDescription(self._hint)
        self.setAccessibleName(self.tr("Prompt"))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        break_long_words(self)
        self.textChanged.connect(self.fit)
        self.document().documentLayout().documentSizeChanged.connect(self.fit)  # lines are counted as they are seen
        self.fit()

    def fit(self) -> None:
        """As high as its lines, up to MOST_LINES and to its share of the window; then it scrolls."""
        if not self.held:
            self.held = True
            self._fit()
            self.held = False

    def _fit(self) -> None:
        share = int(MOST_HEIGHT * self.window().height() / self.fontMetrics().lineSpacing())
        most = min(MOST_LINES, max(FEWEST_LINES, share))
        scrolls = self._scrolls(most)
        room = self.viewport().width() - 2 * round(self.document().documentMargin())
        self.setPlaceholderText(self.fontMetrics().elidedText(self._hint, Qt.TextElideMode.ElideRight, room))
        lines = most if scrolls else self._wanted()
        edges = 1 if scrolls else 2  # a text that scrolls shows no top of a line that has no room
        margins = 2 * self.frameWidth() + edges * round(self.document().documentMargin())
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + margins)

    def _scrolls(self, most: int) -> bool:
        """A bar that has come stays for this text in this width: beside it the lines are narrower, but may be fewer,
        and it would come and go for ever."""
        depends_on = (self.width(), self.isVisible(), self.font().key(), self.document().revision(), most)
        if depends_on != self._fitted:
            self._fitted = depends_on
            self._set_scrolls(self._wanted() > most)
        if self._wanted() > most:
            self._set_scrolls(True)
        return self.verticalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOn

    def _wanted(self) -> int:
        return max(1, round(self.document().size().height()))

    def _set_scrolls(self, scrolls: bool) -> None:
        policies = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policies.ScrollBarAlwaysOn if scrolls else policies.ScrollBarAlwaysOff)

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

    depth_chosen = Signal(str)

    def __init__(self, actions: Mapping[str, QAction]) -> None:
        super().__init__()
        self.model = QToolButton()
        self.model_menu = QMenu(self.model)  # is filled by whoever knows the models
        self.prompt = PromptField()
        self.examples = _button(actions["show_examples"])
        self.examples_menu = QMenu(self.examples)
        self.tokens = QSpinBox()
        self.chat = QCheckBox(self.tr("Chat"))
        self.buttons = [_button(actions[name]) for name in TOOLBAR]
        self.speed = SpeedControl()
        self.depths = QComboBox()
        self._least, self._fitting, self._name = 0, False, ""  # pixels; of the model
        self._arrange()
        self._prepare(actions)

    def show_model(self, name: str, has_chat_template: bool) -> None:
        """The name on the button; chat is possible only where the model has a template."""
        self._name = name or self.tr("Open a model")
        tip = self.tr("The model; press to open another")
        self.model.setToolTip(plain_tip(f"{name}\n{tip}") if name else tip)
        self.chat.setEnabled(has_chat_template)
        if not has_chat_template:
            self.chat.setChecked(False)
        self._fit_buttons()

    def show_examples(self, examples: Iterable[Example]) -> None:
        """What the button's menu, and the same menu in the menu bar, puts into the prompt field."""
        for example in examples:
            action = self.examples_menu.addAction(told(example.name), partial(self.prompt.put, example.text))
            action.setToolTip(plain_tip(example.text))

    def show_depth(self, depth: Depth) -> None:
        """How deep things are explained; ``depth_chosen`` is not sent."""
        self.depths.setCurrentIndex(self.depths.findData(depth))

    def open_examples(self) -> None:
        """The menu, with its first example chosen for whoever goes on with the keyboard."""
        self.examples_menu.popup(self.examples.mapToGlobal(self.examples.rect().bottomLeft()))
        self.examples_menu.setActiveAction(self.examples_menu.actions()[0])

    def keep_keyboard(self, had: QWidget | None) -> None:
        """A button that can do nothing now hands the keyboard to what leads the run on: Run to Pause, and all of them
        to Run at the end. Qt would give it to the button beside, which the next press of the same key then presses."""
        leading = next((button for button in self.buttons if button.isEnabled()), None)
        if had in self.buttons and not had.isEnabled() and leading is not None:
            leading.setFocus(Qt.FocusReason.OtherFocusReason)

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
        if event.size().width() != event.oldSize().width():
            self._fit_buttons()

    def _fit_buttons(self) -> None:
        """For the present width. A shape that is tried may resize the bar itself: then once more."""
        if self._fitting:
            return
        self._fitting = self.prompt.held = True  # a height in between would stay the bar's
        fitted = -1
        for _ in range(MOST_FITS):
            if fitted != self.width():
                fitted = self.width()
                self._fit(fitted)
                self._row.invalidate()  # of the shapes that were tried it may still have the width of another
                self._row.activate()
        self._fitting = self.prompt.held = False
        self.prompt.fit()

    def _fit(self, width: int) -> None:
        """Texts beside the icons and the slider of the speed where the prompt keeps its room; what an icon does is in
        its tip."""
        self._shape(*SHAPES[-1])
        self._show_name(None)
        least = self.prompt.minimumSizeHint().width()
        self._least = width - self._room() + least
        self._show_name(0)
        more = self._room() - LEAST_LETTERS * self.fontMetrics().averageCharWidth()
        self._show_name(None if self._room() < least else more)
        for shape in SHAPES:
            if shape[-1] and width < ROOMY * self.fontMetrics().averageCharWidth():
                continue
            self._shape(*shape)
            if self._room() >= LEAST_LETTERS * self.fontMetrics().averageCharWidth():
                return

    def _show_name(self, more: int | None) -> None:
        """Of the model: a few letters, and what of it has room in so many pixels more, or none; the tip has it all."""
        metrics, styles = self.model.fontMetrics(), Qt.ToolButtonStyle
        self.model.setToolButtonStyle(styles.ToolButtonIconOnly if more is None else styles.ToolButtonTextBesideIcon)
        room = SHORTEST_NAME * metrics.averageCharWidth() + max(0, more or 0)
        self.model.setText(metrics.elidedText(self._name, Qt.TextElideMode.ElideMiddle, room))

    def _shape(self, examples: bool, texts: bool, inline: bool) -> None:
        styles = Qt.ToolButtonStyle
        for button in (self.examples, *self.buttons):
            told = examples if button is self.examples else texts
            button.setToolButtonStyle(styles.ToolButtonTextBesideIcon if told else styles.ToolButtonIconOnly)
        self.speed.set_inline(inline)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Of the narrowest shape: a window that is made smaller is not kept wide by the present one."""
        return QSize(self._least, super().minimumSizeHint().height())

    def _room(self) -> int:
        """Pixels that the prompt gets. Worked out here: the layout learns of other shapes with later events only."""
        spacing, margins = self._row.spacing(), self._row.contentsMargins()
        parts = self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
        shown = [part for part in parts if self._row.indexOf(part) >= 0 and not part.isHidden()]
        used = sum(_width(part) + spacing for part in shown if part is not self.prompt)
        return self.width() - margins.left() - margins.right() - used

    def _prepare(self, actions: Mapping[str, QAction]) -> None:
        self.model.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.model.setMenu(self.model_menu)
        self.model.setAccessibleName(self.tr("Model"))
        self._prepare_examples(actions["show_examples"])
        self.tokens.setRange(1, MOST_TOKENS)
        self.tokens.setAccessibleName(self.tr("Tokens to make"))
        self.tokens.setToolTip(self.tr("How many tokens to make at most"))
        self.tokens.setKeyboardTracking(False)
        self.chat.setToolTip(self.tr("Wrap the prompt in the model's chat template"))
        for part, term in ((self.prompt, "prompt"), (self.chat, "chat-template"), (self.tokens, "decode")):
            part.setProperty("term", term)
        self._prepare_depths(actions)
        self.show_model("", False)

    def _prepare_depths(self, actions: Mapping[str, QAction]) -> None:
        for depth, name in depth_names(self.tr).items():
            self.depths.addItem(name, depth)
            tip = actions[f"use_depth.{depth}"].statusTip()
            self.depths.setItemData(self.depths.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.depths.setAccessibleName(self.tr("Depth"))
        self.depths.setToolTip(self.tr("How deep things are explained: in plain words, with figures, formulas, code"))
        self.depths.activated.connect(lambda index: self.depth_chosen.emit(self.depths.itemData(index)))
        self.show_depth(USUAL)

    def _prepare_examples(self, action: QAction) -> None:
        self.examples_menu.setToolTipsVisible(True)
        action.setMenu(self.examples_menu)
        self.examples.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    def _arrange(self) -> None:
        row = self._row = QHBoxLayout(self)
        row.setContentsMargins(6, 4, 6, 4)
        row.setSpacing(4)
        row.addWidget(self.model)
        row.addWidget(self.prompt, 1)
        row.addWidget(self.examples)
        row.addWidget(self.chat)
        for button in self.buttons:
            row.addWidget(button)
        row.addWidget(self.speed)
        row.addWidget(self.depths)
        tokens = QLabel(self.tr("Tokens"))
        tokens.setBuddy(self.tokens)
        row.addWidget(tokens)
        row.addWidget(self.tokens)


def _width(part: QWidget) -> int:
    """What a part takes as it is now."""
    return min(max(part.sizeHint().width(), part.minimumWidth()), part.maximumWidth())


def _button(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(action)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setAutoRaise(True)
    button.setAccessibleName(bare(action.text()))
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
