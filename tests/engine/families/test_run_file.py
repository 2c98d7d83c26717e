"""A run that was saved and opened again answers as the live one did, goes on as it did, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine
from engine import questions as ask
from engine.frames import NeedsModel
from engine.loading import Loaded
from engine.run_file_opening import OpenedRun, open_run
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.run_files import answered, differences, made, questions, saved
from tests.engine.runner import Run

VARIANTS = (
    "qwen3-default",
    "mistral-sliding",
    "gemma3_text-default",
    "mixtral-default",
    "qwen2_moe-default",
    "deepseek_v2-default",
    "deepseek_v3-default",
    "llama4_text-default",
    "gpt_oss-default",
    "phi3-longrope-short",
    "gpt2-default",
)
STEPS = 6
DIFFERENT = ("source", "bytes_allocated", "top")  # what is made again says so; equal figures have no order among them
RECORDED = (
    ask.AskResidualNorms,
    ask.AskResidualVectors,
    ask.AskCacheState,
    ask.AskRouting,
    ask.AskRoutingShares,
    ask.AskRouterRow,
    ask.AskRoutingLayers,
    ask.AskRoutedTokens,
    ask.AskPoints,
)


@pytest.fixture(params=VARIANTS)
def oracle(request: pytest.FixtureRequest, oracles: Oracles) -> Oracle:
    return oracles[request.param]


@pytest.fixture
def session(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> engine.Session:
    session, steps = made(loaded, oracle.ids[0].tolist(), STEPS, temperature=0.9, top_p=0.95, seed=3)
    saved(tmp_path / "run.fluoro", session, steps)
    return session


def without_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenedRun:
    monkeypatch.setattr("engine.run_file_opening.find_model", lambda facts, others: None)
    opened = open_run(path)
    assert opened.why
    return opened


def test_every_answer_of_the_opened_run_is_the_live_one(
    session: engine.Session, loaded: Loaded, tmp_path: Path
) -> None:
    opened = open_run(tmp_path / "run.fluoro", loaded=loaded)
    assert opened.why == ""
    assert opened.loaded is loaded
    for question in questions(loaded, session.n_read):
        live, again = answered(session, question), answered(opened.session, question)
        assert not differences(live, again, 1e-5, but=DIFFERENT), question
        if isinstance(question, RECORDED):
            assert not differences(live, again, but=("bytes_allocated",)), question


def test_the_opened_run_goes_on_to_the_same_tokens(session: engine.Session, loaded: Loaded, tmp_path: Path) -> None:
    opened = open_run(tmp_path / "run.fluoro", loaded=loaded)
    assert opened.session.output == session.output
    further = [step.frame() for step in session.generate(None, STEPS)]
    again = [step.frame() for step in opened.session.generate(None, STEPS)]
    assert [step.piece for step in again] == [step.piece for step in further]
    for one, other in zip(further, again, strict=True):
        assert not differences(one.sampling, other.sampling, 1e-5)


def test_without_its_model_the_record_is_shown_and_the_rest_names_it(
    session: engine.Session, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = without_model(tmp_path / "run.fluoro", monkeypatch)
    for question in questions(loaded, session.n_read):
        live, again = answered(session, question), answered(opened.session, question)
        if isinstance(question, RECORDED):
            assert not differences(live, again, 0 if loaded.device.type == "cpu" else 1e-5), question
        elif isinstance(again, NeedsModel) or getattr(again, "sentence", ""):
            assert again.sentence == opened.why, question
        else:  # what is recorded, in figures summed up in another order, or the same refusal
            assert not differences(live, again, 1e-9, but=DIFFERENT), question
    assert isinstance(answered(opened.session, ask.AskAttentionGrid(0)), NeedsModel)


def test_it_can_be_saved_again_without_its_model(
    session: engine.Session, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = without_model(tmp_path / "run.fluoro", monkeypatch)
    saved(tmp_path / "again.fluoro", opened.session, list(opened.steps))
    again = open_run(tmp_path / "again.fluoro", loaded=loaded)
    assert str(again.steps) == str(opened.steps)
    for question in (ask.AskResidualNorms(), ask.AskAttentionGrid(0), ask.AskCacheState()):
        live, other = answered(session, question), answered(again.session, question)
        assert not differences(live, other, 1e-5, but=DIFFERENT), question


def test_it_can_be_saved_while_a_pass_stands_behind_its_last_layer(
    oracle: Oracle, loaded: Loaded, tmp_path: Path
) -> None:
    """The caches have gone on by then, and a window has let go of what the pass saw; the file is of the pass before."""
    prompt, path, greedy = oracle.ids[0].tolist(), tmp_path / "run.fluoro", engine.Sampling(greedy=True)
    with (
        loaded.model.hooks({"blocks.1.hook_attn_out": lambda tensor, point: tensor * 0.5}),  # so the cache is saved too
        Run(loaded, prompt, STEPS, arm=lambda gate: gate.step("token"), sampling=greedy) as run,
    ):
        run.stopped()
        while run.gate.where.stage != "logits":
            run.step("stage")
        with torch.inference_mode():  # as an answer is
            saved(path, run.session, [step.frame() for step in run.steps])
        steps = run.finish()
    opened = open_run(path, loaded=loaded).session
    assert opened.n_read == len(prompt)
    with loaded.model.hooks({"blocks.1.hook_attn_out": lambda tensor, point: tensor * 0.5}):
        again = list(opened.steps(len(steps) - 1))
    assert [step.id for step in again] == [step.id for step in steps[1:]]
    for one, other in zip(steps[1:], again, strict=True):
        assert torch.equal(one.logits, other.logits)


def test_in_half_precision_it_goes_on_to_the_same_tokens(oracle: Oracle, tmp_path: Path) -> None:
    """Keys made again would be rounded otherwise, so the file has the very cache."""
    loaded = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    session, steps = made(loaded, oracle.ids[0].tolist(), STEPS)
    opened = open_run(saved(tmp_path / "half.fluoro", session, steps), loaded=loaded).session
    for layer in range(loaded.config.n_layers):
        for ours, theirs in zip(opened.cache.parts(layer), session.cache.parts(layer), strict=True):
            assert torch.equal(ours, theirs)
    assert [step.id for step in opened.steps(8)] == [step.id for step in session.steps(8)]
