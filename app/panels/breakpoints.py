"""The breakpoints: which there are, how often each was hit, which one the pass stands at; one more, or another."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QStackedWidget, QWidget

from app.breakpoint_words import breakpoint_text, hit_text
from app.panels.panel import Context, Panel
from app.token_texts import TokenTexts
from app.widgets.breakpoint_form import BreakpointForm
from app.widgets.breakpoint_rows import BreakpointRows
from app.widgets.flow import FlowLayout
from app.widgets.pages import fill
from engine.breakpoints import Test
from engine.frames import Answer, ModelFrame, TokenFound
from engine.questions import AskToken

LIST, FORM = range(2)


class BreakpointsPanel(Panel):
    """What is done here is done to ``context.breaks``; whoever listens to it tells the engine."""

    key = "breakpoints"
    stands_alone = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._model: ModelFrame | None = None
        self.add, self.all, self.clear = QPushButton(self.tr("Add…")), QPushButton(), QPushButton()
        self.tokens = TokenTexts(lambda: self.context.run)
        self.form, self.rows = BreakpointForm(self.tokens.id), BreakpointRows(context.theme)
        self.pages = QStackedWidget()
        self._arrange()
        self._connect()
        self.restyle()
        self._show_breaks()

    def _arrange(self) -> None:
        bar, listed, sheet = QWidget(), QWidget(), QScrollArea(widgetResizable=True)
        flow = FlowLayout(bar)
        for button in (self.add, self.all, self.clear):
            flow.addWidget(button)
        self.add.setToolTip(self.tr("Stop the pass where something is reached, or a value meets a limit"))
        self.clear.setText(self.tr("Delete all"))
        sheet.setFrameShape(QFrame.Shape.NoFrame)
        sheet.setWidget(self.form)
        fill(listed, bar, self.rows).setStretch(1, 1)
        self.pages.addWidget(listed)
        self.pages.addWidget(sheet)
        fill(self, self.pages)

    def _connect(self) -> None:
        breaks = self.context.breaks
        self.add.clicked.connect(self.begin)
        self.all.clicked.connect(breaks.switch_all)
        self.clear.clicked.connect(breaks.remove_all)
        self.form.done.connect(self._take)
        self.form.left.connect(self._leave_form)
        self.form.token_asked.connect(lambda text: self.context.ask("breakpoints.token", AskToken(text)))
        self.rows.switched.connect(lambda number, on: breaks.change(number, on=on))
        self.rows.ignore_changed.connect(lambda number, ignore: breaks.change(number, ignore=ignore))
        self.rows.asked.connect(self._do)
        breaks.changed.connect(self._show_breaks)
        breaks.moved.connect(self._show_hits)
        breaks.asked.connect(self._begin_with)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Breakpoints")

    def badge(self) -> str:
        return ""

    def caption(self) -> str:
        """ "Breakpoint 3 (hit 2): entropy 3.21 nats > 2.5" where the pass stands at one, else how many are on."""
        breaks = self.context.breaks
        if breaks.standing:
            return " · ".join(hit_text(hit, self.tr) for hit in breaks.standing)
        on = sum(each.on for each in breaks.breakpoints)
        return self.tr("{0} of {1} on").format(on, len(breaks.breakpoints))

    def show_run(self) -> None:
        if self.context.run.model is not self._model:
            self._model = self.context.run.model
            self._leave_form()  # it offers what the model before had
            self._show_breaks()
        self._show_hits()

    def show_answer(self, key: str, answer: Answer) -> None:
        if isinstance(answer, TokenFound):
            self.tokens.take(answer)
            if self.pages.currentIndex() == FORM:
                self.form.take_token(answer)

    def undo(self) -> bool:
        """Leave the form."""
        shown = self.pages.currentIndex() == FORM
        self._leave_form()
        return shown

    def restyle(self) -> None:
        self.rows.restyle(self.context.theme)
        self.form.complaint.setStyleSheet(f"color: {self.context.theme.cut};")

    def values(self) -> dict[str, np.ndarray]:
        """Per breakpoint: its conditions in words, its number, whether it is on, its hits."""
        breaks = self.context.breaks
        return {
            "texts": np.array([breakpoint_text(each, self.tr) for each in breaks.breakpoints], np.str_),
            "number": np.array([each.number for each in breaks.breakpoints], np.int64),
            "on": np.array([each.on for each in breaks.breakpoints]),
            "hits": np.array([breaks.hits.get(each.number, 0) for each in breaks.breakpoints], np.int64),
        }

    # --- what the user does -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """The form for a new one, where the user looks."""
        run, look = self.context.run, self.context.cursor.pinned
        position = look.position if look.position is not None else max(0, run.n_visible - 1)
        self.form.begin(run.model, look, position)
        self._open()

    def _begin_with(self, test: Test) -> None:
        self.begin()
        self.form.set_test(test)

    def _do(self, number: int, deed: str) -> None:
        if deed == "remove":
            self.context.breaks.remove(number)
            return
        found = next(each for each in self.context.breaks.breakpoints if each.number == number)
        self.form.edit(self.context.run.model, found)
        self._open()

    def _open(self) -> None:
        self.pages.setCurrentIndex(FORM)
        self.form.first.kind.setFocus()

    def _leave_form(self) -> None:
        self.pages.setCurrentIndex(LIST)

    def _take(self, number: int | None, tests: tuple[Test, ...], ignore: int) -> None:
        if number is None:
            self.context.breaks.add(tests, ignore)
        else:
            self.context.breaks.change(number, tests=tests, ignore=ignore)
        self._leave_form()
        self.add.setFocus()

    # --- what is shown ----------------------------------------------------------------------------------------

    def _show_breaks(self) -> None:
        breaks = self.context.breaks
        self.rows.show_breaks(breaks, self.context.run.model)
        self.all.setText(self.tr("All off") if breaks.any_on else self.tr("All on"))
        self.clear.setEnabled(len(breaks.breakpoints) > 1)
        self.caption_changed.emit()

    def _show_hits(self) -> None:
        """Where somebody sees it; a panel that comes into view is told of the run first."""
        if not self.isVisible():
            return
        self.rows.show_hits(self.context.breaks)
        self.caption_changed.emit()
