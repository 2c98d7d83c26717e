"""``python -m tests.bench``: how fast the engine and its window are, beside transformers, in one run on one machine.

``python -m tests.bench.start`` measures how long the program takes to its first token.
``python -m tests.bench.record`` measures what recording costs, ``tests.bench.growth`` what a token costs the longer a
run is, ``tests.bench.user`` what a user who clicks around leaves behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from app.layout_names import ALL, NAMES
from tests.bench.job import TITLES
from tests.bench.measure import Plan, measure
from tests.bench.options import numbers, sides
from tests.bench.report import lines
from tests.real import real_gguf


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures where asked; 1 where the sides made different tokens."""
    given = _parser().parse_args(arguments)
    figures = measure(_plan(given), lambda text: print(text, file=sys.stderr, flush=True))
    report = list(lines(figures))
    print("\n".join(report))
    if given.json is not None:
        given.json.write_text(json.dumps(figures))
    return int(any("DIFFER" in line for line in report))


def _plan(given: argparse.Namespace) -> Plan:
    return Plan(
        model=str(given.model or real_gguf()),
        sides=given.only,
        threads=given.threads,
        prompt_tokens=given.prompt_tokens,
        tokens=given.tokens,
        rounds=given.rounds,
        bandwidth_mib=given.bandwidth_mib,
        at_once=given.at_once,
        layout=given.layout,
        spins=tuple(str(count) for count in given.spin),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--threads", type=numbers, default=(1, 2), help="for every side (default: 1,2)")
    parser.add_argument("--tokens", type=int, default=64, help="decode passes a round (default: %(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=512, help="of prefill (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each side (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder (default: SmolLM2-135M-Instruct Q4_1)")
    parser.add_argument("--only", type=sides(TITLES), default=tuple(TITLES), help=f"sides, of {','.join(TITLES)}")
    parser.add_argument("--spin", type=numbers, default=(), help="values of GOMP_SPINCOUNT to compare, e.g. 300,10000")
    parser.add_argument("--bandwidth-mib", type=int, default=512, help="memory to read (default: %(default)s)")
    said = "of side c: as the window first opens, or all panels at once (default: %(default)s)"
    parser.add_argument("--layout", choices=NAMES, default=ALL, help=said)
    parser.add_argument("--at-once", action="store_true", help="start all sides together; load times mean nothing then")
    parser.add_argument("--json", type=Path, help="write every figure of every round here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
