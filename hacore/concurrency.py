# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Threads or eventlet: the only module that names eventlet.

`select` is called by every command before anything else of hacore is imported:
oslo.messaging picks a back end while it is imported, and an eventlet that
patches late leaves locks behind that hang.  All other code uses ``threading``
and futurist's thread pools, and runs the same on either.
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
    """An import finder that hides eventlet, which libraries import if it is there."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "eventlet":
            raise ImportError("hacore runs on native threads (concurrency_backend = threading)")
        return None


def select(argv: Sequence[str] = ()) -> str:
    """Settle on the back end for this process, once, and return its name.

    `argv`: the command line, for its ``--config-file`` and ``--config-dir``.
    The environment variable HACORE_CONCURRENCY goes before the option.
    A wrong name ends the process with one sentence and status 1.
    """
    name = os.environ.get(VARIABLE) or _option(argv)
    if name not in BACKENDS:
        sys.exit(
            f"The concurrency back end {name!r} is unknown; set {VARIABLE} or [DEFAULT] "
            f"concurrency_backend to one of: {', '.join(BACKENDS)}."
        )
    if name == "eventlet":
        with warnings.catch_warnings():
            # its deprecation is known; doc/ tells the operator who chooses it
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
        return "threading"  # the command reads the same files next and says what is wrong


def _config_arguments(argv: Sequence[str]) -> list[str]:
    kept: list[str] = []
    takes_value = False
    for argument in argv:
        if takes_value or argument.startswith(("--config-file", "--config-dir")):
            kept.append(argument)
            takes_value = not takes_value and "=" not in argument
    return kept
