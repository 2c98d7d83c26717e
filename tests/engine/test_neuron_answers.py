"""Neurons of the real model and of a tiny one, against what passed the hook points; what is not computed is empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine import questions as ask
from engine.errors import EngineError
from engine.frames import Neurons
from engine.loading import Loaded
from engine.questions import Question
from tests.engine.conftest import Pair
from tests.engine.families.test_neurons import captured
from tests.engine.runner import PATIENCE, Run
from tests.engine.tiny import tiny_llama

PROMPT = list(range(5, 25))
GREEDY = engine.Sampling(greedy=True)


def test_the_real_model(smollm2: Loaded) -> None:
    """Ids, values, and the figures about the output, of prefill and decode positions."""
    session = engine.Session(smollm2, GREEDY)
    names = ("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post", "hook_mlp_out")
    with captured(smollm2, *names) as seen:
        list(session.generate("The capital of France is", 4))
    for layer, position in ((0, 0), (11, 0), (15, 3), (29, 4), (7, 5), (29, None)):
        answer = session.answer(ask.AskNeurons(layer, position))
        at = answer.position
        assert (answer.layer, at, answer.n_neurons) == (layer, 7 if position is None else position, 1536)
        gate, up, post, out = (seen[f"blocks.{layer}.{name}"][at].double() for name in names)
        strongest = post.abs().sort(descending=True).values
        scale = float(strongest[0])
        np.testing.assert_allclose(np.abs(answer.post), strongest[:24], rtol=1e-4, atol=1e-5 * scale)
        np.testing.assert_allclose(answer.post, post[answer.ids], rtol=1e-4, atol=1e-5 * scale)
        np.testing.assert_allclose(answer.gate, gate[answer.ids], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(answer.up, up[answer.ids], rtol=1e-3, atol=1e-4)
        _check_figures(smollm2, answer, post, out)


def _check_figures(loaded: Loaded, answer: Neurons, post: torch.Tensor, out: torch.Tensor) -> None:
    """Against float64; the real model has neither a norm after the MLP nor a scale on it."""
    written = loaded.model.layers[answer.layer].mlp.down.weight.detach().double() * post  # [d_model, d_mlp]
    assert answer.output_norm == pytest.approx(float(out.norm()), rel=1e-4)
    np.testing.assert_allclose(answer.share, written[:, answer.ids].norm(dim=0) / out.norm(), rtol=1e-3)
    sums = post.abs().sort(descending=True).values.cumsum(0) / post.abs().sum()
    assert answer.held == pytest.approx(float(sums[23]), rel=1e-4)
    assert 0 < answer.held < 1
    assert abs(answer.half - (int((sums < 0.5).sum()) + 1)) <= 1  # the half may fall between two by a rounding
    assert answer.source == "recomputed"


def _asked(run: Run, question: Question) -> object:
    return run.gate.ask(question).result(PATIENCE)


@pytest.mark.parametrize("stops", [range(1, 60)])
def test_a_stopped_pass_tells_only_what_it_has_computed(tiny: Pair, stops: range) -> None:
    """Stage by stage through a prefill: a layer counts from its MLP's end on, and is then already right."""
    whole = engine.Session(tiny.loaded, GREEDY)
    list(whole.generate(PROMPT, 1))
    counts = set()
    with Run(tiny.loaded, PROMPT, 1, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
        run.stopped()
        for _ in stops:
            known = sum(reach > 0 for reach in run.session.trace.reach_mlp)
            counts.add(known)
            layers = _asked(run, ask.AskNeuronLayers(None))
            assert (layers.position, layers.layers.tolist()) == (len(PROMPT) - 1, list(range(known)))
            if known:
                finished = whole.answer(ask.AskNeuronLayers(None))  # recomputed; the stopped pass's own are captured
                np.testing.assert_allclose(layers.post, finished.post[:known], rtol=1e-5)
                np.testing.assert_array_equal(layers.ids, finished.ids[:known])
            if known == 3:
                break
            later = _asked(run, ask.AskNeurons(known, 0))
            assert (later.source, len(later.ids), later.output_norm, later.half) == ("", 0, 0.0, 0)
            run.step("stage")
        run.finish()
    assert counts == {0, 1, 2, 3}


def test_in_a_stopped_decode_earlier_positions_are_known(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("token"), sampling=GREEDY) as run:
        run.stopped()
        run.step("layer")
        assert _asked(run, ask.AskNeuronLayers(len(PROMPT) - 1)).layers.tolist() == [0, 1, 2]
        assert _asked(run, ask.AskNeuronLayers(None)).layers.tolist() == [0]
        assert len(_asked(run, ask.AskNeurons(2, len(PROMPT) - 1)).ids) == 24
        assert len(_asked(run, ask.AskNeurons(2, None)).ids) == 0
        run.finish()


def test_bad_places_are_told(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, GREEDY)
    list(session.generate(PROMPT, 2))
    for question in (ask.AskNeurons(0, 22), ask.AskNeurons(0, -1), ask.AskNeuronLayers(22)):
        with pytest.raises(EngineError, match=r"Position -?\d+ does not exist; the run has positions 0 to 21"):
            session.answer(question)
    with pytest.raises(EngineError, match="Layer 3 does not exist"):
        session.answer(ask.AskNeurons(3, 0))
    unread = session.answer(ask.AskNeurons(1, 21))  # chosen, but no pass has read it
    assert (unread.source, unread.n_neurons, len(unread.ids)) == ("", 48, 0)


@pytest.mark.parametrize(("most", "listed"), [(-1, 0), (0, 0), (1, 1), (48, 48), (1000, 48)])
def test_how_many_are_listed(tiny: Pair, most: int, listed: int) -> None:
    session = engine.Session(tiny.loaded, GREEDY)
    list(session.generate(PROMPT, 1))
    answer = session.answer(ask.AskNeurons(1, 3, most))
    assert [len(getattr(answer, name)) for name in ("ids", "post", "gate", "up", "share")] == [listed] * 5
    assert session.answer(ask.AskNeuronLayers(3, most)).ids.shape == (3, listed)
    assert answer.held == pytest.approx(1.0 if listed == 48 else answer.held)
    assert answer.half == session.answer(ask.AskNeurons(1, 3, 24)).half


def test_without_a_record_nothing_is_known(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, GREEDY, record=False)
    list(session.generate(PROMPT, 2))
    assert len(session.answer(ask.AskNeurons(0, 0)).ids) == 0
    assert len(session.answer(ask.AskNeuronLayers(0)).layers) == 0


def test_an_edited_pass_is_recomputed_with_the_edit(tiny: Pair) -> None:
    """Also once the hook is gone."""
    session = engine.Session(tiny.loaded, GREEDY)
    with (
        tiny.loaded.model.hooks({"blocks.0.mlp.hook_post": lambda tensor, point: tensor * 3}),
        captured(tiny.loaded, "mlp.hook_post") as seen,
    ):
        list(session.generate(PROMPT, 1))
    for layer in range(3):
        answer = session.answer(ask.AskNeurons(layer, 7, 5))
        given = seen[f"blocks.{layer}.mlp.hook_post"][7][answer.ids]
        np.testing.assert_allclose(answer.post, given, rtol=1e-4, atol=1e-5)


def test_neurons_that_give_nothing(tmp_path: Path) -> None:
    """0 / 0 is not drawn as a figure."""
    tiny_llama(tmp_path)
    loaded = engine.load(tmp_path, device="cpu")
    with torch.no_grad():
        loaded.model.layers[1].mlp.gate_up.weight.zero_()
    session = engine.Session(loaded, GREEDY)
    list(session.generate(PROMPT, 1))
    answer = session.answer(ask.AskNeurons(1, 3))
    assert not answer.share.any()
    assert (answer.output_norm, answer.held, answer.half) == (0.0, 0.0, 0)
    assert answer.ids.tolist() == list(range(24))


def test_half_precision(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    session = engine.Session(engine.load(tmp_path, device="cpu", dtype="bfloat16"), GREEDY)
    with captured(session.loaded, "mlp.hook_post") as seen:
        list(session.generate(PROMPT, 3))
    for position in (4, None):
        answer = session.answer(ask.AskNeurons(2, position))
        assert {getattr(answer, name).dtype for name in ("post", "gate", "up", "share")} == {np.dtype(np.float32)}
        given = seen["blocks.2.mlp.hook_post"][answer.position].float()
        np.testing.assert_allclose(answer.post, given[answer.ids], rtol=0.05, atol=0.02 * float(given.abs().max()))


def test_the_last_pass_is_followed_once_somebody_asks(smollm2: Loaded) -> None:
    """The first answer is recomputed, that of the next pass captured, and both are what hook_post gave."""
    session, question = engine.Session(smollm2, engine.Sampling(greedy=True)), ask.AskNeuronLayers(None)
    seen: dict[str, torch.Tensor] = {}
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(smollm2.config.n_layers)]
    with smollm2.model.hooks({name: lambda post, point: seen.__setitem__(point.name, post[0, -1]) for name in names}):
        steps = session.generate("The capital of France is", max_new_tokens=3)
        for source in ("recomputed", "captured", "captured"):
            next(steps)
            answer = session.answer(question)
            assert answer.source == source
            assert answer.layers.tolist() == list(range(smollm2.config.n_layers))
            for layer, name in enumerate(names):
                expected = seen[name][torch.from_numpy(answer.ids[layer])]
                np.testing.assert_allclose(answer.post[layer], expected, rtol=1e-4, atol=1e-5)
    assert session.answer(ask.AskNeuronLayers(2)).source == "recomputed", "an older position is not the last pass's"
    session.begin("Another")
    assert session.posts().at(0, 0) is None
