"""The branches of a run file: whether they make a tree whose parts lie end to end, and where its passes began."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from engine.branches import Branch, Place, Tree
from engine.edit_checks import names
from engine.errors import RunFileError
from engine.run_file_facts import (
    MOST_BRANCHES,
    NO_PLACE,
    TOO_MANY_BRANCHES,
    Aside,
    RunFacts,
    TreeFacts,
    check_passes,
)

_TORN = "its branches do not fit together"


def check_tree(facts: RunFacts) -> None:
    """Raises RunFileError, a piece of a sentence: for parents that are missing, or come later, so that there are no
    cycles; for parts that overlap, leave a gap or lie outside of the context; and for a branch that begins where its
    parent has ended."""
    ends = {} if facts.tree is None else _checked_ends(facts, facts.tree)
    n_tokens = _n_tokens(facts, ends)
    if not all((mark.position or 0) < n_tokens.get(mark.branch, 0) for mark in facts.marks):
        raise RunFileError(NO_PLACE)


def _checked_ends(facts: RunFacts, told: TreeFacts) -> dict[int, Place]:
    _check_numbers(told)
    tree = tree_of(told)
    ends = _ends(facts, tree)
    n_prompt, most = facts.branch.n_prompt, facts.model.config.n_ctx + 1
    for branch in tree.branches.values():
        start, end = branch.start, ends[branch.number]
        if not _stands(start, n_prompt) or not _is_end(end, n_prompt) or end.before(start) or end.tokens > most:
            raise RunFileError(_TORN)
        if branch.parent is not None and (
            ends[branch.parent].before(start) or start.before(tree.branches[branch.parent].start)
        ):
            raise RunFileError(_TORN)
    if tree.branches[0].start != Place(n_prompt, 0):
        raise RunFileError(_TORN)
    _check_edits(facts, told)
    return ends


def _check_numbers(tree: TreeFacts) -> None:
    """A parent is made before its branches, so that no branch can be its own."""
    if len(tree.branches) > MOST_BRANCHES:
        raise RunFileError(TOO_MANY_BRANCHES)
    numbers = [node.number for node in tree.branches]
    rising = numbers[:1] == [0] and all(one < other for one, other in pairwise(numbers))
    known = set(numbers)
    made = rising and tree.branches[0].parent is None and numbers[-1] < tree.following < 2**31
    if not made or not all(node.parent in known and node.parent < node.number for node in tree.branches[1:]):
        raise RunFileError(_TORN)
    compared = set() if tree.compared is None else {tree.compared.a, tree.compared.b} - {None}
    if tree.current not in known or not compared <= known:
        raise RunFileError(_TORN)


def tree_of(told: TreeFacts) -> Tree:
    """The branches, of whose parts there are none yet."""
    branches = (Branch(node.number, node.parent, Place(*node.start)) for node in told.branches)
    return Tree.of(branches, told.current, told.following)


def _ends(facts: RunFacts, tree: Tree) -> dict[int, Place]:
    """Where each branch ends: behind what the path has of it, and its asides, which must lie end to end."""
    ends = {branch.number: branch.start for branch in tree.branches.values()}
    for branch, following in pairwise(tree.chain(tree.current)):
        ends[branch.number] = following.start
    ends[tree.current] = Place(facts.branch.n_tokens, facts.branch.n_read)
    for aside in facts.asides:
        start, end = Place(*aside.start), Place(*aside.end)
        borders = aside.branch in ends and aside.branch != tree.current and ends[aside.branch] == start
        if not borders or not start.before(end) or end.before(start) or not _stands(end, facts.branch.n_prompt):
            raise RunFileError(_TORN)
        ends[aside.branch] = end
    return ends


def _stands(place: Place, n_prompt: int) -> bool:
    """Whether a run can be cut here: all tokens are read, or all but the newest; or no pass has ended yet."""
    return _is_end(place, n_prompt) or n_prompt <= place.reads == place.tokens


def _is_end(place: Place, n_prompt: int) -> bool:
    """Whether a run can end here: a token is chosen and not read yet, or no pass has ended yet."""
    return place == (n_prompt, 0) or n_prompt <= place.reads == place.tokens - 1


def _check_edits(facts: RunFacts, told: TreeFacts) -> None:
    known = [frozenset(names(edit)) for edit in facts.branch.interventions]
    for aside in told.asides:
        check_passes(aside.edits, known)
        if not all(aside.start[1] <= edited.start < aside.end[1] for edited in aside.edits):
            raise RunFileError("its edits are not at their points")


def spans_of(aside: Aside, n_prompt: int) -> list[tuple[int, int]]:
    """[start, end) of the passes that began in it: the first of a run reads the prompt, every other one position."""
    first, last = aside.start[1], aside.end[1]
    whole = [(0, n_prompt)] if first == 0 < last else []
    return [*whole, *((position, position + 1) for position in range(max(first, n_prompt), last))]


def tokens_by_branch(facts: RunFacts) -> dict[int | None, int]:
    """How many tokens the path of each branch has; None: the one that the run stands on."""
    return _n_tokens(facts, {} if facts.tree is None else _ends(facts, tree_of(facts.tree)))


def _n_tokens(facts: RunFacts, ends: Mapping[int, Place]) -> dict[int | None, int]:
    return {None: facts.branch.n_tokens, **{number: end.tokens for number, end in ends.items()}}
