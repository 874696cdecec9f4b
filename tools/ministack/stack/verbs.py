# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The verbs for a cloud that is up."""

import concurrent.futures
import json
import os
import signal
import time

from stack.base import PW, REGION, S, log, p, url, venv, wait_for
from stack.cloud import Cloud, Http
from stack.configs import compute_names
from stack.processes import pid_of, rss_kb, stop
from stack.servers import stop_mq
from stack.services import services, start_service


def cmd_rc(a):
    proj = {"admin": "admin", "demo": "demo"}.get(a.user, "service")
    for k, v in (
        ("AUTH_URL", url("keystone", "/v3")),
        ("USERNAME", a.user),
        ("PASSWORD", PW),
        ("PROJECT_NAME", proj),
        ("USER_DOMAIN_ID", "default"),
        ("PROJECT_DOMAIN_ID", "default"),
        ("IDENTITY_API_VERSION", "3"),
        ("AUTH_TYPE", "password"),
        ("REGION_NAME", REGION),
        ("COMPUTE_API_VERSION", "2.95"),
    ):
        print(f"export OS_{k}={v}")
    print(f"export PATH={os.path.dirname(venv('cloud', 'x'))}:$PATH")


def cmd_status(a):
    external = {"mysql": S["own_db"] is False, "rabbitmq": S["own_mq"] is False}
    rows = {}
    for n in [*external, *services()]:
        if external.get(n):
            rows[n] = {"pid": "external", "rss_mb": 0}
        else:
            rows[n] = {"pid": pid_of(n), "rss_mb": rss_kb(n) // 1024}
    info = {"processes": rows, "settings": S}
    try:
        c = Cloud()
        servers = c.servers()
        info["computes"] = [
            {
                "host": s["host"],
                "state": s["state"],
                "status": s["status"],
                "forced_down": s["forced_down"],
                "reason": s["disabled_reason"],
            }
            for s in c.services()
        ]
        for h in info["computes"]:
            mine = [s for s in servers if s["OS-EXT-SRV-ATTR:host"] == h["host"]]
            h["servers"] = len(mine)
            h["active"] = len([s for s in mine if s["status"] == "ACTIVE"])
        info["servers"] = len(servers)
    except (OSError, Http) as e:
        info["error"] = str(e)
    if a.json:
        print(json.dumps(info, indent=1))
        return
    for n, r in rows.items():
        print(f"{n:<18} {r['pid'] or 'DEAD':<10} rss {r['rss_mb']:5d} MB")
    for h in info.get("computes", []):
        print(
            f"{h['host']:<10} {h['state']:<5} {h['status']:<9} forced_down={h['forced_down']} "
            f"servers={h['servers']} active={h['active']} {h['reason'] or ''}"
        )
    print(info.get("error") or f"servers: {info['servers']}")


def cmd_boot(a):
    c = Cloud()
    img = c("GET", "glance", "/v2/images?name=tiny")["images"][0]["id"]
    flavor = [
        f["id"] for f in c("GET", "nova-api", "/flavors")["flavors"] if f["name"] == a.flavor
    ][0]
    meta = dict(m.split("=", 1) for m in a.meta)
    t0 = time.time()
    body = {
        "server": {
            "name": a.name,
            "imageRef": img,
            "flavorRef": flavor,
            "networks": "none",
            "metadata": meta,
            "min_count": a.count,
            "max_count": a.count,
            "return_reservation_id": True,
        }
    }
    if a.host:
        body["server"]["host"] = a.host
    rid = c("POST", "nova-api", "/servers", body)["reservation_id"]
    q = "&reservation_id=" + rid

    def ready():
        ss = c.servers(q)
        bad = [s for s in ss if s["status"] == "ERROR"]
        if bad:
            raise SystemExit("boot failed: {}".format(bad[0].get("fault")))
        return len(ss) == a.count and all(
            s["status"] == "ACTIVE" and not s["OS-EXT-STS:task_state"] for s in ss
        )

    wait_for(f"{a.count} servers", ready, 60 + 5 * a.count)
    log(f"{a.count} servers ACTIVE in {time.time() - t0:.1f} s")
    for s in c.servers(q):
        print(s["id"])


def cmd_kill_compute(a):
    for h in a.host:
        log("{} {}".format(h, "killed" if stop("nova-" + h, signal.SIGKILL) else "was not running"))


def cmd_start_compute(a):
    for h in a.host:
        log("{} {}".format(h, "started" if start_service("nova-" + h) else "was running"))


def wait_state(hosts, state, timeout):
    c = Cloud()
    return wait_for(
        f"{state} of {hosts}",
        lambda: set(hosts) <= {s["host"] for s in c.services() if s["state"] == state},
        timeout,
    )


def cmd_wait_down(a):
    log("{} down after {:.1f}s".format(a.host, wait_state([a.host], "down", a.timeout)))


def cmd_wait_up(a):
    hosts = a.hosts or compute_names()
    log("up after {:.1f}s".format(wait_state(hosts, "up", a.timeout)))


def set_faults(host, faults):
    if host not in compute_names():
        raise SystemExit("no host " + host)
    f = p("nova", host, "faults.json")
    if faults:
        with open(f + ".tmp", "w") as out:
            json.dump(faults, out)
        os.replace(f + ".tmp", f)
    elif os.path.exists(f):
        os.unlink(f)


def cmd_fault(a):
    faults = {}
    for item in a.fault:
        name, val = item.split("=", 1)
        faults[name] = json.loads(val)
    set_faults(a.host, faults)


def forced_up(c):
    """Undo force-down; nova refuses while the host's evacuations are not
    marked `completed`, which its nova-compute does a moment after its start."""
    ok = True
    for s in c.services():
        if s["forced_down"]:
            try:
                c("PUT", "nova-api", "/os-services/" + s["id"], {"forced_down": False})
            except Http as e:
                if e.status != 400:
                    raise
                ok = False
    return ok


def cmd_reset(a):
    c = Cloud()
    for h in compute_names():
        set_faults(h, {})
        start_service("nova-" + h)
    wait_for("the end of force-down", lambda: forced_up(c), 90)
    wait_state(compute_names(), "up", 90)
    # only now: of a service that is down nova keeps the trait
    # COMPUTE_STATUS_DISABLED, and schedules nothing there for a minute
    for s in c.services():
        if s["status"] != "enabled":
            c("PUT", "nova-api", "/os-services/" + s["id"], {"status": "enabled"})

    def gone():
        ss = c.servers()
        todo = [s for s in ss if s["OS-EXT-STS:task_state"] != "deleting"]

        def rm(s):
            try:
                if s.get("locked"):
                    c("POST", "nova-api", "/servers/{}/action".format(s["id"]), {"unlock": None})
                c("DELETE", "nova-api", "/servers/" + s["id"])
            except Http as e:
                if e.status not in (404, 409):
                    raise

        with concurrent.futures.ThreadPoolExecutor(4) as ex:
            list(ex.map(rm, todo))
        return not ss

    wait_for("servers to go", gone, 300, 1)
    log("reset")


def cmd_kill_service(a):
    sig = getattr(signal, "SIG" + a.signal.upper().replace("SIG", ""))
    if not stop(a.name, sig):
        raise SystemExit(a.name + " was not running")


def cmd_stop_service(a):
    if a.name == "rabbitmq":
        stop_mq(final=False)
    elif not stop(a.name, timeout=40):
        raise SystemExit(a.name + " was not running")


def cmd_start_service(a):
    start_service(a.name)


def cmd_logs(a):
    print(p("log", a.name + ".log"))
