"""Bring a model into the user's cache."""

from __future__ import annotations
