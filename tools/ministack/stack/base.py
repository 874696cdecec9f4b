# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What everything here needs: the state directory, the settings, paths and ports, waiting."""

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = os.path.abspath(
    os.environ.get("STATE_DIR") or os.path.join(tempfile.gettempdir(), "ministack")
)
SETTINGS_FILE = os.path.join(STATE, "settings.json")

DEFAULTS = {
    "db_port": 3306,
    "mq_port": 5672,
    "port_base": 0,
    "db_prefix": "ministack_",
    "driver": "ministack.MiniDriver",
    "computes": 4,
    "report_interval": 1,
    "service_down_time": 5,
    "own_db": None,
    "own_mq": None,
    "vhost": None,
    "masakari_set": [],
    "masakari_api": "script",
    "masakari_threads": 1,
}
ENV = {
    "MINISTACK_DB_PORT": ("db_port", int),
    "MINISTACK_MQ_PORT": ("mq_port", int),
    "MINISTACK_PORT_BASE": ("port_base", int),
    "MINISTACK_DB_PREFIX": ("db_prefix", str),
    "MINISTACK_DRIVER": ("driver", str),
    "MINISTACK_REPORT_INTERVAL": ("report_interval", int),
    "MINISTACK_SERVICE_DOWN_TIME": ("service_down_time", int),
    "MINISTACK_MASAKARI_API": ("masakari_api", str),
    "MINISTACK_MASAKARI_THREADS": ("masakari_threads", int),
}
S = dict(DEFAULTS)

PW = "ministack"  # one password for every account: a loopback toy
REGION = "RegionOne"
BASE_PORTS = {
    "keystone": 5000,
    "nova-api": 8774,
    "placement": 8778,
    "glance": 9292,
    "neutron": 9696,
    "masakari-api": 15868,
}

CLOUD_PKGS = [
    "keystone==30.0.0",
    "openstack-placement==16.0.0",
    "glance==33.0.0",
    "nova==34.0.0",
    "neutron==29.0.0",
    "pymysql",
    "uwsgi",
    "python-openstackclient",
    "python-novaclient",
    "osc-placement",
]
MASAKARI_PKGS = [
    "masakari==22.0.0",
    "pymysql",
    "uwsgi",
    "python-masakariclient",
    "python-openstackclient",
]
MONITORS_PKGS = ["masakari-monitors==22.0.0"]


def log(msg):
    print(time.strftime("%H:%M:%S ") + msg, file=sys.stderr, flush=True)


def load_settings():
    S.update(DEFAULTS)
    if os.path.exists(SETTINGS_FILE):
        with open(SETTINGS_FILE) as f:
            S.update(json.load(f))
    for var, (key, conv) in ENV.items():
        if os.environ.get(var):
            S[key] = conv(os.environ[var])


def save_settings():
    with open(SETTINGS_FILE, "w") as f:
        json.dump(S, f, indent=1, sort_keys=True)


def p(*parts):
    return os.path.join(STATE, *parts)


def port(name):
    return BASE_PORTS[name] + S["port_base"]


def url(name, path=""):
    return f"http://127.0.0.1:{port(name)}{path}"


def venv(which, prog=""):
    return p("venv-" + which, "bin", prog)


def done(step, set_=False):
    f = p("done", step)
    if set_:
        open(f, "w").close()
    return os.path.exists(f)


def listening(prt):
    try:
        socket.create_connection(("127.0.0.1", prt), timeout=1).close()
        return True
    except OSError:
        return False


def wait_for(what, fn, timeout, interval=0.3):
    t0 = time.time()
    last = None
    while time.time() - t0 < timeout:
        try:
            if fn():
                return time.time() - t0
        except Exception as e:  # a poll: the last error is reported
            last = e
        time.sleep(interval)
    raise SystemExit(f"timed out after {timeout} s waiting for {what} ({last})")


def sh(cmd, env=None, logname=None, check=True):
    """Run a command, output to a log file; on failure show its tail."""
    logf = p("log", (logname or "setup") + ".log")
    e = dict(os.environ)
    e.update(env or {})
    with open(logf, "ab") as out:
        out.write(f"\n$ {shlex.join(cmd)}\n".encode())
        out.flush()
        r = subprocess.run(cmd, stdout=out, stderr=subprocess.STDOUT, env=e)
    if check and r.returncode:
        with open(logf, errors="replace") as f:
            sys.stderr.write(f.read()[-4000:])
        raise SystemExit(f"failed ({r.returncode}): {shlex.join(cmd)}")
    return r.returncode
