"""What must hold before anything is built; each complaint is one sentence with what to do."""

from __future__ import annotations

import platform
import runpy
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.startup import library_complaint, numbers, pair_complaint
from resources.packaging.contents import MIB, NAME, ROOT

LEAST_PYINSTALLER, NEXT_PYINSTALLER = (6, 22), (7,)
INSTALL = 'python -m pip install ".[build]"'
LEAST_MODEL = 4 * MIB  # a pointer to the real file, as some checkouts have it, is a few hundred bytes


def complaints(cuda: bool, root: Path = ROOT) -> Iterator[str]:
    """What forbids a build here, one sentence each."""
    try:
        yield from _of_versions(root)
        yield from _all(torch_complaint(torch_facts(), cuda))
    except PackageNotFoundError as error:
        yield f"The package {error.name} is not installed; install what a build needs: {INSTALL}."
    yield from _all(model_complaint(root / "resources" / "demo_model" / "model.safetensors"))
    if platform.system() == "Linux":  # PyInstaller leaves out what it does not find, and says so in passing only
        yield from _all(library_complaint({"QT_QPA_PLATFORM": "xcb"}))


def _of_versions(root: Path) -> Iterator[str]:
    yield from _all(pair_complaint(version("PySide6-Essentials"), version("pyqtgraph")))
    yield from _all(pyinstaller_complaint(version("pyinstaller")))
    yield from _all(own_complaint(version(NAME), project_version(root)))


def pyinstaller_complaint(found: str) -> str | None:
    if LEAST_PYINSTALLER <= numbers(found) < NEXT_PYINSTALLER:
        return None
    return f"PyInstaller {found} is not one that this build was tested with (6.22 or newer, before 7): {INSTALL}."


def own_complaint(installed: str, project: str) -> str | None:
    """The build would tell the version of what is installed."""
    if installed == project:
        return None
    return f"Fluoroscope {installed} is installed, but this tree is {project}; install the tree: {INSTALL}."


def torch_complaint(facts: Mapping[str, Any], cuda: bool) -> str | None:
    """A build for a graphics card is five times as large: it is made only where it was asked for."""
    card = next((name for name in ("cuda", "hip", "xpu") if facts.get(name)), None)
    if card is not None and not cuda:
        return (
            f"torch {facts['__version__']} is built for {card}, which makes a build of several gigabytes; install the "
            "CPU build of torch, or ask for the large one with --cuda."
        )
    if card is None and cuda:
        return f"torch {facts['__version__']} is a CPU build; install one for CUDA, or leave --cuda out."
    return None


def torch_facts() -> dict[str, Any]:
    """What torch/version.py says, without the second that importing torch takes. Raises PackageNotFoundError."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        raise PackageNotFoundError("torch")
    return runpy.run_path(str(Path(found.origin).with_name("version.py")))


def model_complaint(weights: Path, least: int = LEAST_MODEL) -> str | None:
    if weights.is_file() and weights.stat().st_size >= least:
        return None
    return f"The model that comes with the program is not whole: {weights} must hold at least {least // MIB} MiB."


def project_version(root: Path) -> str:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _all(sentence: str | None) -> list[str]:
    return [] if sentence is None else [sentence]
