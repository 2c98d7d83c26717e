"""A config dictionary read with care: every value is checked, and what is not understood is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigError

LARGEST = 2**31  # no honest count in a config reaches this; a larger one is a damaged or hostile file

# Fields that change the arithmetic of one family or another, and the values that change nothing. A file that says
# anything else is refused unless its family reads the field: an ignored field would be a wrong figure on the screen.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "alibi": (None, False),
    "attention_bias": (None, False),
    "attention_chunk_size": (None,),
    "attention_multiplier": (None,),
    "attn_logit_softcapping": (None,),
    "clip_qkv": (None,),
    "embedding_multiplier": (None, 1, 1.0),
    "final_logit_softcapping": (None,),
    "is_decoder": (None, True, False),
    "is_encoder_decoder": (None, False),
    "layer_types": (None,),
    "logit_scale": (None, 1, 1.0),
    "logits_scaling": (None, 1, 1.0),
    "mlp_bias": (None, False),
    "no_rope_layers": (None, []),
    "num_experts": (None, 0),
    "num_local_experts": (None, 0),
    "n_routed_experts": (None, 0),
    "parallel_attn": (None, False),
    "partial_rotary_factor": (None, 1, 1.0),
    "qk_layernorm": (None, False),
    "qkv_bias": (None, False),
    "query_pre_attn_scalar": (None,),
    "residual_multiplier": (None, 1, 1.0),
    "rope_parameters": (None, {}),
    "rope_scaling": (None, {}),
    "scale_attn_by_inverse_layer_idx": (None, False),
    "sliding_window": (None,),
    "use_bidirectional_attention": (None, False),
    "use_parallel_residual": (None, False),
    "use_qk_norm": (None, False),
    "use_sliding_window": (None, False),
}


class Fields:
    """Values by key, the family's defaults where a key is absent; an absent key differs from a null one.

    Remembers which keys were asked for, so that ``refuse_unread`` can name one that changes the arithmetic unseen.
    """

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._values = values
        self._defaults = defaults
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> Any:
        """The value as it stands, or the family's default where the key is absent."""
        self._read.add(key)
        if key in self._values:
            return self._values[key]
        return self._defaults.get(key)

    def given(self, *keys: str) -> str:
        """The first of several names for one thing that has a value, else the first name."""
        self._read.update(keys)
        return next((key for key in keys if self.get(key) is not None), keys[0])

    def has(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self.get(key) is not None

    def integer(self, key: str, *, least: int = 1, most: int = LARGEST - 1) -> int:
        value = self.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < LARGEST:
            raise ConfigError(f"The config says {key} = {_short(value)}; a whole number of at least {least} is needed.")
        if value > most:
            raise ConfigError(f"The config says {key} = {value}; at most {most} is possible.")
        return value

    def number(self, key: str) -> float:
        value = self.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not _finite(value) or value <= 0:
            raise ConfigError(f"The config says {key} = {_short(value)}; a number above zero is needed.")
        return float(value)

    def optional_integer(self, key: str) -> int | None:
        """None for null."""
        return self.integer(key) if self.has(key) else None

    def optional_number(self, key: str) -> float | None:
        """None for null."""
        return self.number(key) if self.has(key) else None

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise ConfigError(f"The config says {key} = {_short(value)}; true or false is needed.")
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise ConfigError(f"The config says {key} = {_short(value)}; a name is needed.")
        return value

    def one_of(self, key: str, known: tuple[Any, ...]) -> Any:
        """A value that must be one of those known."""
        value = self.get(key)
        if value not in known:
            listed = ", ".join(repr(item) for item in known)
            raise ConfigError(
                f"The config says {key} = {_short(value)}, which is not supported; supported is {listed}."
            )
        return value

    def per_layer(self, key: str, n_layers: int) -> list[Any]:
        """A list with one entry for every layer."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) < n_layers:
            raise ConfigError(f"The config says {key} = {_short(value)}; a list with {n_layers} entries is needed.")
        return value[:n_layers]

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of ``count`` numbers above zero."""
        value = self.get(key)
        sound = isinstance(value, list) and len(value) == count
        if not sound or not all(_is_number(item) and item > 0 for item in value):
            raise ConfigError(
                f"The config says {key} = {_short(value)}; a list of {count} numbers above zero is needed."
            )
        return tuple(float(item) for item in value)

    def token_ids(self, key: str) -> tuple[int, ...]:
        """One id, a list of ids, or none (eos_token_id comes in all three forms)."""
        value = self.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) for i in listed):
            raise ConfigError(f"The config says {key} = {_short(value)}; token ids are needed.")
        return tuple(i for i in listed if i >= 0)

    def refuse_unread(self) -> None:
        """Raise ConfigError for a field that changes the arithmetic and was not asked for."""
        for key, neutral in _NEUTRAL.items():
            value = self._values.get(key)
            if key not in self._read and not any(value is item or value == item for item in neutral):
                raise ConfigError(
                    f"The config says {key} = {_short(value)}; what that changes in this family is not known here."
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)


def _finite(value: int | float) -> bool:
    """Also False for a whole number that is too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
