"""Why an address can't be listened on, for whoever runs the hub."""

from __future__ import annotations

import errno


def listen_sentence(host: str, port: int, error: Exception) -> str:
    """The reason of `error`, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program: stop it, or choose another port"
    if number == errno.EACCES:
        return f"port {port} on {host} needs more rights than this program has: choose one above 1023"
    # From Python 3.13 on, asyncio passes over addresses that are not there, and then says so without a number.
    if number == errno.EADDRNOTAVAIL or (isinstance(error, OSError) and number is None):
        return f"{host} is no address of this machine: listen on 0.0.0.0, :: or 127.0.0.1"
    if isinstance(error, OverflowError):
        return f"{port} is no port: it must be from 0 to 65535"
    return f"{host} port {port} can't be listened on: {error}"
