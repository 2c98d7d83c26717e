"""A measuring process: makes one side ready, then does what the parent asks, one JSON line for each line."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from engine import threads
from tests.bench import resident
from tests.bench.job import job_from_json

SIDES = {
    "prompt": "tests.bench.prompt:PromptSide",
    "bandwidth": "tests.bench.bandwidth:BandwidthSide",
    "a": "tests.bench.engine_side:EngineSide",
    "r": "tests.bench.engine_side:EngineSide",
    "b": "tests.bench.engine_side:EngineSide",
    "c": "tests.bench.window_side:WindowSide",
    "d": "tests.bench.transformers_side:TransformersSide",
    "e": "tests.bench.transformers_side:TransformersSide",
    "f": "tests.bench.lens_side:LensSide",
    "growth": "tests.bench.growth_side:GrowthSide",
    "growth window": "tests.bench.growth_window:GrowthWindow",
    "user": "tests.bench.user_side:UserSide",
}


def main() -> None:
    """Answers go to the original stdout; whatever else is printed goes to stderr.

    With every answer comes ``peak``, the largest resident size of the process so far, and ``grown``: how much more
    than with the loaded model alone was resident at most while it was made.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = job_from_json(sys.argv[1])
    threads.prepare()
    module, name = SIDES[job.side].split(":")
    side = getattr(importlib.import_module(module), name)(job)
    _say(answers, side.ready() | {"since_start": time.time() - job.spawned})
    most, loaded = resident.peak(), resident.now()
    for line in sys.stdin:
        command = json.loads(line)
        resident.forget()
        answer = getattr(side, command.pop("do"))(**command)
        largest = resident.peak()
        most = max(most, largest)
        _say(answers, answer | {"grown": largest - loaded, "peak": most})
    side.close()


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
