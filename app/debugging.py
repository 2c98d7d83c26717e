"""The debugger's commands: steps, breakpoints, run to here, the speed; and where a breakpoint leads the eye."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from PySide6.QtCore import QObject, Signal

from app.breakpoint_texts import from_text, to_text
from app.breakpoint_words import place_text
from app.layouts import Workspace
from app.panels.panel import Context
from app.pass_words import place_of
from app.preferences import Preferences
from app.speeds import FULL, SPEEDS, speed_text
from app.worker import Arm, StepKind
from engine.breakpoints import Breakpoint, HitFrame, Test
from engine.frames import Where

PANEL = "breakpoints"


class Steered(Protocol):
    """What the debugger needs of the worker."""

    def step(self, kind: StepKind) -> None: ...

    def run_to(self, layer: int | None, stage: str) -> None: ...

    def set_pace(self, stages_per_second: float | None) -> None: ...

    def set_breakpoints(self, breakpoints: tuple[Breakpoint, ...]) -> None: ...


class Debugging(QObject):
    """Each public method without an argument is the command of its name.

    ``begin`` runs the prompt up to a first stop; ``active()``: whether a run is on.
    """

    pace_changed = Signal(int)  # an index of SPEEDS

    def __init__(
        self,
        context: Context,
        worker: Steered,
        workspace: Workspace,
        preferences: Preferences,
        begin: Callable[[Arm], None],
        active: Callable[[], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._context, self._worker, self._workspace, self._preferences = context, worker, workspace, preferences
        self._begin, self._active = begin, active
        self._breaks = context.breaks
        self._to_show: HitFrame | None = None  # what to jump to once the window knows that the pass has stopped
        self.speed = FULL
        self._breaks.set(from_text(preferences.breakpoints()))
        self._own = self.breakpoints  # as this window has kept them
        self._breaks.changed.connect(self._changed)
        self._breaks.asked.connect(self.show_breakpoints)
        worker.set_breakpoints(self.breakpoints)

    # -- steps -------------------------------------------------------------------------------------------------------

    def step_layer(self) -> None:
        self._step("next layer")

    def finish_layer(self) -> None:
        self._step("layer")

    def step_stage(self) -> None:
        self._step("stage")

    def step_token(self) -> None:
        self._step("token")

    def _step(self, kind: StepKind) -> None:
        """A step while nothing runs begins a run that stops there."""
        if self._active():
            self._worker.step(kind)
        else:
            self._begin(kind)

    def run_here(self) -> None:
        """Up to the end of the stage that is pinned."""
        place = self.here()
        if place is not None:
            self.run_to(*place)

    def run_to(self, layer: int | None, stage: str) -> None:
        """Run on and stop at the end of that stage; a run begins where there is none."""
        if self._active():
            self._worker.run_to(layer, stage)
        else:
            self._begin((layer, stage))

    def here(self) -> tuple[int | None, str] | None:
        """The stage that the pinned point belongs to, the end of the pinned layer where no point is; None without a
        model."""
        model, look = self._context.run.model, self._context.cursor.pinned
        if model is None:
            return None
        layer = min(look.layer, model.n_layers - 1)
        return place_of(model, layer, look.point) or (layer, "")

    # -- breakpoints -------------------------------------------------------------------------------------------------

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        return self._breaks.breakpoints

    def break_here(self) -> None:
        """A breakpoint at the stage that is pinned, or none any more."""
        place = self.here()
        if place is not None:
            self.break_at(*place)

    def break_at(self, layer: int | None, stage: str) -> None:
        """A breakpoint at the end of this stage; where there is one already, none."""
        found, where = self._breaks.at(layer, stage), place_text(layer, stage, self.tr)
        if found is None:
            made = self._breaks.add((Test("stage", layer, stage),))
            self._context.cursor.say(self.tr("Breakpoint {0} stops at {1}").format(made.number, where))
        else:
            self._breaks.remove(found.number)
            self._context.cursor.say(self.tr("No breakpoint at {0} any more").format(where))

    def toggle_breakpoints(self) -> None:
        """All off, or those that were on again."""
        self._breaks.switch_all()
        on = sum(each.on for each in self.breakpoints)
        self._context.cursor.say(self.tr("{0} breakpoints are on").format(on) if on else self.tr("No breakpoint is on"))

    def show_breakpoints(self) -> None:
        self._workspace.turn_to(PANEL)

    def _changed(self) -> None:
        self._preferences.set_breakpoints(to_text((*self.breakpoints, *self._of_others())))
        self._own = self.breakpoints
        self._worker.set_breakpoints(self.breakpoints)

    def _of_others(self) -> list[Breakpoint]:
        """Those that another window has kept."""
        self._preferences.look_again()
        own = {each.tests for each in (*self._own, *self.breakpoints)}
        return [each for each in from_text(self._preferences.breakpoints()) if each.tests not in own]

    # -- speed -------------------------------------------------------------------------------------------------------

    def slower(self) -> None:
        self.set_speed(self.speed - 1)

    def faster(self) -> None:
        self.set_speed(self.speed + 1)

    def set_speed(self, index: int) -> None:
        """From now on, also in the pass under way."""
        index = min(max(index, 0), FULL)
        if index != self.speed:
            self.speed = index
            self._worker.set_pace(SPEEDS[index])
            self._context.cursor.say(self.tr("Speed: {0}").format(speed_text(SPEEDS[index], self.tr)))
            self.pace_changed.emit(index)

    # -- what the engine says ----------------------------------------------------------------------------------------

    def take_hit(self, hit: HitFrame) -> None:
        self._breaks.absorb(hit)
        if hit.stops:
            self._to_show = hit

    def take_where(self, where: Where) -> None:
        """The pass stands somewhere, or moved."""
        if not any(_same_place(hit.where, where) for hit in self._breaks.standing):
            self.leave()
        elif where.state == "paused" and self._to_show is not None:
            self._jump(self._to_show)
            self._to_show = None

    def leave(self) -> None:
        """The pass went on or ended, or another model is there."""
        self._to_show = None
        self._breaks.leave()

    def _jump(self, hit: HitFrame) -> None:
        """The newest position is followed further; an older one is pinned."""
        position, layer, head = hit.place
        found: dict[str, int | None] = {"position": position if position < self._context.run.n_visible - 1 else None}
        found |= {name: value for name, value in (("layer", layer), ("head", head)) if value is not None}
        self._context.cursor.pin(**found)


def _same_place(one: Where, other: Where) -> bool:
    """Whether both name the same stage of the same pass, moving or not."""
    return replace(one, state="paused") == replace(other, state="paused")
