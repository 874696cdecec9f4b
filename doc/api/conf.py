# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Sphinx: the API reference, made from ../openapi.json.

pip install sphinx sphinxcontrib-openapi
sphinx-build -W doc/api build/api
"""

project = "hacore API reference"
author = "the authors of hacore"
extensions = ["sphinxcontrib.openapi"]
# sphinxcontrib-openapi leaves out a blank line between parameters and body
suppress_warnings = ["docutils"]
html_theme = "alabaster"
html_theme_options = {"page_width": "70em", "sidebar_width": "14em"}
html_show_sphinx = False
exclude_patterns = ["_build"]
