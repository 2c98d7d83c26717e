"""The benchmark of growth works on a tiny model; its lines are right. No test looks at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import growth
from tests.bench.fits import line, medians

TINY = ["--tokens", "100", "--prompt-tokens", "20", "--turn", "4", "--threads", "1"]


def test_a_run_is_measured_and_every_line_is_printed(tiny_gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert growth.main([*TINY, "--model", str(tiny_gguf)]) == 0
    printed = capsys.readouterr().out
    wanted = (
        "Machine ", "a pass, bare", "a pass, recording", "of it recording", "a pass, window open", "of it watching",
        "the window's thread", "the record", "the KV cache", "the process with the window", "recording takes the same",
        "the window takes the same", "attention grows in a line", "of the residual stream's 512 bytes a token",
        "peak memory of the process, the program with its window", "reach <= 4 GB: met",
    )  # fmt: skip
    assert [text for text in wanted if text not in printed] == []


def test_more_than_the_context_is_refused(tiny_gguf: Path) -> None:
    with pytest.raises(SystemExit, match="300 tokens are more than the context of 256"):
        growth.main(["--tokens", "300", "--prompt-tokens", "20", "--threads", "1", "--model", str(tiny_gguf)])


def test_a_line_is_found_and_a_bend_is_seen() -> None:
    lengths = list(range(100, 1100))
    straight = line(lengths, [3.0 + 0.5 * length for length in lengths])
    assert (straight.constant, straight.slope) == pytest.approx((3.0, 0.5))
    assert straight.off == pytest.approx(0.0, abs=1e-9)
    assert straight.at(200) == pytest.approx(103.0)
    assert line(lengths, [length**2 for length in lengths]).off > 0.1


def test_medians_are_of_so_many_values_and_the_last_of_the_rest() -> None:
    assert medians([1.0, 2.0, 90.0, 4.0, 5.0], 3, 100) == ([101.5, 104.0], [2.0, 4.5])
