# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Proofs: whose word it is that a host is off, and for how long that stands.

A proof is void from when Nova hears the host again; that is found by who watches Nova
(`hacore.engine.proofs`), who also notes the heartbeat that Nova shows while the host is off; or
from when the host is in service again.  Nothing else of it ever changes.
"""

import dataclasses
import datetime
import logging
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import claims, history, holds, watch
from hacore.db.claims import Claim
from hacore.db.engine import Database, change, retry
from hacore.db.models import Host, Notification, Proof
from hacore.errors import Conflict, HostNotFound, Invalid
from hacore.states import LIVE, Hearing, NotificationType, PowerAction, ProofKind, Rule

LOG = logging.getLogger(__name__)

#: Seconds for which a reboot by Pacemaker proves something: the host comes up again.
REBOOT_S = 120.0
#: Each node of a cluster posts what one of them has done: within so many seconds that is one proof.
_SAME_S = 60.0
#: What goes on once the host is proved off, whatever else is wrong.
_LIFTED = frozenset(Rule) - {Rule.PAUSE, Rule.RESTARTS, Rule.OWN_HOST}


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """A proof as it is stored.

    :ivar age_s: for how long it has stood.
    :ivar beat: the heartbeat of its nova-compute that was the last one; None: nobody has looked.
    :ivar devices: the names of those that have shown it; empty: it is not theirs.
    """

    uuid: str
    host: str
    notification_uuid: str | None
    kind: ProofKind
    action: PowerAction | None
    by: str | None
    reason: str | None
    at: datetime.datetime
    age_s: float
    beat: str | None
    void_at: datetime.datetime | None
    void_reason: str | None
    devices: frozenset[str]

    @property
    def sentence(self) -> str:
        """What it says."""
        why = f": {self.reason.rstrip('.')}" if self.reason else ""
        match self.kind:
            case ProofKind.POWER_OFF:
                return f"{self.host} is off{why}."
            case ProofKind.STEP:
                return f"A step has proved that {self.host} is off."
            case ProofKind.OPERATOR:
                return f"{self.by} has confirmed that {self.host} is off{why}."
            case ProofKind.PACEMAKER:
                done = "rebooted" if self.action is PowerAction.REBOOT else "switched off"
                return f"Pacemaker has {done} {self.host}{why}."


@retry
def of_step(db: Database, claim: Claim, beat: str | None) -> None:
    """Record that a step of this recovery has proved its host off.

    :param beat: the heartbeat that Nova shows now.
    """
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        session.add(_row(row.source_host_uuid, row.uuid, ProofKind.STEP, now, beat=beat))
    LOG.info("notification %s: a step has proved host %s off", claim.uuid, claim.host_name)


@retry
def of_devices(
    db: Database, claim: Claim, beat: str | None, reason: str, details: list[dict[str, Any]]
) -> None:
    """Record that the fencing devices of its host have proved it off.

    :param reason: what they have shown, in words.
    :param details: the same of each, as JSON.
    """
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        proof = _row(
            row.source_host_uuid, row.uuid, ProofKind.POWER_OFF, now, beat=beat, reason=reason
        )
        proof.details = details
        session.add(proof)
    LOG.warning("host %s is off: %s", claim.host_name, reason)


@retry
def confirm_off(db: Database, host_uuid: str, name: str, by: str, reason: str) -> Given:
    """Record that a person has seen to it that a host is off; what waits for that goes on.

    :param name: of the host, given once more.

    Raises HostNotFound; Invalid where that is another name; Conflict where Nova hears the host,
    or no engine looks.
    """
    with db.write() as session:
        host = _lock(session, host_uuid, name)
        now = db.now(session)
        report = watch.read(session, now)
        watch.require_current(report)
        known = report.hosts.get(name)
        if known is not None and known.state == Hearing.HEARD:
            raise Conflict(
                f"Nova hears {name}, so it is not off, or has been for a moment only: switch it "
                "off, and confirm it when Nova has not heard it for some seconds."
            )
        row = _row(host_uuid, None, ProofKind.OPERATOR, now, by=by, reason=reason)
        return _use(session, row, host, now)


@retry
def of_pacemaker(
    db: Database, host_uuid: str, name: str, action: PowerAction, by: str, reason: str
) -> Given:
    """Record that Pacemaker has fenced a host; what waits for that goes on.

    Each node of the cluster says so: within a minute that is one proof.  Nova may have heard the
    host a moment ago.

    Raises HostNotFound, or Invalid where the host has another name.
    """
    with db.write() as session:
        host = _lock(session, host_uuid, name)
        now = db.now(session)
        same = session.scalars(
            sa.select(Proof).where(
                Proof.host_uuid == host_uuid,
                Proof.void_at.is_(None),
                Proof.kind == ProofKind.PACEMAKER,
                Proof.action == action,
                Proof.created_at > now - datetime.timedelta(seconds=_SAME_S),
            )
        ).first()
        if same is not None:
            return _given(same, name, now)
        row = _row(host_uuid, None, ProofKind.PACEMAKER, now, action=action, by=by, reason=reason)
        return _use(session, row, host, now)


def _lock(session: orm.Session, host_uuid: str, name: str) -> Host:
    """Return the host, locked and written (Galera).

    Raises HostNotFound, or Invalid where it has another name than the one that was given again.
    """
    session.execute(
        sa.update(Host)
        .where(Host.uuid == host_uuid, Host.deleted == 0)
        .values(locks=Host.locks + 1)
        .execution_options(synchronize_session=False)
    )
    host = session.scalars(sa.select(Host).where(Host.uuid == host_uuid, Host.deleted == 0)).first()
    if host is None:
        raise HostNotFound(f"No host has the uuid {host_uuid}.")
    if host.name != name:
        raise Invalid(f"host: {name!r} is given, and host {host_uuid} is {host.name}.")
    return host


def _row(
    host_uuid: str,
    notification_uuid: str | None,
    kind: ProofKind,
    now: datetime.datetime,
    **values: str | None,
) -> Proof:
    return Proof(
        uuid=str(uuid.uuid4()),
        host_uuid=host_uuid,
        notification_uuid=notification_uuid,
        kind=kind,
        created_at=now,
        **values,
    )


def _use(session: orm.Session, row: Proof, host: Host, now: datetime.datetime) -> Given:
    """Store a proof, for the recovery of the host where there is one; that goes on, if it waits."""
    recovery = session.scalars(
        sa.select(Notification)
        .where(
            Notification.source_host_uuid == host.uuid,
            Notification.type == NotificationType.COMPUTE_HOST,
            Notification.status.in_(LIVE),
        )
        .order_by(Notification.id.desc())
        .with_for_update()
    ).first()
    session.add(row)
    row.notification_uuid = None if recovery is None else recovery.uuid
    given = _given(row, host.name, now)
    if recovery is not None:
        history.add(session, recovery.uuid, recovery.claim_number, now, message=given.sentence)
        if recovery.held_rule is not None and Rule(recovery.held_rule) in _LIFTED:
            text = f"Goes on: it is proved that {host.name} is off."
            holds.let_go_on(session, recovery, now, text)
    LOG.warning("host %s: %s", host.name, given.sentence)
    return given


#: Asked each second by each recovery that waits, and mostly there is none: of one column, and made
#: once.
_ANY = (
    sa.select(Proof.id)
    .where(Proof.host_uuid == sa.bindparam("host"), Proof.void_at.is_(None))
    .limit(1)
)


def standing(
    db: Database, host_uuid: str, notification_uuid: str, lifetime_s: float
) -> list[Given]:
    """Return the proofs that a host is off which stand for this recovery, the newest first."""
    with db.read() as session:
        if session.execute(_ANY, {"host": host_uuid}).first() is None:
            return []
        found = session.execute(
            sa.select(Proof, Host.name)
            .join(Host, Host.uuid == Proof.host_uuid)
            .where(Proof.host_uuid == host_uuid, Proof.void_at.is_(None))
            .order_by(Proof.id.desc())
        ).all()
        now = db.now(session)
        given = [_given(row, name, now) for row, name in found]
    return [each for each in given if _stands(each, notification_uuid, lifetime_s)]


def _stands(given: Given, notification_uuid: str, lifetime_s: float) -> bool:
    if given.action is PowerAction.REBOOT:
        return given.age_s <= REBOOT_S
    return given.notification_uuid == notification_uuid or given.age_s <= lifetime_s


@retry
def note_beat(db: Database, given: Given, beat: str | None) -> None:
    """Record what Nova shows as the heartbeat of the host while it is off."""
    with db.write() as session:
        change(session, sa.update(Proof).where(Proof.uuid == given.uuid).values(beat=beat))


@retry
def void(db: Database, given: Given, why: str) -> bool:
    """Record, once, that a proof stands no longer; whether this did it."""
    with db.write() as session:
        if not _void(session, db.now(session), why, Proof.uuid == given.uuid):
            return False
    LOG.warning("host %s: a proof is void: %s %s", given.host, given.sentence, why)
    return True


@retry
def void_by_device(db: Database, host_uuid: str, host: str, why: str) -> None:
    """Record that no proof of a host stands any longer: a device of it says that it is on."""
    with db.write() as session:
        voided = _void(session, db.now(session), why, Proof.host_uuid == host_uuid)
    if voided:
        LOG.warning("host %s: what proved it off is void: %s", host, why)


def voided(db: Database, claim: Claim) -> Given | None:
    """Return the newest proof that the devices have given this recovery, where it is void."""
    with db.read() as session:
        row = session.scalars(
            sa.select(Proof)
            .where(Proof.notification_uuid == claim.uuid, Proof.kind == ProofKind.POWER_OFF)
            .order_by(Proof.id.desc())
            .limit(1)
        ).first()
        if row is None or row.void_at is None:
            return None
        return _given(row, claim.host_name, db.now(session))


def void_all(session: orm.Session, host_uuid: str, now: datetime.datetime, why: str) -> None:
    """Record, within the caller's transaction, that no proof of a host stands any longer.

    Those stay that were made for a failure which was reported meanwhile.
    """
    live = session.scalars(
        sa.select(Notification.uuid).where(
            Notification.source_host_uuid == host_uuid, Notification.status.in_(LIVE)
        )
    ).all()
    not_live = sa.or_(Proof.notification_uuid.is_(None), Proof.notification_uuid.not_in(live))
    _void(session, now, why, Proof.host_uuid == host_uuid, not_live)


def _void(
    session: orm.Session, now: datetime.datetime, why: str, *which: sa.ColumnElement[bool]
) -> int:
    """Write that these stand no longer, where they do; return how many did."""
    stand = sa.update(Proof).where(*which, Proof.void_at.is_(None))
    return change(session, stand.values(void_at=now, void_reason=why, updated_at=now))


def of_host(db: Database, host_uuid: str) -> list[Given]:
    """Return all proofs of a host, the newest first.  Raises HostNotFound."""
    with db.read() as session:
        host = session.scalars(sa.select(Host).where(Host.uuid == host_uuid)).first()
        if host is None:
            raise HostNotFound(f"No host has the uuid {host_uuid}.")
        now = db.now(session)
        rows = session.scalars(
            sa.select(Proof).where(Proof.host_uuid == host_uuid).order_by(Proof.id.desc())
        )
        return [_given(row, host.name, now) for row in rows]


def _given(row: Proof, host: str, now: datetime.datetime) -> Given:
    return Given(
        uuid=row.uuid,
        host=host,
        notification_uuid=row.notification_uuid,
        kind=ProofKind(row.kind),
        action=None if row.action is None else PowerAction(row.action),
        by=row.by,
        reason=row.reason,
        at=row.created_at,
        age_s=(now - row.created_at).total_seconds(),
        beat=row.beat,
        void_at=row.void_at,
        void_reason=row.void_reason,
        devices=frozenset(each["device"] for each in row.details or ()),
    )
