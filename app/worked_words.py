"""A figure worked out, in words: one line of numbers, or rows of a table. Imports no Qt: ``tr`` is the caller's."""

from __future__ import annotations

import math

from app.engine_words import said
from app.point_words import Tr, short
from app.widgets.amounts import grouped
from app.widgets.point_top import Entries, Entry
from app.widgets.scale import exact
from engine.frames import Term, Worked

_OPERATORS = {"sum": " + ", "product": " · ", "quotient": " / "}
_IN_LINE = 3  # terms of a long sum


def worked_line(worked: Worked, tr: Tr) -> str:
    """ "x + Δ(attention) = 0.314 − 0.0271 = 0.2869": the formula of a figure, its numbers, what comes out."""
    if worked.sentence:
        return said(worked.sentence, tr)
    shown = worked.terms if len(worked.terms) == worked.count else worked.terms[:_IN_LINE]
    hidden, sign = worked.count - len(shown), _OPERATORS[worked.kind]
    names, numbers = [said(term.name, tr) for term in shown], [_numbers(term) for term in shown]
    if hidden:
        names.append(tr("{0} others").format(grouped(hidden)))
        numbers.append(short(worked.outcome - sum(term.value for term in shown)))
    parts = [sign.join(names), sign.join(numbers).replace("+ −", "− "), short(worked.outcome)]
    steps = (_step_text(said(text, tr), *figures) for text, *figures in _chain(worked))
    edited = [tr("the pass goes on with {0}: it was edited").format(short(worked.value))] if worked.replaced else []
    return "    ".join([" = ".join(dict.fromkeys(parts)), *steps, *edited])


def _step_text(text: str, before: float, outcome: float) -> str:
    """ "√·" and what goes in and comes out: "√0.5 = 0.7071"."""
    given = text.replace("·", short(before), 1) if text.startswith("·") else text.replace("(·", f"({short(before)}", 1)
    given = given.replace("√·", f"√{short(before)}")
    return f"{given} = {short(outcome)}"


def _chain(worked: Worked) -> list[tuple[str, float, float]]:
    """Each step with what goes in and what comes out."""
    before, found = worked.outcome, []
    for text, outcome in worked.steps:
        found.append((text, before, outcome))
        before = outcome
    return found


def _numbers(term: Term) -> str:
    """ "0.012 · 1.24"; a negative factor that is not the first in brackets."""
    first, *others = (short(factor) for factor in term.factors)
    return " · ".join([first, *(f"({text})" if text.startswith("−") else text for text in others)])


def worked_entries(worked: Worked, tr: Tr) -> Entries:
    """A row for each term, for the others together, for what comes out, for each step, and what the pass has."""
    nan = float("nan")
    rows = [Entry(said(term.name, tr), exact(term.value), term.value) for term in worked.terms]
    hidden = worked.count - len(worked.terms)
    if hidden:
        rows.append(Entry(tr("{0} others").format(grouped(hidden)), exact(worked.rest), worked.rest))
    if worked.count > 1:
        rows.append(Entry(_total(worked, tr), exact(worked.outcome), nan))
    rows += [Entry(said(text, tr), exact(outcome), nan) for text, outcome in worked.steps]
    rows.append(
        Entry(tr("in the pass"), exact(worked.value) if math.isfinite(worked.value) else str(worked.value), nan)
    )
    return Entries(tuple(rows), tr("worked out"), tr("figure"))


def term_text(term: Term, tr: Tr) -> str:
    """A term with its factors and all digits."""
    factors = f" = {_numbers(term)}" if len(term.factors) > 1 else ""
    return f"{said(term.name, tr)}{factors} = {exact(term.value)}"


def _total(worked: Worked, tr: Tr) -> str:
    words = {"sum": tr("sum of {0}"), "product": tr("product of {0}"), "quotient": tr("the first over the second")}
    return words[worked.kind].format(grouped(worked.count))
