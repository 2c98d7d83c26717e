"""A run as a tree: branches share what was read up to where they part; the rest of each is set aside, once.

The session holds one path from the first token to the newest. Of every other branch its own part lies here as tails:
tokens, what the passes left in the cache, and what was recorded of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from engine.cache import CacheTail
from engine.errors import EngineError
from engine.frames import Piece, SamplingFrame
from engine.settings import Sampling
from engine.stream_store import BLOCK
from engine.trace import TraceTail


class Place(NamedTuple):
    """So many tokens of a path, and so many positions of it read: all of them, or all but the last."""

    tokens: int
    reads: int

    def clipped(self, low: Place, high: Place) -> Place:
        """The nearest place between two others, in both counts."""
        tokens = min(max(self.tokens, low.tokens), high.tokens)
        return Place(tokens, min(max(self.reads, low.reads), high.reads))

    def before(self, other: Place) -> bool:
        """Whether a path that goes through both has tokens or reads between this one and the other."""
        return self.tokens < other.tokens or self.reads < other.reads


@dataclass(frozen=True)
class Token:
    """A token of the output. ``number`` is one of its own among those of all branches. ``log_probability``: the natural
    logarithm of its probability in the raw distribution.

    ``sampling``: how a token came about that was put in by hand; None: a pass chose it. ``edited``: in that pass
    something was replaced.
    """

    number: int
    piece: Piece
    settings: Sampling
    log_probability: float
    edited: bool = False
    sampling: SamplingFrame | None = None


@dataclass(frozen=True)
class Tail:
    """A part of a branch that is set aside: tokens [start, end), and what reading positions [start, end) left."""

    start: Place
    end: Place
    tokens: tuple[Token, ...]
    cache: CacheTail
    trace: TraceTail | None  # None: the session records nothing

    @cached_property
    def stream_bytes(self) -> int:
        """Of the stream alone; asked of all parts whenever another one is set aside."""
        return 0 if self.trace is None else self.trace.stream_bytes

    @property
    def bytes(self) -> int:
        """Of its tensors."""
        return self.cache.bytes + (0 if self.trace is None else self.trace.bytes)

    def joined(self, behind: Tail) -> Tail | None:
        """One part instead of two that lie end to end, the same to the last bit; None where they stay apart: they are
        long, so that it would be much to copy, or one lacks at their border what the other has."""
        if behind.end.reads - self.start.reads > BLOCK or (self.trace is None) != (behind.trace is None):
            return None
        cache = self.cache.joined(behind.cache)
        trace = None if self.trace is None or behind.trace is None else self.trace.joined(behind.trace)
        if cache is None or (trace is None and self.trace is not None):
            return None
        return Tail(self.start, behind.end, (*self.tokens, *behind.tokens), cache, trace)

    def split(self, at: Place) -> tuple[Tail, Tail]:
        """What lies before a place, and what behind it."""
        at = at.clipped(self.start, self.end)
        count = at.tokens - self.start.tokens
        caches = self.cache.split(at.reads)
        traces = (None, None) if self.trace is None else self.trace.split(at.reads)
        before = Tail(self.start, at, self.tokens[:count], caches[0], traces[0])
        return before, Tail(at, self.end, self.tokens[count:], caches[1], traces[1])


@dataclass
class Branch:
    """``start``: where it parts from ``parent``. ``tails``: what of its own part is set aside, in order to its end.

    ``looks`` are what answers have worked out about it while the session stood elsewhere.
    """

    number: int
    parent: int | None
    start: Place
    tails: list[Tail] = field(default_factory=list)
    looks: object = None

    def set_aside(self, tail: Tail) -> None:
        """What lies before all that is set aside. Short parts become one: who steps back leaves them token by token."""
        joined = tail.joined(self.tails[0]) if self.tails else None
        self.tails[: 0 if joined is None else 1] = [joined or tail]

    def take(self, stop: Place | None) -> Iterator[Tail]:
        """The tails up to a place (None: all), which are not set aside any more; one that goes on behind it is cut."""
        while self.tails and (stop is None or self.tails[0].start.before(stop)):
            tail = self.tails.pop(0)
            if stop is not None and tail.end.clipped(tail.start, stop) != tail.end:
                tail, rest = tail.split(stop)
                self.tails.insert(0, rest)
            yield tail


class Tree:
    """The branches by number, in the order of their making, and on which of them the session stands."""

    def __init__(self, n_prompt: int) -> None:
        self.branches = {0: Branch(0, None, Place(n_prompt, 0))}
        self.current = 0
        self.following = 1  # the number of the next one

    @classmethod
    def of(cls, branches: Iterable[Branch], current: int, following: int) -> Tree:
        """The tree of a run that was saved."""
        tree = cls(0)
        tree.branches = {branch.number: branch for branch in branches}
        tree.current, tree.following = current, following
        return tree

    def branch(self, number: int) -> Branch:
        """Raises EngineError where there is none of this number."""
        if number not in self.branches:
            numbers = ", ".join(map(str, self.branches))
            raise EngineError(f"There is no branch {number}; this run has {numbers}.")
        return self.branches[number]

    def chain(self, number: int) -> list[Branch]:
        """A branch with all that it goes on from, the first one of the run first."""
        chain = [self.branch(number)]
        while (parent := chain[0].parent) is not None:
            chain.insert(0, self.branches[parent])
        return chain

    def children(self, number: int) -> list[Branch]:
        """The branches that begin inside of one."""
        return [branch for branch in self.branches.values() if branch.parent == number]

    def add(self, start: Place) -> Branch:
        """A new branch that shares the current path up to a place; the session stands on it from now on."""
        parent = [branch for branch in self.chain(self.current) if branch.start.before(start)]
        made = Branch(self.following, parent[-1].number if parent else 0, start)
        self.branches[made.number] = made
        self.current, self.following = made.number, self.following + 1
        return made

    def owns(self, place: Place) -> bool:
        """Whether what lies behind a place of the current path belongs to the current branch alone."""
        mine, others = self.branches[self.current], self.children(self.current)
        return not any(place.before(branch.start) for branch in (mine, *others))

    def parting(self, number: int) -> Place:
        """Up to where the current path and that of another branch are the same."""
        mine, other = self.chain(self.current), self.chain(number)
        shared = sum(1 for one, two in zip(mine, other, strict=False) if one is two)
        ends = [chain[shared].start for chain in (mine, other) if len(chain) > shared]
        return Place(min(end.tokens for end in ends), min(end.reads for end in ends))

    def segments(self, number: int, start: Place, end: Place | None) -> list[tuple[Branch, Place, Place | None]]:
        """What of a path lies behind a place, up to ``end`` (None: to its own end): branch by branch, from and to."""
        chain = self.chain(number)
        found: list[tuple[Branch, Place, Place | None]] = []
        for branch, following in zip(chain, [*chain[1:], None], strict=True):
            stop = end if following is None else following.start
            first = Place(max(start.tokens, branch.start.tokens), max(start.reads, branch.start.reads))
            if stop is None or first.before(stop):
                found.append((branch, first, stop))
        return found

    def numbers(self, current: Sequence[Token]) -> set[int]:
        """The numbers of all tokens of all branches, with those of the current path."""
        tails = [tail for branch in self.branches.values() for tail in branch.tails]
        return {token.number for token in (*current, *(token for tail in tails for token in tail.tokens))}
