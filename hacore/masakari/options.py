# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Options of Masakari 22.0.0 that hacore calls otherwise, or has no use for.

Read in its masakari/conf; tests/masakari/masakari.conf lists them all.
"""

Option = tuple[str, str]  # group and name

CATALOG: Option = ("DEFAULT", "nova_catalog_admin_info")

#: The same by another name.
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

#: Where bus events are put, if there are any; their consumers listen there (masakari/config.py).
EXCHANGE = "masakari"

_UWSGI = "for more processes than one run the API under uwsgi or gunicorn, hacore.cmd.wsgi"
_PROXY = "TLS is a proxy's business, see [oslo_middleware] enable_proxy_headers_parsing"
_LOG = "its place is Masakari's; hacore logs to the journal, or to a place of its own in [DEFAULT]"
_PERIODIC = "hacore's engine has no periodic tasks; it looks every claim_poll_interval"
_LEFTOVER = "it has no effect on recoveries, in Masakari neither"
_EXTENSIONS = "the API has no extensions that could be switched off"

#: What is not carried over, and why, or what to do instead.
LEFT_OUT: dict[Option, str] = {
    ("DEFAULT", "use_forwarded_for"): (
        "set [oslo_middleware] enable_proxy_headers_parsing, which also knows the scheme"
    ),
    ("DEFAULT", "osapi_masakari_link_prefix"): (
        "links are made of what the client asked for; behind a proxy set [oslo_middleware] "
        "enable_proxy_headers_parsing"
    ),
    ("DEFAULT", "notification_delay_max"): (
        "the database keeps equal notifications apart, without a delay"
    ),
    ("DEFAULT", "tempdir"): _LEFTOVER,
    ("DEFAULT", "monkey_patch"): _LEFTOVER,
    ("DEFAULT", "monkey_patch_modules"): _LEFTOVER,
    ("DEFAULT", "fatal_exception_format_errors"): _LEFTOVER,
    ("DEFAULT", "masakari_topic"): "hacore's engines have a topic of their own",
    ("DEFAULT", "notification_driver"): "there is one, which is taskflow's",
    ("DEFAULT", "retry_notification_new_status_interval"): (
        "a notification whose wake-up was lost is found after claim_poll_interval"
    ),
    ("DEFAULT", "check_expired_notifications_interval"): _PERIODIC,
    ("DEFAULT", "engine_manager"): "there is one",
    ("DEFAULT", "report_interval"): "engines renew their claims at a third of claim_lease",
    ("DEFAULT", "service_down_time"): "an engine that is gone is noticed after claim_lease",
    ("DEFAULT", "periodic_enable"): _PERIODIC,
    ("DEFAULT", "periodic_interval_max"): _PERIODIC,
    ("DEFAULT", "periodic_fuzzy_delay"): _PERIODIC,
    ("DEFAULT", "use_ssl"): _PROXY,
    ("DEFAULT", "masakari_api_workers"): _UWSGI,
    ("DEFAULT", "state_path"): "hacore-standalone alone has a use for such a folder",
    ("DEFAULT", "pybasedir"): "hacore needs no path of its own code",
    ("DEFAULT", "bindir"): "hacore needs no path of its own code",
    ("DEFAULT", "log_file"): _LOG,
    ("DEFAULT", "log_dir"): _LOG,
    ("DEFAULT", "log_config_append"): "that file names the loggers of Masakari; write one anew",
    ("database", "connection"): (
        "hacore has a database of its own: make one, set this to it, and take over what is in "
        "Masakari's with hacore-manage import-masakari"
    ),
}

LEFT_OUT_GROUPS = {
    "coordination": "the database sees to it that nothing is done twice",
    "cors": "hacore's API serves no browsers; let the proxy do that",
    "osapi_v1": _EXTENSIONS,
    "oslo_concurrency": "hacore locks no files",
    "profiler": "hacore has no profiler",
    "ssl": _PROXY,
    "taskflow": "hacore writes the steps of a recovery into its own database",
    "wsgi": "the API is put together by code; what serves it has options of its own, see [api]",
}
