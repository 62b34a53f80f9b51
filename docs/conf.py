# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx' configuration of the documentation site; `make docs` builds it."""

project = "dirsync.authentik"
author = "the dirsync.authentik contributors"
html_title = "dirsync.authentik"
extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_antsibull_ext", "sphinx_copybutton"]
# The copy button takes commands only, without their prompts and output.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
# Written by `make docs`: a build needs no network.
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/ansible/latest/", "ansible.inv")}
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
nitpicky = True
default_role = "any"
highlight_language = "yaml+jinja"
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_use_index = False
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
