"""Every text of the program that goes through ``tr``, and what a language lacks of them.

``python -m tests.app.word_list zh_CN`` prints the texts that its table lacks, as JSON, and those that it has in vain.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from app.examples import FILE, read_examples
from engine.checkpoint.catalog import catalog

ROOT = Path(__file__).parents[2]
_WORDS = re.compile(r"[a-z]{2,}(?:,? |/)[a-z]{2,}|numbers|strength")  # a formula in words
CALLS = ("tr", "translate", "told")

# texts that stand in tables: module and name
TABLES = (
    *("app.commands:COMMANDS", "app.keys:OWN_TEXTS", "app.axis_words:AXES", "app.inventory_text:NOTES"),
    *("app.widgets.model_table:TITLES", "app.widgets.model_table:VERDICTS", "app.widgets.model_table:HEADS"),
    *("app.engine_words:WORDS", "app.engine_words:STAGES", "app.palette:PANEL_WORDS"),
)


def explanations() -> dict[str, str]:
    """The texts of the data files that ``told`` translates, to the file that has them first."""
    found: dict[str, str] = {}
    for path in (ROOT / "resources/glossary/terms.json", *sorted((ROOT / "resources/depths").glob("*.json"))):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            texts = [entry.get(name) for name in ("name", "story", "definition", "mistake")]
            formula = entry.get("formula", "")
            for text in (*texts, *entry.get("seen", {}).values(), formula if _WORDS.search(formula) else ""):
                if text:
                    found.setdefault(text, path.name)
    found |= {entry.about: "catalog" for entry in catalog() if entry.about}
    return found | {example.name: FILE for example in read_examples()}


def all_texts() -> dict[str, str]:
    """English text to the file that has it first."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        for text in literals(path.read_text(encoding="utf-8")):
            found.setdefault(text, str(path.relative_to(ROOT)))
    for table in TABLES:
        for text in strings_of(table):
            found.setdefault(text, table)
    return {text: where for text, where in found.items() if any(map(str.isalpha, text))}


def literals(source: str) -> Iterator[str]:
    """The texts of ``tr("…")``, ``translate("context", "…")`` and of conditions between two of them."""
    for call in calls(source):
        yield from _texts(call.args[-1])


def unread(source: str) -> Iterator[str]:
    """Calls whose text is not written there: it must come from a table."""
    for call in calls(source):
        if not list(_texts(call.args[-1])):
            yield ast.unparse(call)


def calls(source: str) -> Iterator[ast.Call]:
    """Those that translate: the last argument is the text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and called(node) in CALLS and not _moves(node):
            yield node


def _moves(call: ast.Call) -> bool:
    """Whether it is a painter's or a box's ``translate``: nobody else's is a method of a variable."""
    return called(call) == "translate" and ast.unparse(call.func) not in (
        "translate",
        "tr",
        "QCoreApplication.translate",
    )


def called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def strings_of(table: str) -> Iterator[str]:
    """All texts in a table, whatever it is made of."""
    module, name = table.split(":")
    yield from _flat(getattr(import_module(module), name))


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _flat(each)
    elif type(value).__name__ == "Command":
        yield from filter(None, (value.menu, value.text, value.help, value.short, value.needs, value.also))


def main(language: str) -> None:
    from app.languages import read
    from tests.app.engine_texts import engine_texts

    texts, table = {**all_texts(), **explanations(), **engine_texts()}, read(language)
    print(json.dumps([text for text in texts if text not in table], ensure_ascii=False, indent=0))
    for text in table:
        if text not in texts:
            print("in vain:", text, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
