"""From the mailbox to the window: at most 30 times a second, and never so often that painting starves the engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from app.ledger import BARS, Ledger
from app.mailbox import Mailbox
from engine.frames import StepFrame

LEAST_PAUSE_MS = 33  # 30 deliveries a second at most
REST_PER_WORK = 10  # after t of processor time for a delivery and its painting, the next comes 10 t later or more

MOST_REST_S = 0.4  # what is new is on screen this soon, whatever it costs


class Delivery(QObject):
    """Takes frames out of the mailbox in the window's thread and hands them to ``receive`` in one go."""

    _woken = Signal()  # emitted in the posting thread; carries nothing: the frames wait in the mailbox

    def __init__(
        self,
        mailbox: Mailbox,
        receive: Callable[[list[object]], None],
        busy: Callable[[], bool] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._ledger = ledger or Ledger()
        self._tokens = 0  # of the delivery that is being shown
        self._receive = receive
        self._busy = busy or _never
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._deliver)
        self._painted = QTimer(self)
        self._painted.setSingleShot(True)
        self._painted.timeout.connect(self._note_cost)
        self._began = 0.0
        self._not_before = 0.0
        self._again = False
        self._closed = False
        self._woken.connect(self._schedule, Qt.ConnectionType.QueuedConnection)
        mailbox.listen(self._woken.emit)

    def close(self) -> None:
        """Deliver nothing any more."""
        self._closed = True
        self._mailbox.listen(None)
        self._timer.stop()
        self._painted.stop()

    @Slot()
    def _schedule(self) -> None:
        if self._closed:
            return  # a wake-up that was under way when the window closed
        if self._painted.isActive():
            self._again = True  # what the last delivery cost is not known yet
        elif not self._timer.isActive():
            wait = self._not_before - time.perf_counter()
            self._timer.start(max(0, round(wait * 1000)))

    @Slot()
    def _deliver(self) -> None:
        self._began = time.thread_time()  # of this thread alone: waiting for the engine is not work
        self._not_before = time.perf_counter() + LEAST_PAUSE_MS / 1000
        self._ledger.turn_to(BARS)
        frames = self._mailbox.drain()
        self._tokens = sum(isinstance(frame, StepFrame) for frame in frames)
        self._receive(frames)
        if not self._closed:
            self._painted.start(0)  # fires after the paint events that this delivery caused

    @Slot()
    def _note_cost(self) -> None:
        if self._busy():
            self._painted.start(0)  # the rest of the delivery is still being shown
            return
        self._ledger.picture(self._tokens)
        worked = time.thread_time() - self._began
        self._not_before = max(self._not_before, time.perf_counter() + min(MOST_REST_S, REST_PER_WORK * worked))
        if self._again:
            self._again = False
            self._schedule()


def _never() -> bool:
    return False
