# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-sandbox in a process of its own, and its control API."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from novaclient import client as nova_client

from tests.e2e.daemons import Daemon

_CODE = "import sys; from hacore_sandbox.cli import main; sys.exit(main())"


class SandboxProcess:
    """A simulated cloud.

    :ivar login: of hacore's user, who is an administrator.
    :ivar session: of that user; `nova` is Nova's client with it.
    :param options: of ``hacore-sandbox serve``.
    """

    def __init__(self, folder: Path, options: Iterable[str]) -> None:
        command = [sys.executable, "-P", "-c", _CODE, "serve", "--port", "0", *options]
        self.daemon = Daemon("sandbox", command, folder / "sandbox.log")
        self.daemon.wait_until_it_says("region_name", 120)
        found = re.search(r"listening on (\S+)", self.daemon.text())
        assert found, self.daemon.text()
        self.url = found[1]
        self._http = requests.Session()
        self._http.trust_env = False
        self.login: dict[str, Any] = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "hacore",
            "password": "hacore",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }
        self.session = keystone_session.Session(auth=v3.Password(**self.login), session=self._http)
        self.nova: Any = nova_client.Client("2.90", session=self.session, region_name="RegionOne")

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Call the control API; `path` begins with a slash."""
        answer = self._http.request(method, f"{self.url}/control{path}", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def close(self) -> None:
        """End it."""
        self._http.close()
        assert self.daemon.end() == 0
