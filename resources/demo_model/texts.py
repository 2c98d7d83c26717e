"""Three kinds of text, so that experts find something to divide: fairy tales, Python, and two-digit arithmetic.

What is held out is decided by a hash of the thing itself, so every machine and every run agrees on it.
"""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOMAINS = ("tales", "python", "sums")
END = "<|endoftext|>"
LARGEST = 99  # operands of sums are 0 to this
SUMS_HELD_OUT, TEXTS_HELD_OUT = 10, 20  # one pair of operands in ten, one tale or file in twenty
LONGEST_FILE = 150_000  # bytes; longer modules are mostly tables
NOT_LIBRARY = {"test", "tests", "idlelib", "turtledemo", "site-packages", "dist-packages"}
SKIPPED = NOT_LIBRARY | {"lib2to3", "encodings", "pydoc_data"}  # grammars and tables


@dataclass(frozen=True)
class Texts:
    """Documents of one domain."""

    train: list[str]
    held_out: list[str]


def tales(path: Path) -> Texts:
    """The tales of a file in which ``<|endoftext|>`` stands between them."""
    stories = [story.strip() + "\n" for story in path.read_text(encoding="utf-8").split(END)]
    return _divided([(story, story) for story in stories if len(story) > 1])


def python(root: Path | None = None) -> Texts:
    """The standard library of the running Python, less its tests and tables."""
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    return _divided([(path.relative_to(root).as_posix(), text) for path, text in _sources(root)])


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.isdisjoint(path.relative_to(root).parts) and 200 < path.stat().st_size < LONGEST_FILE:
            text = path.read_text(encoding="utf-8", errors="replace").expandtabs()
            if text.isascii():
                yield path, text.strip() + "\n"


def _divided(named: list[tuple[str, str]]) -> Texts:
    return Texts(
        [text for name, text in named if not _held_out(name, TEXTS_HELD_OUT)],
        [text for name, text in named if _held_out(name, TEXTS_HELD_OUT)],
    )


def _held_out(name: str, one_in: int) -> bool:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % one_in == 0


def sum_held_out(a: int, b: int) -> bool:
    """Whether a pair is kept from training, in either order and for both signs."""
    return _held_out(f"{min(a, b)},{max(a, b)}", SUMS_HELD_OUT)


def sum_line(a: int, b: int, sign: str) -> str:
    """``12 + 30 = 42``. The larger number comes first in a subtraction."""
    if sign == "-":
        a, b = max(a, b), min(a, b)
    return f"{a} {sign} {b} = {a + b if sign == '+' else a - b}\n"


def sums(documents: int, seed: int, held_out: bool = False) -> list[str]:
    """Documents of 1 to 60 random sums, all from pairs that are held out, or none."""
    draw = random.Random(seed)
    return ["".join(_lines(draw, held_out, draw.randint(1, 60))) for _ in range(documents)]


def _lines(draw: random.Random, held_out: bool, count: int) -> Iterator[str]:
    while count:
        a, b = draw.randint(0, LARGEST), draw.randint(0, LARGEST)
        if sum_held_out(a, b) == held_out:
            count -= 1
            yield sum_line(a, b, draw.choice("+-"))
