"""A variant as a GGUF file, and what such a file says wrongly or cannot say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.engine.families.oracle import Oracle, with_config
from tests.engine.gguf_files import write_gguf

# what a converted file says wrongly about a variant: keys that make it right
PUT_RIGHT: dict[str, dict[str, Any]] = {"falcon-11b": {"falcon.feed_forward_length": 56}}
# what it cannot say: the field's value that every reader takes instead
IMPLIED: dict[str, dict[str, Any]] = {
    "deepseek_v2-yarn-mscale": {"mscale": 0.6},
    "deepseek_v3-yarn-mscale": {"mscale": 0.6},
}


def gguf_of(oracle: Oracle, path: Path, **options: Any) -> Path:
    """The variant written to ``path``; ``options`` are those of write_gguf."""
    return write_gguf(oracle.folder, path, metadata=PUT_RIGHT.get(oracle.variant.id), **options)


def as_read(oracle: Oracle) -> Oracle:
    """Transformers with the values that the file implies."""
    implied = IMPLIED.get(oracle.variant.id)
    if implied is None:
        return oracle
    config = oracle.model.config.__class__.from_pretrained(oracle.folder)
    config.rope_parameters = config.rope_parameters | implied
    return with_config(oracle, config)
