"""Entries of the glossary as rich text: our own words, escaped, with links to other entries ("term:…") and panels
("panel:…")."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from PySide6.QtCore import QCoreApplication

from app.glossary import Glossary, Term, term_of
from app.theme import MONO, Theme

TERM, PANEL = "term:", "panel:"


def told(text: str) -> str:
    """A text of the data files in the user's language."""
    return QCoreApplication.translate("explanations", text)


def link(address: str, words: str, theme: Theme, *, quiet: bool = False) -> str:
    """``quiet``: inside a sentence, where a colour of its own would hide the sentence."""
    colour = theme.text if quiet else theme.accent
    return f'<a href="{escape(address)}" style="color: {colour}">{escape(words)}</a>'


def marked(text: str, glossary: Glossary | None, theme: Theme, but: str = "") -> str:
    """A text in which every other term of the glossary is a link, once."""
    if glossary is None:
        return escape(text)
    pieces = glossary.marked(text, but)
    return "".join(link(TERM + key, piece, theme, quiet=True) if key else escape(piece) for piece, key in pieces)


def code_html(text: str) -> str:
    """Statements as they stand, in the font of fixed width."""
    return f'<pre style="font-family: {MONO}; white-space: pre-wrap; margin: 0">{escape(text)}</pre>'


def tip_html(text: str, *, code: bool = False) -> str:
    """A tool tip that wraps a long sentence, and never takes a sign of a formula for a tag."""
    if code:
        return code_html(text)
    return "".join(f"<p style='margin: 0'>{escape(line)}</p>" for line in text.splitlines())


def term_tip(address: str) -> str:
    """The short text of the entry that a link leads to; "" of any other address, which hides a tool tip."""
    term = term_of(address.removeprefix(TERM)) if address.startswith(TERM) else None
    if term is None:
        return ""
    return f"<p style='margin: 0'><b>{escape(told(term.name))}</b></p>{tip_html(told(term.story))}"


def term_html(term: Term, glossary: Glossary, theme: Theme, panels: Mapping[str, str]) -> str:
    """An entry in full; ``panels``: titles by key."""
    translate = QCoreApplication.translate
    seen = [
        f"{link(PANEL + key, panels[key], theme)}: {marked(told(words), glossary, theme, term.key)}"
        for key, words in term.seen.items()
        if key in panels
    ]
    near = [link(TERM + key, told(glossary.terms[key].short_name), theme) for key in term.see]
    sections = (
        (translate("glossary", "Exactly"), marked(told(term.definition), glossary, theme, term.key)),
        (translate("glossary", "Formula"), code_html(told(term.formula)) if term.formula else ""),
        (translate("glossary", "Often told wrong"), marked(told(term.mistake), glossary, theme, term.key)),
        (translate("glossary", "Seen in"), "<br>".join(seen)),
        (translate("glossary", "See also"), " · ".join(near)),
        (translate("glossary", "From"), "<br>".join(escape(source) for source in term.sources)),
    )
    story = f"<p>{marked(told(term.story), glossary, theme, term.key)}</p>"
    return f"<h2>{escape(told(term.name))}</h2>{story}" + "".join(
        f'<p style="color: {theme.faint}; margin-bottom: 0">{escape(title)}</p><div>{body}</div>'
        for title, body in sections
        if body
    )
