# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The fencing devices of hosts: what their probes have shown, and who talks to them now.

One row for each device, and a line of history only where something has changed.  What a device is
known by stays when its probes fail, and when it is taken out of the file for a while.
"""

import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Collection

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db.engine import Database, change, retry
from hacore.db.models import FencingDevice, FencingDeviceEntry
from hacore.states import USABLE, CanOff, PowerVerdict

LOG = logging.getLogger(__name__)

#: Refused logins in a row after which a device is left alone: it may lock the user out.
_DENIALS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What one probe has shown.

    :ivar identity: what the box is known by; None: it shows nothing, or was not asked.
    :ivar verified: the file names it.
    :ivar learn: what it shows now is taken for its identity, whatever was known before.
    :ivar refuted: it said off while Nova heard the host.
    :ivar file_mark: of the file of devices that the probe was made with.
    """

    host: str
    device: str
    level: int
    agent: str
    verdict: PowerVerdict
    sentence: str
    can_off: CanOff
    identity: str | None
    verified: bool
    learn: bool
    refuted: bool
    file_mark: str

    @property
    def is_usable(self) -> bool:
        """Whether it has answered, as the device of its host, and may switch it off."""
        return _is_usable(self.verdict, self.can_off)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A device as its last probe has shown it; `verdict` None: it was not probed yet."""

    host: str
    device: str
    level: int | None
    agent: str | None
    verdict: str | None
    since: datetime.datetime | None
    sentence: str | None
    can_off: str | None
    identity: str | None
    verified: bool
    accepted_by: str | None
    refuted_at: datetime.datetime | None
    denials: int
    file_mark: str | None
    probed_at: datetime.datetime | None
    age_s: float | None  #: of the probe

    @property
    def key(self) -> tuple[str, str]:
        """Host and name, as that of `hacore.fencing.devices.Device`."""
        return self.host, self.device

    @property
    def is_usable(self) -> bool:
        """Whether it has answered, as the device of its host, and may switch it off."""
        return _is_usable(self.verdict, self.can_off)

    def is_left_alone(self, file_mark: str) -> bool:
        """Whether it refuses the login so often that only a new file is a reason to try again."""
        return self.denials >= _DENIALS and self.file_mark == file_mark


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A line of the history of a device."""

    at: datetime.datetime
    device: str
    verdict: str | None
    message: str
    by: str | None
    identity_before: str | None
    identity: str | None


def _is_usable(verdict: str | None, can_off: str | None) -> bool:
    return verdict in USABLE and can_off != CanOff.NO


def all_of(db: Database) -> list[Seen]:
    """Return all devices of the file, as far as they are known, by host and level."""
    return _seen(db, FencingDevice.removed_at.is_(None))


def of_host(db: Database, host: str) -> list[Seen]:
    """Return those of one host."""
    return _seen(db, FencingDevice.removed_at.is_(None), FencingDevice.host == host)


def _seen(db: Database, *wanted: sa.ColumnElement[bool]) -> list[Seen]:
    columns = [getattr(FencingDevice, field.name) for field in dataclasses.fields(Seen)[:-1]]
    with db.read() as session:
        now = db.now(session)
        query = sa.select(*columns).where(*wanted)
        order = (FencingDevice.host, FencingDevice.level, FencingDevice.device)
        rows = session.execute(query.order_by(*order)).mappings()
        return [Seen(**row, age_s=_age_s(row["probed_at"], now)) for row in rows]


def _age_s(at: datetime.datetime | None, now: datetime.datetime) -> float | None:
    return None if at is None else (now - at).total_seconds()


def history(db: Database, host: str, limit: int = 20) -> list[Change]:
    """Return the last changes of the devices of a host, the newest first."""
    with db.read() as session:
        rows = session.scalars(
            sa.select(FencingDeviceEntry)
            .where(FencingDeviceEntry.host == host)
            .order_by(FencingDeviceEntry.id.desc())
            .limit(limit)
        )
        return [
            Change(
                row.created_at,
                row.device,
                row.verdict,
                row.message,
                row.by,
                row.identity_before,
                row.identity,
            )
            for row in rows
        ]


@retry
def record(db: Database, probe: Probe) -> bool:
    """Write what a probe has shown; return whether that is a change."""
    with db.write() as session:
        now = db.now(session)
        row = _locked(session, probe.host, probe.device, now)
        before = (row.verdict, row.can_off, row.identity)
        if probe.identity is not None:
            if row.identity is None or probe.verified or probe.learn:
                row.identity = probe.identity
            row.verified = probe.verified
        row.refuted_at = (row.refuted_at or now) if probe.refuted else None
        denied = probe.verdict is PowerVerdict.DENIED
        again = row.denials if row.file_mark == probe.file_mark else 0
        row.denials, row.file_mark = again + 1 if denied else 0, probe.file_mark
        row.level, row.agent, row.removed_at = probe.level, probe.agent, None
        row.probed_at = row.updated_at = now
        row.sentence, row.can_off = probe.sentence, probe.can_off
        if row.verdict != probe.verdict:
            row.verdict, row.since = probe.verdict, now
        changed = before != (row.verdict, row.can_off, row.identity)
        if changed:
            _note(session, row, now, _said(probe, learned=row.identity != before[2]))
    if changed:
        LOG.log(
            logging.INFO if probe.is_usable else logging.WARNING,
            "fencing device: %s (%s)",
            _said(probe, learned=False),
            probe.verdict,
        )
    return changed


def _said(probe: Probe, *, learned: bool) -> str:
    more = []
    if probe.can_off is CanOff.NO:
        more.append("it cannot switch the host off")
    if learned:
        more.append(f"its identity is {probe.identity}")
    return "; ".join([probe.sentence, *more])


def _locked(session: orm.Session, host: str, device: str, now: datetime.datetime) -> FencingDevice:
    """Return the row of a device, which is new where there was none, locked."""
    row = session.scalar(
        sa.select(FencingDevice)
        .where(FencingDevice.host == host, FencingDevice.device == device)
        .with_for_update()
    )
    if row is None:
        row = FencingDevice(host=host, device=device, verified=False, denials=0, created_at=now)
        session.add(row)
    return row


def _note(
    session: orm.Session,
    row: FencingDevice,
    now: datetime.datetime,
    message: str,
    *,
    by: str | None = None,
    before: str | None = None,
) -> None:
    session.add(
        FencingDeviceEntry(
            host=row.host,
            device=row.device,
            created_at=now,
            verdict=row.verdict,
            message=f"{message.rstrip('.')}.",
            by=by,
            identity_before=before,
            identity=row.identity,
        )
    )


@retry
def accept(db: Database, host: str, device: str, identity: str | None, by: str) -> str | None:
    """Take it from a person that this is the device of the host; return what it was known by."""
    with db.write() as session:
        now = db.now(session)
        row = _locked(session, host, device, now)
        before = row.identity
        row.identity, row.verified, row.accepted_by = identity, False, by
        row.refuted_at, row.updated_at = None, now
        said = f"{by} has accepted the identity {identity or '(none)'}; before: {before or 'none'}"
        _note(session, row, now, said, by=by, before=before)
    LOG.warning("fencing device: %s, device %s: %s", host, device, said)
    return before


@retry
def remove(db: Database, keys: Collection[tuple[str, str]]) -> None:
    """Note that these are no devices of registered hosts any more."""
    with db.write() as session:
        now = db.now(session)
        for host, device in keys:
            of_it = (FencingDevice.host == host, FencingDevice.device == device)
            change(session, sa.update(FencingDevice).where(*of_it).values(removed_at=now))


def forget_denials(session: orm.Session, host: str) -> None:
    """Let the devices of a host be probed again, though they have refused the login."""
    change(session, sa.update(FencingDevice).where(FencingDevice.host == host).values(denials=0))


# ----------------------------------------------------------- one call at a time


@retry
def take(db: Database, host: str, device: str, who: str, lease_s: float) -> bool:
    """Take the turn to talk to a device, for `lease_s` at most; False: somebody else has it.

    :param who: unlike any other's.  Where it is of a claim it begins with ``UUID/NUMBER/``, and
        takes the turn of an earlier claim: its engine has died, or has lost it.
    """
    with contextlib.suppress(db_exc.DBDuplicateEntry), db.write() as session:
        now = db.now(session)
        until = now + datetime.timedelta(seconds=lease_s)
        of_it = (FencingDevice.host == host, FencingDevice.device == device)
        free = sa.or_(
            FencingDevice.busy_until.is_(None),
            FencingDevice.busy_until < now,
            _is_of_earlier_claim(who),
        )
        if change(
            session,
            sa.update(FencingDevice).where(*of_it, free).values(busy_by=who, busy_until=until),
        ):
            return True
        if session.scalar(sa.select(FencingDevice.id).where(*of_it)) is not None:
            return False
        row = _locked(session, host, device, now)
        row.busy_by, row.busy_until = who, until
        return True
    return False  # another one was as fast


def _is_of_earlier_claim(who: str) -> sa.ColumnElement[bool]:
    subject, _, rest = who.partition("/")
    if not rest:
        return sa.false()
    mine = f"{subject}/{rest.partition('/')[0]}/"
    busy = FencingDevice.busy_by
    return sa.and_(busy.startswith(f"{subject}/"), sa.not_(busy.startswith(mine)))


@retry
def give_back(db: Database, host: str, device: str, who: str) -> None:
    """End a turn; nothing where it has run out, and another one has it."""
    with db.write() as session:
        of_it = (FencingDevice.host == host, FencingDevice.device == device)
        mine = sa.update(FencingDevice).where(*of_it, FencingDevice.busy_by == who)
        change(session, mine.values(busy_by=None, busy_until=None))
