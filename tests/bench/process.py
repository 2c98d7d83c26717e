"""The parent's end of a measuring process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.bench.job import Job

ROOT = Path(__file__).parents[2]
THREAD_VARIABLES = ("OMP_", "GOMP_", "KMP_", "MKL_")


class Process:
    """Starts at once, in the interpreter ``python``. ``peak`` is the largest resident size so far, in bytes."""

    def __init__(self, job: Job, spin: str | None = None, python: str = sys.executable) -> None:
        self.job = job
        self.peak = 0
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [python, "-m", "tests.bench.child", replace(job, spawned=time.time()).to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(spin),
        )

    @cached_property
    def ready(self) -> dict[str, Any]:
        """What it said when it was ready; waits for that."""
        return self._answer()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Let it work and wait for the answer."""
        assert self.ready is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.peak = answer.pop("peak")
        return answer

    def close(self) -> None:
        """End it; it ends by itself when nothing can be asked any more."""
        with suppress(BrokenPipeError):  # it has ended already, and what was asked last waits in the pipe
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        last = "\n".join(self._errors.read().splitlines()[-20:])
        self.close()
        raise SystemExit(f"The process of side {self.job.side} ended with {self._process.returncode}:\n{last}")


def environment(spin: str | None = None) -> dict[str, str]:
    """The same for every side: no variable decides about threads but the program, or ``spin`` where it is compared."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(THREAD_VARIABLES)}
    if spin is not None:
        kept["GOMP_SPINCOUNT"] = spin
    return kept | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
