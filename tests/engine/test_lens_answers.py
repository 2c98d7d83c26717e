"""The lens on a real model and a tiny one: the pass's own distribution, windows, stops, what is kept and shared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import engine
from engine import lens as the_lens
from engine import questions as ask
from engine.errors import EngineError
from engine.frames import Lens
from engine.loading import Loaded
from tests.engine.conftest import Pair
from tests.engine.families.test_lens import compare
from tests.engine.runner import PATIENCE, Run

PROMPT = list(range(5, 25))
GREEDY = engine.Sampling(greedy=True)


def ran(pair: Pair, tokens: int = 4) -> engine.Session:
    session = engine.Session(pair.loaded, GREEDY)
    list(session.generate(PROMPT, tokens))
    return session


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions that are read from now on, once per work begun."""
    begun: list[int] = []
    read = the_lens.read

    def counting(model, stream, wanted):
        begun.append(wanted.position)
        return read(model, stream, wanted)

    monkeypatch.setattr(the_lens, "read", counting)
    return begun


# -- truth ---------------------------------------------------------------------------------------------------------


def test_the_real_model_beside_transformers(smollm2_pair: Pair) -> None:
    session = engine.Session(smollm2_pair.loaded, GREEDY)
    list(session.generate("The capital of France is", 6))
    text = torch.tensor([[*session.prompt, *session.output]])
    oracle = smollm2_pair.oracle
    final: list[torch.Tensor] = []
    watch = oracle.model.norm.register_forward_pre_hook(lambda module, given: final.append(given[0]))
    with torch.no_grad():
        streams = oracle(text[:, :-1], output_hidden_states=True).hidden_states
        watch.remove()
        logits = oracle.lm_head(oracle.model.norm(torch.cat([*streams[:-1], final[0]]))).double()
    log_p = logits.log_softmax(-1)
    for position in (2, 4, 5, session.n_read - 1):
        answer = session.answer(ask.AskLensColumn(position, words=(3,)))
        compare(answer, logits[:, position], log_p[:, position], int(text[0, position + 1]))


def test_the_last_row_is_the_distribution_of_the_pass(smollm2: Loaded) -> None:
    """Bit by bit, of prefill and of decode: one norm, one product, of the same shapes."""
    session = engine.Session(smollm2, GREEDY)
    for step in session.generate("The capital of France is", 3):
        answer = session.answer(ask.AskLensColumn(None))
        assert answer.position == step.end - 1
        assert answer.next_id == step.id == answer.ids[-1, 0]
        assert torch.equal(torch.from_numpy(answer.logits[-1]), step.logits[torch.from_numpy(answer.ids[-1])])
        assert answer.entropy[-1] == pytest.approx(step.sampling.entropy_raw, rel=1e-5)
        np.testing.assert_allclose(answer.probabilities[-1], step.sampling.raw[:10], rtol=1e-5)
        assert answer.next_rank[-1] == step.sampling.chosen_rank == 0
        assert answer.divergence[-1] == pytest.approx(0, abs=1e-5)


def test_a_window_says_what_its_columns_say(tiny: Pair) -> None:
    session = ran(tiny)
    window = session.answer(ask.AskLens(None, 128))
    assert (window.start, window.n_total, window.ids.shape) == (0, 23, (4, 23))
    texts = {piece.id: piece.text for piece in window.pieces}
    for position in range(23):
        column = session.answer(ask.AskLensColumn(position))
        np.testing.assert_array_equal(window.ids[:, position], column.ids[:, 0])
        np.testing.assert_array_equal(window.probabilities[:, position], column.probabilities[:, 0])
        for name in ("entropy", "divergence", "next_probability", "next_rank"):
            np.testing.assert_array_equal(getattr(window, name)[:, position], getattr(column, name))
        assert window.next_ids[position] == column.next_id == (PROMPT + session.output)[position + 1]
        assert window.settled[position] == column.settled
        first = column.ids[:, 0]
        assert (first[column.settled :] == first[-1]).all()
        assert column.settled == 0 or first[column.settled - 1] != first[-1]
        assert {*window.ids[:, position].tolist(), column.next_id} <= texts.keys()


# -- windows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "count", "expected"), [(None, 5, (18, 23)), (0, 5, (0, 5)), (20, 9, (20, 23)), (22, 1, (22, 23))]
)
def test_windows(tiny: Pair, start: int | None, count: int, expected: tuple[int, int]) -> None:
    answer = ran(tiny).answer(ask.AskLens(start, count))
    assert (answer.start, answer.start + answer.ids.shape[1]) == expected


def test_only_what_is_in_the_window_is_read_and_once(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = count_reads(monkeypatch)
    session, window, column = engine.Session(tiny.loaded, GREEDY), ask.AskLens(None, 6), ask.AskLensColumn(None)
    steps = session.generate(PROMPT, 4)
    next(steps)
    session.answer(window)
    assert begun == [19, 18, 17, 16, 15, 14]
    session.answer(window)
    assert len(begun) == 6
    next(steps)
    session.answer(column)
    session.answer(window)
    assert begun[6:] == [20], "a run that grows reads its new position only, for both questions"
    session.answer(ask.AskLens(12, 4))
    assert begun[7:] == [13, 12]


def test_two_who_want_the_same_share_the_work(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = count_reads(monkeypatch)
    session = ran(tiny)
    works = [session.answering(ask.AskLensColumn(None)), session.answering(ask.AskLens(None, 1))]
    answers: dict[int, object] = {}
    while len(answers) < 2:
        for index, work in enumerate(works):
            try:
                next(work)
            except StopIteration as done:
                answers.setdefault(index, done.value)
    assert begun == [22]


def test_work_that_nobody_wants_is_let_go(tiny: Pair) -> None:
    session = ran(tiny)
    work = session.answering(ask.AskLens(None, 3))
    next(work)
    assert len(session.lens.works) == 1
    work.close()
    assert not session.lens.works
    assert session.answer(ask.AskLens(None, 3)).ids.min() >= 0


def test_what_is_kept_is_bounded_and_goes_with_the_run(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_lens, "_COLUMNS_KEPT", 8)
    session = ran(tiny)
    session.answer(ask.AskLens(None, 6))
    session.answer(ask.AskLens(0, 6))
    assert list(session.lens.columns) == [18, 17, 5, 4, 3, 2, 1, 0][-8:]
    session.begin([7, 8])
    assert not session.lens.columns


def test_a_window_comes_in_parts_with_the_newest_first(tiny: Pair) -> None:
    work, parts = ran(tiny).answering(ask.AskLens(None, 6)), []
    while True:
        try:
            parts.append(next(work))
        except StopIteration as done:
            whole = done.value
            break
    shown = [part for part in parts if part is not None]
    assert isinstance(shown[0], Lens)
    assert (shown[0].ids[:, -1] >= 0).all()
    assert (shown[0].ids[:, 0] == -1).all()
    assert math.isnan(shown[0].entropy[0, 0])
    np.testing.assert_array_equal(shown[0].ids[:, -1], whole.ids[:, -1])
    assert (whole.ids >= 0).all()


# -- a stopped pass ------------------------------------------------------------------------------------------------


def test_a_stopped_prefill_shows_the_layers_that_are_there(tiny: Pair) -> None:
    finished = ran(tiny, 1).answer(ask.AskLens(None, 4))
    with Run(tiny.loaded, PROMPT, 1, arm=lambda gate: gate.step("layer"), sampling=GREEDY) as run:
        run.stopped()
        for layer in range(3):
            shown = run.gate.ask(ask.AskLens(None, 4)).result(PATIENCE)
            known = layer + 2
            np.testing.assert_array_equal(shown.ids[:known], finished.ids[:known])
            np.testing.assert_allclose(shown.probabilities[:known], finished.probabilities[:known], rtol=1e-5)
            assert (shown.ids[known:] == -1).all()
            assert (shown.next_ids[:-1] == PROMPT[-3:]).all()
            assert shown.next_ids[-1] == -1
            column = run.gate.ask(ask.AskLensColumn(None)).result(PATIENCE)
            assert len(column.ids) == known
            assert column.next_rank.tolist() == [-1] * known
            assert column.word_rank.shape == (5, known)
            assert column.word_rank[:, -1].tolist() == list(range(5)), "of the last row there is"
            if layer < 2:
                assert (shown.settled == -1).all()
                assert np.isnan(shown.divergence).all()
                assert column.settled == -1
                run.step("layer")
        assert (shown.settled >= 0).all()
        assert not np.isnan(shown.divergence).any()
        run.finish()


def test_in_a_stopped_pass_only_new_layers_are_read(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    read = the_lens.read

    def counting(model, stream, wanted):
        rows.append(len(stream))
        return read(model, stream, wanted)

    monkeypatch.setattr(the_lens, "read", counting)
    with Run(tiny.loaded, PROMPT, 1, arm=lambda gate: gate.step("layer"), sampling=GREEDY) as run:
        run.stopped()
        run.gate.ask(ask.AskLens(None, 1)).result(PATIENCE)
        run.step("layer")
        run.gate.ask(ask.AskLens(None, 1)).result(PATIENCE)
        run.step("layer")
        run.gate.ask(ask.AskLens(None, 1)).result(PATIENCE)
        run.finish()
    assert rows == [2, 1, 4], "with the last layer the distance to it is known: all are read again"


def test_a_boundary_that_a_hook_replaced_after_it_was_read_is_read_again(tiny: Pair) -> None:
    """The pass stood between two layers; what enters the next one is not what left the one before."""
    with (
        tiny.loaded.model.hooks({"blocks.1.hook_resid_pre": lambda tensor, point: -tensor}),
        Run(tiny.loaded, PROMPT, 1, arm=lambda gate: gate.step("layer"), sampling=GREEDY) as run,
    ):
        run.stopped()
        before = run.gate.ask(ask.AskLensColumn(None)).result(PATIENCE)
        run.step("stage")
        after = run.gate.ask(ask.AskLensColumn(None)).result(PATIENCE)
        run.finish()
        finished = run.session.answer(ask.AskLensColumn(len(PROMPT) - 1))
    assert len(before.ids) == len(after.ids) == 2
    assert not np.array_equal(before.logits[1], after.logits[1])
    np.testing.assert_allclose(after.logits, finished.logits[:2], rtol=1e-5, atol=1e-5)


def test_a_pass_that_is_given_up_leaves_no_readings(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 3, arm=lambda gate: gate.step("token"), sampling=GREEDY) as run:
        run.stopped()
        run.step("layer")
        assert run.gate.ask(ask.AskLensColumn(None)).result(PATIENCE).position == len(PROMPT)
        run.gate.cancel()
        run._thread.join(PATIENCE)
        assert len(PROMPT) not in run.session.lens.columns


# -- odd questions -------------------------------------------------------------------------------------------------


def test_bad_questions_are_told(tiny: Pair) -> None:
    session = ran(tiny, 2)
    for question, sentence in (
        (ask.AskLens(-1, 4), "Position -1 does not exist"),
        (ask.AskLens(0, 0), "0 positions were asked for at once; 1 to 128 can be shown"),
        (ask.AskLens(0, 129), "129 positions"),
        (ask.AskLensColumn(22), "Position 22 does not exist; the run has positions 0 to 21"),
        (ask.AskLensColumn(0, top=0), "1 to 64 can be shown"),
        (ask.AskLensColumn(0, words=(10**9,)), "The token id 1000000000 is not in this model's vocabulary"),
        (ask.AskLensColumn(0, words=(-1,)), "The token id -1"),
        (ask.AskLensColumn(0, words=tuple(range(17))), "17 tokens were to be followed"),
    ):
        with pytest.raises(EngineError, match=sentence):
            session.answer(question)


def test_beyond_what_is_read_there_is_nothing(tiny: Pair) -> None:
    session = ran(tiny, 2)
    unread = session.answer(ask.AskLensColumn(21))  # chosen, but no pass has read it
    assert (unread.source, unread.rows_total, unread.ids.shape, unread.settled) == ("", 4, (0, 0), -1)
    assert session.answer(ask.AskLens(40, 4)).ids.shape == (4, 0)
    without = engine.Session(tiny.loaded, GREEDY, record=False)
    list(without.generate(PROMPT, 2))
    assert (without.answer(ask.AskLens(None, 4)).ids == -1).all()


def test_words_are_followed_when_they_are_asked_for(tiny: Pair) -> None:
    session = ran(tiny)
    before = session.answer(ask.AskLensColumn(10))
    other = next(id for id in range(90) if id not in before.words)
    after = session.answer(ask.AskLensColumn(10, words=(other,)))
    assert after.words.tolist() == [*before.words.tolist(), other]
    assert after.word_rank.shape == (len(after.words), 4)
    np.testing.assert_array_equal(after.word_rank[:-1], before.word_rank)


def test_more_of_the_most_probable(tiny: Pair) -> None:
    session = ran(tiny)
    few, many = session.answer(ask.AskLensColumn(3, top=2)), session.answer(ask.AskLensColumn(3, top=40))
    assert (few.ids.shape, many.ids.shape) == ((4, 2), (4, 40))
    np.testing.assert_array_equal(many.ids[:, :2], few.ids)
    assert (np.diff(many.logits, axis=1) <= 0).all()


def test_equal_logits_come_by_id() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0, 3.0, 0.0]])
    values, ids = the_lens.ordered_top(logits, 4)
    assert ids.tolist() == [[1, 3, 4, 2]]
    assert values.tolist() == [[3.0, 3.0, 3.0, 2.0]]
    assert the_lens._ranked(logits, [4, 2, 1])[1].tolist() == [[2, 3, 0]]


def test_entropy_and_divergence_by_their_formulas() -> None:
    logits = torch.randn(3, 500, generator=torch.Generator().manual_seed(1)) * 4
    p = logits.double().softmax(-1)
    total = logits.logsumexp(-1)
    torch.testing.assert_close(the_lens.entropy(logits, total).double(), -(p * p.log()).sum(-1), rtol=1e-5, atol=1e-5)
    kl = (p[2] * (p[2].log() - p.log())).sum(-1)
    found = the_lens.divergence(logits[2].log_softmax(-1), logits, total)
    torch.testing.assert_close(found.double(), kl, rtol=1e-5, atol=1e-5)
    flat = torch.zeros(1, 500)
    assert float(the_lens.entropy(flat, flat.logsumexp(-1))) == pytest.approx(math.log(500))


def test_half_precision(tmp_path) -> None:
    from tests.engine.tiny import tiny_llama

    tiny_llama(tmp_path)
    session = engine.Session(engine.load(tmp_path, device="cpu", dtype="bfloat16"), GREEDY)
    steps = list(session.generate(PROMPT, 2))
    answer = session.answer(ask.AskLensColumn(None))
    assert {answer.logits.dtype, answer.probabilities.dtype, answer.entropy.dtype} == {np.dtype(np.float32)}
    assert torch.equal(torch.from_numpy(answer.logits[-1]), steps[-1].logits.float()[torch.from_numpy(answer.ids[-1])])
