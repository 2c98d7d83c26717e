"""What is checked before Qt is imported, so that the user reads one sentence instead of a crash."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app import system_libraries

Version = tuple[int, ...]

# (least, most) inclusive versions of PySide6 that must not be used, and what goes wrong with them.
BAD_QT: tuple[tuple[Version, Version, str], ...] = (
    ((0,), (6, 7, 999), "is too old"),
    ((6, 8, 0), (6, 8, 0), "crashes when it is imported"),
    ((6, 9, 1), (6, 9, 2), "crashes with pyqtgraph"),
    ((6, 10, 1), (6, 10, 1), "crashes when signals are connected"),
    ((6, 11, 0), (6, 11, 999), "cannot dock panels again and cannot write SVG"),
)
BAD_QT_BEFORE_PYTHON_312: tuple[Version, Version, str] = ((6, 12, 0), (6, 12, 0), "crashes with Python before 3.12")
LEAST_PYQTGRAPH: Version = (0, 14, 0)
REMEDY = 'Install the tested pair: python -m pip install "PySide6-Essentials==6.10.3" "pyqtgraph==0.14.0".'


def pair_complaint(qt: str, pyqtgraph: str, python: Version = sys.version_info[:2]) -> str | None:
    """The sentence about a pair of versions that does not work, or None."""
    bad = BAD_QT if python >= (3, 12) else (*BAD_QT, BAD_QT_BEFORE_PYTHON_312)
    for least, most, reason in bad:
        if least <= numbers(qt) <= most:
            return f"PySide6 {qt} {reason}. {REMEDY}"
    if numbers(pyqtgraph) < LEAST_PYQTGRAPH:
        return f"pyqtgraph {pyqtgraph} is too old for this PySide6. {REMEDY}"
    return None


def installed_complaint() -> str | None:
    """The same for what is installed, or was packed into this build."""
    try:
        return pair_complaint(version("PySide6-Essentials"), version("pyqtgraph"))
    except PackageNotFoundError as error:
        return f"The package {error.name} is not installed. {REMEDY}"


def display_complaint(environment: Mapping[str, str] = os.environ, system: str = platform.system()) -> str | None:
    """The sentence for a Linux session without a display, where Qt would abort; None where a window can open."""
    if system != "Linux" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
        return None
    return (
        "There is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); "
        "start it in a desktop session, or write a picture with --screenshot FILE.png."
    )


def library_complaint(
    environment: Mapping[str, str] = os.environ,
    system: str = platform.system(),
    found: Callable[[str], bool] = system_libraries.loads,
) -> str | None:
    """The sentence about libraries of the system that Qt needs and that are missing; None where none is (or no Linux).

    With a platform without windows (offscreen), only what Qt itself asks for.
    """
    if system != "Linux":
        return None
    absent = system_libraries.missing(system_libraries.needed(environment), found)
    return system_libraries.sentence(absent, system_libraries.system_release()) if absent else None


def give_streams() -> None:
    """A build without a console has no stdout and stderr: what is said there is then kept in a file."""
    if sys.stdout is not None and sys.stderr is not None:
        return
    try:
        kept = open(Path(tempfile.gettempdir(), "fluoroscope.log"), "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    except OSError:
        kept = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdout, sys.stderr = sys.stdout or kept, sys.stderr or kept


def numbers(text: str) -> Version:
    """ "6.10.3" as (6, 10, 3); letters are passed over."""
    digits = ("".join(c for c in part if c.isdigit()) for part in text.split(".")[:3])
    return tuple(int(part) for part in digits if part)
