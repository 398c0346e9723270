#!/usr/bin/env python
"""Django's commands, with Postgres and Redis brought up for those that need them."""

import contextlib
import os
import signal
import sys

from hps_site import embedded

# Everything else finds the database there.
WITHOUT_DATABASE = {
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "help",
    "makemessages",
    "spectacular",
    "version",
}


def needs_database(arguments: list[str]) -> bool:
    """Whether a command line needs the servers: asked for help, or for what reads files only, it does not."""
    if not arguments or arguments[0].startswith("-") or {"--help", "-h"} & set(arguments):
        return False
    if arguments[0] == "check":
        return any(argument.startswith("--database") for argument in arguments)
    return arguments[0] not in WITHOUT_DATABASE


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
    from django.core.management import execute_from_command_line

    # A polite kill ends in the same way as an error, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with embedded.services() if needs_database(sys.argv[1:]) else contextlib.nullcontext():
            execute_from_command_line(sys.argv)
    except embedded.EmbeddedServicesFailed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
