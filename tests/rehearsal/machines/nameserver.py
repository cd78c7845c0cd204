"""A name server that answers from a file; runs in a container.

Usage: python3 nameserver.py FILE

Each line of FILE is a record: a name, and the name to which it points. A host of Beanstalk has its address
in its name, in place of the random letters that AWS puts there. No other name exists.
"""

import re
import socket
import struct
import sys
from pathlib import Path

HOST = re.compile(r"[^.]+\.eba-(\d+)-(\d+)-(\d+)-(\d+)\.[^.]+\.elasticbeanstalk\.com")
ADDRESS, ALIAS, INTERNET = 1, 5, 1  # types and class of records
ANSWER, MISSING = 0x8180, 0x8183  # flags: of a response that is recursive; with NXDOMAIN
TTL = 0  # seconds: a changed record counts at once


def resolve(name, records):
    """The records that lead from ``name`` to an address, as (name, type, data); the last may be missing."""
    if match := HOST.fullmatch(name):
        return [(name, ADDRESS, bytes(int(one) for one in match.groups()))]
    if name not in records:
        return []
    return [(name, ALIAS, _pack(records[name])), *resolve(records[name], records)]


def answer(query, records):
    """The response to a ``query`` with one question."""
    end = query.index(b"\0", 12) + 5  # after the name, its type and its class
    labels, at = [], 12
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    [kind] = struct.unpack("!H", query[end - 4 : end - 2])
    found = resolve(".".join(labels).lower(), records)
    exists = found and found[-1][1] == ADDRESS
    packed = [
        _pack(name) + struct.pack("!HHIH", type_, INTERNET, TTL, len(data)) + data
        for name, type_, data in found
        if type_ in (kind, ALIAS)
    ]
    flags = ANSWER if exists else MISSING
    header = query[:2] + struct.pack("!HHHHH", flags, 1, len(packed), 0, 0)
    return header + query[12:end] + b"".join(packed)


def _pack(name):
    return b"".join(bytes([len(one)]) + one.encode() for one in name.split(".")) + b"\0"


def main():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 53))
        while True:
            query, client = server.recvfrom(512)
            lines = Path(sys.argv[1]).read_text().splitlines()
            server.sendto(answer(query, dict(line.split() for line in lines)), client)


if __name__ == "__main__":
    main()
