"""How the pages of docs/ become a site: `make docs`. Everything that the site needs comes with it."""

project = "ML Intern"
copyright = "the ML Intern authors, Apache License 2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Anchors as GitHub makes them, so that one link works in both places.
myst_heading_anchors = 3
# The defaults turn "--json" into a dash with "json" behind it.
smartquotes = False

html_theme = "furo"
html_title = "ML Intern"
html_copy_source = False
html_show_sphinx = False
# The fonts are those of the reader's machine; nothing is fetched from elsewhere.
html_static_path = ["_static"]
html_css_files = ["site.css"]
