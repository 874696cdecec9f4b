# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[nova]: how to reach and log in to Nova; keystoneauth's options, and three of hacore."""

import copy
import importlib.metadata
from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg

from hacore.errors import ConfigError

GROUP = "nova"
#: Groups that also accept the options of whatever login (auth_type) is chosen.
LOGIN_GROUPS = frozenset({GROUP, "keystone_authtoken"})
_PLUGINS = "keystoneauth1.plugin"

OPTIONS = [
    cfg.FloatOpt(
        "connect_timeout",
        default=10.0,
        min=0.1,
        help="Time limit in seconds for a connection to Keystone or Nova.",
    ),
    cfg.IntOpt(
        "retry_timeout",
        default=300,
        min=0,
        help="Seconds for which a call to Nova is retried while Nova or Keystone is unavailable.",
    ),
    cfg.FloatOpt(
        "report_interval",
        min=0.1,
        help="Seconds between two heartbeats of a nova-compute: [DEFAULT] report_interval of Nova "
        "(10 by default). A host is silent after 3.2 of them. If not set, hacore learns it from "
        "the heartbeats of the hosts that are up.",
    ),
]


#: Defaults of keystoneauth's options in this group.
_DEFAULTS: dict[str, Any] = {
    "auth_type": "password",
    "timeout": 60,
    "service_type": "compute",
    "valid_interfaces": ["internal", "public"],
}


def register(conf: cfg.ConfigOpts) -> None:
    """Register hacore's options, and keystoneauth's session, adapter and password options."""
    conf.register_opts(OPTIONS, group=GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)
    for name, value in _DEFAULTS.items():
        conf.set_default(name, value, group=GROUP)


def check(conf: cfg.ConfigOpts) -> None:
    """Raise ConfigError for errors that keystoneauth would only raise when it is used."""
    check_login(conf, GROUP)
    try:
        loading.load_adapter_from_conf_options(conf, GROUP, session=None)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"The options of [{GROUP}] contradict each other: {exc}.") from exc


def has_login(conf: cfg.ConfigOpts, group: str) -> bool:
    """Whether `group` has options for a login, valid or not."""
    loading.register_auth_conf_options(conf, group)
    return bool(conf[group].auth_type or conf[group].auth_section)


def check_login(conf: cfg.ConfigOpts, group: str) -> None:
    """Raise ConfigError unless `group`, or its auth_section, has a complete login."""
    loading.register_auth_conf_options(conf, group)
    section = conf[group].auth_section or group
    kind = conf[section].auth_type
    # by name: keystoneauth's own list imports every plug-in
    known = {point.name for point in importlib.metadata.entry_points(group=_PLUGINS)}
    if kind not in known:
        raise ConfigError(
            f"Option [{section}] auth_type is {repr(kind) if kind else 'not set'}; set it to "
            f"password, or one of {', '.join(sorted(known))}, with the options of that login."
        )
    options = _options_of(kind, section)
    conf.register_opts(loading.get_auth_plugin_conf_options(kind), group=section)
    missing = [opt.dest for opt in options if opt.required and conf[section][opt.dest] is None]
    if missing:
        raise ConfigError(
            f"Option [{section}] {missing[0]} is not set; auth_type = {kind} requires it."
        )


def _options_of(kind: str, section: str) -> list[Any]:
    """Return keystoneauth's options for a type of login."""
    reason = "it is not available"
    try:
        plugin: Any = loading.get_plugin_loader(kind)
        if plugin.available:
            return list(plugin.get_options())
    except (
        Exception
    ) as exc:  # a third party's plug-in may raise anything, as when an import of its own fails
        reason = f"{type(exc).__name__}: {exc}"
    raise ConfigError(
        f"Option [{section}] auth_type is {kind!r}, which cannot be loaded ({reason}); install the "
        "packages that it needs, or set it to password."
    )


def sample_options() -> list[cfg.Opt]:
    """Return the options of this group for the sample file, the usual login included."""
    options = [
        *OPTIONS,
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    unique: dict[str, cfg.Opt] = {option.dest: copy.copy(option) for option in options}
    for name, value in _DEFAULTS.items():
        unique[name].default = value
    return list(unique.values())
