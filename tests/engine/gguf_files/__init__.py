"""GGUF files for the tests, written as llama.cpp's converter and its split tool write them.

``write_gguf`` turns a model folder of transformers into a GGUF file; ``lost`` says what of the folder's config the
file cannot hold; ``restored_folder`` turns a file back into a folder, so that transformers can compute with exactly
what the file holds; ``random_k_tensor`` makes tensors of the K-types, which the ``gguf`` package reads but cannot
write. ``architectures`` has one table per value of ``general.architecture``; its docstring says what a reader must know
because the file does not say it.

Sources: the converter ``convert_hf_to_gguf.py`` / ``conversion/*.py``, the loaders ``src/llama-model.cpp`` and
``src/models/*.cpp``, and ``tools/gguf-split`` of ggml-org/llama.cpp; names and keys come from the ``gguf`` package.
"""

from __future__ import annotations

from tests.engine.gguf_files.raw_tensor import K_TYPES, RawTensor, random_k_tensor
from tests.engine.gguf_files.restore import restored, restored_folder
from tests.engine.gguf_files.writer import lost, part_paths, write_gguf

__all__ = [
    "K_TYPES",
    "RawTensor",
    "lost",
    "part_paths",
    "random_k_tensor",
    "restored",
    "restored_folder",
    "write_gguf",
]
