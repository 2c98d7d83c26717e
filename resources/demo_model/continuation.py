"""What the model writes by itself: functions that Python's own parser judges, and three unedited samples."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, replace

import engine
from engine.loading import Loaded

FUNCTIONS, LONGEST_FUNCTION = 40, 200  # continued functions, and new tokens of each
HEAD = re.compile(r"^def \w+\(.*\):$", re.MULTILINE)

# No prompt ends with a line break: the tokenizer joins it with the indentation that follows.
# prompt and number of new tokens; fixed before anything that the model wrote was read; 47 and 36 are held out
SAMPLES = (("There was once a king who", 120), ("def read_lines(path):", 120), ("47 + 36 =", 60))
SAMPLE_SEED = 1


@dataclass(frozen=True)
class Continuation:
    """A prompt and what was written behind it; ``ended`` where that ended with the end-of-text token."""

    prompt: str
    seed: int
    text: str
    ended: bool


def continued(loaded: Loaded, prompt: str, seed: int, new_tokens: int) -> Continuation:
    """Sample with the model's own settings and a seed. Raises ValueError for a model without settings."""
    if loaded.sampling is None:
        raise ValueError("The model's folder has no sampling settings.")
    session = engine.Session(loaded, replace(loaded.sampling, seed=seed), record=False)
    steps = list(session.generate(prompt, max_new_tokens=new_tokens))
    ended = steps[-1].finish == "end of sequence"
    return Continuation(prompt, seed, "".join(step.text for step in steps[: len(steps) - ended]), ended)


def samples(loaded: Loaded) -> list[dict[str, str | int]]:
    """The three samples of the card."""
    found = [(continued(loaded, prompt, SAMPLE_SEED, count), count) for prompt, count in SAMPLES]
    return [{"prompt": each.prompt, "seed": each.seed, "tokens": n, "text": each.text} for each, n in found]


def heads(documents: list[str]) -> list[str]:
    """First lines of top-level functions, ``FUNCTIONS`` of them evenly over the documents."""
    every = [head for text in documents for head in HEAD.findall(text)]
    if len(every) < FUNCTIONS:
        raise ValueError(f"{len(every)} functions were found; {FUNCTIONS} are needed.")
    return [every[index * len(every) // FUNCTIONS] for index in range(FUNCTIONS)]


def functions(loaded: Loaded, documents: list[str]) -> dict[str, float]:
    """How many continued functions came to their end, how many parse, and that as a share."""
    ended, parsed = 0, 0
    for seed, prompt in enumerate(heads(documents)):
        code, whole = judged(continued(loaded, prompt, seed, LONGEST_FUNCTION))
        ended, parsed = ended + whole, parsed + parses(code)
    return {"continued": FUNCTIONS, "ended": ended, "parsed": parsed, "share": round(parsed / FUNCTIONS, 4)}


def judged(found: Continuation) -> tuple[str, bool]:
    """The part of a continued function that must parse, and whether that is the whole function.

    A function ends before the first line that is neither empty nor indented, or with the end-of-text token. Where it
    came to no end, its last statement at the indentation of its body may be unfinished and is left out.
    """
    lines = (found.prompt + found.text).split("\n")
    end = next((n for n, line in enumerate(lines) if n and line and not line.startswith(" ")), None)
    if end is not None or found.ended:
        return "\n".join(lines[:end]), True
    body = next((_indentation(line) for line in lines[1:] if line.strip()), 0)
    starts = [n for n, line in enumerate(lines) if n and line.strip() and _indentation(line) == body]
    return "\n".join(lines[: starts[-1] if starts else 1]), False


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def parses(code: str) -> bool:
    """Whether Python's parser accepts a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in strings, which are accepted
        try:
            ast.parse(code)
        except (SyntaxError, ValueError):
            return False
    return True
