"""The edits of the run as a list that can be changed, switched off as a whole, undone and done again."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from engine.edits import Edit

MOST_STATES = 200  # that undo goes back

Edits = tuple[Edit, ...]


class Tray(QObject):
    """``edits`` is what the user wants; ``accepted`` what the engine said it does.

    ``changed``: the list is another one. ``asked``: somebody wants to make an edit there and shall be shown the form;
    an Edit with what is known of it. ``looked_for``: the tray shall be shown; ``copy_asked``: the edits shall lie on
    the clipboard.
    """

    changed = Signal()
    asked = Signal(object)
    looked_for = Signal()
    copy_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.edits: Edits = ()
        self.accepted: Edits = ()
        self._before: list[Edits] = []
        self._after: list[Edits] = []
        self._were_on: tuple[bool, ...] = ()
        self._merging = ""  # what the newest state came from, if more of that kind joins it

    @property
    def on(self) -> bool:
        """Whether an edit is in force."""
        return any(edit.on for edit in self.edits)

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        return bool(self._after)

    def add(self, edit: Edit) -> None:
        self._go((*self.edits, edit))

    def replace(self, index: int, edit: Edit, merging: str = "") -> None:
        """Another edit in the place of one. Changes with the same ``merging``, one after another, are undone as one."""
        self._go((*self.edits[:index], edit, *self.edits[index + 1 :]), merging and f"{merging} {index}")

    def switch(self, index: int, on: bool) -> None:
        self.replace(index, replace(self.edits[index], on=on))

    def set_strength(self, index: int, strength: float) -> None:
        """A slider that is drawn gives many of them: they are undone as one."""
        self.replace(index, replace(self.edits[index], strength=strength), merging="strength")

    def remove(self, index: int) -> None:
        self._go((*self.edits[:index], *self.edits[index + 1 :]))

    def duplicate(self, index: int) -> None:
        self._go((*self.edits[: index + 1], self.edits[index], *self.edits[index + 1 :]))

    def clear(self) -> None:
        self._go(())

    def put_back(self, edits: Edits) -> None:
        """A whole list that was kept, undone as one."""
        self._go(edits)

    def switch_all(self) -> None:
        """All off; where all are off, those on again that were."""
        if self.on:
            self._were_on = tuple(edit.on for edit in self.edits)
            self._go(tuple(replace(edit, on=False) for edit in self.edits))
        else:
            known = self._were_on if len(self._were_on) == len(self.edits) else (True,) * len(self.edits)
            self._go(tuple(replace(edit, on=on) for edit, on in zip(self.edits, known, strict=True)))

    def undo(self) -> None:
        if self._before:
            self._after.append(self.edits)
            self._show(self._before.pop())

    def redo(self) -> None:
        if self._after:
            self._before.append(self.edits)
            self._show(self._after.pop())

    def refuse(self) -> None:
        """The engine does not take this list: back to the one that it does, and no way to the refused one."""
        if self.edits == self.accepted:
            return
        while self.accepted in self._before and self._before.pop() != self.accepted:
            pass  # what came after it was refused, too
        self._after.clear()
        self._show(self.accepted)

    def reset(self) -> None:
        """Another model: its run has no edits, and there is nothing to go back to."""
        self._before.clear()
        self._after.clear()
        self.accepted = ()
        if self.edits:
            self._show(())

    def _go(self, edits: Edits, merging: str = "") -> None:
        if edits == self.edits:
            return
        if not (merging and merging == self._merging and self._before):
            self._before = [*self._before, self.edits][-MOST_STATES:]
        self._after.clear()
        self._show(edits)
        self._merging = merging

    def _show(self, edits: Edits) -> None:
        self._merging = ""
        self.edits = edits
        self.changed.emit()
