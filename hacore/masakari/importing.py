# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Imports segments, hosts, notifications and moves, in one transaction.

A row that already exists, by its uuid, is not changed: an import may be repeated at any
time.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.engine import Database, change, retry
from hacore.db.models import Host, Move, Notification, Segment
from hacore.masakari import rows
from hacore.masakari.rows import Refused, Values
from hacore.masakari.source import Row, Source

T = TypeVar("T")

#: Rows that are read, and written, at a time.
_CHUNK = 500


@dataclasses.dataclass
class Count:
    """What became of the rows of a table."""

    imported: int = 0
    present: int = 0  #: already in hacore
    refused: int = 0
    #: Deleted in Masakari, of a notification that is not imported, or of an earlier attempt.
    left_out: int = 0


@dataclasses.dataclass
class Report:
    """What an import did, or would have done.

    :ivar refused: a sentence for each row that is invalid.
    :ivar differing: a sentence for each row that already exists, and has changed since in
        either database.
    :ivar on_maintenance: names of the hosts on maintenance in Masakari, which hacore accepts no
        notification for.
    :ivar done: False where nothing was written.
    """

    segments: Count = dataclasses.field(default_factory=Count)
    hosts: Count = dataclasses.field(default_factory=Count)
    notifications: Count = dataclasses.field(default_factory=Count)
    vmoves: Count = dataclasses.field(default_factory=Count)
    refused: list[str] = dataclasses.field(default_factory=list)
    differing: list[str] = dataclasses.field(default_factory=list)
    on_maintenance: list[str] = dataclasses.field(default_factory=list)
    done: bool = False


class _NotWanted(Exception):
    """Rolls the transaction back."""


@retry
def run(
    db: Database, source: Source, *, dry_run: bool = False, skip_refused: bool = False
) -> Report:
    """Import everything, or nothing where a row is refused.

    :param dry_run: write nothing, only report.
    :param skip_refused: import the rest.
    """
    report = Report()
    try:
        with db.write() as session:
            _Import(session, source, report).run()
            if dry_run or (report.refused and not skip_refused):
                raise _NotWanted
            report.done = True
    except _NotWanted:
        pass
    return report


class _Import:
    def __init__(self, session: orm.Session, source: Source, report: Report) -> None:
        self._session = session
        self._source = source
        self._report = report
        #: uuids of what exists in hacore now; of hosts with name and segment, of notifications with
        #: the host's name.
        self._segments: set[str] = set()
        self._hosts: dict[str, tuple[str, str]] = {}
        self._notifications: dict[str, str] = {}

    def run(self) -> None:
        self._import_segments()
        self._import_hosts()
        self._import_notifications()
        self._import_moves()

    def _import_segments(self) -> None:
        table = _TableImport(self._session, "Segment", Segment, self._report, self._report.segments)
        for chunk in _chunks(self._source.rows("failover_segments")):
            taken = [table.read(row, row["uuid"], row["name"], rows.segment) for row in chunk]
            self._segments.update(table.write(taken, _named(chunk)))
        table.mark_deleted()

    def _import_hosts(self) -> None:
        table = _TableImport(self._session, "Host", Host, self._report, self._report.hosts)

        def values(row: Row) -> Values:
            if row["failover_segment_id"] not in self._segments:
                raise Refused(
                    f"its segment {row['failover_segment_id']} was refused or does not exist"
                )
            return rows.host(row)

        for chunk in _chunks(self._source.rows("hosts")):
            taken = [table.read(row, row["uuid"], row["name"], values) for row in chunk]
            here = table.write(taken, _named(chunk))
            self._hosts |= {
                row["uuid"]: (row["name"], row["failover_segment_id"])
                for row in chunk
                if row["uuid"] in here
            }
            self._report.on_maintenance += [
                row["name"]
                for row in chunk
                if row["uuid"] in here and row["on_maintenance"] and not rows.is_deleted(row)
            ]
        table.mark_deleted()

    def _import_notifications(self) -> None:
        count = self._report.notifications
        table = _TableImport(self._session, "Notification", Notification, self._report, count)

        def values(row: Row) -> Values:
            if row["source_host_uuid"] not in self._hosts:
                raise Refused(f"its host {row['source_host_uuid']} was refused or does not exist")
            _, segment = self._hosts[row["source_host_uuid"]]
            made = rows.notification(row, segment)
            if made["segment_uuid"] not in self._segments:
                raise Refused(f"its segment {made['segment_uuid']} was refused or does not exist")
            return made

        for chunk in _chunks(self._source.rows("notifications")):
            live = [row for row in chunk if not rows.is_deleted(row)]
            count.left_out += len(chunk) - len(live)
            taken = [table.read(row, row["notification_uuid"], None, values) for row in live]
            here = table.write(taken)
            self._notifications |= {
                row["notification_uuid"]: self._hosts[row["source_host_uuid"]][0]
                for row in live
                if row["notification_uuid"] in here
            }

    def _import_moves(self) -> None:
        count = self._report.vmoves
        table = _TableImport(self._session, "VM move", Move, self._report, count)
        for chunk in _chunks(self._last_attempts(count)):
            table.write(
                [
                    table.read(row, row["uuid"], None, functools.partial(self._move, position))
                    for position, row in chunk
                ]
            )

    def _move(self, position: int, row: Row) -> Values:
        return rows.move(row, self._notifications[row["notification_uuid"]], position)

    def _last_attempts(self, count: Count) -> Iterator[tuple[int, Row]]:
        """Yield the moves that are imported, each with its position.

        Masakari adds another row per instance when it retries a recovery.
        """
        found = self._source.rows("vmoves", "notification_uuid", "id")
        for notification, group in itertools.groupby(found, lambda row: row["notification_uuid"]):
            moves = list(group)
            last = {row["instance_uuid"]: row for row in moves if not rows.is_deleted(row)}
            if notification not in self._notifications:
                last = {}
            count.left_out += len(moves) - len(last)
            yield from enumerate(last.values())


class _TableImport:
    """Imports the rows of one kind, chunk by chunk."""

    def __init__(
        self, session: orm.Session, kind: str, model: Any, report: Report, count: Count
    ) -> None:
        self._session = session
        self._kind = kind
        self._model = model
        self._report = report
        self._count = count

    def read(
        self, row: Row, uuid: str, name: str | None, values: Callable[[Row], Values]
    ) -> Values | None:
        """Return the values for a row; None if it is refused, which is reported."""
        try:
            return values(row)
        except Refused as exc:
            self._refuse(uuid, name, str(exc))
            return None

    def write(
        self, taken: Iterable[Values | None], named: Mapping[str, int] | None = None
    ) -> set[str]:
        """Insert what does not exist yet; return the uuids of `taken` that exist now.

        :param named: the rows that can be deleted and must be named uniquely; see `_named`.
        """
        new = {values["uuid"]: values for values in taken if values}
        here = set()
        for row in self._session.scalars(
            sa.select(self._model).where(self._model.uuid.in_(list(new))).order_by(self._model.id)
        ):
            self._compare(row, new.pop(row.uuid))
            here.add(row.uuid)
        if named is not None:
            for values in new.values():
                values["deleted"] = named[values["uuid"]]
            self._refuse_taken_names(new)
        if new:
            self._session.execute(sa.insert(self._model), list(new.values()))
        self._count.present += len(here)
        self._count.imported += len(new)
        return here | set(new)

    def mark_deleted(self) -> None:
        """Mark the deleted rows with their own ids, as the models require."""
        change(
            self._session,
            sa.update(self._model).where(self._model.deleted < 0).values(deleted=self._model.id),
        )

    def _refuse_taken_names(self, new: dict[str, Values]) -> None:
        names = {values["name"]: uuid for uuid, values in new.items() if not values["deleted"]}
        for name, uuid in self._session.execute(
            sa.select(self._model.name, self._model.uuid).where(
                self._model.name.in_(list(names)), self._model.deleted == 0
            )
        ):
            del new[names[name]]
            self._refuse(
                names[name], name, f"its name is already used by {uuid}: rename one of them"
            )

    def _refuse(self, uuid: str, name: str | None, why: str) -> None:
        self._count.refused += 1
        self._report.refused.append(f"{_title(self._kind, uuid, name)}: {why}.")

    def _compare(self, row: Any, values: Values) -> None:
        fields = sorted(values.keys() - {"updated_at"})
        changed = [name for name in fields if getattr(row, name) != values[name]]
        if changed:
            title = _title(self._kind, row.uuid, getattr(row, "name", None))
            self._report.differing.append(
                f"{title} already exists with another {', '.join(changed)}; not changed."
            )


def _named(chunk: Sequence[Row]) -> dict[str, int]:
    """Return the mark of deletion by uuid: 0, or for a deleted row a number of its own below it."""
    return {row["uuid"]: -row["id"] if rows.is_deleted(row) else 0 for row in chunk}


def _title(kind: str, uuid: str, name: str | None) -> str:
    return f"{kind} {name!r} ({uuid})" if name else f"{kind} {uuid}"


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, _CHUNK)):
        yield chunk
