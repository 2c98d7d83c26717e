"""A language that nobody speaks, to find texts that are not translated and those for which there is no room.

Every text is in brackets, its letters are accented and it is two fifths longer, as German or Finnish would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QCoreApplication, QTranslator

from app.engine_words import know
from tests.app.engine_texts import engine_texts

ACCENTS = str.maketrans("aceinostuzACEINOSTUZ", "áçéîñöšťüžÁÇÉÎÑÖŠŤÜŽ")
FIRST, LAST = "⟦", "⟧"
_KEPT = re.compile(r"(\{[^}]*\}|%\w|<[^>]*>)")  # places for figures, tags


class Pseudo(QTranslator):
    def translate(self, context: str, source: str, disambiguation: str | None = None, n: int = -1) -> str | None:
        return pseudo(source) if any(map(str.isalpha, source)) else None

    def isEmpty(self) -> bool:  # noqa: N802
        return False


def pseudo(text: str) -> str:
    """ "Run to &here" as "⟦Rüñ ťö &héřé ~~~~⟧"."""
    kept = "".join(part if i % 2 else part.translate(ACCENTS) for i, part in enumerate(_KEPT.split(text)))
    return f"{FIRST}{kept}{'~' * (2 * len(text) // 5)}{LAST}"


@contextmanager
def spoken() -> Iterator[None]:
    """Every text that is made meanwhile."""
    translator = Pseudo()
    QCoreApplication.installTranslator(translator)
    know(engine_texts())
    try:
        yield
    finally:
        know(())
        QCoreApplication.removeTranslator(translator)
