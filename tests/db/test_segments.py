# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Segments in the database."""

import pytest
import sqlalchemy as sa

from hacore.db import hosts, segments
from hacore.db.engine import Database
from hacore.db.models import Host
from hacore.db.paging import Page
from hacore.errors import Duplicate, HostNotFound, SegmentNotFound

VALUES = {"recovery_method": "auto", "service_type": "COMPUTE"}
HOST = {"type": "COMPUTE", "control_attributes": "SSH"}


def test_a_segment_is_as_it_was_made(db: Database) -> None:
    made = segments.create(db, {"name": "Größe 日本", "description": "a\nb", **VALUES})

    found = segments.get(db, made.uuid)

    assert (found.name, found.description, found.enabled) == ("Größe 日本", "a\nb", True)
    assert found.updated_at is None
    assert found.created_at == made.created_at
    assert found.created_at.tzinfo is not None


def test_names_are_unique_among_what_is_not_deleted(db: Database) -> None:
    first = segments.create(db, {"name": "rack", **VALUES})
    with pytest.raises(Duplicate, match="rack"):
        segments.create(db, {"name": "rack", **VALUES})
    segments.create(db, {"name": "Rack", **VALUES})  # case counts

    for _ in range(3):
        segments.delete(db, first.uuid)
        first = segments.create(db, {"name": "rack", **VALUES})

    assert {s.name for s in segments.list_(db, {}, Page(10))} == {"rack", "Rack"}


def test_renaming_to_a_taken_name_changes_nothing(db: Database) -> None:
    segments.create(db, {"name": "one", **VALUES})
    two = segments.create(db, {"name": "two", **VALUES})

    with pytest.raises(Duplicate, match="one"):
        segments.update(db, two.uuid, {"name": "one", "description": "new"})

    found = segments.get(db, two.uuid)
    assert (found.name, found.description, found.updated_at) == ("two", None, None)


def test_hosts_go_with_their_segment(db: Database) -> None:
    segment = segments.create(db, {"name": "rack", **VALUES})
    host = hosts.create(db, segment.uuid, {"name": "h1", **HOST})

    segments.delete(db, segment.uuid)

    with pytest.raises(SegmentNotFound):
        segments.get(db, segment.uuid)
    with pytest.raises(SegmentNotFound):
        hosts.list_(db, segment.uuid, {}, Page(10))
    with pytest.raises(HostNotFound):
        hosts.get(db, segment.uuid, host.uuid)
    with db.read() as session:
        deleted = session.scalar(sa.select(Host).where(Host.uuid == host.uuid))
    assert deleted is not None
    assert deleted.deleted == deleted.id
    assert deleted.deleted_at is not None


@pytest.mark.parametrize("function", [segments.get, segments.delete])
def test_what_is_not_there_is_not_found(db: Database, function: object) -> None:
    with pytest.raises(SegmentNotFound, match="nowhere"):
        function(db, "nowhere")  # type: ignore[operator]
    with pytest.raises(SegmentNotFound, match="nowhere"):
        segments.update(db, "nowhere", {"name": "x"})
