# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whatever is sent, the answer is a success or a fault with a 4xx; never a 5xx, never HTML."""

import http.client
import json
import urllib.parse
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.api.app import make_app
from hacore.db.engine import Database
from hacore.db.models import Notification

from .conftest import Client, Computes, report

NUL = "a\0b"
HALF = "\ud800"


def assert_fault(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    ((_name, fault),) = answer.json.items()
    assert fault["code"] == status
    assert fault["message"]
    assert "Traceback" not in answer.text
    return str(fault["message"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b'{"segment": ',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"segment": ' + b"9" * 6000 + b"}",
        b'{"segment": {"name": NaN}}',
        b'{"segment": {"name": "\\u0000", "recovery_method": "auto", "service_type": "x"}}',
        b'{"segment": {"name": "\\ud800", "recovery_method": "auto", "service_type": "x"}}',
        b'{"segment": {"\\ud800": 1}}',
        b'"\\ud800"',
        b"null",
        b"1e999",
        b'{"segment": {"name": {"a": [[[[]]]]}, "recovery_method": [], "service_type": {}}}',
    ],
)
def test_odd_bodies(client: Client, body: bytes) -> None:
    for path in ("/v1/segments", "/v1/notifications"):
        assert_fault(client.ask("POST", path, body=body), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b'{"reason": ',
        b"[" * 100_000,
        b'{"rule": "pause", "reason": "x", "facts": {"missing": ' + b"9" * 6000 + b"}}",
        b'{"rule": "pause", "reason": "x", "facts": {"missing": NaN}}',
        b'{"rule": "pause", "reason": "x", "facts": {"missing": 1e999}}',
        b'{"rule": "pause", "reason": "\\u0000"}',
        b'{"rule": "pause", "reason": "\\ud800"}',
        b'{"rule": {}, "reason": [], "facts": 0}',
        b'{"scope": {}, "reason": [], "seconds": {}}',
        b"null",
    ],
)
def test_odd_bodies_of_operators(client: Client, body: bytes) -> None:
    client.host(client.segment())
    url = f"/operator/v1/recoveries/{client.notification()['notification_uuid']}"

    for verb in ("retry", "abandon", "approve"):
        assert_fault(client.ask("POST", f"{url}/{verb}", body=body), 400)
    assert_fault(client.ask("PUT", "/operator/v1/safety/pause", body=body), 400)


@pytest.mark.parametrize("tag", ["x" * 3000, '"', 'W/"', "W/", ",,,", '"\xe4"', "*,*"])
def test_odd_tags_are_no_tags(client: Client, tag: str) -> None:
    status = 304 if tag == "*,*" else 200

    answer = client.get("/operator/v1/safety", headers={"If-None-Match": tag})

    assert answer.status_code in (200, status)


@pytest.mark.parametrize("text", [NUL, HALF, "\0", "x" + HALF])
def test_no_odd_characters_in_payloads(client: Client, text: str) -> None:
    client.host(client.segment())
    payload = {"event": "STOPPED", "process_name": text}

    body = json.dumps({"notification": report(type="PROCESS", payload=payload)})
    answer = client.ask("POST", "/v1/notifications", body=body)

    assert assert_fault(answer, 400).startswith("body: ")


def test_a_backslash_u_in_a_text_is_no_escape(client: Client) -> None:
    client.host(client.segment())
    payload = {"event": "STOPPED", "process_name": "C:\\u0000 \\\\ud800"}

    made = client.notification(type="PROCESS", payload=payload)

    assert made["payload"] == payload


@pytest.mark.parametrize(
    "query",
    [
        "limit=%00",
        "limit=" + "9" * 5000 + "x",
        "limit=%D9%A3",  # an Arabic digit
        "limit=+1",
        "limit=1_000",
        "marker=" + "9" * 5000,
        "marker=2147483648",
        "marker=9223372036854775808",
        "marker=-1",
        "marker=%00",
        "marker=%D9%A3",
        "marker=%ff%fe",
        "sort_key=%00",
        "sort_key=__class__",
        "sort_key=metadata",
        "sort_dir=ASC",
        "sort_dir=asc&sort_dir=asc",
    ],
)
def test_odd_queries_are_refused(client: Client, query: str) -> None:
    segment = client.segment()
    for path in ("/v1/segments", f"/v1/segments/{segment['uuid']}/hosts", "/v1/notifications"):
        assert_fault(client.get(f"{path}?{query}"), 400)


@pytest.mark.parametrize(
    "query",
    [
        "limit=" + "9" * 5000,
        "limit=" + "0" * 5000 + "1",
        "%zz=%zz&&&=&;",
        "a" * 3000,
        "&".join(["color=red"] * 500),
        "service_type=%f0%9f%98%80&type=%f0%9f%98%80&status=" + "x" * 3000,
        "%00=1",
        "service_type=%ed%a0%80",  # half a surrogate pair, in what is not UTF-8
    ],
)
def test_odd_queries_are_harmless(client: Client, query: str) -> None:
    for path in ("/v1/segments", "/v1/notifications"):
        assert client.get(f"{path}?{query}").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/segments/%00", "/v1/segments/%ff", "/v1/segments/%c3", "/v1/" + "a/" * 200, "/%2e"],
)
def test_odd_paths_are_not_found(url: str, path: str) -> None:
    connection = http.client.HTTPConnection(*urllib.parse.urlsplit(url).netloc.split(":"))
    connection.putrequest("GET", path)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read()
    connection.close()

    assert answer.status == 404, text
    assert json.loads(text)["itemNotFound"]["code"] == 404


@pytest.mark.parametrize("method", ["TRACE", "FROB", "CONNECT", "PATCH", "PUT", "DELETE"])
def test_odd_methods_are_refused(client: Client, method: str) -> None:
    if method in ("FROB", "CONNECT"):
        pytest.skip("falcon's test client does not send these; the contract does")
    assert_fault(client.ask(method, "/v1/segments"), 405)


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\nxx\r\n", b"ffffffffffffffffffff\r\nx", b"-5\r\n", b"5\r\nabcdefgh\r\n", b"\r\n"],
)
def test_bad_chunks_are_refused(url: str, chunks: bytes) -> None:
    connection = http.client.HTTPConnection(*urllib.parse.urlsplit(url).netloc.split(":"))
    connection.putrequest("POST", "/v1/segments")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    connection.send(chunks)
    if connection.sock is not None:
        connection.sock.shutdown(1)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()

    assert answer.status in (400, 413), text


def test_a_large_body_is_refused_before_it_is_read(client: Client, conf: cfg.ConfigOpts) -> None:
    most = conf.oslo_middleware.max_request_body_size

    assert "overLimit" in client.ask("POST", "/v1/segments", body=b"x" * (most + 1)).json
    assert "badRequest" in client.ask("POST", "/v1/segments", body=b"x" * most).json


def test_an_answer_never_repeats_a_long_value(client: Client) -> None:
    long = "x" * 10_000
    for body in (
        {"segment": {"name": long, "recovery_method": "auto", "service_type": "x"}},
        {"segment": {"name": "a", "recovery_method": long, "service_type": "x"}},
        {"segment": {long: 1, "name": "a", "recovery_method": "auto", "service_type": "x"}},
        {long: long},
    ):
        assert len(client.post("/v1/segments", body).text) < 1000
    assert len(client.get(f"/v1/segments?sort_key={long}").text) < 1000
    assert len(client.get(f"/v1/segments/{long}").text) < 1000
    assert len(client.get(f"/v1/{long}").text) < 1000
    odd = {"OpenStack-API-Version": f"instance-ha {long}"}
    assert len(client.get("/v1/segments", headers=odd).text) < 1000
    assert len(client.get("/v1/segments", headers={"Content-Type": long}).text) < 1000


def test_a_message_names_the_field_and_the_reason(client: Client) -> None:
    answer = client.post(
        "/v1/segments", {"segment": {"name": "a", "recovery_method": "car", "service_type": "x"}}
    )

    assert assert_fault(answer, 400) == (
        "segment/recovery_method: must be one of auto, reserved_host, auto_priority, rh_priority."
    )


def test_an_unavailable_database_is_503(
    conf: cfg.ConfigOpts, nova: Computes, wakes: list[str]
) -> None:
    conf.set_override("auth_strategy", "noauth2")
    conf.set_override("connection", "mysql+pymysql://u:hunter2@127.0.0.1:1/x", group="database")
    client = Client(make_app(conf, Database(conf.database), nova, lambda: wakes.append("x")))

    answer = client.get("/v1/segments")

    assert_fault(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "hunter2" not in answer.text
    assert "127.0.0.1" not in answer.text
    assert_fault(client.post("/v1/notifications", {"notification": report()}), 503)
    assert wakes == []


def test_the_cause_of_a_500_is_only_in_the_log(
    client: Client, nova: Computes, caplog: pytest.LogCaptureFixture
) -> None:
    segment = client.segment()
    nova.names = None  # type: ignore[assignment]

    answer = client.post(
        f"/v1/segments/{segment['uuid']}/hosts",
        {"host": {"name": "compute1", "type": "X", "control_attributes": "SSH"}},
    )

    assert "TypeError" not in assert_fault(answer, 500)
    assert "TypeError" in caplog.text


def test_payloads_are_stored_as_they_came(client: Client, db: Database) -> None:
    client.host(client.segment())
    payload = {"event": "STOPPED", "process_name": "ä 日本 😀 \\ \" ' % \u2028"}

    made = client.notification(type="PROCESS", payload=payload)

    with db.read() as session:
        assert session.scalar(sa.select(Notification.payload)) == payload
    shown = client.get(f"/v1/notifications/{made['notification_uuid']}")
    assert shown.json["notification"]["payload"] == payload
