"""Tool tips of texts that may hold anything: a token ``<s>``, a name from a file."""

from __future__ import annotations

from html import escape

from PySide6.QtGui import Qt  # this part of it is there


def plain_tip(text: str) -> str:
    """What shows just this text in a tool tip: Qt guesses what one is written in, and a tag would vanish."""
    return wrapped_tip(text) if Qt.mightBeRichText(text) else text


def wrapped_tip(text: str) -> str:
    """Likewise, of a text that may be long: Qt breaks lines only where it takes a tip for HTML."""
    return f"<p style='white-space: pre-wrap'>{escape(text)}</p>"
