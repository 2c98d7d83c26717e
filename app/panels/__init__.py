"""Every panel of the window, as data: another panel is another row here."""

from __future__ import annotations

from app.panels.activations import ActivationsPanel
from app.panels.attention import AttentionPanel
from app.panels.branches import BranchesPanel
from app.panels.breakpoints import BreakpointsPanel
from app.panels.edits import EditsPanel
from app.panels.experts import ExpertsPanel
from app.panels.glossary import GlossaryPanel
from app.panels.kv_cache import CachePanel
from app.panels.layers import LayersPanel
from app.panels.lens import LensPanel
from app.panels.models import ModelsPanel
from app.panels.notes import NotesPanel
from app.panels.residual import ResidualPanel
from app.panels.sampling import SamplingPanel
from app.panels.tensors import TensorsPanel
from app.panels.token_strip import TokenStrip

PANELS = (
    TokenStrip,
    LayersPanel,
    AttentionPanel,
    ExpertsPanel,
    ResidualPanel,
    LensPanel,
    ActivationsPanel,
    CachePanel,
    TensorsPanel,
    ModelsPanel,
    SamplingPanel,
    BranchesPanel,
    EditsPanel,
    BreakpointsPanel,
    NotesPanel,
    GlossaryPanel,
)
