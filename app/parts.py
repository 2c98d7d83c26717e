"""What the window is made of: every part, who knows whom, how they stand one above the other, and how they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from PySide6.QtCore import QObject, QSize
from PySide6.QtWidgets import QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.accounts import Accounts
from app.arranging import Arranging
from app.attending import Attending
from app.beginning import Beginning
from app.board import Board
from app.branching import Branching
from app.command_line import DEFAULT_SIZE, Options
from app.commanding import Commanding
from app.commands import WINDOW, Situation, make_actions
from app.cursor import Cursor
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
from app.long_work import LongWork
from app.looks import Looks
from app.mailbox import Mailbox
from app.menus import fill_bar
from app.notice_bar import NoticeBar
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
from app.restarting import Restarting
from app.run import Run
from app.run_bar import RunBar
from app.shelving import Shelving
from app.slot import Slot
from app.speaking import Speaking
from app.start_page import StartPage
from app.status import StatusBar
from app.taking import Taking
from app.theme import DARK
from app.turns import Turns
from app.waiting import Cancels, Waiting
from app.widgets.compare_bar import CompareBar
from app.widgets.focus_ring import FocusRing
from app.widgets.meter_page import MeterPage
from app.worker import Arm, Worker
from engine.checkpoint.catalog import catalog
from engine.frames import ErrorFrame
from engine.settings import Record

LEAST_SIZE = QSize(840, 480)


class Parts(QMainWindow):
    """The window before its parts are connected."""

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
        self.closed_in_time = True
        self._make_panels(panels)
        self._make_coordinators(None if beginning is None else beginning.slot)
        self._make_bars()
        self._make_keeping(beginning)
        self._arrange()

    # ---- what the parts ask of the window ------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        raise NotImplementedError

    def situation(self) -> Situation:
        raise NotImplementedError

    def receive(self, frames: list[object]) -> None:
        raise NotImplementedError

    def begin(self, armed: Arm | None = None) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def show_panel(self, key: str) -> None:
        raise NotImplementedError

    # ---- making ------------------------------------------------------------------------------------------------

    def _make_panels(self, panels: Iterable[Callable[[Context], Panel]]) -> None:
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
        self.strip = self.board.find(TokenStrip)
        self.workspace = Workspace([PanelDock(panel, self.context.theme) for panel in self.board.panels])

    def _make_coordinators(self, slot: Slot | None) -> None:
        """Each has commands, and does what belongs to them."""
        self.arranging = Arranging(self.workspace, self.preferences, self)
        points, edits = self.board.find(ActivationsPanel), self.board.find(EditsPanel)
        self.going = Going(self.context, self.workspace, points, self)
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
        self.filming = Filming(self.context, self.preferences, self, None if slot is None else slot.folder)
        self.explaining = Explaining(self.context, self.board, self.workspace, self.preferences, self.show_panel, self)
        self.speaking = Speaking(
            self.preferences, language_of(self.options.language or self.preferences.language()), self
        )
        self.reporting = Reporting(
            self.context,
            None if slot is None else slot.log,
            lambda: self.sampling,
            self._settings,
            lambda: self.bar.prompt.toPlainText(),
            self,
        )
        self.commanding.add_page(self.reporting.page)
        self.resetting = Resetting(self.preferences, self)

    @property
    def _coordinators(self) -> tuple[QObject, ...]:
        return (
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

    def _make_bars(self) -> None:
        self.actions_by_name = make_actions(self, self, *self._coordinators)
        self.commanding.take_actions(self.actions_by_name)
        self.bar = RunBar(self.actions_by_name)
        self.hit_bar = HitBar(self.context.breaks, self.actions_by_name)
        self.show_sampling()
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
        self.delivery = Delivery(self.mailbox, self.receive, lambda: self.turns.waiting, self.ledger)

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
        self.restarting = Restarting(
            self.keeping, self.long_work, self._present_options, lambda: self.active, self.stop, self
        )

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
        self.commanding.add_page(self.meter_page)
        self._fill_menus()
        self.projecting.chrome = (self.menuBar(), self.bar, self.status)
        self.projecting.prompt_bar = self.bar
        self.setAcceptDrops(True)
        self.setMinimumSize(LEAST_SIZE)

    def _fill_menus(self) -> None:
        menu = fill_bar(self.menuBar(), self.actions_by_name)[WINDOW]
        menu.addMenu(self.arranging.menu)
        menu.addMenu(self.restarting.menu)
        panels = menu.addMenu(self.tr("Panels sho&wn"))
        for dock in self.workspace.docks.values():
            panels.addAction(dock.toggleViewAction())

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
        self.arranging.begin(self.options.layout, self.options.panel)

    def _fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        room = self.screen().availableSize()
        return min(size[0], room.width()), min(size[1], room.height())

    def _first_examples(self) -> None:
        try:
            self.examples = read_examples()
        except ExamplesError as error:
            self.error_bar.show_error(ErrorFrame("examples", str(error)))
        self.bar.show_examples(self.examples)
        if self.explaining.complaint():
            self.error_bar.show_error(ErrorFrame("explanations", self.explaining.complaint()))

    def show_sampling(self) -> None:
        panel = self.board.find(SamplingPanel)
        if panel is not None:
            panel.set_settings(self.sampling)

    def _present_options(self) -> Options:
        """Those of the command line, as they are by now."""
        options = self.options
        if self.looks.chosen != options.theme:  # what was chosen since is among the settings
            options = replace(options, theme=None)
        if self.record != self._first_record():
            options = replace(options, record_memory=None, record_beyond=None)
        device, dtype = self.filing.device, self.filing.dtype
        return replace(options, device=device, dtype=dtype, projector=self.projecting.on)

    def _keep_layout(self) -> None:
        self.preferences.set_geometry(self.saveGeometry())
        self.arranging.keep()

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
