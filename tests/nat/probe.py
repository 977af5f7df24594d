"""One UDP socket in a home of the lab, ordered about by JSON lines; run as a script there, imported by nothing.

{"stun": [hosts]} answers the address that each STUN server sees, [[host, port], ...] (RFC 8489, Binding);
{"send": [host, port], "text": ...} sends; {"receive": seconds} answers the next text, or null when none came.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from typing import Any

COOKIE = 0x2112A442
XOR_MAPPED_ADDRESS = 0x0020
STUN_PORT = 3478
TRIES = 5


def _mapped(answer: bytes) -> tuple[str, int]:
    at = 20
    while at < len(answer):
        kind, length = struct.unpack_from("!HH", answer, at)
        if kind == XOR_MAPPED_ADDRESS:
            port, address = struct.unpack_from("!HI", answer, at + 6)
            return socket.inet_ntoa(struct.pack("!I", address ^ COOKIE)), port ^ (COOKIE >> 16)
        at += 4 + (length + 3) // 4 * 4
    raise ValueError("no XOR-MAPPED-ADDRESS in the answer")


def _stun(own: socket.socket, host: str) -> tuple[str, int]:
    transaction = os.urandom(12)
    own.settimeout(0.5)
    for _ in range(TRIES):
        own.sendto(struct.pack("!HHI", 1, 0, COOKIE) + transaction, (host, STUN_PORT))
        try:
            answer, sender = own.recvfrom(2048)
        except TimeoutError:
            continue
        if sender == (host, STUN_PORT) and answer[8:20] == transaction:
            return _mapped(answer)
    raise TimeoutError(f"no STUN answer from {host}")


def _obey(own: socket.socket, order: dict[str, Any]) -> object:
    if "stun" in order:
        return [_stun(own, host) for host in order["stun"]]
    if "send" in order:
        host, port = order["send"]
        own.sendto(order["text"].encode(), (host, port))
        return None
    own.settimeout(order["receive"])
    try:
        return own.recv(2048).decode()
    except TimeoutError:
        return None


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("", 0))
        for line in sys.stdin:
            print(json.dumps(_obey(own, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
