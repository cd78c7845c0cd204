"""Clients that save and greet without a pause, check every response, and know which data must exist."""

import http.client
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from string import ascii_uppercase
from typing import Self

from web.birthday import greeting

NO_ANSWER = 0  # in place of a status
PAUSE = 0.02  # seconds


def names(prefix: str, count: int) -> list[str]:
    """So many names that only consist of letters."""
    letters = "ABCDEFGHIJ"
    return [prefix + "".join(letters[int(digit)] for digit in str(n)) for n in range(count)]


class Load:
    """``clients`` threads that PUT and GET, and one that asks /livez; a context manager.

    Each name belongs to one client, which therefore knows what it must read: after a PUT that
    was acknowledged exactly that date, after any other PUT that date or the one before. Today is
    ``day`` or, from some moment on, the next day. Answers may have a status of ``outages``. A client
    waits ``pause`` seconds between two names.
    """

    def __init__(
        self,
        host: str,
        port: int,
        clients: int = 8,
        headers: dict[str, str] | None = None,
        day: date | None = None,
        outages: Iterable[int] = (503,),
        pause: float = PAUSE,
    ) -> None:
        self._address, self._headers, self._pause = (host, port), headers or {}, pause
        self._outages = {*outages, NO_ANSWER}
        day = day or datetime.now(UTC).date()
        self._days = (day, day + timedelta(days=1))
        self.counts: Counter[tuple[str, int]] = Counter()  # by method and status
        # By name: the dates that may be stored; one, if the last PUT succeeded
        self.saved: dict[str, set[date | None]] = {}
        self.acknowledged = 0
        self.wrong: list[str] = []
        self.days_seen: set[date] = set()  # the dates for which greetings were right
        self.longest_answer = self.longest_livez = self.longest_outage = 0.0
        self._last_success = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        own = "".join(
            secrets.choice(ascii_uppercase) for _ in range(8)
        )  # names that nobody else has
        self._threads = [
            threading.Thread(target=self._work, args=(names(f"Client{own}{'abcdefgh'[n]}", 25),))
            for n in range(clients)
        ]
        self._threads.append(threading.Thread(target=self._ask_livez))

    def __enter__(self) -> Self:
        self._last_success = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def total(self, *statuses: int) -> int:
        """How many answers had one of ``statuses``."""
        return sum(count for (_, status), count in self.counts.items() if status in statuses)

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until ``condition()`` holds. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not after {seconds} s; the answers so far: {self.counts}")
            time.sleep(0.05)

    def wait_for_more(self, status: int, count: int = 50) -> None:
        """Wait for ``count`` more answers with ``status``."""
        before = self.total(status)
        self.wait_for(lambda: self.total(status) >= before + count)

    def lost(self, stored: Mapping[str, date]) -> set[str]:
        """The names for which ``stored``, the dates by name, has no possible date."""
        return {name for name, dates in self.saved.items() if stored.get(name) not in dates}

    def _work(self, owned: list[str]) -> None:
        turn = 0
        days: tuple[date, ...] = self._days
        while not self._stop.wait(self._pause):
            name, turn = owned[turn % len(owned)], turn + 1
            self._put(name, date(1900 + turn % 100, 1 + turn % 12, 4))
            if day := self._get(name, days):
                days = days[days.index(day) :]  # time does not run backwards

    def _put(self, name: str, born: date) -> None:
        before = self.saved.get(name, {None})
        self.saved[name] = before | {born}
        status, text = self._request(
            "PUT", f"/hello/{name}", json.dumps({"dateOfBirth": str(born)})
        )
        if status == 204:
            self.saved[name] = {born}
            self.acknowledged += 1
        self._check("PUT", status, text, {204})

    def _get(self, name: str, days: tuple[date, ...]) -> date | None:
        """The day of the greeting, if there was one and it is right."""
        status, text = self._request("GET", f"/hello/{name}")
        dates = self.saved[name]
        self._check("GET", status, text, {200} | ({404} if None in dates else set()))
        if status != 200:
            return None
        message = json.loads(text)["message"]
        for day in days:
            if message in {greeting(name, born, day) for born in dates if born}:
                self.days_seen.add(day)
                return day
        self.wrong.append(f"GET {name}: {message}, saved {dates}, on {days}")
        return None

    def _check(self, method: str, status: int, text: str, right: set[int]) -> None:
        with self._lock:
            self.counts[method, status] += 1
        if status not in right | self._outages:
            self.wrong.append(f"{method} {status}: {text}")

    def _ask_livez(self) -> None:
        while not self._stop.wait(0.05):
            began = time.monotonic()
            status, text = self.ask("GET", "/livez")
            self.longest_livez = max(self.longest_livez, time.monotonic() - began)
            self._check("livez", status, text, {200})

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        began = time.monotonic()
        status, text = self.ask(method, path, body)
        now = time.monotonic()
        with self._lock:
            self.longest_answer = max(self.longest_answer, now - began)
            if status in {200, 204}:
                self.longest_outage = max(self.longest_outage, now - self._last_success)
                self._last_success = now
        return status, text

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return NO_ANSWER, repr(error)
        finally:
            connection.close()
