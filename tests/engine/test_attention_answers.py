"""Maps of long runs: coarse first, then fine; regions; stages; and nothing kept that nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch.utils._python_dispatch import TorchDispatchMode

import engine
from engine import attention_answers
from engine import questions as ask
from engine.errors import EngineError
from engine.frames import AttentionGrid, AttentionMap
from engine.gate import Answering
from tests.engine.conftest import Pair
from tests.engine.run_files import differences
from tests.engine.runner import Run

N_PROMPT, N_NEW = 300, 30
N = N_PROMPT + N_NEW - 1
PROMPT = torch.randint(3, 96, (N_PROMPT,), generator=torch.Generator().manual_seed(4)).tolist()
STAGES = get_args(ask.AttentionStage)


@pytest.fixture(scope="module")
def session(tiny: Pair) -> engine.Session:
    """300 positions read at once and 29 one by one."""
    session = engine.Session(tiny.loaded)
    list(session.generate(PROMPT, N_NEW))
    return session


@pytest.fixture(scope="module")
def whole(session: engine.Session) -> dict[tuple[str, int], AttentionMap]:
    """Every stage of two heads, not reduced."""
    return {
        (stage, head): session.answer(ask.AskAttentionMap(1, head, N, stage)) for stage in STAGES for head in (0, 3)
    }


@pytest.fixture
def soon_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of some hundred positions count as long."""
    monkeypatch.setattr(attention_answers, "_COARSE_FROM", 5_000)
    monkeypatch.setattr(attention_answers, "_SAMPLES", 40)
    monkeypatch.setattr(attention_answers, "_LEAST_SAMPLES", 20)
    monkeypatch.setattr(attention_answers, "_FIGURES_PER_SLICE", 2_000)


def _parts(work: Answering) -> Iterator[Any]:
    """Every partial answer, then the whole one."""
    while True:
        try:
            part = next(work)
        except StopIteration as done:
            yield done.value
            return
        if part is not None:
            yield part


def _pooled(figures: np.ndarray, block: int, signed: bool) -> np.ndarray:
    rows, columns = (np.arange(0, size, block) for size in figures.shape)

    def strongest(ufunc: np.ufunc) -> np.ndarray:
        return ufunc.reduceat(ufunc.reduceat(figures, rows, axis=0), columns, axis=1)

    high, low = strongest(np.maximum), strongest(np.minimum)
    return np.where(high >= -low, high, low) if signed else high


# -- coarse, then fine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("most", [512, 64])
def test_a_long_map_comes_coarse_first(
    session: engine.Session, whole: dict[tuple[str, int], AttentionMap], soon_coarse: None, stage: Any, most: int
) -> None:
    """Coarse rows are those of single queries, the last of those they stand for; then every query is in."""
    coarse, fine = _parts(engine.Session.answering(_fresh(session), ask.AskAttentionMap(1, 3, most, stage)))
    assert (fine.every, fine.n, coarse.n, coarse.n_total) == (1, N, N, N)
    assert coarse.every > fine.block == coarse.block
    assert -(-N // coarse.every) <= 40
    full = whole[stage, 3].map
    np.testing.assert_allclose(fine.map, _pooled(full, fine.block, stage in ask.SIGNED_STAGES), rtol=1e-4, atol=1e-5)
    high = coarse.every // coarse.block
    for place in range(0, -(-N // coarse.every)):
        query = min((place + 1) * coarse.every, N) - 1
        row = _pooled(full[query : query + 1], coarse.block, stage in ask.SIGNED_STAGES)[0]
        shown = coarse.map[place * high : (place + 1) * high]
        assert len(shown)
        np.testing.assert_allclose(shown, np.tile(row, (len(shown), 1)), rtol=1e-4, atol=1e-5)


def _fresh(session: engine.Session) -> engine.Session:
    """The same run with nothing kept of its maps."""
    session.watched = list
    session.let_maps_go()
    session.watched = None
    return session


def test_the_grid_of_all_heads_comes_coarse_first(session: engine.Session, soon_coarse: None) -> None:
    coarse, fine = _parts(_fresh(session).answering(ask.AskAttentionGrid(1, 32)))
    assert isinstance(coarse, AttentionGrid)
    assert coarse.every > coarse.block == fine.block
    assert (coarse.maps.shape, fine.every) == (fine.maps.shape, 1)
    last = slice(coarse.every // coarse.block - 1, None, coarse.every // coarse.block)  # rows that the query lies in
    assert (coarse.maps[:, last] <= fine.maps[:, last] + 1e-6).all(), "a maximum over fewer queries of the block"


def test_what_is_in_already_is_not_computed_again(session: engine.Session, soon_coarse: None) -> None:
    question = ask.AskAttentionMap(1, 3, 64)
    assert len(list(_parts(_fresh(session).answering(question)))) == 2
    assert len(list(_parts(session.answering(question)))) == 1


def test_a_map_that_was_begun_goes_on_where_it_stopped(session: engine.Session, soon_coarse: None) -> None:
    question = ask.AskAttentionMap(1, 3, 64)
    work = _fresh(session).answering(question)
    while session.maps(question).n == 0:
        next(work)
    work.close()
    begun = session.maps(question).n
    assert 0 < begun < N
    assert session.answer(question).n == N


def test_work_of_a_run_that_is_over_says_nothing(tiny: Pair, soon_coarse: None) -> None:
    session = engine.Session(tiny.loaded)
    next(session.generate(PROMPT, 1))
    work = session.answering(ask.AskAttentionMap(1, 3, 64))
    next(work)
    session.begin(PROMPT[:5])
    with pytest.raises(engine.Cancelled):
        list(_parts(work))


class _Largest(TorchDispatchMode):
    """Remembers the most entries that any tensor had."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


@pytest.mark.parametrize("stage", STAGES)
def test_no_tensor_of_query_by_key_is_ever_made(
    session: engine.Session, monkeypatch: pytest.MonkeyPatch, stage: Any
) -> None:
    monkeypatch.setattr(attention_answers, "_FIGURES_PER_SLICE", 4_000)
    for question, n_heads in ((ask.AskAttentionMap(1, 3, 64, stage), 1), (ask.AskAttentionGrid(2, 32), 4)):
        with _Largest() as largest:
            _fresh(session).answer(question)
        assert 2_000 < largest.entries < n_heads * N * N // 4


# -- regions ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=some.tuples(some.integers(0, N - 1), some.integers(1, N)),
    columns=some.tuples(some.integers(0, N - 1), some.integers(1, N)),
    most=some.integers(8, 400),
    stage=some.sampled_from(STAGES),
)
def test_a_region_is_cut_out_of_the_whole(
    session: engine.Session,
    whole: dict[tuple[str, int], AttentionMap],
    rows: tuple[int, int],
    columns: tuple[int, int],
    most: int,
    stage: Any,
) -> None:
    (row, row_stop), (column, column_stop) = (
        tuple(sorted((a, b) if a != b else (a, a + 1))) for a, b in (rows, columns)
    )
    answer = session.answer(ask.AskAttentionMap(1, 3, most, stage, (row, row_stop), (column, column_stop)))
    assert (answer.rows, answer.columns, answer.n) == ((row, row_stop), (column, column_stop), min(row_stop, N))
    size = max(row_stop - row, column_stop - column)
    assert answer.block == 1 or size > answer.block // 2 * most, "no coarser than it must be"
    expected = _pooled(whole[stage, 3].map[row:row_stop, column:column_stop], answer.block, stage in ask.SIGNED_STAGES)
    high, wide = answer.map.shape
    np.testing.assert_allclose(answer.map, expected[:high, :wide], rtol=1e-4, atol=1e-5)
    assert not expected[:, wide:].any(), "what is left out is where no query has a figure"
    starts = range(row, row_stop, answer.block)
    assert answer.sight.shape == (len(starts), 2)


def test_a_region_that_reaches_ahead_takes_the_rows_of_the_pass(tiny: Pair) -> None:
    session, question = engine.Session(tiny.loaded), ask.AskAttentionMap(1, 2, 64, "pattern", (15, 24), (3, 30))
    answers = []
    for _ in session.generate(PROMPT[:20], 10):
        answers.append(session.answer(question))
    assert [answer.n for answer in answers] == [20, 21, 22, 23, 24, 24, 24, 24, 24, 24]
    assert [answer.source for answer in answers] == ["recomputed"] + ["captured + recomputed"] * 9
    full = session.answer(ask.AskAttentionMap(1, 2, 64)).map
    np.testing.assert_allclose(answers[-1].map, full[15:24, 3:24], rtol=0, atol=1e-6)


@pytest.mark.parametrize("region", [(5, 5), (7, 3), (-1, 4), (0, 10**9)])
def test_a_region_that_is_none_is_refused(session: engine.Session, region: tuple[int, int]) -> None:
    for question in (ask.AskAttentionMap(1, 2, rows=region), ask.AskAttentionMap(1, 2, columns=region)):
        with pytest.raises(EngineError, match=r"are no part of a context of .* positions"):
            session.answer(question)


# -- stages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_rows_and_exact_values_are_those_of_the_map(
    session: engine.Session, whole: dict[tuple[str, int], AttentionMap], stage: Any
) -> None:
    full = whole[stage, 3]
    for query in (0, 7, N_PROMPT - 1, N_PROMPT, N - 1):
        row = session.answer(ask.AskAttentionRow(1, query, stage))
        assert (row.stage, row.sight) == (stage, tuple(full.sight[query]))
        wide = row.rows.shape[1]
        np.testing.assert_allclose(row.rows[3], full.map[query, :wide], rtol=1e-4, atol=1e-5)
        assert not full.map[query, wide:].any()
        for key in (0, query, query + 1, N - 1):
            exact = session.answer(ask.AskExactValue(stage, (1, 3, query, key))).value
            if key < wide:
                assert exact == pytest.approx(full.map[query, key], rel=1e-4, abs=1e-5)
            else:
                assert exact is None


def test_before_the_mask_a_query_has_products_with_later_keys_of_its_pass_only(
    whole: dict[tuple[str, int], AttentionMap],
) -> None:
    before, behind = whole["scaled", 3], whole["masked", 3]
    assert before.sight[5].tolist() == [0, N_PROMPT]
    assert before.sight[N_PROMPT].tolist() == behind.sight[N_PROMPT].tolist() == [0, N_PROMPT + 1]
    assert behind.sight[5].tolist() == [0, 6]
    assert (before.map[5, 6:N_PROMPT] != 0).all()
    assert not before.map[5, N_PROMPT:].any()


# -- what is kept ----------------------------------------------------------------------------------------------------


def test_maps_that_nobody_watches_are_dropped_and_captured_no_more(tiny: Pair) -> None:
    session, points = engine.Session(tiny.loaded), tiny.loaded.model.points
    wanted: list[ask.Question] = [ask.AskAttentionGrid(0), ask.AskAttentionMap(0, 1)]
    session.watched = lambda: wanted
    captured = []
    for step in session.generate(PROMPT[:20], 6):
        if step.index == 2:  # the user looks at another layer
            wanted[:] = [ask.AskAttentionGrid(2), ask.AskAttentionMap(2, 1)]
        if step.index == 4:  # and at another panel
            wanted.clear()
        for question in wanted:
            session.answer(question)
        session.let_maps_go()
        captured.append([len(points[f"blocks.{layer}.attn.hook_pattern"].observers) for layer in range(3)])
        assert set(session.kept_maps) == set(wanted)
    assert captured == [[2, 0, 0], [2, 0, 0], [0, 0, 2], [0, 0, 2], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["attn.hook_pattern", "attn.hook_attn_scores", "kv.hook_k"])
def test_a_map_waits_for_hooks_on_its_layers_attention(tiny: Pair, name: str) -> None:
    """Asked at every stage of a pass: what a hook is still going to change is not kept as it was before."""
    questions = (ask.AskAttentionGrid(1), ask.AskAttentionMap(1, 2), ask.AskAttentionRow(1, 20))
    with tiny.loaded.model.hooks({f"blocks.1.{name}": lambda tensor, point: tensor * 0.5}):
        free = engine.Session(tiny.loaded)
        list(free.generate(PROMPT[:20], 3))
        with Run(tiny.loaded, PROMPT[:20], 3, arm=lambda gate: gate.step("stage")) as run:
            while len(run.steps) < 2:
                run.stopped()
                for question in questions[: 3 if run.session.n_tokens > 20 else 2]:
                    run.session.answer(question)
                run.gate.step("stage")
            run.finish()
    for question in questions:
        assert not differences(run.session.answer(question), free.answer(question), 1e-5, but=("source",))
