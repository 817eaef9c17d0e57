"""A paper from HTML, LaTeX or PDF as one structure: sections, tables, equations, captions, references."""
