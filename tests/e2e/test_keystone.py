# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The API behind a real Keystone: the recorded contract, roles, and tokens good and bad."""

import datetime
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.api.test_contract import CONTRACT, documented
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import Figures

pytestmark = pytest.mark.e2e

Deploy = Callable[..., Deployment]


@pytest.fixture
def segments(deploy: Deploy) -> Callable[..., requests.Response]:
    """GET /v1/segments with the headers given."""
    url = deploy(engine=False).url

    def ask(**headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(f"{url}/v1/segments", headers=named, timeout=30)

    return ask


def token_of(real: Ministack, user: str) -> str:
    login = real.login(user)
    return _log_in(
        login["auth_url"],
        {
            "methods": ["password"],
            "password": {
                "user": {
                    "name": login["username"],
                    "password": login["password"],
                    "domain": {"id": "default"},
                }
            },
        },
        {"project": {"name": login["project_name"], "domain": {"id": "default"}}},
    )


def _log_in(auth_url: str, identity: Any, scope: Any = None) -> str:
    body = {"identity": identity, **({"scope": scope} if scope else {})}
    answer = requests.post(f"{auth_url}/auth/tokens", json={"auth": body}, timeout=30)
    answer.raise_for_status()
    return answer.headers["X-Subject-Token"]


def test_the_recorded_contract(real: Ministack, deploy: Deploy, figures: Figures) -> None:
    deployment = deploy(engine=False)
    member = {f"MEMBER_{key[3:]}": value for key, value in real.environment("demo").items()}

    done = subprocess.run(
        [sys.executable, str(CONTRACT / "replay.py"), "--endpoint", deployment.url, "-q"],
        env={**os.environ, **real.admin, **member},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.stderr == ""
    *different, summary = done.stdout.splitlines()
    named = {line.split(": ", 1)[0] for line in different if ": " in line}
    assert named == set(documented("Differences that replay.py reports"))
    figures.add(summary)


def test_roles(real: Ministack, segments: Callable[..., requests.Response]) -> None:
    assert segments(X_Auth_Token=token_of(real, "admin")).status_code == 200
    refused = segments(X_Auth_Token=token_of(real, "demo"))
    assert (refused.status_code, refused.json()["forbidden"]["code"]) == (403, 403)
    assert segments(X_Auth_Token="nonsense").status_code == 401
    assert segments(X_Roles="admin").status_code == 401


def test_service_tokens(real: Ministack, segments: Callable[..., requests.Response]) -> None:
    user = token_of(real, "admin")

    good = segments(X_Auth_Token=user, X_Service_Token=token_of(real, "instanceha"))
    wrong = segments(X_Auth_Token=user, X_Service_Token="nonsense")

    assert (good.status_code, wrong.status_code) == (200, 401)


def test_a_revoked_token(real: Ministack, segments: Callable[..., requests.Response]) -> None:
    token, auth_url = token_of(real, "admin"), real.login("admin")["auth_url"]
    headers = {"X-Auth-Token": token_of(real, "admin"), "X-Subject-Token": token}
    requests.delete(f"{auth_url}/auth/tokens", headers=headers, timeout=30).raise_for_status()

    assert segments(X_Auth_Token=token).status_code == 401


def test_an_expired_token(real: Ministack, segments: Callable[..., requests.Response]) -> None:
    """A token of a credential that expires soon is good no longer than that."""
    auth_url, user = real.login("admin")["auth_url"], real.session.get_user_id()
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)
    answer = requests.post(
        f"{auth_url}/users/{user}/application_credentials",
        headers={"X-Auth-Token": token_of(real, "admin")},
        json={
            "application_credential": {
                "name": f"expires {ends.isoformat()}",
                "secret": "secret",
                "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
        },
        timeout=30,
    )
    answer.raise_for_status()
    token = _log_in(
        auth_url,
        {
            "methods": ["application_credential"],
            "application_credential": {
                "id": answer.json()["application_credential"]["id"],
                "secret": "secret",
            },
        },
    )

    assert segments(X_Auth_Token=token).status_code == 200
    wait_for(
        "the token to be refused",
        lambda: segments(X_Auth_Token=token).status_code == 401,
        30,
    )
