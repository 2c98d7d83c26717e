"""Two branches beside each other in the Experts / MLP panel: against what passes the hook points of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine
from app.compare import Comparison, Other, of_both
from app.compare_answers import difference
from app.compare_arrays import BOTH, NEITHER, ONLY_A, ONLY_B
from app.compare_pairs import OF_OTHER, Pairs
from app.panels.experts import ExpertsPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.bar_rows import BARRED, BY_A, BY_B, BY_BOTH
from app.widgets.heatmap import MASKED, SHOWN
from app.widgets.legend import Kinds
from engine.questions import (
    AskExactValue,
    AskExpertUse,
    AskNeuronLayers,
    AskNeurons,
    AskRouterRow,
    AskRouting,
    AskRoutingLayers,
    AskRoutingShares,
)
from engine.settings import Sampling
from tests.app.kinds import KindsOnDisk
from tests.app.panel_runs import Shown, real_run, show

TOKEN, LAYERS, RUN, EXPERT = range(4)  # the pages
PROMPT = "compare two"
ROUTED = ("mixtral-default", "deepseek_v3-default", "llama4_text-default", "gpt_oss-default")


@dataclass
class Two:
    """Two runs of one prompt that part with their first token: B is shorter by two."""

    a: engine.Session
    b: engine.Session
    run_a: Run
    run_b: Run

    @property
    def n(self) -> int:
        return min(self.run_a.n_read, self.run_b.n_read)

    @property
    def last(self) -> int:
        return self.run_a.model.n_layers - 1

    def difference(self, question: Any) -> Any:
        wanted = of_both(question, self.n)
        return difference(self.a.answer(wanted), self.b.answer(wanted))

    def show(self, qtbot: Any, theme: Theme = DARK, **pinned: int) -> Shown:
        """The panel of A, told of the difference as the board tells it."""
        run = replace(self.run_a, of_branches={0: self.run_a.steps, 1: self.run_b.steps})
        shown = show(qtbot, ExpertsPanel, run, theme)
        shown.panel.context.comparison = Comparison(0, 1, "A − B")
        shown.panel.show_run()
        shown.pin(**{"layer": self.last, **pinned})
        self.answer(shown)
        return shown

    def answer(self, shown: Shown) -> None:
        pairs = Pairs(Other(1, self.n))
        for key, question in shown.panel.watches().items():
            asked = pairs.ask(key, question)
            if asked:
                assert key + OF_OTHER in asked, "nothing is shown of A alone"
                shown.panel.show_difference(key, self.a.answer(asked[key]), self.b.answer(asked[key]))

    def turn(self, shown: Shown, page: int) -> Any:
        shown.panel._tabs.setCurrentIndex(page)
        self.answer(shown)
        return shown.panel.pages[page]

    def seen(self, layer: int) -> list[dict[str, torch.Tensor]]:
        """What passes the hook points of a layer's MLP, of each branch read again at once, to the common length."""
        return [_seen(session, layer, self.n) for session in (self.a, self.b)]


def _seen(session: engine.Session, layer: int, n: int) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}

    def keep(tensor: torch.Tensor, point: Any) -> None:
        found[point.name.removeprefix(f"blocks.{layer}.mlp.").replace("hook_", "")] = tensor[0].float()

    names = [name for name in session.loaded.model.hook_points if name.startswith(f"blocks.{layer}.mlp.")]
    ids = torch.tensor([(session.prompt + session.output)[: session.cache.length]])
    with session.loaded.model.hooks(dict.fromkeys(names, keep)):
        session.loaded.model(ids)
    return {name: tensor[:n] for name, tensor in found.items()}


def _used(seen: dict[str, torch.Tensor], n_experts: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and choices [n_experts, positions]."""
    ids = seen["expert_indices"].long()
    weights = torch.zeros(len(ids), n_experts).scatter_(1, ids, seen["expert_weights"]).T
    return weights.numpy(), torch.zeros(len(ids), n_experts).scatter_(1, ids, 1).T.numpy() > 0


def two_of(loaded: Any) -> Two:
    """Branches that part where the prompt ends."""
    a, b = (engine.Session(loaded, Sampling(temperature=2.0, seed=seed)) for seed in (3, 8))
    runs = real_run(a, PROMPT, 7), real_run(b, PROMPT, 5)
    assert runs[0].steps[0].piece.id != runs[1].steps[0].piece.id
    return Two(a, b, *runs)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def twos(kinds: KindsOnDisk) -> dict[str, Two]:
    return {variant: two_of(kinds[variant].loaded) for variant in ROUTED}


@pytest.fixture(scope="module")
def dense(tiny_model: Path) -> Two:
    return two_of(engine.load(tiny_model, device="cpu"))


# --- the map -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ROUTED)
def test_the_map_is_the_difference_of_two_passes(qtbot: Any, twos: dict[str, Two], variant: str) -> None:
    two = twos[variant]
    shown = two.show(qtbot)
    seen, values = two.seen(two.last), shown.panel.values()
    n_experts = values["weights"].shape[0]
    (weights_a, of_a), (weights_b, of_b) = (_used(part, n_experts) for part in seen)
    np.testing.assert_allclose(values["weights"], weights_a - weights_b, atol=1e-5)
    scores = [part["router_scores"].T.numpy() for part in seen]
    np.testing.assert_allclose(values["scores"], scores[0] - scores[1], atol=1e-5)
    wanted = np.select([of_a & of_b, of_a, of_b], [BOTH, ONLY_A, ONLY_B], NEITHER)
    np.testing.assert_array_equal(values["sets"], wanted)
    assert {ONLY_A, ONLY_B} <= set(wanted.ravel().tolist()), "the branches chose other experts somewhere"
    before = two.run_a.n_prompt
    assert not values["weights"][:, :before].any(), "what both share differs by nothing"
    cells = shown.panel._map.cells
    assert cells.scale.low == -cells.scale.high < 0
    assert cells.scale.title == "weight, A − B"
    np.testing.assert_array_equal(cells.values[:n_experts], values["weights"])
    assert (shown.panel.side(), shown.panel.aside()) == ("A − B", "")


def test_what_the_map_shows_is_chosen(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["deepseek_v3-default"]
    shown = two.show(qtbot)
    panel, values = shown.panel, shown.panel.values()
    n_experts = len(values["scores"])
    assert not panel._runners_up.isVisible()
    assert panel._quantity.isVisible()
    panel._quantity.setCurrentIndex(1)
    np.testing.assert_array_equal(panel._map.cells.values[:n_experts], values["scores"])
    assert panel._map.cells.state[-1, 0] == MASKED, "a shared expert has no score"
    panel._quantity.setCurrentIndex(2)
    np.testing.assert_array_equal(panel._map.cells.values[:n_experts], values["sets"])
    assert isinstance(panel._map.cells.scale, Kinds)
    np.testing.assert_array_equal(panel._map.sets[:n_experts], values["sets"])
    expert, position = np.argwhere(values["sets"] == ONLY_B)[0].tolist()
    text = panel._describe_cell(expert, position)
    assert text.startswith("A − B, layer")
    assert text.endswith("chosen in B only")
    assert f"weight {values['weights'][expert, position]:.7g}".replace("-", "−") in text


def test_letters_and_frames_say_it_without_colour(qtbot: Any, twos: dict[str, Two]) -> None:
    """Where only the sets differ the pictures differ: a reader of greys can tell A from B."""
    two = twos["mixtral-default"]
    shown = two.show(qtbot)
    picture = shown.panel._map
    picture.resize(900, 400)
    before = picture.grab().toImage()
    picture.sets = np.where(picture.sets == ONLY_A, np.uint8(ONLY_B), picture.sets)
    picture.refresh()
    assert picture.grab().toImage() != before
    assert not picture._chosen.any()


def test_reduced_cells_count_both(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["mixtral-default"]
    question = AskRouting(two.last, 9)
    a, b = (session.answer(question) for session in (two.a, two.b))
    assert a.block == b.block == 2
    found = difference(a, b)
    cells = two.n // 2
    assert (found.n, found.n_total) == (cells * 2, cells * 2)
    np.testing.assert_array_equal(found.weights, a.weights[:, :cells] - b.weights[:, :cells])
    np.testing.assert_array_equal(found.other, b.chosen[:, :cells])
    shown = two.show(qtbot)
    shown.panel.show_difference("experts.map", a, b)
    text = shown.panel._describe_cell(1, cells - 1)
    assert f"chosen by {a.chosen[1, cells - 1]} in A and {b.chosen[1, cells - 1]} in B" in text
    shown.panel._pick_cell(1, cells - 1)
    key, exact = shown.asked[-1]
    assert isinstance(exact, AskExactValue)
    values = [session.answer(exact) for session in (two.a, two.b)]
    shown.panel.show_difference(key, *values)
    told = f"{values[0].value - values[1].value:.7g}".replace("-", "−")
    assert shown.panel._describe_cell(1, cells - 1).endswith(f"weight at the first: {told}")


# --- the pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ROUTED)
def test_a_token_in_both_branches(qtbot: Any, twos: dict[str, Two], variant: str) -> None:
    two = twos[variant]
    shown = two.show(qtbot, position=two.n - 1)
    page, seen = two.turn(shown, TOKEN), two.seen(two.last)
    rows = page._bars.shown.rows
    logits = [part["router_logits"][-1].numpy() for part in seen]
    n_experts = len(logits[0])
    np.testing.assert_allclose(rows[0].values[:n_experts], logits[0] - logits[1], atol=1e-5)
    (weights_a, of_a), (weights_b, of_b) = (_used(part, n_experts) for part in seen)
    np.testing.assert_allclose(rows[-1].values[:n_experts], (weights_a - weights_b)[:, -1], atol=1e-5)
    states = np.select([of_a & of_b, of_a, of_b], [BY_BOTH, BY_A, BY_B], 0)[:, -1]
    np.testing.assert_array_equal(rows[0].state[:n_experts][states > 0], states[states > 0])
    for row in rows:
        assert row.low == -row.high
        assert "A − B" in row.title
    if variant == "deepseek_v3-default":
        barred = np.isneginf(np.stack([part["router_choice"][-1].numpy() for part in seen])).any(0)
        assert barred.any()
        np.testing.assert_array_equal(rows[2].state[:n_experts] == BARRED, barred)
    only = np.flatnonzero(states == BY_B)
    if only.size:
        assert f"only B {', '.join(map(str, only))}" in page._title.text()
        assert page._describe(int(only[0])).endswith("chosen in B only")
    values = shown.panel.values()
    np.testing.assert_array_equal(np.sort(values["router_ids"]), np.flatnonzero(states))
    assert (np.diff(np.abs(values["router_weights"])) <= 0).all()


def test_a_place_that_only_one_branch_has_is_not_asked_for(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["mixtral-default"]
    shown = two.show(qtbot, position=two.n)
    pairs = Pairs(Other(1, two.n))
    questions = shown.panel.watches()
    assert pairs.lacks(questions["experts.page"])
    assert not pairs.lacks(questions["experts.map"])


def test_all_layers_at_one_position(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["llama4_text-default"]
    shown = two.show(qtbot, position=two.n - 1)
    page = two.turn(shown, LAYERS)
    values = shown.panel.values()
    for row, layer in enumerate(page.answer.layers.tolist()):
        seen = two.seen(layer)
        n_experts = int(page.answer.n_experts[row])
        (weights_a, of_a), (weights_b, of_b) = (_used(part, n_experts) for part in seen)
        np.testing.assert_allclose(values["layer_weights"][row, :n_experts], (weights_a - weights_b)[:, -1], atol=1e-5)
        wanted = np.select([of_a & of_b, of_a, of_b], [BOTH, ONLY_A, ONLY_B], NEITHER)[:, -1]
        np.testing.assert_array_equal(values["layer_sets"][row, :n_experts], wanted)
    shown.panel._quantity.setCurrentIndex(2)
    assert isinstance(page._map.cells.scale, Kinds), "the page follows the panel's choice"
    assert page._describe(0, 0).startswith("A − B, layer")


def test_shares_of_two_runs(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["mixtral-default"]
    shown = two.show(qtbot)
    page, found = two.turn(shown, RUN), []
    for session in (two.a, two.b):
        seen = _seen(session, two.last, session.cache.length)
        counts = torch.bincount(seen["expert_indices"].long().flatten(), minlength=6).double()
        marks = torch.zeros(len(seen["expert_indices"]), 6).scatter_(1, seen["expert_indices"].long(), 1)
        found.append((counts / counts.sum(), seen["router_scores"].double().mean(0), marks.T @ marks / len(marks)))
    values = shown.panel.values()
    for name, a, b in zip(("share", "mean_score", "together"), *found, strict=True):
        np.testing.assert_allclose(values[name], a - b, atol=1e-6)
    assert f"A has {two.a.cache.length} positions, B {two.b.cache.length}" in page._title.text()
    scale = page._together.cells.scale
    assert scale.low == -scale.high
    assert page._describe(1).startswith("A − B, layer")
    assert "A − B" in page._describe_pair(0, 1)


def test_an_expert_in_both_branches(qtbot: Any, twos: dict[str, Two]) -> None:
    two = twos["mixtral-default"]
    sets = two.show(qtbot).panel.values()["sets"]
    expert = int(np.argmax([len(set(row.tolist())) for row in sets]))
    shown = two.show(qtbot, expert=expert)
    page = two.turn(shown, EXPERT)
    seen, values = two.seen(two.last), shown.panel.values()
    (weights_a, _), (weights_b, _) = (_used(part, len(sets)) for part in seen)
    listed = np.flatnonzero(sets[expert] != NEITHER)
    np.testing.assert_array_equal(np.sort(values["expert_positions"]), listed)
    where = values["expert_positions"]
    np.testing.assert_allclose(values["expert_weights"], (weights_a - weights_b)[expert, where], atol=1e-5)
    np.testing.assert_array_equal(values["expert_sets"], sets[expert, where])
    for place, position in enumerate(where.tolist()):
        norms = []
        for session in (two.a, two.b):
            use = session.answer(AskExpertUse(two.last, expert))
            norms.append(dict(zip(use.positions.tolist(), use.norms.tolist(), strict=True)).get(position, 0.0))
        assert values["expert_norms"][place] == pytest.approx(norms[0] - norms[1], abs=1e-6)
    assert page._describe(0).startswith("A − B, layer")
    assert f"of {two.a.cache.length} positions in A" in page._title.text()


def test_what_one_list_is_too_short_for_is_left_out(twos: dict[str, Two]) -> None:
    two = twos["mixtral-default"]
    expert = int(two.a.answer(AskRouting(two.last)).chosen.sum(1).argmax())
    whole, short = two.difference(AskExpertUse(two.last, expert)), two.difference(AskExpertUse(two.last, expert, 2))
    assert whole.left_out == 0
    assert short.left_out > 0
    assert set(short.positions.tolist()) < set(whole.positions.tolist())
    for position, weight in zip(short.positions.tolist(), short.weights.tolist(), strict=True):
        assert weight == whole.weights[whole.positions == position][0]


# --- neurons -------------------------------------------------------------------------------------------------------


def test_neurons_that_differ_most(qtbot: Any, dense: Two) -> None:
    shown = dense.show(qtbot, layer=1, position=dense.n - 1)
    question = shown.panel.watches()["experts.neurons"]
    assert (question.most, question.shares) == (shown.run.model.layers[1].d_mlp, False)
    a, b = (part["post"][-1].numpy() for part in dense.seen(1))
    strongest = np.argsort(-np.abs(a - b), kind="stable")[:24]
    values = shown.panel.values()
    assert len(values["neurons"]) == 24
    np.testing.assert_allclose(np.abs(values["post"]), np.abs(a - b)[strongest], atol=1e-5)
    np.testing.assert_allclose(values["post_a"], a[values["neurons"]], atol=1e-5)
    np.testing.assert_allclose(values["post_b"], b[values["neurons"]], atol=1e-5)
    sums = np.sort(np.abs((a - b).astype(np.float64)))[::-1].cumsum()
    neurons = shown.panel.neurons._neurons
    assert neurons.half == int((sums < sums[-1] / 2).sum()) + 1
    assert neurons.held == pytest.approx(sums[23] / sums[-1], rel=1e-4)
    assert "by |A − B|" in shown.panel.caption()
    assert shown.panel.neurons._describe_neuron(0).startswith("A − B, neuron")
    assert shown.panel.neurons._table._titles().keys() == {"id", "post", "a", "b"}


def test_the_strongest_over_layers_are_sets(qtbot: Any, dense: Two) -> None:
    shown = dense.show(qtbot, layer=1, position=dense.n - 1)
    values = shown.panel.values()
    for row in range(dense.run_a.model.n_layers):
        posts = [part["post"][-1].numpy() for part in dense.seen(row)]
        tops = [np.argsort(-np.abs(post), kind="stable")[:8].tolist() for post in posts]
        both = [neuron for neuron in tops[0] if neuron in tops[1]]
        wanted = [*both, *(n for n in tops[0] if n not in both), *(n for n in tops[1] if n not in both)]
        assert values["layer_neurons"][row, : len(wanted)].tolist() == wanted
        assert (values["layer_neurons"][row, len(wanted) :] == -1).all()
        kinds = [BOTH] * len(both) + [ONLY_A] * (8 - len(both)) + [ONLY_B] * (8 - len(both))
        assert values["layer_sets"][row].tolist() == kinds + [NEITHER] * (16 - len(kinds))
    cells = shown.panel.neurons._map.cells
    assert isinstance(cells.scale, Kinds)
    np.testing.assert_array_equal(cells.state == SHOWN, values["layer_sets"] != NEITHER)
    row, column = np.argwhere(values["layer_sets"] == ONLY_B)[0].tolist()
    text = shown.panel.neurons._describe_cell(row, column)
    assert f"neuron {values['layer_neurons'][row, column]} is among the 8 strongest of only B" in text
    assert "A " not in text.partition("post:")[2]


def test_what_is_not_computed_in_both_says_so(qtbot: Any, dense: Two, twos: dict[str, Two]) -> None:
    shown = dense.show(qtbot, layer=1)
    question = shown.panel.watches()["experts.neurons"]
    a = dense.a.answer(question)
    nothing = replace(a, ids=a.ids[:0], post=a.post[:0], gate=a.gate[:0], up=a.up[:0])
    shown.panel.show_difference("experts.neurons", a, nothing)
    assert "of both branches yet" in shown.panel.neurons._pages._sentence.text()
    two = twos["mixtral-default"]
    row = two.a.answer(AskRouterRow(two.last, two.n - 1))
    found = difference(row, replace(row, ids=row.ids[:0], logits=row.logits[:0]))
    assert not found.ids.size
    shown = two.show(qtbot)
    page = shown.panel.pages[TOKEN]
    page.take(found)
    assert "both branches yet" in page._pages._sentence.text()


def test_what_does_not_fit_has_no_difference(twos: dict[str, Two], dense: Two) -> None:
    two = twos["mixtral-default"]
    routing, row = two.a.answer(AskRouting(two.last)), two.a.answer(AskRouterRow(two.last, 3))
    assert difference(routing, two.b.answer(AskRouting(0))) is None
    assert difference(routing, replace(routing, block=2)) is None
    assert difference(routing, replace(routing, n=0, n_total=0)) is None
    assert difference(row, two.b.answer(AskRouterRow(two.last, 4))) is None
    layers = two.a.answer(AskRoutingLayers(3))
    assert difference(layers, replace(layers, position=4)) is None
    shares = two.a.answer(AskRoutingShares(two.last))
    assert difference(shares, replace(shares, n=0)) is None
    use = two.a.answer(AskExpertUse(two.last, 1))
    assert difference(use, replace(use, expert=2)) is None
    few = dense.a.answer(AskNeurons(1, 3))
    assert difference(few, few) is None, "only some of the neurons are listed"
    over = dense.a.answer(AskNeuronLayers(3))
    assert difference(over, replace(over, position=4)) is None
    assert difference(over, dense.a.answer(AskNeuronLayers(3, 4))) is None


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_every_page_draws(qtbot: Any, twos: dict[str, Two], theme: Theme) -> None:
    for variant, two in twos.items():
        shown = two.show(qtbot, theme, expert=1)
        for page in (TOKEN, LAYERS, RUN, EXPERT):
            two.turn(shown, page)
            for quantity in range(3):
                shown.panel._quantity.setCurrentIndex(quantity)
                assert not shown.panel.grab().toImage().isNull(), variant
        shown.panel.context.comparison = Comparison()
        shown.panel.show_run()
        assert shown.panel.values() == {}, "nothing of the difference is shown as if it were A's"
