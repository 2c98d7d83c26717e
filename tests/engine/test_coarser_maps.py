"""A coarser map of attention is made of the finer one that is kept, and is the one that would have been computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import engine
from engine.frames import AttentionGrid, AttentionMap
from engine.questions import AskAttentionGrid, AskAttentionMap
from tests.engine.conftest import Pair

PROMPT = list(range(5, 95)) * 2
QUESTIONS = (AskAttentionGrid(1, 128), AskAttentionMap(1, 2, 128), AskAttentionMap(2, 1, 128, stage="masked"))


def figures(answer: AttentionGrid | AttentionMap) -> np.ndarray:
    return answer.maps if isinstance(answer, AttentionGrid) else answer.map


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_is_the_same_as_computed_anew_and_grows_on(tiny: Pair, question: AskAttentionGrid | AskAttentionMap) -> None:
    session, fresh = engine.Session(tiny.loaded), engine.Session(tiny.loaded)
    coarse = replace(question, most=32)
    steps = session.generate(PROMPT, 4)
    next(steps)
    with torch.inference_mode():
        session.answer(question)
        made = session.maps(coarse)
    assert (made.n, made.block) == (len(PROMPT), 8)  # before anything was asked of it: of the finer map
    list(steps)
    list(fresh.generate(PROMPT, 4))
    with torch.inference_mode():
        grown, anew = session.answer(coarse), fresh.answer(coarse)
    assert grown.n == len(PROMPT) + 3
    np.testing.assert_allclose(figures(grown), figures(anew), atol=1e-6)


def test_the_finer_map_is_let_go_only_after_the_coarser_one_was_made(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    fine, coarse = AskAttentionMap(1, 0, 128), AskAttentionMap(1, 0, 32)
    wanted = [fine]
    session.watched = lambda: wanted
    next(session.generate(PROMPT, 2))
    with torch.inference_mode():
        session.answer(fine)
        wanted[:] = [coarse]
        session.let_maps_go()
    assert session.kept_maps == (coarse,)
    assert session.maps(coarse).n == len(PROMPT)
