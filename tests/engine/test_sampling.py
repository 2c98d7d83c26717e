"""The sampling stages against transformers' processors and independent formulas; the draw; the frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as reference

from engine.errors import EngineError
from engine.sampling import choose, draw_number
from engine.settings import Sampling

POINTS = (
    "hook_penalised",
    "hook_tempered",
    "hook_topk_mask",
    "hook_topp_mask",
    "hook_minp_mask",
    "hook_typicalp_mask",
    "hook_probs",
    "hook_token",
)


def row(kind: str, n: int, seed: int) -> torch.Tensor:
    """Logits: random, with ties, all equal, or partly cut already."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, generator=generator) * 4
    if kind == "ties":
        return logits.round()
    if kind == "equal":
        return torch.zeros(n)
    if kind == "cut":
        logits[torch.randperm(n, generator=generator)[: n // 2]] = -torch.inf
    return logits


def pick(logits: torch.Tensor, prompt=(), output=(), position: int = 5, points=None, **chosen):
    return choose(logits, prompt=prompt, output=output, position=position, settings=Sampling(**chosen), points=points)


REFERENCES = {
    "temperature": ("temperature", (0.1, 0.7, 3.0), reference.TemperatureLogitsWarper),
    "top-k": ("top_k", (1, 2, 7, 5000), reference.TopKLogitsWarper),
    "top-p": ("top_p", (1e-6, 0.1, 0.5, 0.9, 0.999), reference.TopPLogitsWarper),
    "min-p": ("min_p", (0.01, 0.3, 1.0), reference.MinPLogitsWarper),
    "typical-p": ("typical_p", (1e-6, 0.2, 0.9, 0.999), reference.TypicalLogitsWarper),
}


@pytest.mark.parametrize("kind", ["random", "ties", "equal", "cut"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_stage_equals_transformers(name: str, kind: str) -> None:
    setting, values, warper = REFERENCES[name]
    for n in (1, 2, 3, 50, 1500):
        logits = row(kind, n, n)
        for value in values:
            after = pick(logits, **{setting: value}).stages[name]
            expected = warper(value)(None, logits[None].clone())[0]
            # where ties straddle the edge transformers leaves to an unstable sort which of them stay
            torch.testing.assert_close(after.sort().values, expected.sort().values, rtol=0, atol=0)
            if kind in ("random", "cut"):
                torch.testing.assert_close(after, expected, rtol=0, atol=0)


def test_the_whole_chain_equals_transformers() -> None:
    logits, ids = row("random", 2000, 3), [1, 5, 5, 1999]
    chosen = {"temperature": 0.8, "top_k": 300, "top_p": 0.9, "min_p": 0.002, "typical_p": 0.8}
    expected = reference.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([ids]), logits[None])
    for name in ("temperature", "top-k", "top-p", "min-p", "typical-p"):
        setting, _, warper = REFERENCES[name]
        expected = warper(chosen[setting])(None, expected)
    choice = pick(logits, ids[:2], ids[2:], repetition_penalty=1.3, **chosen)
    torch.testing.assert_close(choice.stages["typical-p"], expected[0], rtol=0, atol=0)
    torch.testing.assert_close(choice.probs, expected[0].double().softmax(0))


def test_of_ties_at_the_edge_of_top_p_the_lowest_ids_stay() -> None:
    after = pick(torch.zeros(10), top_p=0.5).stages["top-p"]
    assert (after > -torch.inf).nonzero().flatten().tolist() == [0, 1, 2, 3, 4]


def test_repetition_reads_prompt_and_output_and_the_others_output_only() -> None:
    logits = torch.tensor([2.0, -2.0, 1.0, 0.5])
    stages = pick(
        logits, [0, 1, 99], [2, 2, 2], repetition_penalty=2.0, presence_penalty=0.25, frequency_penalty=0.5
    ).stages
    assert stages["repetition"].tolist() == [1.0, -4.0, 0.5, 0.5]
    assert stages["presence"].tolist() == [1.0, -4.0, 0.25, 0.5]
    assert stages["frequency"].tolist() == [1.0, -4.0, 0.25 - 1.5, 0.5]


def philox(key: int, counter: int) -> int:
    """The first word of Philox4x64-10, written down from Salmon et al. 2011."""
    mask, words, keys = 2**64 - 1, [counter + 1, 0, 0, 0], [key, 0]
    for _ in range(10):
        low, high = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [(high >> 64) ^ words[1] ^ keys[0], high & mask, (low >> 64) ^ words[3] ^ keys[1], low & mask]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & mask, (keys[1] + 0xBB67AE8584CAA73B) & mask]
    return words[0]


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (0, 1), (7, 5), (2**63 - 1, 100_000)])
def test_the_drawn_number_is_philox(seed: int, position: int) -> None:
    assert draw_number(seed, position) == (philox(seed, position) >> 11) / 2**53


def test_drawn_numbers_are_uniform() -> None:
    drawn = np.array([draw_number(3, position) for position in range(4000)])
    assert abs(drawn.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 4000)
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 30  # chi square, 9 degrees of freedom


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 1.5, -2.0, 5.0, -1000.0]), min_size=1, max_size=90),
    st.integers(0, 2**40),
    st.integers(0, 500),
)
def test_the_draw_is_the_inverse_of_the_cumulative_sum(values: list[float], seed: int, position: int) -> None:
    choice = pick(torch.tensor(values), position=position, seed=seed, top_p=0.95)
    probs = choice.probs.numpy()
    order = sorted(range(len(values)), key=lambda i: (-probs[i], i))
    sums = np.cumsum(probs[order])
    drawn = draw_number(seed, position)
    frame = choice.frame()
    assert frame.chosen == choice.token_id() == order[int(np.searchsorted(sums / sums[-1], drawn, side="right"))]
    assert frame.low <= frame.drawn == drawn < frame.high
    assert frame.high - frame.low == pytest.approx(probs[frame.chosen], abs=1e-12)


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    drawn = [pick(logits, position=p, seed=11).token_id() for p in range(2000)]
    expected = logits.softmax(0).numpy() * 2000
    assert ((np.bincount(drawn, minlength=3) - expected) ** 2 / expected).sum() < 14  # 2 degrees of freedom


def test_greedy_takes_the_lowest_id_among_the_best_after_the_penalties() -> None:
    logits = torch.tensor([3.0, 1.0, 3.0, 3.0])
    assert pick(logits, greedy=True).token_id() == 0
    assert pick(logits, temperature=0.0, top_k=1).token_id() == 0
    choice = pick(logits, output=[0], greedy=True, presence_penalty=1.0)
    frame = choice.frame()
    assert (frame.chosen, frame.drawn, frame.low, frame.high) == (2, None, 0.0, 1.0)
    assert frame.chosen_rank == 1
    assert choice.probs.tolist() == [0, 0, 1, 0]
    assert frame.entropy_final == 0


@pytest.mark.parametrize("n", [1, 5, 64, 65, 3000])
@pytest.mark.parametrize("greedy", [False, True])
def test_the_frame_says_what_an_independent_calculation_says(n: int, greedy: bool) -> None:
    logits, output = row("random", n, n + 1), [0, 0]
    chosen = {"top_k": 40, "top_p": 0.7, "temperature": 1.3, "frequency_penalty": 0.3, "greedy": greedy}
    choice = pick(logits, output=output, position=2, seed=1, **chosen)
    frame = choice.frame()
    raw = logits.double().softmax(0).numpy()
    order = sorted(range(n), key=lambda i: (-raw[i], i))
    assert frame.ids.tolist() == [*order[:64], *([frame.chosen] if frame.chosen not in order[:64] else [])]
    np.testing.assert_allclose(frame.raw, raw[frame.ids], rtol=1e-9)
    assert order[frame.chosen_rank] == frame.chosen
    assert frame.entropy_raw == pytest.approx(-(raw * np.log(raw)).sum(), abs=1e-9)
    np.testing.assert_allclose(frame.final, choice.probs.numpy()[frame.ids])
    before = logits
    cut_by = np.full(n, -1)
    for index, stage in enumerate(frame.stages):
        after = choice.stages[stage.name]
        gone = torch.isneginf(after) & ~torch.isneginf(before)
        cut_by[gone.numpy()] = index
        assert stage.kept == int((after > -torch.inf).sum())
        assert stage.cut == pytest.approx(float(before.double().softmax(0)[gone].sum()), abs=1e-9)
        np.testing.assert_array_equal(stage.logits, after.numpy()[frame.ids])
        assert stage.active == (stage.name in ACTIVE[greedy])
        before = after
    np.testing.assert_array_equal(frame.cut_by, cut_by[frame.ids])


ACTIVE = {False: {"frequency", "temperature", "top-k", "top-p"}, True: {"frequency", "greedy"}}


@pytest.mark.parametrize("greedy", [False, True])
def test_hook_points_are_called_in_order_and_change_nothing_by_looking(greedy: bool) -> None:
    seen: dict[str, torch.Tensor] = {}
    points = {name: (lambda tensor, name=name: seen.setdefault(name, tensor)) for name in POINTS}
    logits = row("random", 30, 1)
    chosen = {"greedy": greedy, "top_k": 4, "seed": 3}
    looked = pick(logits, points=points, **chosen)
    assert tuple(seen) == POINTS
    assert [seen[name].dtype for name in POINTS] == [torch.float32] * 2 + [torch.bool] * 4 + [
        torch.float64,
        torch.int64,
    ]
    assert seen["hook_topp_mask"].all()
    assert int(seen["hook_topk_mask"].sum()) == (30 if greedy else 4)
    assert looked.token_id() == pick(logits, **chosen).token_id()
    assert [stage.active for stage in looked.frame().stages] == [
        stage.active for stage in pick(logits, **chosen).frame().stages
    ]


def test_what_a_hook_puts_in_its_place_is_used() -> None:
    logits = torch.tensor([5.0, 1.0, 0.0])
    only_last = torch.tensor([False, False, True])
    masked = pick(logits, points={"hook_minp_mask": lambda mask: only_last})
    assert masked.token_id() == 2
    assert masked.frame().cut_by.tolist() == [6, 6, -1]
    assert pick(logits, points={"hook_token": lambda token: token * 0 + 1}, greedy=True).frame().chosen == 1
    certain = {"hook_probs": lambda probs: torch.tensor([0.0, 4.0, 0.0], dtype=torch.float64)}
    assert pick(logits, points=certain, greedy=True).token_id() == 1
    assert pick(logits, points=certain).frame().chosen_final == 1.0
    assert pick(logits, points={"hook_penalised": lambda x: -x}, greedy=True).token_id() == 2


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("greedy", [False, True])
def test_bad_logits_are_an_error_when_the_choice_is_read(bad: list[float], greedy: bool) -> None:
    for read in ("token_id", "frame"):
        with pytest.raises(EngineError, match="NaN or infinities"):
            getattr(pick(torch.tensor(bad), greedy=greedy), read)()


@pytest.mark.parametrize(
    "points",
    [
        {"hook_topk_mask": lambda mask: ~mask},
        {"hook_probs": lambda probs: probs * 0},
        {"hook_probs": lambda probs: probs * math.nan},
        {"hook_probs": lambda probs: probs - 1},
        {"hook_tempered": lambda logits: logits * math.nan},
    ],
)
def test_a_hook_that_leaves_nothing_is_an_error(points) -> None:
    with pytest.raises(EngineError, match="No token is left"):
        pick(torch.tensor([1.0, 2.0]), points=points).token_id()


def test_a_hooked_token_outside_the_vocabulary_is_an_error() -> None:
    for read in ("token_id", "frame"):
        with pytest.raises(EngineError, match="not in the vocabulary"):
            getattr(pick(torch.zeros(4), points={"hook_token": lambda token: token * 0 + 4}), read)()


def test_a_temperature_that_overflows_is_an_error() -> None:
    with pytest.raises(EngineError, match="temperature"):
        pick(torch.tensor([1.0, 2.0]), temperature=1e-45).token_id()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_is_taken(dtype: torch.dtype) -> None:
    logits = torch.tensor([0.5, 2.0, -1.0], dtype=dtype, requires_grad=True)
    frame = pick(logits, top_k=2).frame()
    assert frame.ids.tolist() == [1, 0, 2]
    assert frame.stages[4].kept == 2


def test_the_choice_leaves_the_logits_alone_and_repeats() -> None:
    logits = row("random", 500, 9)
    before = logits.clone()
    chosen = {"temperature": 0.5, "repetition_penalty": 1.2, "top_p": 0.9, "seed": 42}
    first, second = (pick(logits, [1, 2], [3], **chosen).frame() for _ in range(2))
    assert torch.equal(logits, before)
    assert (first.chosen, first.drawn, first.low) == (second.chosen, second.drawn, second.low)
