"""Every action once, as data: menus, the toolbar, the keys and the help are made from this table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from PySide6.QtCore import QCoreApplication, QObject
from PySide6.QtGui import QAction, QKeySequence

from app.engine_words import said

State = Literal["idle", "running", "paused"]
Place = Literal["panel", "tokens", "pass"]  # the title of a panel, the token strip, the map of the pass


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
    can_reset: bool = False  # the settings
    can_bring_back: bool = False  # those from before a reset
    audience: bool = False  # has a window of its own
    notes: int = 0  # and bookmarks
    recording: bool = False  # the window is recorded, or a recording is being written

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
    ``needs``: what is said while it is not ``enabled``. ``places``: the context menus that have it, besides ``menu``.
    ``also``: other words that people look for it by.
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
    needs: str = ""
    places: tuple[Place, ...] = ()
    also: str = ""

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The one for pictures last."""
        return (*self.keys, *filter(None, [self.picture_key]))


FILE, RUN, EDIT, GO, VIEW, COLOURS = "&File", "&Run", "&Edit", "&Go", "&View", "&Colours"
WINDOW, PRESENT, HELP = "&Window", "&Present", "&Help"
MENUS = (FILE, RUN, EDIT, GO, VIEW, COLOURS, WINDOW, PRESENT, HELP)

ENGINE, MODEL, TOKENS, FIRST = "Needs the engine", "Needs a model", "Needs tokens", "Needs a run with a first token"
FREE, UNDER_WAY, ENDED = "Needs a model and no running pass", "Needs a run under way", "Needs a run that has ended"
TRAY, COMPARED = "Needs an edit in the tray", "Needs two compared branches"
NOTED = "Needs a note or a bookmark"

COMMANDS: tuple[Command, ...] = (
    Command("open_folder", FILE, "Open &folder…", "Open a folder with config.json and safetensors",
            ("Ctrl+O",), icon="open-folder", enabled=lambda now: now.ready, needs=ENGINE,
            also="load model hugging face"),
    Command("open_file", FILE, "Open &GGUF file…", "Open a .gguf file",
            ("Ctrl+Shift+O",), icon="open-file", enabled=lambda now: now.ready, needs=ENGINE,
            also="load model llama.cpp quantised"),
    Command("open_run", FILE, "Open &run…", "Open a run that was saved as a .fluoro file",
            ("Ctrl+F12",), icon="open-file", enabled=lambda now: now.ready, needs=ENGINE, also="load session"),
    Command("save_run", FILE, "&Save run…", "Save the tokens and the record of the run as a file to open or share",
            ("Ctrl+S",), icon="export", enabled=lambda now: now.has_run and not now.loading, needs=FIRST,
            also="export share session"),
    Command("cancel_file", FILE, "&Cancel saving or opening", "Leave the file as it was before",
            enabled=lambda now: now.filing, needs="Needs a file that is being saved or opened", also="abort"),
    Command("save_window", FILE, "Save the &window's picture…", "The whole window as PNG, with model, prompt and place",
            ("Ctrl+Shift+S",), icon="export", also="screenshot export image print png"),
    Command("copy_window", FILE, "Copy the window's p&icture", "The whole window as a picture on the clipboard",
            ("Ctrl+Shift+X",), icon="copy", also="screenshot image"),
    Command("copy_picture", FILE, "Copy the &panel's picture", "The panel with the focus as a picture on the clipboard",
            icon="copy", places=("panel",), also="screenshot image"),
    Command("copy_table", FILE, "Copy the panel's &table", "Its figures, as a spreadsheet takes them", icon="copy",
            places=("panel",), also="spreadsheet excel csv"),
    Command("save_panel", FILE, "Panel as P&NG…", "Save what the panel shows as a picture", argument="png",
            places=("panel",), also="export image picture figure"),
    Command("save_panel", FILE, "Panel as S&VG…", "Save what the panel shows as a drawing", argument="svg",
            places=("panel",), also="export image vector drawing figure"),
    Command("save_panel", FILE, "Panel &as CSV…", "Save the panel's figures as a table", argument="csv",
            places=("panel",), also="export table spreadsheet excel"),
    Command("save_panel", FILE, "Panel as NP&Y…", "Save the panel's figures as arrays for NumPy", argument="npy",
            places=("panel",), also="export array numpy python"),
    Command("show_models", FILE, "&Models", "What can be opened or downloaded", ("Ctrl+M",), icon="model",
            also="load model recent download search hub hugging face shelf llama gpt"),
    Command("close", FILE, "&Quit", "Close Fluoroscope", ("Ctrl+Q",), icon="close", also="exit leave end"),
    Command("run", RUN, "&Run", "Run the prompt, or go on: after a pause, a step back, a branch", ("F5",), icon="run",
            enabled=lambda now: now.can_run and now.state != "running", needs=FREE,
            also="start play generate continue rerun again new"),
    Command("go_on", RUN, "&Go on", "Make more tokens where the run ended", ("Ctrl+Shift+F5",), icon="run",
            enabled=lambda now: now.can_run and now.has_tokens and now.state == "idle", needs=ENDED,
            also="continue resume generate more tokens"),
    Command("pause", RUN, "&Pause", "Stop inside the pass, or go on", ("F6",), picture_key="Space", icon="pause",
            enabled=lambda now: now.active, needs=UNDER_WAY, also="continue resume halt break"),
    Command("step_layer", RUN, "Step &layer", "Compute up to the same stage of the next layer and stop", ("F10",),
            icon="step-layer", short="Layer", enabled=lambda now: now.can_run, needs=MODEL),
    Command("finish_layer", RUN, "To the en&d of the layer", "Compute the rest of this layer and stop", ("Shift+F11",),
            enabled=lambda now: now.can_run, needs=MODEL),
    Command("step_stage", RUN, "Step st&age", "Compute one more stage and stop", ("F11",), icon="step-stage",
            short="Stage", enabled=lambda now: now.can_run, needs=MODEL),
    Command("step_token", RUN, "Step &token", "Finish this token and stop", ("F12",), icon="step-token",
            short="Token", enabled=lambda now: now.can_run, needs=MODEL),
    Command("run_here", RUN, "Run to &here", "Compute up to the end of the pinned stage, or of the pinned layer",
            ("Ctrl+F10",), enabled=lambda now: now.can_run, needs=MODEL),
    Command("break_here", RUN, "&Breakpoint here", "Stop at the pinned stage whenever a pass comes to it, or no more",
            ("F9",), enabled=lambda now: now.has_model, needs=MODEL, also="debug stop"),
    Command("toggle_breakpoints", RUN, "All breakpoints &off or on", "Switch all breakpoints off, or on again",
            ("Ctrl+Shift+F9",)),
    Command("show_breakpoints", RUN, "Breakpo&ints", "The list of breakpoints: add, change, remove", ("Ctrl+Shift+B",)),
    Command("slower", RUN, "Slo&wer", "Go through the stages more slowly, to be watched", ("Alt+-",),
            also="speed slow motion"),
    Command("faster", RUN, "&Faster", "Go through the stages faster, at last at full speed", ("Alt+=", "Alt++"),
            also="speed"),
    Command("step_back", RUN, "Step bac&k a token", "Leave the newest token; what comes next can be another",
            ("Shift+F12",), enabled=lambda now: now.can_run and now.has_run, needs=FIRST, also="undo token rewind"),
    Command("branch", RUN, "Bra&nch…", "Choose or type another token at the pinned position", ("Ctrl+R",),
            enabled=lambda now: now.can_run and now.has_run, needs=FIRST, also="alternative what if force token"),
    Command("stop", RUN, "&Stop", "End the run, in the middle of a layer if need be", ("Shift+F5",), icon="stop",
            enabled=lambda now: now.active, needs=UNDER_WAY, also="cancel abort halt"),
    Command("focus_prompt", RUN, "Edit pro&mpt", "Go to the prompt", ("Ctrl+L",), also="text input type question"),
    Command("show_examples", RUN, "&Examples", "Put an example into the prompt field", ("Ctrl+Shift+L",),
            icon="examples", enabled=lambda now: now.has_examples, needs="Needs the file of examples",
            also="sample demo prompts"),
    Command("undo_edit", EDIT, "&Undo the edit", "Take back the last change of the edits", ("Ctrl+Z",),
            enabled=lambda now: now.can_undo, needs="Needs a change of the edits"),
    Command("redo_edit", EDIT, "&Redo the edit", "Make the change of the edits again", ("Ctrl+Shift+Z",),
            enabled=lambda now: now.can_redo, needs="Needs a change that was undone"),
    Command("new_edit", EDIT, "&New edit…", "Change a head, the residual stream, a neuron, an expert, a logit …",
            ("Ctrl+I",), icon="edit", enabled=lambda now: now.has_model and not now.missing, needs=MODEL,
            also="ablate ablation zero head patch steer knock out intervene intervention"),
    Command("switch_edits", EDIT, "All edits &off or on", "Go on untouched, or with the edits again", ("Ctrl+Shift+I",),
            enabled=lambda now: now.edits > 0, needs=TRAY),
    Command("copy_edits", EDIT, "&Copy as Python", "A script against the engine that does the same",
            ("Ctrl+Shift+C",), enabled=lambda now: now.edits > 0, needs=TRAY, also="script code export"),
    Command("clear_edits", EDIT, "C&lear the edits", "Delete all edits; undo brings them back",
            enabled=lambda now: now.edits > 0, needs=TRAY, also="remove reset"),
    Command("show_edits", EDIT, "&Edits", "The tray of edits, and the pass without them", ("Ctrl+Shift+J",),
            also="interventions ablations"),
    Command("previous_position", GO, "&Previous position", "Pin the position before", ("Ctrl+Left",),
            enabled=lambda now: now.has_tokens, needs=TOKENS),
    Command("next_position", GO, "&Next position", "Pin the position after", ("Ctrl+Right",),
            enabled=lambda now: now.has_tokens, needs=TOKENS),
    Command("previous_layer", GO, "&Layer before", "Pin the layer before", ("Ctrl+Up",),
            enabled=lambda now: now.has_model, needs=MODEL),
    Command("next_layer", GO, "Layer &after", "Pin the layer after", ("Ctrl+Down",),
            enabled=lambda now: now.has_model, needs=MODEL),
    Command("walk_back", GO, "&Back a layer", "Look at the layer before; before the first one, at the token before",
            ("Alt+Left",), enabled=lambda now: now.has_tokens, needs=TOKENS),
    Command("walk_on", GO, "&On a layer", "Look at the layer after, up to where the run stands; computes nothing",
            ("Alt+Right",), enabled=lambda now: now.has_tokens, needs=TOKENS),
    Command("previous_point", GO, "Point be&fore", "The tensor before in the order of the pass, through all layers",
            ("Ctrl+Shift+Up",), enabled=lambda now: now.has_model, needs=MODEL),
    Command("next_point", GO, "Point af&ter", "The tensor after in the order of the pass, through all layers",
            ("Ctrl+Shift+Down",), enabled=lambda now: now.has_model, needs=MODEL),
    Command("follow", GO, "&Jump to live", "Free the pinned token and follow the newest", ("Ctrl+End",),
            icon="follow-live", enabled=lambda now: now.has_tokens, needs=TOKENS, also="now end newest latest"),
    Command("bookmark", GO, "Boo&kmark here", "Mark the pinned token, layer and head, or no more", ("Ctrl+B",),
            icon="bookmark", enabled=lambda now: now.has_tokens, needs=TOKENS, places=("tokens", "pass"),
            also="mark favourite star"),
    Command("show_marks", GO, "Notes and book&marks", "The list to jump by, and a place to write a note", ("Ctrl+J",),
            icon="note", also="comment annotate"),
    Command("previous_mark", GO, "Pre&vious note", "Pin the place of the note or bookmark before", ("Alt+Up",),
            enabled=lambda now: now.notes > 0, needs=NOTED),
    Command("next_mark", GO, "Ne&xt note", "Pin the place of the note or bookmark after", ("Alt+Down",),
            enabled=lambda now: now.notes > 0, needs=NOTED),
    Command("undo_one", GO, "&Undo one thing", "Close the help, restore a panel, free what is pinned", ("Esc",)),
    Command("show_tensors", VIEW, "&Tensors", "Every tensor of the model's files, from their headers", ("Ctrl+T",),
            icon="tensors", also="weights parameters find"),
    Command("show_branches", VIEW, "&Branches", "The run and its branches as a tree", ("Ctrl+Shift+G",),
            also="tree compare history"),
    Command("next_side", VIEW, "&A · B · A − B", "Of two compared branches show one, the other, their difference",
            ("Ctrl+D",), enabled=lambda now: now.comparing, needs=COMPARED, also="compare difference"),
    Command("end_comparison", VIEW, "&End the comparison", "Compare no branches any more",
            enabled=lambda now: now.comparing, needs=COMPARED),
    Command("use_layout", WINDOW, "Layout &Explore", "One large panel, the others behind it", ("Ctrl+1",),
            group="layout", argument="explore", also="workspace view"),
    Command("use_layout", WINDOW, "Layout &Teach", "Few panels and large: the pass, attention, sampling", ("Ctrl+2",),
            group="layout", argument="teach", also="workspace view class lecture"),
    Command("use_layout", WINDOW, "Layout De&bug", "The pass, tensors, residual stream, breakpoints, edits, sampling",
            ("Ctrl+3",), group="layout", argument="debug", also="workspace view"),
    Command("use_layout", WINDOW, "Layout &All panels", "All panels at once", ("Ctrl+4",), group="layout",
            argument="all", also="workspace view"),
    Command("reset_layout", WINDOW, "&Reset layout", "Put every panel of this layout back where it was at first",
            also="restore arrange panels windows"),
    Command("save_layout", WINDOW, "&Save the layout…", "Keep the panels as they are under a name; use or delete one",
            also="delete workspace arrange panels"),
    Command("show_hidden", WINDOW, "What is &hidden…", "Closed panels and what others leave out, to be shown again",
            also="lost closed missing"),
    Command("show_all_panels", WINDOW, "&Open all panels", "Open every panel that is closed", also="restore lost"),
    Command("next_panel", WINDOW, "&Next panel", "Go to the next panel, also to one behind another", ("Ctrl+Tab",)),
    Command("previous_panel", WINDOW, "&Previous panel", "Go to the panel before", ("Ctrl+Shift+Tab",)),
    Command("show_table", WINDOW, "Tab&le or picture", "The figures of the focused panel as a table in its place",
            ("Ctrl+F7",), places=("panel",), also="accessible figures numbers values csv"),
    Command("float_panel", WINDOW, "&Float the panel or dock it", "The panel with the focus in a window of its own",
            places=("panel",), also="undock detach separate window pop out"),
    Command("close_panel", WINDOW, "&Close the panel", "Close the panel with the focus; the status bar tells so",
            places=("panel",), also="hide remove"),
    Command("fold_timeline", VIEW, "T&imeline", "Fold the timeline below the tokens, or show it", ("Ctrl+Shift+T",)),
    Command("choose_record", VIEW, "Memory of the re&cord…", "How much of a run is kept in memory, and how the rest is",
            ("Ctrl+Shift+R",), also="ram disk limit history"),
    Command("maximise", WINDOW, "&Maximise panel", "Enlarge the panel that has the focus, or restore it",
            ("Ctrl+Shift+M",), picture_key="F", icon="maximise", enabled=lambda now: now.has_model, needs=MODEL,
            places=("panel",), also="maximize fullscreen full screen restore"),
    Command("colour_by_expert", VIEW, "Colour tokens by ex&pert", "Show which expert of the layer took each token",
            ("Ctrl+E",), enabled=lambda now: now.has_experts, needs="Needs a run of a model with experts"),
    Command("show_cost", VIEW, "What &watching costs", "How much longer the pass takes, and what the window works",
            ("Ctrl+Shift+W",), enabled=lambda now: now.has_model, needs=MODEL,
            also="performance slow overhead time profile"),
    Command("use_depth", VIEW, "Depth: &Story", "Explain in plain words", group="depth", argument="story",
            also="level beginner simple plain words"),
    Command("use_depth", VIEW, "Depth: N&umbers", "Shapes, figures and names", group="depth", argument="numbers",
            also="level figures"),
    Command("use_depth", VIEW, "Depth: &Formula", "Explain by formulas, those of the pinned layer", group="depth",
            argument="formula", also="level maths equations"),
    Command("use_depth", VIEW, "Depth: C&ode", "Explain by the PyTorch that computes it, that of the pinned layer",
            group="depth", argument="code", also="level pytorch source expert"),
    Command("next_depth", VIEW, "Ne&xt depth", "Story, numbers, formula, code, and story again", ("Ctrl+Shift+D",),
            also="level explain"),
    Command("larger_text", VIEW, "&Larger text", "For a projector: all larger", ("Ctrl+=", "Ctrl++"), icon="larger",
            also="zoom in bigger font size"),
    Command("smaller_text", VIEW, "S&maller text", "For a small screen: all smaller", ("Ctrl+-",), icon="smaller",
            also="zoom out font size"),
    Command("normal_text", VIEW, "&Normal text", "The text size of the first start", ("Ctrl+0",),
            also="zoom reset font size"),
    Command("use_language", VIEW, "Language of the des&ktop", "The window speaks the desktop's language if it can",
            group="language", argument="system", also="locale translation"),
    Command("use_language", VIEW, "En&glish", "The window speaks English", group="language", argument="en",
            also="language locale translation"),
    Command("use_language", VIEW, "Simplified C&hinese (简体中文)",
            "The window speaks Simplified Chinese (窗口使用简体中文)", group="language", argument="zh_CN",
            also="language locale translation mandarin"),
    Command("use_theme", COLOURS, "&Dark theme", "Light on dark", group="theme", argument="dark", icon="theme",
            also="mode night appearance"),
    Command("use_theme", COLOURS, "&Light theme", "Dark on light", group="theme", argument="light", icon="theme",
            also="mode day appearance white"),
    Command("use_theme", COLOURS, "&High contrast",
            "The plainest colours and thick lines, for a weak projector or eyes", group="theme", argument="contrast",
            icon="theme", also="accessibility mode black"),
    Command("use_theme", COLOURS, "Theme of the des&ktop", "Dark, light or high contrast, as the desktop is",
            group="theme", argument="system", icon="theme", also="appearance auto"),
    Command("use_sequential", COLOURS, "Shares and norms: &viridis", "From violet over green to yellow",
            group="sequential", argument="viridis", also="colors palette colour blind"),
    Command("use_sequential", COLOURS, "Shares and norms: &cividis", "From blue over grey to yellow",
            group="sequential", argument="cividis", also="colors palette colour blind"),
    Command("use_sequential", COLOURS, "Shares and norms: &magma", "From black over purple to a pale yellow",
            group="sequential", argument="magma", also="colors palette"),
    Command("use_sequential", COLOURS, "Shares and norms: p&ink", "From blue over pink to yellow",
            group="sequential", argument="pink", also="colors palette"),
    Command("use_diverging", COLOURS, "Signed figures: &usual", "Blue against yellow on dark, against red on light",
            group="diverging", argument="usual", also="colors palette"),
    Command("use_diverging", COLOURS, "Signed figures: &blue · orange", "Below zero blue, above it orange",
            group="diverging", argument="blue-orange", also="colors palette colour blind"),
    Command("use_diverging", COLOURS, "Signed figures: &purple · orange", "Below zero purple, above it orange",
            group="diverging", argument="purple-orange", also="colors palette"),
    Command("use_diverging", COLOURS, "Signed figures: pu&rple · green", "Below zero purple, above it green",
            group="diverging", argument="purple-green", also="colors palette"),
    Command("project", PRESENT, "&Projector mode", "Large type, high contrast, few panels, the stage in large letters",
            ("Ctrl+F5",), icon="larger", also="presentation present fullscreen full screen beamer lecture"),
    Command("spotlight", PRESENT, "&Spotlight", "Dim all but the panel that has the focus, or no more", ("Ctrl+F6",),
            places=("panel",), also="highlight focus dim"),
    Command("further", PRESENT, "One step &on", "Look one step on, or compute it, in steps as large as the last one"),
    Command("nearer", PRESENT, "One step &back", "Look one step back, in steps as large as the last one"),
    Command("black_screen", PRESENT, "B&lack screen", "Nothing but black for those who look on, or the picture again",
            also="blank"),
    Command("show_audience", PRESENT, "&Audience window", "A window for the second screen, with chosen panels",
            ("Ctrl+Shift+A",), also="second screen monitor presentation"),
    Command("freeze_audience", PRESENT, "&Freeze the audience", "The audience's picture stays as it is, or moves again",
            ("Ctrl+Shift+F",), enabled=lambda now: now.audience, needs="Needs the audience window", also="hold"),
    Command("show_presenter", PRESENT, "P&resenter's page", "Notes for you alone, and which panels the audience sees",
            also="speaker notes presentation"),
    Command("record_window", PRESENT, "Record the &window…", "The window as a film or a GIF; the same command stops it",
            ("Ctrl+F9",), icon="record", also="video film mp4 gif screencast capture"),
    Command("discard_recording", PRESENT, "&Discard the recording", "Stop recording, and keep no file",
            enabled=lambda now: now.recording, needs="Needs a recording under way", also="cancel video film"),
    Command("show_palette", HELP, "&Find a command…", "A few letters of it find a command, a panel, a model",
            ("Ctrl+Shift+P",)),
    Command("show_glossary", HELP, "&Glossary", "What a term means: that of what has the focus", ("F1",), icon="help",
            also="help manual dictionary terms explain search"),
    Command("show_keys", HELP, "&Keys", "What every key does", ("Ctrl+F1",), picture_key="?", icon="help",
            also="help keyboard shortcuts cheat sheet hotkeys"),
    Command("change_keys", HELP, "&Change shortcuts…", "Give commands other keys, or those of the first start",
            also="keyboard preferences settings options hotkeys customise"),
    Command("show_log", HELP, "Show &log", "What has gone wrong, and what was opened and run",
            also="crash error messages trace"),
    Command("copy_report", HELP, "Copy &report", "Versions, device, model, settings and the log, for whoever mends it",
            also="bug feedback support system"),
    Command("reset_settings", HELP, "Reset &all settings", "Begin as at first from the next start on; can be undone",
            enabled=lambda now: now.can_reset, needs="Needs settings that are kept",
            also="preferences options factory defaults safe mode"),
    Command("restore_settings", HELP, "&Bring the settings back", "Undo the last reset of the settings",
            enabled=lambda now: now.can_bring_back, needs="Needs settings that were reset",
            also="preferences undo reset"),
    Command("show_about", HELP, "Ab&out Fluoroscope", "The version, what it is built from, and the licences",
            also="version licence license fonts credits"),
)  # fmt: skip

TOOLBAR = ("run", "pause", "step_layer", "step_stage", "step_token", "stop")
WHY = "why"  # the property of an action: what keeps it from being possible


def translate(text: str) -> str:
    return QCoreApplication.translate("commands", text)


def bare(text: str) -> str:
    """A text of a menu without its mark, which some languages have in brackets behind it: "文件(&F)"."""
    return re.sub(r"\(&.\)|&", "", text)


def identity(command: Command) -> str:
    """Unique among the commands: the name, and the argument where there is one."""
    return f"{command.name}.{command.argument}" if command.argument else command.name


def make_actions(parent: QObject, *handlers: object) -> dict[str, QAction]:
    """One QAction a command, by identity, connected to the method of one of ``handlers`` that has its name."""
    actions = {identity(command): _action(command, parent, handlers) for command in COMMANDS}
    dress(actions, COMMANDS)
    return actions


def retitle(action: QAction, text: str) -> None:
    """Another text, in menus and on buttons."""
    action.setText(text)
    action.setIconText(bare(text))


def _action(command: Command, parent: QObject, handlers: Sequence[object]) -> QAction:
    action = QAction(translate(command.text), parent)
    action.setObjectName(identity(command))
    action.setIconText(translate(command.short) if command.short else bare(action.text()))  # on buttons
    action.setProperty(WHY, "")
    action.setCheckable(bool(command.group))
    handler = next(getattr(one, command.name) for one in handlers if hasattr(one, command.name))
    action.triggered.connect((lambda: handler(command.argument)) if command.argument else (lambda: handler()))
    return action


def why_not(command: Command, now: Situation) -> str:
    """What keeps a command from being possible, translated; "" where it is."""
    if command.enabled(now):
        return ""
    if now.missing and command.enabled(replace(now, missing="")):
        return said(now.missing, translate)
    if now.loading and command.enabled(replace(now, loading=False)):
        return translate("A model is being opened")
    return translate(command.needs)


def described(command: Command) -> str:
    """The help with its keys: "Stop inside the pass, or go on (F6, Space)"."""
    keys = ", ".join(key_names(command))
    return f"{translate(command.help)} ({keys})" if keys else translate(command.help)


def key_names(command: Command) -> list[str]:
    """The keys as this desktop writes them."""
    return [QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in command.all_keys]


def dress(actions: Mapping[str, QAction], rows: Iterable[Command]) -> None:
    """The keys of these rows, on the actions and in what is told of them."""
    for command in rows:
        action = actions[identity(command)]
        action.setShortcuts([QKeySequence(key) for key in command.keys])
        _tell(action, command, action.property(WHY) or "")


def enable(actions: Mapping[str, QAction], now: Situation, rows: Iterable[Command] = COMMANDS) -> None:
    """Enable what is possible now, and say of the rest why it is not."""
    for command in rows:
        action, why = actions[identity(command)], why_not(command, now)
        action.setEnabled(command.enabled(now))
        if why != action.property(WHY):
            _tell(action, command, why)


def _tell(action: QAction, command: Command, why: str) -> None:
    """The help and the keys where the mouse stays, with what is missing."""
    action.setProperty(WHY, why)
    action.setToolTip("\n".join(filter(None, (described(command), why))))
    action.setStatusTip(why or translate(command.help))
