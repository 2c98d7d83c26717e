"""Where a picture or a table comes from: model, prompt, step, layer, head … Every file that is taken along says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.command_line import program_version
from app.run import Run

if TYPE_CHECKING:
    from app.panels.panel import Context, Panel
    from engine.frames import StepFrame

LONGEST_FACT = 20_000  # letters; what is longer (a prompt of a whole book) is cut

Facts = dict[str, str]  # by name, in the order in which they are written; what is not known is left out


def facts_of_panel(panel: Panel) -> Facts:
    """What a panel shows, and of which run. ``figures``: captured, recomputed or reduced, as its badge says."""
    shown = {"panel": panel.title(), "shows": panel.caption(), "figures": panel.badge(), "branch shown": panel.side()}
    of_run = facts_of(panel.context) if panel.of_a_run else _of_model(panel.context.run)
    return _known({**_made(), **shown, **of_run})


def facts_of_window(context: Context) -> Facts:
    """Of the window as a whole."""
    return _known({**_made(), **facts_of(context)})


def facts_of(context: Context) -> Facts:
    """Model, prompt and the place that is pinned."""
    run = context.run
    return {**_of_model(run), **_of_run(run), **_of_place(context)} if run.n_tokens else _of_model(run)


def _made() -> Facts:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"program": f"Fluoroscope {program_version()}", "made": now}


def _of_model(run: Run) -> Facts:
    model = run.model
    if model is None:
        return {}
    return {"model": model.name, "weights": f"{model.stored_as}, computed in {model.dtype} on {model.device}"}


def _of_run(run: Run) -> Facts:
    prompt = b"".join(piece.raw for piece in run.prompt).decode("utf-8", "replace")
    edited = sum(step.edited for step in run.steps)
    return {
        "prompt": prompt,
        "chat": "in the model's template" if run.chat else "",
        "tokens": f"{run.n_prompt} prompt + {len(run.steps)} generated",
        "branch": "" if run.tree is None or len(run.tree.branches) == 1 else str(run.tree.current),
        "edited steps": str(edited) if edited else "",
    }


def _of_place(context: Context) -> Facts:
    """The pinned place, or the newest position that was read; the step is the one that chose its token. ``sampling``:
    how it was chosen, or the newest one where it is a token of the prompt."""
    run, look = context.run, context.cursor.pinned
    position = min(run.n_tokens - 1 if look.position is None else look.position, run.n_tokens - 1)
    step, reading = run.step_choosing(position), run.step_reading(position)
    newest = run.steps[-1] if run.steps else None
    return {
        "position": str(position),
        "token": run.label(position),
        "step": "" if step is None else str(step.index),
        "read by step": "" if reading is None else str(reading.index),
        "sampling": _sampling_text(step or newest),
        "layer": str(look.layer),
        "head": str(look.head),
        "expert": "" if look.expert is None else str(look.expert),
        "point": look.point,
        "depth": context.depth,
        "pass": _where(run),
    }


def _sampling_text(step: StepFrame | None) -> str:
    """ "temperature 0.8, top-k 40, seed 0": the stages that did something, and what the draw followed from."""
    if step is None:
        return ""
    how = step.sampling
    parts = [f"{stage.name} {stage.value:g}" for stage in how.stages if stage.active and stage.name != "greedy"]
    return ", ".join([*parts, "greedy" if how.greedy else f"seed {how.seed}"])


def _where(run: Run) -> str:
    """Where a pass stands that is under way."""
    where = run.where
    if not run.in_pass:
        return ""
    layer = "" if where.layer is None else f", layer {where.layer}"
    return f"{where.state} in step {where.step}{layer}, {where.stage}"


def _known(facts: Mapping[str, str]) -> Facts:
    """Without what is not known; texts of a length that every kind of file takes."""
    return {name: _cut(text) for name, text in facts.items() if text}


def _cut(text: str) -> str:
    sound = text.encode("utf-8", "replace").decode("utf-8")  # half of a pair of surrogates fits into no file
    sound = sound.replace("\0", "\ufffd")  # a text of a PNG ends there
    return sound if len(sound) <= LONGEST_FACT else sound[: LONGEST_FACT - 1] + "…"


def to_lines(facts: Mapping[str, str]) -> list[str]:
    """ "name: text", one line each; a text that would not come back alike is written as JSON does."""
    return [f"{name}: {_line(text)}" for name, text in facts.items()]


def _line(text: str) -> str:
    plain = text.isprintable() and text == text.strip() and not text.startswith('"')
    return text if plain else "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(letter: str) -> str:
    """Letters that nobody can see as JSON writes them."""
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]
