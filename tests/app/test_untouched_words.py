"""What is said about a pass beside the untouched one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.untouched_words import compared, first_parting, verdict
from engine.frames import Piece, Untouched

NO_IDS = np.zeros(0, np.int64)
EARLY = {"chosen": -1, "otherwise": -1}


def tr(text: str) -> str:
    return text


def piece(token: int) -> Piece:
    return Piece(token, f" t{token}", b"", 0, 0)


FOUND = Untouched(
    start=4,
    end=6,
    points=("blocks.1.attn.hook_z",),
    chosen=2,
    otherwise=1,
    ids=np.array([2, 1, 0]),
    probabilities=np.array([[0.6, 0.1, 0.0], [0.2, 0.7, 0.05]], np.float32),
    logits=np.array([[3.0, 1.0, -np.inf], [2.0, 2.5, 0.5]], np.float32),
    change=np.array([-np.inf, -1.5, 1.0, 4.0], np.float32),
    moved=np.array([0, 3]),
    pieces=tuple(piece(token) for token in range(4)),
    block=1,
    parting=np.array([[0, 0], [0, 2], [1, np.nan]], np.float32),
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Position 6: “␣t2” with the edits, “␣t1” untouched."),
        ({"otherwise": 2}, "Position 6: “␣t2” either way."),
        (
            {"chosen": -1, "otherwise": -1},
            "The pass that reads positions 4–5 is edited; it has not come to its token yet.",
        ),
        ({"points": (), **EARLY}, "The pass that reads positions 4–5 has come to no edit yet."),
        ({"points": (), "otherwise": 2}, "The pass that read positions 4–5 was not edited: both are the same."),
        ({"end": 5, "points": (), "otherwise": 2}, "The pass that read position 4 was not edited: both are the same."),
        ({"end": 4}, "This position has not been read yet."),
    ],
)
def test_the_verdict(changes: dict, sentence: str) -> None:
    assert verdict(replace(FOUND, **changes), tr) == sentence


def test_tokens_by_the_larger_probability_then_what_moved_most() -> None:
    rows = compared(FOUND, tr)
    assert [row.id for row in rows] == [1, 2, 0, -1, 0, 3]
    assert [row.text for row in rows][3] == "logits that moved most"
    assert (rows[0].before, rows[0].after, rows[0].changed) == (pytest.approx(0.7), pytest.approx(0.1), -1.5)
    assert [row.changed for row in rows[2:]] == [-np.inf, 0.0, -np.inf, 4.0]
    assert [row.id for row in rows if row.chosen] == [2]
    assert rows[-1].before is None


def test_before_the_logits_there_are_no_tokens() -> None:
    empty = replace(FOUND, ids=NO_IDS, probabilities=np.zeros((2, 0)), logits=np.zeros((2, 0)), moved=NO_IDS)
    assert compared(empty, tr) == ()


def test_where_the_streams_part() -> None:
    assert first_parting(FOUND) == 1
    assert first_parting(replace(FOUND, parting=np.zeros((3, 2), np.float32))) is None
    assert first_parting(replace(FOUND, parting=np.full((3, 2), np.nan, np.float32))) is None
    assert first_parting(replace(FOUND, parting=np.zeros((3, 0), np.float32))) is None
