"""What Python says when the whole program dies: written into a file that is read at the next start."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable
from pathlib import Path


def watch(path: Path) -> Callable[[], None]:
    """From now on a crash leaves the stack of every thread in this file; what was in it is gone. Call what is returned
    to end it. Raises OSError where the file cannot be written."""
    was_on = faulthandler.is_enabled()
    file = path.open("w", encoding="utf-8")  # kept open: when it is needed, nothing can be opened any more
    faulthandler.enable(file, all_threads=True)

    def end() -> None:
        faulthandler.disable()
        file.close()
        path.unlink(missing_ok=True)
        if was_on and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)

    return end
