"""Sampling: from the raw distribution through the stages to the draw, and the settings of the next token."""

from __future__ import annotations

from dataclasses import replace
from operator import is_

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QMenu, QScrollArea, QSizePolicy, QWidget

from app.break_menus import with_breaks
from app.compare_choices import Compared, compared
from app.edit_menus import asked_cell, edit_menu, offer, token_choices
from app.panels.panel import Context, Panel
from app.run import written
from app.widgets.amounts import percent
from app.widgets.candidates import Candidate, CandidateTable
from app.widgets.choice_row import ChoiceRow
from app.widgets.draw_bar import DrawBar, Drawn, Stretch
from app.widgets.pages import Pages, fill
from app.widgets.point_top import Entries, Entry, EntryTable
from app.widgets.stage_controls import StageControls
from app.widgets.still_label import StillLabel
from app.widgets.tips import plain_tip
from engine.breakpoints import Test
from engine.frames import SamplingFrame, StepFrame
from engine.settings import Sampling

_LOW = 26  # a panel of fewer lines of text: the candidates need the room
_UNLIMITED = 2**24 - 1  # Qt's own largest size of a widget


class SamplingPanel(Panel):
    """Pinning position p shows the step that chose the token at p; following shows the newest step.

    Another token instead begins a branch. Of two branches it shows what both thought of the same tokens.
    """

    key = "sampling"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._step: StepFrame | None = None
        self._pair: tuple[StepFrame | None, StepFrame | None] = (None, None)  # that are compared
        self._compared: tuple[Compared, ...] = ()
        theme = context.theme
        self._title = StillLabel(wrap=True)
        self._title.label.setMargin(self.fontMetrics().height() // 3)
        self._sentence = StillLabel(wrap=True)
        self._sentence.label.setMargin(self.fontMetrics().height() // 3)
        self._table = CandidateTable(theme, self.tr("Most probable tokens"))
        self._bar = DrawBar(theme, self.tr("The draw"))
        self._bar.setSizePolicy(self._bar.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Fixed)
        self._choice = ChoiceRow()
        self._difference = EntryTable(
            theme, self.tr("What two branches thought of the same tokens"), self._compared_text
        )
        self._controls = StageControls(theme)
        self._pages = Pages(self._make_picture())
        self._scroll = QScrollArea(widgetResizable=True)
        self._built = True
        self._scroll.setAccessibleName(self.tr("Settings of sampling"))
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidget(self._controls)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._layout = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addWidget(self._pages, 1)
        self._layout.addWidget(self._scroll, 0)
        self._connect()
        self.show_run()

    def _make_picture(self) -> QWidget:
        picture = QWidget()
        parts = (self._title, self._table, self._difference, self._choice, self._sentence, self._bar)
        layout = fill(picture, *parts)
        for stretched in (1, 2):
            layout.setStretch(stretched, 1)
        self._difference.hide()
        return picture

    def _connect(self) -> None:
        self._controls.changed.connect(self.settings_changed)
        self._table.row_hovered.connect(self._say_row)
        self._table.row_picked.connect(self._pick_row)
        self._table.row_taken.connect(self._take_row)
        self._choice.chosen.connect(self._branch)
        for signal in (self._difference.row_hovered, self._difference.row_picked):
            signal.connect(lambda row: self.context.cursor.say(self._compared_text(row)))
        self._difference.row_left.connect(lambda: self.context.cursor.say(""))
        self._table.row_left.connect(lambda: self.context.cursor.say(""))

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Sampling")

    def badge(self) -> str:
        return "" if self._step is None and not self._compared else self.tr("captured")

    def caption(self) -> str:
        if self._step is None:
            return ""
        frame = self._step.sampling
        return self.tr("position {0}: entropy {1:.3f} → {2:.3f} nats").format(
            frame.position, frame.entropy_raw, frame.entropy_final
        )

    def show_run(self) -> None:
        self._show()

    def show_cursor(self) -> None:
        self._show()

    def show_depth(self) -> None:
        self._controls.show_depth(self.context.depth)

    def restyle(self) -> None:
        for part in (self._table, self._bar, self._difference, self._controls):
            part.set_theme(self.context.theme)

    def values(self) -> dict[str, np.ndarray]:
        """By rank [k]: ``tokens``, ``ids``, ``raw`` and ``final`` probabilities, ``cut_by`` (the number of the stage
        that cut a candidate, -1 for none) and the name of that ``stage``; of two branches ``a``, ``b``, ``difference``.
        """
        if self._compared:
            rows = self._compared
            return {
                "tokens": np.array([row.text for row in rows], np.str_),
                "ids": np.array([row.id for row in rows], np.int64),
                "a": np.array([row.a for row in rows], np.float64),
                "b": np.array([row.b for row in rows], np.float64),
                "difference": np.array([row.difference for row in rows], np.float64),
            }
        if self._step is None:
            return {}
        step, frame, titles = self._step, self._step.sampling, self._controls.titles()
        cutters = [_cutter(frame, index, titles) for index in range(len(frame.ids))]
        return {
            "tokens": np.array([written(piece) for piece in step.candidates], np.str_),
            "ids": frame.ids,
            "raw": frame.raw,
            "final": frame.final,
            "cut_by": frame.cut_by,
            "stage": np.array(cutters, np.str_),
        }

    def settings(self) -> Sampling:
        """The settings in the controls."""
        return self._controls.settings()

    def set_settings(self, settings: Sampling) -> None:
        """Show other settings in the controls; ``settings_changed`` is not sent."""
        self._controls.set_settings(settings)

    # --- what is shown ----------------------------------------------------------------------------------------

    def _show(self) -> None:
        self._turn_to_difference(self.differs)
        if self.differs:
            self._show_difference()
            return
        step, sentence = self._pinned_step()
        self._pages.say(sentence)
        self._show_choice(step)
        if step is self._step:
            return
        self._step = step
        self._choice.clear()
        self._controls.show_stages(None if step is None else step.sampling)
        if step is None:
            self._table.show_candidates(())
            self._bar.show_draw(None)
        else:
            self._title.setText(self._chosen_text(step))
            self._table.show_candidates(candidates_of(step, self._controls.titles()))
            drawn = self._drawn(step)
            self._sentence.setText(drawn.sentence)
            self._bar.setToolTip(plain_tip(drawn.sentence))
            self._bar.show_draw(drawn)
        self.caption_changed.emit()

    def _pinned_step(self) -> tuple[StepFrame | None, str]:
        """The step to show, or the sentence that says why there is none."""
        run, position = self.context.run, self.context.cursor.pinned.position
        if not run.steps:
            if run.model is not None and run.ended is not None:
                return None, self.tr("The run ended before a token was chosen.")
            if run.model is not None and run.n_tokens:
                return None, self.tr("The prompt is being read; the first token is chosen at the end of this pass.")
            return None, self._pages.missing(run, self.tr("how each token is chosen"))
        if position is None:
            return run.steps[-1], ""
        if position < run.n_prompt:
            text = self.tr("Position {0} “{1}” was given in the prompt: nothing was drawn. Pin a generated token.")
            return None, text.format(position, run.label(position))
        step = run.step_choosing(position)
        return step, "" if step is not None else self.tr("Position {0} has no token yet.").format(position)

    def _chosen_text(self, step: StepFrame) -> str:
        frame = step.sampling
        return self.tr("“{0}” at position {1}: rank {2}, raw {3} → final {4} · entropy {5:.2f} → {6:.2f} nats").format(
            written(step.piece),
            frame.position,
            frame.chosen_rank,
            percent(frame.chosen_raw),
            percent(frame.chosen_final),
            frame.entropy_raw,
            frame.entropy_final,
        )

    def _drawn(self, step: StepFrame) -> Drawn:
        frame, text = step.sampling, written(step.piece)
        chosen = Stretch(text, frame.low, frame.high)
        if frame.by_hand:
            chosen = replace(chosen, high=frame.low + frame.chosen_final)  # a greedy choice would fill the bar
            return Drawn((), chosen, None, self.tr("“{0}” was put in by hand, it was not drawn.").format(text))
        if frame.drawn is None:
            sentence = self.tr("Greedy: “{0}” is the most probable, nothing was drawn.").format(text)
            return Drawn((), chosen, None, sentence)
        sentence = self.tr("Drew {0:.4f} (seed {1}): falls into “{2}” [{3:.4f}, {4:.4f})").format(
            frame.drawn, frame.seed, text, frame.low, frame.high
        )
        return Drawn(stretches_of(step), chosen, frame.drawn, sentence)

    # --- another token ----------------------------------------------------------------------------------------

    def choose(self) -> None:
        """Put the focus where another token is typed."""
        self._choice.begin()

    def _show_choice(self, step: StepFrame | None) -> None:
        form = self.tr("Go on with this token at position {0} instead; what is before it is shared")
        here = "" if step is None else form.format(step.sampling.position)
        self._choice.show_state(here, self.need)

    def _pick_row(self, row: int) -> None:
        item = self._table.rows[row]
        self._choice.take(item.id, item.text)
        self._say_row(row)

    def _take_row(self, row: int) -> None:
        self._branch(self._table.rows[row].id)

    def _branch(self, token: int | str) -> None:
        """Begin a branch, unless the token stands there already."""
        if self._step is None or self.need:
            return
        if token == self._step.piece.id:
            self.context.cursor.say(self.tr("This token stands there already; pick another one."))
        else:
            self.branch_asked.emit(self._step.sampling.position, token)

    # --- two branches -----------------------------------------------------------------------------------------

    def _turn_to_difference(self, differs: bool) -> None:
        if differs != self._difference.isHidden():
            return
        self._step, self._pair, self._compared = None, (None, None), ()
        for part in (self._table, self._choice, self._bar):
            part.setVisible(not differs)
        self._difference.setVisible(differs)

    def _show_difference(self) -> None:
        """Of the step that chose the pinned position; of the newest position that both have, where none is pinned."""
        pair, sentence = self._pinned_pair()
        self._pages.say(sentence)
        if pair is not None and all(map(is_, pair, self._pair)):
            return  # it is asked for with every move of the cursor
        self._pair = pair or (None, None)
        self._compared = () if pair is None else compared(*pair)
        rows = tuple(Entry(row.text, _pair_text(row), row.difference) for row in self._compared)
        self._difference.show_entries(Entries(rows, self.tr("token"), self.tr("raw %: A − B")))
        if pair is not None:
            a, b = pair
            form = self.tr("Position {0}: A chose “{1}”, B chose “{2}”. Most different probabilities first.")
            self._title.setText(form.format(a.end, written(a.piece), written(b.piece)))
            self._sentence.setText("")
        self.caption_changed.emit()

    def _pinned_pair(self) -> tuple[tuple[StepFrame, StepFrame] | None, str]:
        run, comparison, position = self.context.run, self.context.comparison, self.context.cursor.pinned.position
        a, b = (run.of_branches.get(number, []) for number in (comparison.a or 0, comparison.b or 0))
        both = min(len(a), len(b))
        index = both - 1 if position is None else position - run.n_prompt
        if 0 <= index < both:
            return (a[index], b[index]), ""
        if not both:
            return None, self.tr("One of the two branches has no token yet.")
        form = self.tr("Position {0} was not chosen in both branches. Pin a token from {1} to {2}.")
        return None, form.format(index + run.n_prompt, run.n_prompt, run.n_prompt + both - 1)

    def _compared_text(self, row: int) -> str:
        item = self._compared[row]
        form = self.tr("“{0}” id {1}: A {2:.7g}, B {3:.7g}, A − B {4:.7g}")
        text = form.format(item.text, item.id, item.a, item.b, item.difference).replace("-", "−")
        outside = [name for name, known in zip("AB", item.known, strict=True) if not known]
        return text + "".join(self.tr(", at most that in {0}: not among its 64").format(name) for name in outside)

    def _say_row(self, row: int) -> None:
        self.context.cursor.say(self._table.describe(row))

    # --- the menu ---------------------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        offer(event, self.menu(event))

    def menu(self, event: QContextMenuEvent) -> QMenu | None:
        """What can be done with the candidate that is asked about."""
        row = asked_cell(event, self._table, self._table.row_at, self._table.row)
        if not isinstance(row, int):
            return None
        found = self._table.rows[row]
        menu = edit_menu(self, self.context.tray, token_choices(found.id, found.text, self.tr), self.tr)
        return with_breaks(menu, self.context.breaks, self.tr, Test("token", token=found.id))

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._share_room()

    def font_changed(self) -> None:
        self._share_room()

    def _share_room(self) -> None:
        narrowest = self._controls.minimumSizeHint().width() + self._scroll.verticalScrollBar().sizeHint().width()
        wide = self.width() > max(self.height() * 1.2, narrowest * 2)  # else side by side would ask for more room
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._layout.direction() != direction:
            self._layout.setDirection(direction)
        self._scroll.setMinimumWidth(narrowest)
        self._scroll.setMaximumWidth(narrowest if wide else _UNLIMITED)
        low = self.height() < _LOW * self.fontMetrics().height()
        share = self.height() // (4 if low else 3)
        self._scroll.setMinimumHeight(0 if wide else min(self._controls.sizeHint().height(), share))
        self._sentence.setVisible(not low)  # the bar says the same in its tip


def candidates_of(step: StepFrame, titles: dict[str, str]) -> tuple[Candidate, ...]:
    """The candidates of a step in falling raw probability, each token once.

    The record lists the chosen token after the most probable ones, whether or not it is among them.
    """
    frame = step.sampling
    top = frame.ids[:-1].tolist() if len(frame.ids) > 1 and frame.ids[-1] in frame.ids[:-1] else frame.ids.tolist()
    return tuple(
        Candidate(
            rank=frame.chosen_rank if token == frame.chosen else index,
            id=token,
            text=written(step.candidates[index]),
            raw=float(frame.raw[index]),
            final=float(frame.final[index]),
            cut_by=_cutter(frame, index, titles),
            chosen=token == frame.chosen,
        )
        for index, token in enumerate(top)
    )


def _pair_text(row: Compared) -> str:
    """ "77.3 − 1.20", in percent; "≤" before what is not recorded of a branch."""
    pair = zip((row.a, row.b), row.known, strict=True)
    return " − ".join(("" if known else "≤") + percent(share).removesuffix(" %") for share, known in pair)


def _cutter(frame: SamplingFrame, index: int, titles: dict[str, str]) -> str:
    stage = int(frame.cut_by[index])
    if stage < 0:
        return ""
    name = frame.stages[stage].name
    return titles.get(name, name)


def stretches_of(step: StepFrame) -> tuple[Stretch, ...]:
    """Where the likeliest candidates lie in the cumulative distribution: falling final probability, ties by id.

    They are laid end to end from 0; the chosen one is placed by the record. Once a token that is not listed may lie
    between (the sums no longer meet the record), the rest is left open.
    """
    frame = step.sampling
    seen: dict[int, int] = {}
    for index, token in enumerate(frame.ids.tolist()):
        seen.setdefault(token, index)
    order = sorted((token for token in seen if frame.final[seen[token]] > 0), key=lambda t: (-frame.final[seen[t]], t))
    low, found = 0.0, []
    for token in order:
        high = low + float(frame.final[seen[token]])
        if token == frame.chosen and abs(low - frame.low) > 1e-6:
            break
        found.append(Stretch(written(step.candidates[seen[token]]), low, high))
        low = high
    return tuple(found)
