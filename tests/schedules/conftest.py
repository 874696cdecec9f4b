# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The world of the engine's tests, for what the schedules have found."""

from tests.unit.engine.conftest import world

__all__ = ["world"]
