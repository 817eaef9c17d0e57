"""Runs in the sandbox, with nothing but CPython: reads installed packages without importing them.

The modules here import the standard library and each other. `ml_intern.documentation.asking` carries their
text over on a command line, since the sandbox may have neither ML Intern nor a place to put files.
"""
