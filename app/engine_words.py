"""What the engine says in fixed words, for the window to say in the user's language: a table of words and of forms.

Sentences about what went wrong are not among them: they stay as the engine writes them. Imports no Qt: ``tr`` is the
caller's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from engine.checkpoint.roles import COMPONENTS
from engine.checkpoint.traits import TRAITS
from engine.hooks import MEANINGS

Translate = Callable[[str], str]

SOURCES = ("captured", "recomputed", "read from the file", "computed from the file")  # where figures are from
KINDS = ("prefill", "decode")  # of passes
WORK = (  # what takes long
    "weights read",
    "making the cache again",
    "computing again what layers have let go of",
    "asking the hub",
    "asking the package index",
    "waiting for pip download",
)
MODELS = (  # what a model is, and what it costs
    *("layers", "attention", "heads", "KV heads", "experts", "top-k", "shared experts", "vocabulary", "context"),
    *("unembedding", "tied to the embedding", "of its own", "full", "sliding", "chunked", "latent", "none"),
    *("parameters", "active per token", "weights", "cache per position", "decode of the last", "read by that step"),
    *("It fits", "It fits, but barely", "It does not fit", "the CPU", "Apple's GPU", "base", "instruct", "built in"),
)
TENSORS = (*COMPONENTS, "shared gate", "sinks", "router", "activation")  # parts, and what a point is stored in
WORDS = frozenset((*SOURCES, *KINDS, *WORK, *MODELS, *TENSORS, *TRAITS, *MEANINGS))
FORMS = (  # the first that fits is the one
    "reading {0}",
    "saving {0}",
    "checking {0}",
    "unpacking {0}",
    "what {0} divides by",
    "{0}: x / scale, before the weight",
    "cache of {0}",
    "prefill of {0}",
    "{0}, in buffers of {1}",
    "{0}, {1} operations a byte",
    "{0}: projections {1}, attention {2}, MLP {3}, unembedding {4}",
    "{0}: it needs {1} and {2} are free on {3} ({4}).",
    "{0} weights in {1}, {2} cache for {3} positions, {4} to work in",
    "{0} wide",
    "{0} positions",
    "{0} in {1}",
)


def said(text: str, tr: Translate) -> str:
    """A text of the engine; one that is not in the tables, such as a name, comes back as it is."""
    if text in WORDS:
        return tr(text)
    form, parts = _form_of(text)
    return tr(form).format(*(said(part, tr) for part in parts)) if form else text


@lru_cache(maxsize=1024)
def _form_of(text: str) -> tuple[str, tuple[str, ...]]:
    """The form that a text was made by, "" for none, and what was put into it."""
    for form, pattern in _PATTERNS.items():
        found = pattern.fullmatch(text)
        if found is not None:
            return form, found.groups()
    return "", ()


_PATTERNS = {form: re.compile(re.sub(r"\\\{\d\\\}", "(.+?)", re.escape(form))) for form in FORMS}


def sources_text(sources: str, tr: Translate) -> str:
    """ "captured + recomputed"."""
    return " + ".join(said(source, tr) for source in sources.split(" + "))
