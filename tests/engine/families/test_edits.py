"""Each kind of edit against transformers with forward hooks, prefill and decode; what is recomputed of edited passes
equals what they left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import engine
from engine.edits import Edit
from engine.loading import Loaded
from engine.replay import replay
from tests.engine.families.conftest import DEVICE
from tests.engine.families.edited import At, Edited, Place
from tests.engine.families.oracle import Oracle, Oracles

TOKENS = 4
Z = "attn.hook_z"
GREEDY = engine.Sampling(greedy=True)


@dataclass(frozen=True)
class Case:
    """An edit, and what it does to the tensor at a place of transformers' pass."""

    edit: Edit
    place: Place
    change: Callable[[Tensor, At], Tensor]


# -- what the edits mean, written out ------------------------------------------------------------------------------


def _zero_head(z: Tensor, at: At) -> Tensor:
    z[:, :, 2] = 0
    return z


def _half_as_strong(z: Tensor, at: At) -> Tensor:
    z[:, :, [0, 3]] *= 1 + 0.5 * (-1.5 - 1)
    return z


def _mean_head(z: Tensor, at: At) -> Tensor:
    z[:, :, 1] = at.all(z)[:, :, 1].mean(1, keepdim=True)
    return z


def _copied_head(z: Tensor, at: At) -> Tensor:
    z[:, at.rows(6), 0] = at.value(z, 4)[:, :, 0]
    return z


def _only_step_one(z: Tensor, at: At) -> Tensor:
    z[:, :, 1] *= 3 if at.step == 1 else 1
    return z


def _clamped(z: Tensor, at: At) -> Tensor:
    return z.clamp(-0.1, 0.05)


def _copied_stream(x: Tensor, at: At) -> Tensor:
    x[:, at.rows(20, 30)] = at.value(x, 5)
    return x


def _direction(x: Tensor, at: At) -> Tensor:
    difference = at.value(x, 9) - at.value(x, 2)
    x[:, at.rows(12)] += 1.5 * difference
    return x


def _typed(x: Tensor, at: At) -> Tensor:
    x[:, :, [1, 4]] = 0.7
    return x


def _biased(x: Tensor, at: At) -> Tensor:
    x[:, at.rows(40), 3:5] += 2.0
    return x


def _two_neurons(x: Tensor, at: At) -> Tensor:
    x[:, :, [7, 9]] = 0
    return x


def _unseen_edge(scores: Tensor, at: At) -> Tensor:
    scores[:, 0, at.rows(45), 44] = float("-inf")
    return scores


def _first_key(scores: Tensor, at: At) -> Tensor:
    scores[:, :, at.rows(1), 0] = float("-inf")
    return scores


def _cut_edge(pattern: Tensor, at: At) -> Tensor:
    pattern[:, 1:3, at.rows(46), 45] = 0
    return pattern


def _forbidden(scores: Tensor, at: At) -> Tensor:
    scores[:, 1] = float("-inf")
    return scores


def _forced(scores: Tensor, at: At) -> Tensor:
    scores[at.rows(5), 3] = float("inf")
    return scores


def _biased_logits(logits: Tensor, at: At) -> Tensor:
    logits[..., [5, 8]] += 4.0
    return logits


def _banned_logits(logits: Tensor, at: At) -> Tensor:
    logits[..., 3:60] = float("-inf")
    return logits


STREAM = {
    "zero": Case(Edit("zero", Z, (1,), heads=(2,)), "z", _zero_head),
    "scale": Case(Edit("scale", Z, (0, 1, 2), heads=(0, 3), value=-1.5, strength=0.5), "z", _half_as_strong),
    "mean": Case(Edit("mean", Z, (1,), heads=(1,)), "z", _mean_head),
    "copy": Case(Edit("copy", Z, (1,), heads=(0,), sources=(4,), positions=(6, None)), "z", _copied_head),
    "one step": Case(Edit("scale", Z, (2,), heads=(1,), value=3.0, step=1), "z", _only_step_one),
    "clamp": Case(Edit("clamp", Z, (0,), low=-0.1, high=0.05), "z", _clamped),
    "copied stream": Case(
        Edit("copy", "hook_resid_post", (0,), sources=(5,), positions=(20, 30)), "post", _copied_stream
    ),
    "direction": Case(
        Edit("add", "hook_resid_post", (1,), sources=(9, 2), value=1.5, positions=(12, None)), "post", _direction
    ),
    "typed": Case(Edit("set", "hook_resid_pre", (1,), entries=(1, 4), value=0.7), "pre", _typed),
    "edge": Case(
        Edit("knock out", "attn.hook_pattern", (1,), heads=(0,), keys=(44,), positions=(45, None)),
        "scores",
        _unseen_edge,
    ),
    "left as it is": Case(
        Edit("knock out", "attn.hook_pattern", (1,), heads=(1, 2), keys=(45,), positions=(46, None), renormalise=False),
        "pattern",
        _cut_edge,
    ),
    "first key": Case(
        Edit("knock out", "attn.hook_attn_scores", (0, 1, 2), keys=(0,), positions=(1, None)), "scores", _first_key
    ),
    "biased": Case(Edit("bias", "hook_logits_final", entries=(5, 8), value=4.0), "logits", _biased_logits),
    "banned": Case(Edit("ban", "hook_logits_final", entries=tuple(range(3, 60))), "logits", _banned_logits),
}
AFTER_ATTENTION = {
    "biased stream": Case(
        Edit("bias", "hook_resid_mid", (1,), entries=(3, 4), value=2.0, positions=(40, None)), "attention", _biased
    )
}
NEURONS = {"neurons": Case(Edit("zero", "mlp.hook_post", (0,), entries=(7, 9)), "neurons", _two_neurons)}
EXPERTS = {
    "forbid": Case(Edit("forbid", "mlp.hook_router_choice", (1, 2), entries=(1,)), "choice", _forbidden),
    "force": Case(
        Edit("force", "mlp.hook_router_choice", (1, 2), entries=(3,), positions=(5, None)), "choice", _forced
    ),
}
CASES: dict[str, dict[str, Case]] = {
    "llama-default": STREAM | AFTER_ATTENTION | NEURONS,
    "gpt2-default": STREAM | AFTER_ATTENTION | NEURONS,
    "mixtral-default": STREAM | AFTER_ATTENTION | EXPERTS,
    "deepseek_v2-default": STREAM | AFTER_ATTENTION | NEURONS | EXPERTS,
    "mistral-sliding": {name: case for name, case in STREAM.items() if name != "first key"},  # it is out of sight
    "gemma2-default": STREAM | NEURONS,
    "gpt_neox-parallel": STREAM | NEURONS,
    "gpt_oss-default": STREAM | EXPERTS,
    "deepseek_v3-default": EXPERTS,
    "llama4_text-default": {
        name: replace(case, edit=replace(case.edit, layers=(1, 3))) for name, case in EXPERTS.items()
    },
    "deepseek_v2-groups": {"forbid": EXPERTS["forbid"]},  # a forced expert of a barred group weighs nothing in theirs
    "qwen3_moe-default": EXPERTS,
    "granitemoe-default": EXPERTS,
}


_PLAIN: dict[str, list[Tensor]] = {}  # logits without edits, by variant


@pytest.fixture
def both(request: pytest.FixtureRequest, oracles: Oracles, engines: dict[str, Loaded]) -> tuple[Oracle, Loaded]:
    oracle = oracles[request.param]
    if request.param not in engines:
        engines[request.param] = engine.load(oracle.folder, device=DEVICE, dtype="float32")
    return oracle, engines[request.param]


@pytest.mark.parametrize(
    ("both", "case"),
    [
        pytest.param(variant, case, id=f"{variant}-{name}")
        for variant, cases in CASES.items()
        for name, case in cases.items()
    ],
    indirect=["both"],
)
@torch.inference_mode()
def test_an_edit_is_what_it_is_in_transformers(both: tuple[Oracle, Loaded], case: Case) -> None:
    """Logits of prefill and decode; then what is recomputed of these passes is what they left."""
    oracle, loaded = both
    prompt = oracle.ids[0].tolist()
    session = engine.Session(loaded, GREEDY)
    session.set_edits([case.edit])
    names = [f"blocks.{layer}.{name}" for layer in (0, 1, 2) for name in ("attn.hook_z", "hook_resid_post")]
    left: dict[str, list[Tensor]] = {name: [] for name in names}
    undo = [loaded.model.points[name].observe(left[name].append) for name in names]
    try:
        logits = _run(session, prompt)
    finally:
        for back in undo:
            back()
    theirs = Edited(oracle, case.place, case.edit.layers, case.change)
    for (start, end), ours in zip(session.trace.spans, logits, strict=True):
        expected = theirs.read(session.ids(start, end).cpu())
        scale = max(1.0, float(expected[expected.isfinite()].abs().max()))
        torch.testing.assert_close(ours.cpu(), expected, rtol=0, atol=oracle.variant.tolerance * scale)
    plain = _PLAIN.get(oracle.variant.id) or _run(engine.Session(loaded, GREEDY), prompt)
    _PLAIN[oracle.variant.id] = plain
    moved = [(ours - others).abs().max() for ours, others in zip(logits, plain, strict=True)]
    assert max(moved) > 100 * oracle.variant.tolerance
    for index, (start, end) in enumerate(session.trace.spans):
        for name, again in replay(session, names, start, end).items():
            torch.testing.assert_close(again, left[name][index], rtol=1e-5, atol=1e-5)
        again = replay(session, ["hook_logits_final"], end - 1, end)["hook_logits_final"]
        assert torch.equal(again[0, 0], logits[index])


def _run(session: engine.Session, prompt: list[int]) -> list[Tensor]:
    """The logits of so many passes, also behind an end of sequence."""
    session.begin(prompt)
    logits: list[Tensor] = []
    while len(logits) < TOKENS:
        logits += [step.logits for step in session.steps(TOKENS - len(logits))]
    return logits
