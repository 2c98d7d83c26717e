"""A run: its steps, how it ends, what it refuses, and what two runs of one model do to each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine import questions as ask
from engine.errors import ContextError, EngineError, TokenizerError
from engine.frames import StepFrame
from engine.loading import Loaded
from tests.engine.conftest import Pair

PROMPT = [5, 17, 80, 33, 21, 64]
N_CTX = 512


def _reference(tiny: Pair, ids: list[int]) -> torch.Tensor:
    """transformers' logits at the last of these ids."""
    with torch.inference_mode():
        return tiny.oracle(torch.tensor([ids])).logits[0, -1]


def test_steps_say_what_each_pass_did(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    steps = list(session.generate(PROMPT, max_new_tokens=4))
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.kind for step in steps] == ["prefill", "decode", "decode", "decode"]
    assert [(step.start, step.end) for step in steps] == [(0, 6), (6, 7), (7, 8), (8, 9)]
    assert [step.position for step in steps] == [6, 7, 8, 9]
    assert [step.id for step in steps] == session.output
    assert [step.piece.id for step in steps] == session.output
    assert [step.finish for step in steps] == [None, None, None, "limit"]
    per_position = 2 * 2 * 8 * 4 * 3
    assert [step.cache_bytes for step in steps] == [end * per_position for end in (6, 7, 8, 9)]
    assert all(0 < step.seconds < 30 for step in steps)
    assert (session.prompt, session.n_tokens, session.n_read, session.newest) == (PROMPT, 10, 9, 8)


def test_logits_and_tokens_are_those_of_transformers(tiny: Pair) -> None:
    ids = list(PROMPT)
    for step in engine.Session(tiny.loaded).generate(PROMPT, max_new_tokens=6):
        expected = _reference(tiny, ids)
        torch.testing.assert_close(step.logits, expected, rtol=0, atol=1e-4)
        assert step.id == int(expected.argmax())
        ids.append(step.id)


def test_logits_of_older_steps_are_what_they_were(tiny: Pair) -> None:
    seen, steps = [], []
    for step in engine.Session(tiny.loaded).generate(PROMPT * 30, max_new_tokens=5):
        steps.append(step)
        seen.append(step.logits.clone())
    for step, before in zip(steps, seen, strict=True):
        torch.testing.assert_close(step.logits, before, rtol=0, atol=1e-5)
    assert not torch.allclose(seen[0], seen[1], atol=1e-2)


def test_a_step_as_plain_data(tiny: Pair) -> None:
    step = next(engine.Session(tiny.loaded, engine.Sampling(seed=7)).generate(PROMPT, max_new_tokens=2))
    frame = step.frame()
    assert isinstance(frame, StepFrame)
    assert (frame.index, frame.kind, frame.start, frame.end, frame.finish) == (0, "prefill", 0, 6, None)
    assert (frame.sampling.position, frame.sampling.chosen, frame.sampling.seed) == (6, step.id, 7)
    assert [piece.id for piece in frame.candidates] == frame.sampling.ids.tolist()
    probabilities = step.logits.double().softmax(0)[torch.from_numpy(frame.sampling.ids.copy())]
    np.testing.assert_allclose(frame.sampling.raw, probabilities.numpy(), rtol=1e-6)


# -- how a run ends --------------------------------------------------------------------------------------------------


def test_a_step_says_which_hooks_were_on(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    name = "blocks.1.attn.hook_pattern"
    plain = next(session.generate(PROMPT, 3))
    with tiny.loaded.model.hooks({name: lambda tensor, point: None}):
        watched = next(session.generate(None, 1))
    assert (plain.hooked, watched.hooked) == ((), (name,))


def test_end_of_sequence_ends_it(tiny: Pair) -> None:
    free = [step.id for step in engine.Session(tiny.loaded).generate(PROMPT, 8)]
    last = free[5]
    ends_at = free.index(last)
    loaded = replace(tiny.loaded, config=replace(tiny.loaded.config, eos_token_ids=(last,)))
    steps = list(engine.Session(loaded).generate(PROMPT, 8))
    assert [step.id for step in steps] == free[: ends_at + 1]
    assert [step.finish for step in steps] == [None] * ends_at + ["end of sequence"]


def test_a_full_context_ends_it(tiny: Pair) -> None:
    prompt = (PROMPT * 100)[: N_CTX - 2]
    session = engine.Session(tiny.loaded)
    steps = list(session.generate(prompt, 100))
    assert [step.finish for step in steps] == [None, None, "full context"]
    assert session.cache.length == N_CTX
    with pytest.raises(ContextError, match=f"{N_CTX}"):
        list(session.steps(1))
    assert (session.n_tokens, session.cache.length) == (N_CTX + 1, N_CTX)
    torch.testing.assert_close(steps[2].logits, _reference(tiny, (prompt + session.output)[:N_CTX]), rtol=0, atol=1e-4)


def test_a_prompt_as_long_as_the_context_gives_one_token(tiny: Pair) -> None:
    steps = list(engine.Session(tiny.loaded).generate((PROMPT * 100)[:N_CTX], 9))
    assert [step.finish for step in steps] == ["full context"]


def test_a_run_can_go_on_from_where_it_stands(tiny: Pair) -> None:
    whole = [step.id for step in engine.Session(tiny.loaded).generate(PROMPT, 9)]
    session = engine.Session(tiny.loaded)
    parts = list(session.generate(PROMPT, 4))
    parts += session.generate(None, 2)
    parts += session.steps(3)
    assert [step.id for step in parts] == whole
    assert [step.index for step in parts] == list(range(9))
    assert [step.finish for step in parts if step.finish] == ["limit"] * 3


@pytest.mark.parametrize("tokens", [0, -3])
def test_no_tokens_wanted_none_made(tiny: Pair, tokens: int) -> None:
    session = engine.Session(tiny.loaded)
    assert list(session.generate(PROMPT, tokens)) == []
    assert session.cache.length == 0


# -- prompts that cannot be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ([], "empty"),
        ([5] * (N_CTX + 1), r"513 tokens .* 512"),
        ([5, 96], "96 is not in this model's vocabulary"),
        ([-1], "-1 is not in"),
    ],
)
def test_a_prompt_that_cannot_begin_keeps_the_run_before(tiny: Pair, prompt: list[int], match: str) -> None:
    session = engine.Session(tiny.loaded)
    before = list(session.generate(PROMPT, 3))
    with pytest.raises(ContextError, match=match):
        session.generate(prompt, 3)
    assert (session.prompt, session.cache.length) == (PROMPT, 8)
    assert before[0].logits.shape == (96,)
    assert [step.id for step in session.steps(2)] == [s.id for s in engine.Session(tiny.loaded).generate(PROMPT, 5)][3:]


def test_text_needs_a_tokenizer(tiny: Pair) -> None:
    assert tiny.loaded.tokenizer is None
    with pytest.raises(TokenizerError, match="no tokenizer"):
        engine.Session(tiny.loaded).begin("text")


@pytest.mark.parametrize(("text", "chat"), [("", False), ("", True), (" \n", True)])
def test_an_empty_text(smollm2: Loaded, text: str, chat: bool) -> None:
    with pytest.raises(ContextError, match="empty"):
        engine.Session(smollm2).begin(text, chat=chat)


# -- text and pieces -------------------------------------------------------------------------------------------------


def test_pieces_of_prompt_and_output_tile_the_text(smollm2: Loaded) -> None:
    session = engine.Session(smollm2)
    pieces = list(session.begin("naïve 東京: 1 + 1 ="))
    pieces += [step.piece for step in session.steps(4)]
    assert [piece.id for piece in pieces] == session.prompt + session.output
    raw = b"".join(piece.raw for piece in pieces)
    assert raw.startswith("naïve 東京: 1 + 1 =".encode())
    assert [piece.start for piece in pieces] == [0] + [piece.end for piece in pieces[:-1]]
    assert pieces[-1].end == len(raw)


def test_chat_goes_through_the_template(smollm2: Loaded) -> None:
    session = engine.Session(smollm2)
    session.begin("What is 2+2?", chat=True)
    assert smollm2.tokenizer.decode(session.prompt).endswith(
        "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_chat_ends_at_the_end_of_the_turn(smollm2: Loaded) -> None:
    steps = list(engine.Session(smollm2).generate("Say only: hi", max_new_tokens=60, chat=True))
    assert steps[-1].finish == "end of sequence"
    assert steps[-1].text == "<|im_end|>"


# -- chance ----------------------------------------------------------------------------------------------------------


def test_a_seed_makes_a_run_repeatable(tiny: Pair) -> None:
    def ids(seed: int) -> list[int]:
        return [step.id for step in engine.Session(tiny.loaded, engine.Sampling(seed=seed)).generate(PROMPT, 12)]

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)


def test_sampling_may_change_between_steps(tiny: Pair) -> None:
    greedy = [step.id for step in engine.Session(tiny.loaded).generate(PROMPT, 3)]
    session = engine.Session(tiny.loaded, engine.Sampling(temperature=5.0, seed=1))
    first = next(session.generate(PROMPT, 1))
    assert not first.sampling.greedy
    session.sampling = engine.Sampling(greedy=True)
    second = next(session.steps(1))
    assert second.sampling.greedy
    assert second.id == int(_reference(tiny, [*PROMPT, first.id]).argmax())
    assert first.id != greedy[0]


# -- the record ------------------------------------------------------------------------------------------------------


def test_without_a_record_the_tokens_are_the_same_and_nothing_is_kept(tiny: Pair) -> None:
    recorded = [step.id for step in engine.Session(tiny.loaded).generate(PROMPT, 5)]
    session = engine.Session(tiny.loaded, record=False)
    steps = list(session.generate(PROMPT, 5))
    assert [step.id for step in steps] == recorded
    assert session.answer(ask.AskResidualNorms()).n == 0
    assert steps[-1].logits.shape == (96,)
    with pytest.raises(EngineError, match="record=True"):
        _ = steps[0].logits


def test_a_step_of_a_run_that_is_gone_says_so(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    old = list(session.generate(PROMPT, 2))
    list(session.generate([9, 8, 7], 2))
    for step in old:
        with pytest.raises(EngineError, match="newer prompt"):
            _ = step.logits


def test_nothing_hangs_on_the_model_after_a_run(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, gate=engine.Gate())
    for index, _ in enumerate(session.generate(PROMPT, 5)):
        if index == 1:
            break
    assert not any(point.active for point in tiny.loaded.model.points.values())
    assert tiny.loaded.model.points.tenant is None
    assert session.gate.where.state == "idle"


def test_no_inference_mode_leaks_between_steps(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, gate=engine.Gate())
    for _ in session.generate(PROMPT, 3):
        assert not torch.is_inference_mode_enabled()
        session.answer(ask.AskAttentionGrid(1))
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_two_runs_of_one_model_that_take_turns_do_not_record_each_other(tiny: Pair) -> None:
    other = [60, 61, 62, 63]
    alone = [list(engine.Session(tiny.loaded).generate(p, 5)) for p in (PROMPT, other)]
    first, second = engine.Session(tiny.loaded), engine.Session(tiny.loaded)
    together = list(zip(first.generate(PROMPT, 5), second.generate(other, 5), strict=True))
    for turn, expected in enumerate(alone):
        assert [pair[turn].id for pair in together] == [step.id for step in expected]
        for pair, step in zip(together, expected, strict=True):
            torch.testing.assert_close(pair[turn].logits, step.logits, rtol=0, atol=1e-5)
    assert not any(point.active for point in tiny.loaded.model.points.values())


def test_a_new_prompt_in_the_middle_of_a_run_is_recorded(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    steps = session.generate(PROMPT, 50)
    next(steps)
    session.begin([9, 8, 7])
    step = next(steps)
    assert (step.start, step.end, step.kind) == (0, 3, "prefill")
    assert session.trace.reach == [3] * 4
    assert step.id == next(engine.Session(tiny.loaded).generate([9, 8, 7], 1)).id
    steps.close()


def test_other_types_run_with_a_record(tmp_path_factory: pytest.TempPathFactory, tiny: Pair) -> None:
    for dtype in ("float64", "bfloat16"):
        folder = tmp_path_factory.mktemp(dtype)
        tiny.oracle.save_pretrained(folder)
        session = engine.Session(engine.load(folder, device="cpu", dtype=dtype))
        steps = list(session.generate(PROMPT, 3))
        answer = session.answer(ask.AskResidualNorms())
        assert answer.norms.dtype == np.float32
        assert answer.reach.tolist() == [8] * 4
        torch.testing.assert_close(steps[0].logits.float(), _reference(tiny, PROMPT), rtol=0, atol=0.3)


def test_a_session_samples_as_the_models_makers_do(tiny: Pair, tmp_path: Path) -> None:
    tiny.oracle.save_pretrained(tmp_path)
    assert engine.Session(engine.load(tmp_path)).sampling == engine.Sampling(greedy=True), "a model that says nothing"
    (tmp_path / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_k": 20}')
    loaded = engine.load(tmp_path)
    assert engine.Session(loaded).sampling == engine.Sampling(temperature=0.6, top_k=20)
    assert loaded.model_frame().sampling == engine.Sampling(temperature=0.6, top_k=20)
    assert engine.Session(loaded, engine.Sampling(top_p=0.5)).sampling == engine.Sampling(top_p=0.5)
    (tmp_path / "generation_config.json").write_text('{"do_sample": true, "num_beams": 4}')
    loaded = engine.load(tmp_path)
    assert loaded.sampling is None
    assert "num_beams = 4" in loaded.warnings[0]
