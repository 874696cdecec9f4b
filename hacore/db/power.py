# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts that hacore has proved off and that nobody has brought back: are they off still?

What their devices say is the answer of a gate of the recovery, recorded where it changes.
"""

import dataclasses
import datetime
import logging
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import gates, holds, proofs
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Host, Notification, Operation, Proof
from hacore.states import (
    LIVE,
    OPERATION_OPEN,
    Answer,
    Gate,
    NotificationType,
    ProofKind,
)

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """A host that was proved off and was left so by its recovery.

    :ivar since: when it was proved.
    :ivar ordered: it was on before, and hacore has switched it off.
    :ivar devices: the names of those that have proved it.
    :ivar on: what was written last: its devices say that it is on, in words; None: they did not.
    """

    host: str
    host_uuid: str
    notification_uuid: str
    since: datetime.datetime
    ordered: bool
    devices: frozenset[str]
    on: str | None


def left(db: Database) -> list[Left]:
    """Return the hosts that are to be off, by name.

    Not one whose recovery has not ended, which asks for itself, nor one with an open operation:
    that is to be on again.
    """
    with db.read() as session:
        rows = session.execute(_LEFT).all()
        words = _words(session, [row.notification_uuid for row in rows])
    found = {
        row.host_uuid: Left(
            host=row.name,
            host_uuid=row.host_uuid,
            notification_uuid=row.notification_uuid,
            since=row.created_at,
            ordered=any(each["ordered"] for each in row.details or ()),
            devices=frozenset(each["device"] for each in row.details or ()),
            on=words.get(row.notification_uuid),
        )
        for row in rows
    }
    return sorted(found.values(), key=lambda each: each.host)


def switched_on(db: Database) -> list[Left]:
    """Return those that are on."""
    return [each for each in left(db) if each.on]


#: The newest proof of a host comes last.
_LEFT = (
    sa.select(Host.name, Proof.host_uuid, Proof.notification_uuid, Proof.created_at, Proof.details)
    .join(Host, sa.and_(Host.uuid == Proof.host_uuid, Host.deleted == 0))
    .join(Notification, Notification.uuid == Proof.notification_uuid)
    .where(
        Proof.kind == ProofKind.POWER_OFF,
        # else it is in service again, or a person's for another reason
        Host.on_maintenance.is_(True),
        Host.maintenance_by == Proof.notification_uuid,
        Host.uuid.not_in(
            sa.select(Notification.source_host_uuid).where(
                Notification.type == NotificationType.COMPUTE_HOST, Notification.status.in_(LIVE)
            )
        ),
        Host.uuid.not_in(
            sa.select(Operation.host_uuid).where(Operation.status.in_(OPERATION_OPEN))
        ),
    )
    .order_by(Proof.id)
)


def _words(session: orm.Session, notification_uuids: Iterable[str]) -> dict[str, str]:
    """Return, by recovery, the sentence that a host is on, where that was the last one."""
    newest = (
        sa.select(sa.func.max(HistoryEntry.id))
        .where(
            HistoryEntry.notification_uuid.in_(list(notification_uuids)),
            HistoryEntry.gate == Gate.POWER,
        )
        .group_by(HistoryEntry.notification_uuid)
    )
    rows = session.execute(
        sa.select(HistoryEntry.notification_uuid, HistoryEntry.answer, HistoryEntry.message).where(
            HistoryEntry.id.in_(newest)
        )
    )
    return {row.notification_uuid: row.message for row in rows if row.answer == Answer.STOP}


def is_on(db: Database, host: Left, said: str) -> None:
    """Record, once, that a device says that a host is on; what has proved it off is void.

    :param said: what it is, and what it says.
    """
    proofs.void_by_device(db, host.host_uuid, host.host, f"{said}.")
    how = "switched off by hacore" if host.ordered else "found off by hacore"
    text = (
        f"{host.host}, {how} at {host.since:%Y-%m-%d %H:%M} UTC, is on: bring it back with "
        f"'hacore-manage host return {host.host}', or switch it off."
    )
    if _record(db, host, Answer.STOP, text, said):
        LOG.error("host %s: %s", host.host, text)


def is_off(db: Database, host: Left, said: str) -> None:
    """Record, once, that a host that was on is off again."""
    text = f"{host.host} is off again."
    if host.on and _record(db, host, Answer.GO, text, said):
        LOG.warning("host %s: %s", host.host, text)


@retry
def _record(db: Database, host: Left, answer: Answer, text: str, said: str) -> bool:
    with db.write() as session:
        row = holds.lock(session, host.notification_uuid)
        now = db.now(session)
        facts = {"said": said}
        return gates.add(session, row.uuid, row.claim_number, now, Gate.POWER, answer, facts, text)
