# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Sphinx: the documentation and the manual pages.

pip install -e '.[docs]' -e ./sandbox
sphinx-build -W -b html doc build/html
sphinx-build -W -b man doc build/man
"""

import importlib.metadata
import logging
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
exclude_patterns = ["build", "examples", "extensions", "static"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

highlight_language = "none"  # commands and what they print

html_theme = "furo"
# a11y_pygments, which furo brings along, writes what every library logs at INFO to standard error
logging.getLogger("oslo_service").setLevel(logging.WARNING)
html_title = "hacore"
html_static_path = ["static"]
html_css_files = ["hacore.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False

_COMMANDS = {
    "hacore-api": "the REST API that accepts notifications of failures",
    "hacore-engine": "claims notifications and runs their recoveries",
    "hacore-standalone": "API and engine in one process, on SQLite",
    "hacore-manage": "manage the database, the flows and the recoveries",
    "hacore-status": "check whether an upgrade can go on",
    "hacore-pacemaker-alert": "reports to hacore that Pacemaker has switched a host off",
    "hacore-sandbox": "a simulated OpenStack cloud to try hacore on",
    "fence_hacore_sandbox": "a fence agent for the simulated BMCs of hacore-sandbox",
}
man_pages = [(f"man/{name}", name, does, author, 1) for name, does in _COMMANDS.items()]
