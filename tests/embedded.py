"""Another model in the place of the one that comes with the program, so that a test may damage it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import resources


def embed(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the model into ``folder``, beside the program's prompts, and let that be resources/demo_model."""
    prompts, found_before = resources.path("demo_model/prompts.json"), resources.path
    shutil.copytree(model, folder)
    shutil.copy(prompts, folder)

    def path(name: str) -> Path:
        top, _, rest = name.partition("/")
        if top != "demo_model":
            return found_before(name)
        if not (folder / rest).exists():
            raise FileNotFoundError(f"The program's file resources/{name} is missing; install Fluoroscope again.")
        return folder / rest

    monkeypatch.setattr(resources, "path", path)
    return folder
