"""How ``pytest -n 2`` shares out the tests: those of the window run in one process, one after the other in their order.

Meanwhile another process goes through everything else, file by file, so that what engine tests have built for one file
(models of every family, the real model) is there for the next.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling


class WindowApart(LoadScopeScheduling):
    """Hands out whole files, in their order; all of tests/app as one."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False  # tests/app is the longest, and comes first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/app" if file.startswith("tests/app/") else file
