"""The branches of a run file: whether they make a tree whose parts lie end to end, and where its passes began."""

from __future__ import annotations

from itertools import pairwise

from engine.branches import Place
from engine.edit_checks import names
from engine.errors import RunFileError
from engine.run_file_facts import (
    MOST_BRANCHES,
    NO_PLACE,
    TOO_MANY_BRANCHES,
    Aside,
    Node,
    RunFacts,
    TreeFacts,
    check_passes,
)

_TORN = "its branches do not fit together"


def check_tree(facts: RunFacts) -> None:
    """Raises RunFileError, a piece of a sentence: for parents that are missing, or come later, so that there are no
    cycles; for parts that overlap, leave a gap or lie outside of the context; and for a branch that begins where its
    parent has ended."""
    if facts.tree is None:
        if any(mark.branch is not None for mark in facts.marks):
            raise RunFileError(NO_PLACE)
        return
    tree, n_prompt, n_ctx = facts.tree, facts.branch.n_prompt, facts.model.config.n_ctx
    _check_numbers(tree)
    ends = _ends(facts, tree)
    nodes = {node.number: node for node in tree.branches}
    for node in tree.branches:
        start, end = Place(*node.start), ends[node.number]
        if not _stands(start, n_prompt) or not _is_end(end, n_prompt) or end.before(start) or end.tokens > n_ctx + 1:
            raise RunFileError(_TORN)
        if node.parent is not None and (
            ends[node.parent].before(start) or start.before(Place(*nodes[node.parent].start))
        ):
            raise RunFileError(_TORN)
    if Place(*tree.branches[0].start) != Place(n_prompt, 0):
        raise RunFileError(_TORN)
    _check_edits(facts, tree)
    n_tokens = tokens_by_branch(facts)
    if not all((mark.position or 0) < n_tokens.get(mark.branch, 0) for mark in facts.marks):
        raise RunFileError(NO_PLACE)


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


def path_of(tree: TreeFacts) -> list[Node]:
    """The branches that the path goes through, the first one of the run first."""
    nodes = {node.number: node for node in tree.branches}
    chain = [nodes[tree.current]]
    while (parent := chain[0].parent) is not None:
        chain.insert(0, nodes[parent])
    return chain


def _ends(facts: RunFacts, tree: TreeFacts) -> dict[int, Place]:
    """Where each branch ends: behind what the path has of it, and its asides, which must lie end to end."""
    ends = {node.number: Place(*node.start) for node in tree.branches}
    for node, following in pairwise(path_of(tree)):
        ends[node.number] = Place(*following.start)
    ends[tree.current] = Place(facts.branch.n_tokens, facts.branch.n_read)
    for aside in tree.asides:
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


def _check_edits(facts: RunFacts, tree: TreeFacts) -> None:
    known = [frozenset(names(edit)) for edit in facts.branch.interventions]
    for aside in tree.asides:
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
    if facts.tree is None:
        return {None: facts.branch.n_tokens}
    return {None: facts.branch.n_tokens, **{number: end.tokens for number, end in _ends(facts, facts.tree).items()}}
