# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore promises, checked at every commit and at every call.

The database is known by triggers and the cloud by its own records: nothing
here asks hacore.  What must hold at the end is in `verdict`.
"""

import dataclasses
import datetime
import json
import re
from typing import Any

from hacore.nova import LATE_S
from hacore.states import ENDED, LIVE, TRANSITIONS
from hacore.states import NotificationStatus as Status
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.model import Migration, Server
from tests.schedules.actors import Actors
from tests.simulation import START, _Actor

_ACTION = re.compile(r"/servers/([0-9a-f-]+)/action$")
_UNDER_WAY = ("accepted", "pre-migrating")
_LIVE, _GUEST_MAY_HAVE_LEFT = "live-migration", ("running", "post-migrating")
_SUCCEEDED = ("done", "completed")
#: Our lock: made with a reason, or, before 2.73, by the only administrator who makes them.
#: A restart that began so soon after an alarm came in may be older than what it tells of.
_ALARM_FIRST_S = 3.5
_TOUCHING = ("lock", "evacuate", "os-resetState")


@dataclasses.dataclass
class Sent:
    """A call that changes something, as an engine sent it for a claim."""

    engine: str
    claim: tuple[str, int]
    instance: str  #: empty: of a host
    action: str
    at: float
    known: bool = False  #: what became of it can be known


class Checks:
    """Watches one schedule; collects the `violations`."""

    def __init__(self, clock: Actors, cloud: Cloud, columns: dict[str, tuple[str, ...]]) -> None:
        self._clock = clock
        self._cloud = cloud
        self._columns = columns
        self.violations: list[str] = []
        #: What is committed, by table and key.
        self.rows: dict[str, dict[Any, dict[str, Any]]] = {table: {} for table in columns}
        #: Uuids of the instances whose lock is somebody's own.
        self.owned_locks: frozenset[str] = frozenset()
        #: When each host died last; those that never died are not in it.
        self.died_at: dict[str, float] = {}
        #: What each instance was like when its host died last: when, vm_state, power_state.
        self.before: dict[str, tuple[float, str, int]] = {}
        self.takeovers = 0
        #: When hacore last asked to reset the state of an instance to error, for its host.
        self.reset_at: dict[str, float] = {}
        #: Reserved hosts that belonged to a recovery once.
        self.ever_taken: set[str] = set()
        #: Notifications with the instances that were stopped for them.
        self._stopped_for: set[tuple[str, str]] = set()
        #: When each engine last read a server, or a list of them.
        self._looked_at: dict[str, float] = {}
        #: When the host of each notification had died, as it came in.
        self._failed_at: dict[str, float] = {}
        self._records = 0
        #: The evacuate calls that were sent, by instance.
        self._evacuations: dict[str, list[Sent]] = {}

    def evacuate_calls(self, instance: str) -> list[Sent]:
        """The evacuate calls of an instance that were sent, by whomever."""
        return self._evacuations.get(instance, [])

    def broken(self, promise: str) -> None:
        """A promise does not hold."""
        self.violations.append(f"{self._clock.monotonic():.2f}: {promise}")

    def host_dies(self, name: str) -> None:
        """Remember what its instances are like."""
        now = self._cloud.now
        self.died_at[name] = now
        for server in self._cloud.state.on_host[name].values():
            self.before[server.uuid] = now, server.vm_state, server.power_state

    def host_returns(self, name: str) -> None:
        """It goes on with what it had begun, and its instances change."""
        for uuid in self._cloud.state.on_host[name]:
            self.before.pop(uuid, None)

    def _is_engine(self, actor: _Actor | None) -> bool:
        return actor is not None and not actor.group.startswith("-")

    # ----------------------------------------------------------- database

    def committed(self, actor: _Actor | None, written: list[tuple[Any, ...]]) -> None:
        """A transaction was committed."""
        changes = []
        for table, *values in written:
            new = dict(zip(self._columns[table], values, strict=True))
            key = values[0]
            changes.append((table, self.rows[table].get(key), new))
            self.rows[table][key] = new
        was_live = {
            new["uuid"]: old is not None and old["status"] == Status.RUNNING
            for table, old, new in reversed(changes)
            if table == "notifications"
        }
        for table, old, new in changes:
            if table == "notifications":
                self._notification(actor, old, new)
            elif table == "hosts":
                self._host(actor, old, new)
            else:
                self._of_recovery(actor, new, was_live)
            if table == "vmoves":
                self._move(old, new)

    def kind_of(self, written: list[tuple[Any, ...]]) -> str:
        """What an engine's transaction does that is not committed yet: claim, renewal or any."""
        kind = ""
        for table, *values in written:
            new = dict(zip(self._columns[table], values, strict=True))
            old = self.rows[table].get(values[0])
            if table == "hosts" or old is None or table != "notifications":
                kind = kind or "any"
            elif new["attempt"] != old["attempt"]:
                return "claim"
            elif new["status"] == old["status"] and new["message"] == old["message"]:
                kind = "renewal" if new["lease_until"] not in (None, old["lease_until"]) else "any"
        return kind

    def _notification(
        self, actor: _Actor | None, old: dict[str, Any] | None, new: dict[str, Any]
    ) -> None:
        if old is None:
            self._accepted(new)
            return
        if old == new:
            return  # that it was locked was counted, which decides nothing
        name = new["uuid"]
        if old["status"] != new["status"] and new["status"] not in TRANSITIONS[old["status"]]:
            self.broken(f"notification {name} went from {old['status']} to {new['status']}")
        if new["attempt"] != old["attempt"]:
            self._claimed(actor, old, new)
        elif self._is_engine(actor):
            self._owned(actor, new, "the notification")
            if old["status"] != Status.RUNNING:
                self.broken(f"notification {name} was written while it was {old['status']}")
        if new["status"] in ENDED and old["status"] != new["status"]:
            self._ended(new)

    def _accepted(self, new: dict[str, Any]) -> None:
        host = self.rows["hosts"][new["source_host_uuid"]]["name"]
        self._failed_at[new["uuid"]] = self.died_at.get(host, 0.0)
        for other in self.rows["notifications"].values():
            if (
                other["uuid"] != new["uuid"]
                and other["status"] in LIVE
                and other["subject"] == new["subject"]
                and other["source_host_uuid"] == new["source_host_uuid"]
                and json.loads(other["payload"]) == json.loads(new["payload"])
                and _age_s(other, new) <= 180
                and not self._started_between(other, new)
            ):
                self.broken(
                    f"notification {new['uuid']} was accepted beside its twin {other['uuid']}"
                )

    def _started_between(self, first: dict[str, Any], second: dict[str, Any]) -> bool:
        """Whether what both say has stopped was reported as started in between."""
        process = json.loads(first["payload"]).get("process_name")
        for row in self.rows["notifications"].values():
            payload = json.loads(row["payload"])
            if (
                row["subject"] == first["subject"]
                and first["created_at"] < row["created_at"] <= second["created_at"]
                and payload.get("event") == "STARTED"
                and payload.get("process_name") == process
            ):
                return True
        return False

    def _claimed(self, actor: _Actor | None, old: dict[str, Any], new: dict[str, Any]) -> None:
        now, name = self._now_text(), new["uuid"]
        due = {
            Status.NEW: True,
            Status.ERROR: (old["retry_at"] or "") <= now,
            Status.RUNNING: old["lease_until"] is None or old["lease_until"] < now,
        }.get(old["status"], False)
        if not due:
            self.broken(f"notification {name} was claimed while {old['status']} and not due")
        if new["attempt"] != old["attempt"] + 1 or actor is None or new["owner"] != actor.group:
            self.broken(f"notification {name}: claim {new['attempt']} of {new['owner']} is odd")
        self.takeovers += old["status"] == Status.RUNNING
        for other in self.rows["notifications"].values():
            if other["uuid"] == name:
                continue
            if (
                other["subject"] == new["subject"]
                and other["status"] == Status.RUNNING
                and (other["lease_until"] or "") >= now
            ):
                self.broken(f"{name} was claimed beside {other['uuid']} of the same subject")
            if (
                new["type"] == "VM"
                and other["type"] == "COMPUTE_HOST"
                and other["status"] in LIVE
                and other["source_host_uuid"] == new["source_host_uuid"]
            ):
                self.broken(f"{name} of an instance was claimed before its host's {other['uuid']}")

    def _owned(self, actor: _Actor | None, row: dict[str, Any], what: str) -> None:
        """The actor holds the newest claim of the notification."""
        if actor is None or not self._is_engine(actor):
            return
        claim = getattr(actor, "claim", None)
        mine = claim is None or claim == (row["uuid"], row["attempt"])
        if row["owner"] != actor.group or not mine:
            self.broken(
                f"{actor.group} wrote {what} of notification {row['uuid']} under claim {claim}; "
                f"the newest is {row['attempt']}, of {row['owner']}"
            )

    def _of_recovery(
        self, actor: _Actor | None, new: dict[str, Any], was_live: dict[str, bool]
    ) -> None:
        row = self.rows["notifications"][new["notification_uuid"]]
        self._owned(actor, row, "a line")
        ended = row["status"] != Status.RUNNING and not was_live.get(row["uuid"])
        if self._is_engine(actor) and ended:
            self.broken(f"something was written for {row['uuid']}, which is {row['status']}")
        if new.get("attempt", row["attempt"]) != row["attempt"]:
            self.broken(f"a line of attempt {new['attempt']} was written for {row['uuid']}")

    def _host(self, actor: _Actor | None, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        claim = getattr(actor, "claim", None)
        if old is None or claim is None:
            return
        self._owned(actor, self.rows["notifications"][claim[0]], f"host {new['name']}")
        if old["taken_by"] and new["taken_by"] and old["taken_by"] != new["taken_by"]:
            self.broken(f"reserved host {new['name']} was taken away from {old['taken_by']}")
        if old["taken_by"] and not new["taken_by"] and new["reserved"]:
            self._given_back(old["taken_by"], new["name"])
        if new["taken_by"]:
            self.ever_taken.add(new["name"])
        if new["taken_by"] == claim[0] != old["taken_by"] and not old["reserved"]:
            self.broken(f"host {new['name']} was taken and was not reserved")

    def _given_back(self, notification: str, host: str) -> None:
        """No instance is there, or on its way there."""
        for move in self.rows["vmoves"].values():
            if move["notification_uuid"] != notification or move["status"] == "failed":
                continue
            if move["instance_uuid"] not in self._cloud.state.servers:
                continue  # deleted meanwhile
            for record in self._cloud.state.migrations_of[move["instance_uuid"]]:
                if record.dest_compute == host and record.status in (*_UNDER_WAY, "done"):
                    self.broken(f"{host} is reserved again, and {record.server.name} goes there")

    # ------------------------------------------------------------ verdicts

    def _move(self, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        if old is not None and old["vm_state"] != new["vm_state"]:
            self.broken(f"the state before the failure of {new['instance_uuid']} was overwritten")
        if old is None:
            self._concerned(new["notification_uuid"], new["instance_uuid"], "the plan")
        if old is None or old["status"] == new["status"]:
            return
        self._is_gone(new)
        if old["status"] in ("succeeded", "ignored"):
            self.broken(
                f"the move of {new['instance_uuid']} went from {old['status']} to {new['status']}"
            )
        if new["status"] == "failed" and not new["message"]:
            self.broken(f"the move of {new['instance_uuid']} failed for no reason")
        if "Timed out" in (new["message"] or "") and not any(
            # or the recovery before has begun one, and this one waits for it
            record.created >= self._failed_at[new["notification_uuid"]]
            or record.status in _UNDER_WAY
            for record in self._cloud.state.migrations_of[new["instance_uuid"]]
        ):
            self.broken(f"{new['instance_uuid']} timed out, and was never evacuated")
        if new["status"] == "succeeded":
            self._cloud.advance()
            server = self._cloud.state.servers.get(new["instance_uuid"])
            if server is not None and server.host == new["source_host"]:
                self.broken(f"{server.name} is said to have moved and is on {server.host}")

    def _is_gone(self, move: dict[str, Any]) -> None:
        """What is ignored because it no longer exists does not."""
        if move["status"] != "ignored" or "no longer exists" not in (move["message"] or ""):
            return
        self._cloud.advance()
        if move["instance_uuid"] in self._cloud.state.servers:
            self.broken(f"{move['instance_uuid']} exists, and is said not to")

    def _ended(self, row: dict[str, Any]) -> None:
        """A notification came to its end: its sentence must be true now."""
        name, message = row["uuid"], row["message"] or ""
        if not message.endswith("."):
            self.broken(f"notification {name} ended without a sentence: {message!r}")
        moves = [m for m in self.rows["vmoves"].values() if m["notification_uuid"] == name]
        if row["status"] == Status.FINISHED and row["type"] == "COMPUTE_HOST":
            self._host_finished(row, message, moves)
        if row["status"] == Status.FINISHED and message.endswith("was restarted."):
            self._cloud.advance()
            server = self._cloud.state.servers.get(row["subject"].removeprefix("instance:"))
            if server is not None and server.vm_state != "active":
                self.broken(f"{server.name} is said to have been restarted: {server.vm_state}")
        if row["status"] == Status.FINISHED and message.endswith("is disabled in Nova."):
            host = self.rows["hosts"][row["source_host_uuid"]]["name"]
            if not self._cloud.state.host(host).service.disabled:
                self.broken(f"nova-compute on {host} is said to be disabled")
        if "nothing was evacuated" in message and any(m["status"] == "succeeded" for m in moves):
            self.broken(f"notification {name} says {message!r}, and something was")
        for move in moves:
            if move["status"] in ("pending", "ongoing"):
                self.broken(
                    f"{name} is {row['status']} and its move of {move['instance_uuid']} is "
                    f"{move['status']}"
                )

    def _host_finished(
        self, row: dict[str, Any], message: str, moves: list[dict[str, Any]]
    ) -> None:
        counts = re.fullmatch(r"(\d+) evacuated, (\d+) skipped\.", message)
        done = sum(move["status"] == "succeeded" for move in moves)
        if counts and (int(counts[1]), int(counts[2])) != (done, len(moves) - done):
            self.broken(f"notification {row['uuid']} says {message!r} of {done}/{len(moves)} moves")
        if any(move["status"] == "failed" for move in moves):
            self.broken(f"notification {row['uuid']} is finished with failed moves")
        host = self._host_of(row)
        if host not in self.died_at or self.died_at[host] != self._failed_at[row["uuid"]]:
            return  # it lived, or has failed once more since
        self._cloud.advance()
        known = {move["instance_uuid"] for move in moves}
        for server in self._cloud.state.on_host[host].values():
            if server.uuid not in known and not self._cloud.state.host(host).service.alive:
                self.broken(
                    f"{row['uuid']} is finished ({message}), and does not know {server.name}, "
                    f"which is on dead {host}"
                )

    # --------------------------------------------------------------- calls

    def calls(self, actor: _Actor | None, request: Any) -> Sent | None:
        """An engine sends a request now, whoever decided to: a library repeats some.

        Returns what it sends, if that changes something for a recovery.
        """
        claim = getattr(actor, "claim", None)
        if claim is None or "/compute" not in request.url:
            return None
        if request.method == "GET" and "/servers" in request.url and actor is not None:
            self._looked_at[actor.group] = self._clock.monotonic()
        row = self.rows["notifications"][claim[0]]
        assert actor is not None
        if (row["owner"], row["attempt"]) != (actor.group, claim[1]):
            self.broken(
                f"{actor.group} calls Nova under claim {claim}, {row['owner']} took it over"
            )
        elif row["status"] != Status.RUNNING or (row["lease_until"] or "") < self._now_text():
            self.broken(
                f"{actor.group} calls Nova under claim {claim}, which has ended ({row['status']}, "
                f"lease until {row['lease_until']})"
            )
        if request.method == "GET":
            return None
        sent = Sent(actor.group, claim, "", request.method, self._clock.monotonic())
        match = _ACTION.search(request.url)
        if match is not None:
            body = json.loads(request.body)
            ((action, values),) = body.items()
            self._acts(row, match[1], action, values)
            sent.instance, sent.action = match[1], action
            if action == "evacuate":
                self._flies(sent)
        return sent

    def _flies(self, sent: Sent) -> None:
        """No call of which nobody can know whether Nova will carry it out is followed by another.

        It is known once Nova has answered, or has made a record.
        """
        before = self._evacuations.setdefault(sent.instance, [])
        for other in before:
            if not other.known and sent.at - other.at < LATE_S:
                self.broken(
                    f"{sent.engine} calls evacuate of {sent.instance}, and the call of "
                    f"{other.engine} at {other.at:.2f} may be on its way"
                )
        before.append(sent)

    def answered(self, sent: Sent | None, status: int) -> None:
        """Nova has answered a call."""
        if sent is not None and status < 500:
            sent.known = True

    def arrived(self, sent: Sent | None, status: int) -> None:
        """Nova has carried out, or refused, a call whose sender hears nothing of it."""
        if sent is None or status >= 300 or not sent.instance:
            return
        row = self.rows["notifications"][sent.claim[0]]
        # what is given up half-way is left stopped by a call in time as by a late one
        message = row["message"] or ""
        kept = row["type"] == "VM" and (
            "was restarted" in message or "recovered by host" in message
        )
        undoes = sent.action == "lock" or (sent.action == "os-stop" and kept)
        if undoes and row["status"] in ENDED:
            self.broken(
                f"the {sent.action} of {sent.instance} that {sent.engine} sent at {sent.at:.2f} "
                f"arrives when {row['uuid']} is {row['status']}"
            )

    def _host_of(self, row: dict[str, Any]) -> str:
        """The name of the host that a notification is about."""
        return str(self.rows["hosts"][row["source_host_uuid"]]["name"])

    def _concerned(self, notification: str, instance: str, what: str) -> None:
        """The instance is on the failed host of a recovery, or left it through an evacuation."""
        row, server = (
            self.rows["notifications"][notification],
            self._cloud.state.servers.get(instance),
        )
        failed = self._host_of(row)
        if server is None or server.host == failed:
            return
        since = self._failed_at[notification]
        records = self._cloud.state.migrations_of[instance]
        if not any(each.source_compute == failed and each.created >= since for each in records):
            self.broken(
                f"{what} of {notification}, which is about {failed}, concerns {server.name} on "
                f"{server.host}"
            )

    def _alarmed(self, actor: str, row: dict[str, Any], instance: str, action: str) -> None:
        """An alarm stops no instance that was well when it was looked at, nor one elsewhere."""
        server = self._cloud.state.servers.get(instance)
        if server is None:
            return
        looked_at = self._looked_at.get(actor, 0.0)
        mine = (row["uuid"], instance) in self._stopped_for
        if action == "os-stop":
            self._stopped_for.add((row["uuid"], instance))
        if server.host != self._host_of(row):
            if server.updated < looked_at and not mine:
                self.broken(
                    f"{action} of {server.name} on {server.host} for {row['uuid']}, an alarm of "
                    f"{self._host_of(row)}"
                )
            return
        if action != "os-stop":
            return
        came_in = self._seconds(row["created_at"]) + _ALARM_FIRST_S
        restarted = any(
            each.started > came_in and each.name in ("reboot", "start")
            for each in self._cloud.state.actions.of(instance)
        )
        well = server.guest_up and server.vm_state == "active" and server.task_state is None
        if well and restarted and server.updated < looked_at:
            self.broken(f"{server.name}, restarted since {row['uuid']} came in, is stopped")

    def _acts(self, row: dict[str, Any], instance: str, action: str, values: Any) -> None:
        if action in ("lock", "unlock") and instance in self.owned_locks:
            self.broken(f"{action} of instance {instance}, which somebody else has locked")
        if row["type"] != "COMPUTE_HOST":
            self._alarmed(row["owner"], row, instance, action)
            return
        self._concerned(row["uuid"], instance, action)
        move = next(
            (
                move
                for move in self.rows["vmoves"].values()
                if move["notification_uuid"] == row["uuid"] and move["instance_uuid"] == instance
            ),
            None,
        )
        if move is None:
            self.broken(f"{action} of instance {instance}, which has no move")
            return
        if action == "lock" and not move["locked"]:
            self.broken(f"instance {instance} is locked before that is written down")
        if action == "evacuate":
            self._evacuates(row, move, values)
        if action == "os-resetState" and values == {"state": "error"}:
            self.reset_at[instance] = self._cloud.now
        source = self._cloud.state.hosts.get(move["source_host"])
        lives = source is not None and source.name not in self.died_at
        if action in _TOUCHING and lives and not source.service.forced_down:
            self.broken(f"{action} of instance {instance} on the living host {source.name}")

    def _evacuates(self, row: dict[str, Any], move: dict[str, Any], values: Any) -> None:
        if move["status"] != "ongoing":
            self.broken(f"{move['instance_uuid']} is evacuated with its move {move['status']}")
        for record in self._cloud.state.migrations_of[move["instance_uuid"]]:
            if record.migration_type == _LIVE and record.status in _GUEST_MAY_HAVE_LEFT:
                self.broken(
                    f"{record.server.name} is evacuated, and may run on {record.dest_compute}"
                )
        target = (values or {}).get("host")
        if target is not None:
            host = next(h for h in self.rows["hosts"].values() if h["name"] == target)
            if host["taken_by"] != row["uuid"]:
                self.broken(f"{target} is evacuated to and belongs to {host['taken_by']}")

    def before_call(self, method: str, path: str, body: bytes) -> None:
        """Nova begins to carry a call out."""
        self._records = len(self._cloud.state.migrations)

    def after_call(self) -> None:
        """Nova has: one evacuation more?"""
        records = self._cloud.state.migrations
        for new in records[self._records :]:
            for sent in self._evacuations.get(new.server.uuid, ()):
                sent.known = True  # which of them it was does not matter: it is watched now
            for old in self._cloud.state.migrations_of[new.server.uuid]:
                if old is not new and old.migration_type != _LIVE:
                    self._second(new.server, old, new)

    def _second(self, server: Server, old: Migration, new: Migration) -> None:
        # Nova works on the record of a live migration where there was one: ours stays as it was
        left = old.source_compute != new.source_compute
        if old.status in _UNDER_WAY and not left:
            self.broken(
                f"{server.name} is evacuated (record {new.id}), and record {old.id} is {old.status}"
            )
        same_failure = old.source_compute == new.source_compute and (
            old.created >= self.died_at.get(old.source_compute, 0.0)
        )
        # a host that comes back completes the evacuations from it, also those that never began
        began = old.dest_compute is not None
        if same_failure and began and old.status in _SUCCEEDED:
            self.broken(
                f"{server.name} is evacuated again (record {new.id}) after record {old.id} had "
                "succeeded"
            )

    # ---------------------------------------------------------------- time

    def _seconds(self, text: str) -> float:
        """A time of the database, in seconds of the simulated world."""
        at = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
        return (at - START).total_seconds()

    def _now_text(self) -> str:
        return self._clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")


def _age_s(old: dict[str, Any], new: dict[str, Any]) -> float:
    begun, now = (datetime.datetime.fromisoformat(row["created_at"]) for row in (old, new))
    return (now - begun).total_seconds()
