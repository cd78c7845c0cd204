"""DNS for a rehearsal: a name server, and programs of this machine that ask only that one."""

import os
from pathlib import Path

from tests.rehearsal.machines.docker import LABEL, MACHINE, address, start

SCRIPT = Path(__file__).parent / "nameserver.py"
# Files of this machine that are replaced for those programs, wherever a link leads
RESOLVER, SWITCH = (Path(name).resolve() for name in ("/etc/resolv.conf", "/etc/nsswitch.conf"))
ROOT = "/machine"  # where their container has the files of this machine


class Names:
    """A name server without records. Its files are in ``folder``."""

    def __init__(self, folder):
        self._folder, self._records = folder, {}
        self._write()
        server = start(
            "--volume",
            f"{folder}:/names:ro",
            "--volume",
            f"{SCRIPT}:/nameserver.py:ro",
            MACHINE,
            "python3",
            "/nameserver.py",
            "/names/records",
        )
        (folder / "resolv.conf").write_text(f"nameserver {address(server)}\n")
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")

    def point(self, name, host):
        """Make or change the record of ``name``."""
        self._records[name] = host
        self._write()

    def _write(self):
        lines = "".join(f"{name} {host}\n" for name, host in self._records.items())
        new = self._folder / "records.new"
        new.write_text(lines)
        new.replace(self._folder / "records")

    def wrap(self, command, folder, environment):
        """The command that runs ``command`` in ``folder``, as this user, with the name server for all names.

        It is itself run in ``environment``. Nothing on this machine is changed for it.
        """
        groups = ",".join(str(one) for one in os.getgroups())
        return [
            "docker",
            "run",
            "--rm",
            "--init",
            "--interactive",
            "--network=host",
            "--label",
            LABEL,
            "--volume",
            f"/:{ROOT}",
            "--volume",
            f"{self._folder}/resolv.conf:{ROOT}{RESOLVER}:ro",
            "--volume",
            f"{self._folder}/nsswitch.conf:{ROOT}{SWITCH}:ro",
            *(part for name in environment for part in ("--env", name)),
            MACHINE,
            "chroot",
            f"--userspec={os.getuid()}:{os.getgid()}",
            f"--groups={groups}",
            ROOT,
            "env",
            f"--chdir={folder}",
            *command,
        ]
