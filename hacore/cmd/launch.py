# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the daemons' commands share: read and check everything, then run.

Configuration errors are found here, before the launcher starts: each is reported in one
sentence on standard error, with exit status 1.
"""

import contextlib
import faulthandler
import importlib.metadata
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import oslo_messaging
from oslo_config import cfg
from oslo_log import log
from oslo_messaging import opts as messaging_opts
from oslo_service import service
from oslo_utils import netutils

from hacore import conf as hacore_conf
from hacore.db import schema
from hacore.db.engine import Database
from hacore.errors import ConfigError, HacoreError, NovaError, TransientNovaError, first_line
from hacore.nova import Nova

LOG = log.getLogger(__name__)

#: Seconds that a start waits for Keystone and Nova before it reports them as unavailable.
_LOGIN_PATIENCE_S = 5
#: The signal that a worker which fails to start sends to the process that launched it: one that
#: nobody else sends.
_GIVE_UP = signal.SIGRTMIN + 1


class Part(Protocol):
    """What a daemon runs: the engine, the API, or both."""

    def start(self) -> None:
        """Start working; return when ready."""

    def stop(self) -> None:
        """Stop; may be called twice, or without `start`."""


@contextlib.contextmanager
def one_sentence(prog: str, status: int = 1) -> Iterator[None]:
    """Turn the exceptions that end a command into one sentence and an exit status."""
    try:
        yield
    except HacoreError as exc:
        reason = str(exc)
    except cfg.ConfigFilesNotFoundError as exc:
        names = ", ".join(exc.config_files)
        reason = (
            f"Configuration file {names} not found; create it, or name another with --config-file."
        )
    except cfg.ConfigFilesPermissionDeniedError as exc:
        names = ", ".join(exc.config_files)
        reason = f"No permission to read {names}; change its mode or owner, or run as user hacore."
    except cfg.ConfigFileParseError as exc:
        reason = f"Failed to parse the configuration file {exc.config_file}: {exc.msg}; correct it."
    except cfg.Error as exc:
        reason = f"Invalid configuration: {exc}."
    else:
        return
    sys.stderr.write(f"{prog}: {' '.join(reason.split())}\n")
    sys.exit(status)


def configure(prog: str, argv: Sequence[str], **defaults: str) -> cfg.ConfigOpts:
    """Read the command line and the configuration files; check every option.

    :param defaults: [DEFAULT] options of libraries by name, where not configured.
    """
    conf = cfg.CONF
    hacore_conf.register(conf)
    # libraries register theirs on first use: too late for a check at start
    for group, options in [*service.list_opts(), *messaging_opts.list_opts()]:
        if group is None:
            conf.register_opts(options)
    try:
        conf(
            list(argv),
            project="hacore",
            prog=prog,
            version=importlib.metadata.version("hacore"),
        )
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"Failed to read a configuration file: {exc}.") from exc
    for name, value in defaults.items():
        conf.set_default(name, value)
    hacore_conf.check(conf)
    try:
        log.setup(conf, "hacore")
    except (OSError, log.LogConfigError) as exc:
        raise ConfigError(
            f"Failed to open the log: {exc}; correct [DEFAULT] log_file, log_dir or "
            f"log_config_append in {hacore_conf.files(conf)}."
        ) from exc
    return conf


@contextlib.contextmanager
def reaching_database(conf: cfg.ConfigOpts, *, patient: bool = False) -> Iterator[Database]:
    """Open the database for the ``with`` block.

    :param patient: see `Database`.

    Raises ConfigError with the reason where that fails.
    """
    if not conf.database.connection:
        raise ConfigError(
            f"Option [database] connection is not set in {hacore_conf.files(conf)}; set it, for "
            "example, to mysql+pymysql://hacore:secret@dbhost/hacore."
        )
    try:
        with quiet():
            yield Database(conf.database, patient=patient)
    except ConfigError:
        raise
    except HacoreError as exc:
        raise ConfigError(
            f"{clause(exc)}; check [database] connection, and the database server."
        ) from exc
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"The driver of [database] connection is not installed: {exc}; for PostgreSQL run: "
            "pip install 'hacore[postgresql]'"
        ) from exc
    except Exception as exc:  # drivers raise anything
        raise ConfigError(
            f"Option [database] connection does not work: {first_line(exc)}; check it, and the "
            "database server."
        ) from exc


@contextlib.contextmanager
def usable_database(conf: cfg.ConfigOpts, *, patient: bool = False) -> Iterator[Database]:
    """Open the database for the ``with`` block, if this version works with its schema.

    :param patient: see `Database`.

    Raises ConfigError.
    """
    with reaching_database(conf, patient=patient) as db:
        schema.check(db)
    try:
        yield db
    finally:
        db.dispose()


def check_database(conf: cfg.ConfigOpts, *, create: bool = False) -> None:
    """Raise unless the database answers and this version works with its schema.

    :param create: upgrade the schema first.
    """
    with reaching_database(conf, patient=create) as db:
        if create:
            schema.sync(db)
        schema.check(db)
        db.dispose()


def check_bus(conf: cfg.ConfigOpts) -> None:
    """Raise unless the driver of the message bus loads; whether the bus answers is not checked."""
    try:
        with quiet():
            oslo_messaging.get_rpc_transport(conf).cleanup()
    except oslo_messaging.MessagingException as exc:
        raise ConfigError(
            f"Option [DEFAULT] transport_url is wrong: {exc}; expected, for example, "
            "rabbit://user:password@host."
        ) from exc


def check_api(conf: cfg.ConfigOpts) -> None:
    """Raise when the API could not work, or would serve anybody who can reach it."""
    _check_exposure(conf)
    check_application(conf)
    try:
        address = (conf.api.listen, conf.api.port)
        socket.create_server(address, family=_family(conf.api.listen)).close()
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]
        raise ConfigError(
            f"Cannot listen on {conf.api.listen} port {conf.api.port}: {reason}; change [api] "
            "listen or port, or stop the process using that port."
        ) from exc


def check_application(conf: cfg.ConfigOpts) -> None:
    """Raise when the API cannot be built from these options and policy files."""
    # imported here: an engine does not need them
    from hacore.api.app import make_app
    from hacore.api.policies import Policy

    try:
        Policy(conf)
    except ConfigError as exc:
        name = conf.oslo_policy.policy_file
        raise ConfigError(
            f"{clause(exc)}; correct {conf.find_file(name) or name} ([oslo_policy] "
            "policy_file) or the files in policy_dirs."
        ) from exc
    if conf.auth_strategy == "keystone":
        hacore_conf.nova.check_login(conf, "keystone_authtoken")
    hacore_conf.nova.check(conf)
    try:
        with quiet():
            make_app(conf, Database(conf.database), Nova(conf), lambda: None)
    except (cfg.Error, ValueError):
        hacore_conf.check(conf)  # a better message, now that the libraries' options are registered
        raise
    hacore_conf.check(conf)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if netutils.is_valid_ipv6(address) else socket.AF_INET


def _check_exposure(conf: cfg.ConfigOpts) -> None:
    if conf.auth_strategy != "noauth2" or conf.api.allow_noauth_everywhere:
        return
    address = conf.api.listen
    if address == "localhost" or (
        netutils.is_valid_ip(address) and ipaddress.ip_address(address).is_loopback
    ):
        return
    raise ConfigError(
        f"[DEFAULT] auth_strategy = noauth2 lets anybody who can reach {address} evacuate hosts: "
        "set [api] listen = 127.0.0.1, or auth_strategy = keystone, or [api] "
        "allow_noauth_everywhere = true if that is intended."
    )


def check_nova(conf: cfg.ConfigOpts, *, must_answer: bool) -> None:
    """Raise unless the login in [nova] works.

    :param must_answer: also raise when Keystone or Nova is unavailable; else that is a warning.
    """
    hacore_conf.nova.check(conf)
    try:
        with quiet():
            Nova(conf, retry_timeout_s=_LOGIN_PATIENCE_S).log_in()
    except TransientNovaError as exc:
        reason = connection_failure(exc)
        if must_answer:
            raise NovaError(
                f"Keystone or Nova is unavailable: {reason}; check [nova] auth_url and that both "
                "are running."
            ) from exc
        LOG.warning("Keystone or Nova is unavailable: %s; starting without it", reason)
    except NovaError as exc:
        raise NovaError(f"Failed to log in to Nova: {exc}.") from exc


def clause(exc: BaseException) -> str:
    """Return the message of `exc` without its full stop, for a remedy to follow."""
    return str(exc).rstrip(".")


_WHERE = re.compile(r"Unable to establish connection to \S+?(?=: )")


def connection_failure(exc: BaseException) -> str:
    """Return the address and the root cause in one line; the libraries repeat both."""
    where = _WHERE.search(str(exc))
    if where is None:
        return str(exc)
    root = exc
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    return f"{where[0]}: {root}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress log warnings: what matters in them is in the final message."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def take_notify_socket() -> Callable[[str], None]:
    """Return a function that sends a line to systemd, and hide the socket from everybody else.

    The launchers would send READY before the service has started.
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
    """Runs parts under oslo.service's launcher.

    Constructed in the launching process; under the threading back end it runs in a child.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._ended = threading.Event()
        self._launcher = os.getpid()

    def start(self) -> None:
        """Start the parts; a failure ends the daemon, so that systemd notices."""
        try:
            for part in self._parts:
                part.start()
        except BaseException as exc:
            LOG.exception("Failed to start")
            sys.stderr.write(f"failed to start: {' '.join(str(exc).split())}\n")
            sys.stderr.flush()
            if os.getpid() != self._launcher:  # the launcher would restart this process for ever
                os.kill(self._launcher, _GIVE_UP)
            os._exit(1)

    def stop(self) -> None:
        """Stop the parts, the last one first."""
        for part in reversed(self._parts):
            part.stop()
        self._ended.set()

    def wait(self) -> None:
        """Block until `stop` has done its work."""
        self._ended.wait()

    def reset(self) -> None:
        """Ignore SIGHUP: no option can change while a daemon runs."""


def run(conf: cfg.ConfigOpts, parts: Sequence[Part]) -> None:
    """Run `parts` until a signal ends them, then end the process.

    On SIGUSR1 the stack of each thread goes to standard error, and nothing else happens: the
    other services of OpenStack write a report then.
    """
    faulthandler.register(signal.SIGUSR1)  # children inherit it
    signal.signal(_GIVE_UP, lambda *_: os._exit(1))
    launcher = service.ServiceLauncher(conf)
    launcher.launch_service(_Service(parts))
    sys.exit(launcher.wait())
