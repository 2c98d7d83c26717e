"""Two steps that chose the token at one position, of two branches: what each thought of the same tokens."""

from __future__ import annotations

from dataclasses import dataclass

from app.run import visible, written
from engine.frames import StepFrame

_MOST = 64


@dataclass(frozen=True)
class Compared:
    """``a`` and ``b`` are raw probabilities; ``known``: whether each is one of those recorded. One that is not is at
    most the least that is, which then stands here; ``difference`` is what is certain of it, 0 where both may be the
    same."""

    id: int
    text: str
    a: float
    b: float
    known: tuple[bool, bool] = (True, True)

    @property
    def difference(self) -> float:
        least = min(self.a, self.b)
        return (self.a if self.known[0] else least) - (self.b if self.known[1] else least)


def compared(a: StepFrame, b: StepFrame) -> tuple[Compared, ...]:
    """The tokens recorded of either step, by falling difference of their raw probabilities, either way; ties by id."""
    of_a, of_b = _raw(a), _raw(b)
    texts = {piece.id: written(piece) for step in (b, a) for piece in step.candidates}
    least = [min(of_one.values(), default=0.0) for of_one in (of_a, of_b)]
    rows = [
        Compared(
            token,
            texts.get(token, visible("")),
            of_a.get(token, least[0]),
            of_b.get(token, least[1]),
            (token in of_a, token in of_b),
        )
        for token in of_a.keys() | of_b.keys()
    ]
    return tuple(sorted(rows, key=lambda row: (-abs(row.difference), row.id))[:_MOST])


def _raw(step: StepFrame) -> dict[int, float]:
    frame = step.sampling
    return dict(zip(frame.ids.tolist(), frame.raw.tolist(), strict=True))
