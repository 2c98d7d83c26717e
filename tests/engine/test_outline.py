"""An inventory as a tree: every tensor once, sums that add up, layers and components where they belong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from engine.checkpoint.entries import Entry
from engine.checkpoint.inventory import inventory
from engine.checkpoint.outline import Outline, by_component, by_layer
from tests.engine.families.oracle import Oracles

VARIANTS = ("llama-default", "mixtral-default", "deepseek_v3-default", "llama4_text-default", "gpt2-default")


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return Oracles(tmp_path_factory.mktemp("oracles"))


def kinds(outline: Outline, number: int = 0) -> list[str]:
    return [outline.nodes[child].kind for child in outline.nodes[number].children]


@pytest.mark.parametrize("make", [by_layer, by_component])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_stands_in_it_once(oracles: Oracles, variant: str, make) -> None:
    found = inventory(oracles[variant].folder)
    outline = make(found.entries)
    assert sorted(map(id, outline.entries)) == sorted(map(id, found.entries))
    assert [outline.nodes[leaf].entry for leaf in outline.leaves] == list(outline.entries)
    for number, node in enumerate(outline.nodes):
        inside = outline.entries[node.start : node.stop]
        assert (node.size, node.parameters) == (sum(e.size for e in inside), sum(e.parameters for e in inside))
        assert node.entry is inside[0]
        assert all(outline.nodes[child].parent == number for child in node.children)
        spans = [(outline.nodes[child].start, outline.nodes[child].stop) for child in node.children]
        if node.children:
            assert (spans[0][0], spans[-1][1]) == (node.start, node.stop)
            assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert (node.kind == "tensor") == (not node.children)
    assert outline.nodes[0].size == found.size
    assert outline.nodes[0].parameters == found.parameters


def test_layers_that_are_alike_stand_under_one_head(oracles: Oracles) -> None:
    outline = by_layer(inventory(oracles["llama-default"].folder).entries)
    assert kinds(outline) == ["before", "layers", "behind"]
    layers = outline.nodes[outline.nodes[0].children[1]]
    assert [outline.nodes[child].layers for child in layers.children] == [(layer,) for layer in layers.layers]
    mixed = by_layer(inventory(oracles["deepseek_v3-default"].folder).entries)
    assert kinds(mixed) == ["before", "layer", "layers", "behind"]
    first = mixed.nodes[0].children[2]
    inside = mixed.nodes[mixed.nodes[first].children[0]]
    alike = [mixed.nodes[child] for child in inside.children if mixed.nodes[child].kind == "alike"]
    assert [(node.entry.role, node.stop - node.start) for node in alike] == [
        ("W_gate", 8),
        ("W_up", 8),
        ("W_down", 8),
    ]


def test_components_are_those_of_the_accounts(oracles: Oracles) -> None:
    found = inventory(oracles["deepseek_v3-default"].folder)
    outline = by_component(found.entries)
    heads = [outline.nodes[child] for child in outline.nodes[0].children]
    assert [(node.entry.component, node.parameters) for node in heads if node.entry.component] == [
        (part.name, part.parameters) for part in found.components
    ]


def test_tensors_without_a_role_come_last(oracles: Oracles, tmp_path: Path) -> None:
    known = inventory(oracles["llama-default"].folder).entries
    extra = Entry("x.1.y", "", "", None, None, (2,), (), "F32", 8, 0, "model.safetensors", "unknown")
    outline = by_layer((*known, extra))
    assert kinds(outline)[-1] == "roleless"
    assert outline.entries[-1] is extra
    assert kinds(by_layer((extra,))) == ["roleless"]
    assert by_layer(()).nodes == ()
    last = by_component((*known, extra))
    assert last.nodes[last.nodes[0].children[-1]].entry.component == ""
