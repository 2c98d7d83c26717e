"""Every action once, as data: menus, the toolbar, the keys and the help are made from this table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PySide6.QtCore import QCoreApplication, QObject
from PySide6.QtGui import QAction, QKeySequence

State = Literal["idle", "running", "paused"]


@dataclass(frozen=True)
class Situation:
    """What decides which commands are possible now."""

    ready: bool = False  # the engine is imported
    has_model: bool = False
    has_tokens: bool = False
    has_run: bool = False  # of which a first token was chosen
    has_experts: bool = False
    loading: bool = False
    state: State = "idle"
    undoable: bool = False  # Esc has something to undo
    has_examples: bool = False
    missing: str = ""  # which model the run that is open lacks, a sentence
    filing: bool = False  # a run is being saved or opened
    comparing: bool = False  # two branches of the run
    stands: bool = False  # where the run was taken to after it had ended
    edits: int = 0  # in the tray, on or off
    can_undo: bool = False  # a change of the edits
    can_redo: bool = False

    @property
    def active(self) -> bool:
        return self.state != "idle"

    @property
    def goes_on(self) -> bool:
        """Whether what runs next is the run that is there."""
        return self.state == "paused" or (self.state == "idle" and self.stands)

    @property
    def can_run(self) -> bool:
        return self.has_model and not self.loading and not self.missing


def _always(now: Situation) -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """``name`` is also the name of the window's method. ``keys`` work everywhere; ``picture_key`` only where a
    picture or the token strip has the focus, because it is also a letter. ``group``: one of several is chosen.
    """

    name: str
    menu: str
    text: str
    help: str
    keys: tuple[str, ...] = ()
    picture_key: str = ""
    icon: str = ""
    enabled: Callable[[Situation], bool] = field(default=_always)
    group: str = ""
    argument: str = ""  # handed to the handler
    short: str = ""  # on a button of the toolbar


FILE, RUN, EDIT, GO, VIEW, HELP = "&File", "&Run", "&Edit", "&Go", "&View", "&Help"

COMMANDS: tuple[Command, ...] = (
    Command("open_folder", FILE, "Open &folder…", "Open a folder with config.json and safetensors",
            ("Ctrl+O",), icon="open-folder", enabled=lambda now: now.ready),
    Command("open_file", FILE, "Open &GGUF file…", "Open a .gguf file",
            ("Ctrl+Shift+O",), icon="open-file", enabled=lambda now: now.ready),
    Command("open_run", FILE, "Open &run…", "Open a run that was saved as a .fluoro file",
            ("Ctrl+Alt+O",), icon="open-file", enabled=lambda now: now.ready),
    Command("save_run", FILE, "&Save run…", "Save the tokens and the record of the run as a file to open or share",
            ("Ctrl+S",), icon="export", enabled=lambda now: now.has_run and not now.loading),
    Command("cancel_file", FILE, "&Cancel saving or opening", "Leave the file as it was before",
            enabled=lambda now: now.filing),
    Command("show_models", FILE, "&Models", "What can be opened or downloaded", ("Ctrl+M",), icon="model"),
    Command("close", FILE, "&Quit", "Close Fluoroscope", ("Ctrl+Q",), icon="close"),
    Command("run", RUN, "&Run", "Run the prompt, or go on: after a pause, a step back, a branch", ("F5",), icon="run",
            enabled=lambda now: now.can_run and now.state != "running"),
    Command("go_on", RUN, "&Go on", "Make more tokens where the run ended", ("Ctrl+F5",), icon="run",
            enabled=lambda now: now.can_run and now.has_tokens and now.state == "idle"),
    Command("pause", RUN, "&Pause", "Stop inside the pass, or go on", ("F6",), picture_key="Space", icon="pause",
            enabled=lambda now: now.active),
    Command("step_layer", RUN, "Step &layer", "Compute up to the same stage of the next layer and stop", ("F10",),
            icon="step-layer", short="Layer", enabled=lambda now: now.can_run),
    Command("finish_layer", RUN, "To the en&d of the layer", "Compute the rest of this layer and stop", ("Shift+F11",),
            enabled=lambda now: now.can_run),
    Command("step_stage", RUN, "Step st&age", "Compute one more stage and stop", ("F11",), icon="step-stage",
            short="Stage", enabled=lambda now: now.can_run),
    Command("step_token", RUN, "Step &token", "Finish this token and stop", ("F12",), icon="step-token",
            short="Token", enabled=lambda now: now.can_run),
    Command("run_here", RUN, "Run to &here", "Compute up to the end of the pinned stage, or of the pinned layer",
            ("Ctrl+F10",), enabled=lambda now: now.can_run),
    Command("break_here", RUN, "&Breakpoint here", "Stop at the pinned stage whenever a pass comes to it, or no more",
            ("F9",), enabled=lambda now: now.has_model),
    Command("toggle_breakpoints", RUN, "All breakpoints &off or on", "Switch all breakpoints off, or on again",
            ("Ctrl+Shift+F9",)),
    Command("show_breakpoints", RUN, "Breakpo&ints", "The list of breakpoints: add, change, remove", ("Ctrl+Shift+B",)),
    Command("slower", RUN, "Slo&wer", "Go through the stages more slowly, to be watched", ("Alt+-",)),
    Command("faster", RUN, "&Faster", "Go through the stages faster, at last at full speed", ("Alt+=", "Alt++")),
    Command("step_back", RUN, "Step bac&k a token", "Leave the newest token; what comes next can be another",
            ("Shift+F12",), enabled=lambda now: now.can_run and now.has_run),
    Command("branch", RUN, "Bra&nch…", "Choose or type another token at the pinned position", ("Ctrl+B",),
            enabled=lambda now: now.can_run and now.has_run),
    Command("stop", RUN, "&Stop", "End the run, in the middle of a layer if need be", ("Shift+F5",), icon="stop",
            enabled=lambda now: now.active),
    Command("focus_prompt", RUN, "Edit pro&mpt", "Go to the prompt", ("Ctrl+L",)),
    Command("show_examples", RUN, "&Examples", "Put an example into the prompt field", ("Ctrl+Shift+L",),
            icon="examples", enabled=lambda now: now.has_examples),
    Command("undo_edit", EDIT, "&Undo the edit", "Take back the last change of the edits", ("Ctrl+Z",),
            enabled=lambda now: now.can_undo),
    Command("redo_edit", EDIT, "&Redo the edit", "Make the change of the edits again", ("Ctrl+Shift+Z",),
            enabled=lambda now: now.can_redo),
    Command("new_edit", EDIT, "&New edit…", "Change a head, the residual stream, a neuron, an expert, a logit …",
            ("Ctrl+I",), icon="edit", enabled=lambda now: now.has_model and not now.missing),
    Command("switch_edits", EDIT, "All edits &off or on", "Go on untouched, or with the edits again", ("Ctrl+Shift+I",),
            enabled=lambda now: now.edits > 0),
    Command("copy_edits", EDIT, "&Copy as Python", "A script against the engine that does the same",
            ("Ctrl+Shift+C",), enabled=lambda now: now.edits > 0),
    Command("clear_edits", EDIT, "C&lear the edits", "Delete all edits; undo brings them back",
            enabled=lambda now: now.edits > 0),
    Command("show_edits", EDIT, "&Edits", "The tray of edits, and the pass without them", ("Ctrl+Alt+I",)),
    Command("previous_position", GO, "&Previous position", "Pin the position before", ("Ctrl+Left",),
            enabled=lambda now: now.has_tokens),
    Command("next_position", GO, "&Next position", "Pin the position after", ("Ctrl+Right",),
            enabled=lambda now: now.has_tokens),
    Command("previous_layer", GO, "Layer &before", "Pin the layer before", ("Ctrl+Up",),
            enabled=lambda now: now.has_model),
    Command("next_layer", GO, "Layer &after", "Pin the layer after", ("Ctrl+Down",),
            enabled=lambda now: now.has_model),
    Command("walk_back", GO, "&Back a layer", "Look at the layer before; before the first one, at the token before",
            ("Alt+Left",), enabled=lambda now: now.has_tokens),
    Command("walk_on", GO, "&On a layer", "Look at the layer after, up to where the run stands; computes nothing",
            ("Alt+Right",), enabled=lambda now: now.has_tokens),
    Command("previous_point", GO, "Point be&fore", "The tensor before in the order of the pass, through all layers",
            ("Ctrl+Shift+Up",), enabled=lambda now: now.has_model),
    Command("next_point", GO, "Point af&ter", "The tensor after in the order of the pass, through all layers",
            ("Ctrl+Shift+Down",), enabled=lambda now: now.has_model),
    Command("follow", GO, "&Jump to live", "Free the pinned token and follow the newest", ("Ctrl+End",),
            icon="follow-live",
            enabled=lambda now: now.has_tokens),
    Command("undo_one", GO, "&Undo one thing", "Close the help, restore a panel, free what is pinned", ("Esc",)),
    Command("show_tensors", VIEW, "&Tensors", "Every tensor of the model's files, from their headers", ("Ctrl+T",),
            icon="tensors"),
    Command("show_branches", VIEW, "&Branches", "The run and its branches as a tree", ("Ctrl+Alt+B",)),
    Command("next_side", VIEW, "A · B · A − B", "Of two compared branches show one, the other, their difference",
            ("Ctrl+D",), enabled=lambda now: now.comparing),
    Command("end_comparison", VIEW, "&End the comparison", "Compare no branches any more",
            enabled=lambda now: now.comparing),
    Command("use_layout", VIEW, "&Focus layout", "One large panel", ("Ctrl+1",), group="layout", argument="focus"),
    Command("use_layout", VIEW, "&Grid layout", "All panels at once", ("Ctrl+2",), group="layout", argument="grid"),
    Command("reset_layout", VIEW, "&Reset layout", "Put every panel back where it was at first"),
    Command("fold_timeline", VIEW, "T&imeline", "Fold the timeline below the tokens, or show it", ("Ctrl+Shift+T",)),
    Command("choose_record", VIEW, "Memory of the re&cord…", "How much of a run is kept in memory, and how the rest is",
            ("Ctrl+Shift+R",)),
    Command("maximise", VIEW, "&Maximise panel", "Enlarge the panel that has the focus, or restore it",
            ("Ctrl+Shift+M",), picture_key="F", icon="maximise", enabled=lambda now: now.has_model),
    Command("colour_by_expert", VIEW, "Colour tokens by &expert", "Show which expert of the layer took each token",
            ("Ctrl+E",), enabled=lambda now: now.has_experts),
    Command("show_cost", VIEW, "What &watching costs", "How much longer the pass takes, and what the window works",
            ("Ctrl+Shift+W",), enabled=lambda now: now.has_model),
    Command("use_theme", VIEW, "&Dark theme", "Light on dark", group="theme", argument="dark", icon="theme"),
    Command("use_theme", VIEW, "&Light theme", "Dark on light", group="theme", argument="light", icon="theme"),
    Command("larger_text", VIEW, "&Larger text", "For a projector: all larger", ("Ctrl+=", "Ctrl++"), icon="larger"),
    Command("smaller_text", VIEW, "S&maller text", "For a small screen: all smaller", ("Ctrl+-",), icon="smaller"),
    Command("normal_text", VIEW, "&Normal text", "The text size of the first start", ("Ctrl+0",)),
    Command("show_keys", HELP, "&Keys", "What every key does", ("F1",), picture_key="?", icon="help"),
)  # fmt: skip

TOOLBAR = ("run", "pause", "step_layer", "step_stage", "step_token", "stop")


def translate(text: str) -> str:
    return QCoreApplication.translate("commands", text)


def identity(command: Command) -> str:
    """Unique among the commands: the name, and the argument where there is one."""
    return f"{command.name}.{command.argument}" if command.argument else command.name


def make_actions(parent: QObject, *handlers: object) -> dict[str, QAction]:
    """One QAction a command, by identity, connected to the method of one of ``handlers`` that has its name."""
    return {identity(command): _action(command, parent, handlers) for command in COMMANDS}


def _action(command: Command, parent: QObject, handlers: Sequence[object]) -> QAction:
    action = QAction(translate(command.text), parent)
    action.setObjectName(identity(command))
    if command.short:
        action.setIconText(translate(command.short))
    action.setShortcuts([QKeySequence(key) for key in command.keys])
    action.setToolTip(described(command))
    action.setStatusTip(translate(command.help))
    action.setCheckable(bool(command.group))
    handler = next(getattr(one, command.name) for one in handlers if hasattr(one, command.name))
    action.triggered.connect((lambda: handler(command.argument)) if command.argument else (lambda: handler()))
    return action


def described(command: Command) -> str:
    """The help with its keys: "Stop inside the pass, or go on (F6, Space)"."""
    keys = ", ".join(key_names(command))
    return f"{translate(command.help)} ({keys})" if keys else translate(command.help)


def key_names(command: Command) -> list[str]:
    """The keys as this desktop writes them."""
    keys = (*command.keys, *filter(None, [command.picture_key]))
    return [QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in keys]


def enable(actions: Mapping[str, QAction], now: Situation) -> None:
    """Enable what is possible now."""
    for command in COMMANDS:
        actions[identity(command)].setEnabled(command.enabled(now))


def by_picture_key(key: str) -> Command | None:
    """The command of a key that works only where a picture has the focus."""
    return next((command for command in COMMANDS if command.picture_key == key), None)
