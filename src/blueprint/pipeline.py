"""The product, in order. Each stage's signature says what it needs and what it makes."""

from __future__ import annotations

from blueprint.core.stage import Stage

STAGES: tuple[Stage, ...] = ()
