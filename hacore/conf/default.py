# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[DEFAULT]: names and defaults are Masakari's where it has the option."""

import socket

from oslo_config import cfg

from hacore.conf.recovery_flows import NAMESPACE

GROUP = "DEFAULT"

common = [
    cfg.HostAddressOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<this machine's host name>",
        help="Name under which this engine shows up in claims and logs.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/hacore",
        help="Folder of hacore-standalone's database, where [database] connection is not set.",
    ),
    cfg.StrOpt(
        "concurrency_backend",
        default="threading",
        choices=[
            ("threading", "native threads"),
            ("eventlet", "green threads; eventlet is going to be retired by its maintainers"),
        ],
        help="How a daemon runs things side by side. HACORE_CONCURRENCY in the environment "
        "goes before this.",
    ),
]

intake = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens are checked by keystonemiddleware"),
            ("noauth2", "for development: whoever calls is an administrator"),
        ],
        help="How the API knows who calls.",
    ),
    cfg.IntOpt(
        "osapi_max_limit",
        default=1000,
        min=1,
        help="The most rows that one answer lists; a client follows with a marker.",
    ),
    cfg.IntOpt(
        "duplicate_notification_detection_interval",
        default=180,
        min=0,
        help="Seconds in which a notification of the same type, host and payload as one that has "
        "not ended yet is refused as a duplicate (409).",
    ),
]

engine = [
    cfg.IntOpt(
        "claim_lease",
        default=60,
        min=3,
        help="Seconds that an engine owns a notification without renewing; after that another "
        "engine takes over. Renewed at a third of it.",
    ),
    cfg.FloatOpt(
        "claim_poll_interval",
        default=5.0,
        min=0.05,
        help="Seconds between two looks for due notifications. A wake-up over the message bus "
        "comes before it; this finds what a lost wake-up missed.",
    ),
    cfg.IntOpt(
        "max_concurrent_recoveries",
        default=50,
        min=1,
        help="The most notifications that one engine works on at a time.",
    ),
    cfg.IntOpt(
        "max_recovery_attempts",
        default=3,
        min=1,
        help="How often a recovery that ends in error is tried in all before it is failed.",
    ),
    cfg.IntOpt(
        "process_unfinished_notifications_interval",
        default=120,
        min=0,
        help="Seconds after which a recovery that ended in error is tried again.",
    ),
    cfg.IntOpt(
        "notifications_expired_interval",
        default=86400,
        min=1,
        help="Seconds after which a notification that has not ended is failed instead of being "
        "tried again.",
    ),
]

recovery = [
    cfg.ListOpt(
        "task_namespaces",
        default=[NAMESPACE],
        help="Entry-point groups in which the tasks of [taskflow_driver_recovery_flows] are "
        "looked for; of two of the same name the first is taken. Add masakari.task_flow.tasks for "
        "tasks that a third party made for Masakari.",
    ),
    cfg.FloatOpt(
        "verify_interval",
        default=1.0,
        min=0.05,
        help="Seconds between two looks at Nova while waiting for it; more where evacuations take "
        "longer than three of them.",
    ),
    cfg.IntOpt(
        "wait_period_after_service_update",
        default=180,
        min=1,
        help="Seconds at most until Nova must report the compute service of a failed host as "
        "down, or as disabled. hacore goes on as soon as it does.",
    ),
    cfg.IntOpt(
        "wait_period_after_evacuation",
        default=90,
        min=1,
        help="Seconds at most from the evacuate call to the verdict on an instance.",
    ),
    cfg.IntOpt(
        "wait_period_after_power_off",
        default=180,
        min=1,
        help="Seconds at most until an instance that was told to stop must be stopped.",
    ),
    cfg.IntOpt(
        "wait_period_after_power_on",
        default=60,
        min=1,
        help="Seconds at most until an instance that was told to start must be active.",
    ),
    cfg.IntOpt(
        "host_failure_recovery_threads",
        default=32,
        min=1,
        help="The most instances of one host that are under evacuation at a time, from the "
        "evacuate call to the verdict.",
    ),
]

OPTIONS = common + intake + engine + recovery
