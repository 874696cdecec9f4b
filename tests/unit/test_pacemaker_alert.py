# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-pacemaker-alert: what it makes of Pacemaker's environment, and of a real server.

The server plays Keystone (that of the sandbox) and hacore's API, over TLS.
"""

import ast
import contextlib
import http.server
import io
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hacore import pacemaker_alert
from hacore.clock import SystemClock
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from hacore_sandbox.settings import PRESETS

SOURCE = Path(pacemaker_alert.__file__)
#: uuids by name, by segment
HOSTS = {
    "11111111-1111-4111-8111-111111111111": {
        "compute11": "aaaaaaaa-0011-4aaa-8aaa-aaaaaaaaaaaa",
        "compute1": "aaaaaaaa-0001-4aaa-8aaa-aaaaaaaaaaaa",
    },
    "22222222-2222-4222-8222-222222222222": {
        "compute2.example": "aaaaaaaa-0002-4aaa-8aaa-aaaaaaaaaaaa",
    },
}
COMPUTE1 = "/operator/v1/hosts/aaaaaaaa-0001-4aaa-8aaa-aaaaaaaaaaaa/proofs"
COMPUTE2 = "/operator/v1/hosts/aaaaaaaa-0002-4aaa-8aaa-aaaaaaaaaaaa/proofs"

#: The environment that Pacemaker makes (controld_alerts.c, lrmd_alerts.c; st_client.c).
ALERT = {
    "CRM_alert_version": "2.1.5",
    "CRM_alert_kind": "fencing",
    "CRM_alert_node": "compute1",
    "CRM_alert_task": "st_notify_fence",
    "CRM_alert_rc": "0",
    "CRM_alert_desc": "Operation off of compute1 by ctl1 for controld.12@ctl2: OK (ref=4d)",
    "CRM_alert_timestamp": "03:12:07.000000",
    "CRM_alert_timestamp_epoch": "1795749127",
}
CIB = """<cib><configuration>
<crm_config><cluster_property_set id="options">
<nvpair id="watchdog" name="{word}-watchdog-timeout" value="{watchdog}"/>
</cluster_property_set></crm_config>
<resources><group id="devices"><primitive id="power1" class="stonith" type="{agent}"/></group>
</resources></configuration></cib>"""


class Play(http.server.ThreadingHTTPServer):
    """Keystone and hacore.

    :ivar proofs: path and body of each proof that was posted.
    :ivar answers: of the next posts, status and message; then 201.
    :ivar down: so many requests are answered 503 first.
    :ivar odd: what a login is answered with, if not with Keystone's own.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        cloud = Cloud(SystemClock(), PRESETS["instant"])
        self.rest = Rest(cloud, instance_ha_url=f"{self.url}/v1")
        self.lock = threading.Lock()
        self.proofs: list[tuple[str, Any]] = []
        self.answers: list[tuple[int, str]] = []
        self.down = 0
        self.odd: Any = None
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate hangs up."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Play

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        play = self.server
        with play.lock:
            if play.down:
                play.down -= 1
                self._send(503, {})
            elif path.startswith("/identity/"):
                answer = play.rest.handle(self.command, path, query, headers, body)
                self._send(answer.status, play.odd or answer.body, answer.headers)
            elif play.rest._identity.caller(headers.get("x-auth-token")) is None:
                self._send(401, {"error": {"code": 401, "message": "log in"}})
            else:
                self._send(*self._hacore(path, query, body))

    def _hacore(self, path: str, query: str, body: bytes) -> tuple[int, Any]:
        play, parts = self.server, path.split("/")
        if self.command == "POST" and parts[1:4] == ["operator", "v1", "hosts"]:
            status, message = play.answers.pop(0) if play.answers else (201, "")
            if status != 201:
                return status, {"conflictingRequest": {"code": status, "message": message}}
            play.proofs.append((path, json.loads(body)))
            return 201, {"proof": {}}
        if path == "/v1/segments":
            return 200, {"segments": self._page([{"uuid": uuid} for uuid in HOSTS], query)}
        if len(parts) == 5 and parts[:3] == ["", "v1", "segments"] and parts[4] == "hosts":
            rows = [{"uuid": uuid, "name": name} for name, uuid in HOSTS[parts[3]].items()]
            return 200, {"hosts": self._page(rows, query)}
        return 404, {"itemNotFound": {"code": 404, "message": "nothing here"}}

    @staticmethod
    def _page(rows: list[dict[str, str]], query: str) -> list[dict[str, str]]:
        """One row: what follows the marker."""
        marker = query.removeprefix("marker=")
        uuids = [row["uuid"] for row in rows]
        start = uuids.index(marker) + 1 if marker else 0
        return rows[start : start + 1]

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: Any) -> None:
        """Not to standard error."""


class Agent:
    """A copy of the file, and its configuration."""

    def __init__(self, folder: Path, play: Play, ca: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        self.config = folder / "alert.conf"
        self.options = {
            "auth_url": f"{play.url}/identity",
            "username": "hacore",
            "password": "hacore",
            "project_name": "service",
            "cafile": str(ca),
            "cib_file": str(folder / "cib.xml"),
        }
        self.cib()

    def cib(
        self, *, word: str = "stonith", watchdog: str = "0", agent: str = "fence_ipmilan"
    ) -> None:
        text = CIB.format(word=word, watchdog=watchdog, agent=agent)
        (self.folder / "cib.xml").write_text(text)

    def run(self, *args: str, **alert: str) -> tuple[int, str]:
        """Exit status, and what was written; `alert`: variables without their CRM_alert_."""
        for name, value in self._environ(alert).items():
            self._patch.setenv(name, value)
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            status = pacemaker_alert.main(args)
        assert out.getvalue() == ""
        return status, errors.getvalue()

    def run_copy(self) -> tuple[int, str]:
        """The same, as Pacemaker runs it where hacore is not installed."""
        copy = shutil.copy(SOURCE, self.folder / "alert")
        done = subprocess.run(
            [sys.executable, "-I", "-S", copy],
            env=self._environ({}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    def _environ(self, alert: dict[str, str]) -> dict[str, str]:
        if not self.config.exists():
            lines = [f"{name} = {value}" for name, value in self.options.items()]
            self.config.write_text("\n".join(["[hacore]", *lines, ""]))
            self.config.chmod(0o640)
        environ = ALERT | {f"CRM_alert_{name}": value for name, value in alert.items()}
        return {"CRM_alert_recipient": str(self.config), **environ}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself; its key is in the same file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", file, "-out", file.with_suffix(".crt")),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file.with_suffix(".crt")


@pytest.fixture
def play(certificate: Path) -> Iterator[Play]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.with_suffix(".pem"))
    server = Play(tls)
    yield server
    server.close()


@pytest.fixture
def agent(tmp_path: Path, play: Play, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    return Agent(tmp_path, play, certificate, monkeypatch)


def test_it_is_one_file_of_the_standard_library() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 9))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


# -- what is posted


@pytest.mark.parametrize("run", [Agent.run, Agent.run_copy])
def test_off_is_posted(play: Play, agent: Agent, run: Callable[[Agent], tuple[int, str]]) -> None:
    status, said = run(agent)
    assert said == (
        "hacore-pacemaker-alert: posted that Pacemaker has fenced host compute1 (off)\n"
    )
    assert status == 0
    reason = (
        f"Pacemaker on {socket.gethostname()} at 2026-11-27T03:12:07Z: Operation off of compute1 "
        "by ctl1 for controld.12@ctl2: OK (ref=4d)"
    )
    body = {"kind": "pacemaker", "host": "compute1", "action": "off", "reason": reason}
    assert play.proofs == [(COMPUTE1, body)]


def test_reboot_is_posted_as_reboot(play: Play, agent: Agent) -> None:
    desc = "Operation reboot of compute1 by ctl1 for stonith_admin.7@ctl1: OK (ref=4d)"
    assert agent.run(desc=desc)[0] == 0
    assert [body["action"] for _, body in play.proofs] == ["reboot"]


def test_each_node_of_the_cluster_posts(play: Play, agent: Agent) -> None:
    """hacore makes one proof of them."""
    assert [agent.run()[0], agent.run()[0]] == [0, 0]
    assert len(play.proofs) == 2


def test_the_action_of_the_task_where_there_is_no_description(play: Play, agent: Agent) -> None:
    """As Pacemaker documents it."""
    assert agent.run(task="reboot", desc="")[0] == 0
    assert play.proofs[0][1]["action"] == "reboot"
    assert play.proofs[0][1]["reason"].endswith("03:12:07Z: reboot")


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        (
            {"rc": "-62", "desc": "Operation off of compute1 by ctl1 for x@ctl2: Timer expired"},
            "nothing to post: Pacemaker failed to fence node compute1 (result -62): Operation off "
            "of compute1 by ctl1 for x@ctl2: Timer expired",
        ),
        ({"rc": ""}, "nothing to post: Pacemaker failed to fence node compute1 (result )"),
        (
            {"desc": "Operation on of compute1 by ctl1 for x@ctl2: OK (ref=4d)"},
            "nothing to post: Pacemaker did on of node compute1",
        ),
        ({"task": "on", "desc": ""}, "nothing to post: Pacemaker did on of node compute1"),
        ({"kind": "resource", "task": "stop", "rc": "0"}, ""),
        ({"kind": "node", "desc": "lost"}, ""),
    ],
)
def test_what_is_not_posted(play: Play, agent: Agent, alert: dict[str, str], sentence: str) -> None:
    status, said = agent.run(**alert)
    assert status == 0
    assert sentence in said
    assert bool(said) == bool(sentence)
    assert play.proofs == []


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        (
            {"desc": "Operation off of compute1 by a human for stonith_admin.7@ctl1: OK (ref=4d)"},
            "a person confirmed that node compute1 is fenced, and no device did",
        ),
        (
            {"desc": "Operation reboot of compute1 by compute1 for x@ctl1: OK (ref=4d)"},
            "node compute1 is said to have fenced itself",
        ),
        ({"node": "compute11"}, "about node compute11 and about node compute1: not posted"),
        ({"desc": "Fencing history may have changed"}, "does not say which node was switched off"),
        ({"node": "", "task": "off", "desc": ""}, "does not say which node was switched off"),
        ({"kind": ""}, "CRM_alert_kind is not set"),
    ],
)
def test_what_is_no_proof_is_not_posted(
    play: Play, agent: Agent, alert: dict[str, str], sentence: str
) -> None:
    status, said = agent.run(**alert)
    assert status == 1
    assert sentence in said
    assert play.proofs == []


def test_the_fenced_host_itself_does_not_confirm_it(play: Play, agent: Agent) -> None:
    """It runs: the cluster has switched another box off."""
    me = socket.gethostname()
    status, said = agent.run(node=me, task="off", desc="")
    assert status == 1
    assert "and this is that host, and it runs" in said
    assert play.proofs == []


@pytest.mark.parametrize(
    ("cib", "sentence"),
    [
        ({"agent": "fence_kdump"}, "power1 of the cluster is a fence_kdump, which proves nothing"),
        ({"agent": "external/sbd"}, "is a external/sbd, which proves nothing about power"),
        ({"watchdog": "10s"}, "stonith-watchdog-timeout is set, and a watchdog proves nothing"),
        ({"watchdog": "-1"}, "stonith-watchdog-timeout is set"),
        ({"watchdog": "10", "word": "fencing"}, "fencing-watchdog-timeout is set"),  # 3.0.2
    ],
)
def test_a_cluster_whose_success_may_be_no_power_off(
    play: Play, agent: Agent, cib: dict[str, str], sentence: str
) -> None:
    agent.cib(**cib)
    status, said = agent.run()
    assert status == 1
    assert sentence in said
    assert "an alert does not say which device has fenced; not posted" in said
    assert play.proofs == []


@pytest.mark.parametrize("text", [None, "<cib>", ""])
def test_a_cluster_that_cannot_be_read(play: Play, agent: Agent, text: str | None) -> None:
    file = agent.folder / "cib.xml"
    file.unlink() if text is None else file.write_text(text)
    status, said = agent.run()
    assert status == 1
    assert f"failed to read the cluster's fence devices from {file}" in said
    assert play.proofs == []


# -- names


def test_the_name_of_the_host_is_that_of_the_nodes_file(play: Play, agent: Agent) -> None:
    nodes = agent.folder / "nodes"
    nodes.write_text("# node host\n\ncompute1  compute2.example  # rack 7\ncompute7 compute7\n")
    agent.options["nodes_file"] = str(nodes)
    assert agent.run()[0] == 0
    assert [(path, body["host"]) for path, body in play.proofs] == [(COMPUTE2, "compute2.example")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("compute11 compute11\n", "has no line for node compute1: add the node and its host"),
        ("compute1\n", "line 1 of"),
        ("compute1 compute1\ncompute1 compute2\n", "line 2 of"),
        (None, "failed to read nodes_file"),
    ],
)
def test_a_node_that_the_nodes_file_does_not_name(
    play: Play, agent: Agent, text: str | None, sentence: str
) -> None:
    nodes = agent.folder / "nodes"
    if text is not None:
        nodes.write_text(text)
    agent.options["nodes_file"] = str(nodes)
    status, said = agent.run()
    assert status == 1
    assert sentence in said
    assert play.proofs == []


def test_an_unknown_host(play: Play, agent: Agent) -> None:
    """The whole name counts: compute2 is not compute2.example."""
    desc = ALERT["CRM_alert_desc"].replace("compute1", "compute2")
    status, said = agent.run(node="compute2", desc=desc)
    assert status == 1
    assert "hacore has no host compute2: register it, or correct its name in nodes_file" in said
    assert play.proofs == []


def test_check_finds_the_host_and_posts_nothing(play: Play, agent: Agent) -> None:
    status, said = agent.run("--check", "compute1")
    assert (status, said) == (
        0,
        "hacore-pacemaker-alert: node compute1 is host compute1 "
        "(aaaaaaaa-0001-4aaa-8aaa-aaaaaaaaaaaa); nothing was posted\n",
    )
    assert play.proofs == []


# -- configuration


def test_a_configuration_that_others_may_read(play: Play, agent: Agent) -> None:
    agent.run("--check", "compute1")
    agent.config.chmod(0o644)
    status, said = agent.run()
    assert status == 1
    assert f"{agent.config} has a password and is open to others: chmod o= {agent.config}" in said
    assert play.proofs == []


def test_no_configuration(agent: Agent, tmp_path: Path) -> None:
    status, said = agent.run(recipient=str(tmp_path / "nothing.conf"))
    assert status == 1
    assert "nothing.conf: No such file or directory" in said


def test_an_unreadable_configuration(agent: Agent, tmp_path: Path) -> None:
    status, said = agent.run(recipient=str(tmp_path))
    assert status == 1
    assert f"failed to read the configuration {tmp_path}: Is a directory" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[hacore]\nauth_url = https://x\npassword = s3cret\n", "has no username in [hacore]"),
        ("[hacore]\npassword = s3cret\nurl = x\n", "has an unknown option url"),
        ("password = s3cret\n", "is not a valid ini file"),
        ("[hacore]\npassword s3cret\n", "is not a valid ini file"),
        ("[hacore]\npassword = s3cret\npassword = s3cret\n", "is not a valid ini file"),
        ("[DEFAULT]\npassword = s3cret\n", "has no auth_url in [hacore]"),
    ],
)
def test_a_wrong_configuration(agent: Agent, text: str, sentence: str) -> None:
    agent.config.write_text(text)
    agent.config.chmod(0o600)
    status, said = agent.run()
    assert status == 1
    assert f"{agent.config} {sentence}" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout": "0"}, "must be a number of seconds from 1 to 99"),
        ({"timeout": "soon"}, "must be a number of seconds from 1 to 99"),
        ({"auth_url": "file:///etc/passwd"}, "is not a URL of http or https"),
        ({"auth_url": "keystone"}, "is not a URL of http or https"),
        ({"cafile": "/nothing.pem"}, "failed to read cafile /nothing.pem"),
        ({"region_name": "Mars"}, "the catalogue has no instance-ha in region Mars"),
        ({"operator_url": "https://127.0.0.1/operator"}, "does not end with /operator/v1"),
    ],
)
def test_a_wrong_option(play: Play, agent: Agent, options: dict[str, str], sentence: str) -> None:
    agent.options |= options
    status, said = agent.run()
    assert status == 1
    assert sentence in said
    assert play.proofs == []


def test_operator_url_instead_of_the_catalogue(play: Play, agent: Agent) -> None:
    agent.options |= {"operator_url": f"{play.url}/operator/v1", "region_name": "Mars"}
    assert agent.run()[0] == 0
    assert len(play.proofs) == 1


# -- what goes wrong at Keystone and hacore


@pytest.mark.parametrize("run", [Agent.run, Agent.run_copy])
def test_a_wrong_password_is_in_nothing(
    agent: Agent, run: Callable[[Agent], tuple[int, str]]
) -> None:
    agent.options["password"] = "s3cret"
    status, said = run(agent)
    assert status == 1
    assert (
        "failed to log in as hacore: 401, The request you have made requires authentication."
        in said
    )
    assert "s3cret" not in said


def test_an_untrusted_certificate(play: Play, agent: Agent) -> None:
    """Nothing is sent: not the password either."""
    del agent.options["cafile"]
    status, said = agent.run()
    assert status == 1
    assert f"the certificate of {play.url}/identity/v3/auth/tokens is not trusted" in said
    assert "set cafile" in said
    assert play.rest.counters.describe()["total"] == 0


def test_the_certificate_of_another_host(play: Play, agent: Agent) -> None:
    agent.options["auth_url"] = agent.options["auth_url"].replace("127.0.0.1", "localhost")
    status, said = agent.run()
    assert status == 1
    assert "is not trusted" in said
    assert "localhost" in said
    assert play.rest.counters.describe()["total"] == 0


@pytest.mark.parametrize("status", [403, 404, 409])
def test_hacore_refuses(play: Play, agent: Agent, status: int) -> None:
    play.answers = [(status, "Nova heard compute1 6 s ago.")]
    code, said = agent.run()
    assert code == 1
    assert said == (
        "hacore-pacemaker-alert: hacore refused the proof that compute1 is off: "
        f"{status}, Nova heard compute1 6 s ago.\n"
    )
    assert play.proofs == []


def test_a_redirect_is_not_followed(play: Play, agent: Agent) -> None:
    play.answers = [(302, "elsewhere")]
    status, said = agent.run()
    assert status == 1
    assert "302, elsewhere" in said


def test_an_outage_that_ends_in_time(play: Play, agent: Agent) -> None:
    play.down = 1
    play.answers = [(503, "The database is unavailable.")]
    assert agent.run()[0] == 0
    assert len(play.proofs) == 1


def test_an_outage_that_does_not_end(play: Play, agent: Agent) -> None:
    agent.options["timeout"] = "3"
    play.answers = [(503, "The database is unavailable.")] * 9
    status, said = agent.run()
    assert status == 1
    assert f"{play.url}{COMPUTE1} is unavailable: 503, The database is unavailable." in said
    assert "gave up after 3 s" in said
    assert play.proofs == []


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://ha.example:15868/v1", "https://ha.example:15868"),
        ("https://ha.example/instance-ha/v1/", "https://ha.example/instance-ha"),
        ("http://ha.example/v1/8f2a9c", "http://ha.example"),
        ("https://ha.example/operator/v1", "https://ha.example"),
        ("https://ha.example/x/operator/v1/", "https://ha.example/x"),
    ],
)
def test_both_apis_are_found_from_the_url_of_one(url: str, root: str) -> None:
    assert pacemaker_alert.root_of(url) == root


def endpoint(interface: str, region: str) -> dict[str, str]:
    return {"interface": interface, "region": region, "url": f"https://{region}/{interface}/v1"}


def test_the_internal_endpoint_of_the_region() -> None:
    endpoints = [endpoint("public", "one"), endpoint("internal", "one"), endpoint("public", "two")]
    catalog = [
        {"type": "compute", "endpoints": [endpoint("internal", "nova")]},
        {"type": "instance-ha", "endpoints": endpoints},
    ]
    assert pacemaker_alert.endpoint_of(catalog, "one") == "https://one/internal/v1"
    assert pacemaker_alert.endpoint_of(catalog, "two") == "https://two/public/v1"
    endpoints.append(endpoint("internal", "two"))
    with pytest.raises(pacemaker_alert.Failure, match="more than one instance-ha: set region_name"):
        pacemaker_alert.endpoint_of(catalog, "")


def test_an_answer_of_something_else(play: Play, agent: Agent) -> None:
    """A proxy answers in the place of Keystone."""
    play.odd = {"token": {"catalog": [{"kind": "compute"}]}}
    status, said = agent.run()
    assert status == 1
    assert "an answer of Keystone or hacore is not understood: KeyError('type')" in said
    assert play.proofs == []


@pytest.fixture
def silent() -> Iterator[Callable[[], str]]:
    """A server that accepts connections and answers nothing; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield lambda: f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_hangs(agent: Agent, silent: Callable[[], str]) -> None:
    agent.options |= {"auth_url": silent(), "timeout": "3"}
    status, said = agent.run()
    assert status == 1
    assert f"{silent()}/v3/auth/tokens is unavailable: timed out; gave up after 3 s" in said


def test_nobody_listens(agent: Agent, silent: Callable[[], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    agent.options |= {"auth_url": f"http://127.0.0.1:{port}", "timeout": "1"}
    status, said = agent.run()
    assert status == 1
    assert "Connection refused; gave up after 1 s" in said
