"""What the engine says, for the window to say in the user's language: words of a table, and sentences as forms with
places. Imports no Qt: ``tr`` is the caller's.

The engine knows no language. Its sentences stand in English in its own source, from where the tests read them; the
file of a language has them as forms, and a text is found among these again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.engine_forms import Forms
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
STAGES = {  # of a pass, and what is translated in their stead; of the others there is nothing to translate
    **{"token": "token", "embed": "embedding", "activation": "activation function", "shared": "shared experts"},
    **{name: name for name in ("norm 1", "norm 2", "norm 1 after", "norm 2 after", "final norm", "q k norm", "rope")},
    **{name: name for name in ("latent", "cache", "scores", "softmax", "mix", "attention out", "add 1", "add 2")},
    **{name: name for name in ("router", "experts", "gate up", "up", "mlp out", "logits", "sampling")},
}
WORDS = frozenset((*SOURCES, *KINDS, *WORK, *MODELS, *TENSORS, *TRAITS, *MEANINGS))
DEEPEST = 4  # sentences in sentences that are translated
LONGEST = 20_000  # letters; a longer text is none of the engine's


def know(forms: Iterable[str]) -> None:
    """The sentences of the language that is spoken from now on; with none every sentence comes back as it is."""
    global _forms
    _forms = Forms(forms)


_forms = Forms(())


def said(text: str, tr: Translate) -> str:
    """A text of the engine; one that is not known, such as a name, comes back as it is."""
    return _said(text, tr, 0)


def stage_title(stage: str, tr: Translate) -> str:
    """A stage of a pass by its name in the user's language."""
    text = STAGES.get(stage, "")
    own = tr(text) if text else ""
    return stage if own == text else own


def _said(text: str, tr: Translate, depth: int) -> str:
    if depth and text in STAGES:
        return stage_title(text, tr)
    if text in WORDS:
        return tr(text)
    known = depth < DEEPEST and len(text) <= LONGEST
    found = _forms.fitting(text, inside=depth > 0) if known else None
    if found is None:
        return text
    form, parts = found
    own = (part if name else _said(part, tr, depth + 1) for part, name in zip(parts, form.quoted, strict=True))
    return tr(form.text).format(*own)


def sources_text(sources: str, tr: Translate) -> str:
    """ "captured + recomputed"."""
    return " + ".join(said(source, tr) for source in sources.split(" + "))
