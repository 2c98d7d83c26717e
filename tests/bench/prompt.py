"""The text that every side reads: ordinary English of exactly as many tokens as were asked for."""

from __future__ import annotations

from typing import Any

import engine
from tests.bench.job import Job

TEXT = """A lighthouse keeper wrote one page every evening, whatever the weather. In spring he wrote about the birds
that rested on the gallery before they crossed the sea, and about paint that would not dry in the fog. In summer there
were visitors, who asked how far the light could be seen and whether he was lonely; he answered that on a clear night it
was twenty miles, and that a man with a lamp, a clock and two thousand lenses has little time to be lonely. In autumn
the first storms came. He counted the seconds between the flash and the thunder, noted the height of the waves on the
rock below, and checked the weights that turned the light. In winter he read. The supply boat could not land for weeks,
so he learned to bake with little flour and to mend his boots with rope. Once a ship lost its mast within sight of the
tower; he rang the bell all night, and by morning eleven people slept on the floor of the lamp room. """

OPENING_TOKENS = 5


class PromptSide:
    """Reads the model once, so that its file is in memory for everyone, and makes the prompt for all."""

    def __init__(self, job: Job) -> None:
        self._loaded = engine.load(job.model, device="cpu", dtype="float32")
        self._n = job.prompt_tokens

    def ready(self) -> dict[str, Any]:
        """The prompt, and the bytes of weights that one decode pass reads."""
        ids = self._exactly(self._n)
        decode = self._loaded.tokenizer.decode
        model = self._loaded.model
        unread = 0 if model.unembed is None else model.embed.weight.nbytes  # untied: one row of the embedding only
        return {
            "ids": ids,
            "text": decode(ids),
            "opening": decode(self._exactly(min(OPENING_TOKENS, self._n))),
            "pass_bytes": sum(p.nbytes for p in model.parameters()) - unread,
            "name": self._loaded.name,
            "parameters": self._loaded.parameters,
            "stored_as": self._loaded.stored_as,
            **self._sizes(),
        }

    def _sizes(self) -> dict[str, int]:
        """What memory grows with; ``n_heads`` and ``d_mlp`` are sums over the layers."""
        config, layers = self._loaded.config, self._loaded.model_frame().layers
        return {
            "n_layers": config.n_layers,
            "n_heads": sum(layer.n_heads for layer in layers),
            "d_mlp": sum(layer.d_mlp for layer in layers),
            "d_model": config.d_model,
            "d_vocab": config.d_vocab,
            "n_ctx": config.n_ctx,
        }

    def _exactly(self, n: int) -> list[int]:
        """The first n ids of the text, where they spell a text that encodes to themselves; starts later if not."""
        encode, decode = self._loaded.tokenizer.encode, self._loaded.tokenizer.decode
        words = (TEXT.replace("\n", " ") * (2 + n // 64)).split(" ")
        for skipped in range(100):
            ids = encode(" ".join(words[skipped:]))[:n]
            if len(ids) == n and encode(decode(ids)) == ids:
                return ids
        raise SystemExit(f"This model's tokenizer makes no prompt of exactly {n} tokens; choose another length.")

    def close(self) -> None:
        """Nothing to end."""
