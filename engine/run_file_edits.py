"""Which edits the passes of a run were made with: as facts of a run file, and as listeners again.

An edit is data, so it is kept; a hook is a piece of a program, which a file of a run never holds. A mean over all
positions before is not kept either: to make it again, every pass before would have to be made again first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from engine.edit_listeners import Pass, edit_of, is_guard
from engine.edits import Edit
from engine.errors import EngineError, RunFileError
from engine.hooks import HookPoint, Listener
from engine.run_file_facts import MOST_MADE, Branch, Edited, Point, too_many
from engine.trace import Edits, Trace

if TYPE_CHECKING:
    from engine.session import Session


def edit_facts(trace: Trace, n: int) -> tuple[tuple[Edited, ...], tuple[Edit, ...]]:
    """What listeners did in passes over the first ``n`` positions, by name of the point, and the edits among them;
    passes that follow one another and were edited alike are told together."""
    known: dict[Edit, int] = {}
    found: list[Edited] = []
    ends, made = dict(trace.spans), 0
    for start, listeners in sorted(trace.applied.items()):
        if start >= n:
            break
        points = tuple(Point(name, bool(own), _made_by(own, known)) for name, own in listeners.items())
        made += _listeners(points)
        if made > MOST_MADE:
            points = tuple(replace(point, made_by=None) for point in points)
        if found and found[-1].points == points and found[-1].until == start:
            found[-1] = replace(found[-1], until=ends[start])
        else:
            found.append(Edited(start, points, ends[start]))
    return tuple(found), tuple(known)


def _listeners(points: Sequence[Point]) -> int:
    """What it takes to make the edits of one pass again."""
    numbers = sum(len(point.made_by or ()) for point in points)
    return numbers and numbers + len(points)


def _made_by(listeners: Sequence[Listener], known: dict[Edit, int]) -> tuple[int, ...] | None:
    """The numbers of the edits that these are; None where something else is among them."""
    edits = [edit for listener in listeners if not is_guard(listener) for edit in _edits_of(listener)]
    kept = [edit for edit in edits if edit is not None and edit.kind != "mean"]
    if len(kept) < len(edits) or (not known.keys() >= set(kept) and too_many({*known, *kept})):
        return None
    return tuple(known.setdefault(edit, len(known)) for edit in kept)


def _edits_of(listener: Listener) -> tuple[Edit | None, ...]:
    """None for what is no edit."""
    return listener.edits if isinstance(listener, _Forgotten) else (edit_of(listener),)


def forgotten(branch: Branch, spans: Sequence[tuple[int, int]]) -> dict[int, Edits]:
    """The interventions by start of pass. Without the model none can be made again, but those that are known are saved
    again with the run."""
    found: dict[int, Edits] = {}
    for edited, steps in _passes(branch, spans):
        edits: Edits = {point.name: (_Forgotten(_known(point, branch)),) * point.replaced for point in edited.points}
        found |= {spans[step][0]: edits for step in steps}
    return found


def made_again(session: Session, branch: Branch) -> dict[int, Edits]:
    """Those of passes with edits that are known, which take the place of what is ``forgotten`` in the record. Raises
    RunFileError where that would take too long."""
    spans, found = session.trace.spans, dict[int, Edits]()
    if sum(len(steps) * _listeners(edited.points) for edited, steps in _passes(branch, spans)) > MOST_MADE:
        raise RunFileError(
            "The file of this run names more edits of its passes than can be made again; use another file."
        )
    for edited, steps in _passes(branch, spans):
        known = {
            point.name: [branch.interventions[number] for number in point.made_by]
            for point in edited.points
            if point.made_by is not None
        }
        for step in steps if known else ():
            start, end = spans[step]
            found[start] = session.trace.applied[start] | session.edits_again(Pass(step, start, end), known)
    return found


def _passes(branch: Branch, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[Edited, range]]:
    """Which passes were edited like this: their places among the spans."""
    starts = [start for start, _ in spans]
    for edited in branch.edits:
        last = max(edited.until, edited.start + 1)
        yield edited, range(bisect_left(starts, edited.start), bisect_left(starts, last))


def _known(point: Point, branch: Branch) -> tuple[Edit | None, ...]:
    """The edits that were made at a point; None stands for what a file does not keep."""
    return (None,) if point.made_by is None else tuple(branch.interventions[number] for number in point.made_by)


@dataclass(frozen=True)
class _Forgotten:
    """In the place of what replaced a tensor, and cannot be made again."""

    edits: tuple[Edit | None, ...]

    def __call__(self, tensor: Tensor, point: HookPoint) -> Tensor:
        raise EngineError(
            f"A hook, or an edit to the mean, changed {point.name} in this pass, and a saved run does not keep hooks "
            "and means; what lies behind it in this layer cannot be recomputed."
        )
