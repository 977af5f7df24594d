"""Writes envelopes.json: channel names, letters and announcements of the sealed dialect from fixed keys, each with its
steps, and bodies that have to be refused. Who writes the other side starts from docs/signalling.md and checks with it.

Run it as `python -m tests.vectors.make_envelopes` after a deliberate change only: the bytes are the protocol.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519

from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.types import peer_of
from ssb_rtc.wire import channels, letters
from ssb_rtc.wire.envelope import Kind, Letter, seal, seal_announcement
from ssb_rtc.wire.swarm import Signal, app_name
from tests.wire import handmade
from tests.wire.handmade import Parts

TIME_MS = 1_790_000_000_000
"""In September 2026."""
DAY = channels.day_of(TIME_MS / 1000)
SDP = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" + (
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:k7Jr\r\n"
    "a=ice-pwd:0r8vZ3Bqv1vZ0f0Yt1mJmBqk\r\na=fingerprint:sha-256 " + ":".join(["5A"] * 32) + "\r\n"
    "a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
)
CANDIDATE = Signal(
    "candidate",
    candidate="candidate:1467250027 1 udp 2122260223 192.0.2.7 46154 typ host generation 0",
    sdp_mid="0",
    sdp_m_line_index=0,
)


def fixed(name: str, size: int = 32) -> bytes:
    """Bytes that everybody can make again."""
    return sha256(f"ssb-rtc envelope vector: {name}".encode()).digest()[:size]


NETWORK_KEY = fixed("network key")
ALICE, BOB, CAROL = (keys_from_seed(fixed(f"{name} seed")) for name in ("alice", "bob", "carol"))
KNOCK_SECRET, OFFER_SECRET = fixed("knock secret"), fixed("offer secret")
KNOCK_REPLY, OFFER_REPLY = fixed("knock reply", 16), fixed("offer reply", 16)
KNOCK_PUBLIC, OFFER_PUBLIC = letters.public_of(KNOCK_SECRET), letters.public_of(OFFER_SECRET)


def made_channels() -> list[dict[str, Any]]:
    """Names of each kind, with what they are made from."""
    found: list[dict[str, Any]] = []
    for keys in (ALICE, BOB):
        peer = peer_of(keys.id)
        for day in (0, DAY):
            name = channels.public_inbox(NETWORK_KEY, peer, day)
            found.append({"what": "public inbox", "peer": peer, "day": day, "name": name})
        path = channels.announce_path(NETWORK_KEY, peer, DAY)
        for depth in (0, 1, 5, 32):
            name = channels.announce_channel(NETWORK_KEY, path, depth)
            found.append({"what": "announce", "peer": peer, "day": DAY, "path": path, "depth": depth, "name": name})
    secret = fixed("inbox secret")
    name = channels.friend_inbox(secret, DAY)
    found.append({"what": "friend inbox", "secret": secret.hex(), "day": DAY, "name": name})
    found.append({"what": "reply", "raw": KNOCK_REPLY.hex(), "name": channels.reply_channel(KNOCK_REPLY)})
    return found


def payloads() -> list[tuple[str, Kind, Keys, int, bytes, dict[str, Any]]]:
    """Name, kind, sender, sequence, payload, and what it says."""
    seed = fixed("seed of a payload")
    ends = {"alice": KNOCK_SECRET.hex(), "bob": OFFER_SECRET.hex()}
    large = "v=0\r\n" + "a" * (letters.SDP_MAX_BYTES - 5)
    candidate = {
        "candidate": CANDIDATE.candidate,
        "sdpMid": CANDIDATE.sdp_mid,
        "sdpMLineIndex": CANDIDATE.sdp_m_line_index,
    }
    knock = {"ephemeral": KNOCK_PUBLIC.hex(), "reply": KNOCK_REPLY.hex()}
    offer = {"ephemeral": OFFER_PUBLIC.hex(), "reply": OFFER_REPLY.hex(), "opened_with": ends["alice"]}
    offered, largest = (letters.offer(OFFER_PUBLIC, OFFER_REPLY, sdp, KNOCK_PUBLIC, seed) for sdp in (SDP, large))
    answered = letters.answer(SDP, OFFER_PUBLIC, seed)
    to_alice, to_bob = (letters.candidate(CANDIDATE, to, seed) for to in (KNOCK_PUBLIC, OFFER_PUBLIC))
    return [
        ("knock", Kind.KNOCK, ALICE, 0, letters.knock(KNOCK_PUBLIC, KNOCK_REPLY), {**knock, "alone": False}),
        (
            "knock of who is alone, and of a later version that says more",
            Kind.KNOCK,
            ALICE,
            2**32 - 1,
            letters.knock(KNOCK_PUBLIC, KNOCK_REPLY)[:-1] + b"\xffmore",
            {**knock, "alone": True},
        ),
        ("offer", Kind.OFFER, BOB, 0, offered, {**offer, "sdp": SDP}),
        ("offer, as large as they come", Kind.OFFER, BOB, 0, largest, {**offer, "sdp": large}),
        ("answer", Kind.ANSWER, ALICE, 1, answered, {"opened_with": ends["bob"], "sdp": SDP}),
        ("candidate of the offerer", Kind.CANDIDATE, BOB, 1, to_alice, {"opened_with": ends["alice"], **candidate}),
        ("candidate of the answerer", Kind.CANDIDATE, ALICE, 2, to_bob, {"opened_with": ends["bob"], **candidate}),
        ("busy", Kind.BUSY, BOB, 0, letters.busy(300), {"seconds": 300}),
        ("clock note", Kind.CLOCK, BOB, 0, letters.clock(TIME_MS + 3_600_000), {"wall_ms": TIME_MS + 3_600_000}),
    ]


def parts_of(letter: Letter, keys: Keys, to: bytes) -> Parts:
    """The same letter, to be made by hand."""
    return Parts(
        network_key=NETWORK_KEY,
        signing_seed=keys.seed,
        sender=keys.public,
        to=to,
        kind=int(letter.kind),
        session=letter.session,
        sequence=letter.sequence,
        time_ms=letter.time_ms,
        payload=letter.payload,
    )


def described(parts: Parts, body: str) -> dict[str, Any]:
    """What stands in a letter and in its body, in hex."""
    return {
        "kind": parts.kind,
        "from": parts.sender.hex(),
        "session": parts.session.hex(),
        "sequence": parts.sequence,
        "time_ms": parts.time_ms,
        "payload": parts.payload.hex(),
        "signed": parts.signed().hex(),
        "signature": parts.made_signature().hex(),
        "block_bytes": len(base64.b64decode(body[1:-1])),
        "body": body,
    }


def envelopes() -> list[dict[str, Any]]:
    """A letter of each kind, sealed to the other."""
    found = []
    for name, kind, keys, sequence, payload, says in payloads():
        to = BOB if keys is ALICE else ALICE
        letter = Letter(kind, peer_of(keys.id), fixed("session", 16), sequence, TIME_MS, payload)
        seed = fixed(f"seed of {name}")
        body = seal(letter, keys, peer_of(to.id), NETWORK_KEY, seed)
        found.append(
            {
                "name": name,
                "to": to.public.hex(),
                "seed": seed.hex(),
                **described(parts_of(letter, keys, to.public), body),
                "says": says,
            }
        )
    return found


def announcements() -> list[dict[str, Any]]:
    """An announcement and a goodbye."""
    found = []
    for name, kind, payload, says in (
        ("announce", Kind.ANNOUNCE, letters.announce(3), {"free": 3}),
        ("leave", Kind.LEAVE, letters.leave(), {}),
    ):
        letter = Letter(kind, peer_of(ALICE.id), fixed(f"session of {name}", 16), 0, TIME_MS, payload)
        nonce = fixed(f"nonce of {name}", 24)
        body = seal_announcement(letter, ALICE, NETWORK_KEY, nonce)
        described_ = described(parts_of(letter, ALICE, bytes(32)), body)
        found.append({"name": name, "nonce": nonce.hex(), **described_, "says": says})
    return found


def good_knock() -> Parts:
    """From Alice to Bob, in order."""
    payload = letters.knock(KNOCK_PUBLIC, KNOCK_REPLY)
    return parts_of(Letter(Kind.KNOCK, peer_of(ALICE.id), fixed("session", 16), 0, TIME_MS, payload), ALICE, BOB.public)


def refused_envelopes() -> list[dict[str, str]]:
    """Bodies that Bob has to refuse, all but one part of each in order."""
    good = good_knock()
    seed, room = fixed("seed of what is refused"), 512 - 48

    def sealed(parts: Parts, size: int = room, to: Keys = BOB) -> str:
        return handmade.text(handmade.sealed(parts.plain(size), to.public, seed))

    body = sealed(good)
    block = base64.b64decode(body[1:-1])
    wrong = {
        "no quotes": body[1:-1],
        "a JSON string with an escape": body[:-2] + "\\u003d" + body[-1],
        "a blank before it": " " + body,
        "an object": json.dumps({"envelope": body[1:-1]}),
        "base64 without its padding": body[:-2] + body[-1],
        "bits behind the end of the base64": body[:-3] + chr(ord(body[-3]) + 1) + body[-2:],
        "base64url": '"' + base64.urlsafe_b64encode(block).decode() + '"',
        "a block of another size": sealed(good, 1_024 - 48),
        "a byte of the box changed": handmade.text(block[:100] + bytes([block[100] ^ 1]) + block[101:]),
        "the ephemeral key changed": handmade.text(bytes([block[0] ^ 1]) + block[1:]),
        "an ephemeral key of low order": handmade.text(bytes(32) + block[32:]),
        "sealed to somebody else": sealed(good, to=CAROL),
        "another version": sealed(replace(good, version=2)),
        "kind 0": sealed(replace(good, kind=0)),
        "a kind that is unknown": sealed(replace(good, kind=7)),
        "an announcement in an envelope": sealed(replace(good, kind=16)),
        "an announcement in an envelope, signed as one": sealed(replace(good, kind=16, to=bytes(32))),
        "signed as another kind": sealed(replace(good, kind=6, signature=good.made_signature())),
        "signed for another receiver": sealed(replace(good, to=CAROL.public)),
        "signed for another network": sealed(replace(good, network_key=fixed("another network"))),
        "signed by somebody else": sealed(replace(good, signing_seed=CAROL.seed)),
        "signed with another payload": sealed(
            replace(good, payload=good.payload[:-1] + b"\1", signature=good.made_signature())
        ),
        "a signature of zeros by the zero key": sealed(replace(good, sender=bytes(32), signature=bytes(64))),
        "a sender of low order": sealed(replace(good, sender=handmade.ORDER_2, signature=handmade.ORDER_2 + bytes(32))),
        "a sender of mixed order": sealed(handmade.of_mixed_order(good)),
        "a length beyond the block": sealed(replace(good, length=room - 64 - 64 + 1)),
        "a length that is too long": sealed(replace(good, length=len(good.payload) + 1)),
        "padding that is not zero": sealed(replace(good, filler=b"\1")),
        "padding that is not zero at its end": handmade.text(
            handmade.sealed(good.plain(room)[:-1] + b"\1", BOB.public, seed)
        ),
    }
    return [{"why": why, "body": wrong_body} for why, wrong_body in wrong.items()]


def refused_announcements() -> list[dict[str, str]]:
    """Bodies that nobody may take for an announcement."""
    letter = Letter(Kind.ANNOUNCE, peer_of(ALICE.id), fixed("session", 16), 0, TIME_MS, letters.announce(3))
    good = parts_of(letter, ALICE, bytes(32))
    nonce, room = fixed("nonce of what is refused", 24), 512 - 40

    def sealed(parts: Parts, size: int = room, network_key: bytes = NETWORK_KEY) -> str:
        return handmade.text(handmade.announced(parts.plain(size), network_key, nonce))

    block = base64.b64decode(sealed(good)[1:-1])
    wrong = {
        "sealed for another network": sealed(good, network_key=fixed("another network")),
        "signed for another network": sealed(replace(good, network_key=fixed("another network"))),
        "signed for one receiver": sealed(replace(good, to=BOB.public)),
        "signed by somebody else": sealed(replace(good, signing_seed=CAROL.seed)),
        "a goodbye signed as an announcement": sealed(replace(good, kind=17, signature=good.made_signature())),
        "a letter to one peer": sealed(replace(good, kind=1)),
        "a block of a size that envelopes have": sealed(good, 2_048 - 40),
        "the nonce changed": handmade.text(bytes([block[0] ^ 1]) + block[1:]),
        "a sender of mixed order": sealed(handmade.of_mixed_order(good)),
        "padding that is not zero": sealed(replace(good, filler=b"\1")),
    }
    return [{"why": why, "body": body} for why, body in wrong.items()]


def made() -> dict[str, Any]:
    """The whole file."""
    return {
        "network_key": NETWORK_KEY.hex(),
        "network_id": sha256(NETWORK_KEY).hexdigest(),
        "app": app_name(NETWORK_KEY),
        "peers": {
            name: {
                "seed": keys.seed.hex(),
                "public": keys.public.hex(),
                "curve_public": crypto_sign_ed25519_pk_to_curve25519(keys.public).hex(),
                "id": keys.id,
            }
            for name, keys in (("alice", ALICE), ("bob", BOB), ("carol", CAROL))
        },
        "sessions": {
            "knock": {"secret": KNOCK_SECRET.hex(), "public": KNOCK_PUBLIC.hex()},
            "offer": {"secret": OFFER_SECRET.hex(), "public": OFFER_PUBLIC.hex()},
        },
        "channels": made_channels(),
        "envelopes": envelopes(),
        "announcements": announcements(),
        "refused_by_bob": refused_envelopes(),
        "refused_announcements": refused_announcements(),
        "curve_keys_of_low_order": [key.hex() for key in handmade.LOW_ORDER_X25519],
    }


def main() -> None:
    """Writes the file."""
    path = Path(__file__).parent / "envelopes.json"
    path.write_text(json.dumps(made(), indent=1) + "\n")


if __name__ == "__main__":
    main()
