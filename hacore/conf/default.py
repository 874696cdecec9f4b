# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[DEFAULT]: names and defaults are Masakari's where it has the option."""

import socket

from oslo_config import cfg

from hacore.conf.recovery_flows import NAMESPACE

GROUP = "DEFAULT"

common = [
    # not a HostAddressOpt: a machine may have a name that is no host name, as with an underscore
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        regex=r"^\S+$",
        max_length=200,
        sample_default="<this machine's host name>",
        help="Name of this host in claims, in the list of services and in logs; no blanks.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/hacore",
        help="Folder of the database of hacore-standalone if [database] connection is not set.",
    ),
    cfg.StrOpt(
        "concurrency_backend",
        default="threading",
        choices=[
            ("threading", "native threads"),
            ("eventlet", "green threads; the maintainers of eventlet are retiring it"),
        ],
        help="Concurrency model of a daemon. The environment variable HACORE_CONCURRENCY overrides "
        "this option.",
    ),
]

intake = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens are checked by keystonemiddleware"),
            ("noauth2", "for development: every caller is an administrator"),
        ],
        help="How the API authenticates its callers.",
    ),
    cfg.IntOpt(
        "osapi_max_limit",
        default=1000,
        min=1,
        help="Maximum number of rows in one answer; a client continues with a marker.",
    ),
    cfg.IntOpt(
        "duplicate_notification_detection_interval",
        default=180,
        min=0,
        help="Seconds for which a notification with the type, host and payload of one that has "
        "not ended is rejected as a duplicate (409).",
    ),
]

engine = [
    cfg.IntOpt(
        "claim_lease",
        default=60,
        min=3,
        help="Seconds that a claim on a notification lasts unless the engine renews it, which it "
        "does after a third of this time. After that another engine takes over.",
    ),
    cfg.FloatOpt(
        "claim_poll_interval",
        default=5.0,
        min=0.05,
        help="Seconds between two polls for due notifications. Engines are also woken over the "
        "message bus; polling finds a notification whose wake-up was lost.",
    ),
    cfg.IntOpt(
        "max_concurrent_recoveries",
        default=50,
        min=1,
        help="Maximum number of notifications that one engine works on concurrently.",
    ),
    cfg.ListOpt(
        "own_hosts",
        default=list(dict.fromkeys([socket.gethostname(), socket.gethostname().partition(".")[0]])),
        sample_default="<this machine's host name, with and without its domain>",
        help="Names that Nova's compute service has where it runs on the machine of this engine. "
        "The engine recovers no failure of these hosts while another engine runs elsewhere, and "
        "never switches them off. In a container: the names of its machine.",
    ),
    cfg.IntOpt(
        "max_recovery_attempts",
        default=3,
        min=1,
        help="Number of attempts that end in error after which a notification is failed.",
    ),
    cfg.IntOpt(
        "process_unfinished_notifications_interval",
        default=120,
        min=0,
        help="Seconds after which a recovery that ended in error is retried.",
    ),
    cfg.IntOpt(
        "notifications_expired_interval",
        default=86400,
        min=1,
        help="Seconds after which a notification that has not ended is failed instead of retried. "
        "The time for which it was held does not count.",
    ),
    cfg.IntOpt(
        "held_expire",
        default=259200,
        min=1,
        help="Seconds after which a notification that is held is failed; see doc/safety.md.",
    ),
]

recovery = [
    cfg.ListOpt(
        "task_namespaces",
        default=[NAMESPACE],
        help="Entry-point groups that are searched for the tasks of "
        "[taskflow_driver_recovery_flows]; the first match counts. Add masakari.task_flow.tasks "
        "for third-party tasks that were written for Masakari.",
    ),
    cfg.FloatOpt(
        "verify_interval",
        default=1.0,
        min=0.05,
        help="Seconds between two polls of Nova while waiting for it; longer if evacuations take "
        "more than three times as long.",
    ),
    cfg.IntOpt(
        "wait_period_after_service_update",
        default=180,
        min=1,
        help="Time limit in seconds for Nova to report the compute service of a failed host as "
        "down, or as disabled. The recovery continues as soon as Nova does.",
    ),
    cfg.IntOpt(
        "wait_period_after_evacuation",
        default=90,
        min=1,
        help="Time limit in seconds from the evacuate call to the final status of the evacuation.",
    ),
    cfg.IntOpt(
        "wait_period_after_power_off",
        default=180,
        min=1,
        help="Time limit in seconds for an instance to stop after the stop call.",
    ),
    cfg.IntOpt(
        "wait_period_after_power_on",
        default=60,
        min=1,
        help="Time limit in seconds for an instance to become active after the start call.",
    ),
    cfg.IntOpt(
        "host_failure_recovery_threads",
        default=32,
        min=1,
        help="Maximum number of instances of one host that are in flight, from the evacuate call "
        "to the final status of the evacuation.",
    ),
]

OPTIONS = common + intake + engine + recovery
