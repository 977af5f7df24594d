"""Prints what crosses channels of a signalhub, a line each; run as a script in the lab, imported by nothing.

    overhear.py HOST PORT PATH

Of its own kind (plain HTTP, no code of ours), so that what it hears does not depend on what is under test.
"""

from __future__ import annotations

import http.client
import sys


def main() -> None:
    host, port, path = sys.argv[1:]
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("GET", path)
    answer = connection.getresponse()
    print(f"status {answer.status}", flush=True)
    for line in answer:
        if line.startswith(b"data: "):
            print(line.removeprefix(b"data: ").decode().rstrip(), flush=True)


if __name__ == "__main__":
    main()
