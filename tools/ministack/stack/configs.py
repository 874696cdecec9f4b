# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The configuration files of all services."""

import os
import shutil

from stack.base import PW, REGION, S, p, url
from stack.servers import db_url, mq_url


def write_conf(path, sections):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    out = []
    for sec, opts in sections.items():
        out.append(f"[{sec}]")
        for k, v in opts.items():
            for item in v if isinstance(v, list) else [v]:
                out.append(f"{k} = {item}")
        out.append("")
    text = "\n".join(out)
    tmp = path + ".tmp"
    with open(tmp, "w") as f:
        f.write(text)
    os.replace(tmp, path)


def auth_section(user):
    return {
        "auth_type": "password",
        "auth_url": url("keystone", "/v3"),
        "username": user,
        "password": PW,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": REGION,
    }


def authtoken(user):
    d = auth_section(user)
    d["www_authenticate_uri"] = url("keystone", "/v3")
    d["service_token_roles"] = "service"
    d["service_token_roles_required"] = "true"
    del d["region_name"]
    return d


DB_POOL = {"max_pool_size": 5, "max_overflow": 20, "max_retries": -1}


def compute_names(n=None):
    return [f"compute{i}" for i in range(1, (n or S["computes"]) + 1)]


def write_configs():
    debug = "true" if os.environ.get("MINISTACK_DEBUG") else "false"
    etc = p("etc")
    # keystone
    write_conf(
        etc + "/keystone/keystone.conf",
        {
            "DEFAULT": {"debug": debug, "transport_url": mq_url()},
            "database": dict(DB_POOL, connection=db_url("keystone")),
            "token": {"provider": "fernet", "expiration": 86400},
            "fernet_tokens": {"key_repository": p("keystone", "fernet")},
            "fernet_receipts": {"key_repository": p("keystone", "fernet")},
            "credential": {"key_repository": p("keystone", "credential")},
            # cheap hashing: a toy with one known password, on a small machine
            "identity": {"password_hash_rounds": 4},
        },
    )
    # placement
    write_conf(
        etc + "/placement/placement.conf",
        {
            "DEFAULT": {"debug": debug},
            "api": {"auth_strategy": "keystone"},
            "keystone_authtoken": authtoken("placement"),
            "placement_database": dict(DB_POOL, connection=db_url("placement")),
        },
    )
    # glance
    write_conf(
        etc + "/glance/glance-api.conf",
        {
            "DEFAULT": {
                "debug": debug,
                "enabled_backends": "file:file",
                "transport_url": mq_url(),
                "worker_self_reference_url": url("glance"),
            },
            "database": dict(DB_POOL, connection=db_url("glance")),
            "glance_store": {"default_backend": "file"},
            "file": {"filesystem_store_datadir": p("glance", "images")},
            "os_glance_tasks_store": {"filesystem_store_datadir": p("glance", "tasks")},
            "os_glance_staging_store": {"filesystem_store_datadir": p("glance", "staging")},
            "keystone_authtoken": authtoken("glance"),
            "paste_deploy": {"flavor": "keystone"},
            "oslo_concurrency": {"lock_path": p("lock", "glance")},
        },
    )
    shutil.copy(
        p("venv-cloud", "etc", "glance", "glance-api-paste.ini"),
        etc + "/glance/glance-api-paste.ini",
    )
    # neutron
    write_conf(
        etc + "/neutron/neutron.conf",
        {
            "DEFAULT": {
                "debug": debug,
                "core_plugin": "ml2",
                "service_plugins": "",
                "transport_url": mq_url(),
                "auth_strategy": "keystone",
                "state_path": p("neutron"),
                "notify_nova_on_port_status_changes": "false",
                "notify_nova_on_port_data_changes": "false",
                "api_paste_config": etc + "/neutron/api-paste.ini",
            },
            "database": dict(DB_POOL, connection=db_url("neutron")),
            "keystone_authtoken": authtoken("neutron"),
            "nova": auth_section("nova"),
            "oslo_concurrency": {"lock_path": p("lock", "neutron")},
            "ml2": {
                "type_drivers": "flat,vlan",
                "tenant_network_types": "vlan",
                "mechanism_drivers": "openvswitch",
                "extension_drivers": "",
            },
            "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:200"},
        },
    )
    shutil.copy(p("venv-cloud", "etc", "neutron", "api-paste.ini"), etc + "/neutron/api-paste.ini")
    # nova
    nova = {
        "DEFAULT": {
            "debug": debug,
            "transport_url": mq_url(),
            "my_ip": "127.0.0.1",
            "compute_driver": S["driver"],
            "state_path": p("nova"),
            # a dead host shows up as down in seconds, not in a minute
            "report_interval": S["report_interval"],
            "service_down_time": S["service_down_time"],
            "rpc_response_timeout": 60,
            "enabled_apis": "osapi_compute",
            "osapi_compute_workers": 1,
            "default_log_levels": "amqp=WARN,sqlalchemy=WARN,urllib3=WARN,"
            "keystoneauth=WARN,oslo.messaging=INFO,"
            "keystonemiddleware=WARN",
        },
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": etc + "/nova/api-paste.ini"},
        "api_database": dict(DB_POOL, connection=db_url("nova_api")),
        "database": dict(DB_POOL, connection=db_url("nova_cell1")),
        "keystone_authtoken": authtoken("nova"),
        "service_user": dict(auth_section("nova"), send_service_user_token="true"),
        "placement": auth_section("placement"),
        "neutron": dict(auth_section("neutron")),
        "glance": dict(auth_section("glance")),
        "keystone": dict(auth_section("nova")),
        "cinder": dict(auth_section("nova")),
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 30},
        "conductor": {"workers": 1},
        "quota": {
            "instances": -1,
            "cores": -1,
            "ram": -1,
            "server_groups": -1,
            "server_group_members": -1,
        },
        "compute": {"consecutive_build_service_disable_threshold": 0},
        "vnc": {"enabled": "false"},
        "oslo_concurrency": {"lock_path": p("lock", "nova")},
        "oslo_messaging_notifications": {"driver": "noop"},
    }
    write_conf(etc + "/nova/nova.conf", nova)
    # nova-compute has no database access, as in a real deployment
    write_conf(
        etc + "/nova-compute/nova.conf",
        {
            k: v
            for k, v in nova.items()
            if k not in ("api_database", "database", "keystone_authtoken")
        },
    )
    shutil.copy(p("venv-cloud", "etc", "nova", "api-paste.ini"), etc + "/nova/api-paste.ini")
    for h in compute_names():
        os.makedirs(p("nova", h), exist_ok=True)
        write_conf(
            etc + f"/{h}/{h}.conf",
            {
                "DEFAULT": {"host": h, "state_path": p("nova", h)},
                "oslo_concurrency": {"lock_path": p("lock", h)},
            },
        )
        os.makedirs(p("lock", h), exist_ok=True)
    for d in (
        "keystone/fernet",
        "keystone/credential",
        "glance/images",
        "glance/tasks",
        "glance/staging",
        "neutron",
        "nova",
        "lock/nova",
        "lock/glance",
        "lock/neutron",
    ):
        os.makedirs(p(d), exist_ok=True)
