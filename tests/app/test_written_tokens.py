"""A token is written the same way wherever it stands: bytes that are no character as \\xNN, white space drawn."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app
from app.branch_words import own_text
from app.compare_choices import compared
from app.panels.attention import AttentionPanel
from app.panels.sampling import SamplingPanel
from app.panels.token_strip import TokenStrip
from app.run import Run, whole_text, written
from app.token_texts import TokenTexts
from app.widgets.lens_words import LensWords
from engine.frames import BranchFacts, Piece, RunFrame
from tests.app.made_runs import context, grow, model

CAT = "🐈".encode()
WORDS = (CAT[:2], CAT[2:], " 你".encode(), "你".encode()[:1], b"\xef\xbf\xbd")
WRITTEN = ("\\xf0\\x9f", "\\x90\\x88", "␣你", "\\xe4", "\ufffd")


def pieces() -> tuple[Piece, ...]:
    return tuple(Piece(id, raw.decode("utf-8", "replace"), raw, 0, len(raw)) for id, raw in enumerate(WORDS))


@pytest.fixture
def run() -> Run:
    run = Run()
    run.absorb(model())
    run.absorb(RunFrame(pieces(), 100, False))
    grow(run, "\ufffd", 0.5)
    ids, half, kept = np.array([0, 1]), np.array([0.5, 0.5]), np.array([-1, -1])
    sampling = replace(run.steps[0].sampling, ids=ids, raw=half, final=half, cut_by=kept, chosen=0)
    run.steps[0] = replace(run.steps[0], sampling=sampling, candidates=pieces()[:2])
    return run


def test_the_run_names_its_tokens_so(run: Run) -> None:
    assert tuple(map(written, pieces())) == WRITTEN
    assert tuple(map(run.label, range(6))) == (*WRITTEN, "\\xf0\\x9f")


def test_panels_name_them_as_the_strip_does(run: Run, qtbot: Any) -> None:
    strip, attention = TokenStrip(context(run)), AttentionPanel(context(run))
    sampling = SamplingPanel(context(run))
    for panel in (strip, attention, sampling):
        qtbot.addWidget(panel)
        panel.show_run()
    assert all(f"  {word}  id {position}" in strip._readout(position) for position, word in enumerate(WRITTEN))
    assert "“\\xf0\\x9f”" in sampling._sentence.text()
    assert "\ufffd" not in sampling._sentence.text()


def test_other_texts_with_tokens(run: Run) -> None:
    words = LensWords(run)
    words.learn(pieces())
    assert [words.text(id) for id in range(5)] == list(WRITTEN)
    (step,) = run.steps
    assert [row.text for row in compared(step, step)] == list(WRITTEN[:2])


def test_characters_that_are_split_are_whole_again_in_a_text() -> None:
    assert whole_text(pieces()[:3]) == "🐈 你"
    assert whole_text(pieces()[:1]) == "\\xf0\\x9f"
    branch = BranchFacts(1, 0, 5, pieces()[1:3], -1.0, False, 0)
    assert own_text(branch) == "\\x90\\x88␣你"


def test_what_is_written_finds_the_token(run: Run) -> None:
    texts = TokenTexts(lambda: run)
    assert [texts.id(word) for word in WRITTEN] == [0, 1, 2, 3, 4]
    assert texts.id(" 你") == 2


def test_nobody_writes_a_piece_in_another_way() -> None:
    """``text`` of a piece may hold U+FFFD, which says nothing: it is read where a token is copied or printed whole."""
    found = set()
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "text" and "piece" in ast.unparse(node.value):
                found.add(path.name)
    assert found == {"run.py", "run_verb.py", "report.py", "token_strip.py"}
