# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage: the commands for operators beside the REST API.

One module per topic.  Each has ``register``, which adds its verbs to the
command line; a verb's function is called with the configuration and the
arguments, and what it returns is the exit status (None: 0).
"""

import argparse
import sys
from collections.abc import Sequence

from hacore import concurrency


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb."""
    argv = list(sys.argv[1:] if argv is None else argv)
    concurrency.select(argv)
    from hacore.cmd import launch

    arguments = _parser().parse_args(argv)
    files = [f"--config-file={name}" for name in arguments.config_file or ()]
    with launch.one_sentence("hacore-manage"):
        # the log goes to standard error: a program may read the output of a verb
        conf = launch.configure("hacore-manage", files, use_stderr="true")
        sys.exit(arguments.run(conf, arguments))


def _parser() -> argparse.ArgumentParser:
    # imported here: the concurrency back end must have been selected
    from hacore.cmd.manage import (
        convert_config,
        database,
        doctor,
        explain,
        flow,
        host,
        import_masakari,
        move,
        operation,
        recovery,
        safety,
        service,
    )

    parser = argparse.ArgumentParser(
        prog="hacore-manage", description="Commands for operators of hacore beside the REST API."
    )
    parser.add_argument("--config-file", action="append", metavar="FILE", help="may be repeated")
    topics = parser.add_subparsers(title="topics", required=True, metavar="TOPIC")
    for topic in (
        database,
        flow,
        service,
        recovery,
        explain,
        safety,
        host,
        move,
        operation,
        doctor,
        import_masakari,
        convert_config,
    ):
        topic.register(topics)
    return parser
