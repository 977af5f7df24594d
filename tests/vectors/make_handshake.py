"""Writes handshake.json: one whole secret handshake from fixed seeds, for tests that have no shared vectors.

Run it as `python tests/vectors/make_handshake.py` after a deliberate change only: the bytes are the protocol.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from nacl.bindings import crypto_sign_seed_keypair

from ssb_rtc.wire.handshake import Client, Secrets, Server


def fixed(name: str) -> bytes:
    """32 bytes that everybody can make again."""
    return sha256(f"ssb-rtc handshake vector: {name}".encode()).digest()


def shown(outcome: Secrets) -> dict[str, str]:
    """The outcome in hex."""
    return {
        "encrypt_key": outcome.encrypt_key.hex(),
        "encrypt_nonce": outcome.encrypt_nonce.hex(),
        "decrypt_key": outcome.decrypt_key.hex(),
        "decrypt_nonce": outcome.decrypt_nonce.hex(),
        "remote_public": outcome.remote_public.hex(),
    }


def main() -> None:
    """Runs the handshake and writes what was sent and agreed."""
    inputs = {
        name: fixed(name)
        for name in ("network_key", "client_seed", "client_ephemeral", "server_seed", "server_ephemeral")
    }
    for side in ("client", "server"):
        inputs[f"{side}_public"] = crypto_sign_seed_keypair(inputs[f"{side}_seed"])[0]
    client = Client(
        inputs["network_key"],
        inputs["client_seed"],
        inputs["client_public"],
        inputs["server_public"],
        inputs["client_ephemeral"],
    )
    server = Server(inputs["network_key"], inputs["server_seed"], inputs["server_public"], inputs["server_ephemeral"])
    packets = [client.start()]
    packets.append(server.receive(packets[-1]))
    packets.append(client.receive(packets[-1]))
    packets.append(server.receive(packets[-1]))
    client.receive(packets[-1])
    vector = {
        "inputs": {name: value.hex() for name, value in sorted(inputs.items())},
        "packets": [packet.hex() for packet in packets],
        "client": shown(client.outcome),
        "server": shown(server.outcome),
    }
    path = Path(__file__).parent / "handshake.json"
    path.write_text(json.dumps(vector, indent=1) + "\n")


if __name__ == "__main__":
    main()
