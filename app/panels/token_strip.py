"""The token strip: prompt and answer, token by token. The spine of the window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QImage, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app.engine_words import sources_text
from app.expert_notes import expert_notes, weight_end
from app.live import live_state
from app.note_words import axes_text, kind_text
from app.notes import present
from app.panels.panel import Context, Panel
from app.run import written
from app.theme import Theme, icon
from app.token_figures import TokenFigures
from app.widgets.hidden_chip import Hidden
from app.widgets.live_chip import LiveChip
from app.widgets.scale import figure
from app.widgets.still_label import StillLabel
from app.widgets.strip_legend import StripLegend
from app.widgets.timeline import LEAST_EMS, MODES, MOST_EMS, Extent, Timeline, nats_text, seconds_text
from app.widgets.timeline_button import TimelineButton
from app.widgets.token_view import Marks, TokenView
from engine.frames import Answer, LayerFacts, RoutedTokens, Surprises
from engine.questions import AskRoutedTokens, AskSurprise, Question

AT_ONCE = 128  # prompt tokens whose surprise is computed while a run goes on; more would hold it up
PAGE = 10  # tokens that PageUp and PageDown go
LEAST_LINES = 2  # of tokens that are in sight before the timeline has room: what is chosen, and what it follows


class TokenStrip(Panel):
    """Tokens as boxes; the colour of a generated one is its raw probability. Click pins, click again frees. Below them
    the timeline of surprise, entropy and time.

    By expert, the colour and the number of a box are those of the expert of the pinned layer that weighed most. While
    an expert is picked, in whichever panel, they say how much that one weighed.
    """

    key = "strip"
    stands_alone = True
    timeline_chosen = Signal(str)  # what the timeline shows from now on, one of TIMELINES

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.figures = TokenFigures()
        self._asking = False  # how surprising the prompt was
        self._routed: RoutedTokens | None = None
        self._noted: tuple[object, ...] | None = None
        self._flags: frozenset[int] = frozenset()  # where there are notes and bookmarks
        self.view = TokenView(context.run, context.theme, self)
        self.view.tip = self.tip
        self.view.setAccessibleName(self.tr("Tokens of the prompt and of the answer"))
        self.view.hovered.connect(self._hover)
        self.view.pressed.connect(self._toggle)
        self.view.walked.connect(lambda position: self.context.cursor.pin(position=position))
        self.view.freed.connect(self._free)
        self.view.installEventFilter(self)
        self.view.verticalScrollBar().rangeChanged.connect(self._share_height)  # there is another line
        self._make_timeline()
        self.setFocusProxy(self.view)
        self.setAccessibleName(self.title())
        self._build()
        self.restyle()

    def _make_timeline(self) -> None:
        self.timeline = Timeline(self.context.theme, self._readout)
        self.timeline.place_hovered.connect(self._hover)
        self.timeline.place_left.connect(lambda: self._hover(-1))
        self.timeline.place_picked.connect(lambda position: self.context.cursor.pin(position=position))
        self.timeline.installEventFilter(self)
        self.timeline_button = TimelineButton(self)
        self.timeline_button.chosen.connect(self._choose_timeline)

    def _build(self) -> None:
        self.chip = LiveChip(self.context.theme)
        self.chip.jump_asked.connect(self._free)
        self.reading = StillLabel()
        self.reading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # never widens the window
        self.by_expert = QToolButton(self)
        self.by_expert.setText(self.tr("by expert"))
        self.by_expert.setCheckable(True)
        self.by_expert.setToolTip(self.tr("Colour tokens by the experts of the pinned layer, not by probability"))
        self.by_expert.toggled.connect(self._change_colouring)
        self.edited = QToolButton(self)
        self.edited.setText(self.tr("edited"))
        self.edited.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.edited.setToolTip(self.tr("Edits are on: passes are not the model's own. Press to see them"))
        self.edited.clicked.connect(lambda: self.context.tray.looked_for.emit())
        self.context.tray.changed.connect(self._show_edited)
        self.context.notes.changed.connect(self._show_flags)
        self.legend = StripLegend(self.context.theme, self)
        self.legend.setMinimumWidth(1)  # it is hidden where it does not fit
        header = QHBoxLayout()
        header.setContentsMargins(6, 2, 6, 2)
        header.setSpacing(10)
        header.addWidget(self.chip)
        header.addWidget(self.edited)
        header.addWidget(self.reading, 1)
        header.addWidget(self.by_expert)
        header.addWidget(self.legend)
        header.addWidget(self.timeline_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(header)
        column.addWidget(self.view, 1)
        column.addWidget(self.timeline, 100)  # all that it may have; the rest is the tokens'
        self._header = header
        self._show_edited()

    def _show_flags(self) -> None:
        self._flags = self._flagged()
        self.view.mark(self._marks())

    def _flagged(self) -> frozenset[int]:
        run = self.context.run
        return frozenset(n.position for n in self.context.notes if n.position is not None and present(n, run))

    def _show_edited(self) -> None:
        self.edited.setVisible(self.context.tray.on)
        self._fit_legend()

    # -- the contract of a panel ---------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Tokens")

    def main_picture(self) -> QWidget:
        return self.view

    def badge(self) -> str:
        if not self.context.run.n_tokens:
            return ""
        shown = not self.timeline.isHidden()
        again = shown and self.figures.prompt_known > 1
        parts = [sources_text("captured + recomputed" if again else "captured", self.tr)]
        if shown and self.timeline.block > 1:
            parts.append(self.tr("reduced ×{0}").format(self.timeline.block))
        return " · ".join(parts)

    def mode(self) -> str:
        return "experts" if self.context.run.model is not None and self._tells_experts() else ""

    def caption(self) -> str:
        run = self.context.run
        return self.tr("{0} prompt + {1} generated").format(run.n_prompt, len(run.steps)) if run.n_tokens else ""

    def watches(self) -> Mapping[str, Question]:
        if not self._tells_experts() or self.context.run.n_visible == 0:
            return {}
        return {"strip.routed": AskRoutedTokens(self._layer())}

    def show_answer(self, key: str, answer: Answer) -> None:
        if isinstance(answer, RoutedTokens):
            self._routed = answer
            self._note()
        elif isinstance(answer, Surprises) and self.figures.put(answer):
            self._show_timeline()
            self.caption_changed.emit()

    def show_run(self) -> None:
        if self.another_run():
            self._routed = None
            self._let_go()
        self.view.empty_text = self._empty_text()
        self.view.run = self.context.run
        self._note()
        self.view.sync()
        self._share_height()
        self._flags = self._flagged()
        self.view.mark(self._marks())
        self._show_timeline()
        self._say_state()
        self.caption_changed.emit()

    def show_cursor(self) -> None:
        before = self.view.marks.pinned
        self._note()
        self.view.mark(self._marks())
        self._mark_timeline()
        pinned = self.view.marks.pinned
        if pinned is not None and pinned != before:
            self.view.show_position(pinned)
        elif pinned is None and before is not None:
            self.view.show_end()
        self._say_state()

    def restyle(self) -> None:
        theme = self.context.theme
        self.view.restyle(theme)
        self.legend.restyle(theme)
        self.view.setMinimumHeight(self.view.lines_height(1))
        self.timeline.set_theme(theme)
        self.chip.restyle(theme)
        self._restyle_edited(theme)
        self.reading.setStyleSheet(f"color: {theme.faint};")
        self._note()
        self.view.empty_text = self._empty_text()
        self.view.mark(self._marks())
        self._say_state()
        self._share_height()

    def _restyle_edited(self, theme: Theme) -> None:
        side = self.fontMetrics().height()
        self.edited.setIcon(icon("edit", theme, theme.cut))
        self.edited.setIconSize(QSize(side, side))
        self.edited.setStyleSheet(
            f"QToolButton {{ color: {theme.cut}; font-weight: 600; border: 1px solid {theme.cut}; border-radius: 3px;"
            f" padding: 0 4px; }} QToolButton:focus {{ border: 2px solid {theme.accent}; }}"
        )

    def values(self) -> dict[str, np.ndarray]:
        """``tokens`` [n], ``ids`` int64 [n], ``probabilities`` float64 [n] (NaN in the prompt), ``byte_ranges`` int64
        [n, 2].

        Of the timeline ``surprise``, ``entropy`` (nats) and ``seconds`` float64 [n], NaN where there is no figure.
        """
        run = self.context.run
        pieces = run.pieces
        routed = self._routed if self.view.notes is not None else None
        experts = {} if routed is None else {"experts": routed.ids, "expert_weights": routed.weights}
        chosen = [step.sampling.chosen_raw for step in run.steps]
        self.figures.follow(run)
        return {
            "tokens": np.array([written(piece) for piece in pieces], np.str_),
            "ids": np.array([piece.id for piece in pieces], np.int64),
            "probabilities": np.array([np.nan] * run.n_prompt + chosen, np.float64),
            "byte_ranges": np.array([(piece.start, piece.end) for piece in pieces], np.int64).reshape(-1, 2),
            "surprise": self.figures.surprise.copy(),
            "entropy": self.figures.entropy.copy(),
            "seconds": self.figures.seconds.copy(),
            **experts,
        }

    def picture(self) -> QImage:
        return self.grab().toImage()

    def sizeHint(self) -> QSize:  # noqa: N802
        timeline = 0 if self.timeline_button.folded else self.timeline.sizeHint().height()
        return QSize(900, self.view.lines_height(3) + self.chip.sizeHint().height() + 4 + timeline)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._share_height()
        self._fit_legend()

    def _fit_legend(self) -> None:
        """On a narrow strip the state matters more than the legend."""
        words = self.fontMetrics().horizontalAdvance(self.reading.text())
        maybe = [button for button in (self.by_expert, self.edited) if not button.isHidden()]
        shown = (self.chip, self.timeline_button, *maybe)
        others = sum(widget.sizeHint().width() for widget in shown)
        needed = others + words + self.legend.sizeHint().width() + 4 * self.fontMetrics().height()
        self.legend.setVisible(needed <= self.width())

    # -- the timeline --------------------------------------------------------------------------------------------

    @property
    def timeline_choice(self) -> str:
        """What the timeline shows, one of TIMELINES."""
        return self.timeline_button.choice

    def set_timeline(self, choice: str) -> None:
        """Show this from now on; what is not one of TIMELINES shows all."""
        self.timeline_button.show_choice(choice)
        for mode in MODES:
            if mode == self.timeline_choice:
                self.timeline.show_mode(mode)
        self._share_height()
        self._show_timeline()
        self.caption_changed.emit()
        self.hides_changed.emit()

    def whole_height(self) -> int:
        """A few lines of tokens and the timeline."""
        timeline = 0 if self.timeline_button.folded else math.ceil(LEAST_EMS * self.fontMetrics().height())
        return self._header.sizeHint().height() + self._kept_height() + timeline

    def _kept_height(self) -> int:
        """Of the first lines of tokens, if there are so many."""
        return self.view.lines_height(min(LEAST_LINES, self.view.n_lines))

    def spared_height(self) -> int:
        """Without the timeline, and for all of the first lines: in another width there may be so many."""
        return self._header.sizeHint().height() + self.view.lines_height(LEAST_LINES)

    def hides(self) -> list[Hidden]:
        return [Hidden(self.tr("the timeline is folded"), self.fold_timeline)] if self.timeline_button.folded else []

    def fold_timeline(self) -> None:
        """Fold it, or show what it showed before."""
        self.timeline_button.fold()

    def _choose_timeline(self, choice: str) -> None:
        self.set_timeline(choice)
        self.timeline_chosen.emit(self.timeline_choice)

    def _share_height(self) -> None:
        """The timeline has what it needs as long as the first lines of tokens keep their room; then they share."""
        em = self.fontMetrics().height()
        room = self.height() - self._header.sizeHint().height() - self._kept_height()
        wanted = min(max(room * 0.66, em * LEAST_EMS), em * MOST_EMS, room)
        shown = not self.timeline_button.folded and wanted >= em * LEAST_EMS
        self.timeline.setMaximumHeight(round(wanted) if shown else 0)  # and no least: the panel must be able to shrink
        self.timeline.setVisible(shown)
        self.timeline_button.show_room(shown)
        self.caption_changed.emit()  # the badge tells how many tokens a column stands for

    def _show_timeline(self) -> None:
        if self.timeline_button.folded:
            return
        run = self.context.run
        self.figures.follow(run)
        self._ask_surprise()
        over = run.ended is not None or not run.n_tokens
        context = run.model.n_ctx if run.model is not None else run.n_tokens
        expected = min(run.n_prompt + run.max_new_tokens, context)
        self.timeline.empty_text = self.tr("Surprise, entropy and time of every token appear here")
        self.timeline.show_figures(self.figures, Extent(expected, over, self._why_waiting()))
        self._mark_timeline()

    def set_need(self, sentence: str, nothing: bool = False) -> None:
        """Surprises of prompt tokens are not recorded."""
        changed = sentence != self.need
        super().set_need(sentence, nothing)
        if changed:
            self._show_timeline()

    def _mark_timeline(self) -> None:
        self.timeline.mark(self.view.marks.pinned, self.view.marks.hovered)

    def _ask_surprise(self) -> None:
        """Once the prompt is read, and at rest: to unembed a long one would hold up the run."""
        run, known = self.context.run, self.figures.prompt_known
        wanted = bool(run.steps) and known < run.n_prompt and self._at_rest()
        if not wanted:
            self._let_go()
        elif not self._asking:
            self._asking = True
            self.context.ask("strip.surprise", AskSurprise(known, run.n_prompt))

    def _let_go(self) -> None:
        """Of a run before this one nothing is to be computed any more."""
        if self._asking:
            self.context.unask("strip.surprise")
        self._asking = False

    def _at_rest(self) -> bool:
        run = self.context.run
        return run.n_prompt <= AT_ONCE or run.ended is not None or run.where.state == "paused"

    def _why_waiting(self) -> str:
        """What stands in the hatched part of the timeline."""
        if self.need:
            return self.tr("needs the model")
        if self.context.run.ended is not None and not self.context.run.steps:
            return self.tr("not read")
        if self._at_rest():
            read = bool(self.context.run.steps)
            return self.tr("being computed") if read else self.tr("once the prompt is read")
        return self.tr("computed when the run is paused or over")

    # -- experts -------------------------------------------------------------------------------------------------

    def _layer(self) -> int:
        """The pinned layer, within what the model has."""
        model = self.context.run.model
        return 0 if model is None else min(max(self.context.cursor.pinned.layer, 0), model.n_layers - 1)

    def _facts(self) -> LayerFacts | None:
        """Of the pinned layer, where it has experts."""
        model = self.context.run.model
        facts = None if model is None else model.layers[self._layer()]
        return None if facts is None or facts.experts is None else facts

    def _tells_experts(self) -> bool:
        wanted = self.by_expert.isChecked() or self.context.cursor.pinned.expert is not None
        return wanted and self._facts() is not None

    def _change_colouring(self) -> None:
        self._note()
        self.watches_changed.emit()

    def _note(self) -> None:
        """The experts' colours and numbers, or none; made anew only for other ones, since the mouse asks often."""
        if self._routed is not None and self._routed.layer != self._layer():
            self._routed = None
        facts, picked, theme = self._facts(), self.context.cursor.pinned.expert, self.context.theme
        wanted = (
            self._routed,
            self._layer(),
            facts,
            picked,
            theme,
            self._tells_experts(),
            self.context.run.has_experts,
        )
        if self._noted is not None and self._noted[0] is wanted[0] and self._noted[1:] == wanted[1:]:
            return
        self._noted = wanted
        self.by_expert.setVisible(self.context.run.has_experts)
        if facts is None or not self._tells_experts():
            self.view.show_notes(None)
            self.legend.show_quantity(self.tr("probability 0"), "1")
        else:
            self.view.show_notes(expert_notes(self._routed, facts.n_experts, picked, theme))
            strongest = self.tr("strongest expert of layer {0}").format(self._layer())
            weight = self.tr("weight of expert {0} of layer {1}: 0").format(picked, self._layer())
            end = figure(weight_end(self._routed))
            self.legend.show_quantity(strongest if picked is None else weight, "" if picked is None else end)
        self._fit_legend()

    # -- words ---------------------------------------------------------------------------------------------------

    def tip(self, position: int) -> str:
        """What the tool tip says of a position, as rich text with the token's own text escaped."""
        piece = self.context.run.piece(position)
        raw = piece.raw.hex(" ")
        rows = [
            (self.tr("text"), written(piece)),
            (self.tr("bytes"), raw if len(raw) <= 96 else raw[:95] + "…"),
            (self.tr("id"), str(piece.id)),
            (self.tr("byte range"), f"{piece.start} … {piece.end}"),
            (self.tr("position"), str(position)),
            *self._choice(position),
            *self._figures_of(position),
            *self._experts_of(position),
            *self._notes_at(position),
        ]
        cells = "".join(f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"

    def _notes_at(self, position: int) -> list[tuple[str, str]]:
        """Notes and bookmarks on a token, with the layer and head that they are about."""
        here = [n for n in self.context.notes if n.position == position and present(n, self.context.run)]
        return [(kind_text(n, self.tr), ": ".join(filter(None, (axes_text(n, self.tr), n.text)))) for n in here]

    def _experts_of(self, position: int) -> list[tuple[str, str]]:
        routed = self._routed
        if self.view.notes is None or routed is None or position >= len(routed.ids):
            return []
        pairs = zip(routed.ids[position].tolist(), routed.weights[position].tolist(), strict=True)
        weighed = ", ".join(f"{expert} ({weight:.4g})" for expert, weight in pairs)
        return [(self.tr("experts of layer {0}").format(routed.layer), weighed)]

    def _choice(self, position: int) -> list[tuple[str, str]]:
        step = self.context.run.step_choosing(position)
        rows = [(self.tr("state"), self._state(position))]
        if step is None:
            return [(self.tr("origin"), self.tr("prompt")), *rows]
        sampling = step.sampling
        return [
            (self.tr("probability"), f"{sampling.chosen_raw:.6g}"),
            (self.tr("after the stages"), f"{sampling.chosen_final:.6g}"),
            (self.tr("rank"), str(sampling.chosen_rank + 1)),
            *([(self.tr("edited"), self.tr("something was replaced in its pass"))] if step.edited else []),
            *rows,
        ]

    def _state(self, position: int) -> str:
        if position in self.view.marks.reading:
            return self.tr("being read now")
        return self.tr("read") if position < self.context.run.n_read else self.tr("not read yet: no column")

    def _empty_text(self) -> str:
        if self.context.run.model is None:
            return self.tr("No model yet")
        return self.tr("No run yet: type a prompt and press Run")

    def _say_state(self) -> None:
        run, pinned = self.context.run, self.context.cursor.pinned.position
        state = live_state(run, self.context.cursor.pinned, self.tr)
        before = self.chip.text()
        self.chip.show_state(state)
        follows = self.tr("Following the newest token")
        token = "" if pinned is None else self.tr("{0} at position {1} is pinned").format(run.label(pinned), pinned)
        self.view.setAccessibleDescription(token or follows)
        reading = self.view.marks.reading
        words = self.tr("reading {0}").format(_span(reading)) if reading else ""
        if self.reading.text() != words or len(before) != len(state.words):
            self.reading.setText(words)
            self._fit_legend()

    # -- the cursor ----------------------------------------------------------------------------------------------

    def _marks(self) -> Marks:
        run, cursor = self.context.run, self.context.cursor
        inside = run.in_pass and run.where.state == "paused"
        reading = range(run.where.start, run.where.end) if inside else range(0)
        return Marks(cursor.pinned.position, cursor.hovered.position, reading, run.where.kind, run.n_read, self._flags)

    def _hover(self, position: int) -> None:
        cursor = self.context.cursor
        if position < 0:
            cursor.hover()
            cursor.say("")
        elif cursor.hovered.position != position:
            cursor.hover(position=position)
            cursor.say(self._readout(position))

    def _readout(self, position: int) -> str:
        run = self.context.run
        step = run.step_choosing(position)
        words = self.tr("token {0}  {1}  id {2}").format(position, run.label(position), run.piece(position).id)
        if step is not None:
            words += self.tr("  probability {0:.4g}").format(step.sampling.chosen_raw)
        return "  ".join([words, *(f"{name} {value}" for name, value in self._figures_of(position))])

    def _figures_of(self, position: int) -> list[tuple[str, str]]:
        """Surprise, entropy and time of a token, as far as there are figures."""
        if position >= self.figures.n:
            return []
        surprise, entropy = (nats_text(float(row[position])) for row in (self.figures.surprise, self.figures.entropy))
        seconds = seconds_text(float(self.figures.seconds[position]))
        named = ((self.tr("surprise"), surprise), (self.tr("entropy"), entropy), (self.tr("pass"), seconds))
        return [(name, text) for name, text in named if text]

    def _toggle(self, position: int) -> None:
        self.context.cursor.pin(position=None if self.context.cursor.pinned.position == position else position)

    def _free(self) -> None:
        self.context.cursor.follow()
        self.view.show_end()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Keys come to the view first; it would scroll with the arrows."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            pages = _PAGES if watched is self.timeline else {}
            if self._move(event.key(), {**_KEYS, **pages}):
                return True
        return super().eventFilter(watched, event)

    def _move(self, key: int, keys: Mapping[int, tuple[int, int]]) -> bool:
        """Move the pin by a key; False where the key means nothing here."""
        last, pinned = self.context.run.n_tokens - 1, self.context.cursor.pinned.position
        if key == Qt.Key.Key_Escape and pinned is not None:
            self._free()
            return True
        if last < 0 or key not in keys:
            return False
        here = last if pinned is None else min(pinned, last)
        step, lines = keys[key]
        target = self.view.above_or_below(here, lines) if lines else here + step
        self.context.cursor.pin(position=min(max(target, 0), last))
        return True

    # -- the menu ------------------------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        by_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        point = self.view.viewport().mapFromGlobal(event.globalPos()).toPointF()
        position = self.view.position_at(point) if by_mouse else self.context.cursor.pinned.position
        menu = self.menu(position)
        menu.exec(event.globalPos() if by_mouse else self.mapToGlobal(QPoint(20, 20)))
        menu.deleteLater()

    def menu(self, position: int | None) -> QMenu:
        """What can be done with the token at a position (None: with the whole text only)."""
        menu = QMenu(self)
        if position is not None and 0 <= position < self.context.run.n_tokens:
            piece = self.context.run.piece(position)
            menu.addAction(self.tr("Copy token text")).triggered.connect(lambda: _copy(piece.text))
            menu.addAction(self.tr("Copy id {0}").format(piece.id)).triggered.connect(lambda: _copy(str(piece.id)))
            self._add_branching(menu, position)
        whole = menu.addAction(self.tr("Copy whole text"))
        whole.triggered.connect(lambda: _copy(self.whole_text()))
        whole.setEnabled(self.context.run.n_tokens > 0)
        here = {} if position is None else {"position": position}
        self.context.add_commands(menu, "tokens", lambda: self.context.cursor.pin(**here))
        return menu

    def _add_branching(self, menu: QMenu, position: int) -> None:
        """Of what was chosen another token can be taken; after it everything can be left."""
        run = self.context.run
        another = menu.addAction(self.tr("Another token here…"))
        another.triggered.connect(lambda: self.choice_asked.emit(position))
        another.setEnabled(run.step_choosing(position) is not None)
        kept = max(position + 1, run.n_prompt)
        back = menu.addAction(self.tr("Step back to here"))
        back.triggered.connect(lambda: self.back_asked.emit(kept))
        back.setEnabled(kept < run.n_tokens)
        menu.addSeparator()

    def whole_text(self) -> str:
        """Prompt and answer; characters that are split over tokens are whole again."""
        return b"".join(piece.raw for piece in self.context.run.pieces).decode("utf-8", "replace")


_FAR = 2**31
_KEYS: dict[int, tuple[int, int]] = {  # steps along the tokens, lines down
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Home: (-_FAR, 0),
    Qt.Key.Key_End: (_FAR, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
_PAGES: dict[int, tuple[int, int]] = {  # of the timeline; the tokens above it scroll by these keys
    Qt.Key.Key_PageUp: (-PAGE, 0),
    Qt.Key.Key_PageDown: (PAGE, 0),
}


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


def _span(positions: range) -> str:
    return str(positions.start) if len(positions) == 1 else f"{positions.start} … {positions.stop - 1}"
