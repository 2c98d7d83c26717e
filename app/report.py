"""What somebody who is to mend a fault must know: versions, device, model, settings, the end of the log. No Qt here."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from app.command_line import program_version
from app.run import Run
from app.widgets.amounts import bytes_text
from engine.frames import ModelFrame
from engine.settings import Sampling

PACKAGES = ("PySide6-Essentials", "pyqtgraph", "torch", "numpy", "tokenizers", "safetensors", "gguf", "huggingface_hub")
LINES_OF_LOG = 120


def report(
    run: Run, sampling: Sampling, settings: Mapping[str, str], log: str, prompt: str = "", private: bool = False
) -> str:
    """``settings``: of the window, by name. ``private``: with the prompt and the tokens."""
    parts = [
        ("Fluoroscope", versions()),
        ("Computer", computer()),
        ("Model", model_lines(run.model)),
        ("Run", [*run_lines(run), *(_private_lines(run, prompt) if private else ())]),
        ("Settings", [*(f"{name}: {text}" for name, text in settings.items()), f"sampling: {asdict(sampling)}"]),
        ("Log", log.splitlines()[-LINES_OF_LOG:] or ["empty"]),
    ]
    return without_home("\n\n".join("\n".join((f"== {name}", *lines)) for name, lines in parts)) + "\n"


def versions() -> list[str]:
    """Of the program and of what it is built from, without importing any of it."""
    packed = ", packed" if getattr(sys, "frozen", False) else ""
    python = f"Python {platform.python_version()}{packed}"
    return [f"Fluoroscope {program_version()}", python, *(f"{name} {_version(name)}" for name in PACKAGES)]


def computer() -> list[str]:
    memory = psutil.virtual_memory()
    return [
        platform.platform(),
        f"{os.cpu_count()} processors ({platform.machine()})",
        f"{bytes_text(memory.total)} of memory, {bytes_text(memory.available)} free",
    ]


def model_lines(model: ModelFrame | None) -> list[str]:
    if model is None:
        return ["none"]
    return [
        f"{model.name} ({model.family})",
        f"{model.parameters:,} parameters, {model.n_layers} layers, d_model {model.d_model}",
        f"stored as {model.stored_as}, computes in {model.dtype} on {model.device}",
        *(f"warning: {warning}" for warning in model.warnings),
    ]


def run_lines(run: Run) -> list[str]:
    """Counts alone."""
    where, ended = run.where, "" if run.ended is None else f", ended: {run.ended.reason}"
    edited = sum(step.edited for step in run.steps)
    return [
        f"{run.n_prompt} prompt tokens, {len(run.steps)} generated{ended}",
        f"the pass: {where.state}, step {where.step}, {where.kind}, layer {where.layer}, stage {where.stage or '-'}",
        f"record: {asdict(run.record)}",
        f"branches: {1 if run.tree is None else len(run.tree.branches)}, edited steps: {edited}",
    ]


def _private_lines(run: Run, prompt: str) -> Iterable[str]:
    return [f"prompt field: {prompt!r}", f"tokens: {[piece.text for piece in run.pieces]}"]


def without_home(text: str) -> str:
    """The name of the user is nobody else's business."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
