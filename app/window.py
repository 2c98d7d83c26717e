"""The program's window: it shows the run, and turns commands into messages for the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QMimeData, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QMenu, QStackedWidget, QVBoxLayout, QWidget

from app.accounts import Accounts
from app.board import Board
from app.branching import Branching
from app.command_line import DEFAULT_SIZE, RUN_SUFFIX, Options, is_run_file
from app.commands import (
    COMMANDS,
    Command,
    Situation,
    by_picture_key,
    described,
    enable,
    identity,
    make_actions,
    translate,
)
from app.cost_words import badge_text, summary
from app.cursor import Cursor, Look
from app.debugging import Debugging
from app.delivery import Delivery
from app.dock import PanelDock
from app.editing import Editing
from app.error_bar import ErrorBar
from app.examples import Example, ExamplesError, read_examples
from app.export import png_bytes
from app.going import Going
from app.hit_bar import HitBar
from app.keys_page import KeysPage
from app.layouts import Workspace
from app.ledger import Ledger
from app.mailbox import Mailbox
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
from app.panels.activations import ActivationsPanel
from app.panels.edits import EditsPanel
from app.panels.models import ModelsPanel
from app.panels.panel import Context, Panel
from app.panels.sampling import SamplingPanel
from app.panels.tensors import TensorsPanel
from app.panels.token_strip import TokenStrip
from app.preferences import LEAST_POINTS, MOST_POINTS, NORMAL_POINTS, Preferences
from app.run import Run
from app.run_bar import RunBar
from app.shelf import LookFrame, SearchFrame, ShelfFrame
from app.shelving import Shelving
from app.start_page import StartPage, progress_text
from app.status import StatusBar
from app.theme import THEMES, Theme, apply, icon
from app.turns import Turns
from app.widgets.amounts import bytes_text
from app.widgets.compare_bar import CompareBar
from app.widgets.meter_page import MeterPage
from app.worker import QUIT_WITHIN_S, Arm, OpenRequest, RunRequest, Worker
from engine.breakpoints import HitFrame
from engine.checkpoint.catalog import catalog, entry
from engine.errors import EngineError
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
from engine.run_file_facts import with_suffix
from engine.settings import Record, Sampling

LOOK_EVERY_MS = 50  # how often a running pass is asked where it stands
TEXT_STEP = 1.15
THUMBNAIL_WIDTH = 480  # pixels of the picture of the window in a saved run
NEEDS_MODEL = ("run", "go_on", "step_layer", "step_stage", "step_token")
LEAST_SIZE = QSize(960, 600)


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
    ) -> None:
        super().__init__()
        self.worker, self.mailbox, self.preferences, self.options = worker, mailbox, preferences, options
        self.ledger = Ledger()
        self.board = Board(worker, self.ledger.turn_to)
        self.context = Context(Run(), Cursor(), self._first_theme(), self.board.ask, unask=self.board.unask)
        self.sampling, self.record = options.sampling, self._first_record()
        self.device, self.dtype = options.device, options.dtype  # that models are opened with
        self.activity = self.tr("starting the engine")
        self.examples: tuple[Example, ...] = ()
        self.ready = self.loading = self.requested = False
        self.opened: OpenedFrame | None = None  # the file that the run came from
        self._arriving: OpenedFrame | None = None  # its model, tokens and steps are on their way
        self.saving = self._from_file = False
        self._run_of_save: object = None
        self._missing_said = ""
        self._before_shelf = ""  # the panel in whose place the shelf is
        self.closed_in_time = True
        self._make_parts(panels)
        self._arrange()
        self._connect()
        self.restyle()
        self._first_geometry()
        self._first_examples()
        self._tell_about_settings()
        self.refresh()

    # ---- building --------------------------------------------------------------------------------------------

    def _make_parts(self, panels: Iterable[Callable[[Context], Panel]]) -> None:
        self.error_bar, self.notice_bar, self.compare_bar = ErrorBar(), NoticeBar(), CompareBar()
        self.start_page = StartPage(known for known in catalog() if known.starter)
        self.shelving = Shelving(self.context.shelf, self.mailbox, self.preferences, self)
        self.shelving.set_dtype(self.dtype)
        self.board.add([make(self.context) for make in panels])
        self.models_panel = next((panel for panel in self.board.panels if isinstance(panel, ModelsPanel)), None)
        self.tensors_panel = next((panel for panel in self.board.panels if isinstance(panel, TensorsPanel)), None)
        points = next((panel for panel in self.board.panels if isinstance(panel, ActivationsPanel)), None)
        self.strip = next((panel for panel in self.board.panels if isinstance(panel, TokenStrip)), None)
        self.workspace = Workspace([PanelDock(panel, self.context.theme) for panel in self.board.panels])
        self.going = Going(self.context, self.workspace, points, self)
        edits = next((panel for panel in self.board.panels if isinstance(panel, EditsPanel)), None)
        self.editing = Editing(self.context, self.worker, self.workspace, edits, lambda: self.sampling, self)
        self.branching = Branching(self.context, self.worker, self.board, self.workspace, self)
        self.debugging = Debugging(
            self.context, self.worker, self.workspace, self.preferences, self.begin, lambda: self.active, self
        )
        handlers = (self, self.going, self.debugging, self.branching, self.editing)
        self.actions_by_name = make_actions(self, *handlers)
        self.bar = RunBar(self.actions_by_name)
        self.hit_bar = HitBar(self.context.breaks, self.actions_by_name)
        self._show_sampling()
        self.pages = QStackedWidget()
        self.status = StatusBar()
        self.turns = Turns()
        self.accounts = Accounts(self.ledger, self.board)
        self.delivery = Delivery(self.mailbox, self.receive, self._showing, self.ledger)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_EVERY_MS)

    def _arrange(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.bar, self.error_bar, self.notice_bar, self.hit_bar, self.compare_bar):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(self.workspace)
        self.setCentralWidget(centre)
        self.setStatusBar(self.status)
        self.keys_page = KeysPage(self)
        self.meter_page = MeterPage(
            self, {**{panel.key: panel.title() for panel in self.board.panels}, "save": self.tr("saving the run")}
        )
        self._fill_menus()
        self.setAcceptDrops(True)
        self.setWindowTitle("Fluoroscope")
        self.setMinimumSize(LEAST_SIZE)

    def _fill_menus(self) -> None:
        menus = {title: self.menuBar().addMenu(translate(title)) for title in dict.fromkeys(c.menu for c in COMMANDS)}
        for command in COMMANDS:
            menus[command.menu].addAction(self.actions_by_name[identity(command)])
        menus["&View"].addSeparator()
        for dock in self.workspace.docks.values():
            menus["&View"].addAction(dock.toggleViewAction())

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
        self.bar.speed.chosen.connect(self.debugging.set_speed)
        self.debugging.pace_changed.connect(self.bar.speed.show_speed)
        self._look.timeout.connect(self._ask_where)
        for dock in self.workspace.docks.values():
            dock.shown_changed.connect(partial(self.board.set_shown, dock.panel.key))
            dock.key_pressed.connect(self._press_picture_key)
            dock.failed.connect(self._show_failure)
            dock.panel.settings_changed.connect(self.set_sampling)
            dock.panel.stage_opened.connect(self.going.show_stage)
            dock.panel.stage_asked.connect(self._do_at_stage)
        page = self.start_page
        page.open_asked.connect(self.open_model)
        page.fetch_asked.connect(self.fetch)
        page.cancel_asked.connect(self.cancel_progress)
        page.folder_asked.connect(self.open_folder)
        page.file_asked.connect(self.open_file)
        page.run_asked.connect(self.open_run)
        page.shelf_asked.connect(self.show_models)
        self._connect_record()
        self._connect_shelf()

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
        shelving.open_asked.connect(self.open_model)
        shelving.inside_asked.connect(self.show_tensors)
        shelving.failed.connect(self.error_bar.show_error)
        shelving.changed.connect(self._show_shelf)
        shelving.device_chosen.connect(self._use_device)
        if panel is not None:
            panel.asked.connect(shelving.do)
            panel.query_changed.connect(shelving.judge_by)
            panel.looked.connect(shelving.look_closer)
            self.workspace.docks[panel.key].shown_changed.connect(self._shelf_shown)

    def _first_theme(self) -> Theme:
        return THEMES.get(self.options.theme or self.preferences.theme(), THEMES["dark"])

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
        kept = None if self.options.layout else self.preferences.layout()
        if kept is None or not self.workspace.restore(*kept):
            self.workspace.arrange(self.options.layout or "focus")
        if self.options.panel is not None:
            self.workspace.bring_up(self.options.panel)

    def _first_examples(self) -> None:
        try:
            self.examples = read_examples()
        except ExamplesError as error:
            self.error_bar.show_error(ErrorFrame("examples", str(error)))
        self.bar.show_examples(self.examples)

    def _tell_about_settings(self) -> None:
        """Once; the program goes on without them."""
        complaint = self.preferences.complaint()
        if complaint is not None:
            self.notice_bar.say(complaint)

    # ---- frames ----------------------------------------------------------------------------------------------

    def receive(self, frames: list[object]) -> None:
        """Take in what the worker posted; panels are told once for all of it."""
        self.turns.finish()
        changed = False
        for frame in frames:
            changed |= self._absorb(frame)
            receiver = _RECEIVERS.get(type(frame))
            if receiver is not None:
                receiver(self, frame)
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
        self.shelving.set_accelerators(frame.accelerators, self.device)
        if self.models_panel is not None:
            self.models_panel.set_ready(True)
        if self.options.model is not None:
            self.open_model(self.options.model)
        self.look_in_cache()

    def _model_ready(self, frame: ModelFrame) -> None:
        self.loading = self.requested = False
        self.activity = self.tr("ready")
        self.board.forget()
        self.context.cursor.reset(Look())
        self.start_page.show_progress(None)
        self.opened, self._arriving = self._arriving, None
        self.editing.take_model(frame)
        self._forget_hits()
        self.branching.follow(frame)
        self.bar.show_model(frame.name, frame.has_chat_template)
        self.notice_bar.show_model(frame if self.opened is None else self._without_model(frame, self.opened))
        if self.opened is None:
            self.bar.chat.setChecked(frame.has_chat_template and self.options.chat)
            self._take_sampling_of(frame)
            self._offer_prompt(frame)
        else:
            self._take_file(frame, self.opened)
        self._show_title()
        if self.opened is None or not self.opened.why:
            self.preferences.add_recent(frame.source)
        if self.opened is not None:
            self.preferences.add_recent(self.opened.path)
        self._tell_about_settings()
        self._fill_model_menu()
        self.start_page.show_recent(self.preferences.recent())
        self._leave_shelf()
        self.bar.prompt.setFocus()

    def _run_opened(self, frame: OpenedFrame) -> None:
        """A saved run comes: its model first."""
        self._arriving, self._from_file = frame, True

    def _take_file(self, model: ModelFrame, opened: OpenedFrame) -> None:
        """A saved run has settings of its own."""
        self.bar.chat.setChecked(model.has_chat_template and opened.chat)
        self.set_sampling(opened.sampling)
        self._show_sampling()

    def _without_model(self, model: ModelFrame, opened: OpenedFrame) -> ModelFrame:
        """What is said of a model, or of its absence."""
        if not opened.why:
            return model
        rest = self.tr("This run is open without its model, so it shows what was recorded. {0}").format(opened.why)
        return replace(model, source=opened.path, warnings=(rest,))

    def _show_title(self) -> None:
        """The file of the run, where it has one; whether passes are edited."""
        name = "" if self.opened is None else f"{Path(self.opened.path).name} — "
        edited = self.tr("edited — ") if self.context.tray.on else ""
        self.setWindowTitle(f"{edited}{name}Fluoroscope")

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
        self._forget_hits()
        self.context.cursor.say("")  # what was said of the run before
        self.branching.follow(frame)
        self.board.mark()
        self.context.cursor.follow()
        if self._coming_from_file(frame):
            self._show_prompt(frame)
        else:
            self.opened = None  # a run of its own now
            self._show_title()

    def _coming_from_file(self, frame: RunFrame) -> bool:
        """Whether this run is the one of the file that has just been opened, and not a new one."""
        came, self._from_file = self._from_file, False
        return came

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
        self.activity = self.tr("ended: {0}").format(frame.reason)
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
        self.activity = progress_text(frame)
        if frame.task != "save":
            self.start_page.show_progress(frame)

    def _run_saved(self, frame: SavedFrame) -> None:
        self.saving = False
        path = Path(frame.path)
        self.activity = self.tr("saved {0}, {1}").format(path.name, bytes_text(frame.size))
        self.preferences.add_recent(frame.path)
        if self._run_of_save is self.context.run.steps:  # and not one that was begun meanwhile
            known = self.opened or OpenedFrame(frame.path, "", self.sampling, False)
            self.opened = replace(known, path=frame.path)
            self._show_title()
        self._fill_model_menu()

    def _download_moved(self, frame: DownloadFrame) -> None:
        awaited = frame.source == self.shelving.awaited
        self.context.shelf.absorb(frame)
        self.shelving.moved(frame)
        self._show_shelf()
        if awaited:
            self._awaited_moved(frame)
        if frame.state in ("done", "paused", "cancelled"):
            states = {"done": frame.text, "paused": self.tr("paused"), "cancelled": self.tr("cancelled")}
            self.activity = self.tr("download of {0}: {1}").format(frame.source, states[frame.state])
            self.look_in_cache()
        if frame.state == "failed" and not frame.needs_token:
            self._failed(ErrorFrame("fetch", frame.sentence, frame.details))

    def _awaited_moved(self, frame: DownloadFrame) -> None:
        """The start page follows the download whose model will be opened."""
        if frame.state == "waiting":
            self._show_progress(ProgressFrame("fetch", self.tr("waiting for other downloads"), frame.done, frame.total))
        elif frame.state == "running":
            self._show_progress(ProgressFrame("fetch", frame.text or self.activity, frame.done, frame.total))
        else:
            self.start_page.show_progress(None)

    def _shelf_moved(self, frame: ShelfFrame | SearchFrame | LookFrame) -> None:
        self.context.shelf.absorb(frame)
        self._show_shelf()

    def _edits_accepted(self, frame: EditsFrame) -> None:
        self.editing.take_accepted(frame.edits)

    def _deleted(self, frame: DeletedFrame) -> None:
        self.activity = self.tr("{0} was deleted, {1} are free again").format(frame.title, bytes_text(frame.freed))
        self.look_in_cache()
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

    def _use_device(self, device: str, dtype: str) -> None:
        self.device, self.dtype = device, dtype

    def _cancelled(self, frame: CancelledFrame) -> None:
        self.loading = self.loading and frame.task != "load"
        self.saving = self.saving and frame.task != "save"
        self.activity = self.tr("cancelled")
        self.start_page.show_progress(None)

    def _failed(self, frame: ErrorFrame) -> None:
        if frame.task == "load":
            self.loading = False
        if frame.task == "run":
            self.requested = False
        if frame.task == "back":
            self.branching.follow(frame)
        if frame.task == "edit":
            self.editing.take_refusal()
        if frame.task == "save":
            self.saving = False
            self.activity = self.tr("the run was not saved")
        if frame.task in ("load", "fetch", "start"):
            self.activity = self.tr("ready") if self.ready else self.tr("the engine could not be started")
            self.start_page.show_progress(None)
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
    def complete(self) -> bool:
        """Whether nothing that is on screen waits for an answer."""
        panel = self.models_panel
        reading = panel is not None and self.workspace.docks[panel.key].shown and not self.context.shelf.complete
        return self.board.complete and not reading

    def situation(self) -> Situation:
        paused = self.context.run.where.state == "paused" and not self.requested
        return Situation(
            ready=self.ready,
            has_model=self.context.run.model is not None,
            has_tokens=self.context.run.n_tokens > 0,
            has_run=bool(self.context.run.steps),
            has_experts=self.context.run.has_experts,
            loading=self.loading,
            has_examples=bool(self.examples),
            missing="" if self.opened is None else self.opened.why,
            filing=self.saving or self.loading,
            comparing=self.context.comparison.complete,
            stands=self.branching.stands,
            edits=len(self.context.tray.edits),
            can_undo=self.context.tray.can_undo,
            can_redo=self.context.tray.can_redo,
            state="idle" if not self.active else "paused" if paused else "running",
        )

    def refresh(self) -> None:
        """Commands, status bar and start page, after anything changed."""
        self.refresh_commands()
        self.status.show_run(self.context.run, self.activity)
        self.start_page.show_engine(self.activity, self.ready)
        self._account()
        if self.active != self._look.isActive():
            (self._look.start if self.active else self._look.stop)()

    def _account(self) -> None:
        """What watching costs, and pictures with less detail while the window is behind."""
        if not self.accounts.look(self.context.run.steps, self.situation().state):
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
        enable(self.actions_by_name, now)
        self._say_what_is_missing(now.missing)
        self.actions_by_name["run"].setText(self.tr("&Continue") if now.goes_on else self.tr("&Run"))
        for name, chosen in (("use_layout", self.workspace.layout_name), ("use_theme", self.context.theme.name)):
            for command in COMMANDS:
                if command.name == name:
                    self.actions_by_name[identity(command)].setChecked(command.argument == chosen)

    def _say_what_is_missing(self, sentence: str) -> None:
        """Why nothing can be run, on what would run it."""
        if sentence == self._missing_said:
            return
        self._missing_said = sentence
        for command in COMMANDS:
            if command.name in NEEDS_MODEL:
                action = self.actions_by_name[identity(command)]
                action.setToolTip(sentence or described(command))
                action.setStatusTip(sentence or translate(command.help))

    # ---- commands: the model ---------------------------------------------------------------------------------

    def open_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.tr("Open a folder with a model"))
        if folder:
            self.open_model(folder)

    def open_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self.tr("Open a GGUF file"), "", "GGUF (*.gguf)")
        if name:
            self.open_model(name)

    def open_model(self, source: str) -> None:
        """Load a model; the present one stays until the new one is there. None that is still coming takes its place."""
        if self.shelving.awaited:
            self.shelving.await_none()
            self.start_page.show_progress(None)
        self.loading = True
        self.activity = self.tr("opening {0}").format(source)
        if is_run_file(source):
            others = tuple(other for other in self.preferences.recent() if not is_run_file(other))
            self.worker.open_run(OpenRequest(Path(source), others, self.device))
        else:
            self.worker.load(source, self.device, self.dtype)
        self.refresh()

    def open_run(self) -> None:
        """Ask for a saved run and open it."""
        title, kinds = self.tr("Open a run"), self.tr("Runs ({0})").format(f"*{RUN_SUFFIX}")
        name, _ = QFileDialog.getOpenFileName(self, title, self.preferences.run_folder(), kinds)
        if name:
            self.preferences.set_run_folder(str(Path(name).parent))
            self.open_model(name)

    def save_run(self) -> None:
        """Ask for a file and save the run up to its last finished step; it may go on meanwhile."""
        suggestion = self.opened.path if self.opened is not None else self._suggested_name()
        title, kinds = self.tr("Save the run"), self.tr("Runs ({0})").format(f"*{RUN_SUFFIX}")
        name, _ = QFileDialog.getSaveFileName(self, title, suggestion, kinds)
        if name:
            self.preferences.set_run_folder(str(Path(name).parent))
            self.save_run_as(with_suffix(Path(name)))

    def save_run_as(self, path: Path) -> None:
        self.saving, self._run_of_save = True, self.context.run.steps  # a list of its own for every run
        self.activity = self.tr("saving {0}").format(path.name)
        picture = self.grab().toImage()
        smooth = Qt.TransformationMode.SmoothTransformation
        self.worker.save_run(path, png_bytes(picture.scaledToWidth(THUMBNAIL_WIDTH, smooth)))
        self.refresh()

    def cancel_file(self) -> None:
        """Give up saving and opening; what was there before is still there."""
        self.worker.cancel_save()
        self.cancel_progress()

    def _suggested_name(self) -> str:
        model = self.context.run.model
        name = "run" if model is None else "".join(c if c.isalnum() or c in "-_." else "-" for c in model.name)
        return str(Path(self.preferences.run_folder(), f"{name}{RUN_SUFFIX}"))

    def fetch(self, name: str) -> None:
        """Download a model of the catalog or the hub, then open it."""
        self.activity = self.tr("asking for {0}").format(name)
        self.start_page.show_progress(ProgressFrame("fetch", self.activity, 0, 0))
        self.shelving.download(name, then_open=True)
        self.refresh()

    def cancel_progress(self) -> None:
        if self.shelving.awaited:
            self.shelving.stop_awaited()
            self.start_page.show_progress(None)
        self.worker.cancel_load()

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
        has_model = self.context.run.model is not None
        self.pages.setCurrentWidget(self.workspace if has_model else self.start_page)

    def look_in_cache(self) -> None:
        """Which models need no download any more; the user is told where there can be no cache."""
        from engine.checkpoint.shelf import cached  # with it comes what downloads: not before the first window

        try:
            self.start_page.show_cached([known.name for known in catalog() if cached(known.name) is not None])
        except EngineError as error:
            self.error_bar.show_error(ErrorFrame("cache", str(error)))

    def _fill_model_menu(self) -> None:
        before = self.bar.model.menu()
        if before is not None:
            before.deleteLater()
        menu = QMenu(self.bar.model)
        for source in self.preferences.recent():
            menu.addAction(source, partial(self.open_model, source))
        menu.addSeparator()
        for name in ("open_folder", "open_file", "open_run", "show_models"):
            menu.addAction(self.actions_by_name[name])
        self.bar.model.setMenu(menu)
        if self.tensors_panel is not None:
            self.tensors_panel.show_recent([source for source in self.preferences.recent() if not is_run_file(source)])

    def show_tensors(self, source: str | None = None) -> None:
        """The tensors of a model that need not be loaded; None: of the one that was looked at last."""
        self.workspace.restore_maximised()
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.bring_up("tensors")
        if self.tensors_panel is not None and source is not None:
            self.tensors_panel.show_source(source)

    # ---- commands: the run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Go on after a pause, otherwise begin."""
        if self.situation().state == "paused":
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
        (self.worker.resume if self.situation().state == "paused" else self.worker.pause)()

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
        given = {name: getattr(self.options.sampling, name) for name in self.options.sampling_given}
        self.set_sampling(replace(frame.sampling, **{"seed": self.sampling.seed, **given}))
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

    def undo_one(self) -> None:
        """Undo the newest of: the help, a panel's own step, a maximised panel, an error, a picked expert, the pinned
        position."""
        if self.keys_page.isVisible():
            self.keys_page.hide()
        elif self.meter_page.isVisible():
            self.meter_page.hide()
        elif self.board.undo() or self.workspace.restore_maximised() or self._dismiss_error():
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

    def use_layout(self, name: str) -> None:
        self.workspace.arrange(name)
        self.refresh_commands()

    def reset_layout(self) -> None:
        self.workspace.arrange("focus")
        self.refresh_commands()

    def maximise(self) -> None:
        dock = self.workspace.maximised or self.workspace.focused()
        if dock is not None:
            self.workspace.toggle_maximised(dock)

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

    def use_theme(self, name: str) -> None:
        self.context.theme = THEMES[name]
        self.preferences.set_theme(name)
        self.restyle()

    def larger_text(self) -> None:
        self._set_points(self.points * TEXT_STEP)

    def smaller_text(self) -> None:
        self._set_points(self.points / TEXT_STEP)

    def normal_text(self) -> None:
        self._set_points(NORMAL_POINTS)

    @property
    def points(self) -> float:
        """Size of the text now."""
        return QApplication.font().pointSizeF()

    def _set_points(self, points: float) -> None:
        points = min(MOST_POINTS, max(LEAST_POINTS, points))
        self.preferences.set_points(points)
        self.restyle(points)

    def restyle(self, points: float | None = None) -> None:
        """The theme and text size everywhere."""
        theme, application = self.context.theme, QApplication.instance()
        assert isinstance(application, QApplication), "a window needs an application"
        apply(theme, application, points or self.preferences.points())
        for command in COMMANDS:
            if command.icon:
                self.actions_by_name[identity(command)].setIcon(icon(command.icon, theme))
        bars: tuple[Styled, ...] = (self.bar, self.error_bar, self.notice_bar, self.hit_bar, self.compare_bar)
        for part in (*bars, self.start_page, self.keys_page, self.meter_page, *self.workspace.docks.values()):
            part.restyle(theme)
        self.board.restyle()
        self.refresh_commands()

    def show_cost(self) -> None:
        """The table of what watching costs; the same command closes it."""
        self.meter_page.toggle()
        self.meter_page.show_figures(self.accounts.figures)

    def show_keys(self) -> None:
        self.keys_page.toggle()

    def _press_picture_key(self, key: str) -> None:
        command: Command | None = by_picture_key(key)
        if command is not None:
            self.actions_by_name[identity(command)].trigger()

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
            QTimer.singleShot(0, self, partial(self.open_model, source))  # the other program waits for our return

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.keys_page.place()
        self.meter_page.place()
        self.status.meter.choose()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Nothing may come from the worker any more before it is stopped, and nothing on screen waits for it."""
        self._look.stop()
        self.delivery.close()
        self.turns.drop()
        self.preferences.set_geometry(self.saveGeometry())
        self.preferences.set_layout(self.workspace.layout_name, self.workspace.save())
        self.hide()
        besides = self.shelving.close(QUIT_WITHIN_S)
        self.closed_in_time = self.worker.quit() and besides
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
