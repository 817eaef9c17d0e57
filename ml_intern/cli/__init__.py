"""The command line: words in, a session's events on the screen, an exit code out."""
