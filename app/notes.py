"""Notes and bookmarks of the window: which there are, about which places, and whether the run still has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, Signal

from app.cursor import Look
from app.run import Run, written
from engine.frames import TreeFrame
from engine.run_file_facts import Mark

MOST_NOTES, LONGEST_TEXT = 500, 4000  # letters; together they stay far below what a file of a run may hold
AWAITED = -1
MOST_STATES = 100  # that undo goes back


@dataclass(frozen=True)
class Note:
    """A note or a bookmark on a place; None: all of that axis. ``token`` and ``word`` are the id and the text of the
    token at ``position``, ``branch`` the number of the branch whose own it is; None: not looked up yet. AWAITED: of a
    file whose branches are still to come.

    ``once``: in words, a place of another run that this note is about.
    """

    number: int
    text: str
    bookmark: bool = False
    position: int | None = None
    layer: int | None = None
    head: int | None = None
    token: int | None = None
    word: str = ""
    branch: int = 0
    once: str = ""

    @property
    def place(self) -> tuple[int | None, int | None, int | None]:
        return self.position, self.layer, self.head

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Along the tokens, then up the layers."""
        position, layer, head = (-1 if axis is None else axis for axis in self.place)
        return position, layer, head, self.number


class Notes(QObject):
    """``changed``: others, or some in another state. What was done to them can be undone, step by step."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.notes: tuple[Note, ...] = ()
        self._before: list[tuple[Note, ...]] = []

    def __iter__(self) -> Iterator[Note]:
        return iter(self.notes)

    def __len__(self) -> int:
        return len(self.notes)

    def find(self, number: int) -> Note | None:
        return next((note for note in self.notes if note.number == number), None)

    def add(self, note: Note) -> Note | None:
        """A new one, with a number of its own; None where there are too many."""
        if len(self.notes) >= MOST_NOTES:
            return None
        made = replace(note, number=self._free(), text=sound(note.text))
        self._go((*self.notes, made))
        return made

    def change(self, number: int, **values: object) -> None:
        """Some values of one of them."""
        self._go(replace(each, **values) if each.number == number else each for each in self.notes)  # type: ignore[arg-type]

    def remove(self, numbers: Iterable[int]) -> None:
        gone = set(numbers)
        self._go(each for each in self.notes if each.number not in gone)

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    def undo(self) -> None:
        """As it was before the newest change."""
        if self._before:
            self._show(self._before.pop())

    def put_away(self, gone: Iterable[Note]) -> None:
        """They mean nothing any more; undo brings them back."""
        self.remove(note.number for note in gone)

    def take(self, notes: Iterable[Note]) -> None:
        """Those of another run in place of these; there is nothing to undo of it."""
        self._before.clear()
        self._show(tuple(replace(note, number=number) for number, note in enumerate(notes, 1)))

    def look_up(self, run: Run) -> None:
        """Which tokens those from a file are about, as soon as the run has them. Nothing that could be undone."""
        found = tuple(_looked_up(note, run) for note in self.notes)
        if found != self.notes:
            self._show(found)

    def _free(self) -> int:
        states = (self.notes, *self._before)
        return max((note.number for notes in states for note in notes), default=0) + 1

    def _go(self, notes: Iterable[Note]) -> None:
        changed = tuple(notes)
        if changed != self.notes:
            self._before = [*self._before, self.notes][-MOST_STATES:]
            self._show(changed)

    def _show(self, notes: tuple[Note, ...]) -> None:
        self.notes = tuple(sorted(notes, key=lambda note: note.order))
        self.changed.emit()


def sound(text: str) -> str:
    """A text that every file takes: without halves of surrogate pairs, and not too long."""
    return text.encode("utf-8", "replace").decode("utf-8")[:LONGEST_TEXT]


def at(run: Run, look: Look, *, token: bool = True, layer: bool = True, head: bool = True) -> Note:
    """A note without text about what is pinned, or the newest token; of the axes that are wanted."""
    position = None
    if token and run.n_tokens:
        position = min(run.n_tokens - 1 if look.position is None else look.position, run.n_tokens - 1)
    return _looked_up(
        Note(0, "", position=position, layer=look.layer if layer else None, head=look.head if layer and head else None),
        run,
    )


def _looked_up(note: Note, run: Run) -> Note:
    position = note.position
    if note.token == AWAITED and run.tree is not None:
        return _of_branch(note, run.tree)
    if position is None or note.token is not None or position >= run.n_tokens:
        return note
    branch = owner(run.tree, position)
    return replace(note, token=_token(run, position), word=run.label(position), branch=branch)


def _of_branch(note: Note, tree: TreeFrame) -> Note:
    """With the token that the branch has at its position."""
    for branch in tree.branches:
        own = -1 if note.position is None else note.position - branch.start
        if branch.number == note.branch and 0 <= own < len(branch.pieces):
            return replace(note, token=branch.pieces[own].id, word=written(branch.pieces[own]))
    return note


def owner(tree: TreeFrame | None, position: int) -> int:
    """The number of the branch whose own token stands at a position of the present path."""
    if tree is None:
        return 0
    branches = {branch.number: branch for branch in tree.branches}
    facts = branches[tree.current]
    while facts.parent is not None and position < facts.start:
        facts = branches[facts.parent]
    return facts.number


def present(note: Note, run: Run) -> bool:
    """Whether the run, as it is shown, has the place that the note is about."""
    model = run.model
    if note.once or model is None:
        return False
    if note.layer is not None and note.layer >= model.n_layers:
        return False
    if note.position is None:
        return True
    if note.position >= run.n_tokens:
        return False
    same = note.token is None or note.token == _token(run, note.position)
    return same and (note.token is None or note.branch == owner(run.tree, note.position))


def branch_of(note: Note, run: Run) -> int | None:
    """The branch that has the place of a note which the shown one lacks; None where no branch has it."""
    tree = run.tree
    if tree is None or note.once or note.position is None:
        return None
    for branch in tree.branches:
        own = note.position - branch.start
        if branch.number == note.branch and 0 <= own < len(branch.pieces):
            return branch.number if branch.pieces[own].id == note.token else None
    return None


def _token(run: Run, position: int) -> int:
    step = run.step_choosing(position)
    return run.prompt[position].id if step is None else step.piece.id


def to_marks(notes: Iterable[Note], run: Run) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """Notes and bookmarks as a file of the shown run keeps them; a place that no branch has is kept in words."""
    marks: tuple[list[Mark], list[Mark]] = ([], [])
    for note in notes:
        here = present(note, run)
        branch = None if here else note.branch if note.token == AWAITED else branch_of(note, run)
        there = here or branch is not None
        position, once = (note.position, "") if there else (None, note.once or in_words(note))
        marks[note.bookmark].append(Mark(note.text, position, note.layer, note.head, once, branch))
    return tuple(marks[False]), tuple(marks[True])


def in_words(note: Note) -> str:
    """A token that the file does not have."""
    branch = f" of branch {note.branch}" if note.branch else ""
    return f"token {note.position} “{note.word[:40]}”{branch}" if note.position is not None else ""


def from_marks(notes: Iterable[Mark], bookmarks: Iterable[Mark]) -> tuple[Note, ...]:
    """Of a file that is opened."""
    pairs = [*((mark, False) for mark in notes), *((mark, True) for mark in bookmarks)]
    return tuple(_from_mark(mark, bookmark) for mark, bookmark in pairs)


def _from_mark(mark: Mark, bookmark: bool) -> Note:
    note = Note(0, mark.text, bookmark, mark.position, mark.layer, mark.head, once=mark.once)
    return note if mark.branch is None else replace(note, token=AWAITED, branch=mark.branch)
