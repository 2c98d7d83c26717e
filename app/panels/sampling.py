"""Sampling: from the raw distribution through the stages to the draw, and the settings of the next token."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QScrollArea, QSizePolicy, QWidget

from app.panels.panel import Context, Panel
from app.run import visible
from app.widgets.amounts import percent
from app.widgets.candidates import Candidate, CandidateTable
from app.widgets.draw_bar import DrawBar, Drawn, Stretch
from app.widgets.pages import Pages, fill
from app.widgets.stage_controls import StageControls
from app.widgets.still_label import StillLabel
from engine.frames import SamplingFrame, StepFrame
from engine.settings import Sampling

_UNLIMITED = 2**24 - 1  # Qt's own largest size of a widget


class SamplingPanel(Panel):
    """Pinning position p shows the step that chose the token at p; following shows the newest step."""

    key = "sampling"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._step: StepFrame | None = None
        theme = context.theme
        self._title = StillLabel(wrap=True)
        self._title.label.setMargin(self.fontMetrics().height() // 3)
        self._sentence = StillLabel(wrap=True)
        self._sentence.label.setMargin(self.fontMetrics().height() // 3)
        self._table = CandidateTable(theme, self.tr("Most probable tokens"))
        self._bar = DrawBar(theme, self.tr("The draw"))
        self._bar.setSizePolicy(self._bar.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Fixed)
        self._controls = StageControls(theme)
        self._pages = Pages(self._make_picture())
        self._scroll = QScrollArea(widgetResizable=True)
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
        fill(picture, self._title, self._table, self._sentence, self._bar).setStretch(1, 1)
        return picture

    def _connect(self) -> None:
        self._controls.changed.connect(self.settings_changed)
        self._table.row_hovered.connect(self._say_row)
        self._table.row_picked.connect(self._say_row)
        self._table.row_left.connect(lambda: self.context.cursor.say(""))

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Sampling")

    def badge(self) -> str:
        return "" if self._step is None else "captured"

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

    def restyle(self) -> None:
        for part in (self._table, self._bar, self._controls):
            part.set_theme(self.context.theme)

    def values(self) -> dict[str, np.ndarray]:
        if self._step is None:
            return {}
        frame = self._step.sampling
        return {"ids": frame.ids, "raw": frame.raw, "final": frame.final, "cut_by": frame.cut_by}

    def settings(self) -> Sampling:
        """The settings in the controls."""
        return self._controls.settings()

    def set_settings(self, settings: Sampling) -> None:
        """Show other settings in the controls; ``settings_changed`` is not sent."""
        self._controls.set_settings(settings)

    # --- what is shown ----------------------------------------------------------------------------------------

    def _show(self) -> None:
        step, sentence = self._pinned_step()
        self._pages.say(sentence)
        if step is self._step:
            return
        self._step = step
        self._controls.show_stages(None if step is None else step.sampling)
        if step is None:
            self._table.show_candidates(())
            self._bar.show_draw(None)
        else:
            self._title.setText(self._chosen_text(step))
            self._table.show_candidates(candidates_of(step, self._controls.titles()))
            drawn = self._drawn(step)
            self._sentence.setText(drawn.sentence)
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
            visible(step.piece.text),
            frame.position,
            frame.chosen_rank,
            percent(frame.chosen_raw),
            percent(frame.chosen_final),
            frame.entropy_raw,
            frame.entropy_final,
        )

    def _drawn(self, step: StepFrame) -> Drawn:
        frame, text = step.sampling, visible(step.piece.text)
        chosen = Stretch(text, frame.low, frame.high)
        if frame.drawn is None:
            sentence = self.tr("Greedy: “{0}” is the most probable, nothing was drawn.").format(text)
            return Drawn((), chosen, None, sentence)
        sentence = self.tr("Drew {0:.4f} (seed {1}): falls into “{2}” [{3:.4f}, {4:.4f})").format(
            frame.drawn, frame.seed, text, frame.low, frame.high
        )
        return Drawn(stretches_of(step), chosen, frame.drawn, sentence)

    def _say_row(self, row: int) -> None:
        self.context.cursor.say(self._table.describe(row))

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        wide = self.width() > self.height() * 1.2
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._layout.direction() != direction:
            self._layout.setDirection(direction)
        narrowest = self._controls.minimumSizeHint().width() + self._scroll.verticalScrollBar().sizeHint().width()
        self._scroll.setMinimumWidth(narrowest)
        self._scroll.setMaximumWidth(narrowest if wide else _UNLIMITED)
        self._scroll.setMinimumHeight(0 if wide else min(self._controls.sizeHint().height(), self.height() // 2))


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
            text=visible(step.candidates[index].text),
            raw=float(frame.raw[index]),
            final=float(frame.final[index]),
            cut_by=_cutter(frame, index, titles),
            chosen=token == frame.chosen,
        )
        for index, token in enumerate(top)
    )


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
        found.append(Stretch(visible(step.candidates[seen[token]].text), low, high))
        low = high
    return tuple(found)
