"""Many at once: threads that start at a barrier, each with its own connection to the database."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

Result = TypeVar("Result")


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
    """What each call gave or raised; all of them begin when the last thread is ready."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result | Exception:
        barrier.wait(timeout=30)
        try:
            return call()
        except Exception as error:  # noqa: BLE001 what went wrong is a result too
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return list(threads.map(run, calls))
