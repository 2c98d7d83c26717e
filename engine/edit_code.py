"""Edits as Python against ``engine``: a script that makes the same interventions in a run of its own. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any

from engine.edits import Edit
from engine.settings import Sampling

_WIDTH = 100  # of a line
_SCRIPT = '''\
"""{title}"""

import engine

edits = [
{edits}
]

loaded = engine.load({source})
session = engine.Session(loaded, {sampling})
session.set_edits(edits)
for step in session.generate({prompt}, max_new_tokens={tokens}):
    print(step.text, end="", flush=True)
print()
'''


def as_python(
    edits: Sequence[Edit],
    source: str,
    prompt: str | Sequence[int] = "Once upon a time",
    sampling: Sampling | None = None,
    max_new_tokens: int = 20,
) -> str:
    """A script that loads ``source`` and runs the prompt (text, or token ids) with these edits.

    With the prompt and the settings of a run it gives that run's tokens and logits, bit for bit, if the edits were in
    force from its first pass on. Those that are off are in it too, and off.
    """
    return _SCRIPT.format(
        title=f"{len(edits)} edit{'' if len(edits) == 1 else 's'} of a forward pass, written by Fluoroscope.",
        edits="\n".join(line for edit in edits for line in _lines(edit)),
        source=repr(source or "path or name of the model"),
        sampling=_settings(sampling),
        prompt=repr(prompt if isinstance(prompt, str) else list(prompt)),
        tokens=max_new_tokens,
    )


def _lines(edit: Edit) -> Iterator[str]:
    """One line if it is short enough, else one for each argument."""
    arguments = list(_arguments(edit))
    short = f"    engine.Edit({', '.join(arguments)}),"
    if len(short) <= _WIDTH:
        yield short
        return
    yield "    engine.Edit("
    yield from (f"        {argument}," for argument in arguments)
    yield "    ),"


def _settings(sampling: Sampling | None) -> str:
    return f"engine.Sampling({', '.join(_arguments(sampling or Sampling(greedy=True)))})"


def _arguments(value: Any) -> Iterator[str]:
    """What differs from the defaults; what has none by its place."""
    for field in fields(value):
        given = getattr(value, field.name)
        if field.default is MISSING:
            yield repr(given)
        elif given != field.default:
            yield f"{field.name}={_literal(given)}"


def _literal(value: Any) -> str:
    """As Python reads it."""
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)
