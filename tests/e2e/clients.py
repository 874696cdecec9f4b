# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore as its users see it: the openstack command, and the REST API for what is asked often."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any

import requests

from tests.e2e.daemons import wait_for

#: Nothing more will be done.
_OVER = frozenset({"finished", "failed", "ignored"})
#: Or another attempt is waited for.
_ENDED = _OVER | {"error"}


def now() -> str:
    """This moment, as a monitor writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def notification(kind: str, host: str, payload: Mapping[str, str]) -> dict[str, Any]:
    """What a monitor posts when it reports a failure."""
    row = {"type": kind, "hostname": host, "generated_time": now(), "payload": payload}
    return {"notification": row}


class Refused(Exception):
    """The command failed; its text is what it said."""


class OpenStack:
    """The openstack command, with the plug-in of python-masakariclient.

    :param environment: OS_* of whom it is used by.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {
            **os.environ,
            **environment,
            "OS_HA_API_VERSION": "1.3",
            "PYTHONWARNINGS": "ignore",
        }

    def __call__(self, *arguments: str) -> Any:
        """Run it; what it printed, read as JSON.  Raises Refused."""
        done = subprocess.run(
            [sys.executable, "-m", "openstackclient.shell", *arguments, "-f", "json"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr)
        return json.loads(done.stdout)

    def notify(self, kind: str, host: str, payload: Mapping[str, str]) -> str:
        """Report a failure; the notification's uuid."""
        made = self("notification", "create", kind, host, now(), json.dumps(payload))
        uuid: str = made["notification_uuid"]
        return uuid


class Hacore:
    """The REST API, at microversion 1.3.

    :param token: of Keystone; None where the API wants none.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._url = f"{url}/v1"
        self._operator_url = f"{url}/operator/v1"
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["OpenStack-API-Version"] = "instance-ha 1.3"
        if token:
            self._http.headers["X-Auth-Token"] = token

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        return self._http.request(method, self._url + path, json=body, timeout=30)

    def operate(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the operator API."""
        return self._http.request(method, self._operator_url + path, json=body, timeout=30)

    def _get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make_segment(
        self,
        hosts: list[str],
        name: str = "rack",
        method: str = "auto",
        reserved: Collection[str] = (),
    ) -> str:
        """A segment and its hosts, some of them reserved; its uuid."""
        body = {"name": name, "recovery_method": method, "service_type": "COMPUTE"}
        answer = self.ask("POST", "/segments", {"segment": body})
        assert answer.status_code == 201, answer.text
        uuid: str = answer.json()["segment"]["uuid"]
        for host in hosts:
            row = {
                "name": host,
                "type": "COMPUTE",
                "control_attributes": "SSH",
                "reserved": host in reserved,
            }
            answer = self.ask("POST", f"/segments/{uuid}/hosts", {"host": row})
            assert answer.status_code == 201, answer.text
        return uuid

    def notify(self, kind: str, host: str, payload: Mapping[str, str]) -> str:
        """Report a failure; the notification's uuid."""
        answer = self.ask("POST", "/notifications", notification(kind, host, payload))
        assert answer.status_code == 202, answer.text
        uuid: str = answer.json()["notification"]["notification_uuid"]
        return uuid

    def hosts(self, segment: str) -> dict[str, Any]:
        return {row["name"]: row for row in self._get(f"/segments/{segment}/hosts")["hosts"]}

    def notification(self, uuid: str) -> Any:
        return self._get(f"/notifications/{uuid}")["notification"]

    def notifications(self) -> list[Any]:
        rows: list[Any] = self._get("/notifications")["notifications"]
        return rows

    def moves(self, uuid: str) -> list[Any]:
        rows: list[Any] = self._get(f"/notifications/{uuid}/vmoves")["vmoves"]
        return rows

    def wait_until_ended(self, uuid: str, timeout_s: float = 120) -> Any:
        """The notification, once it has ended or waits for another attempt."""

        def ended() -> Any:
            row = self.notification(uuid)
            return row if row["status"] in _ENDED else None

        return wait_for(f"notification {uuid} to end", ended, timeout_s)

    def follow(self, uuid: str, timeout_s: float) -> tuple[Any, list[str]]:
        """The notification, once nothing more will be done, and what failed attempts said."""
        failed: list[str] = []

        def over() -> Any:
            row = self.notification(uuid)
            if row["status"] == "error" and row["message"] not in failed:
                failed.append(row["message"])
            return row if row["status"] in _OVER else None

        return wait_for(f"the last attempt for notification {uuid}", over, timeout_s), failed


def seconds(notification: Mapping[str, Any]) -> float:
    """From when it was accepted to when it ended, by hacore's own times."""
    begin, end = (
        datetime.datetime.fromisoformat(notification[key]) for key in ("created_at", "updated_at")
    )
    return (end - begin).total_seconds()
