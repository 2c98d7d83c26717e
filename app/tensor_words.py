"""What is said about tensors, groups of them and their figures. Imports no Qt: ``tr`` is the caller's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.engine_words import said
from app.inventory_text import NOTES
from app.terminal import shown
from app.widgets.amounts import bytes_text, grouped, percent
from engine.checkpoint.folding import ranges
from engine.frames import SingularValues, TensorFigures

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry
    from engine.checkpoint.inventory import Inventory
    from engine.checkpoint.outline import Node

Tr = Callable[[str], str]


def node_text(node: Node, tr: Tr) -> str:
    """The head of a group, or the role of a tensor."""
    if node.kind == "tensor":
        return tensor_text(node.entry, tr)
    if node.kind == "alike":
        return f"{said(node.entry.role, tr) or tr('alike')} × {node.stop - node.start}"
    if node.kind == "layers":
        return tr("layers {0}").format(ranges(node.layers))
    if node.kind == "layer":
        return tr("layer {0}").format(node.layers[0])
    if node.kind == "component":
        return said(node.entry.component, tr) or tr("no part of the model")
    texts = {
        "all": tr("all tensors"),
        "before": tr("before the layers"),
        "behind": tr("behind the layers"),
        "roleless": tr("without a role"),
    }
    return texts[node.kind]


def marked_text(node: Node, tr: Tr) -> str:
    """The same with what is special about its tensors: "embedding (tied)"."""
    note = NOTES[node.entry.state] if node.kind in ("tensor", "alike") else ""
    return f"{node_text(node, tr)} ({tr(note)})" if note else node_text(node, tr)


def tensor_text(entry: Entry, tr: Tr) -> str:
    """The role, with its expert where it has one; the name where there is no role."""
    role = said(entry.role, tr) or shown(entry.name)
    return role if entry.expert is None else tr("{0}, expert {1}").format(role, entry.expert)


def shape_text(entry: Entry) -> str:
    return f"[{', '.join(map(str, entry.shape))}]"


def symbols_text(entry: Entry) -> str:
    return f"[{', '.join(entry.symbols)}]" if entry.symbols else ""


def note_text(entry: Entry, tr: Tr) -> str:
    """What is special about a tensor, in words."""
    return tr("also the unembedding") if entry.state == "tied" else tr(NOTES[entry.state])


def node_facts(node: Node, tr: Tr) -> str:
    """A group, or a tensor, in one line."""
    amounts = tr("{0}, {1} parameters").format(bytes_text(node.size), grouped(node.parameters))
    if node.kind == "tensor":
        return f"{entry_facts(node.entry, tr)}, {amounts}"
    return tr("{0}: {1} tensors, {2}").format(node_text(node, tr), grouped(node.stop - node.start), amounts)


def entry_facts(entry: Entry, tr: Tr) -> str:
    """A tensor in one line: what it is for, its shape, how it is stored."""
    where = "" if entry.layer is None else tr("layer {0}, ").format(entry.layer)
    note = note_text(entry, tr)
    parts = (f"{where}{tensor_text(entry, tr)} {shape_text(entry)}", symbols_text(entry), entry.dtype, note)
    return ", ".join(part for part in parts if part)


def model_text(inventory: Inventory, tr: Tr) -> str:
    """The caption: what is listed."""
    text = tr("{0}: {1} tensors, {2}").format(
        shown(inventory.name), grouped(len(inventory.entries)), bytes_text(inventory.size)
    )
    if not inventory.components:
        return text
    text += tr(", {0} parameters").format(grouped(inventory.parameters))
    if inventory.active == inventory.parameters:
        return text
    return text + tr(", {0} active per token").format(grouped(inventory.active))


def below_text(inventory: Inventory, tr: Tr) -> str:
    """What the table of components leaves to be said."""
    total = inventory.parameters
    lines = [tr("In memory: {0} as float32, {1} as bfloat16.").format(bytes_text(4 * total), bytes_text(2 * total))]
    unused = inventory.size - sum(part.size for part in inventory.components)
    if unused:
        lines.append(tr("Besides, {0} in the files are of no parameter of the model.").format(bytes_text(unused)))
    if inventory.active != total:
        lines.append(tr("Active: all but the routed experts that a token is not sent to; the embedding counts whole."))
    return " ".join(lines)


def figures_text(figures: TensorFigures, tr: Tr) -> str:
    """The statistics of a tensor, label and figure, in the order of reading."""
    if not figures.count:
        return tr("The tensor is empty: an axis has the length 0.")
    pairs = [(tr("numbers"), grouped(figures.count))]
    if figures.finite:
        pairs += [
            (tr("min"), seven(figures.low)),
            (tr("max"), seven(figures.high)),
            (tr("mean"), seven(figures.mean)),
            (tr("deviation"), seven(figures.deviation)),
            (tr("max abs"), seven(figures.peak)),
            (tr("norm"), seven(figures.norm)),
            (tr("zeros"), percent(figures.zeros / figures.count)),
        ]
    pairs += [(tr("NaN"), grouped(figures.nans)), (tr("infinite"), grouped(figures.infinities))]
    return "    ".join(f"{label} {value}".replace(" ", "\N{NO-BREAK SPACE}") for label, value in pairs)


def seven(value: float) -> str:
    """A figure to seven digits, with a real minus sign."""
    return f"{value:.7g}".replace("-", "−") if math.isfinite(value) else str(value)


def spectrum_text(found: SingularValues, tr: Tr) -> str:
    """What a spectrum says in three figures."""
    condition = tr("infinite (to rounding)") if math.isinf(found.condition) else seven(found.condition)
    largest = seven(float(found.values[0])) if found.values.size else "0"
    form = tr("largest {0}    effective rank {1} of {2}    stable rank {3}    condition {4}    took {5} s")
    ranks = f"{found.effective_rank:.1f}", len(found.values), f"{found.stable_rank:.2f}"
    parts = form.format(largest, *ranks, condition, f"{found.seconds:.2g}").split("    ")
    return "    ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
