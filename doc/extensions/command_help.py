# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``.. command-help:: hacore-manage``: the options of a command, as it prints them itself.

Run as a program it prints the help of a command and of all its verbs, as JSON: a command
selects its concurrency back end, which a process can do but once.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def _verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all verbs, those of verbs of verbs instead of theirs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for made in action.choices.values():
                below = [*_verbs(made)]
                yield from below or [made]


def _texts(command: str) -> list[str]:
    """Return what a command with verbs, and each verb, says of itself."""
    from hacore import concurrency

    concurrency.select()
    from hacore.cmd import manage
    from hacore_sandbox import cli

    parser = {"hacore-manage": manage._parser, "hacore-sandbox": cli._parser}[command]()
    return [made.format_help() for made in (parser, *_verbs(parser))]


#: Commands that are not in hacore.cmd.
_MODULES = {
    "hacore-pacemaker-alert": "hacore.pacemaker_alert",
    "fence_hacore_sandbox": "hacore_sandbox.fence_agent",
}


def _help(command: str) -> list[str]:
    """Return the help of a command, in one text or many."""
    module = _MODULES.get(command, f"hacore.cmd.{command.partition('-')[2]}")
    code = f"from {module} import main; main()"
    run = [sys.executable, "-P", "-c", code, "--help"]
    if command in ("hacore-manage", "hacore-sandbox"):
        run = [sys.executable, __file__, command]
    # 80 columns, whatever the terminal is
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}
    )
    if run[1] == __file__:
        return list(json.loads(done.stdout))
    return [done.stdout.replace("usage: -c", f"usage: {command}")]


class CommandHelp(SphinxDirective):
    """A literal block for each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        texts = _help(self.arguments[0])
        return [nodes.literal_block(text, text, language="text") for text in texts]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    print(json.dumps(_texts(sys.argv[1])))
