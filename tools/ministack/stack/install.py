# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Packages of the system, virtual environments, and the virt driver."""

import json
import os
import shutil
import sys

from stack.base import HERE, S, listening, log, p, sh, venv


def ensure_packages():
    need = []
    if not listening(S["db_port"]) and not find_exe("mariadbd"):
        need.append("mariadb-server")
    if not find_exe("mariadb") and not find_exe("mysql"):
        need.append("mariadb-client")
    if not listening(S["mq_port"]) and not find_exe("rabbitmq-server"):
        need.append("rabbitmq-server")
    if not need:
        return
    log("apt-get install " + " ".join(need))
    # RUNLEVEL=1 keeps invoke-rc.d from starting the daemons
    env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    sh(["apt-get", "update"], env, "apt")
    sh(["apt-get", "install", "-y", "--no-install-recommends"] + need, env, "apt")


def find_exe(name):
    return shutil.which(name) or shutil.which(
        name, path="/usr/sbin:/usr/local/sbin:/sbin:/usr/local/bin"
    )


def ensure_venv(which, pkgs):
    mark = f"venv-{which}"
    want = json.dumps(sorted(pkgs))
    f = p("done", mark)
    if os.path.exists(f) and os.path.exists(venv(which, "python")):
        with open(f) as fh:
            if fh.read() == want:
                return
    py = os.environ.get("MINISTACK_PYTHON") or sys.executable
    log(f"venv-{which}: installing ({py})")
    if not os.path.exists(venv(which, "python")):
        sh([py, "-m", "venv", p("venv-" + which)], logname="pip-" + which)
        sh([venv(which, "pip"), "install", "-q", "-U", "pip"], logname="pip-" + which)
    cmd = [venv(which, "pip"), "install", "-q"] + pkgs
    cons = os.path.join(HERE, f"constraints-{which}.txt")
    if os.path.exists(cons) and not os.environ.get("MINISTACK_NO_CONSTRAINTS"):
        if sh(cmd + ["-c", cons], logname="pip-" + which, check=False):
            log("the constraints could not be met, installing without")
            sh(cmd, logname="pip-" + which)
    else:
        sh(cmd, logname="pip-" + which)
    with open(f, "w") as fh:
        fh.write(want)


def site_packages(which):
    lib = p("venv-" + which, "lib")
    return os.path.join(
        lib, sorted(d for d in os.listdir(lib) if d.startswith("python"))[0], "site-packages"
    )


def install_driver():
    src = os.path.join(HERE, "nova_virt_ministack.py")
    if os.path.exists(src):
        shutil.copy(src, os.path.join(site_packages("cloud"), "nova", "virt", "ministack.py"))
