"""The program's window: it shows the run, and turns commands into messages for the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent

from app import asking
from app.beginning import Beginning
from app.command_line import Options, is_run_file
from app.commands import COMMANDS, Situation, State, identity, retitle
from app.cost_words import badge_text, summary
from app.dropping import dropped_model, dropped_paths, refusal
from app.looks import tint
from app.mailbox import Mailbox
from app.panels.panel import Context, Panel
from app.parts import Parts
from app.preferences import Preferences
from app.receiving import receive
from app.theme import Theme
from app.widgets.term_words import told
from app.worker import QUIT_WITHIN_S, Arm, RunRequest, Worker
from engine.frames import ErrorFrame
from engine.settings import Record, Sampling

LOOK_EVERY_MS = 50  # how often a running pass is asked where it stands
_CHOICES = tuple(command for command in COMMANDS if command.group)  # one of each group is ticked


class Styled(Protocol):
    """What follows the theme."""

    def restyle(self, theme: Theme) -> None: ...


class Window(Parts):
    """Everything on screen. ``received`` tells each frame after the window has taken it in."""

    received = Signal(object)

    def __init__(
        self,
        worker: Worker,
        mailbox: Mailbox,
        preferences: Preferences,
        options: Options,
        panels: Iterable[Callable[[Context], Panel]],
        beginning: Beginning | None = None,
    ) -> None:
        super().__init__(worker, mailbox, preferences, options, panels, beginning)
        self._before_shelf = ""  # the panel in whose place the shelf is
        self._told_to_end = False
        self._look = QTimer(self, interval=LOOK_EVERY_MS)
        self.show_title()
        self._connect()
        self._dress()
        self._tell_beginning()
        self._first_geometry()
        self.tell_recent()
        self._first_examples()
        self.tell_about_settings()
        self.refresh()

    def receive(self, frames: list[object]) -> None:
        """Take in what the worker posted; panels are told once for all of it."""
        receive(self, frames)

    # ---- connecting ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.bar.model_menu.aboutToShow.connect(self._fill_model_menu)
        self.bar.prompt.submitted.connect(self.run_prompt)
        self.bar.prompt.textChanged.connect(self.branching.leave_off)
        self.bar.prompt.textChanged.connect(self.refresh_commands)
        self.context.cursor.pinned_changed.connect(self.board.show_pinned)
        self.context.cursor.hover_changed.connect(self.board.show_hovered)
        self.context.cursor.readout_changed.connect(self.status.show_value)
        self.status.meter.clicked.connect(self.show_cost)
        self.branching.changed.connect(self._comparison_changed)
        self.branching.said.connect(self._say)
        self.compare_bar.side_chosen.connect(self.branching.show_side)
        self.compare_bar.ended.connect(self.branching.end_comparison)
        self.editing.changed.connect(self._edits_changed)
        self.arranging.changed.connect(self.refresh_commands)
        self.explaining.changed.connect(self.refresh_commands)
        self.bar.depth_chosen.connect(self.explaining.use_depth)
        self.explaining.left.connect(self._show_workspace)
        self.arranging.hidden_changed.connect(self.status.show_hidden)
        self.arranging.said.connect(self.notice_bar.say)
        self.arranging.told.connect(self.context.cursor.say)
        self.arranging.list_asked.connect(self.status.hidden.open)
        self.received.connect(self.arranging.look_at_tables)
        self.context.cursor.pinned_changed.connect(self.arranging.look_at_tables)
        self.bar.speed.chosen.connect(self.debugging.set_speed)
        self.debugging.pace_changed.connect(self.bar.speed.show_speed)
        self._look.timeout.connect(self._ask_where)
        for dock in self.workspace.docks.values():
            dock.shown_changed.connect(partial(self.board.set_shown, dock.panel.key))
            dock.key_pressed.connect(self.commanding.press)
            dock.menu_opening.connect(partial(self.commanding.add_of_panel, dock))
            dock.failed.connect(self._show_failure)
            dock.saved.connect(self._say_now)
            dock.said.connect(self.context.cursor.say)
            dock.panel.settings_changed.connect(self.set_sampling)
            dock.panel.stage_opened.connect(self.going.show_stage)
            dock.panel.stage_asked.connect(self._do_at_stage)
        self._connect_keeping()
        self._connect_presenting()
        self._connect_taking()
        self._connect_files()
        self._connect_record()
        self._connect_shelf()
        self.commanding.offer(self.tr("Saved layout"), lambda: self.arranging.saved, self.arranging.use_layout)
        examples = (lambda: (told(each.name) for each in self.examples), self._put_example)
        self.commanding.offer(self.tr("Example"), *examples)
        sessions = (self.restarting.names, self.restarting.open_named)
        self.commanding.offer(self.tr("Session"), *sessions, private=True)  # they name prompts
        if self.explaining.panel is not None:
            self.commanding.offer_terms(self.explaining.show_term)

    def _put_example(self, name: str) -> None:
        """Into the prompt field, and there the keyboard too."""
        self.bar.prompt.put(next(each.text for each in self.examples if told(each.name) == name))
        self.bar.prompt.setFocus()

    def _connect_keeping(self) -> None:
        self.keeping.said.connect(self.notice_bar.say)
        self.keeping.over.connect(self.notice_bar.take_back)
        self.restarting.offered.connect(self.notice_bar.offer)
        self.restarting.said.connect(self.notice_bar.say)
        self.restarting.failed.connect(self._show_failure)
        self.notice_bar.again_asked.connect(self.restarting.start_again)
        self.speaking.said.connect(partial(self.restarting.offer, language=None))
        self.resetting.done.connect(self.restarting.offer)
        self.keeping.sampling_restored.connect(self._restore_sampling)
        self.keeping.notes_restored.connect(self.noting.restore)
        self.left_bar.crash_log.clicked.connect(self._show_crash)
        self.error_bar.report_asked.connect(self.reporting.copy_report)
        self.reporting.said.connect(self._say)
        self.resetting.said.connect(self.notice_bar.say)
        self.resetting.changed.connect(self.refresh_commands)

    def _tell_beginning(self) -> None:
        beginning = self.keeping.beginning
        if self.options.safe_mode:
            self.notice_bar.say(
                self.tr("Safe mode: the settings are those of the first start, and nothing is restored or kept.")
            )
        if beginning is None:
            return
        if beginning.trouble:
            self.notice_bar.say(beginning.trouble)
        kept = self.tr("A recording was under way when Fluoroscope ended; what there was of it is kept as {0}.")
        for film in beginning.slot.films:
            self.notice_bar.say(kept.format(film))

    def _dress(self) -> None:
        """All that follows the theme, in its present one."""
        bars = (self.bar, self.left_bar, self.error_bar, self.notice_bar, self.hit_bar, self.compare_bar)
        pages = (self.start_page, self.commanding)
        parts: tuple[Styled, ...] = (*bars, self.status, self.filming, *pages, *self.workspace.docks.values())
        for part in parts:
            self.looks.changed.connect(part.restyle)
        self.looks.changed.connect(self.ring.restyle)
        self.looks.changed.connect(partial(tint, self.actions_by_name))
        self.looks.changed.connect(self.board.restyle)
        self.looks.changed.connect(self.refresh_commands)
        self.looks.said.connect(self.notice_bar.say)
        self.looks.restyle()

    def _connect_presenting(self) -> None:
        self.projecting.take_actions(self.actions_by_name)
        self.projecting.changed.connect(self.refresh_commands)
        self.attending.changed.connect(self.refresh_commands)
        self.attending.take_actions(self.actions_by_name)
        self.actions_by_name["show_presenter"].triggered.connect(lambda: self.commanding.close_page())
        self.received.connect(self.attending.note)

    def _connect_taking(self) -> None:
        for part in (self.taking, self.filming, self.noting):
            part.said.connect(self._say_now)
            part.failed.connect(self._show_failure)
        self.filming.changed.connect(self.refresh_commands)
        self.filming.finishing.connect(
            lambda text, n: self.long_work.begin("film", text, n, "frames", self.filming.discard_recording)
        )
        self.filming.completed.connect(lambda n: self.long_work.move("film", n))
        self.filming.finished.connect(lambda: self.long_work.end("film"))
        self.noting.changed.connect(self.refresh_commands)
        self.received.connect(self.noting.follow)
        self.status.addPermanentWidget(self.filming.chip)

    def _connect_files(self) -> None:
        page, filing = self.start_page, self.filing
        page.open_asked.connect(filing.open_model)
        page.fetch_asked.connect(filing.fetch)
        page.cancel_asked.connect(filing.cancel_progress)
        page.folder_asked.connect(filing.open_folder)
        page.file_asked.connect(filing.open_file)
        page.run_asked.connect(filing.open_run)
        page.shelf_asked.connect(self.show_models)
        filing.said.connect(self._say)
        filing.changed.connect(self.refresh)
        filing.changed.connect(self.show_title)
        filing.failed.connect(self.error_bar.show_error)
        filing.begun.connect(self.waiting.begin)

    def _connect_record(self) -> None:
        self.status.record.chosen.connect(self.set_record)
        self.status.record.failed.connect(self._show_failure)
        self.status.record.show_record(self.record)
        self.worker.set_record(self.record)
        if self.strip is not None:
            self.strip.set_timeline(self.preferences.timeline())
            self.strip.timeline_chosen.connect(self.preferences.set_timeline)

    def _connect_shelf(self) -> None:
        shelving, panel = self.shelving, self.models_panel
        shelving.open_asked.connect(self.filing.open_model)
        shelving.inside_asked.connect(self.show_tensors)
        shelving.failed.connect(self.error_bar.show_error)
        shelving.changed.connect(self.show_shelf)
        shelving.device_chosen.connect(self.filing.use_device)
        if panel is not None:
            panel.asked.connect(shelving.do)
            panel.query_changed.connect(shelving.judge_by)
            panel.looked.connect(shelving.look_closer)
            self.workspace.docks[panel.key].shown_changed.connect(self._shelf_shown)

    # ---- what has changed ------------------------------------------------------------------------------------

    def _restore_sampling(self, sampling: Sampling) -> None:
        self.set_sampling(sampling)
        self.show_sampling()

    def _show_crash(self) -> None:
        self.reporting.show_crash(self.keeping.crash_text)

    def tell_about_settings(self) -> None:
        """Once; the program goes on without them."""
        for complaint in (self.preferences.complaint(), self.commanding.shortcuts.complaint):
            if complaint:
                self.notice_bar.say(complaint)

    def show_title(self) -> None:
        """The file of the run, where it has one; whether passes are edited, and nothing is kept."""
        name = f"{Path(self.filing.file).name} — " if self.filing.file else ""
        edited = self.tr("edited — ") if self.context.tray.on else ""
        safe = self.tr("safe mode — ") if self.options.safe_mode else ""
        self.setWindowTitle(f"{safe}{edited}{name}Fluoroscope")

    def _edits_changed(self) -> None:
        self.show_title()
        self.refresh_commands()

    def _comparison_changed(self) -> None:
        self.compare_bar.show_comparison(self.context.comparison, self.context.run.tree, self.branching.note())
        for dock in self.workspace.docks.values():
            dock.refresh()
        self.refresh_commands()

    def _say_now(self, text: str) -> None:
        """What a command has done, at once."""
        self._say(text)
        self.status.show_run(self.context.run, self.activity)

    def _say(self, text: str) -> None:
        self.activity = text

    def _do_at_stage(self, deed: str, layer: int, stage: str) -> None:
        """What the map of the pass offers at a stage; layer -1: outside the layers. Without a model nothing runs."""
        missing = self.situation().missing
        if missing and deed == "run to":
            self.error_bar.show_error(ErrorFrame("step", missing))
            return
        deeds = {"run to": self.debugging.run_to, "break": self.debugging.break_at, "edit": self.editing.edit_at}
        deeds[deed](None if layer < 0 else layer, stage)

    def show_shelf(self) -> None:
        """Only where somebody can see it."""
        panel = self.models_panel
        if panel is not None and self.workspace.docks[panel.key].shown:
            panel.show_run()

    def _shelf_shown(self, shown: bool) -> None:
        if shown:
            self.shelving.look()

    def _ask_where(self) -> None:
        """A running pass does not report each stage: it is looked at, at the pace of the eye."""
        where = self.worker.where()
        if where is not None and where.state != "idle" and where != self.context.run.where:
            self.mailbox.post(where)

    # ---- state -----------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether a run is on, or was asked for."""
        return self.requested or (self.context.run.n_prompt > 0 and self.context.run.ended is None)

    @property
    def state(self) -> State:
        """Of the run: one that was asked for counts as running."""
        if not self.active:
            return "idle"
        return "paused" if self.context.run.where.state == "paused" and not self.requested else "running"

    @property
    def complete(self) -> bool:
        """Whether nothing that is on screen waits for an answer."""
        panel = self.models_panel
        reading = panel is not None and self.workspace.docks[panel.key].shown and not self.context.shelf.complete
        return self.board.complete and not reading

    def situation(self) -> Situation:
        return Situation(
            ready=self.ready,
            has_model=self.context.run.model is not None,
            has_tokens=self.context.run.n_tokens > 0,
            has_run=bool(self.context.run.steps),
            has_experts=self.context.run.has_experts,
            loading=self.filing.loading,
            has_examples=bool(self.examples),
            missing="" if self.filing.opened is None else self.filing.opened.why,
            filing=self.filing.saving or self.filing.loading,
            comparing=self.context.comparison.complete,
            stands=self.branching.stands,
            edits=len(self.context.tray.edits),
            can_undo=self.context.tray.can_undo,
            can_redo=self.context.tray.can_redo,
            can_reset=self.preferences.can_reset,
            can_bring_back=self.preferences.can_bring_back,
            audience=self.attending.on,
            notes=len(self.context.notes),
            recording=self.filming.busy,
            state=self.state,
        )

    def refresh(self) -> None:
        """Commands, status bar and start page, after anything changed."""
        self.refresh_commands()
        self.status.show_run(self.context.run, self.activity)
        self.start_page.show_engine(self.activity, self.ready)
        self.projecting.show_stage()
        self._account()
        if self.active != self._look.isActive():
            (self._look.start if self.active else self._look.stop)()

    def _account(self) -> None:
        """What watching costs, and pictures with less detail while the window is behind."""
        if not self.accounts.look(self.context.run.steps, self.state):
            return
        figures = self.accounts.figures
        whole, short = (summary(figures, self.tr, short=short) for short in (False, True))
        self.status.meter.show_texts(whole, short, self.actions_by_name["show_cost"].toolTip())
        self.meter_page.show_figures(figures)
        for key, dock in self.workspace.docks.items():
            lowered = figures is not None and key in self.board.lowered
            dock.set_note(badge_text(figures.halvings, self.tr) if figures is not None and lowered else "")

    def refresh_commands(self) -> None:
        now, had_keyboard = self.situation(), self.focusWidget()
        self.commanding.enable(now)
        self.bar.keep_keyboard(had_keyboard)
        self.bar.show_depth(self.context.depth)
        retitle(self.actions_by_name["run"], self.tr("&Continue") if now.goes_on else self.tr("&Run"))
        own = (("use_layout", self.workspace.layout_name), ("use_depth", self.context.depth))
        chosen = dict((*own, *self.looks.choices(), *self.speaking.choices()))
        for command in _CHOICES:
            self.actions_by_name[identity(command)].setChecked(command.argument == chosen[command.name])

    # ---- commands: the model ---------------------------------------------------------------------------------

    def show_models(self) -> None:
        """The model shelf; the same command goes back to what was there before."""
        dock = self.workspace.docks.get("models")
        if dock is None or (dock.shown and self.pages.currentWidget() is self.workspace):
            self.leave_shelf()
        else:
            self.workspace.restore_maximised()
            self._before_shelf = self.workspace.in_front_of("models")
            self.pages.setCurrentWidget(self.workspace)
            self.workspace.bring_up("models")
            if self.context.run.model is None:  # nothing else has anything to show
                self.workspace.toggle_maximised(dock)
            if self.models_panel is not None:
                self.models_panel.words_field.setFocus()

    def leave_shelf(self) -> None:
        """Back to the panel that was in front of the shelf, or to the start page while there is no model."""
        dock = self.workspace.docks.get("models")
        if self.workspace.maximised is dock:
            self.workspace.restore_maximised()
        if dock is not None and dock.shown:
            self.workspace.bring_up(self._before_shelf or self.workspace.beside("models"))
        self._show_workspace()

    def _show_workspace(self) -> None:
        """The panels, or the start page while there is no model."""
        has_model = self.context.run.model is not None
        self.pages.setCurrentWidget(self.workspace if has_model else self.start_page)

    def _fill_model_menu(self) -> None:
        """Anew whenever it is opened; while it is open it stays as it is, whatever arrives."""
        commands = ("open_folder", "open_file", "open_run", "show_models")
        self.filing.fill_menu(self.bar.model_menu, [self.actions_by_name[name] for name in commands])

    def tell_recent(self) -> None:
        """What was opened last may be another one."""
        sources = self.preferences.recent()
        self.start_page.show_recent(sources)
        if self.tensors_panel is not None:
            self.tensors_panel.show_recent([source for source in sources if not is_run_file(source)])

    def show_tensors(self, source: str | None = None) -> None:
        """The tensors of a model that need not be loaded; None: of the one that was looked at last."""
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.turn_to("tensors")
        if self.tensors_panel is not None and source is not None:
            self.tensors_panel.show_source(source)

    def show_panel(self, key: str) -> None:
        """In front of all others, and with the keyboard."""
        if key == "models":
            self.show_models()
            return
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.turn_to(key)

    # ---- commands: the run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Go on after a pause, otherwise begin."""
        if self.state == "paused":
            self.worker.resume()
        else:
            self.begin()

    def begin(self, armed: Arm | None = None) -> None:
        """Go on where the run was taken back, or on another branch; else run the prompt."""
        (self.go_on if self.branching.stands else self.run_prompt)(armed)

    def run_prompt(self, armed: Arm | None = None) -> None:
        """Begin a new run of the prompt in the field, whatever is under way."""
        if not self.situation().can_run:
            return
        self.requested = True
        self.activity = self.tr("reading the prompt")
        text, chat = self.bar.prompt.toPlainText(), self.bar.chat.isChecked()
        self.worker.run(RunRequest(text, self.sampling, self.bar.tokens.value(), chat, armed))
        self.refresh()

    def go_on(self, armed: Arm | None = None) -> None:
        """More tokens where the run has ended, as many as the field says."""
        if self.situation().can_run and not self.active:
            self.requested = True
            self.activity = self.tr("going on")
            self.worker.run(RunRequest(None, self.sampling, self.bar.tokens.value(), armed=armed))
            self.refresh()

    def pause(self) -> None:
        """Stop inside the pass, or go on."""
        (self.worker.resume if self.state == "paused" else self.worker.pause)()

    def stop(self) -> None:
        self.requested = False
        self.worker.stop()
        self.refresh()

    def set_sampling(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.worker.set_sampling(sampling)

    def set_record(self, record: Record) -> None:
        """Another limit for the record, at once and from the next start on."""
        self.record = record
        self.status.record.show_record(record)
        self.worker.set_record(record)
        self.preferences.set_record(record)
        self.tell_about_settings()

    def show_examples(self) -> None:
        self.bar.open_examples()

    def focus_prompt(self) -> None:
        self.bar.prompt.setFocus()
        self.bar.prompt.selectAll()

    # ---- commands: where to look -------------------------------------------------------------------------------

    @property
    def _undoing(self) -> tuple[Callable[[], bool], ...]:
        """What Esc may take back, the newest first; each False where there is nothing."""
        workspace = self.workspace
        own = (self.arranging.leave_table, self.board.undo, workspace.restore_maximised, self._dismiss_error)
        return self.attending.undo, *own, self.projecting.undo

    def undo_one(self) -> None:
        """Undo the newest of: the help, the audience's black screen, a panel's own step, a maximised panel, an error,
        a picked expert, the pinned position."""
        if self.commanding.close_page() or any(undo() for undo in self._undoing):
            return
        if self.context.cursor.pinned.expert is not None:
            self.context.cursor.pin(expert=None)
        else:
            self.context.cursor.follow()

    def _dismiss_error(self) -> bool:
        shown = self.error_bar.isVisible()
        self.error_bar.hide()
        return shown

    # ---- commands: the view ------------------------------------------------------------------------------------

    def colour_by_expert(self) -> None:
        """Colour the tokens by expert, or by probability again."""
        if self.strip is not None:
            self.strip.by_expert.toggle()

    def fold_timeline(self) -> None:
        """Fold the timeline, or show it again."""
        if self.strip is not None:
            self.strip.fold_timeline()

    def choose_record(self) -> None:
        """Open the menu of the record's memory."""
        self.status.record.open()

    def show_cost(self) -> None:
        """The table of what watching costs; the same command closes it."""
        self.meter_page.toggle()
        self.meter_page.show_figures(self.accounts.figures)

    def _show_failure(self, sentence: str) -> None:
        self.error_bar.show_error(ErrorFrame("export", sentence))

    # ---- events ------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if self.ready and dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        source = dropped_model(event.mimeData())
        refused = refusal(event.mimeData(), self.tr)
        if refused:
            self.error_bar.show_error(ErrorFrame("drop", refused))
        elif source:
            event.acceptProposedAction()
            later = partial(self.filing.open_model, source)  # the other program waits for our return
            QTimer.singleShot(0, self, later)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.projecting.resized()
        self.commanding.place()
        self.status.meter.choose()
        self.status.hidden.choose()

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802
        """Tab goes only to what is seen."""
        moved = super().focusNextPrevChild(forward)
        first = self.focusWidget()
        while moved and self.workspace.unseen(self.focusWidget()):
            moved = super().focusNextPrevChild(forward) and self.focusWidget() is not first
        return moved

    def end(self) -> None:
        """Close it without a question: the program is told to end from outside."""
        self._told_to_end = True
        self.close()

    def _may_be_lost(self) -> bool:
        """Whether the user lets go of a run that is not kept."""
        text = self.tr(
            "This run is not saved by itself, so it would be lost. To keep it, cancel, and save it to a file."
        )
        return asking.sure(self, self.tr("Quit without this run?"), text, self.tr("Quit without it"))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Nothing may come from the worker any more before it is stopped, and nothing on screen waits for it."""
        if not self._told_to_end and self.keeping.at_risk and not self._may_be_lost():
            event.ignore()
            return
        self._look.stop()
        self.delivery.close()
        self.turns.drop()
        self.long_work.close()
        self.attending.close()
        self.projecting.leave()
        self._keep_layout()
        self.hide()
        self.restarting.close()
        self.keeping.close()
        self.filming.close()
        besides = self.shelving.close(QUIT_WITHIN_S)
        self.closed_in_time = self.worker.quit() and besides
        self.keeping.leave()
        event.accept()
