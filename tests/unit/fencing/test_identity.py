# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a device shows of its box, over Redfish and over IPMI."""

import base64
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hacore.clock import Clock, SystemClock
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity, check
from hacore.fencing.installed import Agent
from hacore.fencing.programs import CA_BUNDLE, CannotRun, Command, Ended, Guard, Programs
from hacore.nova.retry import Unguarded
from hacore.states import PowerVerdict

UUID = "4c4c4544-0051-4810-8050-b1c04f4d0001"
SERIAL = "J4VQ1Z2"


def device(agent: str, identity: str | None = None, **options: str) -> Device:
    given = {"ip": "127.0.0.1", "username": "admin", "password": "s3cret", **options}
    described = Agent(agent, f"/usr/sbin/{agent}", frozenset(), {})
    return Device("compute-1", "bmc", 1, described, given, identity)


class Service(http.server.ThreadingHTTPServer):
    """A Redfish service that answers one thing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = 200, b"{}"
        self.requests: list[dict[str, str]] = []

    def shows(self, status: int = 200, /, **system: Any) -> None:
        self.status, self.body = status, json.dumps(system).encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate goes."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.requests.append({"path": self.path, **self.headers})
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "bmc.crt", folder / "bmc.key"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]
    made += ["/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"]
    made += ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(made, check=True, capture_output=True)
    return paths


@pytest.fixture
def service(
    certificate: tuple[pathlib.Path, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    monkeypatch.setenv(CA_BUNDLE, str(certificate[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    made = Service()
    made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def over_redfish(
    service: Service,
    programs: Programs,
    identity: str | None = None,
    known: Identity | None = None,
    **options: str,
) -> Identity | Answer:
    options = {"ipport": str(service.server_port), "systems_uri": "/redfish/v1/Systems/1"} | options
    return check(device("fence_redfish", identity, **options), known, 5, programs)


def verdict(found: Identity | Answer) -> PowerVerdict:
    assert isinstance(found, Answer)
    assert "s3cret" not in repr(found)
    return found.verdict


def test_the_system_is_asked(service: Service, programs: Programs) -> None:
    service.shows(UUID=UUID, SerialNumber=SERIAL)
    assert over_redfish(service, programs) == Identity(UUID, verified=False)
    (request,) = service.requests
    assert request["path"] == "/redfish/v1/Systems/1"
    assert base64.b64decode(request["Authorization"].split()[1]) == b"admin:s3cret"


def test_neither_a_proxy_nor_a_netrc_is_asked(
    service: Service, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    service.shows(UUID=UUID)
    assert over_redfish(service, programs) == Identity(UUID, verified=False)


@pytest.mark.parametrize(
    ("system", "value"),
    [
        ({"UUID": "00000000-0000-0000-0000-000000000000", "SerialNumber": SERIAL}, SERIAL),
        ({"UUID": None, "SerialNumber": "None", "SKU": "TAG77", "AssetTag": "x"}, "TAG77"),
        ({"AssetTag": " rack-7 "}, "rack-7"),
        ({"SerialNumber": "To be filled by O.E.M."}, None),
        ({}, None),
    ],
)
def test_the_first_good_value_is_learned(
    service: Service, programs: Programs, system: dict[str, Any], value: str | None
) -> None:
    service.shows(**system)
    assert over_redfish(service, programs) == Identity(value, verified=False)


@pytest.mark.parametrize("name", [UUID.upper(), SERIAL.lower()])
def test_one_that_the_file_names_is_verified(
    service: Service, programs: Programs, name: str
) -> None:
    service.shows(UUID=UUID, SerialNumber=SERIAL)
    assert over_redfish(service, programs, name) == Identity(name, verified=True)


@pytest.mark.parametrize("verified", [True, False])
def test_one_that_is_known_stays_what_it_was(
    service: Service, programs: Programs, verified: bool
) -> None:
    service.shows(UUID=UUID, SerialNumber=SERIAL)
    known = Identity(SERIAL, verified)
    assert over_redfish(service, programs, known=known) == known


def test_the_file_comes_before_what_is_known(service: Service, programs: Programs) -> None:
    service.shows(UUID=UUID, SerialNumber=SERIAL)
    known = Identity("OTHER", verified=False)
    assert over_redfish(service, programs, SERIAL, known) == Identity(SERIAL, verified=True)


def test_what_shows_nothing_more_is_another_box(service: Service, programs: Programs) -> None:
    service.shows(SerialNumber="None")
    found = over_redfish(service, programs, SERIAL)
    assert verdict(found) == PowerVerdict.WRONG_BOX
    assert isinstance(found, Answer)
    assert "it shows no identity, not J4VQ1Z2, which the file of devices names" in found.sentence


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "denied"),
        (403, "denied"),
        (404, "misconfigured"),
        (302, "misconfigured"),
        (500, "unreachable"),
        (503, "unreachable"),
    ],
)
def test_a_service_that_refuses(
    service: Service, programs: Programs, status: int, expected: str
) -> None:
    service.shows(status, UUID=UUID)
    assert verdict(over_redfish(service, programs)) == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff"])
def test_what_is_no_system(service: Service, programs: Programs, body: bytes) -> None:
    service.body = body
    assert verdict(over_redfish(service, programs)) == PowerVerdict.MISCONFIGURED


def test_an_answer_without_end(service: Service, programs: Programs) -> None:
    service.body = b" " * 2_000_000
    assert verdict(over_redfish(service, programs)) == PowerVerdict.UNREACHABLE


def test_an_address_that_is_none(service: Service, programs: Programs) -> None:
    assert verdict(over_redfish(service, programs, ip="a b")) == PowerVerdict.MISCONFIGURED


def test_a_password_that_http_has_no_letters_for(service: Service, programs: Programs) -> None:
    found = over_redfish(service, programs, password="s3cret\u20ac")
    assert verdict(found) == PowerVerdict.MISCONFIGURED


def test_an_unknown_issuer(
    service: Service, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CA_BUNDLE)
    assert verdict(over_redfish(service, programs)) == PowerVerdict.UNTRUSTED
    assert service.requests == []


class Ipmitool:
    """What ipmitool prints for each request; nothing for those that the BMC does not know."""

    def __init__(self, guid: str = "", mac: str = "", failure: str = "") -> None:
        self._answers = {"0x37": guid, "0x02": mac}
        self._failure = failure
        self.commands: list[Command] = []

    def __call__(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        self.commands.append(command)
        if self._failure:
            return Ended(1, "", self._failure)
        request = command.arguments[command.arguments.index("raw") + 2]
        text = self._answers[request]
        if not text:
            words = "Unable to send RAW command (channel=0x0 netfn=0x6 lun=0x0 cmd=0x37 rsp=0xc1)"
            return Ended(1, "", words)
        return Ended(0, f" {text}\n", "")


GUID = "44 45 4c 4c 51 00 10 48 80 50 b1 c0 4f 4d 00 01\n"
MAC = "11 5c 52 31 3a 01 02"
_FFS = " ".join(["ff"] * 16)


def over_ipmi(
    tool: Ipmitool, identity: str | None = None, known: Identity | None = None
) -> Identity | Answer:
    clock = SystemClock()
    programs = Programs(clock, Unguarded(clock), tool)
    options = {"lanplus": "1", "cipher": "17", "privlvl": "operator"}
    return check(device("fence_ipmilan", identity, **options), known, 5, programs)


def test_the_guid_of_a_bmc() -> None:
    tool = Ipmitool(GUID, MAC)
    found = over_ipmi(tool)
    assert found == Identity("44454c4c-5100-1048-8050-b1c04f4d0001", verified=False)
    (command,) = tool.commands
    assert "s3cret" not in " ".join(command.arguments) + repr(command)
    assert command.environment == {"IPMI_PASSWORD": "s3cret"}


def test_the_guid_in_another_order_of_bytes() -> None:
    assert over_ipmi(Ipmitool(GUID), UUID) == Identity(UUID, verified=True)


@pytest.mark.parametrize("guid", ["", _FFS])
def test_a_bmc_without_guid_shows_its_mac(guid: str) -> None:
    assert over_ipmi(Ipmitool(guid, MAC)) == Identity("5c:52:31:3a:01:02", verified=False)


def test_the_mac_that_the_file_names() -> None:
    found = over_ipmi(Ipmitool(GUID, MAC), "5C-52-31-3A-01-02")
    assert found == Identity("5C-52-31-3A-01-02", verified=True)


def test_a_bmc_that_shows_nothing() -> None:
    assert over_ipmi(Ipmitool()) == Identity(None, verified=False)
    assert verdict(over_ipmi(Ipmitool(), UUID)) == PowerVerdict.WRONG_BOX


def test_a_bmc_that_refuses() -> None:
    found = over_ipmi(Ipmitool(failure="> RAKP 2 HMAC is invalid\n"))
    assert verdict(found) == PowerVerdict.DENIED


def test_no_ipmitool() -> None:
    def missing(command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        raise CannotRun("ipmitool cannot be run: not found; install it again")

    clock = SystemClock()
    found = check(device("fence_ipmilan"), None, 5, Programs(clock, Unguarded(clock), missing))
    assert verdict(found) == PowerVerdict.MISCONFIGURED
    assert isinstance(found, Answer)
    assert found.sentence.endswith(": ipmitool cannot be run: not found; install it again")


def test_a_power_strip_shows_no_box(programs: Programs) -> None:
    assert check(device("fence_apc_snmp"), None, 5, programs) == Identity(None, verified=False)
