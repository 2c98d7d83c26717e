"""What the program is, what it is built from, and under which licences. No Qt here."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, metadata

import resources
from app.command_line import program_version
from app.report import PACKAGES

FONTS = ("Inter", "DejaVu")
_FIELDS = ("License-Expression", "License")


def about_text() -> str:
    """Plain text: the program, the packages with their versions and licences, the fonts with theirs in full."""
    fonts = [resources.path(f"fonts/{name}-LICENSE.txt").read_text(encoding="utf-8").strip() for name in FONTS]
    parts = [
        f"Fluoroscope {program_version()}\nX-rays a language model while it runs.\nLicence: Apache-2.0",
        "The built-in model was trained for Fluoroscope.\nLicence: Apache-2.0",
        "\n".join(("Built from", *map(package_line, PACKAGES))),
        *(f"Font: {text}" for text in fonts),
    ]
    if getattr(sys, "frozen", False):
        parts.insert(3, "The licences of everything inside, in full, lie in the folder “licences” of the program.")
    return "\n\n".join(parts) + "\n"


def package_line(name: str) -> str:
    """Its version, and its licence as its own metadata names it."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return f"{name}: is not installed"
    classified = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License")]
    named = next((told[field].strip().partition("\n")[0] for field in _FIELDS if field in told), "")
    licence = named or ", ".join(classified) or "licence not named"
    return f"{name} {told['Version']}: {licence}"
