# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the daemons' commands share: read and check everything, then run.

Whatever is wrong is found here, before the launcher: it gets one sentence on
standard error and exit status 1.
"""

import contextlib
import importlib.metadata
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from oslo_config import cfg
from oslo_log import log
from oslo_messaging import opts as messaging_opts
from oslo_service import service
from oslo_utils import netutils

from hacore import conf as hacore_conf
from hacore.db import schema
from hacore.db.engine import Database
from hacore.errors import ConfigError, HacoreError, NovaError, TransientNovaError
from hacore.nova import Nova

LOG = log.getLogger(__name__)

#: Seconds that a start waits for Keystone and Nova before it says that they are away.
_LOGIN_PATIENCE_S = 5


class Part(Protocol):
    """What a daemon runs: the engine, the API, or both."""

    def start(self) -> None:
        """Make everything and run; returns when it is ready."""

    def stop(self) -> None:
        """End what `start` began; may be called again, or without it."""


@contextlib.contextmanager
def one_sentence(prog: str) -> Iterator[None]:
    """Turn what stops a command into one sentence and exit status 1."""
    try:
        yield
    except HacoreError as exc:
        sys.exit(f"{prog}: {exc}")
    except cfg.ConfigFilesNotFoundError as exc:
        sys.exit(f"{prog}: There is no configuration file {', '.join(exc.config_files)}.")
    except cfg.ConfigFilesPermissionDeniedError as exc:
        sys.exit(f"{prog}: The configuration file {exc.config_files} cannot be read by this user.")
    except cfg.ConfigFileParseError as exc:
        sys.exit(f"{prog}: {' '.join(str(exc).split())}")
    except cfg.Error as exc:
        sys.exit(f"{prog}: {exc}")


def configure(prog: str, argv: Sequence[str], **defaults: str) -> cfg.ConfigOpts:
    """Read the command line and the configuration files; check every option.

    :param defaults: [DEFAULT] options of libraries by name, where not configured.
    """
    conf = cfg.CONF
    hacore_conf.register(conf)
    # libraries register theirs when they are used: too late for a check at start
    for group, options in [*service.list_opts(), *messaging_opts.list_opts()]:
        if group is None:
            conf.register_opts(options)
    conf(
        list(argv),
        project="hacore",
        prog=prog,
        version=importlib.metadata.version("hacore"),
    )
    for name, value in defaults.items():
        conf.set_default(name, value)
    log.setup(conf, "hacore")
    hacore_conf.check(conf)
    return conf


def check_database(conf: cfg.ConfigOpts, *, create: bool = False) -> None:
    """Raise unless the database is there and has our schema.

    :param create: bring it to the schema instead of complaining.
    """
    if not conf.database.connection:
        raise ConfigError(
            "Option [database] connection is not set, for example to "
            "mysql+pymysql://hacore:secret@dbhost/hacore."
        )
    try:
        db = Database(conf.database)
        if create:
            schema.sync(db)
        schema.check(db)
        db.dispose()
    except ValueError as exc:
        raise ConfigError(f"Option [database] connection is wrong: {exc}.") from exc


def check_api(conf: cfg.ConfigOpts) -> None:
    """Raise when the API would be open to anybody who reaches it."""
    if conf.auth_strategy != "noauth2" or conf.api.allow_noauth_everywhere:
        return
    address = conf.api.listen
    if address == "localhost" or (
        netutils.is_valid_ip(address) and ipaddress.ip_address(address).is_loopback
    ):
        return
    raise ConfigError(
        f"[DEFAULT] auth_strategy = noauth2 lets anybody who reaches {address} evacuate hosts: "
        "set [api] listen = 127.0.0.1, or auth_strategy = keystone, or [api] "
        "allow_noauth_everywhere = true if that is wanted."
    )


def check_nova(conf: cfg.ConfigOpts, *, must_answer: bool) -> None:
    """Raise unless the login in [nova] works.

    :param must_answer: also when Keystone or Nova is away; else that is a warning.
    """
    try:
        Nova(conf, retry_timeout_s=_LOGIN_PATIENCE_S).log_in()
    except TransientNovaError as exc:
        if must_answer:
            raise NovaError(f"{exc}; check [nova] auth_url and that Keystone and Nova run") from exc
        LOG.warning("%s; going on without", exc)


def take_notify_socket() -> Callable[[str], None]:
    """Return what sends a line to systemd; nobody else in this process tree can.

    The launchers say READY before the service has started.
    """
    address = os.environ.pop("NOTIFY_SOCKET", None)
    if not address:
        return lambda _line: None

    def notify(line: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            # @: an abstract socket, whose name begins with a zero byte
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(line.encode())

    return notify


class _Service(service.ServiceBase):
    """Runs parts under oslo.service's launcher."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._ended = threading.Event()

    def start(self) -> None:
        """Start the parts; what fails here ends the process, for systemd to see."""
        try:
            for part in self._parts:
                part.start()
        except BaseException as exc:
            LOG.exception("could not start")
            sys.stderr.write(f"could not start: {exc}\n")
            os._exit(1)  # a launcher would start it again and again

    def stop(self) -> None:
        """Stop the parts, the last one first."""
        for part in reversed(self._parts):
            part.stop()
        self._ended.set()

    def wait(self) -> None:
        """Block until `stop` has done its work."""
        self._ended.wait()

    def reset(self) -> None:
        """SIGHUP: nothing of ours changes while it runs."""


def run(conf: cfg.ConfigOpts, parts: Sequence[Part]) -> None:
    """Run `parts` until a signal ends them, then end the process."""
    launcher = service.ServiceLauncher(conf)
    launcher.launch_service(_Service(parts))
    sys.exit(launcher.wait())
