"""What can go wrong, each with one sentence that says what happened, why, and what to do.

The sentence is ``str(error)``: the window and the command line show it as it is.
"""


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""


class SourceError(EngineError):
    """A source of a model is missing, unreadable, or not of a kind that can be loaded."""


class ConfigError(EngineError):
    """A configuration is malformed or describes a model that is not supported."""


class CheckpointError(EngineError):
    """A weight file is truncated, corrupt, hostile, or does not fit its configuration."""


class TokenizerError(EngineError):
    """A tokenizer or chat template is missing, malformed or not supported; or a text cannot be encoded."""


class MemoryShortage(EngineError):  # noqa: N818
    """The weights and the cache would not fit into memory; nothing was allocated."""


class ContextError(EngineError):
    """A prompt is empty or longer than the model's context."""


class NetworkError(EngineError):
    """A download failed: no network, a refusal, a wrong sum."""


class AccessError(NetworkError):
    """The hub does not show a model to whoever asks: it is private or gated, or the token is missing or not accepted.

    ``repo`` is "" and ``status`` 0 where nothing was asked yet (a malformed token); ``gated``: the hub said that its
    terms have to be accepted first. A token may help: ask for one, ``engine.checkpoint.token.keep`` it, ask again.
    """

    def __init__(self, sentence: str, repo: str = "", status: int = 0, *, gated: bool = False) -> None:
        super().__init__(sentence)
        self.repo, self.status, self.gated = repo, status, gated


class DiskError(EngineError):
    """A file could not be written: a full disk, no permission."""


class HookError(EngineError):
    """A hook names a point that does not exist, or returned something that does not fit."""


class Cancelled(EngineError):  # noqa: N818
    """The user cancelled; what was there before is still there, and work can go on."""

    def __init__(self, sentence: str = "Cancelled.") -> None:
        super().__init__(sentence)


class NotNow(EngineError):  # noqa: N818
    """This cannot be answered where the pass stands; it can later."""


class RunFileError(EngineError):
    """A file of a saved run is damaged, hostile, of a newer version, or no such file at all."""


class ModelNeeded(EngineError):  # noqa: N818
    """A run was opened without its model, and this is not in its record; the sentence says which model it is."""


class PositionError(EngineError):
    """A question is about a position that the run does not have."""
