"""A measuring process: makes one side ready, then does what the parent asks, one JSON line for each line."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

from engine import threads
from tests.bench.job import job_from_json

SIDES = {
    "prompt": "tests.bench.prompt:PromptSide",
    "bandwidth": "tests.bench.bandwidth:BandwidthSide",
    "a": "tests.bench.engine_side:EngineSide",
    "b": "tests.bench.engine_side:EngineSide",
    "c": "tests.bench.window_side:WindowSide",
    "d": "tests.bench.transformers_side:TransformersSide",
    "e": "tests.bench.transformers_side:TransformersSide",
}


def peak_bytes() -> int:
    """The largest resident size this process has had."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def main() -> None:
    """Answers go to the original stdout; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = job_from_json(sys.argv[1])
    threads.prepare()
    module, name = SIDES[job.side].split(":")
    side = getattr(importlib.import_module(module), name)(job)
    _say(answers, side.ready() | {"since_start": time.time() - job.spawned})
    for line in sys.stdin:
        command = json.loads(line)
        _say(answers, getattr(side, command.pop("do"))(**command) | {"peak": peak_bytes()})
    side.close()


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
