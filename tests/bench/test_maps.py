"""The benchmark of attention maps works on a tiny model. No test looks at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import attention_answers
from tests.bench import maps


def test_every_case_is_timed_and_every_line_printed(
    tiny_gguf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_answers, "_COARSE_FROM", 500)
    monkeypatch.setattr(attention_answers, "_SAMPLES", 16)
    monkeypatch.setattr(attention_answers, "_LEAST_SAMPLES", 8)
    assert maps.main(["--model", str(tiny_gguf), "--positions", "24,48", "--rounds", "2", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    wanted = (
        "Machine ", "Libraries ", "Load ", "Model ", "24 positions", "48 positions", "one head, products",
        "one head, contribution", "a part of it", "grid of all heads", "one head at 48 positions:",
        "change of layer at 24 positions:", "slices take 20 ms or less",
    )  # fmt: skip
    assert [text for text in wanted if text not in printed] == []


def test_what_is_timed_comes_in_its_order() -> None:
    """A part first, then the whole; nothing coarse where the answer comes at once."""
    answers = {"long": iter([None, "part", None]), "short": iter([None])}

    class Session:
        def answering(self, question: str):
            yield from answers[question]
            return "whole"

    both = maps.timed(Session(), ["long", "short"])
    assert 0 < both["coarse"] <= both["fine"]
    assert len(both["slices"]) == 4 + 2
    answers["short"] = iter([None])
    assert maps.timed(Session(), ["short"])["coarse"] is None
