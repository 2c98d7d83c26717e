"""``python -m tests.bench.start``: how long the program takes from its start to the first token on screen.

Each round is a process of its own, started without arguments: Run is pressed as soon as the model is there, on the
prompt that lies ready. The goal is 4 s at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from tests.bench.job import START_MARKS
from tests.bench.machine import machine_facts
from tests.bench.process import ROOT, environment
from tests.bench.summary import spread

GOAL_S = 4.0
PATIENCE_S = 120.0

Round = dict[str, float]  # seconds from the start of the process, by mark


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="starts of the program (default: %(default)s)")
    given = parser.parse_args(arguments)
    print("\n".join(lines([start() for _ in range(given.rounds)], machine_facts())))
    return 0


def start() -> Round:
    """One start with settings, a cache and a session of its own."""
    with tempfile.TemporaryDirectory() as home:
        places = {
            "XDG_CONFIG_HOME": f"{home}/settings",
            "FLUOROSCOPE_CACHE": f"{home}/models",
            "FLUOROSCOPE_STATE": f"{home}/state",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.start_side", str(time.time())],
            cwd=ROOT,
            env=environment() | places | {"QT_QPA_PLATFORM": "offscreen"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    if done.returncode:
        raise SystemExit(f"The program ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def lines(rounds: Sequence[Round], machine: dict) -> Iterator[str]:
    """The report: when each mark was passed, and how long after the one before it."""
    loads = " ".join(f"{n:.2f}" for n in machine["load_average"])
    yield f"Machine    {machine['cpu']}, {machine['cores']} cores, {machine['system']}; load average after {loads}"
    yield f"Start      without arguments, {len(rounds)} rounds; median (least to most), seconds from process start"
    before = 0.0
    for mark, title in START_MARKS.items():
        middle, least, most = spread([figures[mark] for figures in rounds])
        yield f"{title:<40}{middle:>8.2f} ({least:.2f} to {most:.2f}){f'+{middle - before:.2f}':>10}"
        before = middle
    yield f"target <= {GOAL_S:.0f} s: {'reached' if before <= GOAL_S else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
