"""The pages beside the map of experts, in their order: one token's formula, all layers, the whole run, one expert."""

from __future__ import annotations

from app.widgets.experts_of_run import ExpertPage, RunPage
from app.widgets.experts_of_token import LayersPage, TokenPage
from app.widgets.experts_page import Page

PAGES: tuple[type[Page], ...] = (TokenPage, LayersPage, RunPage, ExpertPage)
