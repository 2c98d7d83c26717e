"""A run with branches: the path that it stands on, and what it is asked about all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from engine.branches import Place, Tail, Token, Tree
from engine.branching import Branching
from engine.cache import KVCache
from engine.frames import Piece, TreeFrame
from engine.gate import Answering
from engine.point_rows import PointRows
from engine.questions import Question
from engine.settings import Sampling
from engine.trace import Trace


class Branched:
    """What a session, and a run without its model, have in common. Which of them it is, is in what they add."""

    cache: KVCache
    trace: Trace
    _branching: Branching

    def __init__(self, prompt: Iterable[int] = ()) -> None:
        self.prompt = list(prompt)
        self.output: list[int] = []
        self.settings: list[Sampling] = []  # by which each token of the output was chosen
        self.tokens: list[Token] = []  # the output, with what is known of each token
        self.check: Callable[[], None] = lambda: None  # between two passes of a refill; what it raises ends that
        self.refilling: Callable[[int, int], None] = lambda done, total: None  # positions of one, told before each pass
        self.refilled = 0  # positions that layers which forget were given back when it was taken elsewhere last
        self.moves = 0  # how often the run was taken elsewhere: back, or to another branch
        self.expert_adds: dict[tuple[int, int, int], Tensor] = {}  # answers' own: (layer, expert, position) to figures
        self.point_rows: PointRows | None = None  # answers' own: of the point that is looked at over positions

    @property
    def n_tokens(self) -> int:
        """Tokens so far, prompt and output."""
        return len(self.prompt) + len(self.output)

    # -- in the engine's thread, with no pass under way ------------------------------------------------------------

    @torch.inference_mode()
    def switch(self, number: int) -> int:
        """Stand at the end of another branch; returns as ``take_back``. Raises EngineError where there is none."""
        return self._moved().switch(number)

    @torch.inference_mode()
    def drop_branch(self, number: int) -> int:
        """Forget a branch; from the current one the run goes to that from which it parted. Returns as ``switch``.

        Raises EngineError for the first branch, and for one that another goes on from.
        """
        return self._moved().drop_branch(number)

    @torch.inference_mode()
    def tree(self) -> TreeFrame:
        """The branches, with what each keeps."""
        return self._branching.facts()

    @property
    def branch_number(self) -> int:
        """Of the branch that the run stands on."""
        return self._branching.tree.current

    @property
    def branching_tree(self) -> Tree:
        """The branches with what of them is set aside."""
        return self._branching.tree

    def tokens_of(self, number: int) -> tuple[Token, ...]:
        """All tokens of the output of a branch, those that it shares too."""
        return self._branching.tokens_of(number)

    def known_tokens(self) -> set[int]:
        """The numbers of the tokens, and so of the steps, of all branches."""
        return self._branching.tree.numbers(self.tokens)

    def answering_on(self, number: int, question: Question) -> Answering:
        """An answer about another branch: the run goes there for each slice of work, and back.

        Raises EngineError where there is no such branch, NotNow inside of a pass, and Cancelled where the run has been
        taken elsewhere between two slices.
        """
        return self._branching.answering_on(number, question)

    def _moved(self) -> Branching:
        """Raises EngineError where the run cannot go elsewhere now."""
        return self._branching

    # -- a saved run -----------------------------------------------------------------------------------------------

    def take_branches(self, tree: Tree) -> None:
        """Those of a saved run; what was taken up of it before is the path of the current one."""
        self._branching.tree = tree

    # -- what going elsewhere is made of; for ``engine.branching`` ---------------------------------------------------

    def cut(self, place: Place, prompt_end: Piece | None) -> None:
        """End the path here; what layers have let go of is missing then."""
        kept = place.tokens - len(self.prompt)
        del self.output[kept:], self.settings[kept:], self.tokens[kept:]
        self.cache.cut(place.reads)
        self.trace.cut(place.reads)

    def extend(self, tail: Tail) -> None:
        """Go on with what was set aside; it begins where the path ends."""
        self.output.extend(token.piece.id for token in tail.tokens)
        self.settings.extend(token.settings for token in tail.tokens)
        self.tokens.extend(tail.tokens)
        self.cache.extend(tail.cache)
        if tail.trace is not None:
            self.trace.extend(tail.trace)

    def forget(self, length: int) -> None:
        """What answers have worked out of positions from this one on."""
        self.expert_adds = {key: kept for key, kept in self.expert_adds.items() if key[2] < length}
        if self.point_rows is not None:
            self.point_rows.truncate(length - self.point_rows.start)
