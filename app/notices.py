"""What the worker tells the window beside the engine's frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.edits import Edit
from engine.frames import StepFrame
from engine.run_file_facts import Compared, Mark
from engine.settings import Sampling

if TYPE_CHECKING:
    from engine.checkpoint.fits import Device


@dataclass(frozen=True)
class ReadyFrame:
    """The engine is imported; ``seconds`` it took, ``threads`` it computes with; the GPUs that torch can use."""

    seconds: float
    threads: int
    accelerators: tuple[Device, ...] = ()


@dataclass(frozen=True)
class EditsFrame:
    """The passes of the run are edited like this from now on."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class CancelledFrame:
    """A load or fetch was cancelled by the user."""

    task: str


@dataclass(frozen=True)
class SettledFrame:
    """Every question about the run that has ended, or the stop, was answered: what is on screen is complete."""


@dataclass(frozen=True)
class DownloadFrame:
    """Where one download stands: ``done`` of ``total`` bytes (0: not known yet), ``speed`` in bytes a second.

    ``text``: the file that is on its way, or where the model came from; ``path`` where it lies once it is done.
    ``sentence`` and ``details`` say why it failed; ``needs_token``: asking again with a token may help.
    """

    source: str
    state: Literal["waiting", "running", "paused", "done", "cancelled", "failed"]
    text: str = ""
    done: int = 0
    total: int = 0
    speed: float = 0.0
    path: str = ""
    sentence: str = ""
    details: str = ""
    needs_token: bool = False


@dataclass(frozen=True)
class DeletedFrame:
    """A downloaded model was deleted; ``title``: as the shelf calls it; ``freed`` bytes."""

    title: str
    freed: int


@dataclass(frozen=True)
class OpenedFrame:
    """A saved run is open; its model, tokens and steps follow. ``why``: which model is missing, "" where it is here.
    ``notes`` and ``bookmarks``: those that the file holds; ``edits``: its tray, None where it does not say;
    ``compared``: the branches that were compared."""

    path: str
    why: str
    sampling: Sampling
    chat: bool
    notes: tuple[Mark, ...] = ()
    bookmarks: tuple[Mark, ...] = ()
    edits: tuple[Edit, ...] | None = None
    compared: Compared | None = None


@dataclass(frozen=True)
class BranchFrame:
    """All steps of a branch that the engine does not stand on, of a saved run that was opened."""

    number: int
    steps: tuple[StepFrame, ...]


@dataclass(frozen=True)
class SavedFrame:
    """The run was saved: ``size`` in bytes. ``quiet``: nobody has asked for it."""

    path: str
    size: int
    seconds: float
    quiet: bool = False


@dataclass(frozen=True)
class GoesOnFrame:
    """A run that had ended goes on; it will have at most so many new tokens in all."""

    max_new_tokens: int


@dataclass(frozen=True)
class ToldFrame:
    """Something that the user asked for was done; ``text`` says so, in the status bar."""

    text: str
