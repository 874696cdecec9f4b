# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`up` and `down`: from nothing to a cloud that answers, and back."""

import concurrent.futures
import contextlib
import os
import shutil
import time

from stack.base import (
    CLOUD_PKGS,
    PW,
    REGION,
    SETTINGS_FILE,
    S,
    done,
    log,
    p,
    save_settings,
    sh,
    url,
    venv,
    wait_for,
)
from stack.cloud import Cloud, call
from stack.configs import compute_names, write_configs
from stack.install import ensure_packages, ensure_venv, install_driver
from stack.processes import stop
from stack.servers import db_url, sql, start_db, start_mq, stop_db, stop_mq
from stack.services import start_service

API_ORDER = ["keystone", "placement", "glance", "neutron", "nova-api"]
DATABASES = ["keystone", "placement", "glance", "nova_api", "nova_cell0", "nova_cell1"]
DATABASES += ["neutron", "masakari"]


def setup_databases():
    for n in DATABASES:
        sql(f"CREATE DATABASE IF NOT EXISTS `{S['db_prefix']}{n}` CHARACTER SET utf8mb3")

    def manage(prog, conf, *words, check=True):
        cmd = [venv("cloud", prog), "--config-file", p("etc", conf), *words]
        return sh(cmd, logname=prog.replace("-db-", "-"), check=check)

    def once(name, fn):
        if not done(name):
            fn()
            done(name, True)

    def keystone():
        def km(*words):
            manage("keystone-manage", "keystone/keystone.conf", *words)

        ug = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
        u = url("keystone", "/v3")
        km("db_sync")
        km("fernet_setup", *ug)
        km("credential_setup", *ug)
        km(
            *["bootstrap", "--bootstrap-password", PW, "--bootstrap-region-id", REGION],
            *[f"--bootstrap-{kind}-url={u}" for kind in ("admin", "internal", "public")],
        )

    def nova():
        def nm(*words, check=True):
            return manage("nova-manage", "nova/nova.conf", *words, check=check)

        nm("api_db", "sync")
        nm("cell_v2", "map_cell0", "--database_connection", db_url("nova_cell0"))
        nm("db", "sync")
        # 2: the cell is there already
        if nm("cell_v2", "create_cell", "--name", "cell1", check=False) not in (0, 2):
            raise SystemExit("create_cell failed, see log/nova-manage.log")

    def placement():
        manage("placement-manage", "placement/placement.conf", "db", "sync")

    def glance():
        manage("glance-manage", "glance/glance-api.conf", "db_sync")

    def neutron():
        manage("neutron-db-manage", "neutron/neutron.conf", "upgrade", "heads")

    with concurrent.futures.ThreadPoolExecutor(2) as ex:
        fns = (nova, neutron, keystone, placement, glance)
        for f in [ex.submit(once, f"{fn.__name__}-db", fn) for fn in fns]:
            f.result()


def setup_identity():
    if done("identity"):
        return
    c = Cloud()
    k = "keystone"

    def find(kind, name, extra=""):
        r = c("GET", k, f"/v3/{kind}s?name={name}{extra}")
        r = r[kind + "s"]
        return r[0]["id"] if r else None

    def ensure(kind, name, **attrs):
        return (
            find(kind, name)
            or c("POST", k, f"/v3/{kind}s", {kind: dict(attrs, name=name)})[kind]["id"]
        )

    service = ensure("project", "service", domain_id="default")
    demo = ensure("project", "demo", domain_id="default")
    roles = {r: ensure("role", r) for r in ("admin", "member", "reader", "service")}
    for u in ("nova", "placement", "glance", "neutron", "masakari", "instanceha"):
        uid = ensure("user", u, domain_id="default", password=PW)
        for r in ("admin", "service"):
            c("PUT", k, f"/v3/projects/{service}/users/{uid}/roles/{roles[r]}")
    uid = ensure("user", "demo", domain_id="default", password=PW)
    c("PUT", k, "/v3/projects/{}/users/{}/roles/{}".format(demo, uid, roles["member"]))
    for name, typ, u in (
        ("nova", "compute", url("nova-api", "/v2.1")),
        ("placement", "placement", url("placement")),
        ("glance", "image", url("glance")),
        ("neutron", "network", url("neutron")),
        ("masakari", "instance-ha", url("masakari-api", "/v1")),
    ):
        sid = ensure("service", name, type=typ)
        have = {e["interface"] for e in c("GET", k, "/v3/endpoints?service_id=" + sid)["endpoints"]}
        for iface in {"public", "internal", "admin"} - have:
            c(
                "POST",
                k,
                "/v3/endpoints",
                {
                    "endpoint": {
                        "service_id": sid,
                        "interface": iface,
                        "url": u,
                        "region_id": REGION,
                    }
                },
            )
    done("identity", True)


def setup_resources():
    c = Cloud()
    imgs = c("GET", "glance", "/v2/images?name=tiny")["images"]
    if not [i for i in imgs if i["status"] == "active"]:
        img = c(
            "POST",
            "glance",
            "/v2/images",
            {
                "name": "tiny",
                "disk_format": "raw",
                "container_format": "bare",
                "visibility": "public",
            },
        )
        c(
            "PUT",
            "glance",
            "/v2/images/{}/file".format(img["id"]),
            raw=b"\0" * 1024,
            headers={"Content-Type": "application/octet-stream"},
        )
    flavors = {f["name"] for f in c("GET", "nova-api", "/flavors")["flavors"]}
    for fid, name, vcpus, ram, disk in (("1", "tiny", 1, 64, 1), ("2", "small", 2, 2048, 5)):
        if name not in flavors:
            c(
                "POST",
                "nova-api",
                "/flavors",
                {"flavor": {"id": fid, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}},
            )


def start_services():
    for n in API_ORDER:
        if n == "keystone" or done("identity"):
            start_service(n)
    wait_for("keystone", lambda: call("GET", url("keystone", "/v3")), 60)
    setup_identity()
    for n in [*API_ORDER, "nova-conductor", "nova-scheduler"]:
        start_service(n)
    for n, path in (("placement", "/"), ("nova-api", "/v2.1/"), ("neutron", "/")):
        wait_for(n, lambda n=n, path=path: call("GET", url(n, path)), 120)
    wait_for("glance", lambda: Cloud()("GET", "glance", "/v2/images"), 120)
    log("APIs answer")
    for h in compute_names():
        start_service("nova-" + h)


def map_hosts(c):
    """Tell nova's cell1 about the computes, those that it has not been told of."""
    want = set(compute_names())
    mapped = p("done", "mapped-hosts")
    have = set()
    if os.path.exists(mapped):
        with open(mapped) as f:
            have = set(f.read().split())
    if want <= have:
        return

    def discover():
        conf = p("etc", "nova", "nova.conf")
        cmd = [venv("cloud", "nova-manage"), "--config-file", conf]
        sh([*cmd, "cell_v2", "discover_hosts", "--by-service"], logname="nova-manage")

    def known():
        rows = c("GET", "nova-api", "/os-hypervisors")["hypervisors"]
        if want <= {h["hypervisor_hostname"] for h in rows}:
            return True
        discover()
        return False

    wait_for("compute nodes", known, 120)
    discover()
    with open(mapped, "w") as f:
        f.write(" ".join(sorted(want | have)))


def cmd_up(a):
    t0 = time.time()
    for d in ("", "etc", "log", "run", "done", "lock"):
        os.makedirs(p(d), exist_ok=True)
    if a.computes:
        S["computes"] = a.computes
    ensure_packages()
    ensure_venv("cloud", CLOUD_PKGS)
    install_driver()
    t1 = time.time()
    start_db()
    start_mq()
    save_settings()
    write_configs()
    setup_databases()
    t2 = time.time()
    log("databases are ready")
    start_services()
    setup_resources()
    c = Cloud()
    want = set(compute_names())
    wait_for(
        "nova-compute services",
        lambda: want <= {s["host"] for s in c.services() if s["state"] == "up"},
        180,
    )
    map_hosts(c)
    save_settings()
    log(
        f"up: {S['computes']} computes (install {t1 - t0:.0f} s, databases {t2 - t1:.0f} s, "
        f"services {time.time() - t2:.0f} s)"
    )


def cmd_down(a):
    names = []
    if os.path.isdir(p("run")):
        names = [f[:-4] for f in os.listdir(p("run")) if f.endswith(".pid")]
    with concurrent.futures.ThreadPoolExecutor(16) as ex:
        list(ex.map(stop, set(names) - {"mysql", "rabbitmq"}))
    if a.wipe and S["own_db"] is False:
        for n in DATABASES:
            sql(f"DROP DATABASE IF EXISTS `{S['db_prefix']}{n}`")
    stop_db()
    stop_mq()
    if a.wipe:
        wipe()
    log("down")


def wipe():
    """Remove all but the virtual environments."""
    for d in ("etc", "run", "lock", "log"):
        shutil.rmtree(p(d), ignore_errors=True)
    for d in ("mysql", "rabbitmq", "keystone", "glance", "neutron", "nova"):
        shutil.rmtree(p(d), ignore_errors=True)
    for f in os.listdir(p("done")):
        if not f.startswith("venv-"):
            os.unlink(p("done", f))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SETTINGS_FILE)
