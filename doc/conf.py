# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Sphinx: the documentation and the manual pages.

pip install -e '.[docs]' -e ./sandbox
sphinx-build -W -b html doc build/html
sphinx-build -W -b man doc build/man
"""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "extensions"))

project = "hacore"
author = "the authors of hacore"
version = release = importlib.metadata.version("hacore")
extensions = [
    "command_help",
    "myst_parser",
    "rest_reference",
    "settings_reference",
]
exclude_patterns = ["build", "examples", "extensions"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "alabaster"
html_theme_options = {"page_width": "76em", "sidebar_width": "16em", "fixed_sidebar": True}
html_show_sphinx = False
html_show_sourcelink = False

_COMMANDS = {
    "hacore-api": "the REST API, where failures are reported",
    "hacore-engine": "claims what was reported and recovers from it",
    "hacore-standalone": "API and engine in one process, on SQLite",
    "hacore-manage": "the database, the flows, the recoveries, from the command line",
    "hacore-status": "whether an upgrade may go on",
    "hacore-sandbox": "a simulated OpenStack cloud to try hacore on",
}
man_pages = [(f"man/{name}", name, does, author, 1) for name, does in _COMMANDS.items()]
