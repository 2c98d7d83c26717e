"""An inventory as a tree: every tensor stands in it, those that are alike together. By layer, or by component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from engine.checkpoint.entries import Entry
from engine.checkpoint.folding import folded, kinds, sections
from engine.checkpoint.roles import COMPONENTS

NodeKind = Literal["all", "before", "behind", "roleless", "layers", "layer", "component", "alike", "tensor"]


@dataclass(slots=True)
class Node:
    """A group of tensors, or one. Its tensors are [start, stop) in the order of the tree; ``children`` are numbers of
    nodes. ``layers``: those that it has; ``entry``: its first tensor; ``size`` bytes and ``parameters`` of all."""

    kind: NodeKind
    parent: int
    start: int
    stop: int
    layers: tuple[int, ...]
    entry: Entry
    children: tuple[int, ...] = ()
    size: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class Outline:
    """``nodes[0]`` is the whole, where there is any tensor. ``entries`` in the order of the tree; ``leaves``: the nodes
    of the same."""

    nodes: tuple[Node, ...]
    entries: tuple[Entry, ...]
    leaves: tuple[int, ...]


def by_layer(entries: Sequence[Entry]) -> Outline:
    """Layers that are alike under one head, in each layer its tensors in the order of the pass."""
    tree = _Tree()
    found = sections(entries)
    of_layer = {layer: section for (_, layer, _), section in found.items() if layer is not None}

    def groups(parent: int) -> None:
        behind = False
        for group in folded(entries):
            if group.layers:
                _layers(tree, parent, group.layers, of_layer)
                behind = True
                continue
            roles = any(row.entry.role for row in group.rows)
            kind: NodeKind = "roleless" if not roles else "behind" if behind else "before"
            section = found[(roles, None, behind)] if (roles, None, behind) in found else found[(roles, None, True)]
            tree.group(kind, parent, (), partial(_alike, tree, entries=section))

    return tree.whole(entries, groups)


def by_component(entries: Sequence[Entry]) -> Outline:
    """Components in the order of the pass, in each its layers."""
    tree = _Tree()

    def groups(parent: int) -> None:
        for name in (*COMPONENTS, ""):
            own = [entry for entry in entries if entry.component == name]
            if own:
                tree.group("component", parent, (), partial(_in_layers, tree, entries=own))

    return tree.whole(entries, groups)


def _in_layers(tree: _Tree, parent: int, entries: Iterable[Entry]) -> None:
    for (_, layer, _), section in sections(entries).items():
        if layer is None:
            _alike(tree, parent, section)
        else:
            tree.group("layer", parent, (layer,), partial(_alike, tree, entries=section))


def _layers(tree: _Tree, parent: int, layers: tuple[int, ...], of_layer: dict[int, list[Entry]]) -> None:
    def each(node: int) -> None:
        for layer in layers:
            tree.group("layer", node, (layer,), partial(_alike, tree, entries=of_layer[layer]))

    if len(layers) > 1:
        tree.group("layers", parent, layers, each)
    else:
        each(parent)


def _alike(tree: _Tree, parent: int, entries: Iterable[Entry]) -> None:
    for same in kinds(entries):
        if len(same) == 1:
            tree.tensor(parent, same[0])
        else:
            tree.group("alike", parent, (), partial(_each, tree, entries=same))


def _each(tree: _Tree, parent: int, entries: Iterable[Entry]) -> None:
    for entry in entries:
        tree.tensor(parent, entry)


class _Tree:
    """Nodes as they are added, parents before their children."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.entries: list[Entry] = []
        self.leaves: list[int] = []
        self._children: list[list[int]] = []

    def whole(self, entries: Sequence[Entry], fill: Callable[[int], object]) -> Outline:
        if entries:
            self.group("all", -1, (), fill)
        for node, children in zip(self.nodes, self._children, strict=True):
            node.children = tuple(children)
        return Outline(tuple(self.nodes), tuple(self.entries), tuple(self.leaves))

    def group(self, kind: NodeKind, parent: int, layers: tuple[int, ...], fill: Callable[[int], object]) -> None:
        """``fill`` adds what is in it."""
        start, number = len(self.entries), len(self.nodes)
        self._add(Node(kind, parent, start, start, layers, None))  # type: ignore[arg-type]  # the first is known below
        fill(number)
        node = self.nodes[number]
        node.stop, node.entry = len(self.entries), self.entries[start]
        inside = self.entries[start:]
        node.size, node.parameters = sum(e.size for e in inside), sum(e.parameters for e in inside)

    def tensor(self, parent: int, entry: Entry) -> None:
        place = len(self.entries)
        self.entries.append(entry)
        self.leaves.append(len(self.nodes))
        layers = () if entry.layer is None else (entry.layer,)
        self._add(Node("tensor", parent, place, place + 1, layers, entry, (), entry.size, entry.parameters))

    def _add(self, node: Node) -> None:
        if node.parent >= 0:
            self._children[node.parent].append(len(self.nodes))
        self.nodes.append(node)
        self._children.append([])
