"""Signed feeds in which one message is odd: what a validator has to judge by its rules and not by its signature.

Each field is JSON text, so that numbers can be spelled in any way; the signature is made over what the odd message
says, so that only the rule in question can refuse it.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds.canonical import compact, encode, parse
from ssb_rtc.feeds.keys import Keys, keys_from_seed, sign
from ssb_rtc.feeds.message import message_id, signed_bytes

HMAC_KEY = bytes(range(32))
KEYS = keys_from_seed(b"\x01" * 32)
OTHER = keys_from_seed(b"\x02" * 32)

Fields = list[tuple[str, str]]

TIMESTAMPS = [
    "1514517067954",
    "1514517067954.5",
    "1e21",
    "-0",
    "-5",
    "1e999",
    '"1514517067954"',
    "null",
    "true",
    "{}",
    "[1]",
    "0.1",
]
HASHES = ['"sha256"', '"sha512"', '["sha256"]', "null", '"SHA256"', '"sha256\\n"', "0"]
TYPES = [
    '"abc"', '"ab"', '""', f'"{"t" * 52}"', f'"{"t" * 53}"', '"😀"', '"a😀"', f'"{"😀" * 26}"', f'"{"😀" * 26}a"',
    '"\\ud800ab"', "3", "null", "true", '["abc"]', '["a","b","c"]', '{"length":5}', '"a\\u0000b"', f'"{"é" * 52}"',
]  # fmt: skip
BOXES = [
    ".box", "AAAA.box", "AAA.box", "AAA=.box", "AAB=.box", "AA==.box", "AB==.box", "AAAA.boxfoo bar", "AAAA.box\n",
    "AAAA.box\nx", "AAAA.box\u2028", "AAAA.box\u2029x", "AAAA.box\r", "AAAA.box\x0b", "AAAA.BOX", "AA-_.box",
    "AAAA!.box", "", "=.box", "AAAA", "AAAA.box2", "AAAA.box.box", "xAAAA.box", "AAAA\n.box", " AAAA.box", "AAAA.bo",
    "AAAA==.box", "A===.box", "AAAA.box\ud800", "AAAA.box\U0001f600", "AAAAAAAAAAAAAAAAAA==.box1",
    "AAAAAAAAAAAAAAAAAAA.box",
]  # fmt: skip
CONTENTS = [
    "null", "5", "true", "[]", '[{"type":"post"}]', "{}", '"post"', '{"__proto__":{"type":"post"}}',
    '{"type":"post","__proto__":null}', '{"type":"post","__proto__":5}', '{"type":"post","toJSON":{}}',
    '{"type":"post","2":1,"1":2,"x":3}', '{"1":0,"type":"post"}',
    '{"4294967295":1,"4294967294":2,"0":0,"type":"post"}', '{"type":"post","type":"x"}',
    '{"type":"x","a":1,"type":"post"}', '{"Type":"post"}',
    '{"type":"post","n":[1e21,1e-7,-0,0.1,1e999,123456789012345678901,9007199254740993,5e-324,1.0,-1e-9,1e16]}',
    '{"type":"post","t":"\\ud800\\udc00\\udc00\\ud800"}', '{"type":"post","t":"\\u2028\\u0000\\u007f\\/\\u00e9"}',
    '{"type":"post","":{}}', '{"type":"post","\\ud800":1}', '{"type":"post","a":[],"b":{},"c":[[],{}]}',
    '{"type":"post","length":9}', '{"type":"post","toString":1,"valueOf":2,"hasOwnProperty":3}',
    '{ "type" :\t"post"\r\n}', '{"type":"post","x":"\ufeff"}',
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "1.0", "1e0", "-0.0", "1E+2", "12345.678", "1e15", "1e16", "1.5e16", "9007199254740991",
    "9007199254740992", "9007199254740993", "-9007199254740993", "18446744073709551615", "18446744073709551616",
    "1e20", "1e21", "1.1e21", "0.001", "0.0001", "0.000001", "0.0000001", "1.23e-7", "4.9e-324", "1e-400", "0.1",
    "0.30000000000000004", "2.2250738585072014e-308",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feed:
    """What a validator gets: the bytes of messages one after another, and the network's hmac key."""

    raws: tuple[bytes, ...]
    hmac_key: bytes | None


def odd_feed(rng: random.Random) -> Feed:
    """A feed of one to four messages, one of them odd in one to three ways; the later ones build on it."""
    hmac_key = HMAC_KEY if rng.random() < 0.2 else None
    odd_at = rng.choice((0, 1, 1, 2))
    raws: list[bytes] = []
    previous: str | None = None
    for sequence in range(1, odd_at + 2 + rng.randrange(2)):
        fields = _fields(previous, sequence)
        if sequence == odd_at + 1:
            for change in rng.sample(CHANGES, rng.choice((0, 1, 1, 1, 2, 3))):
                change(rng, fields)
            raw = _respell(rng, signed(fields, hmac_key, rng))
        else:
            raw = signed(fields, hmac_key)
        raws.append(raw)
        previous = _id(raw, previous)
        if rng.random() < 0.1:
            raws.append(raw)
    return Feed(tuple(raws), hmac_key)


def _id(raw: bytes, fallback: str | None) -> str | None:
    try:
        return message_id(parse(raw))
    except MessageInvalid:
        return fallback


def _fields(previous: str | None, sequence: int) -> Fields:
    return [
        ("previous", json.dumps(previous)),
        ("sequence", str(sequence)),
        ("author", json.dumps(KEYS.id)),
        ("timestamp", str(1514517067000 + sequence)),
        ("hash", '"sha256"'),
        ("content", '{"type":"post","text":"hello"}'),
    ]


def object_text(fields: Sequence[tuple[str, str]]) -> bytes:
    """The JSON text of an object, its fields as they stand."""
    return ("{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in fields) + "}").encode("utf-8", "surrogatepass")


def signed(fields: Fields, hmac_key: bytes | None, rng: random.Random | None = None, keys: Keys = KEYS) -> bytes:
    """The bytes of a message with its signature put at the end; now and then an odd one."""
    try:
        value = parse(object_text(fields))
        value.pop("signature", None)
        signature = sign(keys, signed_bytes(encode(value), hmac_key))
    except MessageInvalid:
        signature = bytes(64)
    text = f"{base64.b64encode(signature).decode()}.sig.ed25519"
    if rng is None or rng.random() < 0.8:
        return object_text([*fields, ("signature", json.dumps(text))])
    whole = json.dumps(_odd_signature(rng, text, signature))
    if rng.random() < 0.1:
        whole = rng.choice((f"[{whole}]", "null", "5", "{}", '{"length":100}'))
    return object_text([*fields, ("signature", whole)])


def _odd_signature(rng: random.Random, text: str, signature: bytes) -> str:
    longer = [base64.b64encode(signature + bytes(more)).decode() + ".sig.ed25519" for more in (1, 2, 3)]
    body = text[:88]
    spare = body[:85] + chr(ord(body[85]) + 1) + body[86:]
    return rng.choice(
        [
            *longer, spare + text[88:], body[:86] + text[88:], text + "x", text[:-1], text + "\n",
            body + ".sig.ed25518", body, body + "!sig.ed25519", body + ".sig!ed25519",
            text.replace("/", "_").replace("+", "-"), " " + text[1:], "", text.upper(),
            f"{base64.b64encode(bytes(64)).decode()}.sig.ed25519", "A" + text[1:],
            base64.b64encode(signature[:63]).decode() + ".sig.ed25519x", body + ".sig.sha256",
            text[:40] + "é" + text[41:], body[:84] + ".sig" + text[88:],
        ]
    )  # fmt: skip


def _respell(rng: random.Random, raw: bytes) -> bytes:
    pick = rng.random()
    if pick < 0.85:
        return raw
    if pick < 0.88:
        return raw.replace(b":", b" : ").replace(b",", b",\n\t")
    if pick < 0.9:
        return raw[:-1] + rng.choice(
            (b',"signature":null}', b',"extra":1}', b"}}", b"", b',"0":1}', b',"__proto__":1}')
        )
    if pick < 0.92:
        return rng.choice((b"null", b"[]", b'"x"', b"5", b"true", b"{}", b"", b'[{"author":1}]', b"\xef\xbb\xbf" + raw))
    at = rng.randrange(len(raw))
    if pick < 0.96:
        return raw[:at] + bytes([rng.randrange(256)]) + raw[at + rng.randrange(2) :]
    return raw[:at] + rng.choice((b"\\u0061", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b'"', b"1")) + raw[at:]


def _set(fields: Fields, key: str, text: str) -> None:
    for at, (known, _) in enumerate(fields):
        if known == key:
            fields[at] = (key, text)


def _odd_sequence(rng: random.Random, fields: Fields) -> None:
    right = dict(fields).get("sequence", "1")
    texts = [
        f"{right}.0", f"{right}e0", f'"{right}"', f"[{right}]", "0", "-1", "true", "null", "{}", f"{right}.5",
        "4294967297", "2147483648", "4294967298", "-0", f"0{right}", f"{right}0e-1", "1", "2", "3", "1e999",
        "9007199254740993",
    ]  # fmt: skip
    _set(fields, "sequence", rng.choice(texts))


def _odd_previous(rng: random.Random, fields: Fields) -> None:
    right = dict(fields).get("previous", "null")
    texts = [
        f"[{right}]", f"[[{right}]]", f"[{right},null]", f"[null,{right}]", f"[[[[{right}]],[]]]", "null", '""', "0",
        "{}", "[]", "[[]]", '{"toString":1}', '{"toString":null,"valueOf":null}', json.dumps(f"%{'A' * 43}=.sha256"),
        "false", '"null"', "[null]", right.replace("sha256", "sha25\\u0036"),
    ]  # fmt: skip
    _set(fields, "previous", rng.choice(texts))


def _odd_author(rng: random.Random, fields: Fields) -> None:
    key = KEYS.id[1:45]
    texts = [
        KEYS.id.replace("ed25519", "sha256"), f"@{key}!ed25519", f"@{key}.ed25519\n", key, OTHER.id, f"%{key}.sha256",
        "__proto__", "", "constructor", KEYS.id.replace("=", "=="), f"@{key[:42]}{chr(ord(key[42]) + 1)}=.ed25519",
        f"@{'A' * 43}=.ed25519", f"@{'/' * 42}8=.ed25519", KEYS.id.upper(), f"@{key[:-1]}.ed25519",
        f"@{key}.ed25519.ed25519",
    ]  # fmt: skip
    text = json.dumps(rng.choice(texts))
    _set(fields, "author", rng.choice((text, text, text, f"[{json.dumps(KEYS.id)}]", "null", "5", "{}")))


def _odd_content(rng: random.Random, fields: Fields) -> None:
    pick = rng.random()
    if pick < 0.3:
        text = rng.choice(CONTENTS)
    elif pick < 0.5:
        text = f'{{"type":{rng.choice(TYPES)},"text":""}}'
    elif pick < 0.7:
        text = json.dumps(rng.choice(BOXES), ensure_ascii=rng.random() < 0.5)
    elif pick < 0.8:
        depth = rng.choice((5, 60, 61, 62, 63, 64, 65, 70))
        text = f'{{"type":"post","x":{"[" * depth}{"]" * depth}}}'
    else:
        text = f'{{"type":"post","n":{rng.choice(NUMBERS)},"x":{_any(rng, 0)}}}'
    _set(fields, "content", text)


def _any(rng: random.Random, depth: int) -> str:
    pick = rng.randrange(4 if depth < 3 else 2)
    if pick == 0:
        return rng.choice(NUMBERS)
    if pick == 1:
        characters = 'aé€😀\n\x00\x1f\x7f\u2028"\\/\ud800\udc00\ufeff'
        return json.dumps("".join(rng.choices(characters, k=rng.randrange(6))), ensure_ascii=rng.random() < 0.7)
    if pick == 2:
        return "[" + ",".join(_any(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    keys = ["a", "b", "0", "7", "10", "01", "-1", "4294967294", "4294967295", "__proto__", "type", "", "é", "1.5", "²"]
    return (
        "{" + ",".join(f"{json.dumps(rng.choice(keys))}:{_any(rng, depth + 1)}" for _ in range(rng.randrange(5))) + "}"
    )


def _odd_size(rng: random.Random, fields: Fields) -> None:
    """Exactly 8,192 UTF-16 units, or one more or less, of characters that take one to six bytes."""
    character, units = rng.choice((("x", 1), ("é", 1), ("€", 1), ("😀", 2), ("\x01", 6), ("\\", 2), ("\ud800", 6)))
    _set(fields, "content", '{"type":"post","text":""}')
    try:
        bare = len(encode(parse(object_text([*fields, ("signature", json.dumps("x" * 100))]))))
    except MessageInvalid:
        return
    room = 8192 + rng.choice((-1, 0, 0, 1, 2)) - bare
    text = character * (room // units) + "y" * (room % units)
    _set(fields, "content", f'{{"type":"post","text":{json.dumps(text)}}}')


def _odd_order(rng: random.Random, fields: Fields) -> None:
    pick = rng.randrange(7)
    if pick < 3:
        fields[1], fields[2] = fields[2], fields[1]
    elif pick == 3:
        rng.shuffle(fields)
    elif pick == 4:
        del fields[rng.randrange(len(fields))]
    elif pick == 5:
        fields.insert(
            rng.randrange(len(fields) + 1), (rng.choice(("0", "extra", "__proto__", "signature", "toJSON")), "1")
        )
    else:
        fields.insert(rng.randrange(len(fields) + 1), rng.choice(fields))


CHANGES: list[Callable[[random.Random, Fields], None]] = [
    _odd_sequence,
    _odd_previous,
    lambda rng, fields: _set(fields, "timestamp", rng.choice(TIMESTAMPS)),
    lambda rng, fields: _set(fields, "hash", rng.choice(HASHES)),
    _odd_author,
    _odd_content,
    _odd_content,
    _odd_content,
    _odd_size,
    _odd_order,
]


def normal_raw(raw: bytes) -> bytes:
    """JSON.stringify(JSON.parse(raw))."""
    return compact(parse(raw))
