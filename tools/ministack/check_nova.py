#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Check what an HA engine needs from nova on this ministack, with timings.

Run with the python of venv-cloud (it uses python-novaclient), after
`eval "$(ministack rc)"`.  It resets the cloud (deletes all servers).
"""

import json
import os
import subprocess
import tempfile
import time

from keystoneauth1 import session
from keystoneauth1.identity import v3
from novaclient import client

HERE = os.path.dirname(os.path.abspath(__file__))
results = []


def ms(*args):
    return subprocess.run(
        [os.path.join(HERE, "ministack")] + list(args), check=True, capture_output=True, text=True
    ).stdout


def nova(mv="2.95"):
    auth = v3.Password(
        auth_url=os.environ["OS_AUTH_URL"],
        username=os.environ["OS_USERNAME"],
        password=os.environ["OS_PASSWORD"],
        project_name=os.environ["OS_PROJECT_NAME"],
        user_domain_id="default",
        project_domain_id="default",
    )
    return client.Client(mv, session=session.Session(auth=auth))


def wait(fn, timeout=60):
    t0 = time.time()
    while time.time() - t0 < timeout:
        v = fn()
        if v:
            return v
        time.sleep(0.1)
    raise AssertionError("timed out")


def check(name):
    def deco(fn):
        t0 = time.time()
        try:
            note = fn()
            ok = True
        except Exception as e:  # the table shows every failure
            ok, note = False, f"{type(e).__name__}: {e}"
        results.append((name, ok, round(time.time() - t0, 2), note))
        print(
            f"{name:<34} {'ok' if ok else 'FAIL':<5} {time.time() - t0:6.2f}s  {note or ''}",
            flush=True,
        )

    return deco


n = nova()
ms("reset")
t0 = time.time()
ids = ms("boot", "10", "--host", "compute1", "--meta", "HA_Enabled=True").split()
print("boot of 10: %.1fs" % (time.time() - t0))


def settled(i, status=None, host=None, client_=None):
    s = (client_ or n).servers.get(i)
    ts = getattr(s, "OS-EXT-STS:task_state")
    h = getattr(s, "OS-EXT-SRV-ATTR:host")
    return (
        s if (not ts and (not status or s.status == status) and (not host or h == host)) else None
    )


def svc(host):
    return n.services.list(host=host, binary="nova-compute")[0]


@check("stop")
def _():
    n.servers.stop(ids[0])
    wait(lambda: settled(ids[0], "SHUTOFF"))


@check("start")
def _():
    n.servers.start(ids[0])
    wait(lambda: settled(ids[0], "ACTIVE"))


@check("reboot hard")
def _():
    n.servers.reboot(ids[0], "HARD")
    wait(lambda: settled(ids[0], "ACTIVE"))


@check("lock/unlock (reason, 2.73)")
def _():
    n.servers.lock(ids[0], reason="x")
    assert n.servers.get(ids[0]).locked
    n.servers.unlock(ids[0])
    assert not n.servers.get(ids[0]).locked


@check("instance metadata set/get")
def _():
    n.servers.set_meta(ids[0], {"k": "v"})
    assert n.servers.get(ids[0]).metadata == {"HA_Enabled": "True", "k": "v"}


@check("reset-state error, stop in ERROR")
def _():
    n.servers.reset_state(ids[0], "error")
    assert n.servers.get(ids[0]).status == "ERROR"
    note = "stop of an ERROR server accepted"
    n.servers.stop(ids[0])
    wait(lambda: settled(ids[0], "SHUTOFF"))
    n.servers.start(ids[0])
    wait(lambda: settled(ids[0], "ACTIVE"))
    return note


@check("disable (reason) / enable")
def _():
    n.services.disable_log_reason(svc("compute2").id, "why")
    s = svc("compute2")
    assert (s.status, s.disabled_reason) == ("disabled", "why")
    n.services.enable(s.id)
    assert svc("compute2").status == "enabled"


@check("force-down / undo (2.53 API)")
def _():
    n.services.force_down(svc("compute2").id, True)
    s = svc("compute2")
    assert s.forced_down and s.state == "down"
    n.services.force_down(s.id, False)
    wait(lambda: svc("compute2").state == "up")


@check("force-down by host (2.11 API)")
def _():
    c = nova("2.11")
    c.services.force_down("compute2", "nova-compute", True)
    assert svc("compute2").forced_down
    c.services.force_down("compute2", "nova-compute", False)


@check("aggregate create, add host, remove")
def _():
    a = n.aggregates.create("agg", None)
    n.aggregates.add_host(a, "compute3")
    assert n.aggregates.get(a.id).hosts == ["compute3"]
    n.aggregates.remove_host(a, "compute3")
    n.aggregates.delete(a)


@check("live-migrate to a named host")
def _():
    n.servers.live_migrate(ids[1], "compute2", "auto")
    wait(lambda: settled(ids[1], "ACTIVE", "compute2"))


@check("live-migrate, scheduler picks")
def _():
    n.servers.live_migrate(ids[1], None, "auto")
    wait(
        lambda: (lambda s: s and getattr(s, "OS-EXT-SRV-ATTR:host") != "compute2")(
            settled(ids[1], "ACTIVE")
        )
    )


@check("cold migrate + confirm")
def _():
    n.servers.migrate(ids[2])
    wait(lambda: settled(ids[2], "VERIFY_RESIZE"))
    n.servers.confirm_resize(ids[2])
    wait(lambda: settled(ids[2], "ACTIVE"))


@check("os-migrations listing")
def _():
    ms_ = n.migrations.list()
    return sorted({(m.migration_type, m.status) for m in ms_})


@check("evacuate refused while host is up")
def _():
    try:
        n.servers.evacuate(ids[3])
    except Exception as e:
        return f"{e.code} {str(e)[:60]}"
    raise AssertionError("accepted")


@check("SIGKILL compute1 -> reported down")
def _():
    ms("kill-compute", "compute1")
    wait(lambda: svc("compute1").state == "down")


@check("evacuate one (2.95, to SHUTOFF)")
def _():
    n.servers.evacuate(ids[3])
    wait(
        lambda: (
            settled(ids[3]) and getattr(settled(ids[3]), "OS-EXT-SRV-ATTR:host", None) != "compute1"
        )
    )
    return n.servers.get(ids[3]).status


@check("evacuate one (2.94, to ACTIVE)")
def _():
    c = nova("2.94")
    c.servers.evacuate(ids[4])
    wait(
        lambda: (
            settled(ids[4], "ACTIVE")
            and getattr(settled(ids[4]), "OS-EXT-SRV-ATTR:host", None) != "compute1"
        )
    )


@check("evacuate one to a named host")
def _():
    nova("2.94").servers.evacuate(ids[5], host="compute4")
    wait(lambda: settled(ids[5], "ACTIVE", "compute4"))


@check("evacuate a locked server (admin)")
def _():
    n.servers.lock(ids[6])
    nova("2.94").servers.evacuate(ids[6], host="compute4")
    wait(lambda: settled(ids[6], "ACTIVE", "compute4"))


@check("evacuate to a host that is down")
def _():
    try:
        nova("2.94").servers.evacuate(ids[7], host="compute1")
    except Exception as e:
        return f"{e.code} {str(e)[:80]}"
    s = wait(lambda: settled(ids[7]))
    return "accepted, then {} on {}".format(s.status, getattr(s, "OS-EXT-SRV-ATTR:host"))


@check("stop of a server on a dead host")
def _():
    try:
        n.servers.stop(ids[7])
    except Exception as e:
        return f"{e.code} {str(e)[:80]}"
    s = n.servers.get(ids[7])
    return "accepted, task_state {}".format(getattr(s, "OS-EXT-STS:task_state"))


@check("migrations: evacuation rows")
def _():
    return [
        (m.migration_type, m.status, m.source_compute, m.dest_compute)
        for m in n.migrations.list()
        if m.migration_type == "evacuation"
    ]


@check("start compute1 -> up again")
def _():
    ms("start-compute", "compute1")
    wait(lambda: svc("compute1").state == "up")
    time.sleep(3)
    state = os.environ.get("STATE_DIR") or os.path.join(tempfile.gettempdir(), "ministack")
    with open(os.path.join(state, "nova", "compute1", "guests.json")) as f:
        return f"{len(json.load(f))} guests left on it"


@check("evacuation rows after restart")
def _():
    return sorted({(m.status) for m in n.migrations.list() if m.migration_type == "evacuation"})


bad = [r for r in results if not r[1]]
print(f"{len(results)} checks, {len(bad)} failed")
raise SystemExit(bool(bad))
