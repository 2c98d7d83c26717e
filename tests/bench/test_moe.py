"""The benchmark of experts works on a tiny model. No test looks at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import moe

TINY = (
    "--threads 1 --tokens 4 --prompt-tokens 12 --rounds 2 --layers 2 --width 64 --experts 4 --expert-width 32 --top 2"
)


def test_both_sides_make_the_same_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    assert moe.main(TINY.split()) == 0
    printed = capsys.readouterr().out
    wanted = ("Machine ", "Libraries ", "top 2 of 4 experts", "prefill tokens/s", "decode tokens/s", "\na/d ")
    assert [text for text in wanted if text not in printed] == []
    assert "greedy tokens: equal in every round" in printed


def test_parameters_of_a_position_are_those_of_its_experts(tmp_path: Path) -> None:
    given = moe._parser().parse_args(TINY.split())
    active, every = moe.build(given, tmp_path)
    assert every - active == given.layers * (4 - 2) * 3 * 64 * 32
