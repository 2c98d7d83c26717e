"""What the user looks at: position, layer, head, expert; hovered and pinned. One cursor, obeyed by every panel."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from PySide6.QtCore import QObject, Signal


@dataclass(frozen=True)
class Look:
    """A place in the model. ``position`` None follows the newest position of the run; ``expert`` None: none is picked.

    An expert belongs to its layer: expert 3 of another layer has nothing to do with it. ``point`` is the name of a hook
    point without ``blocks.N.``, "" where none was chosen: it stays the same one when the layer changes.
    """

    position: int | None = None
    layer: int = 0
    head: int = 0
    expert: int | None = None
    point: str = ""


@dataclass(frozen=True)
class Hover:
    """What lies under the mouse, in whichever panel; None where that axis is not touched."""

    position: int | None = None
    layer: int | None = None
    head: int | None = None
    expert: int | None = None


class Cursor(QObject):
    """The only writer of the selection. ``pinned_changed`` may ask the engine; ``hover_changed`` never does."""

    pinned_changed = Signal()
    hover_changed = Signal()
    readout_changed = Signal(str)  # the value under the mouse, for the status bar

    def __init__(self) -> None:
        super().__init__()
        self.pinned = Look()
        self.hovered = Hover()

    def pin(self, **where: int | str | None) -> None:
        """Pin some of position, layer, head, expert, point; the others stay, but no expert stays picked in another
        layer."""
        if where.get("layer", self.pinned.layer) != self.pinned.layer:
            where = {"expert": None, **where}
        self._set_pinned(Look(**{**asdict(self.pinned), **where}))

    def follow(self) -> None:
        """Free the pinned position: follow the newest again."""
        self.pin(position=None)

    def reset(self, look: Look) -> None:
        """Start afresh, for another model or run."""
        self.hovered = Hover()
        self._set_pinned(look)

    def hover(self, **where: int | None) -> None:
        """Preview a place; call without arguments when the mouse leaves."""
        hovered = Hover(**where)
        if hovered != self.hovered:
            self.hovered = hovered
            self.hover_changed.emit()

    def leave(self) -> None:
        """The mouse left a picture: nothing is hovered, and no value is under it."""
        self.hover()
        self.say("")

    def say(self, text: str) -> None:
        """Show the value under the mouse in the status bar."""
        self.readout_changed.emit(text)

    def _set_pinned(self, look: Look) -> None:
        if look != self.pinned:
            self.pinned = look
            self.pinned_changed.emit()
