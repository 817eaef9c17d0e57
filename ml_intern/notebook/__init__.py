"""The notebook face: a run that shows itself below its cell, and results that a notebook draws.

`kernel` knows whether this process serves a notebook, `watching` takes a session through a turn, `progress`
is what is seen meanwhile and `outcome` what stays; `frames` and `figure` are tables and pictures of a result.
"""
