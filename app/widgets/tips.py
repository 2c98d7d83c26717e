"""Tool tips of texts that may hold anything: a token ``<s>``, a name from a file."""

from __future__ import annotations

from html import escape

from PySide6.QtGui import Qt  # this part of it is there


def plain_tip(text: str) -> str:
    """What shows just this text in a tool tip: Qt guesses what one is written in, and a tag would vanish."""
    return f"<p style='white-space: pre-wrap'>{escape(text)}</p>" if Qt.mightBeRichText(text) else text
