"""The status bar: where the pass stands, the model, the speed, record and memory, the value under the mouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psutil
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QStatusBar

from app.engine_words import said
from app.layer_kinds import model_facts_text
from app.long_work import LongWork
from app.record_button import RecordButton
from app.run import Run
from app.theme import Theme
from app.widgets.hidden_chip import Hidden, HiddenChip
from app.widgets.long_work import LongWorkView
from app.widgets.meter_button import MeterButton
from app.widgets.still_label import StillLabel
from engine.frames import ModelFrame, StepFrame

MEMORY_EVERY_S = 1.0
Translate = Callable[[str], str]
RECENT_STEPS = 16  # decode speed is the mean over this many steps


class StatusBar(QStatusBar):
    """Told what changed; reads the memory at most once a second."""

    def __init__(self, work: LongWork | None = None) -> None:
        super().__init__()
        self._work = work or LongWork(self)
        self.setSizeGripEnabled(False)
        self.setContentsMargins(0, 0, self.fontMetrics().averageCharWidth(), 0)
        self.state = self._still(self.tr("State"))
        self.work = LongWorkView(self._work.now)
        self.addWidget(self.work)
        self.value = self._label(self.tr("Value under the mouse"), stretch=1)
        self.hidden = HiddenChip()
        self.addPermanentWidget(self.hidden)
        self.model = self._label(self.tr("Model"), permanent=True)
        self.speed = self._still(self.tr("Speed"), permanent=True)
        self.record = RecordButton()
        self.addPermanentWidget(self.record)
        self.memory = self._label(self.tr("Memory"), permanent=True)
        self.meter = MeterButton()
        self.addPermanentWidget(self.meter)
        self._shown_model: ModelFrame | None = None
        self._where = ""
        self._process = psutil.Process()
        self._memory_read = float("-inf")
        self._work.changed.connect(self._show_work)
        self.work.given_up.connect(self._work.give_up)

    def show_run(self, run: Run, activity: str) -> None:
        """``activity`` is what the program does when no pass is under way."""
        self._where = where_text(run, self.tr)
        self.state.setText(self._where or activity)
        self._show_model(run.model)
        self.speed.setText(speed_text(run.steps, self.tr))
        self.record.show_use(run.record)
        self._show_memory()
        self._fit()

    def restyle(self, theme: Theme) -> None:
        self.work.restyle(theme)

    def _show_work(self) -> None:
        """What takes long stands in the place of what the program does, which is the same."""
        before = self.work.isHidden()
        self.work.show_works(self._work.shown)
        if self.work.isHidden() != before:
            self._fit()

    def _fit(self) -> None:
        """Where there is no room for all, the model gives way first, which the tool bar names too, then the memory."""
        self.state.setVisible(self.work.isHidden() or bool(self._where))
        shown = [self.state] if self.work.isHidden() else [self.work, *([self.state] if self._where else [])]
        chips = [*([self.meter] if self.meter.text() else []), *([self.hidden] if self.hidden.hidden else [])]
        kept = [*shown, self.record, *chips]
        gap = self.fontMetrics().height()
        room = self.width() - sum(part.sizeHint().width() + gap for part in kept)
        for part in (self.speed, self.memory, self.model):
            room -= part.sizeHint().width() + gap
            part.setVisible(room >= 0)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """It never widens the window."""
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def _show_model(self, model: ModelFrame | None) -> None:
        if model is not self._shown_model:
            self._shown_model = model
            self.model.setText(model_text(model))
            self.model.setToolTip("" if model is None else model_facts_text(model, self.tr))

    def show_hidden(self, closed: Sequence[Hidden], rest: Sequence[Hidden]) -> None:
        """Panels that are closed, and what is left out in others."""
        self.hidden.show_hidden(closed, rest)
        self._fit()

    def show_value(self, text: str) -> None:
        self.value.setText(text)
        self.value.setToolTip(text)

    def _show_memory(self) -> None:
        now = time.monotonic()
        if now - self._memory_read >= MEMORY_EVERY_S:
            self._memory_read = now
            self.memory.setText(self.tr("memory {0}").format(bytes_text(self._process.memory_info().rss)))

    def _still(self, name: str, permanent: bool = False) -> StillLabel:
        """For a text that changes with every token."""
        still = StillLabel()
        still.label.setAccessibleName(name)
        still.label.setTextFormat(Qt.TextFormat.PlainText)
        (self.addPermanentWidget if permanent else self.addWidget)(still)
        return still

    def _label(self, name: str, stretch: int = 0, permanent: bool = False) -> QLabel:
        label = QLabel()
        label.setAccessibleName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        if stretch:
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        (self.addPermanentWidget if permanent else self.addWidget)(label, stretch)
        return label


def where_text(run: Run, tr: Translate) -> str:
    """ "token 7 · decode · layer 12/30 · rope · paused"; "" while no pass is under way."""
    where = run.where
    if where.state == "idle" or run.model is None:
        return ""
    layer = "" if where.layer is None else tr("layer {0}/{1}").format(where.layer, run.model.n_layers)
    kind = said(where.kind, tr)
    paused = tr("paused") if where.state == "paused" else ""
    parts = (tr("token {0}").format(where.end), kind, layer, where.stage, paused)
    return " · ".join(part for part in parts if part)


def ended_text(reason: str, tr: Translate) -> str:
    """ "ended: limit"; ``reason`` as in EndFrame."""
    reasons = {
        "end of sequence": tr("ended: end of sequence"),
        "limit": tr("ended: limit"),
        "full context": tr("ended: full context"),
        "stopped": tr("ended: stopped"),
        "error": tr("ended: error"),
    }
    return reasons.get(reason, tr("ended: {0}").format(reason))


def model_text(model: ModelFrame | None) -> str:
    """ "SmolLM2-135M-Instruct · cpu · float32"; "" without a model."""
    return "" if model is None else f"{model.name} · {model.device} · {model.dtype}"


def speed_text(steps: Sequence[StepFrame], tr: Translate) -> str:
    """Tokens per second of prefill, and of the last steps of decode."""
    prefill = [step for step in steps if step.kind == "prefill"]
    decode = [step for step in steps if step.kind == "decode"][-RECENT_STEPS:]
    texts = (tr("prefill {0} tokens/s"), tr("decode {0} tokens/s"))
    parts = ((text, _speed(some)) for text, some in zip(texts, (prefill, decode), strict=True))
    return " · ".join(text.format(f"{speed:.1f}") for text, speed in parts if speed)


def _speed(steps: Sequence[StepFrame]) -> float:
    seconds = sum(step.seconds for step in steps)
    return sum(step.end - step.start for step in steps) / seconds if seconds > 0 else 0.0


def bytes_text(count: float) -> str:
    """ "1.2 GB", with decimal prefixes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
