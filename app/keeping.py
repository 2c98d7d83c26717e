"""The session is never lost: it is written as it changes, the run is saved by itself, and both come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from app import log_file
from app.beginning import Beginning
from app.command_line import DEFAULT_MODEL
from app.engine_words import said
from app.filing import Filing
from app.mailbox import Mailbox
from app.notes import to_marks
from app.notices import GoesOnFrame, SavedFrame
from app.panels.panel import Context
from app.patience import Patience
from app.run_bar import RunBar
from app.session import SavedRun, Session, fitting, sampling_of, write_session
from app.worker import Worker
from engine.frames import BackFrame, EndFrame, ErrorFrame, ModelFrame, RunFrame, StepFrame, SwitchedFrame
from engine.settings import Sampling

LOOK_EVERY_MS = 5_000
SOON_MS = 500  # after a run has ended
SAVE_EVERY_S = 20.0  # a run that goes on
REST_PER_SAVE = 20  # after a save of t seconds, the next comes 20 t later or more
LARGEST_RUN = 256_000_000  # bytes; a larger one is not saved by itself
BYTES_PER_STEP = 4_500  # beside its stream: about 64 candidates
PATIENCE_S = 1.5  # for the last save, when the window is closed
USERS_PATIENCE_S = 20.0  # for one that the user has asked for

log = logging.getLogger(__name__)


class Keeping(QObject):
    """``beginning`` None: nothing is kept. ``said``: a sentence for the notice bar; ``over``: one that holds no more;
    ``changed``: other runs are left of programs that ended badly; ``sampling_restored``: the settings of the session,
    for its model; ``notes_restored``: the notes of a session without a run.
    """

    said = Signal(str)
    over = Signal(str)
    changed = Signal()
    sampling_restored = Signal(object)
    notes_restored = Signal(tuple)

    def __init__(
        self,
        beginning: Beginning | None,
        context: Context,
        worker: Worker,
        mailbox: Mailbox,
        filing: Filing,
        bar: RunBar,
        sampling: Callable[[], Sampling],
        keep_layout: Callable[[], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.beginning = beginning
        self._context, self._worker, self._mailbox, self._filing, self._bar = context, worker, mailbox, filing, bar
        self._sampling, self._keep_layout = sampling, keep_layout
        self._restoring = None if beginning is None else beginning.session
        self._in_vain = False  # what was to be restored could not be opened
        self._stand_in: Literal["", "coming", "there"] = ""  # the built-in model, for one that is away
        self._written: Session | None = None
        self._changes = self._kept = self._asked = 0  # of the run: how often it changed, and when it was saved
        self._kept_marks: object = None  # notes and bookmarks as they were saved; None: as they are when looked at next
        self._asked_marks: object = None
        self._own = False  # the run as it was last saved lies in the own folder
        self._left: Path | None = None  # the run that was left and is open now
        self._saving, self._writing = Patience(), Patience()  # of the run, of the session
        self._saved_at, self._save_took = float("-inf"), 0.0
        self._timer, self._soon = QTimer(self), QTimer(self)
        self._prepare()

    def _prepare(self) -> None:
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.keep)
        self._soon.setInterval(SOON_MS)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._keep_now)
        if self.beginning is not None:
            self._filing.own = self.beginning.slot.owns
            self._timer.start()

    # ---- what a program left that did not end properly -----------------------------------------------------------

    @property
    def left(self) -> Path | None:
        """The newest run of such a program."""
        runs = [] if self.beginning is None else self.beginning.slot.left()
        return runs[0] if runs else None

    @property
    def crashed(self) -> bool:
        """Whether the last program did not end properly, and nobody has said yet what is to become of its run."""
        return self.beginning is not None and self.beginning.slot.crashed

    @property
    def offers(self) -> bool:
        """Whether there is something to say about that; not to whoever has asked for a fresh start."""
        fresh = self.beginning is not None and self.beginning.options.fresh
        return self.crashed or (self.left is not None and self._left is None and not fresh)

    @property
    def again(self) -> str:
        """The model that was open then, where no run is left."""
        return "" if self.beginning is None or self.left is not None else self.beginning.last_model

    @property
    def crash_text(self) -> str:
        """What Python said when it ended; "" where it was killed."""
        return "" if self.beginning is None else self.beginning.slot.crash_text

    def open_left(self) -> None:
        """The run, or where there is none the model that was open."""
        left = self.left
        if left is not None:
            self._left = left
            self._filing.open_model(str(left))
        elif self.beginning is not None and self.beginning.last_model:
            self._filing.open_model(self.beginning.last_model)
        self._forget_crash()

    def discard_left(self) -> None:
        if self.left is not None:
            self.left.unlink(missing_ok=True)
        self._forget_crash()

    def _forget_crash(self) -> None:
        if self.beginning is not None:
            self.beginning.slot.crashed = False
        self.changed.emit()

    # ---- what the worker says ------------------------------------------------------------------------------------

    def take(self, frame: object) -> None:
        """Every frame, after the window has taken it in."""
        taker = _TAKERS.get(type(frame))
        if taker is not None and self.beginning is not None:
            taker(self, frame)

    def _model_came(self, frame: ModelFrame) -> None:
        opened = self._filing.opened
        self._own = False
        self._kept = self._changes
        if self._left is not None and (opened is None or not self._owns(opened.path)):
            self._left = None  # something else was opened in its place
        if opened is None:
            self._restore_at_model(frame)

    def _restore_at_model(self, frame: ModelFrame) -> None:
        """The last session had no run."""
        if self._stand_in == "coming":
            self._stand_in = "there"
            return
        self._stand_in = ""
        session, self._restoring = self._restoring, None
        if session is None or self.beginning is None or frame.source != session.model:
            return
        self._bar.chat.setChecked(frame.has_chat_template and session.chat)
        self.notes_restored.emit(session.notes)
        self._put_back(session)

    def _put_back(self, session: Session) -> None:
        """What belongs to the model or the run that is there now."""
        run = self._context.run
        if session.sampling is not None and self.beginning is not None:
            self.sampling_restored.emit(sampling_of(session.sampling, self.beginning.options))
        if self._filing.opened is None or not self._filing.opened.why:  # without its model nothing is edited
            self._context.tray.put_back(session.edits)  # which are newer than those in the file of the run
        if run.model is not None and not self.beginning_pins:
            heads = [layer.n_heads for layer in run.model.layers]
            self._context.cursor.pin(**asdict(fitting(session.pinned, run.n_tokens, run.model.n_layers, heads)))

    @property
    def beginning_pins(self) -> bool:
        """Whether the command line says what to look at."""
        return self.beginning is not None and bool(self.beginning.options.pin)

    def _run_began(self, frame: RunFrame) -> None:
        self._own = False
        self._saving.hurry()  # another run may be saved all the same
        self._moved(frame)

    def _moved(self, frame: object) -> None:
        self._changes += 1

    def _run_ended(self, frame: EndFrame) -> None:
        opened = self._filing.opened
        if opened is not None and self._filing.arrived:
            self._filing.arrived = False
            self._opened_run_is_here(opened.path)
        self._soon.start()

    def _opened_run_is_here(self, path: str) -> None:
        """It is the same as in its file."""
        assert self.beginning is not None
        session, self._restoring = self._restoring, None
        if self._left is not None:
            return  # it is saved at its new place, and let go of then
        self._kept, self._own = self._changes, path == str(self.beginning.slot.run)
        self._kept_marks = None
        if session is not None and (self._own or path == session.model):
            if session.run is not None:
                self._filing.came_from(session.run.file)
            if session.prompt and "prompt" not in self.beginning.options.given:
                self._bar.prompt.setPlainText(session.prompt)  # which may be another one than the run's
            self._put_back(session)

    def _saved(self, frame: SavedFrame) -> None:
        if frame.quiet:
            self._saved_at, self._save_took = time.monotonic(), frame.seconds
            self._run_is_kept()
            self._relieve(self._saving, self.tr("This run is saved by itself again."))
        elif self._size() > LARGEST_RUN and self._filing.file == frame.path and self._context.run.ended is not None:
            self._kept, self._kept_marks, self._own = self._changes, self._marks(), False  # there, and only there
        self.keep()

    def _run_is_kept(self) -> None:
        """In the own folder, as it was when that was asked for; one that was left is not needed any more."""
        self._kept, self._kept_marks, self._own = self._asked, self._asked_marks, True
        if self._left is not None:
            self._left.unlink(missing_ok=True)
            self._left = None
            self.changed.emit()

    def _error(self, frame: ErrorFrame) -> None:
        if frame.task == "autosave":
            sentence = self.tr("This run is not saved by itself for now; it is tried again. {0}")
            self._complain(self._saving, sentence.format(said(frame.sentence, self.tr)))
        elif frame.task == "load" and self._restoring is not None and self._restoring.run is not None:
            session, self._restoring = self._restoring, replace(self._restoring, run=None)
            if session.model:  # without its run, then
                self._filing.open_model(session.model)
        elif frame.task == "load":
            first, known = not self._in_vain, self.knows(frame)
            self._in_vain, self._left = True, None
            self._stand_in = "" if self._stand_in == "coming" else self._stand_in
            self.changed.emit()
            if first:
                self._stand_in_for(frame, known)

    def _stand_in_for(self, frame: ErrorFrame, known: bool) -> None:
        """The model of the last session is not there: its session stays until another model is opened."""
        session = self._restoring
        if session is None or not self._comes_back or session.model in ("", DEFAULT_MODEL):
            return
        if not known:
            self.said.emit(
                self.tr(
                    "{0} could not be opened, so the window begins with the model that is built in. It is tried again "
                    "at every start until a prompt is run or another model is opened."
                ).format(session.model)
            )
        self._restoring, self._stand_in = replace(session, trouble=frame.sentence), "coming"
        self._filing.open_model(DEFAULT_MODEL)

    @property
    def _comes_back(self) -> bool:
        """Whether it is the model of the last session that is opened first."""
        if self.beginning is None or self._restoring is None or "model" in self.beginning.options.given:
            return False
        return self.beginning.options.model in (self._restoring.model, str(self.beginning.slot.run))

    def knows(self, frame: ErrorFrame) -> bool:
        """Whether the user was told at an earlier start that the model of the session is not there."""
        if frame.task != "load" or self._restoring is None or self._in_vain:
            return False
        return self._comes_back and self._restoring.trouble == frame.sentence

    def _complain(self, patience: Patience, sentence: str) -> None:
        """Once, as long as it goes wrong."""
        if not patience.said:
            self.over.emit(patience.relief)
            self.said.emit(sentence)
        patience.fail(sentence)

    def _relieve(self, patience: Patience, sentence: str) -> None:
        """It works; that is told where the user was told that it does not."""
        if patience.said:
            self.over.emit(patience.said)
            self.said.emit(sentence)
            patience.relief = sentence
        patience.succeed()

    # ---- keeping ---------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Write the session if it is another one; save the run if it is time."""
        if self.beginning is None or self._on_its_way:
            return
        rest = max(SAVE_EVERY_S, REST_PER_SAVE * self._save_took)
        if time.monotonic() - self._saved_at >= rest:
            self.keep_run()
        if self._writing.ready:
            self._write()

    @property
    def _on_its_way(self) -> bool:
        """What is to be restored: it is not forgotten before it is there."""
        return self._restoring is not None and self._context.run.model is None and not self._in_vain

    def _keep_now(self) -> None:
        self.keep_run()
        self._write()

    def hurry(self) -> None:
        """What went wrong before is tried at once."""
        self._saving.hurry()
        self._writing.hurry()

    @property
    def unkept(self) -> bool:
        """Whether the run would be lost if the program ended now."""
        return self._has_news and (self._size() > LARGEST_RUN or not self._saving.ready)

    @property
    def at_risk(self) -> bool:
        """Whether it may be: when it was to be saved last, that went wrong."""
        return self.unkept or (self._has_news and bool(self._saving.said))

    @property
    def pending(self) -> bool:
        """Whether a save is under way, or to come."""
        return self._worker.saves or self._has_news

    @property
    def _has_news(self) -> bool:
        return self.beginning is not None and bool(self._context.run.steps) and self._is_another()

    def keep_run(self) -> None:
        """Unless it is kept as it is, is too large, or went wrong a moment ago."""
        if self.beginning is None or not self._saving.ready or not self._has_news:
            return
        if self._size() > LARGEST_RUN:
            self._say_too_large()  # with every look: a notice is said once
        elif self._worker.autosave(self.beginning.slot.run):
            self._asked, self._asked_marks, self._saved_at = self._changes, self._marks(), time.monotonic()

    def _is_another(self) -> bool:
        """Whether the run, what is noted of it, or what is compared, has changed since it was saved."""
        if self._kept_marks is None:
            self._kept_marks = self._marks()
        return self._kept != self._changes or self._kept_marks != self._marks()

    def _marks(self) -> object:
        run, comparison = self._context.run, self._context.comparison
        branches = () if run.tree is None else tuple(branch.number for branch in run.tree.branches if branch.number)
        return to_marks(self._context.notes, run), comparison, branches  # of which one may have been dropped

    def _size(self) -> int:
        """Of the run's file, about."""
        run = self._context.run
        others = [] if run.tree is None else [one for one in run.tree.branches if one.number != run.tree.current]
        steps = len(run.steps) + sum(len(branch.pieces) for branch in others)
        aside = sum(branch.bytes for branch in others)
        return run.record.memory + run.record.disk + aside + BYTES_PER_STEP * steps

    def _say_too_large(self) -> None:
        sentence = self.tr("This run takes more than {0} MB, so it is not saved by itself any more; save it yourself.")
        self.said.emit(sentence.format(LARGEST_RUN // 1_000_000))

    def _write(self) -> None:
        assert self.beginning is not None
        session = self.session()
        if session == self._written:
            return
        try:
            write_session(self.beginning.slot.session, session)
        except OSError as error:
            log.warning("the session could not be written: %s", error)
            sentence = self.tr("The session is not kept, because {0} cannot be written; check its folder.")
            self._complain(self._writing, sentence.format(self.beginning.slot.session))
        else:
            self._keep_layout()
            self._written = session
            self._relieve(self._writing, self.tr("The session is kept again."))

    def session(self) -> Session:
        """As it is now."""
        run, file, bar = self._context.run, self._filing.file, self._bar
        source = "" if run.model is None else run.model.source
        if file and not self._own and not self._is_another():
            source = file  # the run is as it is in the user's file
        prompt, tokens = bar.prompt.toPlainText(), bar.tokens.value()
        away = run.model is None or (self._stand_in == "there" and not run.steps)
        if away and self._restoring is not None:  # its model may be there again at the next start
            return replace(self._restoring, prompt=prompt, tokens=tokens)
        return Session(
            model=source,
            prompt=prompt,
            chat=bar.chat.isChecked(),
            tokens=tokens,
            sampling=self._sampling(),
            pinned=self._context.cursor.pinned,
            edits=self._context.tray.edits,
            notes=self._context.notes.notes,
            run=SavedRun(file) if self._own else None,
        )

    def _owns(self, path: str) -> bool:
        return self.beginning is not None and self.beginning.slot.owns(path)

    def close(self) -> None:
        """The window is closed, and nothing is delivered any more: the last save, which may take a moment."""
        self._timer.stop()
        self._soon.stop()
        self._await_save(USERS_PATIENCE_S if self._filing.saving else PATIENCE_S)  # it may be of the run as it was
        if self.beginning is not None and not self._on_its_way:
            self._saving.hurry()
            self.keep_run()
            self._await_save(PATIENCE_S)
            self._write()

    def _await_save(self, seconds: float) -> None:
        """For the one that is under way, if there is one."""
        until = time.monotonic() + seconds
        while self._worker.saves and time.monotonic() < until:
            time.sleep(0.01)
        for frame in self._mailbox.drain():
            if isinstance(frame, SavedFrame) and frame.quiet:
                self._run_is_kept()
            elif isinstance(frame, SavedFrame):
                self._filing.take_saved(frame, self._sampling())
            elif isinstance(frame, ErrorFrame):
                log_file.note(frame)

    def leave(self) -> None:
        """The program ends properly."""
        if self.beginning is not None:
            self.beginning.slot.leave()


_TAKERS: dict[type, Callable[[Keeping, Any], None]] = {
    ModelFrame: Keeping._model_came,
    RunFrame: Keeping._run_began,
    StepFrame: Keeping._moved,
    GoesOnFrame: Keeping._moved,
    BackFrame: Keeping._moved,
    SwitchedFrame: Keeping._moved,
    EndFrame: Keeping._run_ended,
    SavedFrame: Keeping._saved,
    ErrorFrame: Keeping._error,
}
