"""Backends are found by name or not at all."""

from __future__ import annotations

import pytest

from blueprint.core.backends import available, find, kind_of
from blueprint.core.errors import BackendError


def test_ours_are_found_by_file_name():
    found = find("simulator", "mujoco")
    assert (found.module, found.attribute) == ("blueprint.backends.simulator_mujoco", "SimulatorMujoco")
    assert found.load().name == "mujoco"


def test_unknown_name_lists_those_there_are():
    with pytest.raises(BackendError, match=r"no simulator 'bullet'; there is: .*mujoco"):
        find("simulator", "bullet")
    with pytest.raises(BackendError) as raised:
        find("proposer", "gemni", "tasks.proposer")
    assert raised.value.hint == "set tasks.proposer to one of these"
    assert available("teleporter") == []


def test_kind_is_the_protocol_in_lower_case():
    from blueprint.backends.protocols import Renderer

    assert kind_of(Renderer) == "renderer"
