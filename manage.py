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


def bring_up_to_date(command: str) -> None:
    """Our own commands find their tables: made where the database is ours, asked for where somebody else keeps it."""
    import django
    from django.core.management import call_command, get_commands
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    django.setup()
    if command in {"demo", "serve"} or get_commands().get(command) not in {"annotations", "worker", "hps_site"}:
        return  # those two do it themselves, wherever the database is
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if os.environ.get("DATABASE_URL"):
        sys.exit("The database is behind this version of the site: run `python manage.py migrate` first.")
    call_command("migrate", verbosity=0, interactive=False)


def wait_without_turning() -> None:
    """Threads of one tensor operation that wait for each other sleep, in this process and those it starts.

    By default they turn on the spot and so burn the time of the database, the web server and the decoding beside them:
    seen on two cores with one busy, two threads then took three times as long; asleep, as long as one. Read once, when
    numpy is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
    wait_without_turning()
    from django.core.management import execute_from_command_line

    # A polite kill ends in the same way as an error, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with embedded.services() if needs_database(sys.argv[1:]) else contextlib.nullcontext():
            if needs_database(sys.argv[1:]):
                bring_up_to_date(sys.argv[1])
            execute_from_command_line(sys.argv)
    except embedded.EmbeddedServicesFailed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
