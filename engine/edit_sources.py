"""What an edit takes from other positions: as their passes left it, recomputed from the record and kept for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from engine.replay import replay, replay_over

if TYPE_CHECKING:
    from engine.session import Session

_APART = 16  # positions between two sums that are kept, so that a run that goes back need not begin again


class Sources:
    """Values by point and position, and sums over positions, of a session's finished passes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._values: dict[tuple[str, int], Tensor] = {}
        self._sums: dict[str, list[tuple[int, Tensor]]] = {}  # float64, over so many positions, rising
        self._seen: dict[str, tuple[int, int, Tensor]] = {}  # of the last pass: the sum over its [start, end)

    def value(self, name: str, position: int) -> Tensor:
        """The tensor of a point at one position, its axis ``pos`` of size 1."""
        key = (name, position)
        if key not in self._values:
            self._values[key] = replay(self._session, [name], position, position + 1)[name].clone()
        return self._values[key]

    def total(self, name: str, end: int) -> Tensor | None:
        """The sum over positions [0, end), float64; None where there are none."""
        sums = self._sums.setdefault(name, [])
        done, total = sums[-1] if sums else (0, None)
        first, last, seen = self._seen.pop(name, (-1, -1, None))
        if first == done < last <= end and seen is not None:
            done, total = last, seen if total is None else total + seen
        for part in replay_over(self._session, name, done, end):
            total = self._sum(name, part) if total is None else total + self._sum(name, part)
        if total is not None:
            self._keep(sums, end, total)
        return total

    def see(self, name: str, start: int, end: int, tensor: Tensor) -> None:
        """What the pass over [start, end) leaves at a point, so that it need not be recomputed; an observer."""
        self._seen[name] = start, end, self._sum(name, tensor)

    def truncate(self, length: int) -> None:
        """Forget what is of positions from this one on: others may come to stand there."""
        self._values = {key: value for key, value in self._values.items() if key[1] < length}
        self._seen = {name: seen for name, seen in self._seen.items() if seen[1] <= length}
        for sums in self._sums.values():
            while sums and sums[-1][0] > length:
                sums.pop()

    def _sum(self, name: str, tensor: Tensor) -> Tensor:
        axis = self._session.loaded.model.points[name].info.shape.index("pos")
        return tensor.double().sum(axis, keepdim=True)

    @staticmethod
    def _keep(sums: list[tuple[int, Tensor]], end: int, total: Tensor) -> None:
        if sums and sums[-1][0] // _APART == end // _APART:
            sums.pop()
        sums.append((end, total))
