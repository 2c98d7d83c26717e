"""Every sentence that the engine can say, as a form with places: "The folder {0} has no config.json."

Read from its source, and from the few modules of the window that write sentences without knowing a language, since
they work beside it. What an f-string puts in becomes a place; where it chooses between texts, each choice is a sentence
of its own, so that sentences are translated as a whole.

``python -m tests.app.engine_texts`` prints them with the file that has each first.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from app.engine_words import WORDS
from tests.app import silent_texts
from tests.app.word_list import literals

ROOT = Path(__file__).parents[2]
BESIDE = (  # modules of the window
    *("answering", "application", "backstage", "depth_texts", "downloads", "examples", "export", "glossary"),
    *("inventory_reader", "models_rows", "preferences", "recording", "saving", "session", "shelf_rows"),
    *("shelving", "slot", "term_rows", "worker"),
)
WORDS_OF_SENTENCES = ("queries", "keys", "This", "architecture", "head", "entry", "key", "position", "token")
BUILT = ("{0}: projections {1}, attention {2}, MLP {3}, unembedding {4}",)  # out of a table
_WAITS = (": next try in", "next try in", ": going on in", "asks to wait")  # so many seconds

_PLACE = "\0"  # until they are numbered
_FIELD = re.compile(r"\{\d*(?::[^}]*)?\}")  # of a text for ``format``
_PROSE = re.compile(r"[a-z]{2,}[,;:.]? [a-z(]|\0,? \(?[a-z]{2,}|[a-z]{2,}:? \0|^[A-Z][a-z]+\.$")
_NONE = re.compile(r"(?:(?:batch|pos|key|routed|1|\0·?|top_k|[dn]_\w+) ?)+|.* \(additive\)|.*\w=\".*")  # tables, XML

Known = Mapping[str, ast.expr]  # what the names of a function stand for


def engine_texts() -> dict[str, str]:
    """Form to the file that has it first."""
    found = dict.fromkeys((*WORDS_OF_SENTENCES, *BUILT), "tests/app/engine_texts.py")
    for path in (*sorted((ROOT / "engine").rglob("*.py")), *(ROOT / f"app/{name}.py" for name in BESIDE)):
        name, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        if name not in silent_texts.FILES:
            known = {*WORDS, *silent_texts.TEXTS, *literals(source), *found}
            told = (form for form in forms_of(source) if form.endswith(".") or name not in silent_texts.WHOLE)
            found |= {form: name for form in told if form not in known}
    return found


def forms_of(source: str) -> Iterator[str]:
    """The sentences of one module, those that are put into others as well."""
    tree = ast.parse(source)
    for body in tree.body:
        known = _known(body)
        for text in _texts(body, known, _taken(body, known)):
            if _PROSE.search(text) and not _NONE.fullmatch(text):
                yield numbered(f"{text} {_PLACE} s" if text.endswith(_WAITS) else text)


def _known(body: ast.AST) -> Known:
    """The names that are given one text, once."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(body):
        for target, value in _given(node):
            given.setdefault(target, []).append(value)
    return {name: values[0] for name, values in given.items() if len(values) == 1 and _has_text(values[0])}


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=True))
        yield from ((each.id, value) for each, value in pairs if isinstance(each, ast.Name))


def _has_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _has_text(node.body) or _has_text(node.orelse)
    return _is_text(node)


def _taken(body: ast.AST, known: Known) -> set[ast.AST]:
    """What nobody is told by itself: docstrings, annotations, complaints of ``assert``, parts of other sentences."""
    found: set[ast.AST] = set()
    uses, inside = Counter[str](), Counter[str]()
    for node in ast.walk(body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(node.value)
        elif isinstance(node, ast.Assert) and node.msg is not None:
            found.add(node.msg)
        elif isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
            inside[node.value.id] += 1
        elif isinstance(node, ast.BinOp) and _is_text(node):
            inside.update(side.id for side in (node.left, node.right) if isinstance(side, ast.Name))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            uses[node.id] += 1
        found.update(each for name in ("annotation", "returns") if (each := getattr(node, name, None)) is not None)
    return found | {value for name, value in known.items() if 0 < uses[name] == inside[name]}


def _texts(node: ast.AST, known: Known, taken: set[ast.AST]) -> Iterator[str]:
    """Those of a node and of what is in it; what is put together is one text."""
    if node in taken:
        return
    if not _is_text(node):
        for child in ast.iter_child_nodes(node):
            yield from _texts(child, known, taken)
        return
    yield from _choices(node, known)
    for inner in _put_in(node):
        yield from _texts(inner, known, taken)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _choices(node: ast.AST, known: Known) -> list[str]:
    """The texts that an expression can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [_FIELD.sub(_PLACE, node.value)]
    if isinstance(node, ast.JoinedStr):
        return _joined([_parts(part, known) for part in node.values])
    if isinstance(node, ast.BinOp) and _is_text(node):
        return _joined([_choices(node.left, known), _choices(node.right, known)])
    if isinstance(node, ast.IfExp) and _has_text(node):
        return [*_choices(node.body, known), *_choices(node.orelse, known)]
    if isinstance(node, ast.Name) and node.id in known:
        return _choices(known[node.id], {name: value for name, value in known.items() if name != node.id})
    return [_PLACE]


def _parts(node: ast.expr, known: Known) -> list[str]:
    """Of an f-string."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]  # braces in it are braces
    assert isinstance(node, ast.FormattedValue)
    return _choices(node.value, known) if node.conversion < 0 else [_PLACE]


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(chosen) for chosen in product(*parts)]


def _put_in(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in the places of a text, less what was made part of it."""
    for child in ast.iter_child_nodes(node):
        if _is_text(child):
            yield from () if isinstance(child, ast.Constant) else _put_in(child)
        elif isinstance(child, ast.FormattedValue):
            yield from _put_in(child) if _has_text(child.value) else (child.value,)
        elif isinstance(child, ast.IfExp) and _has_text(child):
            yield child.test
        elif not isinstance(child, (ast.Constant, ast.operator)):
            yield child


def numbered(text: str) -> str:
    """With "{0}", "{1}" for its places; two that nothing parts are one."""
    first, *others = re.split(f"{_PLACE}+", text.replace("{", "{{").replace("}", "}}"))
    return first + "".join(f"{{{number}}}{piece}" for number, piece in enumerate(others))


if __name__ == "__main__":
    for form, where in engine_texts().items():
        print(f"{where}: {form!r}")
