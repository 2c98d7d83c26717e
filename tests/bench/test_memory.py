"""Loading never holds much more than the weights: the cases that need the most beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.memory import CASES, GOAL, Case, measure

HARDEST = ("llama, GGUF Q4_0, to bfloat16", "gpt2, transposed, kept so", "gpt_oss, MXFP4 experts, to bfloat16")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("case", [case for case in CASES if case.title in HARDEST], ids=lambda case: case.title)
def test_peak_of_loading(case: Case, tmp_path: Path) -> None:
    assert 0.95 < measure(case, tmp_path) <= GOAL
