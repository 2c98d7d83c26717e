"""What the banner says of a run: the pass, a look back, what came of it, and nothing that is not so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.cursor import Look
from app.run import Run
from app.stage_words import Headline, headline
from app.widgets.amounts import percent
from engine.frames import EndFrame, Where
from tests.app.made_runs import generated, prompted


def said(run: Run, look: Look | None = None) -> Headline:
    return headline(run, look or Look(), "ready", lambda text: text)


def paused(layer: int | None, stage: str, state: str = "paused") -> Run:
    run = generated(3)
    run.absorb(Where(state, 3, "decode", 7, 8, layer, stage))
    return run


def test_without_a_model_what_the_program_does() -> None:
    assert said(Run()) == Headline("No model is open", words="ready")


def test_before_a_run_the_model() -> None:
    run = prompted()
    run.prompt = ()
    assert said(run).text == "tiny"
    assert "6 layers" in said(run).words


@pytest.mark.parametrize(
    ("layer", "stage", "text", "done"),
    [
        (2, "rope", "layer 2 of 6 · rope", 2),
        (0, "norm 1", "layer 0 of 6 · norm 1", 0),
        (5, "", "layer 5 of 6", 5),
        (None, "start", "before the layers", 0),
        (None, "embed", "outside the layers · embed", 0),
        (None, "final norm", "outside the layers · final norm", 6),
        (None, "sampling", "outside the layers · sampling", 6),
    ],
)
def test_where_a_pass_stands(layer: int | None, stage: str, text: str, done: int) -> None:
    now = said(paused(layer, stage))
    assert (now.text, now.beside, now.done, now.layer) == (text, "token 8 · decode · paused", done, layer)
    assert now.place == (layer, "" if stage == "start" else stage)
    assert said(paused(layer, stage, "running")).beside == "token 8 · decode"


def test_a_look_back_is_called_one() -> None:
    now = said(paused(2, "rope"), Look(4, 3))
    assert (now.text, now.done, now.layer) == ("layer 3 of 6", 6, 3)
    assert now.beside.startswith("looking at token 4 “")


def test_a_look_at_what_is_not_computed_yet_is_at_what_is() -> None:
    assert said(paused(2, "rope"), Look(7, 5)).text == "layer 2 of 6"
    assert said(paused(2, "rope"), Look(7, 5)).done == 3


def test_a_run_that_has_ended_tells_its_newest_token() -> None:
    run = generated(3)
    run.absorb(EndFrame("limit"))
    now = said(run)
    assert now.text == f"the next token is “{run.label(run.n_tokens - 1)}”"
    assert now.place is None
    assert now.words == f"The model gave it a probability of {percent(run.steps[-1].sampling.chosen_raw)}. " + (
        "Tokens read: 7, made: 3."
    )


@pytest.mark.parametrize(("raw", "told"), [(0.9996, "99.9 %"), (2.15e-10, "<0.01 %"), (1.0, "100 %")])
def test_a_probability_is_told_as_everywhere_else(raw: float, told: str) -> None:
    run = generated(3)
    run.absorb(EndFrame("limit"))
    run.steps[-1] = replace(run.steps[-1], sampling=replace(run.steps[-1].sampling, chosen_raw=raw))
    assert f"a probability of {told}." in said(run).words
