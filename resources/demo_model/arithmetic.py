"""How many additions and subtractions with two-digit numbers are right, of pairs that training never saw."""

from __future__ import annotations

import torch

import engine
from engine.loading import Loaded
from engine.tokenizer import Tokenizer
from resources.demo_model.texts import LARGEST, sum_held_out, sum_line

SIGNS = ("+", "-")
ROWS = 256  # questions read at once
CONFIRMED = 20  # questions of a sign that a session answers too
LONGEST_ANSWER = 8  # tokens; a right one has 5 at most


def questions(sign: str) -> list[tuple[str, str]]:
    """Every held-out question with its answer, ``("12 + 30 =", " 42\\n")``; operands are 10 to 99.

    Additions in both orders; in subtractions the larger number comes first.
    """
    operands = range(10, LARGEST + 1)
    pairs = ((a, b) for a in operands for b in operands if (sign == "+" or a >= b) and sum_held_out(a, b))
    return [asked(sum_line(a, b, sign)) for a, b in pairs]


def asked(line: str) -> tuple[str, str]:
    """A line cut behind its equals sign."""
    cut = line.index("=") + 1
    return line[:cut], line[cut:]


def right(loaded: Loaded, chosen: list[tuple[str, str]]) -> list[bool]:
    """Whether greedy decoding of each question, up to the end of the line, gives exactly its answer.

    The answer is given along: it is decoded greedily if and only if each of its tokens is the most probable one
    behind the right ones before it.
    """
    return [found for start in range(0, len(chosen), ROWS) for found in _right(loaded, chosen[start : start + ROWS])]


def _right(loaded: Loaded, chosen: list[tuple[str, str]]) -> list[bool]:
    encode = _tokenizer(loaded).encode
    prompts = [encode(question) for question, _ in chosen]
    whole = [encode(question + answer) for question, answer in chosen]
    longest = max(map(len, whole))
    ids = torch.tensor([line + line[-1:] * (longest - len(line)) for line in whole])  # nothing looks ahead
    guessed = loaded.model(ids).argmax(-1)
    return [
        line[: len(prompt)] == prompt and guess[len(prompt) - 1 : len(line) - 1].tolist() == line[len(prompt) :]
        for prompt, line, guess in zip(prompts, whole, guessed, strict=True)
    ]


def answered(loaded: Loaded, question: str) -> str:
    """What a session decodes greedily behind a question, up to the end of the line."""
    session, text = engine.Session(loaded, engine.Sampling(greedy=True), record=False), ""
    for step in session.generate(question, max_new_tokens=LONGEST_ANSWER):
        text += step.text
        if text.endswith("\n"):
            break
    return text


def accuracy(loaded: Loaded, sign: str) -> dict[str, float]:
    """How many questions there are and how many are right. Raises ValueError where a session answers differently."""
    chosen = questions(sign)
    found = right(loaded, chosen)
    for index in range(0, len(chosen), len(chosen) // CONFIRMED):
        question, answer = chosen[index]
        if (answered(loaded, question) == answer) is not found[index]:
            raise ValueError(f"A session answers {question!r} differently from the batched pass.")
    return {"asked": len(chosen), "right": sum(found), "share": round(sum(found) / len(found), 4)}


def _tokenizer(loaded: Loaded) -> Tokenizer:
    if loaded.tokenizer is None:
        raise ValueError("The model's folder has no tokenizer.")
    return loaded.tokenizer
