"""Back over tokens and the tree of branches: what is refused and told, what it costs, and looks at other branches."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

import engine
import engine.branching
from engine import questions as ask
from engine.errors import Cancelled, ContextError, EngineError, MemoryShortage, NotNow, PositionError, TokenizerError
from engine.frames import TreeFrame
from engine.loading import Loaded
from engine.settings import Record
from tests.engine.conftest import Pair
from tests.engine.runner import Run

PROMPT = [5, 17, 80, 33, 21, 64]
N = len(PROMPT)
SAMPLING = engine.Sampling(temperature=0.8, seed=11)


@pytest.fixture
def session(tiny: Pair) -> engine.Session:
    """After eight tokens."""
    session = engine.Session(tiny.loaded, SAMPLING)
    list(session.generate(PROMPT, 8))
    assert len(session.output) == 8
    return session


def on(session: engine.Session, tokens: int) -> list[engine.session.Step]:
    return list(session.steps(tokens))


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_tokens", [-1, 0, N - 1, N + 9, 10**9])
def test_a_number_of_tokens_that_the_run_has_not_had(session: engine.Session, n_tokens: int) -> None:
    before = list(session.output)
    with pytest.raises(EngineError, match="cannot be taken back to"):
        session.take_back(n_tokens)
    assert session.output == before
    assert len(on(session, 2)) == 2


@pytest.mark.parametrize("position", [-1, 0, N - 1, N + 8, 10**9])
def test_a_position_without_a_generated_token(session: engine.Session, position: int) -> None:
    with pytest.raises(EngineError, match="A branch cannot begin at position"):
        session.branch(position, 3)
    assert len(session.tree().branches) == 1


def test_a_run_without_a_generated_token_says_so(session: engine.Session) -> None:
    session.take_back(len(session.prompt))
    with pytest.raises(EngineError, match=r"at position 2: no token has been generated yet\."):
        session.branch(2, 3)


@pytest.mark.parametrize("token", [-1, 96, 10**12])
def test_a_token_that_the_model_has_not(session: engine.Session, token: int) -> None:
    with pytest.raises(ContextError, match="not in this model's vocabulary of 96"):
        session.branch(N + 2, token)
    assert len(session.tree().branches) == 1


def test_branches_that_are_not_there_or_needed(session: engine.Session) -> None:
    with pytest.raises(EngineError, match=r"There is no branch 5; this run has 0\."):
        session.switch(5)
    with pytest.raises(EngineError, match="The first branch is the run itself"):
        session.drop_branch(0)
    session.branch(N + 2, 3)
    on(session, 2)
    session.branch(N + 3, 4)
    with pytest.raises(EngineError, match="Branch 1 cannot be dropped: branch 2 goes on from it"):
        session.drop_branch(1)
    session.drop_branch(2)  # the session stands on it
    assert session.branch_number == 1
    session.drop_branch(1)
    assert session.branch_number == 0
    assert len(session.output) == 8


def test_before_a_run_there_is_nothing_to_go_back_to(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    session.take_back(0)
    with pytest.raises(EngineError, match="A branch cannot begin"):
        session.branch(0, 3)
    assert session.tree() == TreeFrame(session.tree().branches, 0)


def test_inside_a_pass_it_is_refused(tiny: Pair) -> None:
    refused: list[str] = []

    def move(run: Run) -> None:
        for change in (
            lambda: run.session.take_back(N),
            lambda: run.session.branch(N, 3),
            lambda: run.session.switch(0),
        ):
            try:
                change()
            except EngineError as error:
                refused.append(str(error))

    with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("layer")) as run:
        run.stopped()
        run.gate.do(lambda: move(run))
        run.finish()
    assert len(refused) == 3
    assert {"under way" in sentence for sentence in refused} == {True}
    assert len(run.session.output) == 3


def test_a_model_without_a_tokenizer_reads_no_text(session: engine.Session) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer"):
        session.token_of("a")


def test_without_a_record_too_as_long_as_the_cache_is_there(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, SAMPLING, record=False)
    tokens = [step.id for step in session.generate(PROMPT, 6)]
    session.take_back(N + 2)
    on(session, 4)
    assert session.output == tokens
    with pytest.raises(EngineError, match="Without a record the logits"):
        session.branch(N + 1, 3)
    assert session.output == tokens


# -- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_that_is_not_on_the_branch_has_no_logits(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, SAMPLING)
    steps = list(session.generate(PROMPT, 6))
    logits = [step.logits.clone() for step in steps]
    session.branch(N + 3, (steps[3].id + 1) % 96)
    more = on(session, 2)
    assert all(torch.equal(step.logits, seen) for step, seen in zip(steps[:3], logits[:3], strict=True))
    for step in steps[3:]:
        with pytest.raises(EngineError, match="not on the branch that the run stands on"):
            _ = step.logits
    session.switch(0)
    assert all(torch.equal(step.logits, seen) for step, seen in zip(steps, logits, strict=True))
    with pytest.raises(EngineError, match="not on the branch"):
        _ = more[0].logits
    session.take_back(N + 5)
    again = on(session, 1)
    assert torch.equal(again[0].logits, logits[5])
    with pytest.raises(EngineError, match="not on the branch"):
        _ = steps[5].logits


def test_going_back_in_the_middle_of_the_loop(tiny: Pair) -> None:
    session, seen = engine.Session(tiny.loaded, SAMPLING), []
    for step in session.generate(PROMPT, 9):
        seen.append(step.id)
        if len(seen) == 4:
            session.take_back(N + 1)
    assert seen[4:7] == seen[1:4]
    assert session.output == [seen[0], *seen[4:]]


def test_it_stands_where_it_stands(session: engine.Session) -> None:
    steps = list(session.output)
    assert session.take_back(N + 8) == 0
    assert session.switch(0) == 0
    assert (session.output, session.branch_number, len(session.tree().branches)) == (steps, 0, 1)


# -- the tree --------------------------------------------------------------------------------------------------------


def test_the_tree_tells_what_each_branch_has_of_its_own(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, SAMPLING)
    frames = [step.frame() for step in session.generate(PROMPT, 6)]
    session.branch(N + 2, 40)
    own = [step.frame() for step in on(session, 3)]
    tree = session.tree()
    first, second = tree.branches
    assert (first.number, first.parent, first.start, second.number, second.parent, second.start) == (
        0,
        None,
        6,
        1,
        0,
        8,
    )
    assert [piece.id for piece in first.pieces] == [frame.piece.id for frame in frames]
    assert [piece.id for piece in second.pieces] == [40, *(frame.piece.id for frame in own)]
    assert first.log_probability == pytest.approx(sum(math.log(f.sampling.chosen_raw) for f in frames), abs=1e-4)
    by_hand = session.tokens[2].sampling
    assert by_hand is not None
    expected = sum(math.log(frame.chosen_raw) for frame in (by_hand, *(f.sampling for f in own)))
    assert second.log_probability == pytest.approx(expected, abs=1e-4)
    assert tree.current == 1
    assert not first.edited


def test_how_a_token_by_hand_stands_among_the_others(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, SAMPLING)
    expected = [step.logits.double().softmax(0) for step in session.generate(PROMPT, 8)][2]
    session.branch(N + 2, 50)
    frame = session.tokens[2].sampling
    assert frame is not None
    assert (frame.chosen, frame.by_hand, frame.position, frame.seed) == (50, True, N + 2, 11)
    raw = dict(zip(frame.ids.tolist(), frame.raw.tolist(), strict=True))
    assert frame.chosen_raw == pytest.approx(float(expected[50]))
    assert frame.chosen_rank == int((expected > expected[50]).sum())
    assert raw[50] == frame.chosen_raw
    assert frame.drawn == pytest.approx(engine.sampling.draw_number(11, N + 2))
    assert not frame.low <= frame.drawn < frame.high


def test_tokens_that_others_share_are_not_taken_from_them(session: engine.Session) -> None:
    tokens = list(session.output)
    session.branch(N + 5, (tokens[5] + 1) % 96)
    on(session, 2)
    session.switch(0)
    session.take_back(N + 3)  # branch 1 begins behind
    assert (session.branch_number, session.output) == (2, tokens[:3])
    assert [branch.number for branch in session.tree().branches] == [0, 1, 2]
    session.take_back(N + 1)  # further still: branch 2 never had a token of its own
    assert [branch.number for branch in session.tree().branches] == [0, 1, 3]
    on(session, 7)
    assert session.output == tokens
    session.switch(1)
    assert session.output[:5] == tokens[:5]
    assert len(session.output) == 8
    session.take_back(N + 6)  # its own: the token by hand stays
    assert session.branch_number == 1
    session.take_back(N + 5)  # that one too
    assert session.branch_number == 4
    assert session.output == tokens[:5]


def test_where_only_the_newest_token_differs_nothing_is_read_again(session: engine.Session) -> None:
    """Nothing was read behind it yet: what is set aside holds no positions, and the cache stays as it is."""
    session.branch(N + 7, 40)
    assert (session.refilled, session.cache.firsts) == (0, [0, 0, 0])
    state_there = session.answer(ask.AskOn(0, ask.AskCacheState()))
    assert state_there.firsts.tolist() == [0, 0, 0]
    assert state_there.lengths.tolist() == [N + 7] * 3
    for number in (0, 1, 0):
        assert session.switch(number) == 0
        assert (session.cache.firsts, session.cache.lengths) == ([0, 0, 0], [N + 7] * 3)
    on(session, 1)
    assert session.switch(1) == 0
    assert session.take_back(N + 6) == 0


def test_an_empty_branch_goes_when_it_is_left(session: engine.Session) -> None:
    session.branch(N + 2, 40)
    session.take_back(N + 1)
    assert session.branch_number == 2
    session.switch(0)
    assert [branch.number for branch in session.tree().branches] == [0, 1]


def test_a_new_run_has_one_branch(session: engine.Session) -> None:
    session.branch(N + 2, 40)
    list(session.generate(PROMPT[:3], 2))
    tree = session.tree()
    assert (len(tree.branches), tree.current, tree.branches[0].start, session.branch_number) == (1, 0, 3, 0)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_shared_parts_are_counted_once(tiny: Pair) -> None:
    config = tiny.loaded.config
    position = session_bytes(config)
    session = engine.Session(tiny.loaded, SAMPLING)
    list(session.generate(PROMPT, 8))
    assert [branch.bytes for branch in session.tree().branches] == [(N + 7) * position]
    session.branch(N + 5, 40)
    on(session, 4)
    for number in (1, 0):
        session.switch(number)
        assert [branch.bytes for branch in session.tree().branches] == [(N + 7) * position, 4 * position]
    session.drop_branch(1)
    assert [branch.bytes for branch in session.tree().branches] == [(N + 7) * position]


def session_bytes(config: Any) -> int:
    """Of one position of the tiny model: keys and values, stream, norms."""
    cache = 2 * 2 * 8 * 4 * config.n_layers
    return cache + (config.n_layers + 1) * config.d_model * 4 + 4 * (3 * config.n_layers + 1)


def test_the_use_of_the_record_is_that_of_the_branch(session: engine.Session) -> None:
    list(session.generate(PROMPT * 60, 30))
    block = session.trace.use().memory
    assert session.trace.use().positions == 360 + 29
    session.branch(360, 40)
    assert session.trace.use().positions == 360
    assert session.trace.use().memory == block * 3 // 4  # 384 positions fill three blocks of four
    session.switch(0)
    assert (session.trace.use().positions, session.trace.use().memory) == (389, block)


def test_what_is_set_aside_keeps_to_the_limit_of_the_record(tiny: Pair) -> None:
    """Beyond that the stream is let go of, and made of the tokens again: to rounding, and it says so."""
    session = engine.Session(tiny.loaded, SAMPLING, record=Record(memory=0))
    list(session.generate(PROMPT, 8))
    before = session.trace.residual(2, 0, N + 7).clone()
    session.branch(N + 2, 40)
    aside = next(branch for branch in session.tree().branches if branch.number == 0)
    small = session_bytes(tiny.loaded.config) - (tiny.loaded.config.n_layers + 1) * tiny.loaded.config.d_model * 4
    assert aside.bytes == (N + 2) * session_bytes(tiny.loaded.config) + 5 * small
    session.switch(0)
    assert session.trace.source(N + 2, N + 7) == "recomputed"
    torch.testing.assert_close(session.trace.residual(2, 0, N + 7), before, rtol=0, atol=1e-5)


def test_what_would_not_fit_is_refused_before_it_is_taken(
    session: engine.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(session)
    monkeypatch.setattr(engine.branching, "free_bytes", lambda device: 1000)
    with pytest.raises(MemoryShortage, match=r"To set 5 positions aside takes .*; drop a branch"):
        session.branch(N + 2, 40)
    assert unchanged(session, before)
    session.take_back(N + 2)  # nobody needs what comes then
    assert len(session.output) == 2


# -- looks at other branches -----------------------------------------------------------------------------------------

QUESTIONS: tuple[ask.Question, ...] = (
    ask.AskResidualNorms(),
    ask.AskResidualVectors(None),
    ask.AskAttentionGrid(1, 64),
    ask.AskAttentionMap(1, 0, 64),
    ask.AskLens(0, N + 12),
    ask.AskLensColumn(N + 7),
    ask.AskCacheState(),
    ask.AskSurprise(0, N + 8),
    ask.AskPoint("blocks.1.hook_resid_mid", N + 6),
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def state(session: engine.Session) -> tuple[Any, ...]:
    cache = [part.clone() for layer in range(3) for part in session.cache.parts(layer)]
    stream = [session.trace.residual(boundary, 0, session.n_read).clone() for boundary in range(4)]
    return (list(session.output), session.branch_number, session.kept_maps, session.trace.spans[:], cache, stream)


def unchanged(session: engine.Session, before: tuple[Any, ...]) -> bool:
    after = state(session)
    return after[:4] == before[:4] and all(map(torch.equal, (*after[4], *after[5]), (*before[4], *before[5])))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_an_answer_about_another_branch_is_what_it_answers_there(session: engine.Session, question: Any) -> None:
    there = session.answer(question)
    session.branch(N + 2, 40)
    on(session, 6)
    here = session.answer(question)
    before = state(session)
    assert same(session.answer(ask.AskOn(0, question)), there)
    assert unchanged(session, before)
    assert same(session.answer(ask.AskOn(1, question)), here)
    assert same(session.answer(question), here)
    assert not same(here, there) or isinstance(question, ask.AskCacheState)
    session.switch(0)
    assert same(session.answer(question), there)


@pytest.fixture
def slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.branching, "_SLICE_SECONDS", 0.0)


@pytest.mark.usefixtures("slice_by_slice")
def test_closed_midway_it_stands_where_it_stood(session: engine.Session) -> None:
    session.branch(N + 2, 40)
    on(session, 3)
    before = state(session)
    work = session.answering_on(0, ask.AskLens(0, N + 8))
    for _ in range(3):
        next(work)
        assert unchanged(session, before)
    work.close()
    assert unchanged(session, before)


@pytest.mark.usefixtures("slice_by_slice")
def test_two_answers_in_turns(session: engine.Session) -> None:
    """One about each branch, slice by slice in turns, as the worker does it."""
    question = ask.AskLens(0, N + 8)
    there = session.answer(question)
    session.branch(N + 1, 40)
    on(session, 8)
    here = session.answer(question)
    session.lens = type(session.lens)()
    works, found = {0: session.answering_on(0, question), 1: session.answering(question)}, {}
    while works:
        for number, work in list(works.items()):
            try:
                next(work)
            except StopIteration as done:
                found[number] = done.value
                del works[number]
    assert same(found[0], there)
    assert same(found[1], here)


@pytest.mark.usefixtures("slice_by_slice")
def test_an_answer_ends_where_the_session_is_taken_elsewhere(session: engine.Session) -> None:
    session.branch(N + 2, 40)
    on(session, 3)
    for work in (session.answering(ask.AskLens(0, N + 6)), session.answering_on(0, ask.AskLens(0, N + 8))):
        next(work)
        session.branch(N + 1, 41)
        with pytest.raises(Cancelled):
            list(work)


@pytest.mark.usefixtures("slice_by_slice")
@pytest.mark.parametrize(
    "leave",
    [
        lambda session: session.begin(PROMPT[::-1]),
        lambda session: (session.switch(1), session.drop_branch(0)),
        lambda session: session.drop_branch(1),
    ],
    ids=["another run", "taken elsewhere", "the branch dropped"],
)
def test_an_answer_about_another_branch_ends_with_what_it_is_about(session: engine.Session, leave: Any) -> None:
    session.branch(N + 2, 40)
    on(session, 3)
    session.switch(0)
    work = session.answering_on(1, ask.AskLens(0, N + 4))
    next(work)
    with contextlib.suppress(EngineError):
        leave(session)
    before = (session.branch_number, list(session.output), session.cache.length)
    with pytest.raises(Cancelled):
        list(work)
    assert (session.branch_number, list(session.output), session.cache.length) == before


def test_a_branch_that_is_gone_cannot_be_looked_at(session: engine.Session) -> None:
    with pytest.raises(PositionError, match="no branch 4"):
        session.answer(ask.AskOn(4, ask.AskResidualNorms()))


def test_inside_of_a_pass_not_now_and_at_its_start_it_is_answered(tiny: Pair) -> None:
    question = ask.AskOn(0, ask.AskResidualVectors(N + 1))
    with Run(tiny.loaded, PROMPT, 4) as run:
        run.finish()
    session, gate = run.session, run.gate
    expected = session.answer(question)
    session.branch(N + 1, 40)
    gate.pause()
    answers: list[Any] = []

    def stop(where: Any) -> None:
        try:
            answers.append(session.answer(question))
        except NotNow as error:
            answers.append(error)
        gate.step("stage")

    gate.on_stop = stop
    on(session, 1)
    assert same(answers[0], expected)
    assert len(answers) > 20
    assert all(isinstance(answer, NotNow) for answer in answers[1:])
    assert len(session.output) == 3


def test_a_real_model_goes_back_and_branches(smollm2: Loaded) -> None:
    session = engine.Session(smollm2, engine.Sampling(greedy=True))
    list(session.generate("The capital of France is", 6))
    whole, text = list(session.output), "".join(token.piece.text for token in session.tokens)
    assert "Paris" in text
    n = len(session.prompt)
    session.branch(n, session.token_of(" not"))
    assert session.tokens[0].piece.text == " not"
    list(session.steps(5))
    assert session.output[1:] != whole[1:]
    assert session.tokens[-1].piece.start == session.tokens[-2].piece.end
    session.switch(0)
    session.take_back(n + 2)
    list(session.steps(4))
    assert session.output == whole
    with pytest.raises(TokenizerError, match="one is needed"):
        session.token_of("antidisestablishmentarianism of Paris")
