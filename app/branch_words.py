"""How a branch of a run is told: its own text, how probable it was, what it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.run import visible, whole_text
from app.widgets.amounts import bytes_text, percent
from engine.frames import BranchFacts, TreeFrame

Tr = Callable[[str], str]
_SHORT = 24  # letters


def own_text(branch: BranchFacts) -> str:
    """The tokens of a branch that are its own, as one text with its white space drawn; characters that are split over
    tokens are whole again."""
    return visible(whole_text(branch.pieces)) if branch.pieces else ""


def short_text(branch: BranchFacts) -> str:
    """The same, as much as fits beside other words."""
    text = own_text(branch)
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def per_token(branch: BranchFacts) -> float:
    """The geometric mean of the probabilities of the tokens of its own; NaN where there is none."""
    return math.exp(branch.log_probability / len(branch.pieces)) if branch.pieces else float("nan")


def per_token_text(branch: BranchFacts) -> str:
    return percent(per_token(branch)) if branch.pieces else "–"


def title(branch: BranchFacts, tr: Tr) -> str:
    """The number of a branch with the position that it begins at."""
    if branch.parent is None:
        return tr("branch {0}, the run as it began").format(branch.number)
    return tr("branch {0} of {1} from position {2}").format(branch.number, branch.parent, branch.start)


def described(branch: BranchFacts, tr: Tr) -> str:
    """Everything about a branch, for a tip and for screen readers."""
    parts = [title(branch, tr), tr("{0} tokens of its own").format(len(branch.pieces))]
    if branch.pieces:
        form = tr("ln p {0:.2f}, {1} a token")
        parts.append(form.format(branch.log_probability, per_token_text(branch)))
    parts += [tr("edited")] if branch.edited else []
    parts.append(tr("{0} beside what it shares").format(bytes_text(branch.bytes)))
    return ", ".join(parts).replace("-", "−") + f": “{own_text(branch)}”"


def of_number(tree: TreeFrame | None, number: int | None) -> BranchFacts | None:
    """A branch of the tree; None where there is none of that number."""
    return None if tree is None else next((one for one in tree.branches if one.number == number), None)
