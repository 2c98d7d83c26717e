"""The view of a dense MLP: its figures beside transformers' own, what it asks, marks, tells and leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent

from app.axis_words import AXES
from app.cursor import Cursor
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT, SHOWN
from app.widgets.neurons_view import NeuronsView
from app.widgets.scale import Scale
from engine.config import MLPSpec, MoESpec
from engine.frames import CacheState, NeuronLayers, Neurons, RunFrame, Where
from engine.questions import AskNeuronLayers, AskNeurons
from engine.settings import Sampling
from tests.app.made_runs import model
from tests.app.panel_runs import read_run, real_run

N_NEURONS = 1536


class Shown:
    """A view on screen and what it said."""

    def __init__(self, qtbot: Any, run: Run, theme: Theme = DARK, size: tuple[int, int] = (900, 600)) -> None:
        self.run, self.cursor = run, Cursor()
        self.said: list[str] = []
        self.cursor.readout_changed.connect(self.said.append)
        self.view = NeuronsView(run, self.cursor, theme)
        self.cursor.pinned_changed.connect(self.view.mark)
        qtbot.addWidget(self.view)
        self.view.resize(*size)
        self.view.show()
        qtbot.waitExposed(self.view)


def made_neurons(layer: int = 2, position: int = 3, count: int = 24, *, gated: bool = True) -> Neurons:
    random = np.random.default_rng(layer)
    gate, up = random.normal(size=(2, count)).astype(np.float32)
    post = random.normal(size=count).astype(np.float32)
    post = post[np.argsort(-np.abs(post))]
    ids = random.permutation(N_NEURONS)[:count]
    none = np.zeros(0, np.float32)
    share = np.linspace(1.25, 0.01, count, dtype=np.float32)
    return Neurons(layer, position, N_NEURONS, ids, post, gate, up if gated else none, share, 12.5, 0.25, 300)


def made_layers(layers: list[int], position: int = 3, most: int = 8) -> NeuronLayers:
    random = np.random.default_rng(1)
    post = random.normal(size=(len(layers), most)).astype(np.float32)
    ids = random.integers(0, N_NEURONS, size=post.shape)
    return NeuronLayers(position, np.array(layers, np.int64), ids, post)


@pytest.fixture
def shown(qtbot: Any) -> Shown:
    """Six layers, nine positions; layer 2 is pinned and layers 0 to 3 are computed."""
    made = Shown(qtbot, read_run(8))
    made.cursor.pin(layer=2, position=3)
    assert made.view.take(made_neurons())
    assert made.view.take(made_layers([0, 1, 2, 3]))
    return made


# --- figures ------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_transformers(qtbot: Any, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), Sampling(greedy=True))
    shown = Shown(qtbot, real_run(session, "neurons", 3))
    ids = torch.tensor([[piece.id for piece in shown.run.pieces][: shown.run.n_read]])
    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    seen: dict[tuple[int, str], torch.Tensor] = {}
    for layer, block in enumerate(oracle.model.layers):
        for name in ("gate_proj", "up_proj", "down_proj"):
            keep = lambda module, given, out, key=(layer, name): seen.update({key: out[0]})  # noqa: E731
            getattr(block.mlp, name).register_forward_hook(keep)
        block.mlp.down_proj.register_forward_pre_hook(
            lambda module, given, key=(layer, "post"): seen.update({key: given[0][0]})
        )
    with torch.no_grad():
        oracle(ids)
    for layer, position in ((0, 0), (1, 4), (2, 8)):
        shown.cursor.pin(layer=layer, position=position)
        for question in shown.view.watches("experts").values():
            assert shown.view.take(session.answer(question))
        values, post = shown.view.values(), seen[layer, "post"][position]
        assert {name: len(AXES["experts"][name]) for name in values} == {name: a.ndim for name, a in values.items()}
        order = post.abs().sort(descending=True).indices[:24]
        assert values["neurons"].tolist() == order.tolist()
        np.testing.assert_allclose(values["post"], post[order], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(values["gate"], seen[layer, "gate_proj"][position][order], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(values["up"], seen[layer, "up_proj"][position][order], rtol=1e-3, atol=1e-4)
        written = (oracle.model.layers[layer].mlp.down_proj.weight.detach() * post)[:, order].norm(dim=0)
        norm = seen[layer, "down_proj"][position].norm()
        np.testing.assert_allclose(values["share"], written / norm, rtol=1e-3)
        assert f"norm {float(norm):.3g}" in shown.view._figures.text()
    assert values["layers"].tolist() == [0, 1, 2]
    for layer in range(3):
        post = seen[layer, "post"][8]
        np.testing.assert_allclose(
            values["layer_post"][layer], post[values["layer_neurons"][layer]], rtol=1e-3, atol=1e-5
        )
        assert values["layer_neurons"][layer].tolist() == post.abs().sort(descending=True).indices[:8].tolist()


def test_figures_line_caption_and_badge(shown: Shown) -> None:
    text = shown.view._figures.text().replace("\u202f", " ")
    assert text == (
        "post = act(gate) · up · the MLP's output has norm 12.5 · the 24 neurons listed hold 25.0 % of Σ|post| · "
        "half of it is in 300 of 1 536 neurons"
    )
    caption = shown.view.caption().replace("\u202f", " ")
    assert caption == "layer 2, position 3 “␣France”: 24 of 1 536 neurons by |post|; over layers 1 beyond the scale"
    assert shown.view.badge() == "recomputed"


def test_told_as_a_story_it_has_no_formula(shown: Shown) -> None:
    shown.view.show_depth("story")
    text = shown.view._figures.text().replace("\u202f", " ")
    assert text == "the 24 neurons listed hold 25.0 % of what all neurons give · half of it is in 300 of 1 536 neurons"
    shown.view.show_depth("numbers")
    assert shown.view._figures.text().startswith("post = ")


def test_a_plain_mlp_has_no_up(shown: Shown) -> None:
    assert list(shown.view._table._titles().values()) == ["neuron", "post", "gate", "up", "writes"]
    shown.view.take(made_neurons(gated=False))
    assert list(shown.view._table._titles().values()) == ["neuron", "post", "pre", "writes"]
    assert shown.view._figures.text().startswith("post = act(pre) · ")
    assert "up" not in shown.view._describe_neuron(0)
    assert not shown.view.grab().isNull()


# --- what it asks -------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_a_run(qtbot: Any) -> None:
    assert Shown(qtbot, Run()).view.watches("experts") == {}


def test_what_is_asked_follows_the_cursor(qtbot: Any) -> None:
    shown = Shown(qtbot, read_run(8))
    both = {"experts.neurons": AskNeurons(0, None), "experts.neuron_layers": AskNeuronLayers(None)}
    assert shown.view.watches("experts") == both
    shown.cursor.pin(layer=4, position=2)
    assert shown.view.watches("x") == {"x.neurons": AskNeurons(4, 2), "x.neuron_layers": AskNeuronLayers(2)}
    shown.cursor.pin(layer=99, position=99)  # of a longer run, of a deeper model
    assert shown.view.watches("x") == {"x.neurons": AskNeurons(5, None), "x.neuron_layers": AskNeuronLayers(None)}


def test_a_pinned_position_that_is_whole_is_not_asked_again(shown: Shown) -> None:
    assert "x.neuron_layers" in shown.view.watches("x")
    shown.view.take(made_layers([0, 1, 2, 3, 4, 5]))
    assert shown.view.watches("x") == {"x.neurons": AskNeurons(2, 3)}
    shown.cursor.pin(position=4)
    assert "x.neuron_layers" in shown.view.watches("x")
    shown.cursor.pin(position=None)
    shown.view.take(made_layers([0, 1, 2, 3, 4, 5], position=7))
    assert "x.neuron_layers" in shown.view.watches("x"), "the newest position moves on"
    shown.cursor.pin(position=3)
    shown.view.take(made_layers([0, 1, 2, 3, 4, 5]))
    assert "x.neuron_layers" not in shown.view.watches("x")
    shown.run.absorb(RunFrame((*shown.run.prompt,), 100, False))
    shown.run.absorb(Where("paused", 0, "prefill", 0, 8, 0, "norm 1"))
    assert "x.neuron_layers" in shown.view.watches("x"), "another run of the same prompt"


def test_layers_with_experts_are_left_out(qtbot: Any) -> None:
    run = read_run(8)
    experts = MoESpec(4, 2, MLPSpec(8, "silu"))
    layers = tuple(replace(facts, experts=experts if index % 2 else None) for index, facts in enumerate(model().layers))
    run.model = replace(model(), layers=layers)
    shown = Shown(qtbot, run)
    shown.cursor.pin(layer=1, position=3)
    assert shown.view.watches("x") == {"x.neuron_layers": AskNeuronLayers(3)}
    assert not shown.view.take(made_neurons(layer=1))
    assert shown.view.take(made_layers([0, 2, 4]))
    assert shown.view._map.cells.values.shape == (3, 8)
    assert [shown.view._map.cells.rows.label(row) for row in range(3)] == ["0", "2", "4"]
    shown.view._map.pick(2, 0)
    assert shown.cursor.pinned.layer == 4
    assert shown.view._map.pinned == (2, None)
    assert "x.neurons" in shown.view.watches("x")


def test_answers_of_others_are_not_taken(shown: Shown) -> None:
    nothing = np.zeros(0, np.int64)
    assert not shown.view.take(CacheState(nothing, nothing, 0, 0, 0, 0, 0, nothing))
    assert not shown.view.take(made_neurons(layer=6))
    assert not shown.view.take(made_layers([5, 6]))
    assert shown.view.values()["layers"].tolist() == [0, 1, 2, 3]


# --- what is not there yet ----------------------------------------------------------------------------------------


def test_layers_that_are_not_computed_are_hatched(shown: Shown) -> None:
    cells = shown.view._map.cells
    assert (cells.state[:4] == SHOWN).all()
    assert (cells.state[4:] == ABSENT).all()
    assert shown.view._map.describe(5, 0) == "layer 5, position 3: not computed yet"
    neurons, post = shown.view.values()["layer_neurons"], shown.view.values()["layer_post"]
    told = shown.view._map.describe(3, 1).replace("−", "-")
    assert told == f"layer 3, position 3, rank 2: neuron {neurons[3, 1]}, post {post[3, 1]:.7g}"


def test_neurons_that_are_not_computed_are_a_sentence(shown: Shown) -> None:
    none = np.zeros(0, np.float32)
    shown.view.take(Neurons(4, 8, N_NEURONS, none.astype(np.int64), none, none, none, none, 0.0, 0.0, 0, ""))
    assert shown.view._pages.accessibleDescription() == "The MLP of layer 4 has not been computed at position 8 yet."
    assert shown.view._pages.empty
    assert shown.view._figures.text() == ""
    shown.view.take(made_neurons(4))
    assert not shown.view._pages.empty


def test_clear_leaves_nothing(shown: Shown) -> None:
    shown.view._table.pick(3)
    shown.view.clear()
    assert shown.view.values() == {}
    assert (shown.view.caption(), shown.view.badge(), shown.view._figures.text()) == ("", "", "")
    assert shown.view._map.cells is None
    assert not shown.view.grab().isNull()


# --- marks, mouse, keys -------------------------------------------------------------------------------------------


def test_the_map_pins_and_previews_layers(shown: Shown, qtbot: Any) -> None:
    shown.view._map.pick(1, 4)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.position) == (1, 3)
    assert shown.view._map.pinned == (1, None)
    place = shown.view._map.box(3, 2).center().toPoint()
    qtbot.mouseMove(shown.view._map, place)
    assert shown.cursor.hovered.layer == 3
    assert shown.said[-1] == shown.view._map.describe(3, 2)
    shown.cursor.hover(layer=0)
    shown.view.mark()
    assert shown.view._map.hovered == (0, None)


def test_the_scale_is_symmetric_and_tells_small_from_large(shown: Shown) -> None:
    scale, post = shown.view._map.cells.scale, shown.view.values()["layer_post"]
    assert isinstance(scale, Scale)
    end = float(np.quantile(np.abs(post), 0.99))
    assert (scale.low, scale.high, scale.curve, scale.clips) == (-end, end, "root", True)
    np.testing.assert_allclose(scale.fraction(np.array([-end / 4, 0, end / 4])), [0.25, 0.5, 0.75], atol=1e-6)


def test_the_row_under_the_mouse_is_told_exactly(shown: Shown, qtbot: Any) -> None:
    table, high = shown.view._table, shown.view._table._high()
    qtbot.mouseMove(table, QPoint(40, round(high * 2.5)))
    values = shown.view.values()
    told = shown.said[-1].replace("−", "-")
    figures = f"post {values['post'][1]:.7g} = act(gate {values['gate'][1]:.7g}) · up {values['up'][1]:.7g}"
    assert told.startswith(f"neuron {values['neurons'][1]} of layer 2, position 3: {figures}; it writes ")
    assert table.hovered == 1
    qtbot.mouseMove(table, QPoint(40, round(high * 0.5)))
    assert (table.hovered, shown.said[-1]) == (None, "")


def test_shares_may_be_more_than_all(shown: Shown) -> None:
    assert shown.view._describe_neuron(0).endswith("it writes 125.0 % of the output's length")


def test_keys_and_wheel_walk_the_rows(shown: Shown, qtbot: Any) -> None:
    table = shown.view._table
    shown.view.resize(900, 300)
    last = table.count - 1
    assert table.fits() < last
    for key, row in ((Qt.Key.Key_Down, 0), (Qt.Key.Key_Down, 1), (Qt.Key.Key_PageDown, 11), (Qt.Key.Key_Up, 10)):
        qtbot.keyClick(table, key)
        assert table.row == row
        assert row in table.visible_rows()
    for _ in range(3):
        qtbot.keyClick(table, Qt.Key.Key_PageDown)
    assert table.row == last == table.visible_rows()[-1]
    assert table.accessibleDescription() == shown.view._describe_neuron(last) == shown.said[-1]
    for turn, first in ((12000, 0), (-12000, table.count - table.fits())):
        _wheel(table, turn)
        assert table.first == first


def _wheel(table: Any, turn: int) -> None:
    place, none = QPointF(20, 60), Qt.MouseButton.NoButton
    plain = Qt.KeyboardModifier.NoModifier
    phase = Qt.ScrollPhase.NoScrollPhase
    table.wheelEvent(QWheelEvent(place, place, QPoint(), QPoint(0, turn), none, plain, phase, False))


def test_a_click_picks_a_row(shown: Shown, qtbot: Any) -> None:
    table = shown.view._table
    qtbot.mouseClick(table, Qt.MouseButton.LeftButton, pos=QPoint(30, round(table._high() * 4.5)))
    assert table.row == 3
    shown.view.take(made_neurons(count=2))
    assert table.row is None, "there is no such row any more"


# --- drawing ------------------------------------------------------------------------------------------------------


def _coloured(shown: Shown, colour: str) -> np.ndarray:
    """Which pixels of the table have exactly this colour: bool [height, width]."""
    image = shown.view._table.grab().toImage().convertToFormat(shown.view.grab().toImage().Format.Format_RGB32)
    words = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
    return (words & 0xFFFFFF) == int(colour[1:], 16)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("size", [(420, 620), (640, 420), (1300, 860)])
def test_bars_point_with_their_sign_and_are_as_long_as_it_says(qtbot: Any, theme: Theme, size: tuple[int, int]) -> None:
    shown = Shown(qtbot, read_run(8), theme, size)
    neurons = made_neurons()
    post = neurons.post.copy()
    post[:4] = [2.0, -1.0, 0.5, -0.25]
    shown.view.take(replace(neurons, post=post))
    table = shown.view._table
    plus, minus, high = _coloured(shown, theme.mlp), _coloured(shown, theme.prefill), table._high()
    ground = table._bar(table._columns(table._titles()), 0.0)
    for row, value in enumerate(post[:4].tolist()):
        line = round((row + 1) * high + ground.center().y())
        mine, other = (plus, minus) if value > 0 else (minus, plus)
        assert not other[line].any()
        columns = np.flatnonzero(mine[line])
        assert len(columns) == pytest.approx(abs(value) / 2 * ground.width() / 2, abs=2)
        middle = ground.center().x()
        assert (columns >= middle - 2).all() if value > 0 else (columns <= middle + 2).all()


def test_what_is_not_finite_is_not_drawn_as_a_bar(shown: Shown) -> None:
    neurons = made_neurons()
    post = neurons.post.copy()
    post[0] = np.nan
    shown.view.take(replace(neurons, post=post))
    assert "nan" in shown.view._describe_neuron(0)
    assert not shown.view.grab().isNull()


def test_another_theme_colours_anew(shown: Shown) -> None:
    assert _coloured(shown, DARK.panel).any()
    shown.view.set_theme(LIGHT)
    assert not _coloured(shown, DARK.panel).any()
    assert shown.view._map.cells.scale.colours == LIGHT.diverging


def test_parts_have_accessible_names(shown: Shown) -> None:
    assert shown.view._table.accessibleName() == "Strongest neurons of the layer"
    assert shown.view._map.accessibleName() == "Strongest neurons of every layer"


@pytest.mark.parametrize(
    ("numbers", "left_out"), [(3, ["up", "gate", "writes"]), (4, ["up", "gate"]), (5, ["up"]), (7, [])]
)
def test_columns_without_room_are_left_out_as_a_whole(shown: Shown, numbers: int, left_out: list[str]) -> None:
    table = shown.view._table
    number = table.metrics().horizontalAdvance("−0.0000")
    table.resize(round(number * numbers * 0.9), 300)
    table.settle()
    names = [name for name in ("neuron", "post", "gate", "up", "writes") if name not in left_out]
    assert list(table.titles.values()) == names
    assert max(left + wide for left, wide in table._columns(table.titles).values()) <= table.width()
    told = f"No room for: {', '.join(left_out)}"
    assert (told in table.toolTip()) == bool(left_out)
    assert "against the length of what" in table.toolTip()
    assert "gate" in table.describe(0), "the row still tells all"
