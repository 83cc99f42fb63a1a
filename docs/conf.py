"""How Sphinx builds these pages: ``make docs``."""

project = "gate"
author = "the authors of gate"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "gate"
html_copy_source = False
myst_heading_anchors = 3  # so that links name headings as they do on a forge
linkcheck_ignore = [r"https?://"]  # a build needs no network
