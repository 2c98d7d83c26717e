"""One table per value of ``general.architecture``. A table has

* ``ARCHITECTURE`` and ``MODEL_TYPES``: the file's name for it and those of config.json;
* ``metadata(config)``: the keys, without the architecture's prefix;
* ``tensors(config, state)``: the tensors under names that ``gguf.get_tensor_name_map`` knows, in the file's form;
* ``lost(config)``: fields of the config that the file cannot hold with the value they have;

and where needed ``extra(config)``: tensors made from the config, under the file's names; ``NORM_OFFSET``: what is
added to every norm's weight; ``old_form(config)``: keys of files written before the tensors got their present form.

Each docstring has a paragraph "Implied": what the reader must know from the architecture's name.
True of all: ``output.weight`` absent means that the embedding is tied (a present one may be an equal copy); a bias
exists where its tensor does; ``vocab_size`` absent means the number of tokens; ``attention.key_length`` and
``rope.dimension_count`` absent mean embedding_length / head_count; ``rope.freq_base`` absent means 10000;
``head_count_kv`` absent means ``head_count``; yarn's betas absent mean 32 and 1, its ``yarn_attn_factor`` is
transformers' ``attention_factor``; yarn's ramp ends are rounded to whole dimensions (``truncate``). Attention is
scaled by 1/√key_length unless said otherwise. Rotary pairs are neighbours in llama, llama4, smollm3, granite,
granitemoe, olmo and deepseek2 (all but llama4 and deepseek2 had their rows permuted for it) and halves elsewhere
(``llama_model_rope_type`` in ``src/llama-model.cpp``). ggml's ``gelu`` is the tanh approximation; where a table
says exact gelu, transformers computes that one and llama.cpp only nearly.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def table_of(model_type: str) -> ModuleType:
    """The table for a config's ``model_type``. Raises ValueError for one that llama.cpp cannot convert."""
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        if model_type in getattr(module, "MODEL_TYPES", ()):
            return module
    raise ValueError(f"There is no GGUF table for the model type {model_type!r}.")
