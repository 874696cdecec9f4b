#!/usr/bin/python3 -I
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-pacemaker-alert: reports to hacore that Pacemaker has switched a host off.

Pacemaker runs it on every node of the cluster, as user hacluster, with what has happened
in its environment, and kills it after 30 s.  A proof can have instances evacuated: what it
is not certain of it reports as a failure, and posts nothing.

This file is all of it, needs nothing but the standard library of Python 3.9 or later, and
may be copied to a host where hacore is not installed.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import sys
import syslog
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

NAME = "hacore-pacemaker-alert"
CONFIG = "/etc/hacore/pacemaker-alert.conf"
SECTION = "hacore"
REQUIRED = ("auth_url", "username", "password", "project_name")
DEFAULTS = {
    "user_domain_name": "Default",
    "project_domain_name": "Default",
    "region_name": "",
    "cafile": "",  # empty: the certificates that the system trusts
    "operator_url": "",  # empty: beside the instance-ha endpoint of the catalogue
    "nodes_file": "",
    "cib_file": "/var/lib/pacemaker/cib/cib.xml",
    "timeout": "25",  # seconds for everything, less than Pacemaker's own 30
}
_PAUSE_S, _REQUESTS = 2.0, 3  # before a retry; so many fit into `timeout`, even if none is answered
_LONGEST_REASON = 1000  # of the operator API

#: Pacemaker's own sentence about a fencing operation (stonith__event_description; its begin
#: is the same since 1.1.16).  CRM_alert_task says "st_notify_fence", whatever was done.
_DESCRIPTION = re.compile(r"Operation (\S+) of (\S+) by (.+?) for ")
_A_PERSON = "a human"  # stonith_admin --confirm
#: Fence agents whose success says nothing about power.  An alert does not name the agent.
NO_POWER = frozenset([
    "fence_ack_manual", "fence_brocade", "fence_compute", "fence_dummy", "fence_evacuate",
    "fence_heuristics_ping", "fence_ifmib", "fence_kdump", "fence_mpath", "fence_sbd",
    "fence_scsi", "fence_watchdog", "external/kdumpcheck", "external/sbd", "external/ssh",
    "meatware", "null", "ssh", "suicide",
])  # fmt: skip

Answer = tuple[int, dict[str, Any], Mapping[str, str]]  # status, JSON, headers


class Failure(Exception):
    """Nothing was posted; one sentence says why."""


class _Unavailable(Exception):
    """A request that may succeed when it is sent again."""


class Fenced(NamedTuple):
    """A node that Pacemaker has fenced; `action` is off or reboot."""

    node: str
    action: str
    reason: str


def main(argv: Sequence[str] | None = None) -> int:
    """Handle the alert in the environment; return the exit status: 1 if it failed."""
    what = "An alert agent of Pacemaker, which runs it without arguments."
    parser = argparse.ArgumentParser(prog=NAME, description=what)
    what = "log in, find the host of this node of the cluster, and post nothing"
    parser.add_argument("--check", metavar="NODE", help=what)
    node = parser.parse_args(argv).check
    syslog.openlog(NAME, syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        done = check(node, os.environ) if node else alert(os.environ)
    except Failure as exc:
        _say(syslog.LOG_ERR, str(exc))
        return 1
    if done:
        _say(syslog.LOG_NOTICE, done)
    return 0


def _say(level: int, sentence: str) -> None:
    line = " ".join(sentence.split())
    syslog.syslog(level, line)
    sys.stderr.write(f"{NAME}: {line}\n")


def check(node: str, environ: Mapping[str, str]) -> str:
    """Do all of it but the post."""
    name, client = _prepare(node, environ)
    return f"node {node} is host {name} ({client.find(name)}); nothing was posted"


def alert(environ: Mapping[str, str]) -> str | None:
    """Post what the environment says; return what was done, or None if it is of no interest."""
    kind = environ.get("CRM_alert_kind")
    if not kind:
        raise Failure(f"CRM_alert_kind is not set: Pacemaker runs {NAME}; to try it use --check")
    fenced = fenced_by(environ) if kind == "fencing" else None
    if not isinstance(fenced, Fenced):
        return fenced
    name, client = _prepare(fenced.node, environ)
    _check_other_host(fenced.node, name)
    client.post(name, fenced)
    return f"posted that Pacemaker has fenced host {name} ({fenced.action})"


def _prepare(node: str, environ: Mapping[str, str]) -> tuple[str, Client]:
    config = read_config(environ)
    check_cluster(config["cib_file"])
    return host_of(node, config["nodes_file"]), Client(config)


# -- what Pacemaker says


def fenced_by(environ: Mapping[str, str]) -> Fenced | str:
    """Return what a fencing alert says was done; or a sentence, if there is nothing to post.

    Raises Failure for what may be a proof, and is not certain to be one.
    """
    node, desc = environ.get("CRM_alert_node", ""), environ.get("CRM_alert_desc", "")
    task, code = environ.get("CRM_alert_task", ""), environ.get("CRM_alert_rc", "")
    described = _DESCRIPTION.match(desc)
    action = described[1] if described else task
    if code != "0":
        return f"nothing to post: Pacemaker failed to fence node {node} (result {code}): {desc}"
    if action == "on" or (described and action not in ("off", "reboot")):
        return f"nothing to post: Pacemaker did {action} of node {node}"
    if action not in ("off", "reboot") or not node:
        raise Failure(
            "the alert does not say which node was switched off: "
            f"CRM_alert_node={node} CRM_alert_task={task} CRM_alert_desc={desc}"
        )
    if described:
        _check_description(node, described)
    epoch = environ.get("CRM_alert_timestamp_epoch", "")
    moment = time.gmtime(int(epoch) if epoch.isdecimal() else time.time())
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    reason = f"Pacemaker on {socket.gethostname()} at {when}: {desc or action}"
    printable = "".join(char if char.isprintable() else " " for char in reason)
    return Fenced(node, action, " ".join(printable.split())[:_LONGEST_REASON])


def _check_description(node: str, described: re.Match[str]) -> None:
    """Raise Failure for a success that no fence device of Pacemaker has reported."""
    _, target, executor = described.groups()
    if target != node:
        raise Failure(f"the alert is about node {node} and about node {target}: not posted")
    if executor == _A_PERSON:
        raise Failure(
            f"a person confirmed that node {node} is fenced, and no device did: not posted; if the "
            "host is off, run: hacore-manage host confirm-off"
        )
    if executor == node:
        raise Failure(f"node {node} is said to have fenced itself, which proves nothing")


def check_cluster(cib_file: str) -> None:
    """Raise Failure in a cluster where a success may mean something else than power off."""
    hint = "an alert does not say which device has fenced; not posted"
    try:
        cib = ET.parse(cib_file)  # noqa: S314 (the cluster's own file)
    except (OSError, ET.ParseError) as exc:
        raise Failure(f"failed to read the cluster's fence devices from {cib_file}: {exc}") from exc
    for pair in cib.iterfind("./configuration/crm_config//nvpair"):
        name = pair.get("name", "")
        if name.endswith("-watchdog-timeout") and re.search("[1-9]", pair.get("value", "")):
            raise Failure(f"{name} is set, and a watchdog proves nothing: {hint}")
    for device in cib.iterfind("./configuration/resources//*[@class='stonith']"):
        if device.get("type") in NO_POWER:
            raise Failure(
                f"fence device {device.get('id')} of the cluster is a {device.get('type')}, which "
                f"proves nothing about power: {hint}"
            )


def host_of(node: str, nodes_file: str) -> str:
    """Return the name that Nova has for the host of a node."""
    if not nodes_file:
        return node
    try:
        lines = pathlib.Path(nodes_file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as exc:
        raise Failure(f"failed to read nodes_file {nodes_file}: {exc}") from exc
    hosts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] in hosts:
            raise Failure(
                f"line {number} of {nodes_file} must be a node and its host, each node once"
            )
        hosts[words[0]] = words[1]
    if node not in hosts:
        raise Failure(f"{nodes_file} has no line for node {node}: add the node and its host")
    return hosts[node]


def _check_other_host(node: str, name: str) -> None:
    """Raise Failure on the fenced host itself: it runs, so something else was switched off."""
    own = socket.gethostname().lower().partition(".")[0]
    if own in {node.lower().partition(".")[0], name.lower().partition(".")[0]}:
        raise Failure(
            f"Pacemaker has fenced host {name}, and this is that host, and it runs: not posted; "
            "check the fence devices of the cluster"
        )


# -- Keystone and hacore


def read_config(environ: Mapping[str, str]) -> dict[str, str]:
    """Read the configuration: the file that is the alert's recipient, or the usual one."""
    path = environ.get("CRM_alert_recipient") or CONFIG
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise Failure(f"{path} has a password and is open to others: chmod o= {path}")
            parser.read_file(file)
    except OSError as exc:
        raise Failure(f"failed to read the configuration {path}: {exc.strerror}") from exc
    except (configparser.Error, ValueError):
        # the parser's own words show the line, perhaps with the password
        raise Failure(f"{path} is not a valid ini file") from None
    given = dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    if unknown := set(given) - set(REQUIRED) - set(DEFAULTS):
        raise Failure(f"{path} has an unknown option {min(unknown)}")
    for name in REQUIRED:
        if not given.get(name):
            raise Failure(f"{path} has no {name} in [{SECTION}]")
    config = {**DEFAULTS, **given}
    if not re.fullmatch(r"0*[1-9]\d?", config["timeout"]):
        raise Failure(f"timeout of {path} must be a number of seconds from 1 to 99")
    return config


class Client:
    """Logs in to Keystone; finds hosts at hacore, and posts."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = config
        self._limit_s = int(config["timeout"])
        self._until = time.monotonic() + self._limit_s
        self._token = ""
        self._root = ""  # of both APIs of hacore
        try:
            trust = ssl.create_default_context(cafile=config["cafile"] or None)
        except OSError as exc:  # an SSLError is one
            raise Failure(f"failed to read cafile {config['cafile']}: {exc}") from exc
        # with these two alone: no proxy, no redirect, no other scheme
        self._opener = urllib.request.OpenerDirector()
        self._opener.add_handler(urllib.request.HTTPHandler())
        self._opener.add_handler(urllib.request.HTTPSHandler(context=trust))

    def find(self, name: str) -> str:
        """Return the uuid of the registered host of this name."""
        try:
            self._log_in()
            for segment in self._list("/segments", "segments"):
                for host in self._list(f"/segments/{segment['uuid']}/hosts", "hosts"):
                    if host["name"] == name:
                        return str(host["uuid"])
        except (KeyError, TypeError) as exc:
            raise Failure(f"an answer of Keystone or hacore is not understood: {exc!r}") from exc
        raise Failure(f"hacore has no host {name}: register it, or correct its name in nodes_file")

    def post(self, name: str, fenced: Fenced) -> None:
        """Post the proof that a host was fenced."""
        url = f"/operator/v1/hosts/{self.find(name)}/proofs"
        body = {"kind": "pacemaker", "host": name, "action": fenced.action, "reason": fenced.reason}
        status, answer, _ = self._ask("POST", self._root + url, body)
        if status != 201:
            raise Failure(f"hacore refused the proof that {name} is off: {_said(status, answer)}")

    def _list(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        marker = ""
        while True:
            query = f"?marker={marker}" if marker else ""
            status, answer, _ = self._ask("GET", f"{self._root}/v1{path}{query}")
            rows = answer.get(key)
            if status != 200 or not isinstance(rows, list):
                raise Failure(f"failed to list the {key} of hacore: {_said(status, answer)}")
            if not rows:
                return
            yield from rows
            marker = rows[-1]["uuid"]

    def _log_in(self) -> None:
        config = self._config
        url = config["auth_url"].rstrip("/").removesuffix("/v3") + "/v3/auth/tokens"
        domain, of = {"name": config["user_domain_name"]}, {"name": config["project_domain_name"]}
        user = {"name": config["username"], "password": config["password"], "domain": domain}
        project = {"name": config["project_name"], "domain": of}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": {"project": project}}}
        status, answer, headers = self._ask("POST", url, body)
        self._token = headers.get("X-Subject-Token", "")
        if status != 201 or not self._token:
            raise Failure(f"failed to log in as {config['username']}: {_said(status, answer)}")
        catalog = answer["token"].get("catalog", [])
        self._root = root_of(config["operator_url"] or endpoint_of(catalog, config["region_name"]))

    def _ask(self, method: str, url: str, body: object = None) -> Answer:
        """Send a request, and again while there is time."""
        while True:
            try:
                return self._once(method, url, body)
            except _Unavailable as exc:
                if time.monotonic() + _PAUSE_S >= self._until:
                    raise Failure(f"{exc}; gave up after {self._limit_s} s") from exc
            time.sleep(_PAUSE_S)

    def _once(self, method: str, url: str, body: object) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers |= {"X-Auth-Token": self._token} if self._token else {}
        data = None if body is None else json.dumps(body).encode()
        left_s = min(self._until - time.monotonic(), self._limit_s / _REQUESTS)
        try:
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
            response = self._opener.open(request, timeout=max(0.1, left_s))
            if response is None:
                raise ValueError(url)
            with response:
                status, text = response.status, response.read()
        except (ValueError, http.client.InvalidURL):
            raise Failure(f"{url} is not a URL of http or https") from None
        except (OSError, http.client.HTTPException) as exc:
            cause = getattr(exc, "reason", exc)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise Failure(
                    f"the certificate of {url} is not trusted: {cause.verify_message}; set cafile"
                ) from exc
            raise _Unavailable(f"{url} is unavailable: {str(cause) or repr(cause)}") from exc
        answer = {}
        with contextlib.suppress(ValueError):
            answer = json.loads(text)
        answer = answer if isinstance(answer, dict) else {}
        if status >= 500 or status == 429:
            raise _Unavailable(f"{url} is unavailable: {_said(status, answer)}")
        return status, answer, response.headers


def root_of(url: str) -> str:
    """Return what the URLs of both APIs of hacore begin with, from the URL of either."""
    found = re.fullmatch(r"(.+?)(/operator/v1/?|/v1(/[^/]*)?/?)", url)
    if not found:
        raise Failure(f"{url} does not end with /operator/v1: correct operator_url")
    return found[1]


def endpoint_of(catalog: Sequence[Mapping[str, Any]], region: str) -> str:
    """Return the URL of instance-ha, the internal one if there is one."""
    known = [
        (endpoint["interface"], endpoint["url"])
        for service in catalog
        if service["type"] == "instance-ha"
        for endpoint in service["endpoints"]
        if region in ("", endpoint["region"])
    ]
    for wanted in ("internal", "public"):
        urls = {str(url) for interface, url in known if interface == wanted}
        if len(urls) > 1:
            raise Failure("the catalogue has more than one instance-ha: set region_name")
        if urls:
            return urls.pop()
    raise Failure(f"the catalogue has no instance-ha in region {region or 'any'}: set operator_url")


def _said(status: int, answer: Mapping[str, Any]) -> str:
    """Return what an answer says, in one clause."""
    for fault in answer.values():
        if isinstance(fault, dict) and fault.get("message"):
            return f"{status}, {fault['message']}"
    return f"{status} {http.client.responses.get(status, '')}".strip()


if __name__ == "__main__":
    sys.exit(main())
