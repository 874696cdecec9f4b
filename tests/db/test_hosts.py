# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts in the database."""

import pytest

from hacore.db import hosts, segments
from hacore.db.engine import Database
from hacore.db.models import Segment
from hacore.db.paging import Page
from hacore.errors import Duplicate, HostNotFound, SegmentNotFound

HOST = {"type": "COMPUTE", "control_attributes": "SSH"}


@pytest.fixture
def rack(db: Database) -> Segment:
    return _segment(db, "rack")


def _segment(db: Database, name: str) -> Segment:
    values = {"name": name, "recovery_method": "auto", "service_type": "COMPUTE"}
    return segments.create(db, values)


def test_a_host_comes_with_its_segment(db: Database, rack: Segment) -> None:
    made = hosts.create(db, rack.uuid, {"name": "h1", **HOST, "reserved": True})

    shown = hosts.get(db, rack.uuid, made.uuid)
    (listed,) = hosts.list_(db, rack.uuid, {}, Page(10))
    changed = hosts.update(db, rack.uuid, made.uuid, {"type": "X"})

    for host in (made, shown, listed, changed):
        assert host.segment.name == "rack"
        assert (host.name, host.reserved, host.on_maintenance) == ("h1", True, False)
    assert changed.updated_at is not None


def test_names_are_unique_across_segments(db: Database, rack: Segment) -> None:
    other = _segment(db, "other")
    host = hosts.create(db, rack.uuid, {"name": "h1", **HOST})
    hosts.create(db, rack.uuid, {"name": "h2", **HOST})

    with pytest.raises(Duplicate, match="h1"):
        hosts.create(db, other.uuid, {"name": "h1", **HOST})
    with pytest.raises(Duplicate, match="h2"):
        hosts.update(db, rack.uuid, host.uuid, {"name": "h2"})

    hosts.delete(db, rack.uuid, host.uuid)
    hosts.create(db, other.uuid, {"name": "h1", **HOST})


def test_a_host_is_found_in_its_own_segment_only(db: Database, rack: Segment) -> None:
    other = _segment(db, "other")
    host = hosts.create(db, rack.uuid, {"name": "h1", **HOST})

    for call in (
        lambda: hosts.get(db, other.uuid, host.uuid),
        lambda: hosts.update(db, other.uuid, host.uuid, {"type": "X"}),
        lambda: hosts.delete(db, other.uuid, host.uuid),
        lambda: hosts.refuse_in_use(db, other.uuid, host.uuid),
    ):
        with pytest.raises(HostNotFound):
            call()
    assert hosts.list_(db, other.uuid, {}, Page(10)) == []
    with pytest.raises(SegmentNotFound):
        hosts.create(db, "nowhere", {"name": "h3", **HOST})


def test_filters(db: Database, rack: Segment) -> None:
    for name, reserved in (("h1", True), ("h2", False), ("h3", True)):
        hosts.create(db, rack.uuid, {"name": name, **HOST, "reserved": reserved})

    found = hosts.list_(db, rack.uuid, {"reserved": True, "type": "COMPUTE"}, Page(10))

    assert {host.name for host in found} == {"h1", "h3"}
