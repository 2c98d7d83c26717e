"""Which edits the passes of a run were made with: as facts of a run file, and as listeners again.

An edit is data, so it is kept; a hook is a piece of a program, which a file of a run never holds. A mean over all
positions before is not kept either: to make it again, every pass before would have to be made again first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from engine.edit_listeners import Pass, edit_of, is_guard
from engine.edits import Edit
from engine.errors import EngineError, RunFileError
from engine.hooks import HookPoint, Listener
from engine.run_file_facts import MOST_MADE, Edited, Point, too_many
from engine.trace import Edits

if TYPE_CHECKING:
    from engine.session import Session


class EditFacts:
    """Collects the edits of a run: ``interventions`` are all that were found so far, in the order of their numbers."""

    def __init__(self) -> None:
        self._known: dict[Edit, int] = {}
        self._made = 0

    @property
    def interventions(self) -> tuple[Edit, ...]:
        return tuple(self._known)

    def of(self, spans: Sequence[tuple[int, int]], applied: Mapping[int, Edits], n: int) -> tuple[Edited, ...]:
        """What listeners did in passes over positions before ``n``, by name of the point; passes that follow one
        another and were edited alike are told together."""
        found: list[Edited] = []
        ends = dict(spans)
        for start, listeners in sorted(applied.items()):
            if start >= n:
                break
            points = self._points(listeners)
            if found and found[-1].points == points and found[-1].until == start:
                found[-1] = replace(found[-1], until=ends[start])
            else:
                found.append(Edited(start, points, ends[start]))
        return tuple(found)

    def _points(self, listeners: Edits) -> tuple[Point, ...]:
        points = tuple(Point(name, bool(own), _made_by(own, self._known)) for name, own in listeners.items())
        self._made += _listeners(points)
        return points if self._made <= MOST_MADE else tuple(replace(point, made_by=None) for point in points)


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


def forgotten(
    edits: Sequence[Edited], interventions: Sequence[Edit], spans: Sequence[tuple[int, int]]
) -> dict[int, Edits]:
    """The interventions by start of pass. Without the model none can be made again, but those that are known are saved
    again with the run."""
    found: dict[int, Edits] = {}
    for edited, steps in _passes(edits, spans):
        own: Edits = {
            point.name: (_Forgotten(_known(point, interventions)),) * point.replaced for point in edited.points
        }
        found |= {spans[step][0]: own for step in steps}
    return found


def check_made(parts: Iterable[tuple[Sequence[Edited], Sequence[tuple[int, int]]]]) -> None:
    """Edits and spans of all parts of a run: raises RunFileError where to make them again would take too long."""
    if sum(len(steps) * _listeners(own.points) for part in parts for own, steps in _passes(*part)) > MOST_MADE:
        raise RunFileError(
            "The file of this run names more edits of its passes than can be made again; use another file."
        )


def made_again(
    session: Session, edits: Sequence[Edited], interventions: Sequence[Edit], spans: Sequence[tuple[int, int]]
) -> dict[int, Edits]:
    """What is ``forgotten``, and in the place of edits that are known those."""
    found = forgotten(edits, interventions, spans)
    for edited, steps in _passes(edits, spans):
        known = {
            point.name: [interventions[number] for number in point.made_by]
            for point in edited.points
            if point.made_by is not None
        }
        for step in steps if known else ():
            start, end = spans[step]
            index = 0 if start == 0 else start - len(session.prompt) + 1
            found[start] = found[start] | session.edits_again(Pass(index, start, end), known)
    return found


def _passes(edits: Sequence[Edited], spans: Sequence[tuple[int, int]]) -> Iterator[tuple[Edited, range]]:
    """Which passes were edited like this: their places among the spans."""
    starts = [start for start, _ in spans]
    for edited in edits:
        last = max(edited.until, edited.start + 1)
        yield edited, range(bisect_left(starts, edited.start), bisect_left(starts, last))


def _known(point: Point, interventions: Sequence[Edit]) -> tuple[Edit | None, ...]:
    """The edits that were made at a point; None stands for what a file does not keep."""
    return (None,) if point.made_by is None else tuple(interventions[number] for number in point.made_by)


@dataclass(frozen=True)
class _Forgotten:
    """In the place of what replaced a tensor, and cannot be made again."""

    edits: tuple[Edit | None, ...]

    def __call__(self, tensor: Tensor, point: HookPoint) -> Tensor:
        raise EngineError(
            f"A hook, or an edit to the mean, changed {point.name} in this pass, and a saved run does not keep hooks "
            "and means; what lies behind it in this layer cannot be recomputed."
        )
