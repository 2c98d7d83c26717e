"""The measured parts of the model card: figures as Markdown, between markers in ``README.md``."""

from __future__ import annotations

import re
from typing import Any

from resources.demo_model.corpus import SHARES
from resources.demo_model.texts import DOMAINS

Figures = dict[str, Any]


def blocks(figures: Figures, training: Figures) -> dict[str, str]:
    """Every measured part of the card by its marker."""
    return {
        "size": _size(figures["model"]),
        "data": _data(figures["data"], training["tokens"]),
        "training": _training(training),
        "text": _text(figures["text"]),
        "sums": _sums(figures["sums"]),
        "functions": _functions(figures["functions"]),
        "router": _router(figures["router"]),
        "shares": _shares(figures["router"]["shares"]),
        "samples": _samples(figures["samples"]),
        "measured with": _measured_with(figures["measured_with"]),
    }


def filled(card: str, parts: dict[str, str]) -> str:
    """The card with its measured parts replaced. Raises ValueError where a marker is missing or there twice."""
    for mark, text in parts.items():
        start, stop = _span(card, mark)
        card = f"{card[:start]}\n{text}\n{card[stop:]}"
    return card


def published(card: str, mark: str) -> str:
    """What the card holds between two markers. Raises ValueError where a marker is missing or there twice."""
    start, stop = _span(card, mark)
    return card[start:stop].strip("\n")


def _span(card: str, mark: str) -> tuple[int, int]:
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    if card.count(begin) != 1 or card.count(end) != 1:
        raise ValueError(f"The card must hold {begin} and {end} exactly once.")
    return card.index(begin) + len(begin), card.index(end)


def _table(head: str, rows: list[list[str]]) -> str:
    """Markdown; the first column is left-aligned, the others right."""
    names = [name.strip() for name in head.split("|")]
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _size(model: Figures) -> str:
    return (
        f"{model['parameters']:,} parameters, of which a token uses {model['active_parameters']:,}; "
        f"`model.safetensors` has {model['file_bytes']:,} bytes."
    )


def _data(data: Figures, read: int) -> str:
    """What there was to train on, and how often the run read it on average: a row is of a domain by its share."""
    rows = [
        [
            name,
            f"{found['documents']:,}",
            f"{found['tokens']:,}",
            f"{share:.0%}",
            f"{read * share / found['tokens']:.1f}",
        ]
        for (name, found), share in zip(data.items(), SHARES, strict=True)
    ]
    return _table("domain | documents | tokens | share of rows | times read", rows)


def _training(training: Figures) -> str:
    """The facts of the run, and what was measured during it, about ten times and at the end."""
    log, hours = training["log"], training["seconds"] / 3600
    shown = [*log[: -1 : max(1, len(log) // 10)], log[-1]]
    rows = [
        [
            f"{entry['seconds'] / 60:.0f}",
            f"{entry['step']:,}",
            *(f"{entry[name]:.3f}" for name in DOMAINS),
            f"{entry['sums right']:.1%}",
        ]
        for entry in shown
    ]
    facts = f"{training['step']:,} steps, {training['tokens']:,} tokens, {hours:.2f} hours, seed {training['seed']}."
    return f"{facts}\n\n" + _table(f"minutes | steps | {' | '.join(DOMAINS)} | sums right", rows)


def _text(text: Figures) -> str:
    rows = [
        [
            name,
            f"{found['documents']:,}",
            f"{found['tokens']:,}",
            f"{found['loss']:.3f}",
            f"{found['perplexity']:.2f}",
            f"{found['bits_per_byte']:.3f}",
        ]
        for name, found in text.items()
    ]
    return _table("domain | documents | tokens | loss (nats per token) | perplexity | bits per byte", rows)


def _sums(sums: Figures) -> str:
    rows = [[f"`{sign}`", f"{f['asked']:,}", f"{f['right']:,}", f"{f['share']:.1%}"] for sign, f in sums.items()]
    return _table("sign | asked | right | share", rows)


def _functions(functions: Figures) -> str:
    return (
        f"Of {functions['continued']} functions {functions['parsed']} parse ({functions['share']:.0%}); "
        f"{functions['ended']} came to their end."
    )


def _router(router: Figures) -> str:
    divided = router["divided"]
    rows = [
        [str(layer), *(f"{values[layer]:.3f}" for values in divided.values()), f"{balance:.3f}"]
        for layer, balance in enumerate(router["balance"])
    ]
    pairs = [name.replace("-", " – ") for name in divided if name != "information"]
    return _table(f"layer | {' | '.join(pairs)} | information (bits) | balance", rows)


def _shares(shares: Figures) -> str:
    """Each expert's share of the choices, in per cent; rows go by layer and, within it, by domain."""
    layers, experts = len(shares[DOMAINS[0]]), range(len(shares[DOMAINS[0]][0]))
    rows = [
        [f"{layer} {name}", *(f"{100 * share:.1f}" for share in shares[name][layer])]
        for layer in range(layers)
        for name in DOMAINS
    ]
    return _table(f"layer, domain | {' | '.join(f'expert {index}' for index in experts)}", rows)


def _samples(samples: list[Figures]) -> str:
    return "\n\n".join(
        f"`{found['prompt']!r}`, seed {found['seed']}, {found['tokens']} tokens:\n\n"
        f"{_fence(found['text'])}text\n{found['prompt']}{found['text']}\n{_fence(found['text'])}"
        for found in samples
    )


def _fence(text: str) -> str:
    """Longer than any row of backticks in the text."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


def _measured_with(measured: Figures) -> str:
    return (
        f"Measured with Python {measured['python']} (its standard library is the text), {measured['build']}, and "
        f"tales of sha256 `{measured['tales'][:16]}…`."
    )
