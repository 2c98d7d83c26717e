"""How a session goes back and from branch to branch: what lies behind the place where two part is exchanged.

Nothing is given up before what takes its place is there: layers that forget are refilled first, or, where that is ended
midway, before the next pass.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.amounts import bytes_text
from engine.branches import Branch, Place, Tail, Token, Tree
from engine.checkpoint.memory import free_bytes
from engine.edit_sources import Sources
from engine.errors import Cancelled, ContextError, EngineError, MemoryShortage, NotNow, PositionError
from engine.frames import Answer, BranchFacts, Piece, SamplingFrame, StepFrame, TreeFrame
from engine.gate import Answering
from engine.lens import Readings
from engine.refill import Parts, count, made_again
from engine.replay import choice_again
from engine.settings import Sampling

if TYPE_CHECKING:
    from engine.attention_maps import AttentionMaps
    from engine.last_posts import LastPosts
    from engine.point_rows import PointRows
    from engine.questions import AskAttentionGrid, AskAttentionMap, Question
    from engine.session import Session

_SLICE_SECONDS = 0.01
_LEAST = 5e-324  # a probability of 0 has a logarithm all the same


@dataclass
class Looks:
    """What answers keep of the path that they are about."""

    sources: Sources
    maps: OrderedDict[AskAttentionGrid | AskAttentionMap, AttentionMaps] = field(default_factory=OrderedDict)
    posts: LastPosts | None = None
    expert_adds: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)
    lens: Readings = field(default_factory=Readings)
    point_rows: PointRows | None = None


class Branching:
    """The tree of one run of a session, or of one without its model. Its methods are those of Session by the same name;
    no pass is under way."""

    def __init__(self, session: Session, prompt_end: Piece | None) -> None:
        self._session = session
        self._prompt_end = prompt_end
        self.tree = Tree(len(session.prompt))

    def take_back(self, n_tokens: int) -> int:
        session, n_prompt = self._session, len(self._session.prompt)
        if not n_prompt <= n_tokens <= session.n_tokens:
            raise EngineError(
                f"The run cannot be taken back to {n_tokens:,} tokens: its prompt has {n_prompt:,}, and with what came "
                f"since it has {session.n_tokens:,}."
            )
        place = Place(n_tokens, n_tokens - 1 if n_tokens > n_prompt else 0)
        if place.reads >= session.cache.length:  # it stands there
            return self.refill()
        parts = self._before_cut(place)
        with self._leaving():
            if not self.tree.owns(place):
                self._set_aside(place)
                self.tree.add(place)
            self._cut_for_good(place)
        return self._filled(parts, count(self._session.cache.missing()))

    def branch(self, position: int, token: int) -> int:
        session, n_prompt = self._session, len(self._session.prompt)
        if not n_prompt <= position < session.n_tokens:
            stand = f"generated tokens stand at {n_prompt:,} to {session.n_tokens - 1:,}"
            none = "no token has been generated yet"
            raise EngineError(f"A branch cannot begin at position {position:,}: {stand if session.output else none}.")
        if not 0 <= token < session.loaded.config.d_vocab:
            most = session.loaded.config.d_vocab
            raise ContextError(f"The token id {token} is not in this model's vocabulary of {most:,}.")
        if not session.records:
            raise EngineError(
                "Without a record the logits that a branch begins with are gone; make the session with record=True."
            )
        settings, sampling = session.settings[position - n_prompt], by_hand(session, position, token)
        place = Place(position, position)
        parts = self._before_cut(place)
        with self._leaving():
            self._set_aside(place)
            made = self.tree.add(place)
            self._cut_for_good(place)
        session.add_token(token, settings, log_probability(sampling), sampling=sampling)
        self._filled(parts, count(session.cache.missing()))
        return made.number

    def switch(self, number: int) -> int:
        branch = self.tree.branch(number)
        if number != self.tree.current:
            place = self.tree.parting(number)
            with self._leaving():
                self._set_aside(place)
                self._cut_for_good(place)
                self._fetch(number, place)
            branch.looks = None
        return self.refill()

    def drop_branch(self, number: int) -> int:
        branch, others = self.tree.branch(number), self.tree.children(number)
        if branch.parent is None:
            raise EngineError("The first branch is the run itself and cannot be dropped; begin another run instead.")
        if others:
            raise EngineError(
                f"Branch {number} cannot be dropped: branch {others[0].number} goes on from it; drop that one first."
            )
        refilled = self.switch(branch.parent) if number == self.tree.current else 0
        self.tree.branches.pop(number, None)  # an empty one is gone already
        return refilled

    def tokens_of(self, number: int) -> tuple[Token, ...]:
        """All tokens of the output on the path of a branch."""
        place, n_prompt = self.tree.parting(number), len(self._session.prompt)
        if number == self.tree.current:
            return tuple(self._session.tokens)
        tokens = list(self._session.tokens[: place.tokens - n_prompt])
        for branch, _, stop in self.tree.segments(number, place, None):
            for tail in branch.tails:
                tokens += tail.tokens[: None if stop is None else max(0, stop.tokens - tail.start.tokens)]
        return tuple(tokens)

    def facts(self) -> TreeFrame:
        """The tree as plain data."""
        return TreeFrame(tuple(map(self._facts_of, self.tree.branches.values())), self.tree.current)

    def refill(self) -> int:
        """Give layers back what they miss, before a pass needs it; the positions that were."""
        session = self._session
        missing = session.cache.missing()  # of every pass, and nearly always nothing
        parts = made_again(session, missing, session.cache.length, session.check) if missing else {}
        return self._filled(parts, count(missing))

    @torch.inference_mode()
    def answering_on(self, number: int, question: Question) -> Answering:
        """As Session.answering_on."""
        from engine.answers import answering

        if number not in self.tree.branches:
            raise PositionError(f"There is no branch {number} any more.")
        branch, session = self.tree.branch(number), self._session
        if not isinstance(branch.looks, Looks):
            branch.looks = Looks(Sources(session))
        trace, moves = session.trace, session.moves
        with closing(answering(session, question)) as work:
            while session.trace is trace and session.moves == moves and number in self.tree.branches:
                with self._away(branch, branch.looks):
                    try:
                        part = _advanced(work)
                    except StopIteration as done:
                        return done.value
                yield part
        raise Cancelled

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _away(self, branch: Branch, looks: Looks) -> Iterator[None]:
        """Stand on a branch inside a ``with`` block; afterwards all is as it was. Raises NotNow inside of a pass."""
        session, home = self._session, self.tree.current
        if branch.number == home:
            yield
            return
        if session.computing:
            raise NotNow(
                "Another branch can be looked at where a pass begins, or when the run has ended, not inside of a pass."
            )
        place, tails = self.tree.parting(branch.number), self._tails_by_branch()
        aside = self._tails(place)
        with session.cache.windows_kept(), session.looking(looks):
            try:
                session.cut(place, self._prompt_end)
                self._fetch(branch.number, place)
                yield
            finally:
                for number, kept in tails.items():
                    self.tree.branches[number].tails = kept
                self.tree.current = home
                # an answer may hold views of the other branch's windows until its next slice
                with session.cache.windows_kept():
                    session.cut(place, self._prompt_end)
                    for _, tail in aside:
                        session.extend(tail)

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """A branch without a token of its own is none any more when the session leaves it."""
        before = self.tree.branches[self.tree.current]
        empty = before.parent is not None and before.start.tokens >= self._session.n_tokens
        yield
        if empty and before.number != self.tree.current and not self.tree.children(before.number):
            del self.tree.branches[before.number]

    def _cut_for_good(self, place: Place) -> None:
        self._session.moves += 1
        self._session.cut(place, self._prompt_end)
        self._session.forget(place.reads)

    def _fetch(self, number: int, place: Place) -> None:
        """From a place on, the path of another branch."""
        self.tree.current = number
        for branch, _, stop in self.tree.segments(number, place, None):
            for tail in branch.take(stop):
                self._session.extend(tail)

    def _set_aside(self, place: Place) -> None:
        for number, tail in self._tails(place):
            self.tree.branches[number].set_aside(tail)

    def _tails(self, place: Place) -> list[tuple[int, Tail]]:
        """Copies of what lies behind a place of the current path, and whose it is."""
        end = Place(self._session.n_tokens, self._session.cache.length)
        self._check_memory(place.reads, end.reads)
        segments = self.tree.segments(self.tree.current, place, end)
        return [(branch.number, self._tail(first, stop or end)) for branch, first, stop in segments]

    def _tail(self, start: Place, end: Place) -> Tail:
        session, n_prompt = self._session, len(self._session.prompt)
        tokens = tuple(session.tokens[start.tokens - n_prompt : end.tokens - n_prompt])
        cache = session.cache.tail(start.reads, end.reads)
        trace = session.trace.tail(start.reads, end.reads, self._room()) if session.records else None
        return Tail(start, end, tokens, cache, trace)

    def _check_memory(self, start: int, end: int) -> None:
        """Raises MemoryShortage where what is to be set aside would not fit beside all else."""
        session = self._session
        stream = min(session.trace.bytes_of(start, end), max(0, self._room())) if session.records else 0
        needed, free = session.cache.bytes_of(start, end) + stream, free_bytes(session.loaded.device)
        if needed > free:
            raise MemoryShortage(
                f"To set {end - start:,} positions aside takes {bytes_text(needed)}, and {bytes_text(free)} are free; "
                "drop a branch or close other programs."
            )

    def _room(self) -> int:
        """Bytes that the streams set aside may still take: together no more than the record of the path itself may,
        where what is let go of can be made again."""
        if not self._session.remakes:
            return 2**63
        tails = [tail for branch in self.tree.branches.values() for tail in branch.tails]
        return self._session.record.memory - sum(tail.stream_bytes for tail in tails)

    def _tails_by_branch(self) -> dict[int, list[Tail]]:
        return {branch.number: list(branch.tails) for branch in self.tree.branches.values()}

    def _before_cut(self, place: Place) -> Parts:
        """What layers have let go of and would miss behind a cut, made while all that it is made of is there."""
        session = self._session
        return made_again(session, session.cache.missing(place.reads), place.reads, session.check)

    def _filled(self, parts: Parts, positions: int) -> int:
        for layer, made in parts.items():
            self._session.cache.fill(layer, made)
        self._session.refilled = positions
        return positions

    def _facts_of(self, branch: Branch) -> BranchFacts:
        session, n_prompt = self._session, len(self._session.prompt)
        tokens, size = [], sum(tail.bytes for tail in branch.tails)
        end = Place(session.n_tokens, session.cache.length)
        for owner, first, stop in self.tree.segments(self.tree.current, self.tree.branches[0].start, end):
            if owner is branch:
                last = stop or end
                tokens = session.tokens[first.tokens - n_prompt : last.tokens - n_prompt]
                size += sum(kept.bytes_of(first.reads, last.reads) for kept in (session.cache, session.trace))
        tokens = [*tokens, *(token for tail in branch.tails for token in tail.tokens)]
        return BranchFacts(
            branch.number,
            branch.parent,
            branch.start.tokens,
            tuple(token.piece for token in tokens),
            sum(token.log_probability for token in tokens),
            any(token.edited for token in tokens),
            size,
        )


def _advanced(work: Answering) -> Answer | None:
    """Several slices at once: to go there and back may take longer than one. What there is to show is not held up."""
    deadline = time.monotonic() + _SLICE_SECONDS
    while (part := next(work)) is None and time.monotonic() < deadline:
        pass
    return part


def log_probability(sampling: SamplingFrame) -> float:
    """The natural logarithm of the chosen token's probability in the raw distribution."""
    return math.log(max(sampling.chosen_raw, _LEAST))


def token_of_step(number: int, step: StepFrame, settings: Sampling) -> Token:
    """The token that a step chose, of a run that was saved."""
    sampling = step.sampling if step.sampling.by_hand else None
    return Token(number, step.piece, settings, log_probability(step.sampling), step.edited, sampling)


def by_hand(session: Session, position: int, token: int) -> SamplingFrame:
    """How a user's token stands among those that could have been chosen at a position."""
    settled = choice_again(session, position, lambda drawn: torch.full_like(drawn, token)).frame()
    return replace(settled, by_hand=True)
