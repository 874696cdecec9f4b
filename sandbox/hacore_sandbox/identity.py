# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The simulated Keystone: three accounts, tokens, the catalogue."""

import base64
import dataclasses
import random
import uuid

from hacore_sandbox.faults import Faults
from hacore_sandbox.model import Caller
from hacore_sandbox.state import State
from hacore_sandbox.wire import Answer, Call, Json, unauthorized_body

_NAMES = uuid.UUID("6f1c1f0e-51f5-4c3a-9a58-27e36d2f6b11")
DOMAIN = {"id": "default", "name": "Default"}


def id_of(kind: str, name: str) -> str:
    """An id that is the same for a name in every sandbox."""
    return uuid.uuid5(_NAMES, f"{kind}/{name}").hex


@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    password: str
    project: str
    roles: tuple[str, ...]


ACCOUNTS = {
    account.name: account
    for account in (
        Account("hacore", "hacore", "service", ("admin", "service")),
        Account("admin", "admin", "admin", ("admin", "manager", "member", "reader")),
        Account("demo", "demo", "demo", ("member", "reader")),
    )
}
USERS = {id_of("user", name): name for name in ACCOUNTS}


@dataclasses.dataclass(frozen=True)
class Token:
    id: str
    caller: Caller
    audit_id: str
    methods: tuple[str, ...]
    issued: float
    expires: float


class Identity:
    """Accounts and tokens."""

    def __init__(
        self, state: State, faults: Faults, instance_ha_url: str | None, region: str
    ) -> None:
        self._state = state
        self._faults = faults
        self._instance_ha_url = instance_ha_url
        self._region = region
        self._random = random.Random(f"tokens-{state.settings.hosts}")
        self.tokens: dict[str, Token] = {}

    def caller(self, token_id: str | None) -> Caller | None:
        """The holder of the token; None if it is unknown or expired."""
        token = self.tokens.get(token_id or "")
        if token is None or token.expires <= self._state.now:
            return None
        return token.caller

    # -- calls

    def versions(self, call: Call) -> Answer:
        values = [self._version(call)]
        location = {"Location": f"{call.base_url}/identity/v3/"}
        return Answer({"versions": {"values": values}}, status=300, headers=location)

    def version(self, call: Call) -> Answer:
        return Answer({"version": self._version(call)})

    def issue(self, call: Call) -> Answer:
        body = call.json()
        identity = _dict(_dict(body.get("auth")).get("identity"))
        scope = _dict(_dict(body.get("auth")).get("scope"))
        methods = identity.get("methods") or []
        account = None
        if methods == ["password"]:
            account = _by_password(_dict(_dict(identity.get("password")).get("user")))
        elif methods == ["token"]:
            account = self._by_token(_dict(identity.get("token")).get("id"))
        if account is None or not _fits(account, _dict(scope.get("project"))):
            return self.unauthorized(call)
        token = self._make(account, tuple(methods))
        headers = {"X-Subject-Token": token.id, "Vary": "X-Auth-Token"}
        return Answer({"token": self._shown(token, call)}, status=201, headers=headers)

    def show(self, call: Call) -> Answer:
        """GET /auth/tokens: how keystonemiddleware validates a token."""
        token = self._subject(call)
        if isinstance(token, Answer):
            return token
        headers = {"X-Subject-Token": token.id, "Vary": "X-Auth-Token"}
        return Answer({"token": self._shown(token, call)}, headers=headers)

    def revoke(self, call: Call) -> Answer:
        token = self._subject(call)
        if isinstance(token, Answer):
            return token
        del self.tokens[token.id]
        return Answer(status=204)

    def unauthorized(self, call: Call) -> Answer:
        uri = f'Keystone uri="{call.base_url}/identity/v3"'
        return Answer(unauthorized_body(), status=401, headers={"WWW-Authenticate": uri})

    # -- helpers

    def _subject(self, call: Call) -> Token | Answer:
        if self.caller(call.headers.get("x-auth-token")) is None:
            return self.unauthorized(call)
        subject = call.headers.get("x-subject-token", "")
        token = self.tokens.get(subject)
        if token is None or token.expires <= self._state.now:
            fault = {"code": 404, "message": "Could not recognize token", "title": "Not Found"}
            return Answer({"error": fault}, status=404)
        return token

    def _by_token(self, token_id: str | None) -> Account | None:
        caller = self.caller(token_id)
        return ACCOUNTS[caller.user_name] if caller else None

    def _make(self, account: Account, methods: tuple[str, ...]) -> Token:
        caller = Caller(
            user_id=id_of("user", account.name),
            user_name=account.name,
            project_id=id_of("project", account.project),
            project_name=account.project,
            roles=account.roles,
        )
        secret = base64.urlsafe_b64encode(self._random.randbytes(48)).decode()
        audit = base64.urlsafe_b64encode(self._random.randbytes(16)).decode().rstrip("=")
        now = self._state.now
        lifetime_s = self._state.settings.token_lifetime_s
        token = Token(f"gAAAAAB{secret}", caller, audit, methods, now, now + lifetime_s)
        if len(self.tokens) > 10_000:
            self.tokens = {t.id: t for t in self.tokens.values() if t.expires > now}
        self.tokens[token.id] = token
        return token

    def _shown(self, token: Token, call: Call) -> Json:
        caller = token.caller
        shown = {
            "methods": list(token.methods),
            "user": {
                "domain": DOMAIN,
                "id": caller.user_id,
                "name": caller.user_name,
                "password_expires_at": None,
            },
            "audit_ids": [token.audit_id],
            "expires_at": self._time(token.expires),
            "issued_at": self._time(token.issued),
            "project": {"domain": DOMAIN, "id": caller.project_id, "name": caller.project_name},
            "is_domain": False,
            "roles": [{"id": id_of("role", role), "name": role} for role in caller.roles],
        }
        if call.param("nocatalog") is None:
            shown["catalog"] = self._catalog(call.base_url)
        return shown

    def _time(self, when: float) -> str:
        shown = self._state.timeline.at(when + self._faults.clock_ahead_s)
        return shown.strftime("%Y-%m-%dT%H:%M:%S.000000Z")

    def _catalog(self, base_url: str) -> Json:
        entries = [
            ("identity", "keystone", f"{base_url}/identity"),
            ("compute", "nova", f"{base_url}/compute/v2.1"),
        ]
        if self._state.settings.neutron:
            entries.append(("network", "neutron", f"{base_url}/network"))
        if self._state.settings.placement:
            entries.append(("placement", "placement", f"{base_url}/placement"))
        if self._instance_ha_url:
            entries.append(("instance-ha", "hacore", self._instance_ha_url))
        return [
            {
                "id": id_of("service", name),
                "type": service_type,
                "name": name,
                "endpoints": [
                    {
                        "id": id_of("endpoint", f"{name}/{interface}"),
                        "interface": interface,
                        "region_id": self._region,
                        "region": self._region,
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for service_type, name, url in entries
        ]

    def _version(self, call: Call) -> Json:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{call.base_url}/identity/v3/"}],
            "media-types": [
                {
                    "base": "application/json",
                    "type": "application/vnd.openstack.identity-v3+json",
                }
            ],
        }


def _dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _by_password(user: dict[str, Json]) -> Account | None:
    name = user.get("name") or USERS.get(str(user.get("id")))
    account = ACCOUNTS.get(str(name))
    if account is None or account.password != user.get("password"):
        return None
    return account


def _fits(account: Account, project: dict[str, Json]) -> bool:
    """Whether the scope is the account's project, the only one; also without a scope."""
    if not project:
        return True
    wanted = project.get("name"), project.get("id")
    return account.project == wanted[0] or id_of("project", account.project) == wanted[1]
