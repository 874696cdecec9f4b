# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Options of Masakari 22.0.0 that hacore has under another name, or does not have.

Source: its masakari/conf; tests/masakari/masakari.conf lists them all.
"""

Option = tuple[str, str]  # group and name

CATALOG: Option = ("DEFAULT", "nova_catalog_admin_info")

#: The same under another name.
MOVED: dict[Option, Option] = {
    ("DEFAULT", "os_privileged_user_name"): ("nova", "username"),
    ("DEFAULT", "os_privileged_user_password"): ("nova", "password"),
    ("DEFAULT", "os_privileged_user_tenant"): ("nova", "project_name"),
    ("DEFAULT", "os_privileged_user_auth_url"): ("nova", "auth_url"),
    ("DEFAULT", "os_user_domain_name"): ("nova", "user_domain_name"),
    ("DEFAULT", "os_project_domain_name"): ("nova", "project_domain_name"),
    ("DEFAULT", "os_system_scope"): ("nova", "system_scope"),
    ("DEFAULT", "os_region_name"): ("nova", "region_name"),
    ("DEFAULT", "nova_ca_certificates_file"): ("nova", "cafile"),
    ("DEFAULT", "nova_api_insecure"): ("nova", "insecure"),
    ("DEFAULT", "masakari_api_listen"): ("api", "listen"),
    ("DEFAULT", "masakari_api_listen_port"): ("api", "port"),
}

#: Defaults that differ, by hacore's group and name.
DEFAULTS = {
    "api": {"listen": "0.0.0.0"},  # noqa: S104 - as Masakari does
    "nova": {
        "user_domain_name": "default",
        "project_domain_name": "default",
        "valid_interfaces": "public",
    },
}

#: Exchange of Masakari's bus events; consumers listen there (masakari/config.py).
EXCHANGE = "masakari"

_UWSGI = "to have several processes, run the API under uwsgi or gunicorn (hacore.cmd.wsgi)"
_PROXY = "terminate TLS in a proxy; see [oslo_middleware] enable_proxy_headers_parsing"
_LOG = "it names a path of Masakari; hacore logs to the journal, or to the path set in [DEFAULT]"
_PERIODIC = "hacore's engine has no periodic tasks; it polls every claim_poll_interval"
_LEFTOVER = "it has no effect on recoveries, not even in Masakari"
_EXTENSIONS = "the API has no extensions that could be disabled"

#: Options that are not converted, with the reason or what to do instead.
LEFT_OUT: dict[Option, str] = {
    ("DEFAULT", "use_forwarded_for"): (
        "set [oslo_middleware] enable_proxy_headers_parsing, which also passes the scheme on"
    ),
    ("DEFAULT", "osapi_masakari_link_prefix"): (
        "links are built from the URL of the request; behind a proxy, set [oslo_middleware] "
        "enable_proxy_headers_parsing"
    ),
    ("DEFAULT", "notification_delay_max"): (
        "the database detects duplicate notifications, without a delay"
    ),
    ("DEFAULT", "tempdir"): _LEFTOVER,
    ("DEFAULT", "monkey_patch"): _LEFTOVER,
    ("DEFAULT", "monkey_patch_modules"): _LEFTOVER,
    ("DEFAULT", "fatal_exception_format_errors"): _LEFTOVER,
    ("DEFAULT", "masakari_topic"): "hacore's engines use a topic of their own",
    ("DEFAULT", "notification_driver"): "hacore has only the taskflow driver",
    ("DEFAULT", "retry_notification_new_status_interval"): (
        "a notification whose wake-up was lost is found within claim_poll_interval"
    ),
    ("DEFAULT", "check_expired_notifications_interval"): _PERIODIC,
    ("DEFAULT", "engine_manager"): "hacore has only one",
    ("DEFAULT", "report_interval"): "engines renew their claims after a third of claim_lease",
    ("DEFAULT", "service_down_time"): "the claims of a dead engine expire after claim_lease",
    ("DEFAULT", "periodic_enable"): _PERIODIC,
    ("DEFAULT", "periodic_interval_max"): _PERIODIC,
    ("DEFAULT", "periodic_fuzzy_delay"): _PERIODIC,
    ("DEFAULT", "use_ssl"): _PROXY,
    ("DEFAULT", "masakari_api_workers"): _UWSGI,
    ("DEFAULT", "state_path"): "only hacore-standalone uses such a folder",
    ("DEFAULT", "pybasedir"): "hacore does not need the path of its code",
    ("DEFAULT", "bindir"): "hacore does not need the path of its code",
    ("DEFAULT", "log_file"): _LOG,
    ("DEFAULT", "log_dir"): _LOG,
    ("DEFAULT", "log_config_append"): "that file names the loggers of Masakari; write a new one",
    ("database", "connection"): (
        "hacore has a database of its own: create one, set this option to it, and import "
        "Masakari's with hacore-manage import-masakari"
    ),
}

LEFT_OUT_GROUPS = {
    "coordination": "hacore coordinates its engines through the database",
    "cors": "hacore's API does not serve browsers; set CORS headers in the proxy",
    "osapi_v1": _EXTENSIONS,
    "oslo_concurrency": "hacore locks no files",
    "profiler": "hacore has no profiler",
    "ssl": _PROXY,
    "taskflow": "hacore stores the progress of a recovery in its own database",
    "wsgi": "hacore does not use paste; the options of its web server are in [api]",
}

#: What hacore does beside Masakari unless it is turned off: what it concerns, and how to do so.
NEW: dict[str, str] = {
    "[mass_failure] max_share = 50": (
        "host recoveries are held (rule majority) while 3 or more hosts, and more than half of a "
        "segment or an availability zone, are missing; 0: no limit, as in Masakari"
    ),
    "[mass_failure] burst_hosts = 10": (
        "the 11th host recovery within 300 s is held (rule burst), for 120 s; 0: no limit"
    ),
    "[instance_failure] max_restarts = 5": (
        "an instance that was restarted 5 times within an hour is held (rule restarts); 0: no limit"
    ),
    "rules nova and backlog": (
        "no host recovery begins while Nova itself is ill, or before an engine that has just "
        "started knows which hosts Nova hears; always on"
    ),
    "silence": (
        "a host is evacuated when Nova shows it as down and it has sent no heartbeat for 3.2 "
        "report intervals (32 s by default), unless it is proved off; always on"
    ),
    "[fencing] devices_file": (
        "a host with a device in this file is switched off, and evacuated only once it is proved "
        "off; not set: no host is switched off, as in Masakari (doc/fencing.md)"
    ),
}
