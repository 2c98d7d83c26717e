"""What the program is, what it is built from, and under which licences. No Qt here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata

import resources
from app.command_line import program_version
from app.report import PACKAGES

FONTS = ("Inter", "DejaVu")
_FIELDS = ("License-Expression", "License")


def about_text(tr: Callable[[str], str] = str) -> str:
    """Plain text: the program, the packages with their versions and licences, the fonts with theirs in full."""
    fonts = [resources.path(f"fonts/{name}-LICENSE.txt").read_text(encoding="utf-8").strip() for name in FONTS]
    licence = tr("Licence: {0}").format("Apache-2.0")
    parts = [
        "\n".join((f"Fluoroscope {program_version()}", tr("X-rays a language model while it runs."), licence)),
        "\n".join((tr("The built-in model was trained for Fluoroscope."), licence)),
        "\n".join((tr("Built from"), *(package_line(name, tr) for name in PACKAGES))),
        *(f"{tr('Font')}: {text}" for text in fonts),
    ]
    if getattr(sys, "frozen", False):
        parts.insert(3, tr("The licences of everything inside, in full, lie in the folder “licences” of the program."))
    return "\n\n".join(parts) + "\n"


def package_line(name: str, tr: Callable[[str], str] = str) -> str:
    """Its version, and its licence as its own metadata names it."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return f"{name}: {tr('is not installed')}"
    classified = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License")]
    named = next((told[field].strip().partition("\n")[0] for field in _FIELDS if field in told), "")
    licence = named or ", ".join(classified) or tr("licence not named")
    return f"{name} {told['Version']}: {licence}"
