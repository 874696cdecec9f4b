# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore promises of its calls to Nova, checked where each of them leaves.

The cloud is known by its own records: nothing here asks hacore.
"""

import dataclasses
import datetime
import json
import re
from typing import Any

from hacore.nova import LATE_S
from hacore.states import ENDED
from hacore.states import NotificationStatus as Status
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.model import Migration, Server, Service
from tests.schedules.actors import Actors
from tests.schedules.alarms import needless_stop
from tests.schedules.device_checks import DeviceChecks
from tests.schedules.plans import INTERVAL_S
from tests.simulation import START, _Actor
from tests.world import LONGEST_LOOK_S

_ACTION = re.compile(r"/servers/([0-9a-f-]+)/action$")
#: Statuses of an evacuation's record.
UNDER_WAY = ("accepted", "pre-migrating")
_SUCCEEDED = ("done", "completed")
_LIVE, _GUEST_MAY_HAVE_LEFT = "live-migration", ("running", "post-migrating")
#: Seconds that a host has been silent when its evacuation begins, less what Nova cuts off, and
#: after which it is missing for certain.
_SILENT_S, _MISSING_S = 3.2 * INTERVAL_S - 1.4, 3.2 * INTERVAL_S + 2 * LONGEST_LOOK_S
#: The same where somebody's PUT may have hidden the last heartbeat.
_HIDDEN_S = 1.6 * INTERVAL_S - 1.4
#: Seconds after which a host that has returned is heard for certain.
_HEARD_S = 2 * INTERVAL_S + 2 * LONGEST_LOOK_S
_ENABLED = re.compile(r"/os-services/([0-9a-f-]+|enable)$")
#: Two sums of the same seconds differ by less.
_ROUNDING_S = 0.001
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


class CallChecks:
    """Watches the calls of one schedule; collects the `violations`."""

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
        self.acted_for: set[tuple[str, str]] = set()
        #: When each engine last read a server, or a list of them.
        self._looked_at: dict[str, float] = {}
        #: When the host of each notification had died, as it came in.
        self._failed_at: dict[str, float] = {}
        self._records = 0
        #: The limit of [mass_failure] max_share.
        self.max_share = 0
        self.heard_s = _HEARD_S
        #: What is promised of fencing devices; set once it is known which there are.
        self.devices: DeviceChecks
        #: Notifications of which a first evacuation has been seen.
        self._passed: set[str] = set()
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
        self._enables(request)
        sent = Sent(actor.group, claim, "", request.method, self._clock.monotonic())
        match = _ACTION.search(request.url)
        if match is not None:
            body = json.loads(request.body)
            ((action, values),) = body.items()
            self._acts(row, match[1], action, values)
            sent.instance, sent.action = match[1], action
            if action == "evacuate":
                self._flies(sent)
                self._silent(row)
                self.devices.evacuates(row)
                self._few_enough(row)
        return sent

    def _silent(self, row: dict[str, Any]) -> None:
        """No instance is evacuated from a host that has sent a heartbeat of late."""
        host = self._host_of(row)
        service = self._cloud.state.host(host).service
        self._cloud.advance()
        # whole seconds in Nova, and the looks of an engine
        now = self._cloud.now
        if service.alive and now - service.reports_from < _HEARD_S:
            return  # it has just returned: one heartbeat may be an old one
        age_s = now - self._cloud.state.last_report(service)
        if age_s < self.silent_s(service, now - age_s) and not self._has_proof(row):
            self.broken(
                f"an evacuation from {host}, whose last heartbeat was {age_s:.1f} s ago, for "
                f"{row['uuid']}"
            )

    @staticmethod
    def silent_s(service: Service, last_report: float) -> float:
        """Seconds that a host must have been silent, by its last heartbeat.

        An engine cannot see one that is in the same look as a PUT.
        """
        is_hidden = abs(service.changed - last_report) <= LONGEST_LOOK_S + INTERVAL_S
        return _HIDDEN_S if is_hidden else _SILENT_S

    def _enables(self, request: Any) -> None:
        """A compute service may be about to be enabled."""
        match = _ENABLED.search(request.url)
        if match is None or not request.body:
            return
        body = json.loads(request.body)
        if match[1] == "enable":
            self.devices.enables(body["host"])
        elif body.get("status") == "enabled":
            service = next(
                each for each in self._cloud.state.services.values() if each.uuid == match[1]
            )
            self.devices.enables(service.host)

    def _has_proof(self, row: dict[str, Any]) -> bool:
        return any(
            proof["host_uuid"] == row["source_host_uuid"] and proof["void_at"] is None
            for proof in self.rows["proofs"].values()
        )

    def _few_enough(self, row: dict[str, Any]) -> None:
        """No evacuation begins above the limit without an operator's word."""
        if not self.max_share or row["uuid"] in self._passed:
            return
        self._passed.add(row["uuid"])
        segment = self.rows["hosts"][row["source_host_uuid"]]["segment_uuid"]
        names = [
            host["name"]
            for host in self.rows["hosts"].values()
            if host["segment_uuid"] == segment
            and (not host["on_maintenance"] or host["maintenance_by"])
        ]
        now = self._cloud.now
        missing = [
            name
            for name in names
            if now - self._cloud.state.last_report(self._cloud.state.host(name).service)
            > _MISSING_S
        ]
        if len(missing) < 3 or len(missing) * 100 <= self.max_share * len(names):
            return
        if "majority" not in json.loads(row["approvals"] or "{}") and not self._has_proof(row):
            self.broken(
                f"an evacuation for {row['uuid']} begins, and {len(missing)} of {len(names)} hosts "
                "of its segment are missing"
            )

    def _flies(self, sent: Sent) -> None:
        """No call of which nobody can know whether Nova will carry it out is followed by another.

        It is known once Nova has answered, or has made a record.
        """
        before = self._evacuations.setdefault(sent.instance, [])
        for other in before:
            if not other.known and LATE_S - (sent.at - other.at) > _ROUNDING_S:
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
        self._cloud.advance()
        server = self._cloud.state.servers.get(instance)
        if server is None:
            return
        looked_at = self._looked_at.get(actor, 0.0)
        mine = (row["uuid"], instance) in self.acted_for
        # an engine that died may have sent the stop, as far as the next one can know
        mine = mine or (action == "os-start" and row["attempt"] > 1)
        if action in ("os-stop", "os-start"):  # what was begun is completed, wherever it is then
            self.acted_for.add((row["uuid"], instance))
        if server.host != self._host_of(row):
            if server.updated < looked_at and not mine:
                self.broken(
                    f"{action} of {server.name} on {server.host} for {row['uuid']}, an alarm of "
                    f"{self._host_of(row)}"
                )
            return
        age_s = self._clock.monotonic() - self._seconds(row["created_at"])
        why = needless_stop(self._cloud, instance, self._host_of(row), age_s)
        if action == "os-stop" and why and server.updated < looked_at:
            self.broken(f"{row['uuid']} stops {server.name}, which {why}")

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
        if old.status in UNDER_WAY and not left:
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
