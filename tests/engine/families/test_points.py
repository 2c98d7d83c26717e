"""Every hook point at single positions and over all: what the window is told is what hooks saw in the pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor

import engine
from engine.frames import Points, PointTensor
from engine.loading import Loaded
from engine.point_table import expert_of, point_facts, split_name
from engine.questions import AskExactValue, AskPoint, AskPointOver, AskPoints
from tests.engine.families.oracle import Oracle

KINDS = (
    "gemma3_text-default",
    "mistral-sliding",
    "llama4_text-default",
    "deepseek_v3-default",
    "mixtral-default",
    "qwen2_moe-default",
    "gpt_oss-default",
    "gpt2-default",
    "falcon-7b",
    "olmo2-default",
)  # every kind of attention, mixture, norm and position; replay itself is tested on all variants
pytestmark = pytest.mark.parametrize("oracle", KINDS, indirect=True)

STEPS = 3
PROMPT = 40  # beyond windows of 12 and chunks of 16
_Seen = dict[str, Tensor]


def hooked_run(loaded: Loaded, ids: list[int]) -> list[tuple[int, int, _Seen]]:
    """Start, end and the tensors of every pass, by hooks in it."""
    session, seen = engine.Session(loaded, engine.Sampling(greedy=True)), {}
    passes = []

    def keep(tensor: Tensor, point: Any) -> None:
        seen[point.name] = tensor.clone()

    with loaded.model.hooks(dict.fromkeys(loaded.model.points, keep)):
        for step in session.generate(ids, STEPS):
            passes.append((step.start, step.end, dict(seen)))
            seen.clear()
            if step.finish is not None and step.finish != "limit":
                break
    return passes


def plain_run(loaded: Loaded, ids: list[int]) -> engine.Session:
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    for step in session.generate(ids, STEPS):
        if step.finish is not None and step.finish != "limit":
            break
    return session


def expected(loaded: Loaded, seen: _Seen, name: str, span: tuple[int, int], position: int) -> Tensor | None:
    """What hooks saw of one position, axes as in the hook table less batch and pos; None: nothing."""
    (start, end), symbols = span, list(point_facts(loaded.config, name).shape)
    if name not in seen:
        return None
    tensor, layer = seen[name], split_name(name)[0]
    if symbols[0] == "batch" or symbols[:2] == ["1", "pos"]:
        tensor, symbols = tensor[0], symbols[1:]
    if "key" in symbols:
        axis = symbols.index("key")
        first = end - tensor.shape[axis]
        seen_from = max(first, loaded.config.layers[layer].attention.first_seen(position))
        tensor = tensor.narrow(axis, seen_from - first, position + 1 - seen_from)
    if "pos" in symbols:
        axis = symbols.index("pos")
        whole = tensor.shape[axis] == end - start
        if not whole and position != end - 1:
            return None  # logits of the last position alone
        tensor = tensor.select(axis, position - start if whole else 0)
    if "routed" in symbols:
        chose = (seen[f"blocks.{layer}.mlp.hook_expert_indices"][0] == expert_of(split_name(name)[1])).any(-1)
        if not chose[position - start]:
            return None
        tensor = tensor[int(chose[: position - start].sum())]
    if name.startswith("sampler.") and position != end - 1:
        return None
    return tensor


def close(found: np.ndarray, wanted: np.ndarray, size: float = 0.0) -> bool:
    """To 1e-5 of the largest magnitude, or of ``size``; what is masked is masked in both."""
    if found.shape != wanted.shape or (np.isneginf(found) != np.isneginf(wanted)).any():
        return False
    found, wanted = found[np.isfinite(wanted)], wanted[np.isfinite(wanted)]
    return not wanted.size or float(np.abs(found - wanted).max()) <= 1e-5 * (size or np.abs(wanted).max() or 1.0)


def shown(answer: PointTensor) -> np.ndarray:
    """The values with -inf where they are blank."""
    values = answer.values.astype(np.float64)
    return np.where(answer.blank, -np.inf, values) if answer.blank.size else values


def at_one(session: engine.Session, name: str, position: int, wanted: Tensor) -> None:
    """A point at a position, every head of it."""
    three = wanted.dim() == 3
    for index in range(wanted.shape[1] if three else 1):
        answer = session.answer(AskPoint(name, position, index, most=10**6))
        assert not answer.sentence, answer.sentence
        part = (wanted[:, index] if three else wanted).double().cpu().numpy()
        rows = part.reshape(1, -1) if part.ndim < 2 else part
        found = shown(answer)
        assert close(found, rows), f"{name} at {position}, head {index}"
        assert answer.block == (1, 1)
        finite = rows[np.isfinite(rows)]
        assert answer.figures is not None
        np.testing.assert_allclose(answer.figures.low, finite.min(), rtol=1e-4, atol=1e-5 * np.abs(finite).max())
        np.testing.assert_allclose(answer.figures.norm, np.linalg.norm(finite), rtol=1e-4, atol=1e-6)


def test_every_point_at_a_position_is_what_hooks_saw(oracle: Oracle, loaded: Loaded) -> None:
    ids = oracle.ids[0, :PROMPT].tolist()
    passes, session = hooked_run(loaded, ids), plain_run(loaded, ids)
    assert session.output == engine_output(passes)
    for start, end, seen in (passes[0], passes[-1]):
        for position in {start + (end - start) // 3, end - 1}:
            for name in loaded.model.points:
                wanted = expected(loaded, seen, name, (start, end), position)
                if wanted is not None and not name.endswith("hook_append"):
                    at_one(session, name, position, wanted)


def engine_output(passes: list[tuple[int, int, _Seen]]) -> list[int]:
    return [int(seen["sampler.hook_token"]) for _, _, seen in passes]


def test_rows_over_positions_are_those_of_single_positions(oracle: Oracle, loaded: Loaded) -> None:
    """Also of an expert, whose rows are only some positions', and of scores, whose rows grow."""
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    n, layer = session.n_read, loaded.config.n_layers - 1
    listed = session.answer(AskPoints(layer, None))
    assert isinstance(listed, Points)
    for name in listed.names:
        facts = point_facts(loaded.config, name)
        over = session.answer(AskPointOver(name, 0, 0, None, most=10**6))
        if "pos" not in facts.shape and "routed" not in facts.shape:
            assert over.sentence or "key" in facts.shape
            continue
        assert over.shape[0] == over.end == n, name
        for position in (0, 17, PROMPT - 1, n - 1):
            one, row = session.answer(AskPoint(name, position, 0, most=10**6)), shown(over)[position]
            if one.sentence:
                assert "routed" in facts.shape
                assert over.blank[position].all()
                continue
            several = len(one.symbols) == 2
            of_head = shown(one)[0] if several or one.values.shape[0] == 1 else shown(one)[:, 0]
            if "key" in facts.shape:
                row = row[one.first[1] : position + 1]
            assert close(row, of_head, np.abs(over.values).max()), f"{name} at {position}"


def test_the_exact_figure_is_that_of_the_cell(oracle: Oracle, loaded: Loaded) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    for name in session.answer(AskPoints(0, None)).names:
        answer = session.answer(AskPoint(name, None, 0, most=10**6))
        if answer.sentence:
            continue
        axes = [symbol for symbol in point_facts(loaded.config, name).shape if symbol not in ("batch", "pos", "routed")]
        row, column = (entry - 1 for entry in answer.values.shape)
        place = [answer.first[0] + row, answer.first[1] + column][-max(1, len(answer.symbols)) :]
        place = [place[0], 0, place[1]] if len(axes) > 2 and axes[0] == "key" else place
        exact = session.answer(AskExactValue("point", (answer.position, *place), name))
        assert exact.value is not None or not axes, name
        if exact.value is not None and np.isfinite(exact.value):
            np.testing.assert_allclose(exact.value, answer.values[-1, -1], rtol=1e-6)
        nowhere = session.answer(AskExactValue("point", (answer.position, *(10**6 for _ in place)), name))
        assert nowhere.value is None


def test_figures_and_histogram_are_numpys(loaded: Loaded, oracle: Oracle) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    answer = session.answer(AskPointOver("blocks.0.hook_resid_post", 0, 0, None, most=10**6))
    told, values = answer.figures, answer.values.astype(np.float64)
    assert told is not None
    assert (told.count, told.nans, told.infinities) == (values.size, 0, 0)
    for ours, theirs in (
        (told.mean, values.mean()),
        (told.deviation, values.std()),
        (told.norm, np.linalg.norm(values)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    assert told.counts.sum() == values.size
    largest = np.unravel_index(np.abs(values).argmax(), values.shape)
    assert tuple(answer.top[0]) == largest
    assert answer.source == "captured"


def test_wide_rows_are_kept_reduced_with_all_their_figures(
    loaded: Loaded, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    question = AskPointOver("hook_logits_final", 0, 0, None, most=16)
    plain = session.answer(question)
    monkeypatch.setattr("engine.point_answers._MOST_KEPT", 0)
    session.point_rows = None
    kept = session.answer(question)
    assert plain.block == kept.block == (3, 6)
    np.testing.assert_array_equal(plain.values, kept.values)
    np.testing.assert_allclose(plain.figures.norm, kept.figures.norm, rtol=1e-9)
    assert plain.figures.counts.sum() == plain.figures.count
    assert not kept.figures.counts.size
    np.testing.assert_array_equal(plain.top, kept.top)


def test_asking_again_changes_nothing_whatever_a_cell_stands_for(loaded: Loaded, oracle: Oracle) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    for most in (3, 14, 21, 42, 100):  # blocks that divide the 42 positions, and such that do not
        for name in ("blocks.0.hook_mlp_out", "blocks.0.attn.hook_attn_scores"):
            question = AskPointOver(name, 0, 0, None, most=most)
            first, again = session.answer(question), session.answer(question)
            np.testing.assert_array_equal(shown(first), shown(again))
            assert first.block == again.block
            assert max(first.values.shape) <= most


def test_a_map_over_very_many_keys_is_refused_with_a_sentence(
    loaded: Loaded, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    monkeypatch.setattr("engine.point_answers._MOST_KEYS", 16)
    answer = session.answer(AskPointOver("blocks.0.attn.hook_pattern", 0, 0, None))
    assert "16 positions at most" in answer.sentence
    assert not answer.absent


def test_rows_of_a_run_that_is_cut_back_are_made_anew(loaded: Loaded, oracle: Oracle) -> None:
    session = plain_run(loaded, oracle.ids[0, :PROMPT].tolist())
    question = AskPointOver("blocks.1.hook_resid_post", 0, 0, None, most=16)
    before = session.answer(question)
    rows = session.point_rows
    rows.truncate(20)
    assert rows.n <= 20
    again = session.answer(question)
    np.testing.assert_allclose(again.values, before.values, atol=1e-5)
    np.testing.assert_allclose(again.figures.norm, before.figures.norm, rtol=1e-6)
    assert again.figures.counts.sum() == before.figures.count
