"""Programs as the commands call them: git is real, and the others only record their calls."""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy.base.changes import Changes
from deploy.base.errors import Failure
from deploy.base.programs import Tools
from tests.support.aws import FakeAws


class Programs(Tools):
    """Git is real; docker, make and eb are fakes that record their calls and apply their effects to the in-memory AWS."""

    def __init__(self, aws: FakeAws) -> None:
        self.aws = aws
        self.called: list[tuple[str, dict[str, str]]] = []
        self.codes: dict[str, int] = {}  # of programs that fail, by a pattern of the call
        self.missing: set[str] = set()
        self.effects: dict[
            str, Callable[[], object]
        ] = {}  # by a pattern of the call, run before the usual effects
        self.results: dict[str, Callable[[], object]] = {}  # run instead of the usual effects
        self.answers = {  # the output of a program, by a pattern of the call
            "^docker version": "29.1.2",
            "^docker info": '[["Backing Filesystem", "extfs"]]',
            "^make --version": "GNU Make 4.3\nand more",
            "^eb --version": "EB CLI 3.27.5",
            "^aws --version": "aws-cli/2.31.0",
        }
        self.packages = json.dumps(
            [["Flask", "3.1.3", "BSD-3-Clause"], ["odd", "1", "Text\nof it"]]
        )

    def of(self, changes: Changes, root: Path) -> Self:
        """In the form that cli.Options expects."""
        super().__init__(changes, root)
        return self

    def require(self, *names: str) -> None:
        for name in names:
            if name in self.missing:
                raise Failure(f"{name!r} is not installed", next="install it")

    def try_to_ask(self, *command: str, timeout: float = 60) -> tuple[int, str, str]:
        if command[0] == "git" and not self._code(command):
            return super().try_to_ask(*command, timeout=timeout)
        line = shlex.join(command)
        output = next((text for when, text in self.answers.items() if re.search(when, line)), "")
        is_list = command[:2] == ("docker", "run")
        return self._code(command), self.packages if is_list else output, "refused"

    def calls(self, pattern: str = "") -> list[str]:
        return [line for line, _ in self.called if re.search(pattern, line)]

    def _run(self, command: Sequence[str], timeout: float | None, env: Mapping[str, str]) -> int:
        line = shlex.join(command)
        self.called.append((line, dict(env)))
        for pattern, effect in self.effects.items():
            if re.search(pattern, line):
                effect()
        if code := self._code(command):
            return code
        for pattern, result in self.results.items():
            if re.search(pattern, line):
                result()
                return 0
        match command:
            case ["docker", "push", _, name]:
                self.aws.images[name.rpartition(":")[2]] = "sha256:" + "a" * 64
            case ["eb", "deploy", name, "--version", label, *_]:
                self.aws.elasticbeanstalk_update_environment(name, label)
        return 0

    def _code(self, command: Sequence[str]) -> int:
        line = shlex.join(command)
        return next((code for when, code in self.codes.items() if re.search(when, line)), 0)
