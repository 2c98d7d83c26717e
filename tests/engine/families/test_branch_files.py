"""A run with branches in a file: opened again, every branch is what it was, bit for bit, and the run goes on as it did.

Caches are made to forget at once, and blocks of the record are short, so that a short run has several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine
import engine.branches
import engine.branching
import engine.run_file_opening
import engine.run_file_reading
import engine.run_file_saving
from engine import questions as ask
from engine.edits import Edit
from engine.errors import ModelNeeded
from engine.frames import NeedsModel
from engine.loading import Loaded
from engine.run_file_opening import open_run
from engine.run_file_saving import save_run
from engine.settings import Record
from tests.engine.families.oracle import Oracle
from tests.engine.families.test_branches import assert_same, assert_same_logits, forgetful, go_on, left
from tests.engine.run_files import Kept, answered, differences, kept_run, questions

__all__ = ["forgetful"]  # a fixture of all tests here, too

VARIANTS = (
    "qwen3-default",
    "mistral-sliding",
    "gemma3_text-default",
    "mixtral-default",
    "deepseek_v3-default",
    "llama4_text-default",
    "gpt_oss-default",
    "phi3-longrope-short",
)
TOKENS = 8
RECORDED = (ask.AskResidualNorms, ask.AskResidualVectors)


def branched(loaded: Loaded, prompt: list[int], record: Record | None = None, edits: bool = False) -> Kept:
    """Branch 1 parts from the run, 2 from 1, 3 from the run further on, 4 where the run was taken back to, so that
    between the two nothing is chosen and one position read: a part of its own, where such ones are not joined. It
    stands on the second."""
    run = kept_run(loaded, prompt, TOKENS, record)
    run.branch(2)
    run.on(TOKENS - 1)
    run.branch(4)
    if edits:
        run.session.set_edits([Edit("scale", "attn.hook_z", (0, 1), value=0.5)])
    run.on(TOKENS + 1)
    run.session.set_edits([])
    run.session.switch(0)
    run.branch(4)
    run.on(TOKENS - 1)
    run.session.switch(0)
    run.session.take_back(len(prompt) + 4)
    run.on(6)
    for number in (3, 4, 2):
        run.session.switch(number)
    parts = [len(tail.tokens) for branch in run.session.branching_tree.branches.values() for tail in branch.tails]
    assert (0 in parts) is (engine.branches.BLOCK == 0)
    return run


@pytest.fixture(autouse=True)
def short_blocks(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine.run_file_saving, engine.run_file_reading, engine.run_file_opening):
        monkeypatch.setattr(module, "BLOCK", 16)


@pytest.fixture
def prompt(oracle: Oracle) -> list[int]:
    return oracle.ids[0].tolist()


def numbers(session: Any) -> list[int]:
    return [branch.number for branch in session.tree().branches]


def told(session: Any) -> list[tuple[Any, ...]]:
    """The tree as the window shows it."""
    branches = session.tree().branches
    return [(b.number, b.parent, b.start, b.pieces, round(b.log_probability, 4), b.edited) for b in branches]


@pytest.mark.parametrize("longest", [engine.branches.BLOCK, 0], ids=["joined", "apart"])
@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
def test_every_branch_is_what_it_was_and_goes_on(
    loaded: Loaded, prompt: list[int], tmp_path: Path, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.branches.BLOCK", longest)  # positions of parts that are joined
    live = branched(loaded, prompt)
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded)
    session = opened.session
    assert isinstance(session, engine.Session)
    assert told(session) == told(live.session)
    assert numbers(session) == [0, 1, 2, 3, 4]
    assert session.branch_number == 2
    assert str(opened.steps) == str(tuple(live.steps))
    for number in (2, 0, 3, 4, 1, 2):
        session.switch(number)
        live.session.switch(number)
        assert_same(left(session), left(live.session))
        assert [step.piece for step in live.steps] == [token.piece for token in session.tokens]
    for number in (1, 3):
        session.switch(number)
        live.session.switch(number)
        more = len(session.output) + 3
        assert_same_logits(go_on(session, more), go_on(live.session, more))
        assert_same(left(session), left(live.session))
    place = len(prompt) + 3
    assert session.branch(place, 5) == live.session.branch(place, 5) == 5
    assert_same_logits(go_on(session, TOKENS), go_on(live.session, TOKENS))
    for number in (5, 4):
        session.drop_branch(number)
    assert numbers(session) == [0, 1, 2, 3]


@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
def test_parts_that_are_left_token_by_token_are_joined(loaded: Loaded, prompt: list[int], tmp_path: Path) -> None:
    live = kept_run(loaded, prompt, TOKENS)
    live.branch(6)
    live.session.switch(0)
    whole = left(live.session)
    for tokens in range(6, 1, -1):
        live.session.take_back(len(prompt) + tokens)
    assert [len(tail.tokens) for tail in live.session.branching_tree.branches[0].tails] == [6]
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded).session
    for session in (live.session, opened):
        session.switch(0)
        assert_same(left(session), whole)
        session.switch(1)
        session.take_back(len(prompt) + 4)
        session.switch(0)
        assert_same(left(session), whole)


@pytest.mark.parametrize("oracle", ["llama4_text-default"], indirect=True)
def test_where_a_chunk_ends_nothing_of_it_is_kept(loaded: Loaded, prompt: list[int], tmp_path: Path) -> None:
    chunk = next(chunk for s in loaded.config.layers if (chunk := getattr(s.attention, "chunk", None)) is not None)
    tokens = chunk - len(prompt) % chunk + 1
    live = kept_run(loaded, prompt, tokens)
    live.branch(max(0, tokens - 4))
    live.on(tokens)
    assert live.session.cache.length % chunk == 0
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded).session
    for number in (1, 0, 1):
        opened.switch(number)
        live.session.switch(number)
        assert_same(left(opened), left(live.session))
    assert_same_logits(go_on(opened, tokens + 3), go_on(live.session, tokens + 3))


@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
def test_frames_of_all_branches_come_back(loaded: Loaded, prompt: list[int], tmp_path: Path) -> None:
    live = branched(loaded, prompt)
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded)
    own = {token.number: frame for token, frame in zip(opened.session.tokens, opened.steps, strict=True)}
    frames = {**opened.others, **own}
    for number in numbers(live.session):
        opened.session.switch(number)
        live.session.switch(number)
        again = [frames[token.number] for token in opened.session.tokens]
        assert str(again) == str(live.steps), number


@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
@pytest.mark.parametrize("slices", [0.01, 0.0], ids=["at once", "slice by slice"])
def test_two_branches_are_compared_as_before(
    loaded: Loaded, prompt: list[int], tmp_path: Path, slices: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are those that are given there; between two slices each the run stands where it stood."""
    monkeypatch.setattr(engine.branching, "_SLICE_SECONDS", slices)
    live = branched(loaded, prompt)
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded).session
    n = len(prompt) + 3
    asked = (ask.AskResidualNorms(), ask.AskResidualVectors(n), ask.AskAttentionRow(1, n), ask.AskLens(0, n))
    for number in (0, 1, 3):
        here = [[answered(s, ask.AskOn(number, question)) for question in asked] for s in (live.session, opened)]
        live.session.switch(number)
        for question, one, other in zip(asked, *here, strict=True):
            there = answered(live.session, question)
            room = 0.0 if isinstance(question, RECORDED) else 1e-6  # a window that was forgotten is made to rounding
            assert not differences(there, one, room, but=("source",)), (number, question)
            assert not differences(there, other, room, but=("source",)), (number, question)
        live.session.switch(2)
    assert_same(left(opened), left(live.session))


@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
def test_without_the_model_every_branch_is_shown_as_far_as_it_is_recorded(
    loaded: Loaded, prompt: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = branched(loaded, prompt)
    path = live.saved(tmp_path / "run.fluoro")
    monkeypatch.setattr("engine.run_file_opening.find_model", lambda facts, others: None)
    opened = open_run(path)
    assert opened.why
    assert told(opened.session) == told(live.session)
    for number in (2, 0, 3, 4, 1, 2):
        opened.session.switch(number)
        live.session.switch(number)
        assert opened.session.output == live.session.output
        with torch.inference_mode():
            assert opened.session.trace.spans == live.session.trace.spans
            assert torch.equal(opened.session.trace.norm_table(), live.session.trace.norm_table().cpu())
        for question in (ask.AskResidualNorms(), ask.AskResidualVectors(None), ask.AskRoutingLayers(len(prompt))):
            there, here = answered(live.session, question), answered(opened.session, question)
            assert not differences(there, here, 0.0 if loaded.device.type == "cpu" else 1e-6), question
        about = ask.AskOn(0, ask.AskResidualVectors(len(prompt) + 2))
        assert not differences(answered(live.session, about), answered(opened.session, about))
        assert answered(opened.session, ask.AskAttentionGrid(0)) == NeedsModel(opened.why)
    for refused in (
        lambda: opened.session.branch(len(prompt) + 1, 3),
        lambda: opened.session.take_back(len(prompt) + 1),
        lambda: opened.session.steps(3),
    ):
        with pytest.raises(ModelNeeded, match="takes the model"):
            refused()
    opened.session.drop_branch(4)
    assert numbers(opened.session) == [0, 1, 2, 3]


@pytest.mark.parametrize("oracle", VARIANTS, indirect=True)
def test_saved_again_without_the_model_it_is_the_same_run(
    loaded: Loaded, prompt: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = branched(loaded, prompt)
    path = live.saved(tmp_path / "run.fluoro")
    with monkeypatch.context() as patch:
        patch.setattr("engine.run_file_opening.find_model", lambda facts, others: None)
        opened = open_run(path)
    own = {token.number: frame for token, frame in zip(opened.session.tokens, opened.steps, strict=True)}
    frames = {**opened.others, **own}
    opened.session.switch(3)
    steps = [frames[token.number] for token in opened.session.tokens]
    save_run(tmp_path / "again.fluoro", opened.session, steps, others=frames)
    again = open_run(tmp_path / "again.fluoro", loaded=loaded).session
    for number in (3, 0, 2, 1, 4):
        again.switch(number)
        live.session.switch(number)
        assert_same(left(again), left(live.session))


@pytest.mark.parametrize(
    "oracle", ["qwen3-default", "mistral-sliding", "mixtral-default", "deepseek_v3-default"], indirect=True
)
@pytest.mark.parametrize("how", ["edited", "half", "dropped"])
def test_where_the_cache_is_kept(oracle: Oracle, loaded: Loaded, prompt: list[int], tmp_path: Path, how: str) -> None:
    """It would not come out the same if it were made again."""
    if how == "half":
        loaded = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    record = Record(memory=0, beyond="drop") if how == "dropped" else None
    live = branched(loaded, prompt, record, edits=how == "edited")
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded, record=record)
    assert opened.facts.branch.cache.stored
    assert told(opened.session) == told(live.session)
    for number in (2, 0, 3, 4, 1, 2):
        opened.session.switch(number)
        live.session.switch(number)
        assert_same(left(opened.session, recorded=how != "dropped"), left(live.session, recorded=how != "dropped"))
    if how == "edited":
        assert [b.edited for b in opened.session.tree().branches] == [False, False, True, False, False]
        point = ask.AskPoint("blocks.1.attn.hook_z", len(prompt) + 6)
        assert not differences(answered(live.session, point), answered(opened.session, point), 1e-6)


@pytest.mark.parametrize("oracle", ["qwen3-default", "mixtral-default"], indirect=True)
def test_every_question_has_the_live_answer_on_every_branch(loaded: Loaded, prompt: list[int], tmp_path: Path) -> None:
    live = branched(loaded, prompt)
    opened = open_run(live.saved(tmp_path / "run.fluoro"), loaded=loaded).session
    for number in numbers(live.session):
        live.session.switch(number)
        opened.switch(number)
        for question in questions(loaded, live.session.n_read):
            one, other = answered(live.session, question), answered(opened, question)
            assert not differences(one, other, 1e-5, but=("source", "bytes_allocated", "top")), (number, question)


@pytest.mark.parametrize("oracle", ["qwen3-default"], indirect=True)
def test_an_opened_branch_is_what_transformers_computes(
    oracle: Oracle, loaded: Loaded, prompt: list[int], tmp_path: Path
) -> None:
    opened = open_run(branched(loaded, prompt).saved(tmp_path / "run.fluoro"), loaded=loaded).session
    assert isinstance(opened, engine.Session)
    for number in numbers(opened):
        opened.switch(number)
        ids = torch.tensor([opened.prompt + opened.output])
        with torch.inference_mode():
            out = oracle.model(input_ids=ids, output_hidden_states=True, use_cache=False)
        mine = opened.trace.residual(1, 0, opened.n_read).cpu().numpy()
        theirs = out.hidden_states[1][0, : opened.n_read].numpy()
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5 * float(np.abs(theirs).max()))
        step = next(iter(opened.steps(1)))
        np.testing.assert_allclose(step.logits.cpu().numpy(), out.logits[0, -1].numpy(), rtol=0, atol=2e-4)
