"""The benchmark works: every side runs on a tiny model, every line is printed. No test looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.process import ROOT
from tests.bench.summary import TARGETS, percentile, ratio

SIZES = [
    "--threads",
    "1",
    "--tokens",
    "6",
    "--prompt-tokens",
    "24",
    "--rounds",
    "1",
    "--bandwidth-mib",
    "16",
    "--at-once",
]


def test_every_side_runs_and_every_line_is_printed(tiny_gguf: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", *SIZES, "--model", str(tiny_gguf), "--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not missing(done.stdout)
    _check(json.loads(figures.read_text()))


def missing(printed: str) -> list[str]:
    """What the report lacks."""
    wanted = [
        "Machine ", "Libraries ", "Load ", "load time", "peak memory", "prefill tokens/s", "decode tokens/s",
        *(f"\n{side}  " for side in "abcde"), *(f"\n{name}   decode" for name in ("a/d", "b/a", "c/a", "b/e")),
        f"target >= {TARGETS[1]['a/d']:.2f}", "memory is read at", "a    decode reaches", "ticks of the window",
        "window shown", "first token", "greedy tokens of a, b, c, d, e: equal in every round (7 tokens)",
    ]  # fmt: skip
    return [text for text in wanted if text not in printed]


def _check(figures: dict) -> None:
    runs = figures["runs"]["1"]
    assert len({tuple(runs[side][0]["tokens"]) for side in "abcde"}) == 1
    assert all(len(runs[side][0]["passes"]) == 6 for side in "abcde")
    assert runs["b"][0]["answered"] == 7 * 6
    assert runs["c"][0]["answered"] > 0
    assert all(figures["peak"][side] > 100 * 2**20 for side in "abcde")


def test_a_ratio_is_taken_within_each_round() -> None:
    over = [{"decode": 20.0}, {"decode": 10.0}, {"decode": 6.0}]
    under = [{"decode": 10.0}, {"decode": 4.0}, {"decode": 6.0}]
    assert ratio(over, under, "decode") == (2.0, 1.0, 2.5)


def test_percentile() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 100.0
    assert percentile(values, 0.5) == 51.0
    assert percentile([3.0], 0.99) == 3.0
