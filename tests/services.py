# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tests that need services of this machine run where that is asked for.

Elsewhere they are skipped: a cloud that happens to run here is not to be reset
by whoever calls pytest.
"""

import os

import pytest

REQUIRED = os.environ.get("HACORE_REQUIRE_SERVICES") == "1"


def skip_unless_required(what: str) -> None:
    """Skip the test, unless HACORE_REQUIRE_SERVICES=1, which makes a missing one a failure."""
    if not REQUIRED:
        pytest.skip(f"needs {what}: set HACORE_REQUIRE_SERVICES=1, as .ci/run does")
