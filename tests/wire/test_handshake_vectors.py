"""The secret handshake against the field's vectors, step by step and from each step's inputs alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_secretbox, crypto_sign_seed_keypair

from ssb_rtc.errors import HandshakeRefused
from ssb_rtc.wire.handshake import Client, Server


def raw(value: str) -> bytes:
    return bytes.fromhex(value)


def load_steps(vectors: Path) -> list[dict[str, Any]]:
    return list(json.loads((vectors / "shs" / "test-secret-handshake.json").read_text()))


def honest_client(state: dict[str, Any]) -> Client:
    """A client from a step's inputs alone: the capture left results in `args[0]`, none of which is read here."""
    local = state["local"]
    return Client(
        raw(state["app_key"]),
        raw(local["secretKey"])[:32],
        raw(local["publicKey"]),
        raw(state["remote"]["publicKey"]),
        raw(state["random"]),
    )


def honest_server(state: dict[str, Any]) -> Server:
    local = state["local"]
    return Server(raw(state["app_key"]), raw(local["secretKey"])[:32], raw(local["publicKey"]), raw(state["random"]))


def honest(state: dict[str, Any]) -> Client | Server:
    # Only the client's `initialize` takes a seed, so only clients have the key.
    return honest_client(state) if "seed" in state else honest_server(state)


def remote_challenge(state: dict[str, Any]) -> bytes:
    """What the remote sent first: an input of every step after verifyChallenge."""
    return raw(state["remote"]["app_mac"]) + raw(state["remote"]["kx_pk"])


FIELDS = {
    "secret": "_secret",
    "shash": "_secret_hash",
    "a_bob": "_a_bob",
    "secret2": "_secret2",
    "b_alice": "_b_alice",
    "secret3": "_secret3",
}


def assert_state(party: Client | Server, result: dict[str, Any], *, needs: set[str]) -> None:
    """Compares every output that the vector records with what our machine computed, and that none is missing."""
    assert raw(result["local"]["kx_pk"]) == party._ephemeral_public
    assert raw(result["local"]["kx_sk"]) == party._ephemeral_secret
    assert raw(result["local"]["app_mac"]) == party._mac
    for field in FIELDS.keys() & needs:
        assert raw(result[field]) == getattr(party, FIELDS[field]), field
    if isinstance(party, Client) and "hello" in needs:
        assert raw(result["local"]["hello"]) == party._hello


def step_initialize(state: dict[str, Any], _: list[str], result: Any) -> None:
    assert_state(honest(state), result, needs=set())


def step_create_challenge(state: dict[str, Any], _: list[str], result: Any) -> None:
    assert honest(state).challenge == raw(result)


def step_verify_challenge(state: dict[str, Any], inputs: list[str], result: Any) -> None:
    party = honest(state)
    if result is None:
        with pytest.raises(HandshakeRefused):
            party._open_challenge(raw(inputs[0]))
        return
    party._open_challenge(raw(inputs[0]))
    assert_state(party, result, needs={"secret", "shash"})
    assert raw(result["remote"]["kx_pk"]) == party._remote_ephemeral


def step_client_verify_challenge(state: dict[str, Any], inputs: list[str], result: Any) -> None:
    client = honest_client(state)
    client.start()
    if result is None:
        with pytest.raises(HandshakeRefused):
            client.receive(raw(inputs[0]))
        return
    client.receive(raw(inputs[0]))
    assert_state(client, result, needs={"secret", "shash", "a_bob", "secret2", "hello"})


def step_client_create_auth(state: dict[str, Any], _: list[str], result: Any) -> None:
    client = honest_client(state)
    client.start()
    assert client.receive(remote_challenge(state)) == raw(result)


def step_server_verify_auth(state: dict[str, Any], inputs: list[str], result: Any) -> None:
    server = honest_server(state)
    server.receive(remote_challenge(state))
    if result is None:
        with pytest.raises(HandshakeRefused):
            server.receive(raw(inputs[0]))
        assert server.remote_public is None
        return
    hello, client_public = server._open_hello(raw(inputs[0]))
    assert_state(server, result, needs={"secret", "shash", "a_bob", "secret2", "b_alice", "secret3"})
    assert hello == raw(result["remote"]["hello"])
    assert client_public == raw(result["remote"]["publicKey"])


def step_server_create_accept(state: dict[str, Any], _: list[str], result: Any) -> None:
    server = honest_server(state)
    server.receive(remote_challenge(state))
    # The hello that the client sent is an input here; boxing it again gives the packet that carried it.
    secret2 = raw(state["secret2"])
    assert server.receive(crypto_secretbox(raw(state["remote"]["hello"]), bytes(24), secret2)) == raw(result)
    assert server.done
    assert server.remote_public == raw(state["remote"]["publicKey"])


def step_client_verify_accept(state: dict[str, Any], inputs: list[str], result: Any) -> None:
    client = honest_client(state)
    client.start()
    client.receive(remote_challenge(state))
    client._open_accept(raw(inputs[0]))
    assert_state(client, result, needs={"secret", "shash", "a_bob", "secret2", "hello", "b_alice", "secret3"})


def step_to_keys(argument: Any, _: list[str], result: Any) -> None:
    seed = raw(argument) if isinstance(argument, str) else raw(argument["secretKey"])[:32]
    assert crypto_sign_seed_keypair(seed) == (raw(result["publicKey"]), raw(result["secretKey"]))


STEPS = {
    "initialize": step_initialize,
    "createChallenge": step_create_challenge,
    "verifyChallenge": step_verify_challenge,
    "clientVerifyChallenge": step_client_verify_challenge,
    "clientCreateAuth": step_client_create_auth,
    "serverVerifyAuth": step_server_verify_auth,
    "serverCreateAccept": step_server_create_accept,
    "clientVerifyAccept": step_client_verify_accept,
    "toKeys": step_to_keys,
}


def test_vectors_of_the_field(vectors: Path) -> None:
    done: dict[str, int] = {}
    for step in load_steps(vectors):
        name = step["name"]
        if name == "clean":  # upstream housekeeping; its keys are compared below
            continue
        STEPS[name](step["args"][0], step["args"][1:], step["result"])
        done[name] = done.get(name, 0) + 1
    assert done == {
        "initialize": 34,
        "createChallenge": 31,
        "verifyChallenge": 30,
        "clientVerifyChallenge": 14,
        "clientCreateAuth": 12,
        "serverVerifyAuth": 12,
        "serverCreateAccept": 6,
        "clientVerifyAccept": 6,
        "toKeys": 2,
    }


def test_vectors_agree_on_the_box_streams_keys(vectors: Path) -> None:
    steps = load_steps(vectors)
    cleaned = {step["result"]["random"]: step["result"] for step in steps if step["name"] == "clean"}
    compared = 0
    for step in steps:
        if step["name"] != "clientVerifyAccept" or step["args"][0]["random"] not in cleaned:
            continue
        client = honest_client(step["args"][0])
        client.start()
        client.receive(remote_challenge(step["args"][0]))
        client.receive(raw(step["args"][1]))
        expected = cleaned[step["args"][0]["random"]]
        assert client.outcome.encrypt_key == raw(expected["encryptKey"])
        assert client.outcome.decrypt_key == raw(expected["decryptKey"])
        assert client.outcome.decrypt_nonce == raw(expected["local"]["app_mac"])[:24]
        assert client.outcome.encrypt_nonce == raw(expected["remote"]["app_mac"])[:24]
        compared += 1
    assert compared == 6
