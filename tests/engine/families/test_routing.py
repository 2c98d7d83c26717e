"""Every answer about experts against the hook tensors of the pass, and the routing itself against transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import engine
from engine import questions as ask
from engine.config import MoESpec
from engine.errors import EngineError
from engine.hooks import layer_stages
from engine.layer_replay import layer_tensors
from engine.loading import Loaded
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.reference import reference
from tests.engine.families.variants import VARIANTS
from tests.engine.runner import Run as Stopped

FAMILIES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "deepseek_v2", "deepseek_v3", "llama4_text")
ROUTED = [name for name, found in VARIANTS.items() if found.family in (*FAMILIES, "gpt_oss", "granitemoeshared")]
STEPS = 3


@pytest.fixture(params=ROUTED)
def oracle(request: pytest.FixtureRequest, oracles: Oracles) -> Oracle:
    return oracles[request.param]


def routed_layers(loaded: Loaded) -> list[int]:
    return [layer for layer, spec in enumerate(loaded.config.layers) if isinstance(spec.mlp, MoESpec)]


class Seen:
    """What passes the hook points of a layer's experts, position by position: [positions, width] by short name."""

    def __init__(self, loaded: Loaded, layer: int) -> None:
        self.spec = loaded.config.layers[layer].mlp
        self._kept: dict[str, list[torch.Tensor]] = {}
        self._prefix = f"blocks.{layer}."
        points = loaded.model.hook_points
        wanted = [name for name in points if name.startswith(f"{self._prefix}mlp.hook_")]
        self.hooks = dict.fromkeys((*wanted, f"{self._prefix}hook_mlp_out"), self._keep)
        self.outs: list[dict[int, torch.Tensor]] = []
        for expert in range(self.spec.n_experts):
            self.hooks[f"{self._prefix}mlp.experts.{expert}.hook_out"] = self._keep_expert

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.cat(self._kept[name])

    def _keep(self, tensor: torch.Tensor, point: Any) -> None:
        self._kept.setdefault(point.name.rpartition("hook_")[2], []).append(tensor[0].cpu().clone())

    def _keep_expert(self, tensor: torch.Tensor, point: Any) -> None:
        expert, read = int(point.name.split(".")[-2]), len(self._kept["expert_indices"])
        while len(self.outs) < read:
            self.outs.append({})
        self.outs[-1][expert] = tensor.cpu().clone()

    def given(self, expert: int) -> dict[int, torch.Tensor]:
        """By position: what the expert adds, weight included."""
        found, start = {}, 0
        for ids, weights, outs in zip(
            self._kept["expert_indices"], self._kept["expert_weights"], self.outs, strict=True
        ):
            rows = (ids == expert).any(-1).nonzero()[:, 0].tolist()
            for index, row in enumerate(rows):
                weight = 1.0 if self.spec.scale_input else weights[row][ids[row] == expert][0]
                found[start + row] = outs[expert][index] * weight
            start += len(ids)
        return found


@contextmanager
def run(loaded: Loaded, ids: torch.Tensor, layer: int) -> Iterator[tuple[engine.Session, Seen]]:
    """A session that has read the prompt and some of its own tokens, and what passed the layer's points."""
    session, seen = engine.Session(loaded, engine.Sampling(greedy=True)), Seen(loaded, layer)
    with loaded.model.hooks(seen.hooks):
        list(session.generate(ids[0].tolist(), max_new_tokens=STEPS))
    yield session, seen


def distribution(seen: Seen) -> torch.Tensor:
    scores = seen["router_scores"].double()
    return scores / scores.sum(-1, keepdim=True)


def test_the_map_of_a_layer(oracle: Oracle, loaded: Loaded) -> None:
    for layer in routed_layers(loaded):
        with run(loaded, oracle.ids, layer) as (session, seen):
            ids, weights = seen["expert_indices"], seen["expert_weights"]
            used = torch.zeros(len(ids), seen.spec.n_experts).scatter_(1, ids, weights.float()).T
            answer = session.answer(ask.AskRouting(layer))
            assert (answer.n, answer.n_total, answer.block) == (len(ids), session.n_read, 1)
            np.testing.assert_array_equal(answer.weights, used.numpy())
            np.testing.assert_array_equal(answer.scores, seen["router_scores"].float().T.numpy())
            assert answer.chosen.sum(0).tolist() == [seen.spec.top_k] * len(ids)
            gate = seen["shared_gate"][:, 0].float() if seen.spec.shared_gate else torch.ones(len(ids))
            np.testing.assert_array_equal(answer.shared, gate.numpy() if seen.spec.shared else np.zeros(0))
            coarse = session.answer(ask.AskRouting(layer, most=13))
            assert coarse.block == 4
            padded = np.pad(used.numpy(), ((0, 0), (0, -len(ids) % 4)))
            np.testing.assert_array_equal(coarse.weights, padded.reshape(len(padded), -1, 4).max(-1))
            tokens = session.answer(ask.AskRoutedTokens(layer))
            np.testing.assert_array_equal(tokens.ids, ids.numpy())
            np.testing.assert_array_equal(tokens.weights, weights.float().numpy())


def test_the_map_is_that_of_transformers(oracle: Oracle, loaded: Loaded) -> None:
    theirs = reference(oracle, oracle.ids[:1])
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    list(session.generate(oracle.ids[0].tolist(), max_new_tokens=1))
    for layer in routed_layers(loaded):
        answer = session.answer(ask.AskRouting(layer))
        ids, weights = (theirs[f"blocks.{layer}.mlp.hook_expert_{name}"][0] for name in ("indices", "weights"))
        if weights.shape != ids.shape:  # some give the weights of all experts
            weights = weights.gather(-1, ids)
        used = torch.zeros(len(ids), answer.weights.shape[0]).scatter_(1, ids, weights.float()).T
        np.testing.assert_allclose(answer.weights, used.numpy(), atol=1e-5)


def test_shares_balance_and_entropy(oracle: Oracle, loaded: Loaded) -> None:
    for layer in routed_layers(loaded):
        with run(loaded, oracle.ids, layer) as (session, seen):
            answer, even = session.answer(ask.AskRoutingShares(layer)), distribution(seen)
            counts = torch.bincount(seen["expert_indices"].flatten(), minlength=seen.spec.n_experts).double()
            share = counts / counts.sum()
            np.testing.assert_allclose(answer.share, share.numpy(), rtol=1e-12)
            np.testing.assert_allclose(answer.mean_score, even.mean(0).numpy(), rtol=1e-5)
            assert answer.balance == pytest.approx(float(seen.spec.n_experts * (share * even.mean(0)).sum()), rel=1e-5)
            spread = -(even * even.clamp_min(1e-300).log()).sum(-1)
            assert answer.entropy == pytest.approx(float(spread.mean()), rel=1e-4)
            chosen = [set(row) for row in seen["expert_indices"].tolist()]
            for one, other in ((0, 0), (0, 1), (2, 1)):
                assert answer.together[one, other] == sum({one, other} <= row for row in chosen)


def test_one_position_in_the_order_of_the_formula(oracle: Oracle, loaded: Loaded) -> None:
    for layer in routed_layers(loaded):
        with run(loaded, oracle.ids, layer) as (session, seen):
            for position in (0, 20, session.n_read - 1):
                row = session.answer(ask.AskRouterRow(layer, position))
                for name in ("logits", "scores", "choice"):
                    expected = seen[f"router_{name}"][position].float().numpy()
                    np.testing.assert_allclose(getattr(row, name), expected, rtol=1e-6, atol=1e-7, err_msg=name)
                assert row.ids.tolist() == seen["expert_indices"][position].tolist()
                np.testing.assert_array_equal(row.weights, seen["expert_weights"][position].float().numpy())
                gate = float(seen["shared_gate"][position]) if seen.spec.shared_gate else None
                assert row.shared_gate == gate
            newest = session.answer(ask.AskRouterRow(layer, None))
            assert newest.position == session.n_read - 1
            assert newest.ids.tolist() == seen["expert_indices"][-1].tolist()


def test_one_position_across_layers(oracle: Oracle, loaded: Loaded) -> None:
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    list(session.generate(oracle.ids[0].tolist(), max_new_tokens=2))
    answer = session.answer(ask.AskRoutingLayers(11))
    assert answer.layers.tolist() == routed_layers(loaded)
    assert answer.known.all()
    for row, layer in enumerate(answer.layers.tolist()):
        alone = session.answer(ask.AskRouterRow(layer, 11))
        assert set(answer.chosen[row].nonzero()[0].tolist()) == set(alone.ids.tolist())
        np.testing.assert_array_equal(answer.weights[row, alone.ids], alone.weights)
        np.testing.assert_array_equal(answer.scores[row], alone.scores)


def test_what_an_expert_adds(oracle: Oracle, loaded: Loaded) -> None:
    """Norm and share of Δ against the expert's own output in the pass; shares of a position sum to 1 with shared's."""
    for layer in routed_layers(loaded):
        with run(loaded, oracle.ids, layer) as (session, seen):
            whole, scale = seen["mlp_out"].double(), loaded.config.layers[layer].residual_scale
            for expert in range(seen.spec.n_experts):
                use, given = session.answer(ask.AskExpertUse(layer, expert, most=6)), seen.given(expert)
                assert use.taken == len(given)
                assert len(use.positions) == min(6, use.taken)
                assert (np.diff(np.abs(use.weights)) <= 0).all()
                for index, position in enumerate(use.positions.tolist()):
                    adds, delta = given[position].double(), whole[position] / scale
                    assert use.norms[index] == pytest.approx(float(adds.norm()), rel=1e-4, abs=1e-6)
                    share = float(adds @ delta / (delta @ delta))
                    assert use.shares[index] == pytest.approx(share, rel=2e-3, abs=1e-4)


def test_exact_figures(oracle: Oracle, loaded: Loaded) -> None:
    layer = routed_layers(loaded)[-1]
    with run(loaded, oracle.ids, layer) as (session, seen):
        chosen = int(seen["expert_indices"][9, 0])
        weight = session.answer(ask.AskExactValue("expert_weight", (layer, chosen, 9)))
        assert weight.value == float(seen["expert_weights"][9, 0])
        score = session.answer(ask.AskExactValue("router_score", (layer, chosen, 9)))
        assert score.value == pytest.approx(float(seen["router_scores"][9, chosen]), rel=1e-6)
        others = set(range(seen.spec.n_experts)) - set(seen["expert_indices"][9].tolist())
        if others:
            unused = session.answer(ask.AskExactValue("expert_weight", (layer, others.pop(), 9)))
            assert unused.value == 0
        for place in ((layer, 0, session.n_read), (layer, seen.spec.n_experts, 9), (layer, -1, 9)):
            for quantity in ("expert_weight", "router_score"):
                assert session.answer(ask.AskExactValue(quantity, place)).value is None


def test_what_is_not_there_is_refused(oracle: Oracle, loaded: Loaded) -> None:
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    list(session.generate(oracle.ids[0].tolist(), max_new_tokens=1))
    layer = routed_layers(loaded)[0]
    count = loaded.config.layers[layer].mlp.n_experts
    with pytest.raises(EngineError, match=f"Expert {count} does not exist; layer {layer} has experts 0 to {count - 1}"):
        session.answer(ask.AskExpertUse(layer, count))
    for dense in set(range(loaded.config.n_layers)) - set(routed_layers(loaded)):
        with pytest.raises(EngineError, match="has one MLP and no experts"):
            session.answer(ask.AskRouting(dense))


QUESTIONS = (ask.AskRouting, ask.AskRoutingShares, ask.AskRoutedTokens)


@pytest.mark.parametrize("variant", ["qwen2_moe-default", "deepseek_v3-default", "mixtral-default"])
def test_stopped_at_every_stage(oracles: Oracles, engines: dict[str, Loaded], variant: str) -> None:
    """Every question has an answer at every stage, in prefill and in decode; no gate is made up."""
    loaded = engines.setdefault(variant, engine.load(oracles[variant].folder, device="cpu", dtype="float32"))
    prompt, layer = oracles[variant].ids[1, :17].tolist(), routed_layers(loaded)[0]  # does not end at once
    seen = set()
    with Stopped(loaded, prompt, tokens=2, arm=lambda gate: gate.step("stage")) as running:
        where = running.stopped()
        while where.step < 2 and (where.layer is None or where.layer <= layer or where.step == 0):
            answers = [running.gate.ask(kind(layer)).result(30) for kind in QUESTIONS]
            row = running.gate.ask(ask.AskRouterRow(layer, None)).result(30)
            running.gate.ask(ask.AskRoutingLayers(None)).result(30)
            for expert in set(row.ids.tolist()):
                running.gate.ask(ask.AskExpertUse(layer, expert)).result(30)
            if where.layer == layer:
                seen.add((where.kind, where.stage))
                _check_stop(loaded, layer, where, answers[0], row)
            where = running.step("stage")
            if where.kind == "decode" and where.layer is not None and where.layer > layer:
                break
        running.gate.resume()
        running.join()
    assert {("prefill", "router"), ("decode", "router"), ("prefill", "mlp out")} <= seen


def _check_stop(loaded: Loaded, layer: int, where: Any, map_: Any, row: Any) -> None:
    stages = list(layer_stages(loaded.config, layer))
    routed = stages.index(where.stage) >= stages.index("router")
    assert map_.n == (where.end if routed else where.start)
    assert (row.ids.size > 0) == routed
    spec = loaded.config.layers[layer].mlp
    if spec.shared is not None and spec.shared_gate:
        gated = stages.index(where.stage) >= stages.index("shared")
        assert len(map_.shared) == (where.end if gated else where.start)
        assert row.shared_gate is None if not routed else np.isnan(row.shared_gate) == (not gated)


def test_what_is_kept_is_what_is_read_anew(
    oracles: Oracles, engines: dict[str, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token by token and after a pass that was cancelled: kept sums and blocks against those of a fresh session."""
    monkeypatch.setattr("engine.routing_answers._SLICE", 8)
    variant = "qwen2_moe-default"
    loaded = engines.setdefault(variant, engine.load(oracles[variant].folder, device="cpu", dtype="float32"))
    layer, prompt = routed_layers(loaded)[-1], oracles[variant].ids[0].tolist()
    gate = engine.Gate()
    kept = engine.Session(loaded, engine.Sampling(greedy=True), gate=gate)
    tokens: list[int] = []
    for step in kept.generate(prompt, max_new_tokens=8):
        tokens.append(step.id)
        _check_kept(kept, loaded, layer)
        if len(tokens) == 5:
            break
    gate.cancel()
    with pytest.raises(engine.Cancelled):
        list(kept.steps(1))
    for _ in kept.steps(2):
        _check_kept(kept, loaded, layer)
    list(kept.generate(prompt[:9], max_new_tokens=2))
    _check_kept(kept, loaded, layer)


def _check_kept(kept: engine.Session, loaded: Loaded, layer: int) -> None:
    fresh = engine.Session(loaded, engine.Sampling(greedy=True))
    fresh.trace, fresh.cache, fresh._pass_end = kept.trace, kept.cache, kept._pass_end
    fresh.prompt, fresh.output = kept.prompt, kept.output
    record = kept.trace.routing.layers[layer]
    for question in (ask.AskRoutingShares(layer), ask.AskRouting(layer, most=13), ask.AskRouting(layer, most=500)):
        ours = kept.answer(question)
        sums, blocks = record.sums, record.blocks
        record.sums = record.blocks = None
        theirs = fresh.answer(question)
        record.sums, record.blocks = sums, blocks
        for name, value in vars(theirs).items():
            if name != "source":
                np.testing.assert_allclose(getattr(ours, name), value, rtol=1e-9, err_msg=name)


def test_an_expert_is_computed_once_for_a_position(
    oracles: Oracles, engines: dict[str, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = "mixtral-default"
    loaded = engines.setdefault(variant, engine.load(oracles[variant].folder, device="cpu", dtype="float32"))
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    steps = session.generate(oracles[variant].ids[0, :20].tolist(), max_new_tokens=3)
    next(steps)
    expert, calls = int(session.answer(ask.AskRouterRow(0, 3)).ids[0]), []

    def counted(*place: Any) -> Any:
        calls.append(place[-2])
        return layer_tensors(*place)

    monkeypatch.setattr("engine.routing_answers.layer_tensors", counted)
    first = session.answer(ask.AskExpertUse(0, expert, most=50))
    assert sorted(calls) == sorted(first.positions.tolist())
    calls.clear()
    again = session.answer(ask.AskExpertUse(0, expert, most=50))
    assert calls == []
    np.testing.assert_array_equal(again.norms, first.norms)
    next(steps)
    later = session.answer(ask.AskExpertUse(0, expert, most=50))
    assert calls == sorted(set(later.positions.tolist()) - set(first.positions.tolist()))
    session.begin(oracles[variant].ids[0, :5].tolist())
    assert session.expert_adds == {}
