"""Who may use the dashboard: tokens, which are good once, and the sessions that they are exchanged for. No I/O.

    token = keyring.new_token(now_s)             stands in the fragment of an address, which no browser sends anywhere
    opened = keyring.exchange(token, now_s)      -> a cookie's value and the word that each order must repeat
    session = keyring.session(cookie, now_s)     by the cookie of each request

Only hashes of tokens and cookies are kept, so a look-up by hash tells nothing by its time, and a copy of this memory
opens nothing.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ssb_rtc.signalhub.admission import TokenBucket

SECRET_BYTES: Final = 32
SECRET_CHARACTERS_MAX: Final = 128
"""Of what a client sends as a token or cookie; more is none."""
TOKENS_MAX: Final = 8
"""Addresses that were given out and not opened yet; the oldest goes first."""
TOKEN_LIFE_S: Final = 86_400.0
SESSIONS_MAX: Final = 16
"""Browsers (or profiles) at once; the one that was used least recently goes first."""
SESSION_IDLE_S: Final = 7 * 86_400.0
FAILURES_PER_MIN: Final = 6
FAILURES_BURST: Final = 10


@dataclass(slots=True)
class Session:
    """One browser that has exchanged a token."""

    csrf: str
    """The session's word, which each question and order repeats: pages of other origins can send our cookie along, and
    other ports of this machine are sent it, but neither can read this.
    """
    used_s: float

    def knows(self, csrf: str) -> bool:
        """Whether this is the session's word, compared in constant time."""
        return hmac.compare_digest(csrf.encode("utf-8", "replace"), self.csrf.encode())


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has just begun."""

    cookie: str
    csrf: str


class Keyring:
    """Tokens and sessions of one run of a peer. Nothing of it outlives the process."""

    def __init__(self, now_s: float) -> None:
        self._tokens: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._failures = TokenBucket(FAILURES_PER_MIN / 60, FAILURES_BURST, now_s)

    def new_token(self, now_s: float) -> str:
        """A token that is good once, for a day."""
        token = secrets.token_urlsafe(SECRET_BYTES)
        self._tokens[_digest(token)] = now_s
        if len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)
        return token

    def exchange(self, token: str, now_s: float) -> Opened | None:
        """A session for a token, which is used up by that; None where it is none, was used, or is too old."""
        made_s = self._tokens.pop(_digest(token), None)
        if made_s is None or now_s - made_s > TOKEN_LIFE_S:
            return None
        opened = Opened(secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES))
        self._sessions[_digest(opened.cookie)] = Session(opened.csrf, now_s)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return opened

    def may_fail(self, now_s: float) -> bool:
        """Whether one more failed exchange gets an answer that says why: beyond some a minute there is none."""
        return self._failures.take(now_s)

    def session(self, cookie: str | None, now_s: float) -> Session | None:
        """The session of a cookie, or None; counts as its use."""
        if cookie is None:
            return None
        key = _digest(cookie)
        session = self._sessions.get(key)
        if session is None:
            return None
        if now_s - session.used_s > SESSION_IDLE_S:
            del self._sessions[key]
            return None
        session.used_s = now_s
        self._sessions.move_to_end(key)
        return session


def _digest(secret: str) -> bytes:
    # Too long is hashed as nothing that was ever given out: no time is spent on it.
    return sha256(secret[: SECRET_CHARACTERS_MAX + 1].encode("utf-8", "replace")).digest()
