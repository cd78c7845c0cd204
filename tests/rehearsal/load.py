"""Clients that save and greet all the time, whatever happens to the environment meanwhile."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter

from tests.rehearsal.waiting import limit

CLIENTS = 4
# Seconds. Twice as many requests took 18 % of the CPU time, which the deployments need (28 November 2026)
PAUSE = 0.8
TURNS = 25  # on one connection, then a new one is made
NUMBERS = itertools.count()


class Load:
    """Clients of ``environment``, from now on. Any response but success counts as a failure, as does none."""

    def __init__(self, environment):
        self._environment = environment
        self.counts, self.failures, self.acknowledged = Counter(), [], {}
        self.saved = []  # name, date, and when that was acknowledged (seconds since 1970)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(f"Load{_letters(next(NUMBERS))}x",))
            for _ in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Let each client finish its turn; can be called again."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def lost(self):
        """Acknowledged names that the database does not have with the date last saved."""
        rows = self._environment.database.query("SELECT username, date_of_birth FROM person")
        stored = dict(row.split("|") for row in rows)
        return {name for name, born in self.acknowledged.items() if stored.get(name) != born}

    def _work(self, prefix):
        turn = 0
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(
                self._environment.balancer.cname, timeout=limit(20)
            )
            with contextlib.closing(connection):
                try:
                    for _ in range(TURNS):
                        if self._stop.is_set():
                            break
                        self._turn(connection, prefix, turn)
                        turn += 1
                        time.sleep(PAUSE)
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {error!r}")
                    time.sleep(PAUSE)

    def _turn(self, connection, prefix, turn):
        name = prefix + _letters(turn % 500)
        born = f"{1950 + turn % 50}-{1 + turn % 12:02}-03"
        if self._ask(connection, "PUT", name, json.dumps({"dateOfBirth": born}), 204):
            self.acknowledged[name] = born
            self.saved.append((name, born, time.time()))
        self._ask(connection, "GET", name, None, 200)

    def _ask(self, connection, method, name, body, wanted):
        connection.request(method, f"/hello/{name}", body)
        response = connection.getresponse()
        text = response.read().decode()
        self.counts[f"{method} {response.status}"] += 1
        if response.status != wanted:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {method} {response.status} {text}")
        return response.status == wanted


def _letters(number):
    """``number`` in letters, since a name may contain nothing else."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
