# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Segments in the database."""

import concurrent.futures

import pytest
import sqlalchemy as sa

from hacore.db import claims, hosts, segments
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Host
from hacore.db.paging import Page
from hacore.errors import Duplicate, HostNotFound, InUse, SegmentNotFound
from hacore.states import NotificationStatus
from tests import factories

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


GOES_ON = "Segment rack is disabled; this recovery had begun and goes on to its end."


def claim(db: Database, owner: str = "a") -> claims.Claim:
    taken = claims.claim(db, owner, lease_s=60, expire_s=86400)
    assert taken is not None
    return taken


def said(db: Database, uuid: str) -> list[str]:
    with db.read() as session:
        of = sa.select(HistoryEntry.message).where(HistoryEntry.notification_uuid == uuid)
        return list(session.scalars(of.order_by(HistoryEntry.id)))


def test_one_can_be_disabled_at_any_time_and_nothing_else_changed(db: Database) -> None:
    segment = factories.segment(db, name="rack")
    factories.notification(db, factories.host(db, segment_uuid=segment.uuid))
    running = claim(db)
    refused = [{"name": "x"}, {"enabled": False, "description": "x"}, {"name": "rack"}]
    for changes in refused:
        with pytest.raises(InUse):
            segments.update(db, segment.uuid, changes)
    with pytest.raises(InUse):
        segments.delete(db, segment.uuid)
    # clients that send all attributes
    assert not segments.update(db, segment.uuid, {"enabled": False, "name": "rack"}).enabled
    assert said(db, running.uuid)[-1] == GOES_ON
    segments.update(db, segment.uuid, {"enabled": False})
    assert said(db, running.uuid).count(GOES_ON) == 1
    assert segments.update(db, segment.uuid, {"enabled": True}).enabled


def test_what_has_begun_goes_on_and_nothing_else_begins(db: Database) -> None:
    segment = factories.segment(db, name="rack")
    begun, waits = (
        factories.notification(db, factories.host(db, name, segment_uuid=segment.uuid))
        for name in ("compute1", "compute2")
    )
    first = claim(db)
    assert (first.uuid, first.segment_enabled) == (begun.uuid, True)
    segments.update(db, segment.uuid, {"enabled": False})
    claims.release(db, first, "the engine stops")
    second = claim(db, "b")
    assert (second.uuid, second.segment_enabled) == (begun.uuid, True)
    assert said(db, begun.uuid)[-2:] == ["Taken over by b (claim 2).", GOES_ON]
    claims.finish(db, second, NotificationStatus.ERROR, "It failed.", failed=True, retry_after_s=0)
    assert claim(db, "b").segment_enabled
    other = claim(db, "b")
    assert (other.uuid, other.segment_enabled) == (waits.uuid, False)
    claims.release(db, other, "the engine stops")
    assert not claim(db, "c").segment_enabled
    assert GOES_ON not in said(db, waits.uuid)


def test_no_recovery_begins_unseen_while_the_segment_is_disabled(db: Database) -> None:
    """Each recovery has begun before, and says that it goes on, or it begins no more."""
    segment = factories.segment(db, name="rack")
    for number in range(12):
        host = factories.host(db, f"compute{number}", segment_uuid=segment.uuid)
        factories.notification(db, host)

    def drain(owner: str) -> list[claims.Claim]:
        taken = []
        while (each := claims.claim(db, owner, lease_s=60, expire_s=86400)) is not None:
            taken.append(each)
        return taken

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        engines = [pool.submit(drain, owner) for owner in "abc"]
        disabling = pool.submit(segments.update, db, segment.uuid, {"enabled": False})
        taken = [each for engine in engines for each in engine.result()]
        disabling.result()
    assert len(taken) == 12
    for each in taken:
        assert each.segment_enabled is (GOES_ON in said(db, each.uuid))


def test_a_segment_by_its_name_or_uuid(db: Database) -> None:
    first, second = factories.segment(db, name="rack1"), factories.segment(db)
    assert segments.named(db, "rack1").uuid == first.uuid
    assert segments.named(db, second.uuid).uuid == second.uuid
    # a name that looks like the uuid of another one
    namesake = factories.segment(db, name=first.uuid)
    assert segments.named(db, first.uuid).uuid == namesake.uuid
    segments.delete(db, namesake.uuid)
    assert segments.named(db, first.uuid).uuid == first.uuid
    with pytest.raises(SegmentNotFound, match="No segment has the name or the uuid 'rack9'"):
        segments.named(db, "rack9")
