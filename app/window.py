"""The program's window: it shows the run, and turns commands into messages for the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QMimeData, QSize, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QMenu, QStackedWidget, QVBoxLayout, QWidget

from app.board import Board
from app.command_line import DEFAULT_SIZE, Options
from app.commands import COMMANDS, Command, Situation, by_picture_key, enable, identity, make_actions, translate
from app.cursor import Cursor, Look
from app.delivery import Delivery
from app.dock import PanelDock
from app.error_bar import ErrorBar
from app.examples import Example, ExamplesError, read_examples
from app.keys_page import KeysPage
from app.layouts import Workspace
from app.mailbox import Mailbox
from app.notice_bar import NoticeBar
from app.notices import CancelledFrame, DeletedFrame, DownloadFrame, ReadyFrame, ToldFrame
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
from app.worker import QUIT_WITHIN_S, Arm, RunRequest, StepKind, Worker
from engine.checkpoint.catalog import catalog, entry
from engine.errors import EngineError
from engine.frames import (
    AnswerFrame,
    EndFrame,
    ErrorFrame,
    ModelFrame,
    OfFiles,
    ProgressFrame,
    RunFrame,
    StepFrame,
    Where,
)
from engine.settings import Sampling

LOOK_EVERY_MS = 50  # how often a running pass is asked where it stands
TEXT_STEP = 1.15
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
        self.board = Board(worker)
        self.context = Context(Run(), Cursor(), self._first_theme(), self.board.ask, unask=self.board.unask)
        self.sampling = options.sampling
        self.device, self.dtype = options.device, options.dtype  # that models are opened with
        self.activity = self.tr("starting the engine")
        self.examples: tuple[Example, ...] = ()
        self.ready = self.loading = self.requested = False
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
        self.actions_by_name = make_actions(self, self)
        self.bar = RunBar(self.actions_by_name)
        self.error_bar, self.notice_bar = ErrorBar(), NoticeBar()
        self.start_page = StartPage(known for known in catalog() if known.starter)
        self.shelving = Shelving(self.context.shelf, self.mailbox, self.preferences, self)
        self.shelving.set_dtype(self.dtype)
        self.board.add([make(self.context) for make in panels])
        self.models_panel = next((panel for panel in self.board.panels if isinstance(panel, ModelsPanel)), None)
        self.tensors_panel = next((panel for panel in self.board.panels if isinstance(panel, TensorsPanel)), None)
        self._show_sampling()
        self.workspace = Workspace([PanelDock(panel, self.context.theme) for panel in self.board.panels])
        self.pages = QStackedWidget()
        self.status = StatusBar()
        self.turns = Turns()
        self.delivery = Delivery(self.mailbox, self.receive, self._showing)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_EVERY_MS)

    def _arrange(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.bar, self.error_bar, self.notice_bar):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(self.workspace)
        self.setCentralWidget(centre)
        self.setStatusBar(self.status)
        self.keys_page = KeysPage(self)
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
        self.bar.prompt.textChanged.connect(self.refresh_commands)
        self.context.cursor.pinned_changed.connect(self.board.show_pinned)
        self.context.cursor.hover_changed.connect(self.board.show_hovered)
        self.context.cursor.readout_changed.connect(self.status.show_value)
        self._look.timeout.connect(self._ask_where)
        for dock in self.workspace.docks.values():
            dock.shown_changed.connect(partial(self.board.set_shown, dock.panel.key))
            dock.key_pressed.connect(self._press_picture_key)
            dock.failed.connect(self._show_failure)
            dock.panel.settings_changed.connect(self.set_sampling)
        page = self.start_page
        page.open_asked.connect(self.open_model)
        page.fetch_asked.connect(self.fetch)
        page.cancel_asked.connect(self.cancel_progress)
        page.folder_asked.connect(self.open_folder)
        page.file_asked.connect(self.open_file)
        page.shelf_asked.connect(self.show_models)
        self._connect_shelf()

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
        answers = newest_answers(frames)
        self.turns.take([*self.board.pieces(changed, answers), self.refresh, partial(self._announce, frames)])
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
        self.bar.show_model(frame.name, frame.has_chat_template)
        self.notice_bar.show_model(frame)
        self.bar.chat.setChecked(frame.has_chat_template and self.options.chat)
        self._take_sampling_of(frame)
        self._offer_prompt(frame)
        self.preferences.add_recent(frame.source)
        self._tell_about_settings()
        self._fill_model_menu()
        self.start_page.show_recent(self.preferences.recent())
        self._leave_shelf()
        self.bar.prompt.setFocus()

    def _offer_prompt(self, frame: ModelFrame) -> None:
        """The program's own model opens with a prompt that suits it, unless there is one."""
        known = entry(frame.source)
        if known is not None and known.built_in and self.options.prompt is None and self.examples:
            self.bar.prompt.offer(self.examples[0].text)

    def _run_began(self, frame: RunFrame) -> None:
        self.requested = False
        self.board.mark()
        self.context.cursor.follow()

    def _run_ended(self, frame: EndFrame) -> None:
        self.activity = self.tr("ended: {0}").format(frame.reason)
        self.board.mark()

    def _pass_moved(self, frame: Where) -> None:
        if frame.state == "paused":
            self.board.mark()

    def _show_progress(self, frame: ProgressFrame) -> None:
        self.activity = progress_text(frame)
        self.start_page.show_progress(frame)

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
        self.activity = self.tr("cancelled")
        self.start_page.show_progress(None)

    def _failed(self, frame: ErrorFrame) -> None:
        if frame.task == "load":
            self.loading = False
        if frame.task == "run":
            self.requested = False
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
            has_experts=self.context.run.has_experts,
            loading=self.loading,
            has_examples=bool(self.examples),
            state="idle" if not self.active else "paused" if paused else "running",
        )

    def refresh(self) -> None:
        """Commands, status bar and start page, after anything changed."""
        self.refresh_commands()
        self.status.show_run(self.context.run, self.activity)
        self.start_page.show_engine(self.activity, self.ready)
        if self.active != self._look.isActive():
            (self._look.start if self.active else self._look.stop)()

    def refresh_commands(self) -> None:
        now = self.situation()
        enable(self.actions_by_name, now)
        self.actions_by_name["run"].setText(self.tr("&Continue") if now.state == "paused" else self.tr("&Run"))
        for name, chosen in (("use_layout", self.workspace.layout_name), ("use_theme", self.context.theme.name)):
            for command in COMMANDS:
                if command.name == name:
                    self.actions_by_name[identity(command)].setChecked(command.argument == chosen)

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
        self.worker.load(source, self.device, self.dtype)
        self.refresh()

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
        for name in ("open_folder", "open_file", "show_models"):
            menu.addAction(self.actions_by_name[name])
        self.bar.model.setMenu(menu)
        if self.tensors_panel is not None:
            self.tensors_panel.show_recent(self.preferences.recent())

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
            self.run_prompt()

    def run_prompt(self, armed: Arm | None = None) -> None:
        """Begin a new run of the prompt in the field, whatever is under way."""
        if not self.situation().can_run:
            return
        self.requested = True
        self.activity = self.tr("reading the prompt")
        text, chat = self.bar.prompt.toPlainText(), self.bar.chat.isChecked()
        self.worker.run(RunRequest(text, self.sampling, self.bar.tokens.value(), chat, armed))
        self.refresh()

    def pause(self) -> None:
        """Stop inside the pass, or go on."""
        (self.worker.resume if self.situation().state == "paused" else self.worker.pause)()

    def step_layer(self) -> None:
        self._step("layer")

    def step_stage(self) -> None:
        self._step("stage")

    def step_token(self) -> None:
        self._step("token")

    def _step(self, kind: StepKind) -> None:
        """A step while nothing runs begins a run that stops there."""
        if self.active:
            self.worker.step(kind)
        else:
            self.run_prompt(kind)

    def stop(self) -> None:
        self.requested = False
        self.worker.stop()
        self.refresh()

    def set_sampling(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.worker.set_sampling(sampling)

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

    def previous_position(self) -> None:
        self._move_position(-1)

    def next_position(self) -> None:
        self._move_position(+1)

    def _move_position(self, by: int) -> None:
        """Past the newest token, the pin follows the newest again."""
        newest = self.context.run.n_tokens - 1
        pinned = self.context.cursor.pinned.position
        target = max(0, (newest if pinned is None else pinned) + by)
        self.context.cursor.pin(position=target if target <= newest else None)

    def previous_layer(self) -> None:
        self._move_layer(-1)

    def next_layer(self) -> None:
        self._move_layer(+1)

    def _move_layer(self, by: int) -> None:
        if self.context.run.model is not None:
            last = self.context.run.model.n_layers - 1
            self.context.cursor.pin(layer=min(last, max(0, self.context.cursor.pinned.layer + by)))

    def follow(self) -> None:
        self.context.cursor.follow()

    def undo_one(self) -> None:
        """Undo the newest of: the help, a maximised panel, an error, a picked expert, the pinned position."""
        if self.keys_page.isVisible():
            self.keys_page.hide()
        elif self.workspace.restore_maximised() or self._dismiss_error():
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
        for panel in self.board.panels:
            if isinstance(panel, TokenStrip):
                panel.by_expert.toggle()

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
        parts: tuple[Styled, ...] = (self.bar, self.error_bar, self.notice_bar, self.start_page, self.keys_page)
        for part in (*parts, *self.workspace.docks.values()):
            part.restyle(theme)
        self.board.restyle()
        self.refresh_commands()

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
        if isinstance(frame, ModelFrame | RunFrame):
            answers = [answer for answer in answers if isinstance(answer.answer, OfFiles)]
        elif isinstance(frame, AnswerFrame):
            answers.append(frame)
    return answers


def dropped_model(data: QMimeData) -> str | None:
    """The folder or .gguf file that is dragged, or None."""
    paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    fitting = [path for path in paths if path.is_dir() or path.suffix.lower() == ".gguf"]
    return str(fitting[0]) if len(fitting) == 1 else None


_IN_TURNS = (StepFrame, Where, AnswerFrame)  # what comes while a run goes on: shown a panel at a time

_RECEIVERS: dict[type, Callable] = {
    ReadyFrame: Window._engine_ready,
    ModelFrame: Window._model_ready,
    RunFrame: Window._run_began,
    EndFrame: Window._run_ended,
    Where: Window._pass_moved,
    ProgressFrame: Window._show_progress,
    DownloadFrame: Window._download_moved,
    ShelfFrame: Window._shelf_moved,
    SearchFrame: Window._shelf_moved,
    LookFrame: Window._shelf_moved,
    DeletedFrame: Window._deleted,
    ToldFrame: Window._told,
    CancelledFrame: Window._cancelled,
    ErrorFrame: Window._failed,
}
