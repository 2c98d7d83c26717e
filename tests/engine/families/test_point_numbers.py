"""Every figure that can be worked out comes out as the pass has it; links lead through the whole pass."""

from __future__ import annotations

import math
import random

import pytest

import engine
from engine.frames import Worked
from engine.loading import Loaded
from engine.point_links import Names, goes_to, made_of
from engine.point_table import expert_of, full_name, layer_points, of_any_expert, outer_points, point_facts, split_name
from engine.questions import AskPoint, AskWorked
from tests.engine.families.oracle import Oracle

KINDS = (
    "llama-default",
    "gpt2-default",
    "phi3-partial-rotary",
    "gpt_neox-parallel",
    "falcon-rw-six-heads",  # scores that fall with distance
    "gemma2-default",  # norms before and after, caps
    "gemma3_text-default",
    "olmo2-bias",
    "olmo-clip",
    "granite-biases",
    "qwen2_moe-default",
    "qwen3_moe-sliding",
    "deepseek_v2-low-rank-queries",
    "deepseek_v3-default",
    "llama4_text-default",
    "gpt_oss-default",
)  # every kind of attention, mixture, norm and position
pytestmark = pytest.mark.parametrize("oracle", KINDS, indirect=True)

STEPS, PROMPT = 2, 20
NOT_WORKED_OUT = {
    "hook_tokens": "ids are no figures",
    "hook_cos": "an angle, not made of other tensors",
    "hook_sin": "an angle, not made of other tensors",
    "kv.hook_append": "an event",
    "mlp.hook_expert_indices": "ids",
    "mlp.hook_shared_out": "an MLP whose inside has no points",
    "sampler.hook_penalised": "several rules in a row",
    "sampler.hook_topk_mask": "kept or cut",
    "sampler.hook_topp_mask": "kept or cut",
    "sampler.hook_minp_mask": "kept or cut",
    "sampler.hook_typicalp_mask": "kept or cut",
    "sampler.hook_token": "an id",
}


@pytest.fixture
def run(loaded: Loaded, oracle: Oracle) -> engine.Session:
    session = engine.Session(loaded, engine.Sampling(temperature=0.7, top_k=20, seed=3))
    for step in session.generate(oracle.ids[0, :PROMPT].tolist(), STEPS):
        if step.finish is not None and step.finish != "limit":
            break
    return session


def a_place(run: engine.Session, name: str, position: int, chance: random.Random) -> tuple[int, ...] | None:
    """A place that the tensor has at a position: of those that are strongest, or any; None where nothing is there."""
    tensor = run.answer(AskPoint(name, position))
    if tensor.figures is None or not len(tensor.top):
        return None
    place = tuple(int(entry) for entry in chance.choice(tensor.top))
    if "key" not in tensor.symbols and chance.random() < 0.7:
        place = tuple(chance.randrange(size) for size in tensor.shape)
    axes = [one for one in point_facts(run.loaded.config, name).shape if one not in ("batch", "pos", "routed")]
    return (place[0], tensor.index, place[1]) if len(axes) == 3 and axes[0] != "1" else place


def test_every_figure_comes_out_as_the_pass_has_it(run: engine.Session) -> None:
    chance, n = random.Random(5), 0
    layers = {None, *{spec: layer for layer, spec in enumerate(run.loaded.config.layers)}.values()}  # of each kind one
    for name in run.loaded.model.points:
        layer, inner = split_name(name)[0], of_any_expert(split_name(name)[1])
        if layer not in layers:
            continue
        for position in (PROMPT - 1, run.n_read - 1):
            place = a_place(run, name, position, chance)
            if place is None:
                continue
            found = run.answer(AskWorked(name, position, place))
            assert isinstance(found, Worked)
            if inner in NOT_WORKED_OUT or inner.rpartition(".")[2] in NOT_WORKED_OUT:
                assert "is no figure that is worked out" in found.sentence
                continue
            assert not found.sentence, found.sentence
            assert found.terms, name
            agree(found, run)
            n += 1
    assert n > 40


def agree(found: Worked, run: engine.Session) -> None:
    """The outcome is the pass's figure, but for the rounding of float32; terms and rest make the outcome."""
    if math.isfinite(found.value):
        figures = run.answer(AskPoint(found.name, found.position)).figures
        usual = 0.0 if figures is None else max(abs(figures.low), abs(figures.high))
        size = max(usual, *(abs(term.value) for term in found.terms), 1e-3)
        assert found.result == pytest.approx(found.value, abs=1e-5 * size * math.sqrt(found.count)), found
    else:
        assert found.result == found.value
    values = [term.value for term in found.terms]
    made = {
        "sum": sum(values) + found.rest,
        "product": math.prod(values),
        "quotient": values[0] / values[-1] if values[-1] else math.nan,
    }[found.kind]
    assert made == pytest.approx(found.outcome, rel=1e-9, abs=1e-9)


def test_terms_are_the_strongest_of_a_sum(run: engine.Session) -> None:
    found = run.answer(AskWorked(full_name(0, "hook_mlp_out"), PROMPT - 1, (3,)))
    values = [abs(term.value) for term in found.terms]
    assert values == sorted(values, reverse=True) or found.count <= 5


def test_a_place_that_is_not_there_is_refused(run: engine.Session) -> None:
    width = run.loaded.config.d_model
    found = run.answer(AskWorked(full_name(0, "hook_resid_post"), PROMPT - 1, (width,)))
    assert "has no entry at" in found.sentence
    late = run.answer(AskWorked(full_name(0, "hook_resid_post"), run.n_tokens - 1, (0,)))
    assert "has not been computed" in late.sentence


def names_of(loaded: Loaded) -> Names:
    before, behind = outer_points(loaded.config)
    layers = tuple(
        tuple(point.name for point in layer_points(loaded.config, layer)) for layer in range(loaded.config.n_layers)
    )
    return Names(tuple(p.name for p in before), layers, tuple(p.name for p in behind))


def test_links_lead_through_the_whole_pass(loaded: Loaded) -> None:
    """Every tensor but ids and angles is made of earlier ones, and every one but the token goes somewhere."""
    names = names_of(loaded)
    order = [of_any_expert_of(name) for name in loaded.model.points]
    order = list(dict.fromkeys(order))
    ends = {"hook_tokens", "hook_pos_embed"}
    for layer, inner in ((split_name(name)) for name in order):
        if inner.startswith("rotary_emb."):
            continue
        name = inner if layer is None else full_name(layer, inner)
        sources, targets = made_of(names, layer, inner), goes_to(names, layer, inner)
        assert bool(sources) != (inner in ends), name
        for source in sources:
            assert order.index(source) < order.index(name), (source, name)
            assert name in goes_to(names, *split_name(source)), (source, name)
        shown_only = ("kv.hook_append", "attn.hook_sink", "attn.hook_result", "attn.hook_k_nope")
        last = inner in ("sampler.hook_token", *shown_only) or (inner == "attn.hook_v" and not targets)
        assert bool(targets) or last, name


def of_any_expert_of(name: str) -> str:
    layer, inner = split_name(name)
    inner = of_any_expert(inner) if expert_of(inner) is not None else inner
    return inner if layer is None else full_name(layer, inner)


def test_what_an_edit_put_in_its_place_is_said(loaded: Loaded, oracle: Oracle) -> None:
    """The formula gives what would have been there; what is made of it starts from what the pass went on with."""
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    name = full_name(1, "hook_attn_out")
    with loaded.model.hooks({name: lambda x, point: x * 0}):
        next(iter(session.generate(oracle.ids[0, :PROMPT].tolist(), 1)))
    found = session.answer(AskWorked(name, PROMPT - 1, (3,)))
    assert (found.value, found.replaced) == (0.0, True)
    assert found.result != 0.0
    after = session.answer(AskWorked(full_name(1, "hook_resid_post"), PROMPT - 1, (3,)))
    assert not after.replaced
    agree(after, session)
