"""`python -m ml_intern` is `ml-intern`."""

from ml_intern.cli.entry import run

if __name__ == "__main__":
    raise SystemExit(run())
