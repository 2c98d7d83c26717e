"""What the worker posts, taken in by the window: each kind of frame has its receiver, in the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from app.cursor import Look
from app.engine_words import said
from app.log_file import note
from app.notices import (
    CancelledFrame,
    DeletedFrame,
    DownloadFrame,
    EditsFrame,
    GoesOnFrame,
    OpenedFrame,
    ReadyFrame,
    SavedFrame,
    ToldFrame,
)
from app.session import sampling_of
from app.shelf import LookFrame, SearchFrame, ShelfFrame
from app.status import ended_text
from app.widgets.amounts import bytes_text
from engine.breakpoints import HitFrame
from engine.checkpoint.catalog import entry
from engine.frames import (
    AnswerFrame,
    BackFrame,
    EndFrame,
    ErrorFrame,
    ModelFrame,
    OfFiles,
    ProgressFrame,
    RecordUse,
    RunFrame,
    StepFrame,
    SwitchedFrame,
    TreeFrame,
    Where,
)

if TYPE_CHECKING:
    from app.window import Window


def receive(window: Window, frames: list[object]) -> None:
    """Take in what the worker posted; panels are told once for all of it."""
    window.turns.finish()
    changed = False
    for frame in frames:
        changed |= _absorb(window, frame)
        window.waiting.take(frame)
        note(frame)
        receiver = _RECEIVERS.get(type(frame))
        if receiver is not None:
            receiver(window, frame)
        window.keeping.take(frame)
    answers, tokens = newest_answers(frames), sum(isinstance(frame, StepFrame) for frame in frames)
    window.turns.take(
        [*window.board.pieces(changed, answers, tokens), window.refresh, partial(_announce, window, frames)]
    )
    if window.context.run.where.state != "running" or not all(isinstance(frame, _IN_TURNS) for frame in frames):
        window.turns.finish()


def _announce(window: Window, frames: list[object]) -> None:
    """Everything about these frames has been shown."""
    for frame in frames:
        window.received.emit(frame)


def _absorb(window: Window, frame: object) -> bool:
    late = isinstance(frame, Where) and window.context.run.ended is not None
    return not late and window.context.run.absorb(frame)


def _engine_ready(window: Window, frame: ReadyFrame) -> None:
    window.ready = True
    window.activity = window.tr("ready")
    window.shelving.set_accelerators(frame.accelerators, window.filing.device)
    if window.models_panel is not None:
        window.models_panel.set_ready(True)
    window.left_bar.set_ready(True)
    if window.options.model is not None:
        window.filing.open_model(window.options.model)
    window.filing.look_in_cache()


def _model_ready(window: Window, frame: ModelFrame) -> None:
    window.requested = False
    window.activity = window.tr("ready")
    window.board.forget()
    window.context.cursor.reset(Look())
    window.filing.take_model(frame)
    opened = window.filing.opened
    window.editing.take_model(frame)
    _forget_hits(window)
    window.branching.follow(frame)
    window.bar.show_model(frame.name, frame.has_chat_template)
    window.notice_bar.show_model(frame if opened is None else _without_model(window, frame, opened))
    if opened is None:
        window.bar.chat.setChecked(frame.has_chat_template and window.options.chat)
        _take_sampling_of(window, frame)
        _offer_prompt(window, frame)
    else:
        _take_file(window, frame, opened)
    window.show_title()
    window.tell_about_settings()
    window.tell_recent()
    window.leave_shelf()
    window.bar.prompt.setFocus()


def _run_opened(window: Window, frame: OpenedFrame) -> None:
    window.filing.take_opened(frame)


def _take_file(window: Window, model: ModelFrame, opened: OpenedFrame) -> None:
    """A saved run has settings of its own."""
    window.bar.chat.setChecked(model.has_chat_template and opened.chat)
    window.set_sampling(opened.sampling)
    window.show_sampling()
    window.editing.take_file(opened)
    window.branching.take_file(opened)


def _without_model(window: Window, model: ModelFrame, opened: OpenedFrame) -> ModelFrame:
    """What is said of a model, or of its absence."""
    if not opened.why:
        return model
    rest = window.tr("This run is open without its model, so it shows what was recorded. {0}")
    return replace(model, source=opened.path, warnings=(rest.format(said(opened.why, window.tr)),))


def _offer_prompt(window: Window, frame: ModelFrame) -> None:
    """The program's own model opens with a prompt that suits it, unless there is one."""
    known = entry(frame.source)
    if known is not None and known.built_in and window.options.prompt is None and window.examples:
        window.bar.prompt.offer(window.examples[0].text)


def _run_began(window: Window, frame: RunFrame) -> None:
    window.requested = False
    window.projecting.run_began()
    _forget_hits(window)
    window.context.cursor.say("")  # what was said of the run before
    window.branching.follow(frame)
    window.board.mark()
    window.context.cursor.follow()
    if window.filing.take_run():
        _show_prompt(window, frame)
    else:
        window.branching.leave_file()
        window.show_title()  # a run of its own now


def _show_prompt(window: Window, frame: RunFrame) -> None:
    """What was typed, as far as the tokens tell: a chat template has put more around it."""
    if not frame.chat:
        raw = b"".join(piece.raw for piece in frame.prompt if not piece.special)
        window.bar.prompt.setPlainText(raw.decode("utf-8", "replace"))


def _branch_moved(window: Window, frame: BackFrame | SwitchedFrame) -> None:
    """Other tokens are the run from here on; what was pinned behind their end is not there any more."""
    window.board.mark()
    pinned = window.context.cursor.pinned.position
    if pinned is not None and pinned >= window.context.run.n_tokens:
        window.context.cursor.follow()
    window.branching.follow(frame)


def _tree_changed(window: Window, frame: TreeFrame) -> None:
    window.branching.follow(frame)


def _goes_on(window: Window, frame: GoesOnFrame) -> None:
    window.requested = False
    window.branching.follow(frame)
    window.board.mark()


def _record_moved(window: Window, frame: StepFrame | RecordUse) -> None:
    """A disk that has no room for the record is told once; the run goes on."""
    use = frame.record if isinstance(frame, StepFrame) else frame
    if use.trouble:
        window.notice_bar.say(use.trouble)


def _run_ended(window: Window, frame: EndFrame) -> None:
    window.activity = ended_text(frame.reason, window.tr)
    window.board.mark()
    window.debugging.leave()
    window.branching.follow(frame)


def _pass_moved(window: Window, frame: Where) -> None:
    if frame.state == "paused":
        window.board.mark()
        if frame.stage == "start":  # two branches may have more positions in common by now
            window.branching.follow(frame)
    window.debugging.take_where(frame)


def _breakpoint_hit(window: Window, frame: HitFrame) -> None:
    window.debugging.take_hit(frame)


def _forget_hits(window: Window) -> None:
    """Another model or run: where the one before has stopped means nothing."""
    window.debugging.leave()
    window.hit_bar.hide()


def _show_progress(window: Window, frame: ProgressFrame) -> None:
    window.filing.take_progress(frame)


def _run_saved(window: Window, frame: SavedFrame) -> None:
    if not frame.quiet:
        window.filing.take_saved(frame, window.sampling)
        window.show_title()
        window.tell_recent()


def _download_moved(window: Window, frame: DownloadFrame) -> None:
    window.context.shelf.absorb(frame)
    window.filing.take_download(frame)
    window.show_shelf()
    if frame.state == "failed" and not frame.needs_token:
        _failed(window, ErrorFrame("fetch", frame.sentence, frame.details))


def _shelf_moved(window: Window, frame: ShelfFrame | SearchFrame | LookFrame) -> None:
    window.context.shelf.absorb(frame)
    window.show_shelf()


def _edits_accepted(window: Window, frame: EditsFrame) -> None:
    window.editing.take_accepted(frame.edits)


def _deleted(window: Window, frame: DeletedFrame) -> None:
    window.activity = window.tr("{0} was deleted, {1} are free again").format(frame.title, bytes_text(frame.freed))
    window.filing.look_in_cache()
    window.shelving.look_again()


def _told(window: Window, frame: ToldFrame) -> None:
    window.activity = said(frame.text, window.tr)


def _cancelled(window: Window, frame: CancelledFrame) -> None:
    window.filing.take_cancelled(frame)
    if frame.task == "back":
        window.branching.follow(frame)


def _failed(window: Window, frame: ErrorFrame) -> None:
    window.filing.take_error(frame, window.ready)
    if frame.task == "run":
        window.requested = False
        window.activity = _at_rest(window)
    if frame.task == "back":
        window.branching.follow(frame)
    if frame.task == "edit":
        window.editing.take_refusal()
    if frame.task != "autosave" and not window.keeping.knows(frame):  # nobody has asked for it: a notice will do
        window.error_bar.show_error(frame)


def _at_rest(window: Window) -> str:
    """What is said while nothing is under way: how the run that is there has ended."""
    ended = window.context.run.ended
    return window.tr("ready") if ended is None else ended_text(ended.reason, window.tr)


def _take_sampling_of(window: Window, frame: ModelFrame) -> None:
    """A model's own defaults, but for what the command line has set and the seed; without any, all stays."""
    if frame.sampling is None:
        return
    window.set_sampling(sampling_of(replace(frame.sampling, seed=window.sampling.seed), window.options))
    window.show_sampling()


def newest_answers(frames: Iterable[object]) -> list[AnswerFrame]:
    """The answers among frames, less those that came before another model or run: they mean nothing for it.

    What was asked about files is as true as before.
    """
    answers: list[AnswerFrame] = []
    for frame in frames:
        if isinstance(frame, ModelFrame | RunFrame | BackFrame | SwitchedFrame):
            answers = [answer for answer in answers if isinstance(answer.answer, OfFiles)]
        elif isinstance(frame, AnswerFrame):
            answers.append(frame)
    return answers


_IN_TURNS = (StepFrame, Where, AnswerFrame)  # what comes while a run goes on: shown a panel at a time

_RECEIVERS: dict[type, Callable] = {
    ReadyFrame: _engine_ready,
    ModelFrame: _model_ready,
    RunFrame: _run_began,
    BackFrame: _branch_moved,
    SwitchedFrame: _branch_moved,
    TreeFrame: _tree_changed,
    OpenedFrame: _run_opened,
    SavedFrame: _run_saved,
    GoesOnFrame: _goes_on,
    StepFrame: _record_moved,
    RecordUse: _record_moved,
    EndFrame: _run_ended,
    HitFrame: _breakpoint_hit,
    Where: _pass_moved,
    ProgressFrame: _show_progress,
    DownloadFrame: _download_moved,
    ShelfFrame: _shelf_moved,
    SearchFrame: _shelf_moved,
    LookFrame: _shelf_moved,
    DeletedFrame: _deleted,
    EditsFrame: _edits_accepted,
    ToldFrame: _told,
    CancelledFrame: _cancelled,
    ErrorFrame: _failed,
}
