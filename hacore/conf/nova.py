# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[nova]: how to reach and log in to Nova; keystoneauth's options, and two of ours."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "nova"

OPTIONS = [
    cfg.FloatOpt(
        "connect_timeout",
        default=10.0,
        min=0.1,
        help="Seconds to wait for a connection to Keystone or Nova.",
    ),
    cfg.IntOpt(
        "retry_timeout",
        default=300,
        min=0,
        help="Seconds for which a call to Nova is tried again while Nova or Keystone is away or "
        "busy.",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register ours, and keystoneauth's session, adapter and password options."""
    conf.register_opts(OPTIONS, group=GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)
    set_defaults(conf)


def set_defaults(conf: cfg.ConfigOpts) -> None:
    """Give keystoneauth's options the defaults that fit here."""
    conf.set_default("auth_type", "password", group=GROUP)
    conf.set_default("timeout", 60, group=GROUP)
    conf.set_default("service_type", "compute", group=GROUP)
    conf.set_default("valid_interfaces", ["internal", "public"], group=GROUP)


def sample_options() -> list[cfg.Opt]:
    """Return the options of this group for the sample file, the usual login included."""
    options = [
        *OPTIONS,
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    unique: dict[str, cfg.Opt] = {option.dest: option for option in options}
    return list(unique.values())
