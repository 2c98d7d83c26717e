"""Back over tokens and from branch to branch: how the worker's run is taken elsewhere, and the frames of its steps.

What is wanted waits here until no pass is under way. No torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from app.mailbox import Mailbox
from app.notices import BranchFrame
from app.saving import Saving
from engine.frames import BackFrame, StepFrame, SwitchedFrame

if TYPE_CHECKING:
    from engine.recorded_run import RecordedRun
    from engine.session import Session, Step

BACK, BRANCH = "back", "branch"  # as the tasks of errors
Move = Callable[["Session"], int]  # the positions that were refilled


@dataclass(frozen=True)
class Change:
    """``move`` takes the session elsewhere; what it raises is said as an error of ``task``."""

    task: str
    move: Move


class Changes:
    """Those that are wanted, in order, and the frames of the steps of all branches."""

    def __init__(self, mailbox: Mailbox, saving: Saving) -> None:
        self._mailbox, self._saving = mailbox, saving
        self._lock = Lock()
        self._wanted: deque[Change] = deque()
        self._frames: dict[int, StepFrame] = {}  # by the numbers of steps; of the engine's thread
        self._keep({})

    # ---- from any thread -----------------------------------------------------------------------------------------

    def want(self, change: Change) -> None:
        with self._lock:
            self._wanted.append(change)

    @property
    def waiting(self) -> bool:
        return bool(self._wanted)

    def next(self) -> Change | None:
        """The one whose turn it is; it does not wait any more."""
        with self._lock:
            return self._wanted.popleft() if self._wanted else None

    def drop(self) -> None:
        """Another run: what was wanted of the old one means nothing now."""
        with self._lock:
            self._wanted.clear()

    def back(self, n_tokens: int) -> Change:
        return Change(BACK, lambda session: session.take_back(n_tokens))

    def branch(self, position: int, token: int | str) -> Change:
        return Change(BRANCH, partial(self._branch, position, token))

    def switch(self, number: int) -> Change:
        return Change(BRANCH, lambda session: session.switch(number))

    def drop_branch(self, number: int) -> Change:
        return Change(BRANCH, lambda session: session.drop_branch(number))

    # ---- the engine's thread -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Another run."""
        self.drop()
        self._keep({})

    def take_up(
        self, session: Session | RecordedRun, steps: tuple[StepFrame, ...], others: Mapping[int, StepFrame]
    ) -> None:
        """A saved run, with the steps that it has already; ``others`` by number those of other branches, which are told
        to the window."""
        self.drop()
        own = {token.number: step for token, step in zip(session.tokens, steps, strict=True)}
        self._keep({**others, **own})
        for number in session.branching_tree.branches:
            if number != session.branch_number:
                frames = tuple(self._frames[token.number] for token in session.tokens_of(number))
                self._mailbox.post(BranchFrame(number, frames))

    def _keep(self, frames: dict[int, StepFrame]) -> None:
        self._frames = self._saving.others = frames

    def take(self, step: Step, frame: StepFrame) -> None:
        """A step is done."""
        self._frames[step.number] = frame

    def make(self, session: Session | RecordedRun, change: Change) -> None:
        """Take the session elsewhere and say where it stands. Raises what the change raises (ModelNeeded for a run
        without its model); what has moved is said nevertheless."""
        before, refilled = session.moves, 0
        try:
            refilled = change.move(session)  # type: ignore[arg-type]  # in the shape of a session
        finally:
            if session.moves != before:
                self._tell(session, change, refilled)
            self.tell_tree(session)

    def tell_tree(self, session: Session | RecordedRun | None) -> None:
        """The branches as they are."""
        if session is not None:
            self._mailbox.post(session.tree())

    def _tell(self, session: Session | RecordedRun, change: Change, refilled: int) -> None:
        steps = self._steps(session)
        self._saving.begin(self._saving.beside, steps)
        if change.task == BACK:
            self._mailbox.post(BackFrame(session.n_tokens, refilled))
        else:
            self._mailbox.post(SwitchedFrame(session.branch_number, steps, refilled))
        self._mailbox.post(session.trace.use())

    def _steps(self, session: Session | RecordedRun) -> tuple[StepFrame, ...]:
        """Of the branch that the session stands on; those of branches that are gone are let go."""
        known = session.known_tokens()
        self._keep({number: frame for number, frame in self._frames.items() if number in known})
        return tuple(self._frames[token.number] for token in session.tokens)

    def _branch(self, position: int, token: int | str, session: Session) -> int:
        """The pass is that of the token which stood there, so that its step is too, but for what was chosen."""
        chosen = session.token_of(token) if isinstance(token, str) else token
        index = position - len(session.prompt)
        before = session.tokens[index].number if 0 <= index < len(session.tokens) else -1
        session.branch(position, chosen)
        made = session.tokens[-1]
        assert made.sampling is not None, "it was put in by hand"
        self._frames[made.number] = replace(
            self._frames[before],
            piece=made.piece,
            sampling=made.sampling,
            candidates=tuple(map(session.vocabulary_piece, made.sampling.ids.tolist())),
            finish=session.finish(chosen, position),
        )
        return session.refilled
