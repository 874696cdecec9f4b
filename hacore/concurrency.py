# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Native threads or eventlet: the only module that names eventlet.

Every command calls `select` before it imports anything else of hacore: oslo.messaging
chooses its backend while it is imported, and locks that exist before eventlet patches
the standard library hang.  All other code uses ``threading`` and futurist's thread
pools, and runs the same on either.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

BACKENDS = ("threading", "eventlet")
VARIABLE = "HACORE_CONCURRENCY"


class _WithoutEventlet:
    """An import finder that hides eventlet, which libraries import where it is installed."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "eventlet":
            raise ImportError("hacore runs on native threads (concurrency_backend = threading)")
        return None


def select(argv: Sequence[str] = ()) -> str:
    """Select the concurrency backend of this process, once, and return its name.

    `argv`: the command line, for its ``--config-file`` and ``--config-dir``.
    The environment variable HACORE_CONCURRENCY takes precedence over the option.
    An unknown name ends the process with one sentence and status 1.
    """
    name = os.environ.get(VARIABLE) or _option(argv)
    if name not in BACKENDS:
        sys.exit(
            f"The concurrency backend {name!r} is unknown; set {VARIABLE} or [DEFAULT] "
            f"concurrency_backend to one of: {', '.join(BACKENDS)}."
        )
    if name == "eventlet":
        with warnings.catch_warnings():
            # its deprecation is known; doc/ names it to operators who choose it
            warnings.simplefilter("ignore")
            import eventlet

            eventlet.monkey_patch()
    elif not any(isinstance(finder, _WithoutEventlet) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutEventlet())
    from oslo_service import backend

    backend.init_backend(backend.BackendType(name))
    return name


def _option(argv: Sequence[str]) -> str:
    # oslo.config alone is safe here: it starts no thread and takes no lock
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("concurrency_backend", default="threading"))
    try:
        conf(_config_arguments(argv), project="hacore")
        return str(conf.concurrency_backend)
    except cfg.Error:
        return "threading"  # the command reads the same files next and reports what is wrong


def _config_arguments(argv: Sequence[str]) -> list[str]:
    kept: list[str] = []
    takes_value = False
    for argument in argv:
        if takes_value or argument.startswith(("--config-file", "--config-dir")):
            kept.append(argument)
            takes_value = not takes_value and "=" not in argument
    return kept
