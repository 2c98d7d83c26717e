"""Edits of a session: what is refused, when they act, what they leave alone, and that a script repeats them.

That each kind does what it says is in families/test_edits.py.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine import layer_replay, untouched_answers
from engine.edit_code import as_python
from engine.edits import Edit
from engine.errors import Cancelled, EngineError
from engine.frames import Untouched
from engine.hooks import HookPoint
from engine.loading import Loaded
from engine.questions import AskUntouched
from engine.replay import replay
from tests.engine.conftest import Pair, pair
from tests.engine.families.oracle import Oracles
from tests.engine.runner import Run

PROMPT = [1, 5, 9, 4, 7, 33]
GREEDY = engine.Sampling(greedy=True)
Z = "attn.hook_z"
SCORES, PATTERN, CHOICE, LOGITS = (
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "mlp.hook_router_choice",
    "hook_logits_final",
)
HALF = Edit("scale", Z, (1,), value=0.5)


def _session(loaded: Loaded, *edits: Edit, **options: Any) -> engine.Session:
    session = engine.Session(loaded, GREEDY, **options)
    session.set_edits(edits)
    return session


def _logits(session: engine.Session, tokens: int = 4) -> list[Tensor]:
    return [step.logits for step in session.generate(PROMPT, tokens)]


def _same(ones: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("zero", "attn.hook_nothing", (0,)), r"no point blocks\.0\.attn\.hook_nothing"),
        (Edit("zero", Z, (0, 3)), r"no point blocks\.3\.attn\.hook_z"),
        (Edit("zero", Z), r"no point attn\.hook_z in it"),
        (Edit("zero", LOGITS, (0,)), "no point blocks.0.hook_logits_final"),
        (Edit("zero", "kv.hook_append", (0,)), "can only be looked at"),
        (Edit("set", "hook_tokens", value=3), "can only be looked at"),
        (Edit("scale", "sampler.hook_probs", value=3), "can only be looked at"),
        (Edit("zero", Z, (0,), heads=(4,)), "attn.hook_z has no head 4"),
        (Edit("zero", Z, (0,), heads=(-1,)), "no head -1"),
        (Edit("zero", "hook_resid_mid", (0,), heads=(0,)), "hook_resid_mid has no heads"),
        (Edit("zero", "mlp.hook_post", (0,), entries=(48,)), "mlp.hook_post has no entry 48"),
        (Edit("zero", PATTERN, (0,), entries=(0,)), "no entries that could be named"),
        (Edit("zero", Z, (0,), keys=(0,)), "no edges from a query to a key"),
        (Edit("knock out", PATTERN, (0,)), "positions of its keys"),
        (Edit("knock out", PATTERN, (0,), keys=(512,)), "the context has no key 512"),
        (Edit("knock out", Z, (0,), keys=(0,)), "'knock out' is for attn.hook_attn_scores and attn.hook_pattern"),
        (Edit("forbid", CHOICE, (0,), entries=(0,)), "no point blocks.0.mlp.hook_router_choice"),
        (Edit("ban", "hook_resid_mid", (0,), entries=(1,)), "'ban' is for hook_logits_final"),
        (Edit("ban", "hook_logits", entries=(5,)), "'ban' is for hook_logits_final"),
        (Edit("ban", LOGITS), "needs to know which entries"),
        (Edit("ban", LOGITS, entries=tuple(range(96))), "no token would be left"),
        (Edit("copy", Z, (0,)), "'copy' takes 1 positions, and 0 are given"),
        (Edit("add", Z, (0,), sources=(1,)), "'add' takes 2 positions, and 1 are given"),
        (Edit("copy", Z, (0,), sources=(512,)), "the context has no position 512"),
        (Edit("mean", PATTERN, (0,)), "what stands at other positions cannot be had of attn.hook_pattern"),
        (Edit("mean", LOGITS), "what stands at other positions cannot be had of hook_logits_final"),
        (Edit("add", Z, (0,), token=1), "can only be added to what has d_model entries"),
        (Edit("add", "hook_resid_mid", (0,), token=96), "the vocabulary has no token 96"),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing(tiny: Pair, edit: Edit, why: str) -> None:
    session = _session(tiny.loaded, HALF)
    with pytest.raises(EngineError, match=why):
        session.set_edits([Edit("zero", Z, (0,)), replace(edit, name="my edit")])
    assert session.edits == (HALF,)


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([Edit("forbid", CHOICE, (1,), entries=(0, 1, 2, 3))], "forbid fewer"),
        ([Edit("force", CHOICE, (1,), entries=(0, 1, 2, 3))], "4 experts of layer 1 are forced.*chooses 3"),
        ([Edit("force", CHOICE, (1,), entries=(2,)), Edit("forbid", CHOICE, (1, 2), entries=(2,))], "Expert 2 of lay"),
        ([Edit("zero", "mlp.hook_post", (0,))], r"no point blocks\.0\.mlp\.hook_post"),
        ([Edit("zero", "mlp.experts.1.hook_post", (0,), positions=(1, 2))], "positions cannot be named"),
        ([Edit("zero", "mlp.experts.6.hook_post", (0,))], r"no point blocks\.0\.mlp\.experts\.6"),
    ],
)
def test_experts_are_left_to_choose_from(experts: Loaded, edits: list[Edit], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        _session(experts, *edits)


def test_what_is_apart_does_not_clash(experts: Loaded) -> None:
    """Off, at other positions, in another pass, in another layer."""
    forced = Edit("force", CHOICE, (1,), entries=(0, 1, 2), positions=(2, 4))
    apart = [replace(forced, entries=(3,), positions=(4, None)), replace(forced, entries=(3,), layers=(2,))]
    once = [replace(forced, step=1, positions=None), replace(forced, entries=(4,), step=2, positions=None)]
    for edits in ([forced, *apart, replace(forced, entries=(3,), on=False)], once):
        _logits(_session(experts, *edits))


def test_one_expert_is_edited_where_it_was_chosen(experts: Loaded) -> None:
    """What it adds, its weight times what it gives, is gone from the stream; nothing else is."""
    layer, plain = "blocks.1.", _session(experts)
    session = _session(experts, Edit("zero", "mlp.experts.2.hook_out", (1,)))
    names = [layer + name for name in ("mlp.hook_routed_out", "mlp.hook_expert_indices", "mlp.hook_expert_weights")]
    ours, theirs = ((_logits(run, 1), replay(run, names, 0, 6))[1] for run in (session, plain))
    given = torch.zeros(6, 32)
    chosen = theirs[names[1]][0] == 2
    expert = replay(plain, [layer + "mlp.experts.2.hook_out"], 0, 6)[layer + "mlp.experts.2.hook_out"]
    assert 0 < len(expert) < 6
    given[chosen.any(1)] = expert * theirs[names[2]][0][chosen][:, None]
    torch.testing.assert_close(ours[names[0]][0], theirs[names[0]][0] - given)


@pytest.fixture(scope="module")
def experts(oracles: Oracles) -> Loaded:
    """Six experts in every layer, three of them at a time."""
    return engine.load(oracles["mixtral-default"].folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return Oracles(tmp_path_factory.mktemp("edits"))


@pytest.mark.parametrize(
    "wrong",
    [{"value": math.nan}, {"strength": math.inf}, {"low": 2, "high": 1}, {"positions": (3, 3)}, {"positions": (-1, 3)}],
)
def test_an_edit_that_means_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(EngineError):
        Edit("zero", Z, (0,), **wrong)


def test_without_a_record_nothing_is_known_of_other_positions(tiny: Pair) -> None:
    session = _session(tiny.loaded, HALF, record=False)
    assert _same(_logits(session), _logits(_session(tiny.loaded, HALF)))
    with pytest.raises(EngineError, match="Without a record"):
        session.set_edits([Edit("mean", Z, (1,))])
    assert session.edits == (HALF,)
    with pytest.raises(EngineError, match="Without a record"):
        _untouched(session)


def test_scores_that_no_memory_holds(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass does not begin; without the edit the run does."""
    session = _session(tiny.loaded, Edit("knock out", PATTERN, (1,), keys=(0,)))
    monkeypatch.setattr(layer_replay, "_MOST_SCORES", 1000)
    with pytest.raises(EngineError, match=r"all heads of layer 1 at 6 positions at once.*shorten the prompt"):
        _logits(session)
    assert session.n_read == 0
    session.set_edits([])
    assert _same([step.logits for step in session.steps(4)], _logits(_session(tiny.loaded)))


# -- where and when they act -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        replace(HALF, strength=0.0),
        replace(HALF, value=1.0),
        replace(HALF, on=False),
        replace(HALF, step=9),
        replace(HALF, positions=(50, None)),
        Edit("copy", Z, (1,), sources=(40,)),
        Edit("clamp", Z, (1,)),
    ],
)
def test_edits_that_do_nothing(tiny: Pair, edit: Edit) -> None:
    assert _same(_logits(_session(tiny.loaded, edit)), _logits(_session(tiny.loaded)))


@pytest.mark.parametrize("edit", [replace(HALF, on=False), replace(HALF, step=2), replace(HALF, positions=(50, None))])
def test_what_is_not_for_this_pass_hangs_nowhere(tiny: Pair, edit: Edit) -> None:
    session, points = _session(tiny.loaded, edit), tiny.loaded.model.points
    steps = list(session.generate(PROMPT, 2))
    assert [step.hooked for step in steps] == [(), ()]
    assert not any(point.listeners for point in points.values())


def test_a_step_says_that_it_was_edited(tiny: Pair) -> None:
    session = _session(tiny.loaded, replace(HALF, step=1))
    steps = list(session.generate(PROMPT, 3))
    assert [step.edited for step in steps] == [step.frame().edited for step in steps] == [False, True, False]
    assert steps[1].hooked == ("blocks.1.attn.hook_z",)
    assert list(session.trace.applied) == [steps[1].start]
    with tiny.loaded.model.hooks({"hook_embed": lambda tensor, point: tensor * 1}):
        assert next(session.steps(1)).edited  # a hook does the same
    assert next(_session(tiny.loaded, HALF, record=False).generate(PROMPT, 1)).edited


def test_edits_are_made_in_their_order(tiny: Pair) -> None:
    add, double = Edit("bias", Z, (1,), value=1.0), Edit("scale", Z, (1,), value=2.0)
    name = "blocks.1.attn.hook_z"
    plain = _session(tiny.loaded)
    _logits(plain, 1)
    before = replay(plain, [name], 0, 6)[name]
    for edits, expected in (((add, double), (before + 1) * 2), ((double, add), before * 2 + 1)):
        session = _session(tiny.loaded, *edits)
        _logits(session, 1)
        assert torch.equal(replay(session, [name], 0, 6)[name], expected)


@pytest.mark.parametrize("point", ["kv.hook_k", "kv.hook_v"])
def test_a_key_is_edited_in_every_pass_that_attends_to_it(tiny: Pair, point: str) -> None:
    def by_hand(tensor: Tensor, _: HookPoint) -> Tensor:
        changed = tensor.clone()
        changed[:, 1:3] = 0
        return changed

    session = _session(tiny.loaded)
    with tiny.loaded.model.points.attached({f"blocks.1.{point}": by_hand}):
        expected = _logits(session)
    assert _same(_logits(_session(tiny.loaded, Edit("zero", point, (1,), positions=(1, 3)))), expected)


def test_a_source_is_waited_for(tiny: Pair) -> None:
    """Position 7 is read by the second decode pass: the first that can take from it."""
    session = _session(tiny.loaded, Edit("copy", "hook_resid_post", (0,), sources=(7,)))
    steps = list(session.generate(PROMPT, 5))
    assert [step.edited for step in steps] == [False, False, True, True, True]
    name = "blocks.0.hook_resid_post"
    seventh, eighth = (replay(session, [name], p, p + 1)[name] for p in (7, 8))
    assert torch.equal(seventh, eighth)


def test_taken_from_a_new_run(tiny: Pair) -> None:
    """What was kept of another prompt's positions is forgotten."""
    edit = Edit("copy", "hook_resid_post", (0,), sources=(2,), positions=(6, None))
    mean = Edit("mean", Z, (1,))
    session = _session(tiny.loaded, edit, mean)
    list(session.generate([3, 3, 8, 60, 61, 62], 4))
    assert _same(_logits(session), _logits(_session(tiny.loaded, edit, mean)))


TAKES = [
    Edit("mean", Z, (0, 1), heads=(1,)),
    Edit("copy", "hook_resid_post", (0,), sources=(8,), positions=(9, None), strength=0.5),
    Edit("bias", "hook_resid_mid", (2,), value=0.5, step=17),
]


@pytest.mark.parametrize("n_tokens", [6, 8, 9, 20, 25, 40])
def test_back_and_on_again(tiny: Pair, n_tokens: int) -> None:
    """Sums and values that were taken of later positions are taken anew: bit for bit what they were."""
    session = _session(tiny.loaded, *TAKES)
    session.begin(PROMPT)
    there = _go_on(session, 40)
    session.take_back(n_tokens)
    assert _same(_go_on(session, 40), there[n_tokens - 6 :])


def test_set_in_the_middle_of_a_run(tiny: Pair) -> None:
    """What is taken of positions that were read before: of their passes as they were."""
    session, name = _session(tiny.loaded), "blocks.1.attn.hook_z"
    session.begin(PROMPT)
    _go_on(session, 12)
    before = [replay(session, [name], start, end)[name] for start, end in session.trace.spans]
    session.set_edits([Edit("mean", Z, (1,))])
    _go_on(session, 14)
    sums, n = torch.cat(before, dim=1).sum(1, keepdim=True), session.trace.spans[-2][0]
    plain = _session(tiny.loaded)
    plain.begin(PROMPT)
    _go_on(plain, 13)  # one pass further, not edited
    here = replay(plain, [name], n, n + 1)[name]
    torch.testing.assert_close(replay(session, [name], n, n + 1)[name], (sums + here) / (n + 1))


def test_on_another_branch(tiny: Pair) -> None:
    """A branch takes of its own tokens, and the first one of its own again."""
    edit = Edit("copy", "hook_resid_post", (0,), sources=(8,), positions=(9, None))
    session = _session(tiny.loaded, edit, TAKES[0])
    session.begin(PROMPT)
    there = _go_on(session, 12)
    session.branch(8, 77)
    other = _go_on(session, 16)
    alone = _session(tiny.loaded, edit, TAKES[0])
    alone.begin(PROMPT)
    _go_on(alone, 9)
    alone.branch(8, 77)
    assert _same(_go_on(alone, 16), other)
    session.switch(0)
    straight = _session(tiny.loaded, edit, TAKES[0])
    straight.begin(PROMPT)
    assert _same(_go_on(straight, 16), [*there, *_go_on(session, 16)])


def _go_on(session: engine.Session, n_tokens: int) -> list[Tensor]:
    """Until there are so many tokens, also behind an end of sequence; the logits of these passes."""
    logits: list[Tensor] = []
    while session.n_tokens < n_tokens:
        logits += [step.logits for step in session.steps(n_tokens - session.n_tokens)]
    return logits


@pytest.mark.parametrize(
    "edit",
    [
        Edit("set", Z, (1,), value=1e300, positions=(2, 10**30)),
        Edit("scale", Z, (1,), value=-1e300),
        Edit("clamp", Z, (1,), low=-1e300, high=1e300),
        Edit("add", "hook_resid_mid", (1,), token=3, value=1e300, strength=1e-300),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_figures_that_no_tensor_holds(halves: dict[str, Loaded], edit: Edit, dtype: str) -> None:
    """The pass ends in logits, or in the sentence about NaN: nothing breaks."""
    session = _session(halves[dtype], edit)
    try:
        _logits(session, 2)
    except EngineError as error:
        assert "NaN" in str(error)  # noqa: PT017


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory, tiny: Pair) -> dict[str, Loaded]:
    return {"float32": tiny.loaded, "bfloat16": pair(tmp_path_factory.mktemp("half"), "bfloat16").loaded}


def test_two_runs_of_a_model_take_turns(tiny: Pair) -> None:
    plain, edited = _session(tiny.loaded), _session(tiny.loaded, HALF)
    turns = [session.generate(PROMPT, 4) for session in (plain, edited)]
    pairs = [(one.logits, other.logits) for one, other in zip(*turns, strict=True)]
    assert _same([one for one, _ in pairs], _logits(_session(tiny.loaded)))
    assert _same([other for _, other in pairs], _logits(_session(tiny.loaded, HALF)))


def test_a_query_that_is_left_no_key_attends_to_nothing(tiny: Pair) -> None:
    """Position 0 sees itself alone; of position 1 head 2 loses both, by two edits."""
    edits = [
        Edit("knock out", PATTERN, (0, 1, 2), keys=(0,)),
        Edit("knock out", PATTERN, (1,), heads=(2,), positions=(1, 2), keys=(1,)),
    ]
    session = _session(tiny.loaded, *edits)
    assert all(logits.isfinite().all() for logits in _logits(session))
    name = "blocks.1.attn.hook_pattern"
    pattern = replay(session, [name], 0, 6)[name][0]
    assert not pattern[:, 0].any()
    assert not pattern[2, 1].any()
    torch.testing.assert_close(pattern[[0, 1, 3], 1, 1], torch.ones(3))
    torch.testing.assert_close(pattern[:, 2:].sum(-1), torch.ones(4, 4))
    assert not pattern[..., 0].any()


def test_what_is_barred_stays_so(tiny: Pair) -> None:
    """No edit lets a query see what comes after it, or brings a banned token back."""
    edits = [
        Edit("set", SCORES, (1,), value=1.0),
        Edit("set", PATTERN, (2,), value=0.25),
        Edit("ban", LOGITS, entries=(5, 6)),
        Edit("scale", LOGITS, value=0.0),
        Edit("bias", LOGITS, entries=(5,), value=9.0, strength=0.5),
    ]
    session = _session(tiny.loaded, *edits)
    logits = _logits(session, 2)
    names = ("blocks.1.attn.hook_pattern", "blocks.2.attn.hook_pattern")
    even, quarter = (replay(session, [name], 0, 6)[name][0, 0] for name in names)
    torch.testing.assert_close(even, torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None])
    assert torch.equal(quarter, torch.ones(6, 6).tril() * 0.25)
    for row in logits:
        assert row.isneginf().nonzero().flatten().tolist() == [5, 6]
        assert not row.isnan().any()


def test_in_half_precision(halves: dict[str, Loaded]) -> None:
    """Every gradual kind keeps the model's type, in prefill and decode."""
    half = halves["bfloat16"]
    edits = [
        Edit("mean", Z, (0,), heads=(1,), strength=0.5),
        Edit("add", "hook_resid_mid", (1,), sources=(3, 1), value=0.3),
        Edit("add", "hook_resid_post", (1,), token=4, value=0.3),
        Edit("clamp", "mlp.hook_post", (2,), low=-1, high=1),
        Edit("knock out", PATTERN, (2,), keys=(0,), renormalise=False),
    ]
    session = _session(half, *edits)
    steps = list(session.generate(PROMPT, 3))
    assert all(step.logits.dtype == torch.bfloat16 for step in steps)
    for start, end in session.trace.spans:
        name = "blocks.2.hook_resid_post"
        assert torch.equal(replay(session, [name], start, end)[name][0], session.trace.residual(3, start, end))


# -- while a pass stands -----------------------------------------------------------------------------------------------

ANYWHERE = [
    Edit("scale", "hook_resid_pre", (1,), value=1.5),
    Edit("zero", Z, (1,), heads=(0, 2)),
    Edit("knock out", PATTERN, (1,), keys=(1,)),
    Edit("knock out", PATTERN, (1,), keys=(1,), renormalise=False),
    Edit("set", "mlp.hook_post", (1,), entries=(3, 4), value=2.0),
    Edit("bias", LOGITS, entries=(7,), value=5.0),
]


def _point(edit: Edit) -> str:
    """The full name of the point at which it acts."""
    if edit.kind == "knock out":
        return f"blocks.1.{SCORES if edit.renormalise else PATTERN}"
    return LOGITS if edit.point == LOGITS else f"blocks.1.{edit.point}"


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("edit", ANYWHERE, ids=lambda edit: f"{edit.kind} {edit.renormalise}")
def test_set_at_every_stage(tiny: Pair, edit: Edit, step: int) -> None:
    """Of the pass that stands what has come by stays as it was; what is ahead, and every later pass, is edited."""
    points = tiny.loaded.model.points
    behind = _expected(tiny.loaded, edit, step + 1), _expected(tiny.loaded, edit, step)
    for place in [place for place in _stages(tiny.loaded, 1 + step) if place.layer in (None, 1)]:
        with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
            while run.stopped() != place:
                run.gate.step("stage")
            session = run.session
            run.gate.do(lambda session=session: session.set_edits([edit]))
            run.gate.resume()
            run.finish()
        ahead = not points.passed(_point(edit), place.layer, place.stage)
        assert _same(run.logits, behind[ahead]), place
        assert [made.edited for made in run.steps] == [index >= step + (not ahead) for index in range(3)]
        kept = [session.logits_of(made) for made in run.steps]
        assert _same(kept, run.logits)


def _stages(loaded: Loaded, passes: int) -> list[Any]:
    """Where the last of so many passes stands, one stage after the other."""
    places = []
    with Run(loaded, PROMPT, passes, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
        while not places or places[-1].stage != "sampling" or places[-1].step < passes - 1:
            places.append(run.stopped())
            run.gate.step("stage")
        run.finish()
    return [place for place in places if place.step == passes - 1]


def _expected(loaded: Loaded, edit: Edit, first: int) -> list[Tensor]:
    """Logits of three passes, edited from pass ``first`` on."""
    session = _session(loaded)
    session.begin(PROMPT)
    logits = []
    for index in range(3):
        session.set_edits([edit] if index >= first else [])
        logits.append(next(session.steps(1)).logits)
    return logits


def test_taken_away_between_scores_and_softmax(tiny: Pair) -> None:
    """Scores that were cut stay cut, and a query that was left nothing attends to nothing: no NaN."""
    cut = Edit("knock out", PATTERN, (1,), keys=(0,))
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.pause(), sampling=GREEDY) as run:
        run.stopped()
        session = run.session
        run.gate.do(lambda: session.set_edits([cut]))
        while (run.gate.where.layer, run.gate.where.stage) != (1, "scores"):
            run.step("stage")
        run.gate.do(lambda: session.set_edits([]))
        run.gate.resume()
        run.finish()
    once = _session(tiny.loaded, replace(cut, step=0))
    assert _same(run.logits, _logits(once, 2))
    assert not any(point.listeners for point in tiny.loaded.model.points.values())


def test_a_cancelled_pass_leaves_nothing_of_its_edits(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("token"), sampling=GREEDY) as run:
        run.stopped()
        session = run.session
        run.gate.do(lambda: session.set_edits([HALF, Edit("mean", Z, (2,))]))
        while run.gate.where.layer != 2:
            run.step("layer")
        run.gate.cancel()
        with pytest.raises(Cancelled):
            run.finish()
    assert session.trace.applied == {}
    session.set_edits([])
    rest = [step.logits for step in session.steps(3 - len(run.steps))]
    assert _same([*run.logits, *rest], _logits(_session(tiny.loaded), 3))


def test_a_mistake_in_a_pass_that_stands(tiny: Pair) -> None:
    """It is refused, and the pass goes on with the edits it had."""
    refused: list[str] = []

    def wrong(session: engine.Session) -> None:
        try:
            session.set_edits([Edit("zero", Z, (7,))])
        except EngineError as error:
            refused.append(str(error))

    with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
        run.stopped()
        session = run.session
        run.gate.do(lambda: session.set_edits([HALF]))
        run.gate.do(lambda: wrong(session))
        run.gate.resume()
        run.finish()
    assert len(refused) == 1
    assert _same(run.logits, _logits(_session(tiny.loaded, HALF), 3))


# -- beside the untouched pass -----------------------------------------------------------------------------------------


def _untouched(session: engine.Session, position: int | None = None, **options: int) -> Untouched:
    answer = session.answer(AskUntouched(position, **options))
    assert isinstance(answer, Untouched)
    return answer


@pytest.mark.parametrize("at_once", [128, 7])
@pytest.mark.parametrize(
    "name", ["llama-default", "gemma2-default", "deepseek_v2-default", "gpt_oss-default", "llama4_text-default"]
)
def test_beside_the_untouched_pass(oracles: Oracles, monkeypatch: pytest.MonkeyPatch, name: str, at_once: int) -> None:
    """Each pass of a run edited all along beside the same pass of the same tokens, without the edit in it; a layer at
    once, or some positions after the others."""
    monkeypatch.setattr(untouched_answers, "_AT_ONCE", at_once)
    oracle = oracles[name]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    edit, prompt = Edit("scale", Z, (1,), value=-1.0, positions=(20, None)), oracle.ids[0].tolist()
    session = engine.Session(loaded, GREEDY)
    session.set_edits([edit])
    session.begin(prompt)
    edited: list[Tensor] = []
    while len(edited) < 3:
        edited += [step.logits for step in session.steps(3 - len(edited))]
    for index, (start, end) in enumerate(session.trace.spans):
        plain = engine.Session(loaded, GREEDY)
        plain.set_edits([replace(edit, positions=(20, start))] if start > 20 else [])
        plain.begin(prompt)
        while len(plain.output) <= index:
            plain.output[:] = session.output[: len(plain.output)]  # the same tokens, whatever it would choose
            logits = next(plain.steps(1)).logits
        found = _untouched(session, start, top=5)
        assert (found.start, found.end, found.points) == (start, end, ("blocks.1.attn.hook_z",))
        assert (found.chosen, found.otherwise) == (session.output[index], int(logits.argmax()))
        change = torch.from_numpy(found.change)
        torch.testing.assert_close(change, edited[index] - logits, rtol=1e-4, atol=2e-4)
        assert found.moved.tolist() == change.abs().topk(5).indices.tolist()
        _same_tops(found, edited[index], logits)
        for boundary in range(loaded.config.n_layers + 1):
            ours, theirs = (run.trace.residual(boundary, start, end) for run in (session, plain))
            apart = torch.linalg.vector_norm(ours - theirs, dim=-1)
            torch.testing.assert_close(torch.from_numpy(found.parting[boundary]), apart, rtol=1e-3, atol=1e-4)
        assert found.parting[2:].max() > 0.1
        assert not found.parting[:2].any()


def _same_tops(found: Untouched, edited: Tensor, plain: Tensor) -> None:
    ids = torch.from_numpy(found.ids)
    assert found.ids.tolist()[:5] == edited.topk(5).indices.tolist()
    assert set(plain.topk(5).indices.tolist()) <= set(found.ids.tolist())
    for row, logits in enumerate((edited, plain)):
        torch.testing.assert_close(torch.from_numpy(found.logits[row]), logits[ids], rtol=1e-4, atol=2e-4)
        torch.testing.assert_close(torch.from_numpy(found.probabilities[row]), logits.softmax(-1)[ids])
    assert {piece.id for piece in found.pieces} >= {*found.ids.tolist(), *found.moved.tolist(), found.otherwise}


def test_without_edits_both_sides_are_the_same(tiny: Pair) -> None:
    session = _session(tiny.loaded)
    _logits(session)
    found = _untouched(session)
    assert (found.points, found.chosen) == ((), found.otherwise)
    assert not found.parting.any()
    assert not found.change.any()
    nothing = _untouched(session, session.n_tokens - 1)  # the newest token has not been read
    assert (nothing.start, nothing.end, nothing.ids.size, nothing.parting.shape) == (9, 9, 0, (4, 0))


def test_the_untouched_pass_draws_as_the_run_did(tiny: Pair) -> None:
    """The same seed, settings and penalties: with an edit that changes nothing it chooses the same token."""
    sampling = engine.Sampling(temperature=1.4, top_k=30, seed=11, repetition_penalty=1.3)
    session = engine.Session(tiny.loaded, sampling)
    session.set_edits([Edit("scale", Z, (1,), value=1.0)])
    steps = list(session.generate(PROMPT, 6))
    for step in steps:
        found = _untouched(session, step.start)
        assert found.points
        assert found.chosen == found.otherwise == step.id


def test_a_banned_token_moved_the_most(tiny: Pair) -> None:
    session = _session(tiny.loaded, Edit("ban", LOGITS, entries=(8,)), Edit("bias", LOGITS, entries=(4,), value=2.0))
    _logits(session, 2)
    found = _untouched(session)
    assert found.moved[:2].tolist() == [8, 4]
    assert found.change[8] == -math.inf
    assert found.change[4] == pytest.approx(2.0)
    assert not found.parting.any()


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (Edit("scale", "hook_embed", value=2.0), 0),
        (Edit("scale", "hook_resid_pre", (0,), value=2.0), 0),
        (Edit("scale", "hook_resid_pre", (2,), value=2.0), 2),
        (Edit("bias", "hook_resid_post", (2,), value=1.0), 3),
        (Edit("scale", "ln_final.hook_normalized", value=2.0), 4),
    ],
)
def test_before_the_first_edit_the_streams_are_one(tiny: Pair, edit: Edit, same: int) -> None:
    session, plain = _session(tiny.loaded, edit), _session(tiny.loaded)
    logits, untouched = _logits(session, 1)[0], _logits(plain, 1)[0]
    found = _untouched(session)
    assert [bool(row.any()) for row in found.parting] == [False] * same + [True] * (4 - same)
    assert torch.equal(torch.from_numpy(found.change), logits - untouched)


def test_beside_a_pass_that_stands(tiny: Pair) -> None:
    """As far as it has come, and the run goes on as if nobody had looked."""
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.step("layer"), sampling=GREEDY) as run:
        run.stopped()
        session = run.session
        run.gate.do(lambda: session.set_edits([Edit("scale", Z, (1,), value=3.0)]))
        run.step("layer")  # the end of layer 1
        found = run.gate.ask(AskUntouched(None)).result(10)
        run.gate.resume()
        run.finish()
    assert isinstance(found, Untouched)
    assert (found.start, found.end, found.chosen, found.otherwise) == (0, 6, -1, -1)
    assert found.ids.size == found.change.size == found.moved.size == 0
    assert not found.parting[:2].any()
    assert (found.parting[2] > 0.01).all()
    assert bool(torch.from_numpy(found.parting[3]).isnan().all())
    assert _same(run.logits, _logits(_session(tiny.loaded, Edit("scale", Z, (1,), value=3.0)), 2))


@pytest.mark.parametrize("name", ["llama-default", "mistral-sliding"])
def test_beside_a_pass_at_each_of_its_stages(oracles: Oracles, name: str) -> None:
    """Of the first pass and of the next; once the logits are there all is known, though the pass has not ended."""
    loaded = engine.load(oracles[name].folder, device="cpu", dtype="float32")
    prompt = oracles[name].ids[0].tolist()
    found: list[tuple[str, Untouched]] = []
    with Run(loaded, prompt, 2, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
        where = run.stopped()
        session = run.session
        run.gate.do(lambda: session.set_edits([Edit("scale", Z, (1,), value=3.0)]))
        while (where.step, where.stage) != (1, "sampling"):
            found.append((where.stage, run.gate.ask(AskUntouched(None)).result(10)))
            where = run.step("stage")
        run.gate.resume()
        run.finish()
    at_end = [answer for stage, answer in found if stage in ("logits", "sampling")]
    assert len(at_end) == 3
    for answer in at_end:
        torch.testing.assert_close(
            torch.from_numpy(answer.change), torch.from_numpy(_untouched(session, answer.start).change)
        )
        assert answer.change.any()


def test_many_positions_are_reduced(tiny: Pair) -> None:
    session = _session(tiny.loaded, HALF)
    list(session.generate([1 + index % 90 for index in range(101)], 1))
    whole, few = _untouched(session), _untouched(session, most=8)
    assert (few.block, few.parting.shape) == (13, (4, 8))
    assert few.parting[3, 7] == whole.parting[3, 91:].max()
    with pytest.raises(EngineError, match="1 to 64"):
        _untouched(session, top=65)


def test_the_untouched_pass_comes_in_slices(tiny: Pair) -> None:
    """Some for each layer behind the edit, and no hook is aside between them."""
    session = _session(tiny.loaded, HALF)
    with tiny.loaded.model.hooks({"blocks.2.hook_mlp_out": lambda tensor, point: None}):
        list(session.generate([1 + index % 90 for index in range(300)], 1))
        work, slices = session.answering(AskUntouched(None)), 0
        for _ in work:
            slices += 1
            assert tiny.loaded.model.points["blocks.2.hook_mlp_out"].listeners
    assert slices == 2 * 3 + 1


# -- as Python -----------------------------------------------------------------------------------------------------

WRITTEN = [
    Edit("mean", Z, (0, 1, 2), heads=(1,), strength=0.7, name='the "mean"\n{edits}'),
    Edit("add", "hook_resid_post", (1,), sources=(4, 2), value=-1.5, positions=(3, None)),
    Edit("add", "hook_resid_mid", (0,), token=12, value=2.5, step=1),
    Edit("clamp", "mlp.hook_post", (1,), low=-math.inf, high=0.25, entries=(0, 5, 40)),
    Edit("knock out", PATTERN, (2,), keys=(0, 2), heads=(3,), renormalise=False),
    Edit("knock out", PATTERN, (1,), keys=(0,)),
    Edit("ban", LOGITS, entries=(3, 35)),
    Edit("zero", Z, (0,), on=False),
]


def test_the_script_does_the_same(tiny: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    sampling = engine.Sampling(temperature=0.9, top_p=0.95, seed=5)
    session = engine.Session(tiny.loaded, sampling)
    session.set_edits(WRITTEN)
    logits = [step.logits for step in session.generate(PROMPT, 5)]
    script = as_python(WRITTEN, tiny.loaded.source, PROMPT, sampling, 5)
    assert {line for line in script.splitlines() if line.startswith(("import", "from"))} == {"import engine"}
    space: dict[str, Any] = {}
    exec(
        script.replace("print(step.text", "logits.append(step.logits); print(step.text"),
        {**space, "logits": (again := [])},
    )
    assert _same(again, logits)
    assert capsys.readouterr().out.strip() == "".join(f"⟨{token}⟩" for token in session.output)


def test_every_edit_is_written_as_it_is() -> None:
    """Whatever its values: Python reads the same edit again."""
    draw = random.Random(3)
    edits = [
        *WRITTEN,
        *(replace(draw.choice(WRITTEN), value=draw.gauss(0, 9), name=chr(draw.randrange(1, 99))) for _ in range(50)),
    ]
    space: dict[str, Any] = {}
    text = as_python(edits, "some\\where 'else'").partition("\nloaded")[0]
    exec(text, space)
    assert space["edits"] == edits
