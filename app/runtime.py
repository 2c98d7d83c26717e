"""What must be set before torch is imported, so that the engine and the window share the processor well."""

from __future__ import annotations

import os
import sys

# Rounds an idle OpenMP thread spins before it sleeps: the default burns a whole core that the window paints with.
SPIN_ROUNDS = 10_000
SWITCH_INTERVAL_S = 0.0005  # how long a thread may hold the interpreter: the default 5 ms makes the window stutter


def prepare(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Set OpenMP's spinning, unless the user set any OpenMP variable, and the interpreter's switch interval."""
    if not any(name.startswith(("OMP_", "GOMP_", "KMP_")) for name in environment):
        environment["GOMP_SPINCOUNT"] = str(SPIN_ROUNDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def default_threads() -> int:
    """One processor is left to the window."""
    return max(1, len(_processors()) - 1)


def _processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
