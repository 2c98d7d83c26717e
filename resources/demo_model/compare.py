"""Whether figures measured again agree with those of the card, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Rounding differs between processors and builds of torch: a token whose two best experts or answers are nearly equal
# may then go the other way, which moves these figures a little. What is in neither table must be equal.
RELATIVE = {"loss": 0.002, "perplexity": 0.01, "bits_per_byte": 0.002, "right": 0.01, "share": 0.01}  # by last name
ABSOLUTE = {"router": 0.005}  # by first name
OF_ALL_DOMAINS = ("router.divided", "router.balance")
# what the figures depend on besides the weights: the parts of names of figures that differ with it, and why
DEPEND_ON = {
    "python": (("python", "functions", *OF_ALL_DOMAINS), "its standard library holds other texts"),
    "tales": (("tales", *OF_ALL_DOMAINS), "it is another file of tales"),
    "build": (("samples", "functions"), "what rounds otherwise may draw other tokens"),
}


def differences(found: dict[str, Any], published: dict[str, Any]) -> list[str]:
    """A sentence for each figure that differs by more than its tolerance, and for those that cannot be checked here."""
    refused, sentences = _refusals(found["measured_with"], published["measured_with"])
    ours, theirs = (dict(_leaves(figures)) for figures in (found, published))
    for name in sorted(ours.keys() | theirs.keys()):
        if name.startswith("measured_with.") or any(part in name for part in refused):
            continue
        if name not in ours or name not in theirs:
            sentences.append(f"{name} is only in the {'card' if name in theirs else 'new measurement'}.")
        elif not close(name, ours[name], theirs[name]):
            sentences.append(f"{name} is {ours[name]!r}, but the card says {theirs[name]!r}.")
    return sentences


def close(name: str, found: Any, published: Any) -> bool:
    """Whether two values of a figure agree within its tolerance."""
    relative = RELATIVE.get(name.split(".")[-1], 0.0)
    absolute = ABSOLUTE.get(name.split(".")[0], 0.0)
    if not relative and not absolute:
        return found == published
    return abs(found - published) <= relative * abs(published) + absolute


def _refusals(here: dict[str, str], there: dict[str, str]) -> tuple[set[str], list[str]]:
    """Parts of the names of figures that cannot be compared, and a sentence for each reason."""
    refused: set[str] = set()
    sentences = []
    for what, (parts, why) in DEPEND_ON.items():
        if here[what] != there[what]:
            refused |= set(parts)
            sentences.append(
                f"The card was measured with {what} {there[what]}, this is {here[what]}: {why}, so figures of "
                f"{', '.join(parts)} were not checked."
            )
    return refused, sentences


def _leaves(figures: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure by its path: ``text.tales.loss``, ``router.balance.0``."""
    if not isinstance(figures, (dict, list)):
        yield name, figures
        return
    for key, value in figures.items() if isinstance(figures, dict) else enumerate(figures):
        yield from _leaves(value, f"{name}.{key}" if name else str(key))
