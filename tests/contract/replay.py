#!/usr/bin/env python3
"""Replay recorded REST exchanges against an instance-ha v1 service.

Compare (default): send every request of the stories and print one line for
each difference from the recorded answers; the last line is
'N exchanges, M differences'; exit status 1 if M > 0.
Record (--record): send the same requests and write the answers down.

Stories are JSON files STORY.json; their answers lie in answers/STORY.json
beside them.  README.md describes both formats.
"""

import argparse
import base64
import http.client
import json
import os
import re
import select
import socket
import ssl
import sys
import time
import urllib.parse

SERVICE = "instance-ha"
FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
OTHER_FAULT = "masakariFault"  # every status without a name above
VALUES = ("OpenStack-API-Version", "Vary", "Content-Type", "Allow", "Location")
NAMES = VALUES + ("X-Openstack-Request-Id", "WWW-Authenticate", "Retry-After")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
VAR = re.compile(r"\{\{([^{}]+)\}\}")
CLOCK_KEYS = ("created_at", "updated_at", "deleted_at", "start_time", "end_time")


# ---------------------------------------------------------------- variables


def expand(value, env):
    """Replace {{name}} and {{fill:TEXT:COUNT}} in strings, keys, lists."""
    if isinstance(value, dict):
        return {expand(k, env): expand(v, env) for k, v in value.items()}
    if isinstance(value, list):
        return [expand(v, env) for v in value]
    if not isinstance(value, str):
        return value

    def one(m):
        name = m.group(1)
        if name.startswith("fill:"):
            _, text, count = name.split(":")
            return text * int(count)
        if name not in env:
            raise KeyError(name)
        return str(env[name])

    whole = VAR.fullmatch(value)
    if whole and whole.group(1) in env:
        return env[whole.group(1)]
    return VAR.sub(one, value)


def pick(body, path):
    for part in path.split("."):
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body


# ------------------------------------------------------------------ sending


class Answer:
    def __init__(self, status, headers, raw):
        self.status, self.raw = status, raw
        self.headers = {}
        for k, v in headers:
            k = k.lower()
            self.headers[k] = self.headers[k] + ", " + v if k in self.headers else v
        self.json = None
        self.kind = "empty"
        if raw:
            self.kind = "text"
            try:
                self.json = json.loads(raw)
                self.kind = "json"
            except ValueError:
                pass


def connect(url, timeout):
    u = urllib.parse.urlsplit(url)
    if u.scheme == "https":
        return http.client.HTTPSConnection(
            u.hostname, u.port or 443, timeout=timeout, context=ssl._create_unverified_context()
        ), u.path.rstrip("/")
    return http.client.HTTPConnection(u.hostname, u.port or 80, timeout=timeout), u.path.rstrip("/")


def send(url, method, path, headers, body, chunked=False, timeout=90):
    """One request on its own connection; never raises for a broken pipe."""
    conn, prefix = connect(url, timeout)
    try:
        conn.putrequest(method, prefix + path, skip_accept_encoding=True)
        for k, v in headers:
            conn.putheader(k, v.encode("utf-8", "surrogateescape"))
        if chunked:
            conn.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            conn.putheader("Content-Length", str(len(body)))
        conn.endheaders()
        try:
            if chunked:
                for i in range(0, len(body), 16384):
                    part = body[i : i + 16384]
                    conn.send(b"%x\r\n%s\r\n" % (len(part), part))
                conn.send(b"0\r\n\r\n")
            elif body:
                for i in range(0, len(body), 65536):
                    # an early answer (413) ends the sending
                    if i and select.select([conn.sock], [], [], 0)[0]:
                        break
                    conn.send(body[i : i + 65536])
        except OSError:
            pass
        r = conn.getresponse()
        try:
            raw = r.read()
        except (OSError, http.client.HTTPException):
            raw = b""
        return Answer(r.status, r.getheaders(), raw)
    except (OSError, http.client.HTTPException) as e:
        a = Answer(0, [], b"")
        a.error = type(e).__name__
        return a
    finally:
        conn.close()


# ------------------------------------------------------------------ authentication


def password_token(auth_url, user, password, project, user_domain, project_domain):
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {"name": user, "password": password, "domain": {"id": user_domain}}
                },
            },
            "scope": {"project": {"name": project, "domain": {"id": project_domain}}},
        }
    }
    a = send(
        auth_url,
        "POST",
        "/auth/tokens",
        [("Content-Type", "application/json")],
        json.dumps(body).encode(),
    )
    if a.status != 201:
        sys.exit("no token for %s: keystone answered %s" % (user, a.status))
    return a.headers["x-subject-token"], a.json["token"]["project"]["id"]


def token_project(auth_url, token):
    a = send(
        auth_url, "GET", "/auth/tokens", [("X-Auth-Token", token), ("X-Subject-Token", token)], None
    )
    if a.status != 200:
        sys.exit("keystone does not know the token: %s" % a.status)
    return a.json["token"]["project"]["id"]


class Identities:
    """Who is called 'admin', 'member', 'bad', 'none' in a step."""

    def __init__(self, o):
        e = os.environ.get
        self.headers = {"none": [], "bad": [("X-Auth-Token", "no-such-token")]}
        if o.noauth:
            user, _, project = o.noauth.partition(":")
            self.project = project or "0123456789abcdef0123456789abcdef"
            self.headers = {
                "admin": [
                    ("X-Auth-Token", user + ":" + self.project),
                    ("X-User-Id", user),
                    ("X-Project-Id", self.project),
                    ("X-Roles", "admin"),
                ]
            }
            return
        domains = (e("OS_USER_DOMAIN_ID", "default"), e("OS_PROJECT_DOMAIN_ID", "default"))
        auth_url = e("OS_AUTH_URL", "").rstrip("/")
        if o.admin:
            token = o.admin
            self.project = o.project_id or token_project(auth_url, token)
        else:
            if not auth_url:
                sys.exit(
                    "give --admin TOKEN, --noauth USER, or OS_AUTH_URL, "
                    "OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME"
                )
            token, self.project = password_token(
                auth_url, e("OS_USERNAME"), e("OS_PASSWORD"), e("OS_PROJECT_NAME"), *domains
            )
        self.headers["admin"] = [("X-Auth-Token", token)]
        if o.member:
            self.headers["member"] = [("X-Auth-Token", o.member)]
        elif e("MEMBER_USERNAME"):
            token, _ = password_token(
                auth_url,
                e("MEMBER_USERNAME"),
                e("MEMBER_PASSWORD", e("OS_PASSWORD", "")),
                e("MEMBER_PROJECT_NAME", e("MEMBER_USERNAME")),
                *domains,
            )
            self.headers["member"] = [("X-Auth-Token", token)]


def request(step, env, who, url):
    """-> arguments for send()."""
    headers = list(who)
    given = step.get("headers", {})
    lower = {k.lower() for k in given}
    if "version" in step:
        headers.append(("OpenStack-API-Version", SERVICE + " " + step["version"]))
    if "accept" not in lower:
        headers.append(("Accept", "application/json"))
    body = None
    if "json" in step:
        body = json.dumps(expand(step["json"], env)).encode()
    elif "text" in step:
        body = expand(step["text"], env).encode("utf-8", "surrogateescape")
    elif "base64" in step:
        body = base64.b64decode(step["base64"])
    elif step["method"] in ("POST", "PUT", "PATCH"):
        body = b""
    if body is not None and "content-type" not in lower:
        headers.append(("Content-Type", "application/json"))
    for k, v in given.items():
        for one in v if isinstance(v, list) else [v]:
            if one is not None:
                headers.append((k, expand(one, env)))
    return dict(
        method=step["method"],
        path=expand(step["path"], env),
        headers=headers,
        body=body,
        chunked=step.get("chunked", False),
    )


# ---------------------------------------------------------------- recording


def is_fault(body):
    return (
        isinstance(body, dict)
        and len(body) == 1
        and all(
            (k in FAULTS.values() or k == OTHER_FAULT)
            and isinstance(v, dict)
            and type(v.get("code")) is int
            and "message" in v
            for k, v in body.items()
        )
    )


def shape(value, env, hide, path=()):
    """The value with everything that changes from run to run masked."""
    for pattern in hide:
        parts = pattern.split(".")
        if len(parts) == len(path) and all(p in ("*", q) for p, q in zip(parts, path)):
            return mask(value)
    if isinstance(value, dict):
        out = {}
        for k, v in value.items():
            if k in ("message", "title") and "code" in value:
                out[k] = mask(v)
            elif k in CLOCK_KEYS and isinstance(v, str) and TIME.fullmatch(v):
                out[k] = "<time %s>" % re.sub(r"\d", "9", v)
            elif k == "id" and type(v) is int:
                out[k] = "<int>"
            else:
                out[k] = shape(v, env, hide, path + (k,))
        return out
    if isinstance(value, list):
        return [shape(v, env, hide, path + (str(i),)) for i, v in enumerate(value)]
    if isinstance(value, str):
        for name, known in env.items():
            if value == known:
                return "{{%s}}" % name
        if UUID.fullmatch(value) and value not in env.get("", "") and "payload" not in path:
            return "<uuid>"
        if value.startswith(env["endpoint"] + "/"):
            return "{{endpoint}}" + value[len(env["endpoint"]) :]
        if value[:1] in ("<", "="):
            return "=" + value
    return value


def mask(v):
    for kind, t in (
        ("null", type(None)),
        ("bool", bool),
        ("int", int),
        ("number", float),
        ("string", str),
        ("list", list),
    ):
        if type(v) is t:
            return "<%s>" % kind
    return "<object>"


def record(step, a, env):
    out = {"status": a.status}
    names = [n for n in NAMES if n.lower() in a.headers]
    out["header_names"] = names
    out["headers"] = {}
    for n in VALUES:
        if n in names:
            v = a.headers[n.lower()]
            if step.get("version") == "latest" and n == VALUES[0]:
                v = SERVICE + " <latest>"
            if v.startswith(env["endpoint"]):
                v = "{{endpoint}}" + v[len(env["endpoint"]) :]
            out["headers"][n] = v
    if a.kind == "json":
        out["json"] = shape(a.json, env, step.get("hide", ()))
    elif a.kind == "text" and a.status < 300:
        out["text"] = a.raw.decode("utf-8", "replace")
    elif a.kind == "text":
        out["text"] = "<text>"
    return out


# ---------------------------------------------------------------- comparing


def kind(v):
    return mask(v)[1:-1]


def match(want, got, env, path, strict, anyorder):
    """Differences of a JSON body, as strings."""
    where = path or "body"
    if isinstance(want, str):
        if re.fullmatch(r"<(null|bool|int|number|string|list|object)>", want):
            if mask(got) != want:
                yield "%s: expected %s, got %s" % (where, want, short(got))
            return
        if want == "<uuid>":
            if not (isinstance(got, str) and UUID.fullmatch(got)):
                yield "%s: expected a uuid, got %s" % (where, short(got))
            return
        if want.startswith("<time "):
            form = re.sub(r"\d", "9", got) if isinstance(got, str) else None
            if form != want[6:-1]:
                yield "%s: expected a time like %s, got %s" % (where, want[6:-1], short(got))
            return
        want = want[1:] if want[:1] == "=" else expand(want, env)
    if isinstance(want, dict):
        if not isinstance(got, dict):
            yield "%s: expected an object, got %s" % (where, short(got))
            return
        for k in want:
            if k not in got:
                yield "%s: key %r is missing" % (where, k)
            else:
                yield from match(
                    want[k], got[k], env, (path + "." + k).strip("."), strict, anyorder
                )
        for k in got:
            if strict and k not in want:
                yield "%s: key %r is extra" % (where, k)
        return
    if isinstance(want, list):
        if not isinstance(got, list):
            yield "%s: expected a list, got %s" % (where, short(got))
            return
        if path in anyorder:  # each wanted item, in any place
            for i, w in enumerate(want):
                if not any(not list(match(w, g, env, path, strict, anyorder)) for g in got):
                    yield "%s: no item like %s" % (where, short(w))
            if strict and len(got) > len(want):
                yield "%s: expected %d items, got %d" % (where, len(want), len(got))
            return
        if len(want) != len(got):
            yield "%s: expected %d items, got %d" % (where, len(want), len(got))
            return
        for i, (w, g) in enumerate(zip(want, got)):
            yield from match(w, g, env, "%s.%d" % (path, i), strict, anyorder)
        return
    if type(want) is not type(got) or want != got:
        yield "%s: expected %s, got %s" % (where, short(want), short(got))


def short(v):
    s = v if isinstance(v, str) and v[:1] == "<" else json.dumps(v)
    return s if len(s) < 90 else s[:87] + "..."


def tokens(value):
    return {t.strip().lower() for t in value.split(",") if t.strip()}


def check_header(name, want, got, strict):
    if name in ("Vary", "Allow"):
        a, b = tokens(want), tokens(got)
        good = a == b if strict else a <= b
    elif name == "Content-Type":
        good = (
            want.lower() == got.lower()
            if strict
            else want.split(";")[0].lower() == got.split(";")[0].lower()
        )
    elif want.endswith("<latest>"):
        m = re.fullmatch(re.escape(SERVICE) + r" (\d+)\.(\d+)", got)
        good = bool(m) and (int(m[1]), int(m[2])) >= (1, 3)
    else:
        good = want == got
    if not good:
        yield "header %s: expected %s, got %s" % (name, want, got)


def check_fault(status, a):
    name = FAULTS.get(status, OTHER_FAULT)
    if not is_fault(a.json):
        yield "body: expected the fault %r, got %s" % (
            name,
            short(a.json) if a.kind == "json" else "no JSON (%s)" % a.headers.get("content-type"),
        )
    elif name not in a.json:
        yield "body: expected the fault %r, got %r" % (name, *a.json)
    elif a.json[name]["code"] != status:
        yield "body: expected code %d, got %s" % (status, a.json[name]["code"])
    elif not isinstance(a.json[name]["message"], str):
        yield "body: the message is no string"


def compare(step, want, a, env, o):
    status = want["status"]
    if status >= 500 and not o.reference and a.status == status:
        yield "status: %d, a defect of the recorded service; expected %s" % (
            a.status,
            step["accept"],
        )
        return
    if a.status != status:
        if a.status in step.get("accept", ()):
            if step["method"] == "HEAD":
                pass
            elif a.status >= 400:
                yield from check_fault(a.status, a)
            elif "accept_json" in step:
                if a.kind != "json":
                    yield "body: expected JSON"
                else:
                    yield from match(step["accept_json"], a.json, env, "", o.strict, ())
            return
        allowed = ([] if status >= 500 else [status]) + step.get("accept", [])
        yield "status: expected %s, got %s" % (" or ".join(map(str, allowed)), a.status or a.error)
        return
    # An error that the recorded service did not send as one of its faults
    # (web server's or middleware's page) may also come as a proper fault.
    replaced = status >= 400 and not is_fault(want.get("json")) and is_fault(a.json)
    for n in want["header_names"]:
        got = a.headers.get(n.lower())
        if replaced and n == "Content-Type":
            continue
        if got is None:
            yield "header %s is missing" % n
        elif n in want["headers"]:
            yield from check_header(n, expand(want["headers"][n], env), got, o.strict)
    if o.strict:
        for n in NAMES:
            if n.lower() in a.headers and n not in want["header_names"]:
                yield "header %s is extra: %s" % (n, a.headers[n.lower()])
    if replaced:
        yield from check_fault(status, a)
    elif "json" in want:
        if a.kind != "json":
            yield "body: expected JSON, got %s" % (a.kind,)
        else:
            yield from match(want["json"], a.json, env, "", o.strict, step.get("any_order", ()))
    elif "text" in want:
        if want["text"] != "<text>" and a.raw.decode("utf-8", "replace") != want["text"]:
            yield "body: expected %s, got %s" % (
                short(want["text"]),
                short(a.raw.decode("utf-8", "replace")),
            )
    elif a.kind != "empty":
        yield "body: expected none, got %d bytes" % len(a.raw)


# ------------------------------------------------------------------ stories


def files_of(paths):
    for p in paths:
        if os.path.isdir(p):
            for f in sorted(os.listdir(p)):
                if f.endswith(".json"):
                    yield os.path.join(p, f)
        else:
            yield p


def answers_path(f):
    return os.path.join(os.path.dirname(f), "answers", os.path.basename(f))


def play(f, who, o, totals):
    with open(f) as fp:
        story = json.load(fp)
    name = os.path.basename(f)[:-5]
    answers, wanted = {}, {}
    if not o.record:
        with open(answers_path(f)) as fp:
            wanted = json.load(fp)
    env = {"endpoint": o.endpoint, "project_id": who.project}
    env.update(("host%d" % (i + 1), h) for i, h in enumerate(o.hosts))
    if not o.quiet:
        print("# %s: %s" % (name, story["purpose"]), flush=True)
    for step in story["steps"]:
        sid = step["id"]
        person = step.get("as", "admin")
        if person not in who.headers or o.noauth and step.get("keystone"):
            totals["skipped"] += 1
            continue
        if "if" in step and step["if"] not in env:
            continue  # clean-up of what was not made
        time.sleep(step.get("pause", 0))
        try:
            kw = request(step, env, who.headers[person], o.endpoint)
        except KeyError as e:
            totals["exchanges"] += 1
            totals["differences"] += 1
            print("%s/%s: not sent, an earlier answer did not give %s" % (name, sid, e), flush=True)
            continue
        a = send(o.endpoint, timeout=o.timeout, **kw)
        totals["exchanges"] += 1
        if o.verbose:
            print("  %s %s %s -> %s" % (sid, kw["method"], kw["path"][:100], a.status or a.error))
        if o.verbose > 1:
            print("     %s" % a.raw[:600])
        for var, path in step.get("capture", {}).items():
            try:
                env[var] = pick(a.json, path)
            except (KeyError, IndexError, TypeError, ValueError):
                pass
        if o.record:
            # literal uuids of the request are not masked in the answer
            sent = dict(env, **{"": json.dumps(step)})
            answers[sid] = record(step, a, sent)
            if a.status == 0 or a.status >= 500 and "accept" not in step:
                print('%s/%s: %s and no "accept"' % (name, sid, a.status or a.error), flush=True)
            continue
        if sid not in wanted:
            continue  # clean-up of what was not recorded
        for d in compare(step, wanted[sid], a, env, o):
            totals["differences"] += 1
            print("%s/%s: %s %s: %s" % (name, sid, kw["method"], kw["path"][:80], d), flush=True)
    if o.record:
        os.makedirs(os.path.dirname(answers_path(f)) or ".", exist_ok=True)
        with open(answers_path(f), "w") as fp:
            fp.write(
                "{\n%s\n}\n"
                % ",\n".join("%s: %s" % (json.dumps(k), json.dumps(v)) for k, v in answers.items())
            )


def main():
    p = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without --admin: OS_AUTH_URL (.../v3), OS_USERNAME, "
        "OS_PASSWORD, OS_PROJECT_NAME.\nWithout --member: MEMBER_USERNAME, "
        "MEMBER_PASSWORD, MEMBER_PROJECT_NAME;\nwithout these the steps of "
        "the member are skipped.",
    )
    p.add_argument(
        "paths", nargs="*", metavar="STORY.json|FOLDER", help="default: the folder of this program"
    )
    p.add_argument(
        "--endpoint", default="http://127.0.0.1:15868", help="root of the service, without /v1"
    )
    p.add_argument("--admin", "--token", metavar="TOKEN")
    p.add_argument("--member", metavar="TOKEN")
    p.add_argument("--project-id", help="project of --admin")
    p.add_argument("--noauth", metavar="USER[:PROJECT]", help="the service runs without keystone")
    p.add_argument(
        "--hosts",
        default="compute1,compute2,compute3,compute4",
        help="four nova-compute hosts of the cloud",
    )
    p.add_argument("--record", action="store_true")
    p.add_argument(
        "--strict", action="store_true", help="extra keys and headers are differences too"
    )
    p.add_argument(
        "--reference",
        action="store_true",
        help="the recorded service itself: its 5xx are no differences",
    )
    p.add_argument("--timeout", type=float, default=90)
    p.add_argument("-v", "--verbose", action="count", default=0)
    p.add_argument("-q", "--quiet", action="store_true")
    o = p.parse_args()
    o.endpoint = o.endpoint.rstrip("/")
    o.hosts = o.hosts.split(",")
    if len(set(o.hosts)) != 4:
        p.error("--hosts wants four names")
    who = Identities(o)
    totals = dict(exchanges=0, differences=0, skipped=0)
    for f in files_of(o.paths or [os.path.dirname(os.path.abspath(__file__))]):
        play(f, who, o, totals)
    if totals["skipped"]:
        print("%(skipped)d exchanges skipped: no token for them" % totals)
    print("%(exchanges)d exchanges, %(differences)d differences" % totals)
    return 1 if totals["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
