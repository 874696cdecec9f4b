# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The database and the broker: what listens already is used, else one of our own is started."""

import os
import subprocess

from stack.base import S, listening, log, p, sh, wait_for
from stack.install import find_exe
from stack.processes import start, stop


def sql(statement, db=None):
    cmd = [
        find_exe("mariadb") or find_exe("mysql"),
        "-h",
        "127.0.0.1",
        "-P",
        str(S["db_port"]),
        "-u",
        "root",
        "-N",
        "-B",
        "--protocol=tcp",
    ]
    cmd += ([db] if db else []) + ["-e", statement]
    return subprocess.run(cmd, check=True, capture_output=True, text=True).stdout


def start_db():
    if listening(S["db_port"]):
        if S["own_db"] is None:
            log(f"using the MySQL server found on port {S['db_port']}")
            S["own_db"] = False
    else:
        S["own_db"] = True
        data = p("mysql")
        rootopt = ["--user=root"] if os.geteuid() == 0 else []
        if not os.path.exists(os.path.join(data, "mysql")):
            os.makedirs(data, exist_ok=True)
            sh(
                [
                    find_exe("mariadb-install-db"),
                    "--no-defaults",
                    "--datadir=" + data,
                    "--skip-test-db",
                    "--auth-root-authentication-method=normal",
                ]
                + rootopt,
                logname="mysql-install",
            )
        start(
            "mysql",
            [
                find_exe("mariadbd"),
                "--no-defaults",
                "--datadir=" + data,
                "--bind-address=127.0.0.1",
                f"--port={S['db_port']}",
                "--socket=" + p("run", "mysql.sock"),
                "--skip-name-resolve",
                "--max-connections=1000",
                "--innodb-buffer-pool-size=512M",
                "--innodb-flush-log-at-trx-commit=2",
                "--character-set-server=utf8mb4",
            ]
            + rootopt,
        )
        wait_for("mysql", lambda: sql("select 1"), 60)
    sql("SET GLOBAL max_connections = GREATEST(1000, @@max_connections)")


def stop_db():
    stop("mysql", timeout=60)


def mq_env():
    d = p("rabbitmq")
    return {
        "HOME": d,
        "RABBITMQ_NODENAME": "ministack@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(S["mq_port"]),
        "RABBITMQ_DIST_PORT": str(S["mq_port"] + 20000),
        "RABBITMQ_MNESIA_BASE": os.path.join(d, "mnesia"),
        "RABBITMQ_LOG_BASE": os.path.join(d, "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": os.path.join(d, "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": os.path.join(d, "none.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": os.path.join(d, "adv.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(d, "plugins"),
        "RABBITMQ_PID_FILE": os.path.join(d, "rabbit.pid"),
        "ERL_EPMD_PORT": str(S["mq_port"] + 21000),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "LANG": "C.UTF-8",
        # the distribution port too listens on the loopback only
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def mq_bin(name):
    # the Debian wrapper in /usr/sbin changes user and paths: go behind it
    f = "/usr/lib/rabbitmq/bin/" + name
    return f if os.path.exists(f) else find_exe(name)


def start_mq():
    if listening(S["mq_port"]):
        if S["own_mq"] is None:
            log(f"using the RabbitMQ server found on port {S['mq_port']}")
            S["own_mq"] = False
            S["vhost"] = ""
        return
    S["own_mq"] = True
    S["vhost"] = ""
    d = p("rabbitmq")
    os.makedirs(d, exist_ok=True)
    with open(os.path.join(d, "rabbitmq.conf"), "w") as f:
        f.write(
            f"listeners.tcp.default = 127.0.0.1:{S['mq_port']}\n"
            "loopback_users.guest = true\nlog.console = true\n"
            "vm_memory_high_watermark.absolute = 2GB\n"
            "disk_free_limit.absolute = 50MB\n"
        )
    with open(os.path.join(d, "plugins"), "w") as f:
        f.write("[].\n")
    start("rabbitmq", [mq_bin("rabbitmq-server")], env=mq_env())
    wait_for("rabbitmq", lambda: listening(S["mq_port"]), 120)
    # the port opens a moment before the broker takes logins
    sh([mq_bin("rabbitmqctl"), "await_startup", "--timeout", "60"], mq_env(), "rabbitmqctl")


def stop_mq(final=True):
    stop("rabbitmq", timeout=40)
    if final and S["own_mq"]:
        subprocess.run(
            ["epmd", "-port", mq_env()["ERL_EPMD_PORT"], "-kill"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def db_url(name):
    name = S["db_prefix"] + name
    return f"mysql+pymysql://root@127.0.0.1:{S['db_port']}/{name}?charset=utf8mb4"


def mq_url():
    return f"rabbit://guest:guest@127.0.0.1:{S['mq_port']}/{S['vhost'] or ''}"
