"""A user clicks around in the window during a run: nothing is left behind, and memory grows by the run alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resources
from tests.bench import user

MOST_MORE = 60e6  # bytes: pictures and fonts of what is seen for the first time count too
MOST_WIDGETS = 20  # a list of choices, say, that is opened for the first time
SMALL = ["--tokens", "300", "--prompt-tokens", "40", "--every", "30"]
LEFT = ("threads", "timers", "windows", "widgets")


def test_a_run_with_a_user_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, model = tmp_path / "figures.json", resources.path("demo_model")
    assert user.main([*SMALL, "--model", str(model), "--json", str(kept)]) == 0
    figures = json.loads(kept.read_text())
    run, left, rest = figures["run"], figures["left"], user.rows(figures["run"]["samples"])["all else"]
    assert left["closed in time"]
    assert {what: left[what] for what in LEFT} == {what: [] for what in LEFT}
    assert run["tokens"] == 260
    assert len(run["acts"]) > 5
    assert run["after"]["timers"] == run["before"]["timers"]
    assert run["after"]["threads"] == run["before"]["threads"] == ["fluoroscope engine"]
    assert len(run["after"]["widgets"]) <= len(run["before"]["widgets"]) + MOST_WIDGETS
    assert rest[-1] - rest[0] < MOST_MORE
    printed = capsys.readouterr().out
    wanted = (
        "Machine ",
        "The user   ",
        "tokens/s",
        "the record of the stream",
        "beyond the run's own",
        "all else grew by",
        "0   reach 0: met",
    )
    assert [text for text in wanted if text not in printed] == []


def test_what_grows_beyond_the_run_is_a_line_through_the_rest() -> None:
    samples = [
        {"positions": n, "resident": 10_000_000 + 700 * n, "record": 400 * n, "cache": 200 * n, "steps": 50 * n}
        for n in range(0, 320, 32)
    ]
    assert user.beyond({"run": {"samples": samples}}) == pytest.approx(50)
