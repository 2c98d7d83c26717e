"""Between the worker and the panels: visible panels are told what is new, and their questions go to the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeVar

from app.compare import Other
from app.compare_pairs import Pairs, is_of_other
from app.detail import reduced
from app.engine_words import said
from app.ledger import BARS
from app.panels.panel import Panel
from engine.frames import AnswerFrame, NeedsModel
from engine.questions import OF_FILES, OF_HEADERS, Question

Kind = TypeVar("Kind", bound=Panel)


class Asked(Protocol):
    """What the board needs of the worker."""

    def watch(self, key: str, question: Question | None) -> int: ...

    def ask(self, key: str, question: Question) -> int: ...

    def watch_on(self, number: int, key: str, question: Question) -> int: ...

    def ask_on(self, number: int, key: str, question: Question) -> int: ...


class Board:
    """Only panels that are on screen are called; the others catch up when they come into view."""

    def __init__(self, worker: Asked, turn_to: Callable[[str], None] | None = None) -> None:
        self._worker = worker
        self._turn_to = turn_to or _nobody
        self._panels: dict[str, Panel] = {}
        self._shown: set[str] = set()  # on the presenter's screen, or seen by others
        self._on_screen: set[str] = set()
        self._seen: frozenset[str] = frozenset()  # by others
        self._stale: set[str] = set()
        self._watches: dict[str, Question] = {}
        self._tickets: dict[str, int] = {}
        self._missing: set[str] = set()  # questions without an answer, of those asked since the last mark
        self._needs: dict[str, str] = {}  # sentences by the key of a question that a missing model could answer
        self._lasting: set[str] = set()  # questions about files, which no run makes void
        self._halvings = 0  # of what pictures ask for
        self._lowered: frozenset[str] = frozenset()  # panels that ask for less than they can show
        self._ages: dict[str, int] = {}  # of watches that were answered: the tokens that came since
        self._pairs: Pairs | None = None  # while differences of two branches are shown
        self._given_up: set[str] = set()  # watches that nobody wants an answer of before the next mark
        self.on_waiting: Callable[[tuple[str, ...]], None] | None = None  # told the titles of panels that wait

    def add(self, panels: Iterable[Panel]) -> None:
        for panel in panels:
            self._panels[panel.key] = panel
            panel.watches_changed.connect(self.sync)

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(self._panels.values())

    def find(self, kind: type[Kind]) -> Kind | None:
        """The panel of a kind, None where there is none."""
        return next((panel for panel in self._panels.values() if isinstance(panel, kind)), None)

    @property
    def watched(self) -> frozenset[str]:
        return frozenset(self._watches)

    @property
    def complete(self) -> bool:
        """Whether every question that was asked since the last ``mark`` has its answer."""
        return not self._missing

    @property
    def lowered(self) -> frozenset[str]:
        """The panels whose pictures have less detail now than they could show."""
        return self._lowered

    @property
    def late(self) -> int:
        """How many tokens the oldest picture lags behind."""
        return max((self._ages[key] for key in self._watches.keys() & self._ages.keys()), default=0)

    def set_halvings(self, halvings: int) -> None:
        """Ask for pictures with so many times halved axes from now on."""
        self._halvings = halvings
        self.sync()

    def mark(self) -> None:
        """The pass stopped or the run ended: from here on every watch must be answered anew."""
        for key in self._given_up:
            self._watches.pop(key, None)
        if self._given_up:
            self._given_up.clear()
            self.sync()
        self._missing = set(self._watches) | (self._missing & self._lasting)
        self._tell_waiting()

    def give_up(self) -> None:
        """Nobody waits any more for what is not answered yet; pictures follow again from the next mark on."""
        for key in tuple(self._missing):
            self._let_go(key)
        self._given_up |= self._watches.keys() - self._tickets.keys()
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Whose questions have no answer yet, the oldest question first."""
        if self.on_waiting is not None:
            keys = sorted(self._missing, key=lambda key: self._tickets.get(key, 0))
            panels = dict.fromkeys(_asker(key) for key in keys)
            self.on_waiting(tuple(self._panels[key].title() for key in panels if key in self._panels))

    def ask(self, key: str, question: Question) -> None:
        """Ask once for a panel; the answer comes to its ``show_answer``."""
        for full, wanted in self._of_both(key, question).items():
            self._tickets[full] = self._ask(full, wanted)
            self._missing.add(full)
        (self._lasting.add if isinstance(question, (*OF_FILES, *OF_HEADERS)) else self._lasting.discard)(key)
        self._tell_waiting()

    def compare(self, other: Other | None) -> None:
        """Show panels what the branch that the engine stands on and another one differ by, from now on (None: what is
        asked about the first alone). Every watch is asked anew."""
        self._pairs = None if other is None else Pairs(other)
        for panel in self._panels.values():
            panel.forget_asides()
        self._let_go_of_watches()
        self.sync()

    def _of_both(self, key: str, question: Question) -> dict[str, Question]:
        """What is to be asked for a question of a panel, by full key."""
        panel = self._panels.get(_asker(key))
        if self._pairs is None or panel is None or not panel.compares:
            return {key: question}
        return self._pairs.ask(key, question)

    def _ask(self, key: str, question: Question) -> int:
        """Of the engine as it stands, or about the other branch."""
        if self._pairs is not None and is_of_other(key):
            return self._worker.ask_on(self._pairs.other.number, key, question)
        return self._worker.ask(key, question)

    def _watch(self, key: str, question: Question) -> int:
        if self._pairs is not None and is_of_other(key):
            return self._worker.watch_on(self._pairs.other.number, key, question)
        return self._worker.watch(key, question)

    def unask(self, key: str) -> None:
        """Nobody waits for this any more: work on it ends soon, and an answer that is under way is dropped."""
        if self._tickets.pop(key, None) is not None:
            self._missing.discard(key)
            self._worker.watch(key, None)
            self._tell_waiting()

    def set_shown(self, key: str, shown: bool) -> None:
        """A panel came into view, or left it."""
        (self._on_screen.add if shown else self._on_screen.discard)(key)
        self._look_again()

    def set_seen(self, keys: Iterable[str]) -> None:
        """These panels are seen by others, so they are told what is new though they are not in view here."""
        self._seen = frozenset(keys)
        self._look_again()

    def _look_again(self) -> None:
        """Panels that come to be seen catch up."""
        before, self._shown = self._shown, self._on_screen | self._seen
        came = self._shown - before
        self._forget_asked_of(before - self._shown)
        for key in came & self._stale:
            self._stale.discard(key)
            self._refresh(self._panels[key])
        self.sync()

    def _forget_asked_of(self, gone: set[str]) -> None:
        """Nobody waits for what panels have asked once about the run that are out of sight by now."""
        waiting = self._missing - self._watches.keys() - self._lasting
        self._missing -= {key for key in waiting if _asker(key) in gone}
        self._tell_waiting()

    def show_run(self) -> None:
        """The run changed."""
        self._stale = set(self._panels) - self._shown
        for panel in self._visible():
            panel.show_run()
        self.sync()

    def pieces(self, changed: bool, answers: list[AnswerFrame], tokens: int = 0) -> list[Callable[[], None]]:
        """The same as ``show_run`` (if the run changed) and ``show_answer``, one piece of work per visible panel.

        What was asked about files reaches a panel that is hidden by now, too.
        """
        if changed:
            self._stale = set(self._panels) - self._shown
        self._grow_older(answers, tokens)
        by_panel = {panel.key: [a for a in answers if _asker(a.key) == panel.key] for panel in self._visible()}
        late = [a for a in answers if a.key in self._lasting and _asker(a.key) not in by_panel]  # it is not asked again
        told = [partial(self._tell, key, changed, own) for key, own in by_panel.items()]
        return [*told, *(partial(self._tell, _asker(answer.key), False, [answer]) for answer in late), self._sync_all]

    def _grow_older(self, answers: list[AnswerFrame], tokens: int) -> None:
        """So many tokens came with these answers."""
        self._ages = {key: age + tokens for key, age in self._ages.items() if key in self._watches}
        self._ages.update((answer.key, 0) for answer in answers if answer.key in self._watches)

    def _sync_all(self) -> None:
        self._turn_to(BARS)
        self.sync()

    def _tell(self, key: str, changed: bool, answers: list[AnswerFrame]) -> None:
        self._turn_to(key)
        if changed:
            self._panels[key].show_run()
        for answer in answers:
            self.show_answer(answer)

    def show_pinned(self) -> None:
        """The pinned place changed: pictures move and other questions may be asked."""
        self._stale = set(self._panels) - self._shown
        for panel in self._visible():
            panel.show_cursor()
        self.sync()

    def show_hovered(self) -> None:
        """The hovered place changed: nothing is asked."""
        for panel in self._visible():
            panel.show_cursor()

    def undo(self) -> bool:
        """Take back what the user did to a picture on screen, such as going into it; False where there is nothing."""
        return any(panel.undo() for panel in self._visible())

    def restyle(self) -> None:
        """The theme or the font changed; hidden panels too, it is rare."""
        for panel in self.up_to_date():
            panel.restyle()

    def up_to_date(self) -> tuple[Panel, ...]:
        """All panels, none of which shows another model any more: for what is drawn anew in hidden ones, too."""
        for key in self._stale:
            self._panels[key].show_run()
        return self.panels

    def forget(self) -> None:
        """Another model: questions about the old one mean nothing, also those that were asked while it loaded."""
        self._pairs = None
        self._let_go_of_watches()
        self._tickets.clear()
        self._missing.clear()
        self._given_up.clear()
        self._needs.clear()
        self._tell_waiting()
        for panel in self._panels.values():
            panel.set_need("")

    def _let_go_of_watches(self) -> None:
        for key in self._watches:
            self._let_go(key)
        self._watches.clear()

    def _let_go(self, key: str) -> None:
        """An answer to this watch that is on its way would be taken for another one's."""
        self._worker.watch(key, None)
        self._missing.discard(key)
        self._tickets.pop(key, None)

    def show_answer(self, frame: AnswerFrame) -> bool:
        """Hand an answer to the panel that asked; False if nobody waits for it any more."""
        panel = self._panels.get(_asker(frame.key))
        if panel is None or self._tickets.get(frame.key) != frame.ticket:
            return False
        if frame.whole:
            self._missing.discard(frame.key)
            self._tell_waiting()
        if isinstance(frame.answer, NeedsModel):
            self._needs[frame.key] = frame.answer.sentence
            self._tell_needs(panel)
            return True
        if self._needs.pop(frame.key, None) is not None:
            self._tell_needs(panel)
        self._hand(panel, frame)
        return True

    def _hand(self, panel: Panel, frame: AnswerFrame) -> None:
        """An answer to a panel, or two together."""
        if self._pairs is None or not self._pairs.holds(frame.key):
            panel.show_answer(frame.key, frame.answer)
        elif pair := self._pairs.take(frame):
            panel.show_difference(*pair)

    def _tell_needs(self, panel: Panel) -> None:
        """What of a panel's questions only a model that is not here could answer."""
        own = [sentence for key, sentence in self._needs.items() if _asker(key) == panel.key]
        watched = [key for key in self._watches if _asker(key) == panel.key]
        need = said(own[0], panel.tr) if own else ""
        panel.set_need(need, nothing=bool(watched) and set(watched) <= self._needs.keys())

    def sync(self) -> None:
        """Tell the worker which watches the visible panels have now."""
        wanted, lowered = self._wanted()
        self._lowered = lowered
        for key in self._watches.keys() - wanted.keys():
            self._let_go(key)
            if self._needs.pop(key, None) is not None:
                self._tell_needs(self._panels[_asker(key)])
        for key, question in wanted.items():
            if self._watches.get(key) != question:
                self._tickets[key] = self._watch(key, question)
                self._missing.add(key)
                self._ages.pop(key, None)
        self._watches = wanted
        self._given_up &= wanted.keys() - self._missing
        self._tell_waiting()
        for panel in self._visible():
            if panel.need:
                self._tell_needs(panel)
            if panel.differs and self._pairs is not None:
                self._say_common(panel, self._pairs)

    def _say_common(self, panel: Panel, pairs: Pairs) -> None:
        lacking = any(map(pairs.lacks, panel.watches().values()))
        panel.say_common(pairs.other.n if lacking else None)

    def _wanted(self) -> tuple[dict[str, Question], frozenset[str]]:
        """What visible panels watch, and which of them get less than they ask for."""
        wanted: dict[str, Question] = {}
        lowered: set[str] = set()
        for panel in self._visible():
            for key, question in panel.watches().items():
                smaller = reduced(question, self._halvings)
                wanted.update(self._of_both(key, smaller))
                if smaller is not question:
                    lowered.add(panel.key)
        return wanted, frozenset(lowered)

    def _visible(self) -> list[Panel]:
        return [panel for key, panel in self._panels.items() if key in self._shown]

    def _refresh(self, panel: Panel) -> None:
        panel.show_run()
        panel.show_cursor()


def _asker(key: str) -> str:
    """The key of the panel that asked, of the full key of a question."""
    return key.partition(".")[0]


def _nobody(part: str) -> None:
    return None
