# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The services of the cloud: how each is started."""

import os

from stack.base import S, p, port, venv
from stack.configs import compute_names
from stack.processes import start
from stack.servers import start_db, start_mq

LOGFORMAT = (
    '{"t":%(tmsecs),"m":"%(method)","u":"%(uri)","s":%(status),'
    '"ms":%(msecs),"ua":"%(uagent)","b":%(rsize)}'
)


def uwsgi(which, name, module, env, procs, threads):
    return (
        [
            venv(which, "uwsgi"),
            "--http-socket",
            f"127.0.0.1:{port(name)}",
            "--module",
            module,
            "--master",
            "--processes",
            str(procs),
            "--threads",
            str(threads),
            "--enable-threads",
            "--lazy-apps",
            "--need-app",
            "--die-on-term",
            "--thunder-lock",
            "--buffer-size",
            "65535",
            "--listen",
            "128",
            "--add-header",
            "Connection: close",
            "--http-chunked-input",
            "--worker-reload-mercy",
            "5",
            "--procname-prefix",
            name + " ",
            "--logformat",
            LOGFORMAT,
            "--req-logger",
            "file:" + p("log", name + ".access"),
        ],
        env,
    )


def compute_program(host):
    """The nova-compute of one host by a name of its own, as process monitors look for it."""
    link = p("nova", host, "nova-compute")
    if not os.path.lexists(link):
        os.symlink(venv("cloud", "nova-compute"), link)
    return link


def services():
    etc = p("etc")
    nova_env = {
        "OS_NOVA_CONFIG_DIR": etc + "/nova",
        "OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf",
    }
    svc = {
        "keystone": uwsgi(
            "cloud",
            "keystone",
            "keystone.wsgi.api:application",
            {"OS_KEYSTONE_CONFIG_DIR": etc + "/keystone"},
            2,
            2,
        ),
        "placement": uwsgi(
            "cloud",
            "placement",
            "placement.wsgi.api:application",
            {"OS_PLACEMENT_CONFIG_DIR": etc + "/placement"},
            1,
            4,
        ),
        "glance": uwsgi(
            "cloud",
            "glance",
            "glance.wsgi.api:application",
            {"OS_GLANCE_CONFIG_DIR": etc + "/glance", "OS_GLANCE_CONFIG_FILES": "glance-api.conf"},
            1,
            4,
        ),
        "nova-api": uwsgi(
            "cloud", "nova-api", "nova.wsgi.osapi_compute:application", nova_env, 2, 8
        ),
    }
    svc["neutron"] = uwsgi(
        "cloud",
        "neutron",
        "neutron.wsgi.api:application",
        {"OS_NEUTRON_CONFIG_DIR": etc + "/neutron", "OS_NEUTRON_CONFIG_FILES": "neutron.conf"},
        1,
        4,
    )
    conf = ["--config-file", etc + "/nova/nova.conf"]
    for n in ("nova-conductor", "nova-scheduler"):
        svc[n] = ([venv("cloud", n)] + conf, {})
    for h in compute_names():
        svc["nova-" + h] = (
            [
                compute_program(h),
                "--config-file",
                etc + "/nova-compute/nova.conf",
                "--config-file",
                etc + f"/{h}/{h}.conf",
            ],
            {},
        )
    if os.path.exists(etc + "/masakari/masakari.conf"):
        cmd, env = uwsgi(
            "masakari",
            "masakari-api",
            "masakari.wsgi.api:application",
            {"OS_MASAKARI_CONFIG_DIR": etc + "/masakari"},
            2,
            S["masakari_threads"],
        )
        # masakari 22 parses its options a second time, from sys.argv only,
        # and so forgets the files of OS_MASAKARI_CONFIG_DIR
        cmd += ["--pyargv", f"--config-file {etc}/masakari/masakari.conf"]
        if S["masakari_api"] == "script":
            # importing masakari.cmd monkey-patches with eventlet: under uWSGI
            # with threads the replies of RPC calls get lost, so this is the
            # safer way to run it
            cmd = [
                venv("masakari", "masakari-api"),
                "--config-file",
                etc + "/masakari/masakari.conf",
            ]
        svc["masakari-api"] = (cmd, env)
        svc["masakari-engine"] = (
            [venv("masakari", "masakari-engine"), "--config-file", etc + "/masakari/masakari.conf"],
            {},
        )
    return svc


def start_service(name):
    if name == "mysql":
        return start_db()
    if name == "rabbitmq":
        return start_mq()
    svc = services()
    if name not in svc:
        raise SystemExit("no service {}; there are: mysql rabbitmq {}".format(name, " ".join(svc)))
    cmd, env = svc[name]
    env = dict(env)
    env.setdefault("OS_LOG_CAPTURE", "0")
    env["PATH"] = os.path.dirname(cmd[0]) + ":" + os.environ.get("PATH", "")
    return start(name, cmd, env=env)
