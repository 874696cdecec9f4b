# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The real Masakari beside the cloud, for comparison and migration; and its monitors."""

import os
import shutil

from stack.base import (
    MASAKARI_PKGS,
    MONITORS_PKGS,
    PW,
    REGION,
    S,
    done,
    log,
    p,
    port,
    save_settings,
    sh,
    url,
    venv,
    wait_for,
)
from stack.cloud import Cloud, call
from stack.configs import authtoken, write_conf
from stack.install import ensure_venv
from stack.processes import stop
from stack.servers import db_url, mq_url, sql
from stack.services import start_service


def cmd_masakari_up(a):
    ensure_venv("masakari", MASAKARI_PKGS)
    etc = p("etc", "masakari")
    os.makedirs(etc, exist_ok=True)
    os.makedirs(p("lock", "masakari"), exist_ok=True)
    conf = {
        "DEFAULT": {
            "transport_url": mq_url(),
            "auth_strategy": "keystone",
            "os_privileged_user_name": "masakari",
            "os_privileged_user_password": PW,
            "os_privileged_user_tenant": "service",
            "os_privileged_user_auth_url": url("keystone", "/v3"),
            "os_user_domain_name": "Default",
            "os_project_domain_name": "Default",
            "os_region_name": REGION,
            "masakari_api_listen": "127.0.0.1",
            "masakari_api_listen_port": port("masakari-api"),
            "masakari_api_workers": 2,
            "state_path": p("masakari"),
        },
        "database": {"connection": db_url("masakari")},
        "taskflow": {"connection": db_url("masakari")},
        "keystone_authtoken": authtoken("masakari"),
        "wsgi": {"api_paste_config": etc + "/api-paste.ini"},
        "oslo_concurrency": {"lock_path": p("lock", "masakari")},
    }
    os.makedirs(p("masakari"), exist_ok=True)
    S["masakari_set"] = a.set
    for item in a.set:
        key, val = item.split("=", 1)
        group, opt = key.split(".", 1) if "." in key else ("DEFAULT", key)
        conf.setdefault(group, {})[opt] = val
    save_settings()
    write_conf(etc + "/masakari.conf", conf)
    for f in ("api-paste.ini", "masakari-custom-recovery-methods.conf"):
        shutil.copy(p("venv-masakari", "etc", "masakari", f), etc)
    if a.fresh:
        for n in ("masakari-api", "masakari-engine"):
            stop(n)
        sql(f"DROP DATABASE IF EXISTS `{S['db_prefix']}masakari`")
    if a.fresh or not done("masakari-db"):
        sql(f"CREATE DATABASE IF NOT EXISTS `{S['db_prefix']}masakari` CHARACTER SET utf8mb3")
        sh(
            [
                venv("masakari", "masakari-manage"),
                "--config-file",
                etc + "/masakari.conf",
                "db",
                "sync",
            ],
            logname="masakari-manage",
        )
        done("masakari-db", True)
    for n in ("masakari-api", "masakari-engine"):
        stop(n)
        start_service(n)
    c = Cloud()
    wait_for(
        "masakari-api",
        lambda: call(
            "GET",
            url("masakari-api", f"/v1/{c.project_id}/segments"),
            headers={"X-Auth-Token": c.token},
        ),
        60,
    )
    log("masakari is up")


def cmd_masakari_down(a):
    for n in ("masakari-api", "masakari-engine"):
        stop(n)


def cmd_monitors(a):
    """Install masakari-monitors; print the folder of its commands."""
    ensure_venv("monitors", MONITORS_PKGS)
    print(venv("monitors"))
