# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What answers in Nova's place is not believed, whatever is asked."""

import json
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests

from hacore import errors
from hacore.nova import Aggregate, Nova, Service, check_login
from hacore_sandbox.rest import Rest
from tests.unit.conftest import MakeNova
from tests.world import SandboxAdapter

UUID = "25223041-234e-4b50-bf67-eecf3014ab0f"
SERVICE = Service(UUID, "compute1", up=False, enabled=True, forced_down=False, disabled_reason=None)
AGGREGATE = Aggregate(1, "ssd", ("compute1",))
PAGE = b"<html><body>We are back soon.</body></html>"

READS: dict[str, Callable[[Nova], object]] = {
    "now": lambda nova: nova.now(),
    "host_names": lambda nova: nova.host_names(),
    "service": lambda nova: nova.service("compute1"),
    "instances_on": lambda nova: nova.instances_on("compute1"),
    "uuids_on": lambda nova: nova.uuids_on("compute1"),
    "instance": lambda nova: nova.instance(UUID),
    "actions": lambda nova: nova.actions(UUID),
    "evacuations_from": lambda nova: nova.evacuations_from("compute1"),
    "migrations_of": lambda nova: nova.migrations_of(UUID),
    "aggregates": lambda nova: nova.aggregates(),
}
WRITES: dict[str, Callable[[Nova], object]] = {
    "disable_service": lambda nova: nova.disable_service(SERVICE, "it died"),
    "enable_service": lambda nova: nova.enable_service(SERVICE),
    "force_down": lambda nova: nova.force_down(SERVICE),
    "lock": lambda nova: nova.lock(UUID, "a recovery"),
    "unlock": lambda nova: nova.unlock(UUID),
    "reset_state": lambda nova: nova.reset_state(UUID, "error"),
    "stop": lambda nova: nova.stop(UUID),
    "start": lambda nova: nova.start(UUID),
    "evacuate": lambda nova: nova.evacuate(UUID),
    "add_to_aggregate": lambda nova: nova.add_to_aggregate(AGGREGATE, "compute2"),
    "remove_from_aggregate": lambda nova: nova.remove_from_aggregate(AGGREGATE, "compute1"),
}
#: Status and body of an answer that is none of Nova's.
LIES: dict[str, tuple[int, bytes]] = {
    "a page with 200": (200, PAGE),
    "a page with 202": (202, PAGE),
    "a page with 204": (204, PAGE),
    "a page with 404": (404, PAGE),
    "a page with 409": (409, PAGE),
    "a page with 403": (403, PAGE),
    "truncated JSON": (200, b'{"servers": [{"id": "2522'),
    "a list": (200, b"[]"),
    "a string": (200, b'"servers"'),
    "another object": (200, b'{"message": "hello"}'),
    "rows without their keys": (
        200,
        json.dumps(
            {
                key: [{"id": UUID}]
                for key in ("servers", "services", "migrations", "aggregates", "instanceActions")
            }
            | {"servers": [{"name": "vm"}], "server": {"id": UUID}, "service": {}, "aggregate": {}}
        ).encode(),
    ),
    "null": (200, b"null"),
    "JSON of a gateway with 404": (404, b'{"message": "no Route matched"}'),
    "JSON of a gateway with 403": (403, b'{"error": {"code": 4031, "message": "no"}}'),
    "null in a refusal": (400, b'{"badRequest": null}'),
    "null in a failure": (503, b'{"a": null}'),
    "a proxy's own status": (524, b""),
    "a method that is not allowed": (405, PAGE),
    "objects in the place of lists": (
        200,
        json.dumps(
            {key: {} for key in ("servers", "services", "migrations", "aggregates", "server")}
            | {"instanceActions": {}, "service": {}, "aggregate": {"hosts": {}}}
        ).encode(),
    ),
    "nested without end": (200, b"[" * 100_000),
    "a redirect that nobody follows": (304, b""),
}


class Liar(SandboxAdapter):
    """Answers in Nova's place; Keystone and the version document are real."""

    lie: tuple[int, bytes] | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = super().send(request, **options)
        asked = (request.url or "").partition("/compute/v2.1")[2].strip("/")
        if self.lie is None or not asked:
            return answer
        answer.status_code = self.lie[0]
        answer._content = self.lie[1]
        answer.headers["Content-Type"] = "text/html" if self.lie[1] == PAGE else "application/json"
        return answer


@pytest.fixture
def lied_to(make_nova: MakeNova, conf: Any) -> Callable[[tuple[int, bytes]], Nova]:
    def make(lie: tuple[int, bytes]) -> Nova:
        _, cloud, _, clock = make_nova()
        cloud.fill(1, "p", "u", ["compute1"])
        liar = Liar(Rest(cloud), clock)
        nova = Nova(conf, clock=clock, retry_timeout_s=0.0, http=liar)
        nova.log_in()
        liar.lie = lie
        return nova

    return make


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("asked", [*READS, *WRITES])
def test_a_lie_is_no_answer(
    lied_to: Callable[[tuple[int, bytes]], Nova], asked: str, lie: str
) -> None:
    """Nova is unavailable, and what became of a call that must not be repeated is unknown."""
    nova = lied_to(LIES[lie])
    expected = errors.NovaOutcomeUnknown if asked == "evacuate" else errors.TransientNovaError
    with pytest.raises(expected):
        (READS | WRITES)[asked](nova)


@pytest.mark.parametrize("asked", [name for name in WRITES if "service" not in name])
def test_an_answer_to_an_action_has_nobodys_words(
    lied_to: Callable[[tuple[int, bytes]], Nova], asked: str
) -> None:
    status = 200 if asked in ("evacuate", "add_to_aggregate", "remove_from_aggregate") else 202
    with pytest.raises(errors.NovaError):
        WRITES[asked](lied_to((status, b'{"hello": "there"}')))


def test_what_answered_is_named(lied_to: Callable[[tuple[int, bytes]], Nova]) -> None:
    nova = lied_to((200, PAGE))
    with pytest.raises(errors.TransientNovaError, match=r"unlock instance .*text/html, 43 bytes"):
        nova.unlock(UUID)
    nova = lied_to((404, PAGE))
    with pytest.raises(errors.TransientNovaError, match=r"HTTP 404 .* not of Nova's API"):
        nova.instance(UUID)


def test_a_list_of_others_is_not_believed(make_nova: MakeNova) -> None:
    nova, cloud, *_ = make_nova()
    cloud.fill(2, "p", "u", ["compute1", "compute2"])
    cloud.faults.put({"calls": [{"method": "GET", "answer": "unfiltered"}]}, cloud.now)
    with pytest.raises(errors.NovaError, match="ignores the filter by host") as caught:
        nova.instances_on("compute1")
    assert not isinstance(caught.value, errors.TransientNovaError)
    service = nova.service("compute2")
    assert service is not None
    assert service.host == "compute2"


def test_records_of_other_hosts_are_not_believed(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova()
    servers = cloud.fill(2, "p", "u", ["compute1", "compute2"])
    for host in ("compute1", "compute2"):
        cloud.kill(host)
    clock.pass_time(60)
    for server in servers:
        nova.evacuate(server.uuid)
    cloud.faults.put({"calls": [{"method": "GET", "answer": "unfiltered"}]}, cloud.now)
    with pytest.raises(errors.NovaError, match="has others too"):
        nova.evacuations_from("compute1")
    with pytest.raises(errors.NovaError, match="has others too"):
        nova.migrations_of(servers[0].uuid)


def test_a_cell_that_is_down_is_nova_that_is_unavailable(make_nova: MakeNova) -> None:
    nova, cloud, *_ = make_nova()
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    cloud.faults.put({"cells_down": {"compute1": 3600}}, cloud.now)
    for ask in (lambda: nova.service("compute1"), lambda: nova.instance(server.uuid)):
        with pytest.raises(errors.TransientNovaError, match="cannot reach the cell of"):
            ask()
    service = nova.service("compute2")
    assert service is not None
    assert service.up


ENABLED = {"host": "compute1", "status": "enabled", "state": "up", "forced_down": False}


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        ("disable_service", {"service": ENABLED}),
        ("enable_service", {"service": {**ENABLED, "status": "disabled"}}),
        ("enable_service", {"service": {**ENABLED, "host": "compute2"}}),
        ("force_down", {"service": ENABLED}),
        ("add_to_aggregate", {"aggregate": {"hosts": ["compute1"]}}),
        ("remove_from_aggregate", {"aggregate": {"hosts": ["compute1"]}}),
    ],
)
def test_an_order_that_was_not_carried_out(
    lied_to: Callable[[tuple[int, bytes]], Nova], asked: str, body: object
) -> None:
    with pytest.raises(errors.TransientNovaError, match="unexpected answer from Nova"):
        WRITES[asked](lied_to((200, json.dumps(body).encode())))


def test_pages_that_never_end(lied_to: Callable[[tuple[int, bytes]], Nova]) -> None:
    row = {"id": UUID, "links": []}
    link = {"rel": "next", "href": "http://sandbox/servers?marker=" + UUID}
    nova = lied_to((200, json.dumps({"servers": [row], "servers_links": [link]}).encode()))
    with pytest.raises(errors.TransientNovaError, match="the pages of /servers do not end"):
        nova.uuids_on("compute1")


def test_two_services_of_one_name(lied_to: Callable[[tuple[int, bytes]], Nova]) -> None:
    row = {
        "id": UUID,
        "host": "compute1",
        "binary": "nova-compute",
        "state": "up",
        "status": "enabled",
        "forced_down": False,
        "disabled_reason": None,
    }
    nova = lied_to((200, json.dumps({"services": [row, {**row, "id": "other"}]}).encode()))
    with pytest.raises(errors.NovaError, match="2 compute services on hosts named compute1"):
        nova.service("compute1")


TOKEN = {
    "methods": ["password"],
    "issued_at": "2026-11-27T00:00:00.000000Z",
    "expires_at": "2036-11-27T00:00:00.000000Z",
    "catalog": [],
}
#: Path that is lied about, status, body.
LIES_OF_KEYSTONE: dict[str, tuple[str, int, object]] = {
    "versions want a token": ("identity", 401, {"error": {"code": 401, "message": "no"}}),
    "versions are null": ("identity", 200, None),
    "versions are a number": ("identity", 200, {"versions": 5}),
    "versions are nowhere": ("identity", 404, {}),
    "versions are teapots": ("identity", 200, {"versions": [{"id": 7, "links": None}]}),
    "a token of null": ("tokens", 201, None),
    "a list": ("tokens", 201, []),
    "an object of nobody": ("tokens", 200, {"message": "hello"}),
    "a token without its end": ("tokens", 201, {"token": {"methods": ["password"]}}),
    "an end that is no time": ("tokens", 201, {"token": {**TOKEN, "expires_at": "soon"}}),
    "a catalog of null": ("tokens", 201, {"token": {**TOKEN, "catalog": [None]}}),
    "a token without an id": ("tokens", 201, {"token": TOKEN}),
    "no content": ("tokens", 204, ""),
    "a redirect to nowhere": ("tokens", 302, ""),
    "a login page": ("tokens", 401, {"login": "please"}),
    "a gateway that refuses": ("tokens", 403, {"message": "no"}),
    "a path that nobody serves": ("tokens", 404, {"message": "no Route matched"}),
    "a proxy's own status": ("tokens", 520, ""),
}


class LiarInKeystonesPlace(SandboxAdapter):
    """Answers in Keystone's place; the sandbox's own answer is seen by nobody."""

    lie: tuple[str, int, object]

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = super().send(request, **options)
        path, status, body = self.lie
        if not (request.url or "").rstrip("/").endswith(path):
            return answer
        answer.status_code, answer.reason = status, "lie"
        answer._content = json.dumps(body).encode() if body != "" else b""
        answer.headers.clear()
        answer.headers["Content-Type"] = "application/json"
        return answer


@pytest.mark.timeout(30)  # it hung
@pytest.mark.parametrize("lie", LIES_OF_KEYSTONE)
def test_a_lie_in_keystones_place_is_no_answer(make_nova: MakeNova, conf: Any, lie: str) -> None:
    _, cloud, _, clock = make_nova()
    liar = LiarInKeystonesPlace(Rest(cloud), clock)
    liar.lie = LIES_OF_KEYSTONE[lie]
    conf.set_override("auth_url", conf.nova.auth_url.removesuffix("/v3"), "nova")
    nova = Nova(conf, clock=clock, retry_timeout_s=0.0, http=liar)
    for ask in (nova.authenticate, nova.keep_token, nova.log_in, nova.host_names):
        with pytest.raises(errors.TransientNovaError):
            ask()


def test_keystones_own_refusal_is_believed(make_nova: MakeNova, conf: Any) -> None:
    _, cloud, _, clock = make_nova()
    conf.set_override("password", "wrong", "nova")
    nova = Nova(conf, clock=clock, retry_timeout_s=0.0, http=SandboxAdapter(Rest(cloud), clock))
    with pytest.raises(errors.NovaForbidden, match="check the login in"):
        nova.host_names()


@pytest.mark.parametrize("content", [None, "-----BEGIN CERTIFICATE-----\nMII"])
def test_a_ca_file_that_is_missing_or_half_written(
    make_nova: MakeNova, conf: Any, tmp_path: pathlib.Path, content: str | None
) -> None:
    """Nothing was sent, and the next try may find it written."""
    _, _, _, clock = make_nova()
    cafile = tmp_path / "ca.pem"
    if content is not None:
        cafile.write_text(content)
    with socket.create_server(("127.0.0.1", 0)) as server:  # the file is read once it is connected
        port = server.getsockname()[1]
        conf.set_override("auth_url", f"https://127.0.0.1:{port}/identity", "nova")
        conf.set_override("cafile", str(cafile), "nova")
        nova = Nova(conf, clock=clock, retry_timeout_s=0.0)
        with pytest.raises(errors.TransientNovaError, match="log in to Keystone"):
            nova.authenticate()
        with pytest.raises(errors.TransientNovaError):
            nova.keep_token()
        with pytest.raises(errors.NovaError):
            check_login(conf, "nova")
