"""The audience: its window with chosen panels, on a screen of its own where there is one; the presenter's page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import strftime

from PySide6.QtCore import QObject, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QScreen, QShortcut
from PySide6.QtWidgets import QApplication, QMainWindow

from app.audience_window import SIZE, AudienceWindow
from app.board import Board
from app.dock import PanelDock
from app.layouts import Workspace
from app.looks import Looks
from app.panels.panel import Context
from app.preferences import Preferences
from app.presenter_notes import GENERAL, PresenterNotes, key_of
from app.presenter_page import PresenterPage
from app.projecting import CLICKER, Projecting
from app.run import Run, visible, whole_text
from app.theme import Theme
from app.widgets.frozen_chip import FrozenChip

FIRST = ("strip", "attention")  # what the audience sees at the first start
MOST_SHOWN = 40  # letters of a prompt
SETTLE_AFTER_MS = 200  # after something moved, each panel gets the room that it needs now


class Attending(QObject):
    """``show_audience``, ``freeze_audience``, ``show_presenter`` are the commands of these names."""

    changed = Signal()  # there is an audience now, or none

    def __init__(
        self,
        window: QMainWindow,
        context: Context,
        looks: Looks,
        workspace: Workspace,
        board: Board,
        preferences: Preferences,
        projecting: Projecting,
    ) -> None:
        super().__init__(window)
        self._window, self._context, self._looks, self._workspace = window, context, looks, workspace
        self._board, self._preferences, self._projecting = board, preferences, projecting
        self.audience: AudienceWindow | None = None
        self.page: PresenterPage | None = None
        self.notes = PresenterNotes(preferences.presenter_notes())
        self.chip = FrozenChip(window)
        self._actions: dict[str, QAction] = {}
        self._prompt: object = None  # whose notes are shown
        self._frozen_at = ""
        kept = [key for key in preferences.audience_panels() if key in workspace.docks]
        self.chosen: tuple[str, ...] = tuple(kept) or tuple(key for key in FIRST if key in workspace.docks)
        self.readable = preferences.audience_readable()
        self._settling = QTimer(self, interval=SETTLE_AFTER_MS, singleShot=True)
        self._settling.timeout.connect(self._settle)
        self._connect()

    @property
    def on(self) -> bool:
        return self.audience is not None

    @property
    def frozen(self) -> bool:
        return self.audience is not None and self.audience.frozen

    @property
    def black(self) -> bool:
        """Whether the audience sees nothing."""
        return self.audience is not None and self.audience.black.isVisible()

    @property
    def settling(self) -> bool:
        """Whether panels get another room yet."""
        return self._settling.isActive()

    def take_actions(self, actions: dict[str, QAction]) -> None:
        self._actions = actions

    # -- the audience's window -----------------------------------------------------------------------------------------

    def show_audience(self) -> None:
        """Open it, with the presenter's page beside; or close both."""
        if self.audience is not None:
            self.close()
            return
        self.audience = audience = AudienceWindow(self._context.theme)
        audience.left.connect(self.close)
        audience.stage.moved.connect(self._settle_soon)
        audience.stage.set_readable(self.readable)
        audience.addActions(list(self._actions.values()))  # their keys work where the focus is there
        for key in CLICKER:
            QShortcut(QKeySequence(key), audience, partial(self._projecting.click, key))
        self._place(other_screen(self._window.screen()))
        audience.restyle(self._context.theme)
        self.choose(self.chosen)
        self._tell()
        self._presenter().start_clock()
        if not self._projecting.on:
            self._open_page()
        self.changed.emit()

    def close(self) -> None:
        """No audience any more: every panel is where it was."""
        audience, self.audience = self.audience, None
        if audience is not None:
            audience.left.disconnect(self.close)
            audience.stage.clear()
            audience.close()
            audience.deleteLater()
            self._board.set_seen(())
            self.chip.say("", "")
            self.changed.emit()
        self._settling.stop()
        if self.page is not None:
            self.page.hide()

    def choose(self, keys: tuple[str, ...]) -> None:
        """Show these panels to the audience."""
        self.chosen = tuple(key for key in self._workspace.docks if key in keys)
        self._preferences.set_audience_panels(self.chosen)
        if self.audience is not None:
            self._board.set_seen(self.chosen)
            self.audience.stage.show_docks([self._workspace.docks[key] for key in self.chosen])
        if self.page is not None:
            self.page.show_chosen(self.chosen)
        self._settling.start()

    def freeze_audience(self) -> None:
        """Hold the audience's picture, or let it move again."""
        if self.audience is None:
            return
        self.audience.freeze(not self.audience.frozen)
        self._frozen_at = strftime("%H:%M") if self.audience.frozen else ""
        if not self.audience.frozen:
            self._tell()
        self._say_chip()
        self.show_state()

    def blacken(self) -> bool:
        """Make the audience's picture black, or bring it back; False without an audience."""
        if self.audience is not None:
            self.audience.black.setVisible(not self.audience.black.isVisible())
            self._say_chip()
            self.show_state()
        return self.audience is not None

    def undo(self) -> bool:
        """What Esc does first: the audience sees something again; False where it is not black."""
        return self.black and self.blacken()

    def _say_chip(self) -> None:
        """To the presenter, who does not see the audience's screen."""
        if self.black:
            tip = self.tr("Press to show the picture again")
            self._say_over_all(self.tr("the audience sees black"), "undo_one", tip)
        elif self.frozen:
            tip = self.tr("Press to let it move again")
            self._say_over_all(self.tr("the audience is frozen"), "freeze_audience", tip)
        else:
            self.chip.say("", "")

    def _say_over_all(self, words: str, command: str, tip: str) -> None:
        key = self._actions[command].shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        self.chip.say(" · ".join(filter(None, (words, key))), tip)

    def _let_go(self) -> None:
        """What the chip tells of ends."""
        if not self.undo():
            self.freeze_audience()

    def next_screen(self) -> None:
        """Move the audience's window to another screen."""
        screens = QGuiApplication.screens()
        if self.audience is not None and len(screens) > 1:
            self._place(screens[(screens.index(self.audience.screen()) + 1) % len(screens)])

    def set_readable(self, readable: bool) -> None:
        """Whether panels have a shape in which the back row can read them, or that of the presenter's; kept."""
        self.readable = readable
        self._preferences.set_audience_readable(readable)
        if self.audience is not None:
            self.audience.stage.set_readable(readable)
            self._settling.start()

    def _settle_soon(self) -> None:
        if not self._settling.isActive():  # a run tells with every token
            self._settling.start()

    def _settle(self) -> None:
        if self.audience is not None:
            self.audience.stage.arrange()
        self.show_state()

    # -- screens that come and go --------------------------------------------------------------------------------------

    def _place(self, screen: QScreen | None) -> None:
        """On the whole of a screen that the presenter does not use; else as a window."""
        audience = self.audience
        if audience is None:
            return
        if screen is not None and screen is not self._window.screen():
            audience.setGeometry(screen.geometry())
            audience.showFullScreen()
        else:
            home = (screen or self._window.screen()).availableGeometry()
            audience.showNormal()
            audience.setGeometry(QRect(home.topLeft(), SIZE.boundedTo(home.size())))
        self._settling.start()

    def _screen_came(self, screen: QScreen) -> None:
        audience = self.audience
        if audience is not None and not audience.isFullScreen():
            self._place(screen)

    def _screen_went(self, screen: QScreen) -> None:
        """Qt moves its windows to another screen: the audience must not cover the presenter there."""
        audience = self.audience
        if audience is not None and audience.isFullScreen() and audience.screen() in (screen, self._window.screen()):
            rest = [other for other in QGuiApplication.screens() if other not in (screen, self._window.screen())]
            self._place(rest[0] if rest else None)

    # -- the presenter's page ------------------------------------------------------------------------------------------

    def show_presenter(self) -> None:
        """Open the page, or close it."""
        page = self._presenter()
        if page.isVisible():
            page.hide()
        else:
            self._open_page()
            page.note.setFocus()

    def _open_page(self) -> None:
        page = self._presenter()
        page.show_chosen(self.chosen)
        page.show_readable(self.readable)
        page.show()
        self.show_notes()
        self.show_state()

    def _presenter(self) -> PresenterPage:
        """Made when it is first wanted."""
        if self.page is None:
            titles = [(key, dock.panel.title()) for key, dock in self._workspace.docks.items()]
            self.page = page = PresenterPage(self._actions, titles)
            page.panels_chosen.connect(self.choose)
            page.note_written.connect(self._keep_note)
            page.screen_asked.connect(self.next_screen)
            page.readable_chosen.connect(self.set_readable)
            self._window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, page)
            self._projecting.chrome += (page,)
            page.hide()
        return self.page

    def show_notes(self) -> None:
        """Those of the run that is there now."""
        run = self._context.run
        if self.page is not None and run.prompt is not self._prompt:
            self.page.write()
            self._prompt = run.prompt
            key = key_of(run)
            heading = self.tr("Notes without a run") if key == GENERAL else self.tr("Notes for “{0}”")
            self.page.show_note(heading.format(_shortened(run)), self._kept_notes().at(key) or self.notes.at(key))
            self._note_key = key

    def _keep_note(self, note: str) -> None:
        """Beside what another window has written meanwhile."""
        self.notes.write(self._note_key, note)
        kept = self._kept_notes()
        kept.write(self._note_key, note)
        self._preferences.set_presenter_notes(kept.to_text())

    def _kept_notes(self) -> PresenterNotes:
        self._preferences.look_again()
        return PresenterNotes(self._preferences.presenter_notes())

    def show_state(self) -> None:
        """What the audience sees, in words; and whether it can be read from the back row."""
        if self.page is not None:
            self.page.show_state(self._state(), "\n".join(self._advice()))

    def _advice(self) -> Iterator[str]:
        """Sentences about what somebody cannot see."""
        audience = self.audience
        if audience is None or audience.frozen:
            return
        if small := ", ".join(f"{title} (1/{times:.0f})" for title, times in audience.smallest()):
            few = self.tr("Too small for the back row: {0}. Show fewer panels.")
            box = self.tr("Too small for the back row: {0}. Tick the box below, or show fewer panels.")
            yield (few if self.readable else box).format(small)
        if cut := ", ".join(audience.stage.cut()):
            yield self.tr("You see a part of what the audience sees: {0}. Scroll there, or enlarge the panel.").format(
                cut
            )

    def _state(self) -> str:
        audience = self.audience
        if audience is None:
            return self.tr("There is no audience window.")
        if self.black:
            return self.tr("The audience sees a black screen.")
        if audience.frozen:
            return self.tr("The audience sees the picture of {0}; it is frozen.").format(self._frozen_at)
        if audience.isFullScreen():
            return self.tr("The audience follows, on the screen {0}.").format(audience.screen().name())
        return self.tr("The audience follows in a window; a second screen is taken as soon as there is one.")

    # -- what is new ---------------------------------------------------------------------------------------------------

    def note(self, *_: object) -> None:
        """Panels were told something."""
        self.show_notes()
        if self.audience is not None:
            self.audience.stage.note()

    def restyle(self, theme: Theme) -> None:
        self.chip.restyle(theme)
        if self.page is not None:
            self.page.setFont(QApplication.font())  # its title has no other way to learn of it
        if self.audience is not None:
            self.audience.restyle(theme)
            self._settling.start()

    def _tell(self, *_: object) -> None:
        if self.audience is not None and not self.audience.frozen:
            self._projecting.tell(self.audience.banner)

    def _dock_shown(self, dock: PanelDock, _: bool) -> None:
        """What the presenter sees stays with the presenter; what is hidden there is lent."""
        if self.audience is not None and dock.panel.key in self.chosen:
            self.audience.stage.follow(dock)

    def _connect(self) -> None:
        for dock in self._workspace.docks.values():
            dock.shown_changed.connect(partial(self._dock_shown, dock))
        cursor = self._context.cursor
        for signal in (cursor.pinned_changed, cursor.hover_changed, cursor.readout_changed):
            signal.connect(self.note)
        self._projecting.told.connect(self._tell)
        self._projecting.blacken = self.blacken
        self._looks.changed.connect(self.restyle)
        self.chip.clicked.connect(self._let_go)
        application = QGuiApplication.instance()
        assert isinstance(application, QGuiApplication), "a window needs an application"
        application.screenAdded.connect(self._screen_came)
        application.screenRemoved.connect(self._screen_went)


def other_screen(own: QScreen) -> QScreen | None:
    """A screen that is not the presenter's."""
    return next((screen for screen in QGuiApplication.screens() if screen is not own), None)


def _shortened(run: Run) -> str:
    text = visible(whole_text(piece for piece in run.prompt if not piece.special)).replace("␣", " ").strip()
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
