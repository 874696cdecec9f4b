# Licensed under the Apache License, Version 2.0; see LICENSE.
"""ETag and 304 of /operator/v1: while nothing has changed, and only then."""

import datetime
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from oslo_config import cfg

from hacore.api.app import make_app
from hacore.db import claims, gates, leases, moves, pauses, recoveries, watch
from hacore.db.engine import Database
from hacore.db.models import Host, HostState, Notification, Watch
from hacore.states import Answer, Gate, MoveStatus
from hacore.states import NotificationStatus as Status
from tests import factories

from .conftest import Client, Computes
from .operator_rows import NOWHERE, ROOT, claim, held, look, path


def poll(client: Client, url: str, tag: str | None = None) -> tuple[int, str]:
    """Ask as somebody does who has this tag; return status and tag."""
    answer = client.get(url, headers={"If-None-Match": tag} if tag else {})
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "X-Auth-Token"
    if answer.status_code == 304:
        assert answer.content == b""
    return answer.status_code, answer.headers["ETag"]


@pytest.fixture
def urls(db: Database) -> list[str]:
    """All that can be polled, with a recovery in them."""
    row = held(db)
    look(db, watch.Seen("compute1", "nova", "silent", 40.0, "x"))
    return [f"{ROOT}/recoveries?held=true", path(row), f"{ROOT}/safety"]


def test_what_has_not_changed_is_304(client: Client, urls: list[str]) -> None:
    for url in urls:
        status, tag = poll(client, url)
        assert (status, tag[:3]) == (200, 'W/"')
        assert poll(client, url, tag) == (304, tag)
        assert poll(client, url, f'"other", {tag.removeprefix("W/")}') == (304, tag)
        assert poll(client, url, "*")[0] == 304
        assert poll(client, url, '"other"') == (200, tag)
        assert poll(client, url, "not a tag") == (200, tag)
        head = client.ask("HEAD", url, headers={"If-None-Match": tag})
        assert (head.status_code, head.headers["ETag"]) == (304, tag)


def test_over_http(url: str, urls: list[str]) -> None:
    """A 304 has no body, and its connection goes on."""
    with requests.Session() as http:
        for each in urls * 2:
            first = http.get(url + each, timeout=60)
            again = http.get(url + each, headers={"If-None-Match": first.headers["ETag"]})
            assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
            assert "Content-Type" not in again.headers


def test_two_processes_agree_on_a_tag(
    conf: cfg.ConfigOpts, client: Client, nova: Computes, urls: list[str]
) -> None:
    db = Database(conf.database)
    other = Client(make_app(conf, db, nova, lambda: None))

    for url in urls:
        assert poll(client, url)[1] == poll(other, url)[1]
    db.dispose()


def test_what_is_decided_changes_tags(client: Client, db: Database, urls: list[str]) -> None:
    before = {url: poll(client, url)[1] for url in urls}
    url = f"{urls[1]}/approve"
    assert client.post(url, {"rule": "majority", "reason": "x"}).status_code == 202

    assert [poll(client, url, before[url])[0] for url in urls] == [200, 200, 200]


def changes(db: Database, taken: claims.Claim) -> Any:
    """Everything that an engine writes about a recovery, one after another."""
    (move,) = moves.prepare(db, taken, [moves.Plan(NOWHERE, "db1", "active", 1, 0)])
    yield "prepare"
    leases.record(db, Notification, taken, "step", state="RUNNING")
    yield "record"
    gates.record(db, taken, Gate.LIVENESS, Answer.WAIT, {}, "x")
    yield "gate"
    recoveries.begin_maintenance(db, taken)
    yield "maintenance"
    recoveries.about_to_disable(db, taken, "reason")
    yield "disable"
    move.locked = True
    moves.begin(db, taken, move)
    yield "begin"
    moves.about_to_call(db, taken, move)
    yield "call"
    moves.unlocked(db, taken, move)
    yield "unlocked"
    moves.end(db, taken, move, MoveStatus.FAILED, step="x", message="y")
    yield "end"
    recoveries.enabled_again(db, taken)
    yield "enabled"
    leases.renew(db, Notification, taken.owner, [taken.uuid], 600)
    yield "renew"
    claims.release(db, taken, "x")
    yield "release"


def test_every_write_of_an_engine_changes_the_tag(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    tags = [poll(client, path(row))[1]]
    taken = claim(db)
    tags.append(poll(client, path(row))[1])

    for what in changes(db, taken):
        status, tag = poll(client, path(row), tags[-1])
        assert status == 200, what
        tags.append(tag)

    assert len(set(tags)) == len(tags)


def test_the_end_of_a_lease_changes_the_tag(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    _, tag = poll(client, path(row))
    with db.write() as session:
        past = db.now(session) - datetime.timedelta(seconds=1)
        session.execute(sa.update(Notification).values(lease_until=past))

    assert taken.uuid == row.uuid
    assert poll(client, path(row), tag)[0] == 200
    assert client.get(path(row)).json["recovery"]["claim"]["live"] is False


def test_hosts_and_segments_are_part_of_a_tag(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db), status=Status.FINISHED)
    listed = f"{ROOT}/recoveries"
    tags = {url: poll(client, url)[1] for url in (listed, path(row))}
    host = client.get(f"/v1/segments/{row.segment_uuid}/hosts").json["hosts"][0]
    url = f"/v1/segments/{row.segment_uuid}/hosts/{host['uuid']}"

    assert client.put(url, {"host": {"name": "compute2"}}).status_code == 200

    assert {url: poll(client, url, tag)[0] for url, tag in tags.items()} == {
        listed: 200,
        path(row): 200,
    }
    with db.read() as session:
        assert session.scalar(sa.select(Host.name)) == "compute2"


def test_a_new_recovery_changes_only_the_lists_that_it_is_in(client: Client, db: Database) -> None:
    everything, of_one, first = (
        f"{ROOT}/recoveries{query}" for query in ("", "?host=compute1", "?limit=1&host=compute1")
    )
    held(db)
    tags = {url: poll(client, url)[1] for url in (everything, of_one, first)}
    factories.notification(db, factories.host(db, "compute2"))

    assert [poll(client, url, tags[url])[0] for url in tags] == [200, 304, 304]


def test_each_look_and_each_pause_changes_the_tag_of_safety(client: Client, db: Database) -> None:
    url = f"{ROOT}/safety"
    tags = [poll(client, url)[1]]

    def changed() -> bool:
        status, tag = poll(client, url, tags[-1])
        tags.append(tag)
        return status == 200

    look(db, watch.Seen("compute1", "nova", "heard", 40.0, "x"))
    assert changed()
    assert not changed()
    look(db, watch.Seen("compute1", "nova", "silent", 1.0, "x"))
    assert changed()
    pauses.pause(db, "all", "alice", "x", None)
    assert changed()
    pauses.pause(db, "all", "alice", "y", 60)
    assert changed()
    with db.write() as session:
        old = db.now(session) - datetime.timedelta(seconds=16)
        session.execute(sa.update(Watch).values(looked_at=old))
    assert changed()
    with db.write() as session:
        session.execute(sa.delete(HostState))
    assert changed()
    held(db)
    assert changed()
