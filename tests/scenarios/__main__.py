# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``python -m tests.scenarios regenerate [name...]``, or ``show name`` for one on the screen."""

from hacore import concurrency

concurrency.select()

# ruff: noqa: E402 - the back end is selected before anything else is imported
import argparse
import sys

from tests.scenarios.run import EXPECTED, FOLDER, names, run


def main() -> int:
    """Rewrite expected logs, so that their diff can be reviewed."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.add_argument("verb", choices=["regenerate", "show"])
    parser.add_argument("name", nargs="*", choices=[*names(), []], help="all where none is given")
    options = parser.parse_args()
    failed = 0
    for name in options.name or names():
        try:
            log = run(name)
        except Exception as exc:  # the others are of interest all the same
            sys.stderr.write(f"{name}: {type(exc).__name__}: {exc}\n")
            failed = 1
            continue
        if options.verb == "show":
            sys.stdout.write(log)
            continue
        path = FOLDER / name / EXPECTED
        if not path.exists() or path.read_text() != log:
            path.write_text(log)
            sys.stdout.write(f"{path}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
