"""The status bar: where the pass stands, the model, the speed, record and memory, the value under the mouse."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

import psutil
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QStatusBar, QWidget

from app.engine_words import said, stage_title
from app.layer_kinds import model_facts_text
from app.long_work import LongWork
from app.record_button import RecordButton
from app.run import Run
from app.theme import Theme
from app.widgets.hidden_chip import Hidden, HiddenChip
from app.widgets.long_work import CUT, LEGIBLE, LongWorkView
from app.widgets.meter_button import MeterButton
from app.widgets.still_label import StillLabel
from app.widgets.tips import plain_tip
from app.widgets.value_label import ValueLabel
from engine.frames import ModelFrame, StepFrame

MEMORY_EVERY_S = 1.0
READ_OUT_MS = 1000  # after the mouse has left, the room of a value stays: it moves from picture to picture
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
        self.value = ValueLabel()
        self.value.setContentsMargins(self.fontMetrics().averageCharWidth(), 0, 0, 0)
        self.value.setAccessibleName(self.tr("Value under the mouse"))
        self.addWidget(self.value, 1)
        self.hidden = HiddenChip()
        self.addPermanentWidget(self.hidden)
        self.model = self._label(self.tr("Model"))
        self.speed = self._still(self.tr("Speed"), permanent=True)
        self.record = RecordButton()
        self.addPermanentWidget(self.record)
        self.memory = self._label(self.tr("Memory"))
        self.meter = MeterButton()
        self.addPermanentWidget(self.meter)
        self._read_out = 0  # pixels that are kept for the value
        self._left = QTimer(self, interval=READ_OUT_MS, singleShot=True)
        self._left.timeout.connect(self._give_back)
        self._shown_model: ModelFrame | None = None
        self._where, self._speed = "", Speed()
        self._process = psutil.Process()
        self._memory_read = float("-inf")
        self._work.changed.connect(self._show_work)
        self.work.given_up.connect(self._work.give_up)

    def show_run(self, run: Run, activity: str) -> None:
        """``activity`` is what the program does when no pass is under way."""
        self._where = where_text(run, self.tr)
        self._show_state(self._where or activity)
        self._show_model(run.model)
        self.speed.setText(self._speed.text(run.steps, self.tr))
        self.record.show_use(run.record)
        self._show_memory()
        self._fit()

    def _show_state(self, text: str) -> None:
        """While a pass is under way its room only grows."""
        if text != self.state.text():
            self.state.setText(text)
            if not self._where:
                self.state.start_afresh()

    def restyle(self, theme: Theme) -> None:
        self.work.restyle(theme)
        self._fit()

    def _show_work(self) -> None:
        """What takes long stands in the place of what the program does, which is the same."""
        before = self.work.isHidden()
        self.work.show_works(self._work.shown)
        if self.work.isHidden() != before:
            self._fit()

    def _fit(self) -> None:
        """Where there is no room for all, the model gives way first, which the tool bar names too, then the memory. A
        value that is read out comes before what stands there at all times, and so does long work."""
        self._fit_beside_work()
        room = self._room()
        spare = room - sum(map(self._wide, self._less())) - self._gap()
        self.hidden.limit(spare if self._read_out or not self.work.isHidden() else None)
        room -= self._wide(self.hidden) if self.hidden.hidden else 0
        for part in self._less():
            room -= self._wide(part)
            part.setVisible(room >= 0)

    def _fit_beside_work(self) -> None:
        """The record gives way to what long work says in enough words, the state to a few of them."""
        working, room = not self.work.isHidden(), self.width() - self._gap()
        room -= self._wide(self.hidden) if self.hidden.hidden else 0
        few = self.work.width_for(CUT) + self._wide(self.state)
        self.state.setVisible(not working or (bool(self._where) and few <= room))
        enough = self.work.width_for(LEGIBLE) + sum(map(self._wide, [*self._shown(self.state), self.record]))
        self.record.setVisible(not working or enough <= room)

    def _shown(self, *parts: QWidget) -> list[QWidget]:
        return [part for part in parts if not part.isHidden()]

    def _room(self) -> int:
        """Pixels that are left by what gives way to nothing, and the value."""
        fixed = [*self._shown(self.work, self.state, self.record), *([] if self._meter_yields() else self._metered())]
        value = self._read_out + self._gap() if self._read_out else 0
        return self.width() - value - sum(map(self._wide, fixed))

    def _less(self) -> list[QWidget]:
        """What gives way, the last one first."""
        return [*(self._metered() if self._meter_yields() else []), self.speed, self.memory, self.model]

    def _meter_yields(self) -> bool:
        return bool(self._read_out) or not self.work.isHidden()

    def _metered(self) -> list[QWidget]:
        return [self.meter] if self.meter.text() else []

    def _wide(self, part: QWidget) -> int:
        return part.sizeHint().width() + self._gap()

    def _gap(self) -> int:
        return self.fontMetrics().height()

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
            self.model.setToolTip("" if model is None else plain_tip(model_facts_text(model, self.tr)))

    def show_hidden(self, closed: Sequence[Hidden], rest: Sequence[Hidden]) -> None:
        """Panels that are closed, and what is left out in others."""
        self.hidden.show_hidden(closed, rest)
        self._fit()

    def show_value(self, text: str) -> None:
        self.value.setText(text)
        self.value.setToolTip(plain_tip(text))
        if not text:
            self._left.start()
            return
        self._left.stop()
        if self.value.needed() > self._read_out:
            self._read_out = self.value.needed()
            self._fit()

    def _give_back(self) -> None:
        """The room of the value, to all that gave way to it."""
        self._read_out = 0
        self._fit()

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

    def _label(self, name: str) -> QLabel:
        label = QLabel()
        label.setAccessibleName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        self.addPermanentWidget(label)
        return label


def where_text(run: Run, tr: Translate) -> str:
    """ "token 7 · decode · layer 12/30 · rope · paused"; "" while no pass is under way."""
    where = run.where
    if where.state == "idle" or run.model is None:
        return ""
    layer = "" if where.layer is None else tr("layer {0}/{1}").format(where.layer, run.model.n_layers)
    kind = said(where.kind, tr)
    paused = tr("paused") if where.state == "paused" else ""
    parts = (tr("token {0}").format(where.end), kind, layer, stage_title(where.stage, tr), paused)
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


class Speed:
    """Tokens per second of prefill, and of the last steps of decode. Only steps that are new are looked at."""

    def __init__(self) -> None:
        self._last: StepFrame | None = None
        self._forget()

    def _forget(self) -> None:
        self._seen, self._last = 0, None
        self._prefill: list[StepFrame] = []
        self._decode: deque[StepFrame] = deque(maxlen=RECENT_STEPS)

    def text(self, steps: Sequence[StepFrame], tr: Translate) -> str:
        """Of a run that has gone on, was taken back, or is another one."""
        if self._seen > len(steps) or (self._seen and steps[self._seen - 1] is not self._last):
            self._forget()
        for step in steps[self._seen :]:
            (self._prefill if step.kind == "prefill" else self._decode).append(step)
        self._seen, self._last = len(steps), steps[-1] if steps else None
        texts = (tr("prefill {0} tokens/s"), tr("decode {0} tokens/s"))
        parts = ((text, _speed(some)) for text, some in zip(texts, (self._prefill, self._decode), strict=True))
        return " · ".join(text.format(f"{speed:.1f}") for text, speed in parts if speed)


def _speed(steps: Collection[StepFrame]) -> float:
    seconds = sum(step.seconds for step in steps)
    return sum(step.end - step.start for step in steps) / seconds if seconds > 0 else 0.0


def bytes_text(count: float) -> str:
    """ "1.2 GB", with decimal prefixes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
