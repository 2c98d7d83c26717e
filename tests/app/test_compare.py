"""Two branches beside each other: what is asked of both, what they differ by, and how panels show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.board import Board
from app.compare import PAIRED, SIDES, Comparison, Other, of_both, read_by
from app.compare_answers import difference
from app.compare_choices import compared
from app.compare_pairs import OF_OTHER, Pairs
from app.panels import PANELS
from app.panels.activations import ActivationsPanel
from app.panels.attention import AttentionPanel
from app.panels.kv_cache import CachePanel
from app.panels.layers import LayersPanel
from app.panels.lens import LensPanel
from app.panels.panel import Panel
from app.panels.residual import ResidualPanel
from app.panels.sampling import SamplingPanel
from app.run import Run
from app.theme import DARK, LIGHT
from app.widgets.zoom_map import View
from engine.frames import AnswerFrame, BranchFacts, Piece, RunFrame
from engine.questions import (
    AskAttentionGrid,
    AskAttentionMap,
    AskAttentionRow,
    AskCacheState,
    AskCacheVectors,
    AskExactValue,
    AskLens,
    AskPoint,
    AskPointOver,
    AskPoints,
    AskResidualNorms,
    AskResidualVectors,
)
from engine.settings import Sampling
from tests.app.panel_runs import real_run, show

DIFFERENT = Comparison(0, 1, "A − B")
PROMPT = "compare"


@dataclass
class Two:
    """Two runs of one prompt that part with their first token: B is shorter by two."""

    a: Any
    b: Any
    run_a: Run
    run_b: Run

    @property
    def n(self) -> int:
        return min(self.run_a.n_read, self.run_b.n_read)

    def of_both(self, question: Any) -> tuple[Any, Any]:
        wanted = of_both(question, self.n)
        return self.a.answer(wanted), self.b.answer(wanted)

    def show(self, qtbot: Any, panel: type[Panel], **options: Any) -> Any:
        """The panel of A, told of the difference as the board tells it."""
        run = replace(self.run_a, of_branches={0: self.run_a.steps, 1: self.run_b.steps})
        shown = show(qtbot, panel, run, **options)
        shown.panel.context.comparison = DIFFERENT
        shown.panel.show_run()
        return shown

    def answer(self, shown: Any) -> dict[str, tuple[Any, Any]]:
        """Every watch, about both."""
        pairs, found = Pairs(Other(1, self.n)), {}
        for key, question in shown.panel.watches().items():
            asked = pairs.ask(key, question)
            if key + OF_OTHER in asked:
                found[key] = (self.a.answer(asked[key]), self.b.answer(asked[key]))
                shown.panel.show_difference(key, *found[key])
            elif asked:
                shown.panel.show_answer(key, self.a.answer(asked[key]))
        return found


@pytest.fixture(scope="module")
def two(tiny_model: Path) -> Two:
    import engine

    a, b = (
        engine.Session(engine.load(tiny_model, device="cpu"), Sampling(temperature=1.5, seed=seed)) for seed in (3, 8)
    )
    runs = real_run(a, PROMPT, 7), real_run(b, PROMPT, 5)
    assert runs[0].steps[0].piece.id != runs[1].steps[0].piece.id
    return Two(a, b, *runs)


# --- what is asked -------------------------------------------------------------------------------------------------


def test_sides_and_what_is_shown_of_them() -> None:
    assert [Comparison(3, 5, side).branch for side in SIDES] == [3, 5, 3]
    assert [Comparison(3, 5, side).differs for side in SIDES] == [False, False, True]
    assert not Comparison(3, None, "A − B").differs
    assert not Comparison().complete


def test_the_newest_position_is_the_newest_that_both_have() -> None:
    for question in (
        AskResidualVectors(None),
        AskAttentionRow(0, None),
        AskCacheVectors(0, None),
        AskPoint("hook_embed", None),
        AskPoints(0, None),
    ):
        assert of_both(question, 9) == replace(question, position=8)
        assert of_both(replace(question, position=3), 9) == replace(question, position=3)
        assert of_both(replace(question, position=9), 9) is None
        assert of_both(question, 0) is None


def test_ranges_are_cut_to_what_both_have() -> None:
    assert of_both(AskAttentionMap(0, 1), 9) == AskAttentionMap(0, 1, rows=(0, 9), columns=(0, 9))
    assert of_both(AskAttentionMap(0, 1, rows=(4, 20), columns=(0, 5)), 9) == AskAttentionMap(
        0, 1, rows=(4, 9), columns=(0, 5)
    )
    assert of_both(AskAttentionMap(0, 1, rows=(12, 20)), 9) is None
    assert of_both(AskPointOver("hook_embed", 0, 2, None), 9) == AskPointOver("hook_embed", 0, 2, 9)
    assert of_both(AskPointOver("hook_embed", 0, 9, 12), 9) is None
    assert of_both(AskLens(None, 4), 9) == AskLens(5, 4)
    assert of_both(AskLens(None, 40), 9) == AskLens(0, 9)
    assert of_both(AskLens(6, 8), 9) == AskLens(6, 3)
    assert of_both(AskLens(9, 8), 9) is None
    assert of_both(AskResidualNorms(), 0) is None
    assert of_both(AskExactValue("residual", (0, 1, 2)), 9) == AskExactValue("residual", (0, 1, 2))
    assert of_both(AskCacheState(), 0) == AskCacheState()  # of A alone
    assert not isinstance(AskCacheState(), PAIRED)


def test_a_branch_that_rests_has_read_all_but_its_newest_token() -> None:
    pieces = tuple(Piece(id, "x", b"x", id, id + 1) for id in range(4))
    assert read_by(BranchFacts(1, 0, 7, pieces, 0.0, False, 0)) == 10
    assert read_by(BranchFacts(1, 0, 7, (), 0.0, False, 0)) == 6


# --- what they differ by -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("panel", [each for each in PANELS if each.compares], ids=lambda panel: panel.key)
def test_what_explains_one_branch_does_not_explain_a_difference(qtbot: Any, two: Two, panel: type[Panel]) -> None:
    shown = two.show(qtbot, panel)
    for depth in ("story", "formula", "code"):
        shown.panel.context.depth = depth
        told = {}
        for comparison in (Comparison(), DIFFERENT):
            shown.panel.context.comparison = comparison
            told[comparison.differs] = shown.panel.explanation()
        if not told[False]:  # its own view tells of the point that is shown
            assert panel is ActivationsPanel
            continue
        assert told[True] != told[False]
        words = "how much more there is in A than in B" if depth == "story" else "of A, less the same of B"
        assert words in told[True]
        if depth == "code":
            compile(told[True], panel.key, "exec")


def test_streams_are_those_of_the_model_subtracted(two: Two, tiny_model: Path) -> None:
    """Against hidden states of transformers: [boundary, position, dimension]."""
    import torch
    from transformers import AutoModelForCausalLM

    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    states = [_streams(oracle, [piece.id for piece in run.pieces][: two.n]) for run in (two.run_a, two.run_b)]
    position = two.n - 1
    found = difference(*two.of_both(AskResidualVectors(None)))
    assert found.position == position
    np.testing.assert_allclose(found.vectors, (states[0] - states[1])[:, position], atol=2e-5)
    norms = difference(*two.of_both(AskResidualNorms()))
    wanted = [np.linalg.norm(state, axis=-1) for state in states]
    np.testing.assert_allclose(norms.norms, wanted[0] - wanted[1], atol=2e-5)
    before = two.run_a.n_prompt
    assert np.abs(norms.norms[:, :before]).max() == 0, "what both share differs by nothing"
    assert np.abs(norms.norms[:, before:]).max() > 0.01


def _streams(oracle: Any, ids: list[int]) -> np.ndarray:
    """What enters every layer and the last norm."""
    import torch

    entering: list[np.ndarray] = []
    note = lambda _, given: entering.append(given[0][0].numpy())  # noqa: E731
    hooks = [layer.register_forward_pre_hook(note) for layer in (*oracle.model.layers, oracle.model.norm)]
    with torch.no_grad():
        oracle(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return np.stack(entering)


@pytest.mark.parametrize(
    ("question", "arrays"),
    [
        (AskAttentionGrid(1), ("maps",)),
        (AskAttentionMap(1, 2), ("map",)),
        (AskAttentionMap(1, 2, stage="scaled"), ("map",)),
        (AskAttentionRow(1, None), ("rows",)),
        (AskCacheVectors(1, None), ("keys", "values")),
        (AskPoint("blocks.1.attn.hook_z", None), ("values",)),
        (AskPointOver("blocks.1.hook_resid_post", 0, 0, None), ("values",)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)
def test_arrays_are_subtracted_over_what_both_have(two: Two, question: Any, arrays: tuple[str, ...]) -> None:
    a, b = two.of_both(question)
    found = difference(a, b)
    for name in arrays:
        first, second = getattr(a, name), getattr(b, name)
        common = tuple(map(slice, np.minimum(first.shape, second.shape)))
        np.testing.assert_array_equal(getattr(found, name), first[common] - second[common])
        assert np.abs(getattr(found, name)).max() > 0
        assert getattr(found, name).flags.c_contiguous


def test_figures_of_a_difference_are_of_the_difference(two: Two) -> None:
    a, b = two.of_both(AskPoint("blocks.2.hook_resid_post", None))
    found, wanted = difference(a, b), (a.values - b.values).astype(np.float64)
    figures = found.figures
    assert (figures.count, figures.nans, figures.infinities) == (wanted.size, 0, 0)
    assert figures.mean == pytest.approx(wanted.mean(), abs=1e-12)
    assert figures.norm == pytest.approx(np.linalg.norm(wanted))
    assert (figures.low, figures.high) == (wanted.min(), wanted.max())
    assert figures.counts.sum() == wanted.size
    strongest = np.argsort(-np.abs(wanted[0]), kind="stable")[: len(found.top)]
    np.testing.assert_array_equal(found.top[:, 0], strongest)
    np.testing.assert_array_equal(found.top_values, wanted[0][strongest].astype(np.float32))


def test_heads_in_blocks_of_two_sizes_are_compared_in_the_larger_ones(two: Two) -> None:
    fine, coarse = AskAttentionGrid(1), AskAttentionGrid(1, most=-(-two.n // 2))
    grids = two.a.answer(fine), two.a.answer(coarse), two.b.answer(fine), two.b.answer(coarse)
    assert [grid.block for grid in grids] == [1, 2, 1, 2]
    wanted = difference(grids[1], grids[3])
    for found in (difference(grids[0], grids[3]), difference(grids[1], grids[2])):
        assert (found.block, found.n_total) == (2, wanted.n_total)
        np.testing.assert_array_equal(found.maps, wanted.maps)
    assert np.abs(wanted.maps).max() > 0


def test_what_does_not_fit_has_no_difference(two: Two) -> None:
    grid = two.a.answer(AskAttentionGrid(1))
    assert difference(grid, two.b.answer(AskAttentionGrid(2))) is None
    assert difference(grid, two.b.answer(AskAttentionRow(1, 3))) is None
    assert difference(replace(grid, block=3), replace(grid, block=2)) is None
    assert difference(two.a.answer(AskCacheState()), two.b.answer(AskCacheState())) is None
    empty = replace(grid, maps=grid.maps[:, :0, :0], n=0, n_total=0)
    assert difference(grid, empty) is None


def test_infinities_that_both_have_cancel(two: Two) -> None:
    a, b = two.of_both(AskResidualVectors(None))
    a.vectors[0, :2], b.vectors[0, :2] = (np.inf, np.inf), (np.inf, 1.0)
    np.testing.assert_array_equal(difference(a, b).vectors[0, :2], [0, np.inf])


def test_reduced_cells_at_the_end_must_stand_for_the_same(two: Two) -> None:
    """With two positions a cell, an odd last one is a cell of one position in B and of two in A."""
    a, b = two.a.answer(AskResidualNorms(8)), two.b.answer(AskResidualNorms(8))
    assert a.block == b.block == 2
    found = difference(a, b)
    assert found.n == two.n // 2 * 2
    assert found.norms.shape[1] == two.n // 2


def test_pairs_wait_for_both_halves(two: Two) -> None:
    pairs, question = Pairs(Other(1, two.n)), AskResidualNorms()
    asked = pairs.ask("residual.norms", question)
    assert list(asked) == ["residual.norms", "residual.norms" + OF_OTHER]
    a, b = two.a.answer(question), two.b.answer(question)
    assert pairs.take(AnswerFrame("residual.norms" + OF_OTHER, 1, 0, b)) is None
    assert pairs.take(AnswerFrame("residual.norms", 2, 0, a, whole=False)) is None
    assert pairs.take(AnswerFrame("residual.norms", 2, 0, a)) == ("residual.norms", a, b)
    pairs.ask("residual.norms", AskResidualNorms(4))  # another question: the old half is of no use
    assert pairs.take(AnswerFrame("residual.norms", 3, 0, a)) is None
    assert pairs.ask("cache.state", AskCacheState()) == {"cache.state": AskCacheState()}
    assert not pairs.holds("cache.state")
    assert pairs.ask("residual.vectors", AskResidualVectors(two.n)) == {}


# --- how panels show it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    "panel", [ResidualPanel, AttentionPanel, LensPanel, ActivationsPanel, CachePanel], ids=lambda panel: panel.key
)
def test_panels_show_differences(qtbot: Any, two: Two, panel: type[Panel], theme: Any) -> None:
    shown = two.show(qtbot, panel, theme=theme)
    pairs = two.answer(shown)
    assert pairs
    assert shown.panel.side() == "A − B"
    assert shown.panel.aside() == ""
    assert shown.panel.values()
    assert not shown.panel.grab().toImage().isNull()


def test_residual_shows_signed_figures_around_zero(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, ResidualPanel)
    a, b = two.answer(shown)["residual.norms"]
    columns = min(a.norms.shape[1], b.norms.shape[1])
    np.testing.assert_array_equal(shown.panel.values()["norms"], a.norms[:, :columns] - b.norms[:, :columns])
    scale = shown.panel._map.cells.scale
    assert scale.low == -scale.high
    assert scale.title.endswith("A − B")
    assert shown.panel._describe_norm(1, columns - 1).startswith("A − B, ")


def test_attention_shows_signed_weights_around_zero(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, AttentionPanel)
    a, b = two.answer(shown)["attention.map"]
    np.testing.assert_array_equal(shown.panel.values()["map"], a.map - b.map)
    assert shown.panel._map_scale().low == -shown.panel._map_scale().high
    bars = shown.panel._bars.bars
    assert bars.scale.low == -bars.scale.high < 0


def test_the_lens_shows_both_words_where_they_are_not_the_same(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, LensPanel)
    a, b = two.answer(shown)["lens.window"]
    np.testing.assert_allclose(shown.panel.values()["difference"], a.probabilities - b.probabilities, atol=0)
    apart = np.argwhere(a.ids != b.ids)
    row, column = apart[-1].tolist()
    assert " | " in shown.panel._texts(row)[column]
    same = np.argwhere(a.ids == b.ids)
    row, column = same[0].tolist()
    assert " | " not in shown.panel._texts(row)[column]


def test_where_the_mouse_is_sampling_compares_nothing_again(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, SamplingPanel)
    rows = shown.panel._difference.entries
    shown.panel.context.cursor.hover(layer=1)
    shown.panel.show_cursor()
    assert shown.panel._difference.entries is rows
    shown.pin(position=two.run_b.steps[0].end)
    assert shown.panel._difference.entries is not rows


def test_sampling_shows_what_both_thought_of_the_same_tokens(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, SamplingPanel)
    position = two.run_b.steps[-1].end
    steps = two.run_a.step_choosing(position), two.run_b.step_choosing(position)
    values = shown.panel.values()
    dense = [dict(zip(s.sampling.ids.tolist(), s.sampling.raw.tolist(), strict=True)) for s in steps]
    for token, a, b in zip(values["ids"].tolist(), values["a"], values["b"], strict=True):
        assert a == dense[0].get(token, min(dense[0].values()))
        assert b == dense[1].get(token, min(dense[1].values()))
    assert (np.diff(np.abs(values["difference"])) <= 0).all()
    assert f"Position {position}" in shown.panel._title.text()
    shown.pin(position=two.run_a.steps[-1].end)
    assert "not chosen in both" in shown.panel._pages._sentence.text()
    shown.panel.context.comparison = Comparison()
    shown.panel.show_run()
    assert "raw" in shown.panel.values()


def test_a_token_outside_the_recorded_ones_is_bounded(two: Two) -> None:
    a = two.run_a.steps[0]
    few = replace(a.sampling, ids=a.sampling.ids[:3], raw=a.sampling.raw[:3])
    rows = compared(replace(a, sampling=few), a)
    outside = [row for row in rows if not row.known[0]]
    assert outside
    assert all(row.a == few.raw.min() for row in outside)
    assert all(row.known == (True, True) for row in rows if row.id in few.ids)
    assert all(row.difference == 0 for row in rows), "both are of the same pass: what is not known is no difference"


def test_a_token_outside_the_recorded_ones_differs_by_what_is_certain(two: Two) -> None:
    a = two.run_a.steps[0]
    raw = np.array([0.6, 0.1], np.float32)
    few = replace(a.sampling, ids=a.sampling.ids[:2], raw=raw)
    other = replace(a.sampling, ids=a.sampling.ids[1:4], raw=np.array([0.1, 0.3, 0.05], np.float32))
    rows = compared(replace(a, sampling=few), replace(a, sampling=other))
    found = {row.id: row.difference for row in rows}
    first, both, more, less = a.sampling.ids[:4].tolist()
    np.testing.assert_allclose([found[first], found[both]], [0.6 - 0.05, 0.0], atol=1e-6)
    np.testing.assert_allclose([found[more], found[less]], [0.1 - 0.3, 0.0], atol=1e-6)


def test_numbers_of_tokens_are_not_subtracted(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, ActivationsPanel)
    two.answer(shown)
    shown.pin(point="hook_tokens")
    two.answer(shown)
    assert "no figures" in shown.panel.aside()
    shown.pin(point="hook_embed")
    two.answer(shown)
    assert shown.panel.aside() == ""


def test_panels_without_differences_say_which_branch_they_show(qtbot: Any, two: Two) -> None:
    shown = two.show(qtbot, LayersPanel)
    assert shown.panel.side() == "A"
    assert "branch A" in shown.panel.aside()
    shown.panel.context.comparison = Comparison(0, 1, "B")
    assert (shown.panel.side(), shown.panel.aside()) == ("B", "")
    assert {panel.key for panel in PANELS if panel.compares} == {
        "residual",
        "attention",
        "lens",
        "activations",
        "cache",
        "sampling",
        "experts",
    }


class Asked:
    """A worker that notes what it is asked."""

    def __init__(self) -> None:
        self.watched: dict[str, Any] = {}
        self.tickets = 0

    def _note(self, key: str, question: Any, number: int | None) -> int:
        self.tickets += 1
        self.watched[key] = (number, question)
        return self.tickets

    def watch(self, key: str, question: Any) -> int:
        if question is None:
            self.watched.pop(key, None)
            return 0
        return self._note(key, question, None)

    def watch_on(self, number: int, key: str, question: Any) -> int:
        return self._note(key, question, number)

    ask, ask_on = watch, watch_on


def test_the_board_asks_both_branches_and_hands_over_pairs(qtbot: Any, two: Two) -> None:
    shown, worker = two.show(qtbot, ResidualPanel), Asked()
    board = Board(worker)
    board.add([shown.panel])
    board.set_shown("residual", True)
    alone = dict(worker.watched)
    board.compare(Other(1, two.n))
    both = dict(worker.watched)
    assert {key: number for key, (number, _) in both.items()} == {
        "residual.norms": None,
        "residual.norms@B": 1,
        "residual.vectors": None,
        "residual.vectors@B": 1,
    }
    assert not board.complete
    for key, (number, question) in both.items():
        session = two.a if number is None else two.b
        assert board.show_answer(AnswerFrame(key, board._tickets[key], 0, session.answer(question)))
    assert board.complete
    a, b = two.of_both(AskResidualVectors(None, both["residual.vectors"][1].most))
    np.testing.assert_array_equal(shown.panel.values()["vectors"], a.vectors - b.vectors)
    shown.cursor.pin(position=two.n)  # A has it, B has not
    board.show_pinned()
    assert "residual.vectors" not in worker.watched
    assert f"the first {two.n} positions" in shown.panel.aside()
    late = [AnswerFrame(key, board._tickets[key], 0, b) for key in board._watches if key.endswith("@B")]
    assert late
    board.compare(None)
    assert worker.watched.keys() == alone.keys()
    assert not any(map(board.show_answer, late)), "B's figures would be shown as if they were those of A"


def test_another_branch_is_shown_where_one_was_looking(qtbot: Any, two: Two) -> None:
    """Of the same prompt, as far as both have it."""
    shown = show(qtbot, AttentionPanel, replace(two.run_a), size=(1200, 900))
    shown.answer(two.a)
    view = View((0, 8), (0, 8))
    shown.panel._large.go(view)
    shown.run.steps = list(two.run_b.steps)
    shown.panel.show_run()
    assert shown.panel.values() == {}, "nothing of A is shown as if it were of B"
    assert shown.panel._large.view == view
    shown.panel._large.go(View((1, 9), (0, 8)))
    shown.run.steps = two.run_b.steps[:1]  # 7 positions read
    shown.panel.show_run()
    assert shown.panel._large.view is None
    shown.panel._large.go(View((0, 4), (0, 4)))
    shown.run.absorb(RunFrame((*two.run_a.prompt[:-1], two.run_a.prompt[0]), 9, False))
    shown.panel.show_run()
    assert shown.panel._large.view is None, "another prompt"
