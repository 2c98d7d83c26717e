"""Breakpoints: what stops the pass, beside what transformers computes for the same text; counts, costs, sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine import break_checks
from engine.breakpoints import NOT_FINITE, Breakpoint, HitFrame, Place, beyond, check_spot
from engine.breakpoints import Test as Condition  # pytest collects what is called Test
from engine.errors import Cancelled, EngineError
from engine.frames import Where
from engine.hooks import layer_stages
from engine.loading import Loaded
from tests.engine.conftest import Pair
from tests.engine.runner import Run

PROMPT = [5, 17, 80, 33, 21, 64]
TOKENS = 5
SPANS = [(0, 6), (6, 7), (7, 8), (8, 9), (9, 10)]  # what the passes of such a run read


def condition(kind: Any, layer: int | None = None, **more: Any) -> Breakpoint:
    return Breakpoint(1, (Condition(kind, layer, **more),))


@dataclass
class Watched:
    """A run that goes on at every stop."""

    hits: list[HitFrame]
    stops: list[Where]
    steps: list[engine.Step]
    gate: engine.Gate

    @property
    def places(self) -> list[Place]:
        return [hit.place for hit in self.hits]


def watched(pair: Pair, breakpoints: Sequence[Breakpoint], prompt: Sequence[int] = PROMPT, **options: Any) -> Watched:
    gate = engine.Gate()
    seen = Watched([], [], [], gate)
    gate.on_hit = seen.hits.append

    def go_on(where: Where) -> None:
        seen.stops.append(where)
        gate.resume()

    gate.on_stop = go_on
    gate.set_breakpoints(breakpoints)
    session = engine.Session(pair.loaded, gate=gate, **options)
    seen.steps = list(session.generate(prompt, TOKENS))
    return seen


@dataclass(frozen=True)
class Truth:
    """What transformers gives for a whole text: streams [layers + 1, n, d], the lens's logits of each, patterns."""

    streams: Tensor
    lens: Tensor  # [layers + 1, n, vocabulary]
    patterns: Tensor  # [layers, heads, n, n]


def truth_of(pair: Pair, ids: Sequence[int]) -> Truth:
    left: dict[int, Tensor] = {}
    layers, model = pair.oracle.model.layers, pair.oracle.model
    handles = [
        layer.register_forward_hook(
            lambda _, __, out, at=at: left.__setitem__(at, out[0] if isinstance(out, tuple) else out)
        )
        for at, layer in enumerate(layers)
    ]
    with torch.inference_mode():
        out = pair.oracle(torch.tensor([list(ids)]), output_attentions=True, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    entering = out.hidden_states[0]
    streams = torch.stack([entering, *(left[at].view_as(entering) for at in range(len(layers)))])[:, 0]
    with torch.inference_mode():
        lens = pair.oracle.lm_head(model.norm(streams))
    assert torch.allclose(lens[-1], out.logits[0], atol=1e-4)
    return Truth(streams, lens, torch.cat(out.attentions))


@pytest.fixture(scope="module")
def free(tiny: Pair) -> list[engine.Step]:
    return list(engine.Session(tiny.loaded).generate(PROMPT, TOKENS))


@pytest.fixture(scope="module")
def truth(tiny: Pair, free: list[engine.Step]) -> Truth:
    return truth_of(tiny, [*PROMPT, *(step.id for step in free)][:-1])


def between(figures: Tensor) -> float:
    """A limit that about half of the figures exceed, and that none is close to."""
    ordered = figures.flatten().sort().values
    gaps = ordered[1:] - ordered[:-1]
    inner = slice(len(gaps) // 4, 3 * len(gaps) // 4 + 1)
    at = int(gaps[inner].argmax()) + len(gaps) // 4
    return float((ordered[at] + ordered[at + 1]) / 2)


# -- each kind beside transformers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [None, 0, 2])
def test_a_norm_above_a_limit(tiny: Pair, truth: Truth, layer: int | None) -> None:
    norms = truth.streams[1:].norm(dim=-1)  # [layers, n]
    layers = range(3) if layer is None else [layer]
    limit = between(torch.stack([norms[at, start:end].max() for start, end in SPANS for at in layers]))
    expected = [
        (start + int(norms[at, start:end].argmax()), at, None)
        for start, end in SPANS
        for at in layers
        if norms[at, start:end].max() > limit
    ]
    seen = watched(tiny, [condition("norm", layer, limit=limit)])
    assert expected
    assert seen.places == expected
    assert [(where.layer, where.stage) for where in seen.stops] == [(at, "add 2") for _, at, _ in expected]
    for hit, (position, at, _) in zip(seen.hits, expected, strict=True):
        value, stated, where = re.fullmatch(
            r"norm (\S+) > (\S+) (after layer \d+ at position \d+)", hit.sentence
        ).groups()
        assert where == f"after layer {at} at position {position}"
        assert float(value) == pytest.approx(float(norms[at, position]), rel=1e-3)
        assert float(stated) == pytest.approx(limit, rel=1e-6)


def test_entropy_above_a_limit(tiny: Pair, truth: Truth) -> None:
    log_p = truth.lens[-1].double().log_softmax(-1)
    entropies = -(log_p.exp() * log_p).sum(-1)[[end - 1 for _, end in SPANS]]
    limit = between(entropies)
    expected = [end - 1 for (_, end), nats in zip(SPANS, entropies.tolist(), strict=True) if nats > limit]
    seen = watched(tiny, [condition("entropy", limit=limit)])
    assert 0 < len(expected) < TOKENS
    assert seen.places == [(position, None, None) for position in expected]
    assert {where.stage for where in seen.stops} == {"sampling"}
    values = [float(re.match(r"entropy (\S+) nats > ", hit.sentence)[1]) for hit in seen.hits]
    assert values == pytest.approx([nats for nats in entropies.tolist() if nats > limit], rel=1e-3)


@pytest.mark.parametrize("by", ["token", "text"])
def test_a_token(tiny: Pair, free: list[engine.Step], by: str) -> None:
    """A model without a tokenizer has its numbers for texts."""
    wanted = free[2]
    said = {"token": wanted.id} if by == "token" else {"text": wanted.text}
    seen = watched(tiny, [condition("token", **said)])
    expected = [step.end - 1 for step in free if step.id == wanted.id]
    assert seen.places == [(position, None, None) for position in expected]
    assert seen.hits[0].sentence == f"token {wanted.id} is chosen"
    assert seen.stops[0].stage == "sampling"


def test_a_token_that_is_not_the_most_probable(tiny: Pair) -> None:
    sampling = engine.Sampling(temperature=1.5, seed=3)
    seen = watched(tiny, [condition("not the best")], sampling=sampling)
    ids = [*PROMPT, *(step.id for step in seen.steps)]
    best = truth_of(tiny, ids[:-1]).lens[-1].argmax(-1).tolist()
    expected = [step for step in seen.steps if best[step.end - 1] != step.id]
    assert expected
    assert seen.places == [(step.end - 1, None, None) for step in expected]
    step, first = expected[0], best[expected[0].end - 1]
    assert seen.hits[0].sentence == f"token {step.id} is chosen, and token {first} is the most probable"


@pytest.mark.parametrize("layer", [None, 1])
def test_the_lens_changes_its_first_choice(tiny: Pair, truth: Truth, layer: int | None) -> None:
    choices = truth.lens.argmax(-1)  # [layers + 1, n]
    expected = [
        (end - 1, at, None)
        for _, end in SPANS
        for at in (range(3) if layer is None else [layer])
        if choices[at, end - 1] != choices[at + 1, end - 1]
    ]
    seen = watched(tiny, [condition("lens", layer)])
    assert expected
    assert seen.places == expected
    position, at, _ = expected[0]
    before, after = choices[at, position], choices[at + 1, position]
    assert seen.hits[0].sentence == f"the lens changes from token {before} to token {after} after layer {at}"


def most(pattern: Tensor, start: int, end: int, keys: Sequence[int]) -> tuple[float, int, int]:
    """The largest weight that queries [start, end) but the first of all give to these keys, with query and key."""
    found = [
        (float(pattern[query, key]), query, key) for query in range(max(start, 1), end) for key in keys if key <= query
    ]
    return max(found, default=(0.0, 0, 0))


@pytest.mark.parametrize("by", ["key", "token", "text"])
@pytest.mark.parametrize("layer", [0, 2])
def test_attention_from_a_limit_on(tiny: Pair, truth: Truth, free: list[engine.Step], layer: int, by: str) -> None:
    ids = [*PROMPT, *(step.id for step in free)][:-1]
    keys = [2] if by == "key" else [at for at, id in enumerate(ids) if id == PROMPT[2]]
    said = {"key": {"key": 2}, "token": {"token": PROMPT[2]}, "text": {"text": f"⟨{PROMPT[2]}⟩"}}[by]
    pattern = truth.patterns[layer, 3]
    figures = [most(pattern, start, end, keys) for start, end in SPANS]
    limit = between(torch.tensor([value for value, _, _ in figures]))
    expected = [figure for figure in figures if figure[0] >= limit]
    seen = watched(tiny, [condition("attention", layer, head=3, limit=limit, **said)])
    assert 0 < len(expected) < TOKENS
    assert seen.places == [(query, layer, 3) for _, query, _ in expected]
    for hit, (value, query, key) in zip(seen.hits, expected, strict=True):
        said, where = re.fullmatch(rf"head 3 of layer {layer} gives (\S+) ≥ \S+ (from .*)", hit.sentence).groups()
        assert where == f"from position {query} to position {key}"
        assert float(said) == pytest.approx(value, rel=1e-3)
        assert (hit.where.layer, hit.where.stage) == (layer, "softmax" if hit.where.kind == "decode" else "mix")


def test_attention_of_a_long_prompt_is_looked_through_row_by_row(tiny: Pair) -> None:
    """More queries than are scored at once: the hit may lie behind the first rows."""
    prompt = torch.randint(3, 96, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    pattern = truth_of(tiny, prompt).patterns[1, 0]
    key = 200
    query = int(pattern[:, key].argmax())
    value = float(pattern[query, key])
    seen = watched(tiny, [condition("attention", 1, head=0, key=key, limit=value * 0.999)], prompt)
    assert seen.places[0] == (query, 1, 0)


def test_a_pattern_that_a_hook_makes_be_formed_is_taken_as_it_is(tiny: Pair) -> None:
    def all_to_the_first(pattern: Tensor, point: Any) -> Tensor:
        changed = torch.zeros_like(pattern)
        changed[..., 0] = 1
        return changed

    with tiny.loaded.model.hooks({"blocks.1.attn.hook_pattern": all_to_the_first}):
        seen = watched(tiny, [condition("attention", 1, head=2, key=0, limit=1.0)])
    assert [hit.sentence for hit in seen.hits[:1]] == ["head 2 of layer 1 gives 1 ≥ 1 from position 1 to position 0"]
    assert len(seen.hits) == TOKENS


def test_a_query_that_sees_itself_alone_says_nothing(tiny: Pair) -> None:
    """The first position gives itself all it has, in every head."""
    seen = watched(tiny, [condition("attention", 0, head=0, key=0, limit=0.9999)], [5])
    assert all(hit.place[0] > 0 for hit in seen.hits)


# -- stages ----------------------------------------------------------------------------------------------------------


def test_every_stage_of_a_pass(tiny: Pair) -> None:
    """Those that are only visited in prefill, too. The run stops there and nowhere else."""
    stages = layer_stages(tiny.loaded.config, 1)
    outside = ("embed", "final norm", "logits", "sampling")
    places = [*((1, stage) for stage in stages), *((None, stage) for stage in outside)]
    for layer, stage in places:
        seen = watched(tiny, [condition("stage", layer, stage=stage)])
        assert [(where.layer, where.stage) for where in seen.stops] == [(layer, stage)] * TOKENS
        of = "" if layer is None else f" of layer {layer}"
        assert {hit.sentence for hit in seen.hits} == {f"{stage}{of} is computed"}
        assert seen.places == [(end - 1, layer, None) for _, end in SPANS]


def test_a_stage_of_any_layer_and_the_end_of_a_layer(tiny: Pair) -> None:
    seen = watched(tiny, [condition("stage", stage="rope"), Breakpoint(2, (Condition("stage", 2),))])
    assert [(hit.number, hit.where.layer, hit.where.stage) for hit in seen.hits[:4]] == [
        (1, 0, "rope"),
        (1, 1, "rope"),
        (1, 2, "rope"),
        (2, 2, "add 2"),
    ]
    assert seen.gate.hits == {1: 3 * TOKENS, 2: TOKENS}


def test_two_at_one_stage(tiny: Pair) -> None:
    both = [condition("stage", 1, stage="mix"), replace(condition("stage", stage="mix"), number=2)]
    seen = watched(tiny, both)
    assert [hit.number for hit in seen.hits[:4]] == [2, 1, 2, 2]
    assert len(seen.stops) == 3 * TOKENS


# -- NaN and infinity ------------------------------------------------------------------------------------------------


@contextmanager
def spoilt(weight: Tensor, index: Any, value: float) -> Iterator[None]:
    before = weight.data[index].clone()
    weight.data[index] = value
    try:
        yield
    finally:
        weight.data[index] = before


WEIGHTS: dict[str, tuple[Callable[[Any], Tensor], str, int | None]] = {
    "attention": (lambda model: model.layers[1].attn.out.weight, "what leaves layer 1", 1),
    "mlp": (lambda model: model.layers[2].mlp.down.weight, "what leaves layer 2", 2),
    "embedding": (lambda model: model.embed.weight, "the embedding", None),
    "unembedding": (lambda model: model.unembed.weight, "the logits", None),
}


@pytest.mark.parametrize("place", WEIGHTS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bad_weight_is_found_where_it_is(tiny: Pair, place: str, value: float) -> None:
    """Told once: all that comes after it in the pass is bad as well."""
    weight, what, layer = WEIGHTS[place]
    model, hits = tiny.loaded.model, []
    gate = engine.Gate()
    gate.on_hit = hits.append
    gate.on_stop = lambda where: gate.resume()
    gate.set_breakpoints([NOT_FINITE])
    entry = (PROMPT[2], 0) if place == "embedding" else (3, 5)
    with spoilt(weight(model), entry, value), suppress(EngineError):  # most leave no token to choose
        list(engine.Session(tiny.loaded, gate=gate).generate(PROMPT, 1))
    (hit,) = hits
    position = {"embedding": 2, "unembedding": 5}.get(place, 0)
    kind = "infinity" if place == "embedding" and math.isinf(value) else "(NaN|infinity)"
    kind = "NaN" if math.isnan(value) else kind
    assert re.fullmatch(f"{kind} in {what} at position {position}", hit.sentence), hit.sentence
    assert hit.place == (position, layer, None)
    assert (hit.where.layer, hit.where.state) == (layer, "paused")
    assert hit.stops


@pytest.mark.parametrize("place", WEIGHTS)
def test_where_reading_makes_a_pass_wait_it_is_told_at_its_end(tiny: Pair, monkeypatch: Any, place: str) -> None:
    """Which layer, and which position, is the same."""
    monkeypatch.setattr(break_checks, "_makes_wait", lambda tensor: True)
    weight, what, layer = WEIGHTS[place]
    hits: list[HitFrame] = []
    gate = engine.Gate()
    gate.on_hit, gate.on_stop = hits.append, lambda where: gate.resume()
    gate.set_breakpoints([NOT_FINITE])
    entry = (PROMPT[2], 0) if place == "embedding" else (3, 5)
    with spoilt(weight(tiny.loaded.model), entry, math.nan), suppress(EngineError):
        list(engine.Session(tiny.loaded, gate=gate).generate(PROMPT, 1))
    (hit,) = hits
    position = {"embedding": 2, "unembedding": 5}.get(place, 0)
    assert hit.sentence == f"NaN in {what} at position {position}"
    assert (hit.place, hit.where.stage) == ((position, layer, None), "sampling")


def test_a_cancelled_pass_may_be_told_again(tiny: Pair) -> None:
    gate, hits = engine.Gate(), []
    gate.on_hit = hits.append
    gate.on_stop = lambda where: gate.cancel()
    gate.set_breakpoints([NOT_FINITE])
    session = engine.Session(tiny.loaded, gate=gate)
    session.begin(PROMPT)
    with spoilt(tiny.loaded.model.layers[0].mlp.down.weight, (0, 0), math.nan):
        for _ in range(2):
            with pytest.raises(Cancelled):
                list(session.steps(1))
            gate.reset()
    assert [hit.hits for hit in hits] == [1, 2]
    assert len(list(session.steps(1))) == 1


def test_a_banned_token_is_not_an_infinity(tiny: Pair) -> None:
    """What a hook does to the logits is meant."""

    def ban(logits: Tensor, point: Any) -> Tensor:
        return logits.index_fill(-1, torch.tensor([3, 4]), -math.inf)

    with tiny.loaded.model.hooks({"hook_logits_final": ban}):
        assert watched(tiny, [NOT_FINITE]).hits == []


def test_figures_that_overflow_a_sum_are_finite(tiny: Pair) -> None:
    """The watch adds up; the largest float32 numbers of the two signs are no infinity."""

    def large(stream: Tensor, point: Any) -> Tensor:
        return torch.full_like(stream, 3e38)

    with tiny.loaded.model.hooks({"blocks.0.hook_resid_post": large}):
        seen = watched(tiny, [Breakpoint(0, (Condition("not finite", 0),))])
    assert seen.hits == []


# -- two conditions, counts, ignoring --------------------------------------------------------------------------------


def test_two_conditions_must_hold_in_one_pass(tiny: Pair, free: list[engine.Step]) -> None:
    """The token is chosen in one pass only; that other passes come by the stage, too, does not count there."""
    wanted = free[0].id
    assert [step.id for step in free].count(wanted) == 1
    tests = (Condition("token", token=wanted), Condition("stage", 1, stage="rope"))
    seen = watched(tiny, [Breakpoint(4, tests)])
    (hit,) = seen.hits
    assert hit.sentence == f"token {wanted} is chosen, and rope of layer 1 is computed"
    assert hit.place == (5, 1, None)  # the place that is known best
    assert (hit.where.step, hit.where.stage) == (0, "sampling")
    never = (Condition("token", token=wanted), Condition("norm", limit=1e9))
    assert watched(tiny, [Breakpoint(4, never)]).hits == []


def test_both_must_hold_again_for_the_next_hit(tiny: Pair) -> None:
    tests = (Condition("stage", 0, stage="rope"), Condition("stage", stage="add 2"))
    seen = watched(tiny, [Breakpoint(1, tests)])
    assert [(hit.where.layer, hit.where.stage) for hit in seen.hits] == [(0, "add 2")] * TOKENS


def test_ignored_hits_are_counted_and_do_not_stop(tiny: Pair) -> None:
    seen = watched(tiny, [Breakpoint(7, (Condition("stage", 0, stage="rope"),), ignore=3)])
    assert [(hit.hits, hit.stops) for hit in seen.hits] == [(1, False), (2, False), (3, False), (4, True), (5, True)]
    assert [where.step for where in seen.stops] == [3, 4]
    assert [hit.where.state for hit in seen.hits] == ["running"] * 3 + ["paused"] * 2


def test_counts_live_until_the_breakpoint_is_removed_or_becomes_another(tiny: Pair) -> None:
    gate = engine.Gate()
    gate.on_stop = lambda where: gate.resume()
    session = engine.Session(tiny.loaded, gate=gate)
    session.begin(PROMPT)

    def after(*breakpoints: Breakpoint) -> dict[int, int]:
        gate.set_breakpoints(breakpoints)
        list(session.steps(1))
        return gate.hits

    one = condition("stage", 0, stage="rope")
    two = replace(one, number=2)
    assert after(one, two) == {1: 1, 2: 1}
    assert after(replace(one, on=False), two) == {1: 1, 2: 2}
    assert after(one, replace(two, ignore=5)) == {1: 2, 2: 3}
    assert after(one, Breakpoint(2, (Condition("stage", 1, stage="rope"),))) == {1: 3, 2: 1}
    assert after(one) == {1: 4}
    assert after(one, two) == {1: 5, 2: 1}


def test_so_many_more_are_ignored_from_when_it_is_said(tiny: Pair) -> None:
    gate, hits = engine.Gate(), []
    gate.on_hit, gate.on_stop = hits.append, lambda where: gate.resume()
    session = engine.Session(tiny.loaded, gate=gate)
    one = condition("stage", 0, stage="rope")
    gate.set_breakpoints([one])
    session.begin(PROMPT)
    list(session.steps(2))
    gate.set_breakpoints([replace(one, ignore=2)])
    list(session.steps(1))
    gate.set_breakpoints([replace(one, ignore=2, on=True)])  # said again, it begins no anew
    list(session.steps(2))
    assert [hit.stops for hit in hits] == [True, True, False, False, True]


# -- when it takes effect --------------------------------------------------------------------------------------------


def test_the_hit_comes_before_the_stop_and_names_its_place(tiny: Pair) -> None:
    gate, order = engine.Gate(), []
    gate.on_hit = lambda hit: order.append(hit.where)

    def stopped(where: Where) -> None:
        order.append(where)
        gate.resume()

    gate.on_stop = stopped
    gate.set_breakpoints([condition("stage", 1, stage="softmax")])
    list(engine.Session(tiny.loaded, gate=gate).generate(PROMPT, 1))
    assert order == [Where("paused", 0, "prefill", 0, 6, 1, "softmax")] * 2


def test_set_in_a_stopped_pass_it_holds_from_the_next_stage_on(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.step("layer")) as run:
        assert run.stopped().layer == 0
        run.gate.set_breakpoints([condition("stage", stage="add 2"), replace(condition("norm", limit=0), number=2)])
        run.gate.resume()
        assert run.stopped().layer == 1
        run.gate.set_breakpoints([condition("entropy", limit=0)])
        run.gate.resume()
        assert run.stopped().stage == "sampling"
        run.gate.set_breakpoints([])
        assert len(run.finish()) == 2
    assert run.gate.hits == {}


def test_taken_away_at_the_stage_where_it_holds_it_is_no_hit(tiny: Pair) -> None:
    gate, hits = engine.Gate(), []
    gate.on_hit, gate.on_stop = hits.append, lambda where: gate.resume()
    gate.set_breakpoints([condition("stage", 1, stage="rope"), replace(condition("norm", 0, limit=0), number=2)])

    def take_away(tensor: Tensor, point: Any) -> None:
        gate.set_breakpoints([replace(condition("stage", 1, stage="rope"), on=False)])

    with tiny.loaded.model.hooks({"blocks.1.attn.hook_rot_q": take_away}):
        list(engine.Session(tiny.loaded, gate=gate).generate(PROMPT, 1))
    assert [hit.number for hit in hits] == [2]
    assert not any(point.active for point in tiny.loaded.model.points.values())


def test_a_hit_stops_a_longer_step_and_steps_go_on_from_it(tiny: Pair) -> None:
    arm = [condition("stage", 1, stage="rope")]
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: (gate.set_breakpoints(arm), gate.step("token"))) as run:
        assert (run.stopped().layer, run.gate.where.stage) == (1, "rope")
        assert run.step("stage").stage == "cache"
        assert run.step("token").stage == "start"
        run.gate.set_breakpoints([])
        run.finish()


# -- what it costs ---------------------------------------------------------------------------------------------------


ALL = [
    NOT_FINITE,
    *(
        Breakpoint(number, (test,))
        for number, test in enumerate(
            (
                Condition("entropy", limit=99),
                Condition("not the best"),
                Condition("lens", 1),
                Condition("attention", 1, head=1, key=0, limit=2),
                Condition("norm", limit=1e9),
                Condition("token", text="nowhere"),
                Condition("stage", 9, stage="rope"),
                Condition("expert", expert=0),
                Condition("router entropy", limit=0),
            ),
            start=1,
        )
    ),
]


def test_texts_are_those_of_the_tokenizer(smollm2: Loaded) -> None:
    gate, hits = engine.Gate(), []
    gate.on_hit, gate.on_stop = hits.append, lambda where: gate.resume()
    paris = (Condition("token", text="Par"),)
    france = (Condition("attention", 0, head=0, text="Fran", limit=1e-6),)
    gate.set_breakpoints([Breakpoint(1, paris), Breakpoint(2, france)])
    session = engine.Session(smollm2, engine.Sampling(greedy=True), gate)
    step = next(iter(session.generate("The capital of France is", 1)))
    assert step.text == " Paris"
    by_number = {hit.number: hit for hit in hits}
    assert by_number[1].sentence == f"token {step.id} “ Paris” is chosen"
    position = next(at for at, piece in enumerate(session.prompt_pieces()) if piece.text == " France")
    assert by_number[2].sentence.endswith(f"to position {position}")


def test_what_is_off_costs_nothing(tiny: Pair) -> None:
    """Nothing is attached for it, nor for what the model has no place for."""
    attached: list[int] = []

    def look(where: Where) -> None:
        points = tiny.loaded.model.points.values()
        attached.append(sum(len(point.observers) for point in points))
        gate.resume()

    for breakpoints in ([], [replace(each, on=False) for each in ALL], ALL[7:], ALL[:1]):
        gate = engine.Gate()
        gate.on_stop = look
        gate.set_breakpoints(breakpoints)
        gate.step("stage")
        list(engine.Session(tiny.loaded, gate=gate, record=False).generate(PROMPT, 1))
    assert attached == [0, 0, 0, 3 + 3]  # embedding, logits, the end of the pass, and three layers
    assert not any(point.active for point in tiny.loaded.model.points.values())


def test_looking_changes_nothing_and_forms_no_lazy_tensor(tiny: Pair, free: list[engine.Step]) -> None:
    undisturbed = [step.logits for step in engine.Session(tiny.loaded).generate(PROMPT, TOKENS)]
    gate = engine.Gate()
    gate.on_stop = lambda where: gate.resume()
    gate.set_breakpoints(ALL)
    session = engine.Session(tiny.loaded, gate=gate)
    steps = []
    for step, logits in zip(session.generate(PROMPT, TOKENS), undisturbed, strict=True):
        assert torch.equal(step.logits, logits)
        assert step.hooked == ()
        steps.append(step.id)
    assert steps == [step.id for step in free]
    assert session.trace.applied == {}


def test_what_each_costs_is_in_the_meter(tiny: Pair) -> None:
    seen = watched(tiny, [NOT_FINITE, Breakpoint(3, (Condition("norm", limit=1e9),)), replace(ALL[1], number=12)])
    for step in seen.steps:
        parts = dict(step.watch.parts)
        assert all(parts[name] > 0 for name in ("break 0", "break 3", "break 12"))


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Condition("norm", limit=math.nan), "finite number"),
        (lambda: Breakpoint(1, ()), "one or two"),
        (lambda: Breakpoint(1, (Condition("lens"),) * 3), "one or two"),
        (lambda: Breakpoint(1, (Condition("lens"),), ignore=-1), "0 or more"),
        (lambda: condition("token"), "token id or a text"),
        (lambda: condition("attention", key=1), "needs a layer"),
        (lambda: condition("attention", 1), "a position, a token id or a text"),
        (lambda: engine.Gate().set_breakpoints([condition("lens"), condition("entropy")]), "number 1"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        make()


def test_a_stage_that_is_not_there_is_named(tiny: Pair) -> None:
    config = tiny.loaded.config
    for layer, stage in ((None, "sampling"), (None, ""), (2, ""), (2, "rope")):
        check_spot(config, layer, stage)
    with pytest.raises(EngineError, match="Layer 3 does not exist"):
        check_spot(config, 3, "")
    with pytest.raises(EngineError, match="no stage 'router' in layer 1; there are norm 1, "):
        check_spot(config, 1, "router")
    with pytest.raises(EngineError, match="no stage 'rope' outside the layers"):
        check_spot(config, None, "rope")


def test_figures_differ_in_print_where_they_differ() -> None:
    assert beyond(3.2112345, ">", 2.5, "nats") == "3.211 nats > 2.5"
    assert beyond(2.5000004, ">", 2.5) == "2.5000004 > 2.5"
    assert beyond(0.5, "≥", 0.5) == "0.5 ≥ 0.5"
