"""What the program's own layouts are called, and what older versions called them; needs no Qt."""

from __future__ import annotations

EXPLORE, TEACH, DEBUG, ALL = NAMES = ("explore", "teach", "debug", "all")
_OLDER = {"focus": EXPLORE, "grid": ALL}


def present_name(name: str) -> str:
    """The name of today; one that was never another comes back as it is."""
    return _OLDER.get(name, name)
