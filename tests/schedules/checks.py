# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore promises, checked at every commit; at every call in `call_checks`.

The database is known by triggers: nothing here asks hacore.  What must hold at the end is
in `verdict`.
"""

import datetime
import json
import re
from typing import Any

from hacore.states import ENDED, LIVE, TRANSITIONS, Gate
from hacore.states import NotificationStatus as Status
from tests.schedules.call_checks import UNDER_WAY, CallChecks
from tests.simulation import _Actor


class Checks(CallChecks):
    """Watches one schedule."""

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
        #: Held, and not any more: whoever finds that the cause is gone may write that.
        self._lifted = {
            new["uuid"]
            for table, old, new in changes
            if table == "notifications" and old and old["held_rule"] and not new["held_rule"]
        }
        for table, old, new in changes:
            if table == "notifications":
                self._notification(actor, old, new)
            elif table == "hosts":
                self._host(actor, old, new)
            elif table == "proofs":
                if old is None:
                    self.devices.proved(new, getattr(actor, "claim", None))
            elif table != "fencing_orders" or old is None:  # any claim of the host may close one
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
        elif self._is_engine(actor) and name not in self._lifted:
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
        if row["uuid"] in self._lifted or new.get("gate") == Gate.POWER:
            return  # whether a host is off still is written after the end, under no claim
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
                evacuation = record.migration_type == "evacuation"
                going = record.status in (*UNDER_WAY, "done")
                if evacuation and record.dest_compute == host and going:
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
            or record.status in UNDER_WAY
            for record in self._cloud.state.migrations_of[new["instance_uuid"]]
        ):
            self.broken(f"{new['instance_uuid']} timed out, and was never evacuated")
        if new["status"] == "succeeded":
            self._cloud.advance()
            server = self._cloud.state.servers.get(new["instance_uuid"])
            if server is None or server.host != new["source_host"]:
                return
            # or it has moved, and come back by the recovery of the host where it was
            records = self._cloud.state.migrations_of[new["instance_uuid"]]
            if not any(record.dest_compute == server.host for record in records):
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
            # since the engine has looked: it may have been frozen before it wrote this
            changed = server is not None and server.updated > self._looked_at.get(row["owner"], 0.0)
            if server is not None and server.vm_state != "active" and not changed:
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


def _age_s(old: dict[str, Any], new: dict[str, Any]) -> float:
    begun, now = (datetime.datetime.fromisoformat(row["created_at"]) for row in (old, new))
    return (now - begun).total_seconds()
