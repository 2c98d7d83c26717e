"""How ``pytest -n 2`` shares out the tests: file by file, those of the window first, which take longest.

So what tests of one file have built (models of every family, the real model) is there for the next test of it, and at
the end no process waits long for the other.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling


class ByFile(LoadScopeScheduling):
    """Hands out whole files, in their order."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False  # tests/app is collected first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]
