"""The program's window: it shows the run, and turns commands into messages for the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QMimeData, QSize, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.accounts import Accounts
from app.arranging import Arranging
from app.attending import Attending
from app.beginning import Beginning
from app.board import Board
from app.branching import Branching
from app.command_line import DEFAULT_SIZE, RUN_SUFFIX, Options, is_run_file
from app.commanding import Commanding
from app.commands import (
    COMMANDS,
    WINDOW,
    Situation,
    State,
    identity,
    make_actions,
)
from app.cost_words import badge_text, summary
from app.cursor import Cursor, Look
from app.debugging import Debugging
from app.delivery import Delivery
from app.dock import PanelDock
from app.editing import Editing
from app.error_bar import ErrorBar
from app.examples import Example, ExamplesError, read_examples
from app.explaining import Explaining
from app.filing import Filing
from app.filming import Filming
from app.going import Going
from app.hit_bar import HitBar
from app.keeping import Keeping
from app.languages import language_of
from app.layouts import Workspace
from app.ledger import Ledger
from app.left_bar import LeftBar
from app.log_file import note
from app.long_work import LongWork
from app.looks import Looks, tint
from app.mailbox import Mailbox
from app.menus import fill_bar
from app.notice_bar import NoticeBar
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
from app.noting import Noting
from app.panels.activations import ActivationsPanel
from app.panels.edits import EditsPanel
from app.panels.models import ModelsPanel
from app.panels.panel import Context, Panel
from app.panels.sampling import SamplingPanel
from app.panels.tensors import TensorsPanel
from app.panels.token_strip import TokenStrip
from app.preferences import Preferences
from app.projecting import Projecting
from app.reporting import Reporting
from app.resetting import Resetting
from app.run import Run
from app.run_bar import RunBar
from app.session import sampling_of
from app.shelf import LookFrame, SearchFrame, ShelfFrame
from app.shelving import Shelving
from app.speaking import Speaking
from app.start_page import StartPage
from app.status import StatusBar, ended_text
from app.taking import Taking
from app.theme import DARK, Theme
from app.turns import Turns
from app.waiting import Cancels, Waiting
from app.widgets.amounts import bytes_text
from app.widgets.compare_bar import CompareBar
from app.widgets.focus_ring import FocusRing
from app.widgets.meter_page import MeterPage
from app.widgets.term_words import told
from app.worker import QUIT_WITHIN_S, Arm, RunRequest, Worker
from engine.breakpoints import HitFrame
from engine.checkpoint.catalog import catalog, entry
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
from engine.settings import Record, Sampling

LOOK_EVERY_MS = 50  # how often a running pass is asked where it stands
LEAST_SIZE = QSize(840, 480)
_CHOICES = tuple(command for command in COMMANDS if command.group)  # one of each group is ticked


class Styled(Protocol):
    """What follows the theme."""

    def restyle(self, theme: Theme) -> None: ...


class Window(QMainWindow):
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
        super().__init__()
        self.worker, self.mailbox, self.preferences, self.options = worker, mailbox, preferences, options
        self.ledger = Ledger()
        self.board = Board(worker, self.ledger.turn_to)
        self.context = Context(Run(), Cursor(), DARK, self.board.ask, unask=self.board.unask)
        self.looks = Looks(self.context, preferences, options.theme, self)
        self.sampling, self.record = options.sampling, self._first_record()
        self.activity = self.tr("starting the engine")
        self.examples: tuple[Example, ...] = ()
        self.ready = self.requested = False
        self._before_shelf = ""  # the panel in whose place the shelf is
        self.closed_in_time = True
        self._make_parts(panels, beginning)
        self._make_keeping(beginning)
        self._arrange()
        self._connect()
        self._dress()
        self._first_geometry()
        self._first_examples()
        self._tell_about_settings()
        self.refresh()

    # ---- building --------------------------------------------------------------------------------------------

    def _make_parts(self, panels: Iterable[Callable[[Context], Panel]], beginning: Beginning | None) -> None:
        self.error_bar, self.notice_bar, self.compare_bar = ErrorBar(), NoticeBar(), CompareBar()
        self.start_page = StartPage(known for known in catalog() if known.starter)
        self.shelving = Shelving(self.context.shelf, self.mailbox, self.preferences, self)
        self.shelving.set_dtype(self.options.dtype)
        self.filing = Filing(
            self.context,
            self.worker,
            self.preferences,
            self.shelving,
            self.start_page,
            self.options.device,
            self.options.dtype,
            self,
        )
        self.board.add([make(self.context) for make in panels])
        self.models_panel = self.board.find(ModelsPanel)
        self.tensors_panel = self.board.find(TensorsPanel)
        points = self.board.find(ActivationsPanel)
        self.strip = self.board.find(TokenStrip)
        self.workspace = Workspace([PanelDock(panel, self.context.theme) for panel in self.board.panels])
        self.arranging = Arranging(self.workspace, self.preferences, self)
        self.going = Going(self.context, self.workspace, points, self)
        edits = self.board.find(EditsPanel)
        self.editing = Editing(self.context, self.worker, self.workspace, edits, lambda: self.sampling, self)
        self.branching = Branching(self.context, self.worker, self.board, self.workspace, self)
        self.debugging = Debugging(
            self.context, self.worker, self.workspace, self.preferences, self.begin, lambda: self.active, self
        )
        self.commanding = Commanding(
            self.workspace, self.preferences, self.situation, self.filing.open_model, self.show_panel, self
        )
        self.context.add_commands = self.commanding.add
        whole = self.options.size is None  # a size that was asked for is kept
        self.projecting = Projecting(self, self.context, self.looks, self.workspace, lambda: self.activity, whole)
        self.attending = Attending(
            self, self.context, self.looks, self.workspace, self.board, self.preferences, self.projecting
        )
        self.noting = Noting(self.context, self.worker, self.workspace, self.preferences, self.branching.switch, self)
        self.taking = Taking(self.context, self.workspace, self.preferences, self)
        self.filming = Filming(self.context, self.preferences, self)
        self.explaining = Explaining(self.context, self.board, self.workspace, self.preferences, self.show_panel, self)
        self.speaking = Speaking(
            self.preferences, language_of(self.options.language or self.preferences.language()), self
        )
        self.reporting = Reporting(
            self.context,
            None if beginning is None else beginning.slot.log,
            lambda: self.sampling,
            self._settings,
            lambda: self.bar.prompt.toPlainText(),
            self,
        )
        self.resetting = Resetting(self.preferences, self)
        coordinators = (
            self.filing,
            self.speaking,
            self.looks,
            self.explaining,
            self.arranging,
            self.going,
            self.debugging,
            self.branching,
            self.editing,
            self.commanding,
            self.projecting,
            self.attending,
            self.noting,
            self.taking,
            self.filming,
            self.reporting,
            self.resetting,
        )
        self.actions_by_name = make_actions(self, self, *coordinators)
        self.commanding.take_actions(self.actions_by_name)
        self.bar = RunBar(self.actions_by_name)
        self.hit_bar = HitBar(self.context.breaks, self.actions_by_name)
        self._show_sampling()
        self.pages = QStackedWidget()
        self.long_work = LongWork(self)
        self.status = StatusBar(self.long_work)
        cancels: Cancels = {
            "load": self.filing.cancel_progress,
            "save": self.worker.cancel_save,
            "back": self.stop,
        }
        self.waiting = Waiting(
            self.long_work, self.context.run, self.board, cancels, self.stop, self.shelving.pause, self
        )
        self.ring = FocusRing(self, self.context.theme)
        self.turns = Turns()
        self.accounts = Accounts(self.ledger, self.board)
        self.delivery = Delivery(self.mailbox, self.receive, self._showing, self.ledger)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_EVERY_MS)

    def _make_keeping(self, beginning: Beginning | None) -> None:
        self.keeping = Keeping(
            beginning,
            self.context,
            self.worker,
            self.mailbox,
            self.filing,
            self.bar,
            lambda: self.sampling,
            self._keep_layout,
            self,
        )
        self.left_bar = LeftBar(self.keeping)
        self.keeping.said.connect(self.notice_bar.say)
        self.keeping.sampling_restored.connect(self._restore_sampling)
        self.keeping.notes_restored.connect(self.noting.restore)
        self.left_bar.crash_log.clicked.connect(self._show_crash)
        self.error_bar.report_asked.connect(self.reporting.copy_report)
        self.reporting.said.connect(self._say)
        self.resetting.said.connect(self.notice_bar.say)
        self.resetting.changed.connect(self.refresh_commands)
        if beginning is not None and beginning.trouble:
            self.notice_bar.say(beginning.trouble)
        if self.options.safe_mode:
            self.notice_bar.say(
                self.tr("Safe mode: the settings are those of the first start, and nothing is restored or kept.")
            )

    def _keep_layout(self) -> None:
        self.preferences.set_geometry(self.saveGeometry())
        self.arranging.keep()

    def _restore_sampling(self, sampling: Sampling) -> None:
        self.set_sampling(sampling)
        self._show_sampling()

    def _show_crash(self) -> None:
        self.reporting.show_crash(self.keeping.crash_text)

    def _settings(self) -> dict[str, str]:
        """For a report."""
        return {
            "theme": self.looks.chosen,
            "text": f"{self.looks.points:g} points",
            "layout": self.workspace.layout_name,
            "window": f"{self.width()} x {self.height()}",
            "record": str(self.record),
            "opened on": f"{self.filing.device}, {self.filing.dtype}",
        }

    def _arrange(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        banner = self.projecting.banner
        bars = (self.left_bar, self.error_bar, self.notice_bar, self.hit_bar, self.compare_bar)
        for widget in (banner, self.bar, *bars):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(self.workspace)
        self.setCentralWidget(centre)
        self.setStatusBar(self.status)
        self.meter_page = MeterPage(
            self, {**{panel.key: panel.title() for panel in self.board.panels}, "save": self.tr("saving the run")}
        )
        self._fill_menus()
        self.projecting.chrome = (self.menuBar(), self.bar, self.status)
        self.projecting.prompt_bar = self.bar
        self.setAcceptDrops(True)
        self._show_title()
        self.setMinimumSize(LEAST_SIZE)

    def _fill_menus(self) -> None:
        menu = fill_bar(self.menuBar(), self.actions_by_name)[WINDOW]
        menu.addMenu(self.arranging.menu)
        panels = menu.addMenu(self.tr("Panels sho&wn"))
        for dock in self.workspace.docks.values():
            panels.addAction(dock.toggleViewAction())

    def _connect(self) -> None:
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
            dock.said.connect(self.context.cursor.say)
            dock.panel.settings_changed.connect(self.set_sampling)
            dock.panel.stage_opened.connect(self.going.show_stage)
            dock.panel.stage_asked.connect(self._do_at_stage)
        self._connect_presenting()
        self._connect_taking()
        self._connect_files()
        self._connect_record()
        self._connect_shelf()
        self.commanding.offer(self.tr("Saved layout"), lambda: self.arranging.saved, self.arranging.use_layout)
        examples = (lambda: (told(each.name) for each in self.examples), self._put_example)
        self.commanding.offer(self.tr("Example"), *examples)

    def _put_example(self, name: str) -> None:
        """Into the prompt field, and there the keyboard too."""
        self.bar.prompt.put(next(each.text for each in self.examples if told(each.name) == name))
        self.bar.prompt.setFocus()

    def _connect_presenting(self) -> None:
        self.projecting.take_actions(self.actions_by_name)
        self.projecting.changed.connect(self.refresh_commands)
        self.attending.changed.connect(self.refresh_commands)
        self.attending.take_actions(self.actions_by_name)
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
        filing.changed.connect(self._show_title)
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
        shelving.changed.connect(self._show_shelf)
        shelving.device_chosen.connect(self.filing.use_device)
        if panel is not None:
            panel.asked.connect(shelving.do)
            panel.query_changed.connect(shelving.judge_by)
            panel.looked.connect(shelving.look_closer)
            self.workspace.docks[panel.key].shown_changed.connect(self._shelf_shown)

    def _dress(self) -> None:
        """All that follows the theme, in its present one."""
        bars = (self.bar, self.left_bar, self.error_bar, self.notice_bar, self.hit_bar, self.compare_bar)
        pages = (self.start_page, self.commanding, self.meter_page, self.reporting.page)
        parts: tuple[Styled, ...] = (*bars, self.status, self.filming, *pages, *self.workspace.docks.values())
        for part in parts:
            self.looks.changed.connect(part.restyle)
        self.looks.changed.connect(self.ring.restyle)
        self.looks.changed.connect(partial(tint, self.actions_by_name))
        self.looks.changed.connect(self.board.restyle)
        self.looks.changed.connect(self.refresh_commands)
        self.looks.said.connect(self.notice_bar.say)
        self.speaking.said.connect(self.notice_bar.say)
        self.looks.restyle()

    def _first_record(self) -> Record:
        """What the command line says, else what was chosen last."""
        kept, options = self.preferences.record(), self.options
        return Record(options.record_memory or kept.memory, options.record_beyond or kept.beyond)

    def _first_geometry(self) -> None:
        geometry = self.preferences.geometry()
        if self.options.size is not None or geometry is None or not self.restoreGeometry(geometry):
            self.resize(*(self.options.size or self._fitting(DEFAULT_SIZE)))
        self.bar.tokens.setValue(self.options.tokens)
        self.bar.prompt.setPlainText(self.options.prompt or "")
        self.pages.setCurrentWidget(self.start_page)
        self.start_page.show_recent(self.preferences.recent())
        self._fill_model_menu()
        self._first_layout()

    def _fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        room = self.screen().availableSize()
        return min(size[0], room.width()), min(size[1], room.height())

    def _first_layout(self) -> None:
        self.arranging.begin(self.options.layout, self.options.panel)

    def _first_examples(self) -> None:
        try:
            self.examples = read_examples()
        except ExamplesError as error:
            self.error_bar.show_error(ErrorFrame("examples", str(error)))
        self.bar.show_examples(self.examples)
        if self.explaining.complaint():
            self.error_bar.show_error(ErrorFrame("explanations", self.explaining.complaint()))

    def _tell_about_settings(self) -> None:
        """Once; the program goes on without them."""
        for complaint in (self.preferences.complaint(), self.commanding.shortcuts.complaint):
            if complaint:
                self.notice_bar.say(complaint)

    # ---- frames ----------------------------------------------------------------------------------------------

    def receive(self, frames: list[object]) -> None:
        """Take in what the worker posted; panels are told once for all of it."""
        self.turns.finish()
        changed = False
        for frame in frames:
            changed |= self._absorb(frame)
            self.waiting.take(frame)
            note(frame)
            receiver = _RECEIVERS.get(type(frame))
            if receiver is not None:
                receiver(self, frame)
            self.keeping.take(frame)
        answers, tokens = newest_answers(frames), sum(isinstance(frame, StepFrame) for frame in frames)
        self.turns.take([*self.board.pieces(changed, answers, tokens), self.refresh, partial(self._announce, frames)])
        if self.context.run.where.state != "running" or not all(isinstance(frame, _IN_TURNS) for frame in frames):
            self.turns.finish()

    def _showing(self) -> bool:
        return self.turns.waiting

    def _announce(self, frames: list[object]) -> None:
        """Everything about these frames has been shown."""
        for frame in frames:
            self.received.emit(frame)

    def _absorb(self, frame: object) -> bool:
        late = isinstance(frame, Where) and self.context.run.ended is not None
        return not late and self.context.run.absorb(frame)

    def _engine_ready(self, frame: ReadyFrame) -> None:
        self.ready = True
        self.activity = self.tr("ready")
        self.shelving.set_accelerators(frame.accelerators, self.filing.device)
        if self.models_panel is not None:
            self.models_panel.set_ready(True)
        self.left_bar.set_ready(True)
        if self.options.model is not None:
            self.filing.open_model(self.options.model)
        self.filing.look_in_cache()

    def _model_ready(self, frame: ModelFrame) -> None:
        self.requested = False
        self.activity = self.tr("ready")
        self.board.forget()
        self.context.cursor.reset(Look())
        self.filing.take_model(frame)
        opened = self.filing.opened
        self.editing.take_model(frame)
        self._forget_hits()
        self.branching.follow(frame)
        self.bar.show_model(frame.name, frame.has_chat_template)
        self.notice_bar.show_model(frame if opened is None else self._without_model(frame, opened))
        if opened is None:
            self.bar.chat.setChecked(frame.has_chat_template and self.options.chat)
            self._take_sampling_of(frame)
            self._offer_prompt(frame)
        else:
            self._take_file(frame, opened)
        self._show_title()
        self._tell_about_settings()
        self._fill_model_menu()
        self.start_page.show_recent(self.preferences.recent())
        self._leave_shelf()
        self.bar.prompt.setFocus()

    def _run_opened(self, frame: OpenedFrame) -> None:
        self.filing.take_opened(frame)

    def _take_file(self, model: ModelFrame, opened: OpenedFrame) -> None:
        """A saved run has settings of its own."""
        self.bar.chat.setChecked(model.has_chat_template and opened.chat)
        self.set_sampling(opened.sampling)
        self._show_sampling()
        self.editing.take_file(opened)

    def _without_model(self, model: ModelFrame, opened: OpenedFrame) -> ModelFrame:
        """What is said of a model, or of its absence."""
        if not opened.why:
            return model
        rest = self.tr("This run is open without its model, so it shows what was recorded. {0}").format(opened.why)
        return replace(model, source=opened.path, warnings=(rest,))

    def _show_title(self) -> None:
        """The file of the run, where it has one; whether passes are edited, and nothing is kept."""
        name = f"{Path(self.filing.file).name} — " if self.filing.file else ""
        edited = self.tr("edited — ") if self.context.tray.on else ""
        safe = self.tr("safe mode — ") if self.options.safe_mode else ""
        self.setWindowTitle(f"{safe}{edited}{name}Fluoroscope")

    def _edits_changed(self) -> None:
        self._show_title()
        self.refresh_commands()

    def _offer_prompt(self, frame: ModelFrame) -> None:
        """The program's own model opens with a prompt that suits it, unless there is one."""
        known = entry(frame.source)
        if known is not None and known.built_in and self.options.prompt is None and self.examples:
            self.bar.prompt.offer(self.examples[0].text)

    def _run_began(self, frame: RunFrame) -> None:
        self.requested = False
        self.projecting.run_began()
        self._forget_hits()
        self.context.cursor.say("")  # what was said of the run before
        self.branching.follow(frame)
        self.board.mark()
        self.context.cursor.follow()
        if self.filing.take_run():
            self._show_prompt(frame)
        else:
            self._show_title()  # a run of its own now

    def _show_prompt(self, frame: RunFrame) -> None:
        """What was typed, as far as the tokens tell: a chat template has put more around it."""
        if not frame.chat:
            raw = b"".join(piece.raw for piece in frame.prompt if not piece.special)
            self.bar.prompt.setPlainText(raw.decode("utf-8", "replace"))

    def _branch_moved(self, frame: BackFrame | SwitchedFrame) -> None:
        """Other tokens are the run from here on; what was pinned behind their end is not there any more."""
        self.board.mark()
        pinned = self.context.cursor.pinned.position
        if pinned is not None and pinned >= self.context.run.n_tokens:
            self.context.cursor.follow()
        self.branching.follow(frame)

    def _tree_changed(self, frame: TreeFrame) -> None:
        self.branching.follow(frame)

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

    def _goes_on(self, frame: GoesOnFrame) -> None:
        self.requested = False
        self.branching.follow(frame)
        self.board.mark()

    def _record_moved(self, frame: StepFrame | RecordUse) -> None:
        """A disk that has no room for the record is told once; the run goes on."""
        use = frame.record if isinstance(frame, StepFrame) else frame
        if use.trouble:
            self.notice_bar.say(use.trouble)

    def _run_ended(self, frame: EndFrame) -> None:
        self.activity = ended_text(frame.reason, self.tr)
        self.board.mark()
        self.debugging.leave()
        self.branching.follow(frame)

    def _pass_moved(self, frame: Where) -> None:
        if frame.state == "paused":
            self.board.mark()
            if frame.stage == "start":  # two branches may have more positions in common by now
                self.branching.follow(frame)
        self.debugging.take_where(frame)

    def _do_at_stage(self, deed: str, layer: int, stage: str) -> None:
        """What the map of the pass offers at a stage; layer -1: outside the layers. Without a model nothing runs."""
        missing = self.situation().missing
        if missing and deed == "run to":
            self.error_bar.show_error(ErrorFrame("step", missing))
            return
        deeds = {"run to": self.debugging.run_to, "break": self.debugging.break_at, "edit": self.editing.edit_at}
        deeds[deed](None if layer < 0 else layer, stage)

    def _breakpoint_hit(self, frame: HitFrame) -> None:
        self.debugging.take_hit(frame)

    def _forget_hits(self) -> None:
        """Another model or run: where the one before has stopped means nothing."""
        self.debugging.leave()
        self.hit_bar.hide()

    def _show_progress(self, frame: ProgressFrame) -> None:
        self.filing.take_progress(frame)

    def _run_saved(self, frame: SavedFrame) -> None:
        if not frame.quiet:
            self.filing.take_saved(frame, self.sampling)
            self._show_title()
            self._fill_model_menu()

    def _download_moved(self, frame: DownloadFrame) -> None:
        self.context.shelf.absorb(frame)
        self.filing.take_download(frame)
        self._show_shelf()
        if frame.state == "failed" and not frame.needs_token:
            self._failed(ErrorFrame("fetch", frame.sentence, frame.details))

    def _shelf_moved(self, frame: ShelfFrame | SearchFrame | LookFrame) -> None:
        self.context.shelf.absorb(frame)
        self._show_shelf()

    def _edits_accepted(self, frame: EditsFrame) -> None:
        self.editing.take_accepted(frame.edits)

    def _deleted(self, frame: DeletedFrame) -> None:
        self.activity = self.tr("{0} was deleted, {1} are free again").format(frame.title, bytes_text(frame.freed))
        self.filing.look_in_cache()
        self.shelving.look_again()

    def _told(self, frame: ToldFrame) -> None:
        self.activity = frame.text

    def _show_shelf(self) -> None:
        """Only where somebody can see it."""
        panel = self.models_panel
        if panel is not None and self.workspace.docks[panel.key].shown:
            panel.show_run()

    def _shelf_shown(self, shown: bool) -> None:
        if shown:
            self.shelving.look()

    def _cancelled(self, frame: CancelledFrame) -> None:
        self.filing.take_cancelled(frame)
        if frame.task == "back":
            self.branching.follow(frame)

    def _failed(self, frame: ErrorFrame) -> None:
        self.filing.take_error(frame, self.ready)
        if frame.task == "run":
            self.requested = False
        if frame.task == "back":
            self.branching.follow(frame)
        if frame.task == "edit":
            self.editing.take_refusal()
        if frame.task != "autosave":  # nobody has asked for it: a notice will do
            self.error_bar.show_error(frame)

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
        now = self.situation()
        self.commanding.enable(now)
        self.bar.show_depth(self.context.depth)
        self.actions_by_name["run"].setText(self.tr("&Continue") if now.goes_on else self.tr("&Run"))
        own = (("use_layout", self.workspace.layout_name), ("use_depth", self.context.depth))
        chosen = dict((*own, *self.looks.choices(), *self.speaking.choices()))
        for command in _CHOICES:
            self.actions_by_name[identity(command)].setChecked(command.argument == chosen[command.name])

    # ---- commands: the model ---------------------------------------------------------------------------------

    def show_models(self) -> None:
        """The model shelf; the same command goes back to what was there before."""
        dock = self.workspace.docks.get("models")
        if dock is None or (dock.shown and self.pages.currentWidget() is self.workspace):
            self._leave_shelf()
        else:
            self.workspace.restore_maximised()
            self._before_shelf = self.workspace.in_front_of("models")
            self.pages.setCurrentWidget(self.workspace)
            self.workspace.bring_up("models")
            if self.context.run.model is None:  # nothing else has anything to show
                self.workspace.toggle_maximised(dock)
            if self.models_panel is not None:
                self.models_panel.words_field.setFocus()

    def _leave_shelf(self) -> None:
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
        commands = ("open_folder", "open_file", "open_run", "show_models")
        self.filing.fill_menu(self.bar.model, [self.actions_by_name[name] for name in commands])
        if self.tensors_panel is not None:
            self.tensors_panel.show_recent([source for source in self.preferences.recent() if not is_run_file(source)])

    def show_tensors(self, source: str | None = None) -> None:
        """The tensors of a model that need not be loaded; None: of the one that was looked at last."""
        self.workspace.restore_maximised()
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.bring_up("tensors")
        if self.tensors_panel is not None and source is not None:
            self.tensors_panel.show_source(source)

    def show_panel(self, key: str) -> None:
        """In front of all others, and with the keyboard."""
        if key == "models":
            self.show_models()
            return
        self.workspace.restore_maximised()
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.bring_up(key)
        self.workspace.docks[key].take_focus()

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
        self._tell_about_settings()

    def _take_sampling_of(self, frame: ModelFrame) -> None:
        """A model's own defaults, but for what the command line has set and the seed; without any, all stays."""
        if frame.sampling is None:
            return
        self.set_sampling(sampling_of(replace(frame.sampling, seed=self.sampling.seed), self.options))
        self._show_sampling()

    def _show_sampling(self) -> None:
        for panel in self.board.panels:
            if isinstance(panel, SamplingPanel):
                panel.set_settings(self.sampling)

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
        return *own, self.projecting.undo

    def undo_one(self) -> None:
        """Undo the newest of: the help, a panel's own step, a maximised panel, an error, a picked expert, the pinned
        position."""
        if self.commanding.close_page() or self.reporting.page.leave():
            return
        if self.meter_page.isVisible():
            self.meter_page.hide()
        elif any(undo() for undo in self._undoing):
            return
        elif self.context.cursor.pinned.expert is not None:
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
        if self.ready and dropped_model(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        source = dropped_model(event.mimeData())
        if source:
            event.acceptProposedAction()
            later = partial(self.filing.open_model, source)  # the other program waits for our return
            QTimer.singleShot(0, self, later)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.projecting.resized()
        self.commanding.place()
        self.reporting.page.fit()
        self.meter_page.place()
        self.status.meter.choose()
        self.status.hidden.choose()

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802
        """Tab goes only to what is seen."""
        moved = super().focusNextPrevChild(forward)
        first = self.focusWidget()
        while moved and self.workspace.unseen(self.focusWidget()):
            moved = super().focusNextPrevChild(forward) and self.focusWidget() is not first
        return moved

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Nothing may come from the worker any more before it is stopped, and nothing on screen waits for it."""
        self._look.stop()
        self.delivery.close()
        self.turns.drop()
        self.long_work.close()
        self.attending.close()
        self.projecting.leave()
        self._keep_layout()
        self.hide()
        self.keeping.close()
        self.filming.close()
        besides = self.shelving.close(QUIT_WITHIN_S)
        self.closed_in_time = self.worker.quit() and besides
        self.keeping.leave()
        event.accept()


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


def dropped_model(data: QMimeData) -> str | None:
    """The folder, .gguf file or saved run that is dragged, or None."""
    paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    fitting = [path for path in paths if path.is_dir() or path.suffix.lower() in (".gguf", RUN_SUFFIX)]
    return str(fitting[0]) if len(fitting) == 1 else None


_IN_TURNS = (StepFrame, Where, AnswerFrame)  # what comes while a run goes on: shown a panel at a time

_RECEIVERS: dict[type, Callable] = {
    ReadyFrame: Window._engine_ready,
    ModelFrame: Window._model_ready,
    RunFrame: Window._run_began,
    BackFrame: Window._branch_moved,
    SwitchedFrame: Window._branch_moved,
    TreeFrame: Window._tree_changed,
    OpenedFrame: Window._run_opened,
    SavedFrame: Window._run_saved,
    GoesOnFrame: Window._goes_on,
    StepFrame: Window._record_moved,
    RecordUse: Window._record_moved,
    EndFrame: Window._run_ended,
    HitFrame: Window._breakpoint_hit,
    Where: Window._pass_moved,
    ProgressFrame: Window._show_progress,
    DownloadFrame: Window._download_moved,
    ShelfFrame: Window._shelf_moved,
    SearchFrame: Window._shelf_moved,
    LookFrame: Window._shelf_moved,
    DeletedFrame: Window._deleted,
    EditsFrame: Window._edits_accepted,
    ToldFrame: Window._told,
    CancelledFrame: Window._cancelled,
    ErrorFrame: Window._failed,
}
