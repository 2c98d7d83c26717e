"""What two branches differ by in their experts, as sentences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.compare_arrays import BOTH, NEITHER, ONLY_A, ONLY_B
from app.compare_experts import RowOfTwo, SharesOfTwo, UseOfTwo
from app.widgets.amounts import grouped
from app.widgets.scale import figure

Translate = Callable[[str], str]


def set_text(kind: int, tr: Translate) -> str:
    """Of an expert at a place."""
    return {
        NEITHER: tr("chosen in neither"),
        BOTH: tr("chosen in both"),
        ONLY_A: tr("chosen in A only"),
        ONLY_B: tr("chosen in B only"),
    }[kind]


def row_of_two(row: RowOfTwo, tr: Translate) -> str:
    """Who chose what, and how sure the routers were."""
    forms = ((BOTH, tr("both chose {0}")), (ONLY_A, tr("only A {0}")), (ONLY_B, tr("only B {0}")))
    found = [(form, np.flatnonzero(row.sets == kind).tolist()) for kind, form in forms]
    chosen = [form.format(", ".join(map(str, experts))) for form, experts in found if experts]
    text = " · ".join([*chosen, tr("router entropy, A − B: {0} nats").format(figure(row.entropy))])
    return text if row.shared_gate is None else text + tr(" · shared gate, A − B: {0}").format(figure(row.shared_gate))


def shares_of_two(shares: SharesOfTwo, tr: Translate) -> str:
    """Balance and entropy of two runs."""
    a, b = shares.a, shares.b
    form = tr(
        "A has {0} positions, B {1} · balance loss {2} and {3} (1 when even) · mean router entropy {4} and {5} nats"
    )
    return form.format(grouped(a.n), grouped(b.n), *map(figure, (a.balance, b.balance, a.entropy, b.entropy)))


def taken_of_two(use: UseOfTwo, tr: Translate) -> str:
    """How often an expert was chosen in each."""
    form = tr("expert {0} of layer {1} took {2} of {3} positions in A, {4} of {5} in B")
    counts = map(grouped, (use.a.taken, use.a.n, use.b.taken, use.b.n))
    return form.format(use.expert, use.layer, *counts)


def listed_of_two(use: UseOfTwo, tr: Translate) -> str:
    """Which tokens are listed."""
    if not use.left_out:
        return tr("tokens it took in either, what differs most first")
    form = tr("tokens it took in either, what differs most first ({0} left out: only one branch lists them)")
    return form.format(use.left_out)
