"""The tensors panel on real files: what it lists, finds, copies and reads; at 90,000 tensors too."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PySide6.QtCore import QAbstractItemModel, QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QAbstractItemModelTester
from safetensors.torch import load_file, save_file

from app.export import WRITERS
from app.inventory_csv import COLUMNS, csv_lines
from app.inventory_reader import listed
from app.panels.tensors import TensorsPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.tensor_tree import TensorModel
from app.widgets.treemap import Treemap
from engine import tensor_answers
from engine.answers import whole
from engine.checkpoint.entries import Entry
from engine.checkpoint.inventory import Inventory
from engine.checkpoint.outline import by_component, by_layer
from engine.errors import EngineError
from engine.frames import EndFrame, Listed, ModelFrame, RunFrame
from engine.questions import AskInventory, AskSingularValues, AskTensorBlock, AskTensorFigures
from tests.app.made_runs import model
from tests.app.panel_runs import Shown, show
from tests.engine.families.oracle import Oracles

MAP, COMPONENTS, TENSOR, SPECTRUM = range(4)  # the pages


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return Oracles(tmp_path_factory.mktemp("oracles"))


def answer(shown: Shown) -> list[object]:
    """As reader and engine do: everything that was asked, and what is asked because of it."""
    asked = []
    while shown.asked:
        key, question = shown.asked.pop(0)
        asked.append(question)
        shown.panel.show_answer(key, _answered(question))
    return asked


def _answered(question: Any) -> Any:
    if not isinstance(question, AskInventory):
        return whole(tensor_answers.answering(question))
    try:
        return listed(question.source, lambda: None)
    except EngineError as error:
        return Listed(question.source, None, sentence=str(error))


def opened(
    qtbot: Any, source: str | Path, theme: Theme = DARK, size: tuple[int, int] = (1000, 700)
) -> tuple[Shown, TensorsPanel]:
    """The panel at the files of a model, none being loaded."""
    shown = show(qtbot, TensorsPanel, Run(), theme, size)
    shown.panel.show_source(str(source))
    answer(shown)
    return shown, shown.panel


def node_of(panel: TensorsPanel, name: str) -> int:
    outline = panel._outline()
    assert outline is not None
    return next(leaf for leaf in outline.leaves if outline.nodes[leaf].entry.name == name)


def pick(shown: Shown, name: str, page: int = TENSOR) -> list[object]:
    shown.panel._tabs.setCurrentIndex(page)
    shown.panel.tree.pick(node_of(shown.panel, name))
    return answer(shown)


Q1 = "model.layers.1.self_attn.q_proj.weight"


# -- which model -------------------------------------------------------------------------------------------------------


def test_without_a_model_it_says_what_to_do(qtbot: Any) -> None:
    shown = show(qtbot, TensorsPanel, Run())
    assert shown.asked == []
    assert "Open a model" in shown.panel._pages._sentence.text()
    assert (shown.panel.badge(), shown.panel.caption()) == ("", "")
    assert shown.panel.values()["names"].size == 0


def test_the_loaded_model_is_listed_once_it_is_there(qtbot: Any, tiny_model: Path) -> None:
    run = Run()
    shown = show(qtbot, TensorsPanel, run)
    run.absorb(ModelFrame(**{**vars(model()), "source": str(tiny_model), "name": "tiny"}))
    shown.panel.show_run()
    assert [question for _, question in shown.asked] == [AskInventory(str(tiny_model))]
    answer(shown)
    assert shown.panel.caption().startswith(f"{tiny_model.name}: 30 tensors")
    assert shown.panel.badge() == "from headers"
    shown.panel.show_run()
    assert shown.asked == [], "it is read once"


def test_another_source_and_back(qtbot: Any, tiny_model: Path, oracles: Oracles) -> None:
    run = Run()
    run.absorb(ModelFrame(**{**vars(model()), "source": str(tiny_model), "name": "tiny"}))
    shown = show(qtbot, TensorsPanel, run)
    answer(shown)
    panel, other = shown.panel, str(oracles["mixtral-default"].folder)
    panel.show_recent([other])
    assert panel._sources.count() == 2
    panel._sources.setCurrentIndex(1)
    panel._sources.activated.emit(1)
    answer(shown)
    assert "active per token" in panel.caption()
    panel._sources.activated.emit(0)
    answer(shown)
    assert "30 tensors" in panel.caption()
    panel._sources.setEditText(other)
    panel._type_source()
    assert shown.asked == [], "a text that is in the list is chosen, not typed"
    panel._sources.setEditText("/nowhere/model")
    qtbot.keyClick(panel._sources.lineEdit(), Qt.Key.Key_Return)
    answer(shown)
    assert "There is no file or folder" in panel._pages._sentence.text()
    assert panel.badge() == ""
    panel.show_source("/nowhere/model")
    assert len(shown.asked) == 1, "what failed is tried again"


def test_hidden_it_asks_nothing_and_catches_up(qtbot: Any, tiny_model: Path) -> None:
    shown = show(qtbot, TensorsPanel, Run())
    shown.panel.hide()
    shown.panel.show_source(str(tiny_model))
    assert shown.asked == []
    shown.panel.show()
    assert [type(question) for _, question in shown.asked] == [AskInventory]
    answer(shown)
    assert "30 tensors" in shown.panel.caption()
    shown.panel._tabs.setCurrentIndex(TENSOR)
    shown.panel.hide()
    shown.panel.tree.pick(node_of(shown.panel, Q1))
    assert shown.asked == []
    shown.panel.show()
    answer(shown)
    assert shown.panel.figures.figures is not None


def test_an_answer_about_another_model_is_let_be(qtbot: Any, tiny_model: Path, oracles: Oracles) -> None:
    shown, panel = opened(qtbot, tiny_model)
    old = listed(str(tiny_model), lambda: None)
    panel.show_source(str(oracles["mixtral-default"].folder))
    panel.show_answer("tensors.headers", old)
    assert panel.caption() == ""
    answer(shown)
    assert panel.caption()


def test_a_new_model_makes_lost_questions_be_asked_again(qtbot: Any, tiny_model: Path, oracles: Oracles) -> None:
    """The worker forgets every question when a model arrives."""
    shown = show(qtbot, TensorsPanel, Run())
    shown.panel.show_source(str(tiny_model))
    shown.asked.clear()
    shown.run.absorb(ModelFrame(**{**vars(model()), "source": "demo"}))
    shown.panel.show_run()
    assert [question for _, question in shown.asked] == [AskInventory(str(tiny_model))]


# -- the tree ----------------------------------------------------------------------------------------------------------


def texts(tree: QAbstractItemModel, parent: Any = None) -> list[list[str]]:
    """Every row of a model, depth first."""
    from PySide6.QtCore import QModelIndex

    parent = parent or QModelIndex()
    found = []
    for row in range(tree.rowCount(parent)):
        first = tree.index(row, 0, parent)
        found.append([str(tree.index(row, column, parent).data()) for column in range(tree.columnCount(parent))])
        assert tree.parent(first) == parent
        found += texts(tree, first)
    return found


@pytest.mark.parametrize("variant", ["mixtral-default", "deepseek_v3-default", "gpt2-default", "llama4_text-default"])
@pytest.mark.parametrize("group", [0, 1])
def test_every_tensor_is_in_the_tree_once(qtbot: Any, oracles: Oracles, variant: str, group: int) -> None:
    _, panel = opened(qtbot, oracles[variant].folder)
    panel._grouped.setCurrentIndex(group)
    rows = texts(panel.tree.shelf)
    inventory = panel._listed.inventory
    assert sorted(row[-1] for row in rows if row[-1]) == sorted(entry.name for entry in inventory.entries)
    w_q = next(row for row in rows if row[0] in ("W_Q", "W_Q_down", "W_QKV"))
    entry = next(entry for entry in inventory.entries if entry.name == w_q[-1])
    assert w_q[1] == f"[{', '.join(map(str, entry.shape))}]"
    assert (w_q[2], w_q[6].replace("\u202f", "")) == (entry.dtype, str(entry.parameters))
    assert "d_model" in w_q[5]


def test_the_tree_keeps_the_rules_of_qt(qtbot: Any, oracles: Oracles) -> None:
    tree = TensorModel()
    tester = QAbstractItemModelTester(tree, QAbstractItemModelTester.FailureReportingMode.Fatal)
    for variant in ("mixtral-default", "llama-default"):
        tree.show_outline(listed(str(oracles[variant].folder), lambda: None).by_layer)
        texts(tree)
        for text in ("w_gate", "nothing has this", ""):
            tree.search(text)
            texts(tree)
    tree.show_outline(None)
    assert tree.rowCount() == 0
    assert tester.model() is tree


def test_a_search_leaves_what_fits_in_name_or_role(qtbot: Any, oracles: Oracles) -> None:
    _, panel = opened(qtbot, oracles["mixtral-default"].folder)
    inventory = panel._listed.inventory
    panel._search.setText("W_GATE")
    expected = {entry.name for entry in inventory.entries if "w_gate" in f"{entry.name} {entry.role}".lower()}
    assert {row[-1] for row in texts(panel.tree.shelf) if row[-1]} == expected
    assert panel._count.text() == f"{len(expected)} of {len(inventory.entries)}"
    assert set(panel.values()["names"].tolist()) == expected
    panel._search.setText("layers.1.self_attn.q")
    qtbot.keyClick(panel._search, Qt.Key.Key_Return)
    assert panel.figures.entry.name == Q1
    panel._search.setText("no such tensor")
    assert texts(panel.tree.shelf) == []
    panel._search.clear()
    assert panel.tree.shelf.left == len(inventory.entries)
    assert panel.figures.entry.name == Q1, "what was picked stays"


def test_another_model_ends_a_search_and_a_pick(qtbot: Any, tiny_model: Path, oracles: Oracles) -> None:
    shown, panel = opened(qtbot, tiny_model)
    panel._search.setText("q_proj")
    pick(shown, Q1)
    panel.show_source(str(oracles["mixtral-default"].folder))
    assert (panel._search.text(), panel.tree.picked, panel.figures.entry) == ("", None, None)
    answer(shown)
    assert panel.tree.shelf.left == len(panel._outline().entries)


def test_what_is_special_is_said_in_words(qtbot: Any, tmp_path: Path, oracles: Oracles) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    tensors = load_file(oracles["llama-default"].folder / "model.safetensors")
    tensors["extra.weight"] = torch.zeros(3)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
    tensors["model.norm.weight"] = torch.zeros(5)
    save_file(tensors, folder / "model.safetensors")
    config = (oracles["llama-default"].folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    _, panel = opened(qtbot, folder)
    notes = {row[-1]: (row[0], row[4]) for row in texts(panel.tree.shelf)}
    assert notes["model.embed_tokens.weight"] == ("embedding (tied)", "also the unembedding")
    assert notes["lm_head.weight"] == ("unembedding (unused copy)", "unused copy")
    assert notes["extra.weight"][1] == "unknown, unused"
    assert notes["model.layers.0.self_attn.rotary_emb.inv_freq"][1] == "unused"
    assert notes["model.norm.weight"][1] == "does not fit"
    assert panel._complaints.isVisible()
    assert "has the shape [5]" in panel._complaints.text()
    assert panel._complaints.textFormat() == Qt.TextFormat.PlainText


@pytest.mark.parametrize("damage", ["config", "weights", "empty"])
def test_damaged_folders_are_one_sentence(qtbot: Any, tmp_path: Path, damage: str) -> None:
    if damage != "empty":
        (tmp_path / "config.json").write_text('{"model_type": "llama"' if damage == "config" else '{"a": 1}')
        (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    shown, panel = opened(qtbot, tmp_path)
    assert panel._pages.empty
    assert len(panel._pages._sentence.text()) > 20
    assert (panel.caption(), panel.tree.shelf.rowCount()) == ("", 0)
    assert shown.asked == []


def test_huge_declared_shapes_are_listed_and_read_nothing(qtbot: Any, tmp_path: Path) -> None:
    """A sparse file of two terabytes."""
    header = b'{"w":{"dtype":"F32","shape":[1000000,524288],"data_offsets":[0,2097152000000]}}'
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        try:
            file.truncate(8 + len(header) + 2097152000000)
        except OSError:
            pytest.skip("this disk keeps no file of two terabytes")
    (tmp_path / "config.json").write_text("{}")
    began = time.perf_counter()
    shown, panel = opened(qtbot, tmp_path)
    panel._tabs.setCurrentIndex(SPECTRUM)
    panel.tree.pick(node_of(panel, "w"))
    assert time.perf_counter() - began < 8
    assert "singular values are computed up to 4\u202f096" in panel.spectrum._pages._sentence.text()
    assert not panel.spectrum._button.isEnabled()
    panel._tabs.setCurrentIndex(TENSOR)
    work = tensor_answers.answering(shown.asked[-1][1])
    for _ in range(3):
        next(work)  # slices, not the whole
    work.close()


# -- the map and the components ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, 1])
@pytest.mark.parametrize("variant", ["llama-default", "mixtral-default", "deepseek_v3-default"])
def test_areas_are_shares(qtbot: Any, oracles: Oracles, variant: str, weight: int) -> None:
    _, panel = opened(qtbot, oracles[variant].folder)
    panel.map._weight.setCurrentIndex(weight)
    found = panel.values()
    areas, amounts = found["areas"], found[("area_bytes", "area_parameters")[weight]]
    inventory = panel._listed.inventory
    whole_amount = inventory.parameters if weight else inventory.size
    assert amounts.sum() == whole_amount
    sides = areas[:, 2] * areas[:, 3]
    np.testing.assert_allclose(sides / sides.sum(), amounts / whole_amount, atol=1e-9)
    for one in range(len(areas)):
        x, y, w, h = areas[one]
        across = np.minimum(x + w, areas[:, 0] + areas[:, 2]) - np.maximum(x, areas[:, 0])
        down = np.minimum(y + h, areas[:, 1] + areas[:, 3]) - np.maximum(y, areas[:, 1])
        over = (across > 0.01) & (down > 0.01)
        assert np.flatnonzero(over).tolist() == [one]


def test_the_map_is_entered_and_left(qtbot: Any, oracles: Oracles) -> None:
    shown, panel = opened(qtbot, oracles["mixtral-default"].folder)
    picture, outline = panel.map.map, panel._outline()
    target = node_of(panel, "model.layers.1.block_sparse_moe.experts.2.w1.weight")
    picture.setFocus()
    picture.pick(target)
    assert panel.figures.entry.name.endswith("experts.2.w1.weight")
    assert panel.tree.picked == target
    levels = []
    while True:
        before = picture.root
        qtbot.keyClick(picture, Qt.Key.Key_Return)
        if picture.root == before:
            break
        levels.append(outline.nodes[picture.root].kind)
        panel.grab()
    assert levels == ["layers", "layer", "alike"]
    assert panel.map._path.text().startswith("all tensors › layers 0-")
    for _ in levels:
        qtbot.keyClick(picture, Qt.Key.Key_Backspace)
    assert (picture.root, panel.map._back.isEnabled()) == (0, False)
    box = picture.box_of(target)
    place = QPoint(round(box.center().x()), round(box.center().y()))
    qtbot.mouseDClick(picture, Qt.MouseButton.LeftButton, pos=place)
    assert outline.nodes[picture.root].kind == "layers"
    panel.map._back.click()
    assert picture.root == 0
    qtbot.mouseMove(picture, place)
    assert "parameters" in shown.said[-1]


def test_arrows_go_from_area_to_area(qtbot: Any, oracles: Oracles) -> None:
    _, panel = opened(qtbot, oracles["llama-default"].folder)
    picture = panel.map.map
    picture.setFocus()
    qtbot.keyClick(picture, Qt.Key.Key_Right)
    seen = [picture.picked]
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Up):
        before = picture.box_of(picture.picked).center()
        qtbot.keyClick(picture, key)
        after = picture.box_of(picture.picked).center()
        seen.append(picture.picked)
        if picture.picked != seen[-2]:
            moved = {Qt.Key.Key_Down: after.y() > before.y(), Qt.Key.Key_Up: after.y() < before.y()}
            moved |= {Qt.Key.Key_Right: after.x() > before.x(), Qt.Key.Key_Left: after.x() < before.x()}
            assert moved[key]
    assert len(set(seen)) > 2
    assert picture.accessibleDescription()


def test_a_pick_outside_of_the_part_that_is_shown_leaves_it(qtbot: Any, oracles: Oracles) -> None:
    _, panel = opened(qtbot, oracles["llama-default"].folder)
    panel.map._enter(node_of(panel, Q1))
    panel.tree.pick(node_of(panel, "model.embed_tokens.weight"))
    assert panel.map.map.root == 0


@pytest.mark.parametrize("variant", ["llama-default", "deepseek_v3-default"])
def test_components_are_those_of_the_inventory(qtbot: Any, oracles: Oracles, variant: str) -> None:
    _, panel = opened(qtbot, oracles[variant].folder)
    panel._tabs.setCurrentIndex(COMPONENTS)
    inventory, found = panel._listed.inventory, panel.values()
    assert found["component_parameters"].sum() == inventory.parameters
    assert found["component_active"].sum() == inventory.active
    table = panel.components.table
    routed = inventory.active != inventory.parameters
    assert ("active per token" in table.titles) == routed
    said = table.describe(len(table.rows) - 1).replace("\u202f", "")
    assert f"parameters {inventory.parameters}, share 100 %" in said
    assert said.startswith("component total")
    assert (f"active per token {inventory.active}" in said) == routed
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert "component" in table.accessibleDescription()
    panel.grab()


def test_an_unknown_model_has_no_components(qtbot: Any, tmp_path: Path) -> None:
    save_file({"a.b": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    shown, panel = opened(qtbot, tmp_path)
    panel._tabs.setCurrentIndex(COMPONENTS)
    assert "not known" in panel.components._pages._sentence.text()
    assert panel._complaints.isVisible()
    pick(shown, "a.b")
    assert panel.figures.figures.mean == 1
    panel.grab()


# -- one tensor --------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_tensor(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    assert pick(shown, Q1, MAP) == [], "nothing is read before it is looked at"
    panel._tabs.setCurrentIndex(TENSOR)
    asked = answer(shown)
    assert [type(question).__name__ for question in asked] == ["AskTensorFigures", "AskTensorHistogram"]
    numbers = load_file(tiny_model / "model.safetensors")[Q1].double().numpy()
    found = panel.values()
    assert found["mean"][0] == pytest.approx(numbers.mean(), rel=1e-9)
    assert found["norm"][0] == pytest.approx(np.linalg.norm(numbers), rel=1e-12)
    np.testing.assert_array_equal(found["counts"], np.histogram(numbers, 128)[0])
    np.testing.assert_allclose(found["block_means"], numbers, rtol=1e-12)
    assert panel.badge() == "read from the file"
    words = panel.figures._title.text()
    assert Q1 in words
    assert "[n_heads·d_head, d_model]" in words
    assert f"min\xa0{numbers.min():.7g}".replace("-", "−") in words
    assert panel.figures._describe_block(2, 3) == f"row 2, column 3: {numbers[2, 3]:.7g}".replace("-", "−")
    for quantity in range(3):
        panel.figures._quantity.setCurrentIndex(quantity)
        name = ("rms", "means", "peaks")[quantity]
        np.testing.assert_allclose(panel.figures.blocks.cells.values, found[f"block_{name}"], rtol=1e-6)
        panel.grab()
    panel.figures._log.setChecked(True)
    panel.grab()


def test_a_block_is_told_exactly_when_it_is_picked(qtbot: Any, tmp_path: Path) -> None:
    numbers = torch.randn(300, 500, generator=torch.Generator().manual_seed(3))
    save_file({"w": numbers}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    shown, panel = opened(qtbot, tmp_path, size=(700, 500))
    pick(shown, "w")
    high, wide = panel.figures.figures.block
    assert high > 1
    assert f"reduced {high} × {wide}" in panel.badge()
    panel.figures.blocks.pick(1, 2)
    assert [type(question) for _, question in shown.asked] == [AskTensorBlock]
    answer(shown)
    part = numbers[high : 2 * high, 2 * wide : 3 * wide].double().numpy()
    row, column = np.unravel_index(np.abs(part).argmax(), part.shape)
    peak = f"{part[row, column]:.7g} at row {row + high}, column {column + 2 * wide}".replace("-", "−")
    assert peak in shown.said[-1]
    assert f"root mean square {np.sqrt((part**2).mean()):.7g}" in shown.said[-1]


def test_one_matrix_of_a_pile_or_all(qtbot: Any, tmp_path: Path) -> None:
    pile = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(4))
    save_file({"w": pile}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    shown, panel = opened(qtbot, tmp_path)
    pick(shown, "w")
    assert panel.figures._chosen.isVisible()
    assert panel.figures.figures.mean == pytest.approx(float(pile[0].double().mean()))
    panel.figures._box.setValue(2)
    answer(shown)
    assert panel.figures.figures.mean == pytest.approx(float(pile[2].double().mean()))
    assert panel.spectrum.matrix == 2, "the same one on the other page"
    panel.figures._box.setValue(-1)
    answer(shown)
    assert panel.figures.figures.count == 1800
    assert not panel.figures.blocks.isVisible()
    panel._tabs.setCurrentIndex(SPECTRUM)
    assert "Choose one matrix" in panel.spectrum._pages._sentence.text()
    panel.spectrum._box.setValue(1)
    panel.spectrum._button.click()
    answer(shown)
    expected = torch.linalg.svdvals(pile[1].double()).numpy()
    np.testing.assert_allclose(panel.values()["singular_values"], expected, atol=1e-7 * expected[0])


def test_singular_values_say_what_they_cost_first(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    assert pick(shown, Q1, SPECTRUM) == []
    assert "take about" in panel.spectrum._pages._sentence.text()
    panel.spectrum._button.click()
    assert "Computing" in panel.spectrum._pages._sentence.text()
    assert [type(question) for question in answer(shown)] == [AskSingularValues]
    assert panel.badge() == "computed from the file"
    assert "effective\xa0rank" in panel.spectrum._title.text()
    panel.spectrum.chart.setFocus()
    qtbot.keyClick(panel.spectrum.chart, Qt.Key.Key_Right)
    assert "singular value 2 of" in shown.said[-1]
    pick(shown, "model.norm.weight", SPECTRUM)
    assert "A vector has no singular values" in panel.spectrum._pages._sentence.text()


def test_while_a_run_is_on_singular_values_wait(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    pick(shown, Q1, SPECTRUM)
    shown.run.absorb(model())
    shown.run.absorb(RunFrame(("x",), 4, False))
    panel.show_run()
    panel.spectrum._button.click()
    assert "as soon as the run has ended" in panel.spectrum._pages._sentence.text()
    shown.run.absorb(EndFrame("limit"))
    panel.show_run()
    assert "Computing" in panel.spectrum._pages._sentence.text()
    answer(shown)
    assert panel.spectrum.found is not None


def test_without_singular_values_the_figures_stay(qtbot: Any, tmp_path: Path) -> None:
    save_file({"w": torch.tensor([[1.0, torch.nan], [2.0, 3.0]])}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    shown, panel = opened(qtbot, tmp_path)
    pick(shown, "w")
    panel._tabs.setCurrentIndex(SPECTRUM)
    panel.spectrum._button.click()
    answer(shown)
    assert "not finite" in panel.spectrum._pages._sentence.text()
    panel._tabs.setCurrentIndex(TENSOR)
    answer(shown)
    assert panel.figures.counted is not None
    assert panel.figures._pages._sentence.text() == ""


def test_a_file_that_changed_is_said_and_can_be_listed_again(qtbot: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(4, 5)}, path)
    (tmp_path / "config.json").write_text("{}")
    shown, panel = opened(qtbot, tmp_path)
    save_file({"w": torch.ones(6, 7)}, path)
    pick(shown, "w")
    assert "has changed since its tensors were listed" in panel.figures._pages._sentence.text()
    panel.list_again()
    answer(shown)
    pick(shown, "w")
    assert panel.figures.figures.count == 42
    path.unlink()
    panel.figures.clear("")
    panel.figures.start()
    answer(shown)
    assert "no longer there" in panel.figures._pages._sentence.text()


def test_numbers_at_the_ends_of_what_there_is(qtbot: Any, tmp_path: Path) -> None:
    tensors = {
        "wide": torch.tensor([[1e308, -1e308], [0.0, 1.0]], dtype=torch.float64),
        "thin": torch.tensor([[5e-324, 0.0], [0.0, 0.0]], dtype=torch.float64),
        "far": torch.tensor([[1e16, 1e16 + 2], [1e16, 1e16]], dtype=torch.float64),
        "mask": torch.full((3, 4), torch.finfo(torch.float32).min),
        "long": torch.full((3, 4), 2**62),
        "none": torch.full((3, 4), torch.nan),
        "<b>bold</b>": torch.zeros(0, 7),
        "scalar": torch.tensor(3.0),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    shown, panel = opened(qtbot, tmp_path)
    for name in tensors:
        pick(shown, name)
        panel.grab()
        if panel.figures.counted is not None:
            assert panel.figures.counted.counts.sum() == panel.figures.figures.finite
        panel._tabs.setCurrentIndex(SPECTRUM)
        if panel.spectrum._button.isEnabled():
            panel.spectrum._button.click()
            answer(shown)
        panel.grab()
    assert panel.figures.figures.mean == 3
    tip = panel.tree.shelf.data(panel.tree.shelf.index_of(node_of(panel, "<b>bold</b>")), Qt.ItemDataRole.ToolTipRole)
    assert "&lt;b&gt;" in tip
    pick(shown, "wide", SPECTRUM)
    panel.spectrum._button.click()
    answer(shown)
    assert "too large" in panel.spectrum._pages._sentence.text()


def test_a_model_without_a_tensor(qtbot: Any, tmp_path: Path) -> None:
    save_file({}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    _, panel = opened(qtbot, tmp_path)
    for page in range(4):
        panel._tabs.setCurrentIndex(page)
        panel.grab()
        assert panel.values()["names"].size == 0
    assert "0 tensors" in panel.caption()


def test_weights_that_are_far_away_are_said(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    found = panel._listed
    inventory = Inventory(**{**vars(found.inventory), "origin": None})
    panel._forget()
    panel.show_answer("tensors.headers", Listed(found.asked, inventory, found.by_layer, found.by_component))
    assert pick(shown, Q1) == []
    assert "not on this machine" in panel.figures._pages._sentence.text()


def test_answers_about_another_tensor_are_let_be(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    panel._tabs.setCurrentIndex(TENSOR)
    panel.tree.pick(node_of(panel, Q1))
    (_, old), shown.asked[:] = shown.asked[-1], []
    panel.tree.pick(node_of(panel, "model.embed_tokens.weight"))
    panel.show_answer("tensors.figures", whole(tensor_answers.answering(old)))
    assert panel.figures.figures is None
    answer(shown)
    assert panel.figures.figures.tensor.name == "model.embed_tokens.weight"
    assert isinstance(old, AskTensorFigures)


# -- the cursor, copying, keys -----------------------------------------------------------------------------------------


def test_only_the_button_pins_the_layer(qtbot: Any, oracles: Oracles) -> None:
    run, folder = Run(), oracles["mixtral-default"].folder
    run.absorb(ModelFrame(**{**vars(model()), "source": str(folder)}))
    shown = show(qtbot, TensorsPanel, run)
    answer(shown)
    panel = shown.panel
    pick(shown, "model.layers.1.block_sparse_moe.experts.2.w1.weight")
    assert shown.cursor.pinned.layer == 0
    panel._pin.click()
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.expert) == (1, 2)
    pick(shown, "model.embed_tokens.weight")
    assert not panel._pin.isEnabled()
    panel.show_source(str(oracles["llama-default"].folder))
    answer(shown)
    pick(shown, Q1)
    assert not panel._pin.isEnabled(), "layers of a model that is not loaded are none of the others' business"


def test_copies_have_the_columns_of_the_verb(qtbot: Any, oracles: Oracles, capsys: pytest.CaptureFixture[str]) -> None:
    from app.main import main

    folder = str(oracles["mixtral-default"].folder)
    _, panel = opened(qtbot, folder)
    panel._search.setText("W_O")
    panel._copy.click()
    copied = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert main(["inspect", folder, "--csv", "--search", "W_O"]) == 0
    printed = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert copied[0] == printed[0] == list(COLUMNS)
    assert sorted(copied) == sorted(printed)
    panel._search.clear()
    layer = panel._outline().nodes[panel._outline().nodes[0].children[1]].children[0]
    panel.tree.pick(layer)
    panel.tree.setFocus()
    qtbot.keyClick(panel.tree, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    own = list(csv.DictReader(io.StringIO(QGuiApplication.clipboard().text())))
    assert {row["layer"] for row in own} == {"0"}
    assert len(own) == panel._outline().nodes[layer].stop - panel._outline().nodes[layer].start


def test_a_line_of_a_copy_is_a_line_whatever_the_file_is_called() -> None:
    entry = Entry("w", "", "", None, None, (1,), (), "F32", 4, 0, "a\u2028b\nc.safetensors", "")
    assert len(csv_lines([entry])) == 2


def test_keys_and_names(qtbot: Any, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    panel.tree.setFocus()
    qtbot.keyClick(panel.tree, Qt.Key.Key_Slash)
    assert panel._search.hasFocus()
    panel.map.map.setFocus()
    qtbot.keyClick(panel.map.map, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert panel._search.hasFocus()
    panel.tree.pick(node_of(panel, Q1))
    panel.tree.setFocus()
    qtbot.keyClick(panel.tree, Qt.Key.Key_Return)
    assert panel._tabs.currentWidget() is panel.figures
    answer(shown)
    widgets = (panel.tree, panel._search, panel._sources, panel._tabs, panel.map.map, panel.components.table)
    for widget in (*widgets, panel.figures.histogram, panel.figures.blocks, panel.spectrum.chart):
        assert widget.accessibleName()
    panel.figures.histogram.setFocus()
    qtbot.keyClick(panel.figures.histogram, Qt.Key.Key_End)
    assert "numbers (" in panel.figures.histogram.accessibleDescription()


def test_the_menu_of_a_tensor(qtbot: Any, tiny_model: Path) -> None:
    _, panel = opened(qtbot, tiny_model)
    menu = panel._menu_of(node_of(panel, Q1))
    assert [action.text() for action in menu.actions()] == ["Copy as CSV", "Look into it"]
    menu.actions()[1].trigger()
    assert panel._tabs.currentWidget() is panel.figures
    assert len(panel._menu_of(0).actions()) == 1


def test_a_menu_goes_with_what_it_is_about(qtbot: Any, tiny_model: Path) -> None:
    _, panel = opened(qtbot, tiny_model)
    menu = panel._menu_of(node_of(panel, Q1))
    with qtbot.waitSignal(menu.destroyed):
        panel.list_again()


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("size", [(420, 320), (740, 480), (1400, 900)])
def test_it_is_drawn_at_every_size(qtbot: Any, oracles: Oracles, theme: Theme, size: tuple[int, int]) -> None:
    shown, panel = opened(qtbot, oracles["deepseek_v3-default"].folder, theme, size)
    pick(shown, "model.layers.1.self_attn.o_proj.weight", SPECTRUM)
    panel.spectrum._button.click()
    answer(shown)
    for page in range(4):
        panel._tabs.setCurrentIndex(page)
        answer(shown)
        assert not panel.picture().isNull()
        assert all(isinstance(array, np.ndarray) for array in panel.values().values())
    panel.restyle()


# -- 90,000 tensors ----------------------------------------------------------------------------------------------------


def many(layers: int = 60, experts: int = 500) -> Listed:
    """As a very large model has them; made without files."""
    entries = []
    for layer in range(layers):
        for expert in range(experts):
            for role, part in (("W_gate", "gate_proj"), ("W_up", "up_proj"), ("W_down", "down_proj")):
                name = f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"
                shape, axes = (2048, 7168), ("d_expert", "d_model")
                held = ("BF16", 29360128, 14680064, "model.safetensors", "used")
                entries.append(Entry(name, role, "experts", layer, expert, shape, axes, *held))
    kept = tuple(entries)
    whole_model = Inventory("many", "many", "safetensors", "BF16", (("model.safetensors", 1),), None, kept, (), (), ())
    return Listed("many", whole_model, by_layer(kept), by_component(kept))


def test_a_large_screen_has_no_more_areas_than_can_be_drawn(qtbot: Any) -> None:
    outline = many().by_layer
    picture = Treemap(DARK, "map", lambda node: "", lambda node: "")
    qtbot.addWidget(picture)
    picture.show_outline(outline)
    picture.resize(3840, 2160)
    picture.settle()
    assert 100 < len(picture.tiles) <= 12_000 < len(outline.entries)


def test_ninety_thousand_tensors_are_searched_at_once(qtbot: Any) -> None:
    answered = many()
    shown = show(qtbot, TensorsPanel, Run())
    panel = shown.panel
    panel.show_source("many")
    seconds: dict[str, float] = {}

    def timed(what: str, work: Any) -> None:
        least = float("inf")
        for _ in range(3):
            began = time.process_time()
            work()
            least = min(least, time.process_time() - began)
        seconds[what] = least

    panel.show_answer("tensors.headers", answered)
    assert len(panel._outline().entries) == 90_000
    for text in ("w_gate", "experts.77.", "layers.59.mlp.experts.499.down_proj", "nothing"):
        timed(text, lambda text=text: (panel._search.setText(""), panel._search.setText(text)))
    timed("pick", lambda: panel.tree.pick(panel._outline().leaves[45_000]))
    timed("map", lambda: (panel.map.map.refresh(), panel.map.map.settle()))
    print(seconds)
    assert max(seconds.values()) < 0.25, seconds  # two searches each; a machine of tests is slow and shared


@pytest.mark.parametrize("page", [MAP, COMPONENTS, TENSOR, SPECTRUM])
def test_every_page_can_be_exported(qtbot: Any, tiny_model: Path, tmp_path: Path, page: int) -> None:
    shown, panel = opened(qtbot, tiny_model)
    pick(shown, Q1, page)
    if page == SPECTRUM:
        panel.spectrum._button.click()
        answer(shown)
    for kind, write in WRITERS.items():
        folder = tmp_path / kind
        folder.mkdir()
        write(panel, folder / f"tensors.{kind}")
        assert all(file.stat().st_size > 50 for file in folder.iterdir())
    table = list(csv.reader(io.StringIO((tmp_path / "csv" / "tensors.csv").read_text(encoding="utf-8"))))
    assert ["names", "0", "model.embed_tokens.weight"] in table


def test_another_tensor_takes_back_what_was_asked_of_the_one_before(qtbot, tiny_model: Path) -> None:
    shown, panel = opened(qtbot, tiny_model)
    taken_back: list[str] = []
    panel.context.unask = taken_back.append
    entries = panel._outline().entries
    panel._show_tensor(entries[0])
    assert taken_back == ["tensors.figures", "tensors.histogram", "tensors.block", "tensors.spectrum"]
    assert shown.asked == [] or all(key != "tensors.spectrum" for key, _ in shown.asked)
