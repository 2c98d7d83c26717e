"""How unexpected each token was: beside transformers' log-softmax, in slices, a part at a time, as far as computed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from engine import Session, surprise_answers
from engine.errors import EngineError
from engine.frames import Surprises
from engine.questions import AskSurprise
from engine.settings import Sampling
from tests.engine.conftest import Pair

PROMPT = [5, 17, 3, 88, 41, 41, 9, 60, 2, 77]
TEXT = "The capital of France is Paris. The capital of Germany is Berlin."


def expected(logits: Tensor, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Surprise and entropy of the tokens from the second on, from logits ``[positions, d_vocab]``."""
    logs = logits.double().log_softmax(-1)[: len(ids) - 1]
    chosen = logs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return -chosen.numpy(), -(logs.exp() * logs).sum(-1).numpy()


def theirs(oracle: Any, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        return expected(oracle(torch.tensor([ids]), use_cache=False).logits[0], ids)


def ran(pair: Pair, prompt: list[int] | str = PROMPT, tokens: int = 4) -> Session:
    session = Session(pair.loaded, sampling=Sampling(greedy=True))
    list(session.generate(prompt, tokens))
    return session


def test_prompt_and_answer_equal_transformers(tiny: Pair) -> None:
    session = ran(tiny)
    answer = session.answer(AskSurprise(0, session.n_tokens))
    surprise, entropy = theirs(tiny.oracle, session.prompt + session.output)
    assert np.isnan(answer.surprise[0])
    assert np.isnan(answer.entropy[0])
    np.testing.assert_allclose(answer.surprise[1:], surprise, atol=1e-5)
    np.testing.assert_allclose(answer.entropy[1:], entropy, atol=1e-5)
    assert answer.surprise.dtype == answer.entropy.dtype == np.float64
    assert answer.source == "recomputed"


def test_smollm2_equals_transformers(smollm2_pair: Pair) -> None:
    session = ran(smollm2_pair, TEXT, 2)
    answer = session.answer(AskSurprise(0, len(session.prompt)))
    surprise, entropy = theirs(smollm2_pair.oracle, session.prompt)
    np.testing.assert_allclose(answer.surprise[1:], surprise, atol=2e-4)
    np.testing.assert_allclose(answer.entropy[1:], entropy, atol=2e-4)
    assert surprise.max() > 5  # there is something to see
    assert surprise.min() < 0.1


def test_of_a_generated_token_it_is_what_the_choice_recorded(tiny: Pair) -> None:
    session = Session(tiny.loaded, sampling=Sampling(temperature=1.5, seed=3))
    steps = list(session.generate(PROMPT, 6))
    answer = session.answer(AskSurprise(len(PROMPT), session.n_tokens))
    recorded = [(-np.log(step.sampling.chosen_raw), step.sampling.entropy_raw) for step in steps]
    np.testing.assert_allclose(np.stack((answer.surprise, answer.entropy), 1), recorded, atol=1e-5)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (1, 1), (1, 2), (3, 9), (9, 10)])
def test_any_part_is_the_same_part_of_the_whole(tiny: Pair, start: int, end: int) -> None:
    session = ran(tiny)
    whole, part = session.answer(AskSurprise(0, len(PROMPT))), session.answer(AskSurprise(start, end))
    assert (part.start, part.total) == (start, end - start)
    np.testing.assert_allclose(part.surprise, whole.surprise[start:end], atol=1e-6)
    np.testing.assert_allclose(part.entropy, whole.entropy[start:end], atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (4, 2), (0, -1)])
def test_what_is_no_range_is_refused(tiny: Pair, start: int, end: int) -> None:
    with pytest.raises(EngineError, match="no range"):
        ran(tiny).answer(AskSurprise(start, end))


@pytest.mark.parametrize(("start", "end", "count"), [(0, 15, 14), (12, 10**12, 2), (10**12, 10**12, 0), (14, 20, 0)])
def test_tokens_that_the_run_does_not_have_are_left_out(tiny: Pair, start: int, end: int, count: int) -> None:
    """The question may be of a longer run, which this one has just replaced."""
    answer = ran(tiny).answer(AskSurprise(start, end))
    assert (len(answer.surprise), answer.total) == (count, end - start)


def test_before_the_pass_there_is_nothing_but_the_first_position(tiny: Pair) -> None:
    session = Session(tiny.loaded, sampling=Sampling(greedy=True))
    session.begin(PROMPT)
    answer = session.answer(AskSurprise(0, len(PROMPT)))
    assert (len(answer.surprise), answer.total) == (1, len(PROMPT))
    assert session.answer(AskSurprise(4, 8)).surprise.shape == (0,)


def test_a_stopped_pass_answers_once_its_last_layer_is_there(tiny: Pair) -> None:
    seen: list[int] = []
    session = Session(tiny.loaded, sampling=Sampling(greedy=True))
    question = AskSurprise(0, len(PROMPT))
    names = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post", "ln_final.hook_normalized"]

    def look(tensor: Tensor, point: Any) -> None:
        seen.append(len(session.answer(question).surprise))

    with tiny.loaded.model.hooks(dict.fromkeys(names, look)):
        list(session.generate(PROMPT, 1))
    assert seen[0] == 1
    assert seen[-1] == len(PROMPT)


@pytest.mark.parametrize("part", [1, 7, 95, 96, 97])
@pytest.mark.parametrize("positions", [1, 3, 64])
def test_any_parts_of_vocabulary_and_prompt_give_the_same(
    tiny: Pair, monkeypatch: pytest.MonkeyPatch, part: int, positions: int
) -> None:
    session = ran(tiny)
    whole = session.answer(AskSurprise(0, len(PROMPT)))
    monkeypatch.setattr(surprise_answers._Pace, "after", lambda self, count, seconds: None)
    monkeypatch.setattr(surprise_answers._Pace, "__init__", lambda self: setattr(self, "part", part))
    monkeypatch.setattr(surprise_answers, "_POSITIONS", positions)
    cut = session.answer(AskSurprise(0, len(PROMPT)))
    np.testing.assert_allclose(cut.surprise, whole.surprise, atol=1e-6)
    np.testing.assert_allclose(cut.entropy, whole.entropy, atol=1e-6)


def test_logits_far_apart_and_barred_ones() -> None:
    """A part may be all -inf, and one may outweigh all before it."""
    logits = torch.tensor([[-torch.inf] * 2 + [-700.0, -torch.inf, 5.0, 800.0, 799.0, -torch.inf, 0.0, 0.0]] * 2)
    logits = logits.double()
    sums = surprise_answers._Sums([6, 1], torch.device("cpu"))
    for first in range(0, 10, 2):
        sums.add(logits[:, first : first + 2], first)
    surprise, entropy = sums.surprise_and_entropy().numpy()
    logs = torch.log_softmax(logits[0], -1)
    finite = logs[logs > -torch.inf]
    assert surprise[0] == pytest.approx(-float(logs[6]), rel=1e-12)
    assert surprise[1] == np.inf
    assert entropy[0] == pytest.approx(-float((finite.exp() * finite).sum()), rel=1e-12)


def test_parts_grow_and_the_last_is_whole(tiny: Pair) -> None:
    session = ran(tiny, [3 + index % 90 for index in range(300)])
    work, parts = session.answering(AskSurprise(0, 300)), []
    while True:
        try:
            parts.append(next(work))
        except StopIteration as done:
            whole = done.value
            break
    told = [part for part in parts if part is not None]
    lengths = [len(part.surprise) for part in told]
    assert lengths == sorted(set(lengths))
    assert 1 < lengths[0] < lengths[-1] < len(whole.surprise) == 300
    for part in told:
        assert isinstance(part, Surprises)
        assert part.total == 300
        np.testing.assert_array_equal(part.surprise, whole.surprise[: len(part.surprise)])


def test_slices_on_smollm2_are_short(smollm2: engine.loading.Loaded) -> None:
    """The vocabulary is wide: most slices keep to 20 ms (a busy machine may hold one up)."""
    session = ran(Pair(smollm2, None), TEXT, 1)
    work, spent = session.answering(AskSurprise(0, len(session.prompt))), []
    while True:
        began = time.thread_time()
        part = next(work, StopIteration)
        spent.append(time.thread_time() - began)
        if part is StopIteration:
            break
    assert len(spent) > 4
    assert sorted(spent)[len(spent) // 2] < 0.02


def test_what_a_stage_of_sampling_cuts_is_as_likely_as_before(tiny: Pair) -> None:
    """The figures are of the raw distribution: no setting moves them."""
    session = Session(tiny.loaded, sampling=Sampling(top_k=1, temperature=0.3, repetition_penalty=2.0))
    list(session.generate(PROMPT, 3))
    answer = session.answer(AskSurprise(0, session.n_tokens))
    np.testing.assert_allclose(answer.surprise[1:], theirs(tiny.oracle, session.prompt + session.output)[0], atol=1e-5)


def test_weights_in_half_precision_give_finite_figures(tmp_path: Path) -> None:
    from tests.engine.conftest import pair

    both = pair(tmp_path, dtype="bfloat16", max_position_embeddings=512)
    answer = ran(both).answer(AskSurprise(1, len(PROMPT)))
    assert np.isfinite(answer.surprise).all()
    assert (answer.surprise >= 0).all()
    assert (answer.entropy <= np.log(96) + 1e-9).all()
