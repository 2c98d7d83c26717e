"""What importing the engine costs and brings along, and its threads' settings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import engine
from engine import threads

LIGHT = ["engine", "engine.config", "engine.errors", "engine.families.llama", "engine.frames", "engine.questions"]
LIGHT += ["engine.settings", "engine.threads", "engine.checkpoint.catalog"]


def _run(code: str, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**kept, **environment}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _brought(modules: str) -> set[str]:
    """Top-level packages that importing these brings in."""
    code = f"import sys, {modules}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(_run(code).split())


@pytest.mark.parametrize("modules", ["engine", ", ".join(LIGHT)])
def test_the_light_part_brings_no_torch_and_no_qt(modules: str) -> None:
    brought = _brought(modules)
    assert "engine" in brought
    assert not brought & {"torch", "transformers", "PySide6", "shiboken6", "pyqtgraph", "app"}


def test_the_whole_engine_brings_no_qt_and_no_window() -> None:
    code = (
        "import sys, pkgutil, importlib, engine\n"
        "for found in pkgutil.walk_packages(engine.__path__, 'engine.'): importlib.import_module(found.name)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    brought = set(_run(code).split())
    assert "torch" in brought
    assert not brought & {"PySide6", "shiboken6", "pyqtgraph", "app", "transformers"}


def test_every_promised_name_is_there() -> None:
    for name in engine.__all__:
        assert getattr(engine, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = engine.nothing_of_the_kind


PREPARE = "import os; from engine import threads; threads.prepare(); print(os.environ.get('GOMP_SPINCOUNT'))"


def test_how_threads_wait_is_set_unless_the_user_did() -> None:
    assert _run(PREPARE) == threads.GOMP_SPINCOUNT
    assert _run(PREPARE, OMP_NUM_THREADS="1") == "None"
    assert _run(PREPARE, GOMP_SPINCOUNT="7") == "7"


def test_a_thread_count_is_at_least_one() -> None:
    before = torch.get_num_threads()
    try:
        threads.set_threads(0)
        assert torch.get_num_threads() == 1
        threads.set_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads.default_threads() >= 1
