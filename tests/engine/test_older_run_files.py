"""Run files as older versions of this program wrote them: they are read for ever, to the last figure.

``older/before-edits.fluoro`` is by the first version with run files, which knew no edits; ``with-edits.fluoro`` by the
first one that kept them; ``one-branch.fluoro`` by the last one that kept one branch alone. All are "hello there" and a
few greedy tokens of a llama of three layers, which is not here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.edits import Edit
from engine.questions import AskResidualNorms
from engine.run_file_facts import Mark
from engine.run_file_opening import OpenedRun, open_run
from engine.run_file_saving import save_run
from engine.settings import Sampling
from tests.engine.run_files import answered

OLDER = Path(__file__).parent / "older"
TOKENS = {
    "before-edits": ["]", "m", "]", "]", "]"],
    "with-edits": ["]", "]", "]", "]", "]"],
    "one-branch": ["]", "m", "I", "]", "[", "A"],
}


def opened(name: str) -> OpenedRun:
    return open_run(OLDER / f"{name}.fluoro")


@pytest.mark.parametrize("name", TOKENS)
def test_its_tokens_and_how_they_were_chosen(name: str) -> None:
    run = opened(name)
    assert "".join(piece.text for piece in run.prompt) == "hello there"
    assert [step.piece.text for step in run.steps] == TOKENS[name]
    assert all(step.sampling.greedy and step.sampling.chosen == step.piece.id for step in run.steps)
    assert run.facts.branch.sampling == Sampling(greedy=True)
    assert (run.facts.branch.max_new_tokens, run.facts.branch.reason) == (len(TOKENS[name]), "limit")
    assert "tinymodel" in run.why


@pytest.mark.parametrize("name", TOKENS)
def test_its_stream(name: str) -> None:
    norms = answered(opened(name).session, AskResidualNorms()).norms
    assert norms.shape == (4, 10 + len(TOKENS[name]))
    assert np.isfinite(norms).all()
    assert (norms > 0).all()


def test_edits_are_known_where_they_were_kept() -> None:
    assert opened("with-edits").facts.branch.interventions == (Edit("zero", "attn.hook_z", (0,), heads=(1,)),)
    assert [step.edited for step in opened("with-edits").steps] == [True] * 5
    assert opened("before-edits").facts.branch.interventions == ()
    assert [step.edited for step in opened("before-edits").steps] == [False] * 5


def test_the_branch_that_was_kept_is_the_run_itself() -> None:
    """A token by hand, and behind it passes that were edited; notes, a bookmark, the tray."""
    run, edit = opened("one-branch"), Edit("zero", "attn.hook_z", (0,), heads=(1,))
    assert run.facts.tree is None
    assert [branch.number for branch in run.session.tree().branches] == [0]
    assert [step.sampling.by_hand for step in run.steps] == [False, False, True, False, False, False]
    assert [step.edited for step in run.steps] == [False, False, False, True, True, True]
    assert (run.facts.branch.interventions, run.facts.branch.tray) == ((edit,), (edit,))
    assert run.facts.notes == (Mark("odd here", 12, 1, 0), Mark("of the first", once="token 14 “]”"))
    assert run.facts.bookmarks == (Mark("", 4),)


@pytest.mark.parametrize("name", TOKENS)
def test_saved_again_it_is_the_same_run(name: str, tmp_path: Path) -> None:
    run = opened(name)
    save_run(tmp_path / "again.fluoro", run.session, run.steps)
    again = open_run(tmp_path / "again.fluoro")
    assert [step.piece for step in again.steps] == [step.piece for step in run.steps]
    assert again.facts.branch.interventions == run.facts.branch.interventions
    assert again.facts.model == run.facts.model
