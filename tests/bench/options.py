"""Kinds of command-line options that several benchmarks take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers between commas."""
    return tuple(int(part) for part in text.split(","))


def sides(titles: Mapping[str, str]) -> Callable[[str], tuple[str, ...]]:
    """Some of these sides, between commas."""

    def some(text: str) -> tuple[str, ...]:
        named = tuple(dict.fromkeys(text.split(",")))
        unknown = [side for side in named if side not in titles]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {','.join(titles)}")
        return named

    return some
