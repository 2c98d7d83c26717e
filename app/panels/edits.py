"""Edits: the interventions of the run as a tray, the form for one, and the pass beside the same pass without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSplitter, QStackedWidget, QToolButton, QWidget

from app.axis_words import axes_of, scaled
from app.edit_words import Z, heads_of, how_text, in_layers, point_at, scope_text, target_of, what_text
from app.engine_words import sources_text
from app.panels.panel import Context, Panel
from app.run import written
from app.theme import ink
from app.token_texts import TokenTexts
from app.widgets.edit_form import EditForm
from app.widgets.edit_rows import EditRows
from app.widgets.flow import FlowLayout
from app.widgets.pages import fill
from app.widgets.untouched_view import UntouchedView
from app.widgets.values_model import Along
from engine.edits import Edit
from engine.frames import Answer, TokenFound, Untouched
from engine.questions import AskToken, AskUntouched, Question

_LOW_LINES = 22  # a panel of fewer lines of text is low
_TOP = 12  # tokens of either side, and of those that moved most


class EditsPanel(Panel):
    """The tray belongs to the context: whoever makes an edit, it is listed and changed here."""

    key = "edits"
    stands_alone = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._changing: int | None = None  # the row that the form is about
        self._changed: Edit | None = None  # what stood there when the form was opened
        self.tokens = TokenTexts(lambda: self.context.run)
        self.form = EditForm(context.theme, self.tokens.id)
        self.rows = EditRows(context.theme)
        self.untouched = UntouchedView(context.theme, lambda: self.context.run)
        self.buttons: dict[str, QToolButton] = {}
        self._empty = QLabel(wordWrap=True)
        self._pages = QStackedWidget()
        self._make_tray()
        fill(self, self._pages)
        self._connect()
        self.show_edits()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_tray(self) -> None:
        tray, body = QWidget(), QStackedWidget()
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setMargin(self.fontMetrics().height())
        self._body = body
        self._split = QSplitter(Qt.Orientation.Vertical)
        self._split.addWidget(self.rows)
        self._split.addWidget(self.untouched)
        self._split.setSizes([300, 700])
        self._split.setChildrenCollapsible(False)
        for part in (self._empty, self._split):
            body.addWidget(part)
        fill(tray, self._make_buttons(), body).setStretch(1, 1)
        for page in (tray, self.form):
            self._pages.addWidget(page)

    def _make_buttons(self) -> QWidget:
        bar = QWidget()
        flow = FlowLayout(bar)
        for name, text, tip in self._titles():
            button = self.buttons[name] = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.setAccessibleName(text)
            flow.addWidget(button)
        self.buttons["compare"].setCheckable(True)
        return bar

    def _titles(self) -> tuple[tuple[str, str, str], ...]:
        return (
            ("new", self.tr("New…"), self.tr("Make an edit, beginning with the pinned layer, head and position")),
            ("all", self.tr("All off"), self.tr("Go on untouched; press again for the edits that were on")),
            ("undo", self.tr("Undo"), self.tr("Take back the last change of the edits")),
            ("redo", self.tr("Redo"), self.tr("Make it again")),
            ("compare", self.tr("Compare"), self.tr("Compute every pass a second time, without the edits, beside it")),
            ("copy", self.tr("Copy as Python"), self.tr("A script against the engine that does the same")),
            ("clear", self.tr("Clear"), self.tr("Delete all edits; Undo brings them back")),
        )

    def _connect(self) -> None:
        tray = self.context.tray
        tray.changed.connect(self.show_edits)
        self.form.finished.connect(self._take)
        self.form.token_asked.connect(lambda text: self.context.ask("edits.token", AskToken(text)))
        self.rows.switched.connect(tray.switch)
        self.rows.strength_changed.connect(tray.set_strength)
        self.rows.asked.connect(self._do)
        self.untouched.said.connect(self.context.cursor.say)
        self.untouched.place_picked.connect(self._pin)
        actions = {"new": self.new, "all": tray.switch_all, "undo": tray.undo, "redo": tray.redo}
        for name, action in {**actions, "copy": tray.copy_asked.emit, "clear": tray.clear}.items():
            self.buttons[name].clicked.connect(lambda checked=False, action=action: action())
        self.buttons["compare"].toggled.connect(self._compare)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Edits")

    def badge(self) -> str:
        found = self.untouched.shown
        if found is None or not self._comparing():
            return ""
        reduced = [self.tr("reduced ×{0}").format(found.block)] if found.block > 1 else []
        return " · ".join([self.tr("captured"), sources_text(found.source, self.tr), *reduced])

    def caption(self) -> str:
        edits = self.context.tray.edits
        if not edits:
            return ""
        text = self.tr("{0} of {1} on").format(sum(edit.on for edit in edits), len(edits))
        return f"{text} · {self.untouched.summary()}" if self._comparing() and self.untouched.shown else text

    def watches(self) -> Mapping[str, Question]:
        run = self.context.run
        if not self._comparing() or run.model is None or run.n_visible == 0:
            return {}
        position = self.context.cursor.pinned.position
        known = None if position is None or position >= run.n_visible else position
        return {"edits.untouched": AskUntouched(known, _TOP, self.untouched.map.fits())}

    def show_run(self) -> None:
        if self.another_run():
            self.untouched.take(None)
        if self.context.run.model is None and self._pages.currentWidget() is self.form:
            self._take(None)
        self.show_edits()

    def show_answer(self, key: str, answer: Answer) -> None:
        if isinstance(answer, TokenFound):
            self._take_token(answer)
        elif isinstance(answer, Untouched):
            self.untouched.take(answer)
            self.show_cursor()
            self.caption_changed.emit()

    def show_cursor(self) -> None:
        pinned = self.context.cursor.pinned
        self.untouched.mark(pinned.layer, pinned.position)

    def restyle(self) -> None:
        for part in (self.form, self.rows):
            part.restyle(self.context.theme)
        self.untouched.set_theme(self.context.theme)
        theme = self.context.theme
        self._empty.setStyleSheet(f"color: {theme.faint};")
        self.buttons["compare"].setStyleSheet(
            f"QToolButton:checked {{ background: {theme.accent}; color: {ink(theme.accent).name()}; border-radius: 3px;"
            f" border: 1px solid {theme.accent}; padding: 2px 5px; }}"
        )

    def undo(self) -> bool:
        """Esc leaves the form."""
        if self._pages.currentWidget() is not self.form:
            return False
        self._take(None)
        return True

    def values(self) -> dict[str, np.ndarray]:
        """``texts``, ``names`` (those that users gave), ``on`` and ``strength`` of each edit; and what the comparison
        shows."""
        edits, found = self.context.tray.edits, self.untouched.shown
        values = {
            "texts": np.array([self._text(edit) for edit in edits], np.str_),
            "names": np.array([edit.name for edit in edits], np.str_),
            "on": np.array([edit.on for edit in edits], bool),
            "strength": np.array([edit.strength for edit in edits], np.float64),
        }
        if found is None or not self._comparing():
            return values
        texts = {piece.id: written(piece) for piece in found.pieces}
        return {
            **values,
            "tokens": np.array([texts[id] for id in found.ids.tolist()], np.str_),
            "ids": found.ids,
            "probabilities": found.probabilities,
            "change": found.change,
            "parting": found.parting,
        }

    def axes(self) -> dict[str, tuple[Along, ...]]:
        whole, found = axes_of(self.key, self.context.run.label), self.untouched.shown
        parting = whole["parting"] if found is None else scaled(whole["parting"], (0, 1), (found.start, found.block))
        return {**whole, "parting": parting}

    def _text(self, edit: Edit) -> str:
        """All that it does, on one line."""
        return f"{what_text(edit, self.tr)}: {how_text(edit, self.tr)} · {scope_text(edit, self.tr)}"

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(360, 420)

    # --- the tray ---------------------------------------------------------------------------------------------

    def show_edits(self) -> None:
        """The tray as it is now."""
        tray, model = self.context.tray, self.context.run.model
        run = self.context.run
        self.rows.show_edits(tray.edits, run.n_read, len(run.steps))
        nothing = not tray.edits
        self._body.setCurrentWidget(self._empty if nothing else self._split)
        self._empty.setText(self._what_edits_are())
        self._share_height()
        self.buttons["all"].setText(self.tr("All off") if tray.on or nothing else self.tr("On again"))
        enabled = {"undo": tray.can_undo, "redo": tray.can_redo, "new": model is not None}
        for name, button in self.buttons.items():
            button.setEnabled(enabled.get(name, not nothing))
        if self._changing is not None and tray.edits[self._changing : self._changing + 1] != (self._changed,):
            self._take(None)  # another one stands there by now
        self.caption_changed.emit()

    def _what_edits_are(self) -> str:
        if self.context.run.model is None:
            return self.tr("Open a model to edit its passes.")
        return self.tr(
            "No edits: every pass is the model's own. Press New, or right-click a head, a cell of attention, an "
            "expert, a token or a stage."
        )

    def _do(self, index: int, what: str) -> None:
        actions = {"change": self._change, "duplicate": self.context.tray.duplicate, "remove": self.context.tray.remove}
        actions[what](index)

    # --- the form ---------------------------------------------------------------------------------------------

    def new(self) -> None:
        """The form for one more edit, of what is pinned."""
        pinned = self.context.cursor.pinned
        self.ask(pinned.layer, pinned.point or Z)

    def ask(self, layer: int | None, point: str) -> None:
        """The form for an edit at a point of a layer (None: outside the layers), or at the end of a stage."""
        model = self.context.run.model
        if model is None:
            return
        pinned = self.context.cursor.pinned
        within, position = self.context.run.within(pinned.layer if layer is None else layer, pinned.position)
        name = "" if layer is None else point_at(model, within, point)
        self.begin(self._beginning(within, position, name or point_at(model, None, point) or Z))

    def begin(self, edit: Edit) -> None:
        """The form, filled in with what is known of a new edit."""
        model = self.context.run.model
        if model is not None:
            self._changing = None
            self.form.open(model, edit, new=True)
            self._pages.setCurrentWidget(self.form)

    def _beginning(self, layer: int, position: int | None, point: str) -> Edit:
        """What a new edit at a point begins with: the pinned layer, head and position."""
        model = self.context.run.model
        assert model is not None
        facts, made = model.layers[layer], Edit("zero", point, value=1.0)
        target, count = target_of(made), heads_of(facts, point)
        expert = self.context.cursor.pinned.expert
        head = min(self.context.cursor.pinned.head, facts.n_heads - 1) * count // facts.n_heads
        return replace(
            made,
            kind=target.kinds[0],
            layers=(layer,) if in_layers(model, point) else (),
            positions=None if position is None else (position, position + 1),
            heads=(head,) if target.heads and count else (),
            entries=(expert,) if target.key == "experts" and expert is not None else (),
        )

    def _change(self, index: int) -> None:
        model = self.context.run.model
        if model is not None:
            self._changing, self._changed = index, self.context.tray.edits[index]
            self.form.open(model, self.context.tray.edits[index], new=False)
            self._pages.setCurrentWidget(self.form)

    def _take(self, edit: Edit | None) -> None:
        """The form is done with."""
        index, self._changing = self._changing, None
        self._pages.setCurrentIndex(0)
        if edit is not None and index is not None:
            self.context.tray.replace(index, edit)
        elif edit is not None:
            self.context.tray.add(edit)

    def _take_token(self, answer: TokenFound) -> None:
        self.tokens.take(answer)
        if self._pages.currentWidget() is self.form:
            self.form.take_token(answer)

    # --- the untouched pass -----------------------------------------------------------------------------------

    def _comparing(self) -> bool:
        return self.buttons["compare"].isChecked() and bool(self.context.tray.edits)

    def _share_height(self) -> None:
        """Where there is little height the comparison takes the place of the rows."""
        low = self.height() < _LOW_LINES * self.fontMetrics().height()
        self.untouched.setVisible(self._comparing())
        self.rows.setVisible(not (low and self._comparing()))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._share_height()

    def _compare(self) -> None:
        self.show_edits()
        self.watches_changed.emit()

    def _pin(self, layer: int, position: int) -> None:
        self.context.cursor.pin(layer=layer, **({} if position < 0 else {"position": position}))
