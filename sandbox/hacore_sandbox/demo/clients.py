# Licensed under the Apache License, Version 2.0; see LICENSE.
"""HTTP clients of the sandbox and of hacore; a failed call is a DemoError."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import requests

from hacore_sandbox.demo.records import Bmc, CloudState, DemoError, Recovery

_TIMEOUT_S = 15.0
_MICROVERSION = "instance-ha 1.3"


class _Client:
    """A client of one service.

    :param check: raises DemoError if the process of the service has ended.
    """

    def __init__(self, name: str, url: str, check: Callable[[], None]) -> None:
        self.name = name
        self.url = url
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy for 127.0.0.1

    def close(self) -> None:
        self._session.close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of the answer; DemoError for a fault and without an answer."""
        answer = self._send(method, path, body)
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, body: object = None) -> requests.Response:
        self._check()
        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=_TIMEOUT_S)
        except requests.RequestException as exc:
            self._check()
            raise DemoError(
                f"{self.name} did not answer {method} {path}: {type(exc).__name__}."
            ) from exc
        if not answer.ok:
            text = " ".join(answer.text.split())[:300]
            raise DemoError(
                f"{self.name} answered {method} {path} with {answer.status_code}: {text}."
            )
        return answer


class Sandbox(_Client):
    """The control API of the simulated cloud, and its Keystone."""

    def token(self, account: str) -> str:
        """Log in to the project `service`; the password is the account's name."""
        domain = {"id": "default"}
        user = {"name": account, "password": account, "domain": domain}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "service", "domain": domain}},
        }
        answer = self._send("POST", "/identity/v3/auth/tokens", {"auth": auth})
        return answer.headers["X-Subject-Token"]

    def state(self) -> CloudState:
        return CloudState.read(self._ask("GET", "/control/state"))

    def add_instances(self, hosts: Sequence[str], count: int) -> list[str]:
        """Create running, HA-enabled instances, spread over `hosts`; returns their uuids."""
        body = {"count": count, "hosts": list(hosts), "metadata": {"HA_Enabled": "True"}}
        uuids: list[str] = self._ask("POST", "/control/servers", body)["ids"]
        return uuids

    def shut_off(self, uuid: str) -> None:
        self._ask("PUT", f"/control/servers/{uuid}", {"vm_state": "stopped"})

    def kill_host(self, host: str, *, guests_survive: bool) -> None:
        self._ask("POST", f"/control/hosts/{host}/kill", {"guests_survive": guests_survive})

    def revive_host(self, host: str) -> None:
        self._ask("POST", f"/control/hosts/{host}/revive")

    def power_off(self, host: str) -> None:
        """Take the power of a host; nobody has ordered it."""
        self._ask("POST", f"/control/hosts/{host}/power", {"power": "off"})

    def set_bmc(self, host: str, mode: str) -> None:
        self._ask("PUT", f"/control/bmcs/{host}", {"mode": mode})

    def bmcs(self) -> dict[str, Bmc]:
        rows = self._ask("GET", "/control/bmcs")["bmcs"]
        return {row["name"]: Bmc.read(row) for row in rows}

    def crash(self, uuid: str) -> None:
        self._ask("POST", f"/control/servers/{uuid}/crash")


class Hacore(_Client):
    """hacore's instance-ha API, and what its operator API says of heartbeats."""

    def log_in(self, token: str) -> None:
        self._session.headers["X-Auth-Token"] = token
        self._session.headers["OpenStack-API-Version"] = _MICROVERSION

    def add_segment(self, name: str) -> str:
        body = {"name": name, "recovery_method": "auto", "service_type": "COMPUTE"}
        uuid: str = self._ask("POST", "/v1/segments", {"segment": body})["segment"]["uuid"]
        return uuid

    def add_host(self, segment: str, name: str) -> None:
        body = {"name": name, "type": "COMPUTE", "control_attributes": "SSH"}
        self._ask("POST", f"/v1/segments/{segment}/hosts", {"host": body})

    def on_maintenance(self, segment: str) -> frozenset[str]:
        rows = self._ask("GET", f"/v1/segments/{segment}/hosts")["hosts"]
        return frozenset(row["name"] for row in rows if row["on_maintenance"])

    def notify(self, kind: str, host: str, payload: dict[str, str], at: datetime.datetime) -> str:
        """Report a failure; returns the uuid of the notification."""
        body = {
            "type": kind,
            "hostname": host,
            "generated_time": at.replace(tzinfo=None).isoformat(),
            "payload": payload,
        }
        answer = self._ask("POST", "/v1/notifications", {"notification": body})
        uuid: str = answer["notification"]["notification_uuid"]
        return uuid

    def unheard(self) -> frozenset[str] | None:
        """Return the names of the hosts that Nova does not hear; None: that is not known."""
        safety = self._ask("GET", "/operator/v1/safety")["safety"]
        states = {row["host"]: row["state"] for row in safety["hosts_not_heard"]}
        known = safety["heartbeats"]["current"] and "unknown" not in states.values()
        return frozenset(states) if known else None

    def proof(self, segment: str, host: str) -> str:
        """Return what proves that a host is off: the newest sentence, or that there is none."""
        rows = self._ask("GET", f"/v1/segments/{segment}/hosts")["hosts"]
        (uuid,) = (row["uuid"] for row in rows if row["name"] == host)
        proofs = self._ask("GET", f"/operator/v1/hosts/{uuid}/proofs")["proofs"]
        return str(proofs[0]["message"]) if proofs else f"Nothing proves that {host} is off."

    def recovery(self, uuid: str) -> Recovery:
        # in this order: if the notification has ended, so have the moves
        notification = self._ask("GET", f"/v1/notifications/{uuid}")["notification"]
        moves = []
        if notification["type"] == "COMPUTE_HOST":
            path = f"/v1/notifications/{uuid}/vmoves?sort_key=id&sort_dir=asc"
            moves = self._ask("GET", path)["vmoves"]
        return Recovery.read(notification, moves)
