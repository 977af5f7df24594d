"""Every error that this package raises on purpose, in one tree.

    SsbRtcError
    ├── MisuseError             the caller's own mistake: a wrong argument, a call at the wrong time
    ├── RemoteFault             the other side broke the protocol; its connection ends, the process never does
    │   ├── HandshakeRefused    the secret handshake failed: wrong network, wrong key, tampered packet, or refused
    │   ├── FrameInvalid        bytes that no rule of the protocol allows, or more of them than its limit
    │   ├── SignalInvalid       a signalling message that is not one
    │   ├── MessageInvalid      a feed message that fails validation; `.reason` says why
    │   ├── BlobInvalid         bytes that are not the blob they were said to be, or more of them than announced
    │   └── RemoteCallError     the remote answered a call with an error
    ├── TransportFault          the way there is broken, nobody's protocol is
    │   ├── ConnectFailed       no connection came about, or it took too long
    │   ├── ListenFailed        the address could not be listened on
    │   └── LinkClosed          the link ended while something was still in flight on it
    ├── StorageFault            the disk
    │   ├── DatabaseCorrupt     the file is there and is not a whole database; nothing was overwritten
    │   ├── DatabaseLocked      another process holds it
    │   ├── DatabaseUnusable    it can't be read, written or understood (permissions, disk full, a newer schema)
    │   ├── BlobsFull           the quota is used up by blobs that are never removed without a word
    │   ├── IdentityExists      there is a secret already
    │   └── IdentityMissing     there is no secret yet
    ├── BlobMissing             the blob is not here
    ├── AuthorFault             we may not write to our own feed now (forked, or frozen until it is known to be whole)
    ├── ConfigFault             a setting has no meaning; `str()` names it and what it takes
    └── NoPeerRuns              the command needs a running peer

Foreign exceptions are translated into these where they enter. `str(error)` is a sentence for a person and says,
where there is one, what to do next.
"""

from __future__ import annotations


class SsbRtcError(Exception):
    """The root: catch this to catch all that this package raises on purpose."""


class MisuseError(SsbRtcError):
    """The caller's own mistake."""


class RemoteFault(SsbRtcError):
    """The other side broke the protocol."""


class HandshakeRefused(RemoteFault):
    """The secret handshake failed; whoever is there is not whom we wanted, or does not want us."""


class FrameInvalid(RemoteFault):
    """Bytes that no rule of the protocol allows."""


class SignalInvalid(RemoteFault):
    """A signalling message that is not one."""


class MessageInvalid(RemoteFault):
    """A feed message that fails validation."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlobInvalid(RemoteFault):
    """Bytes that are not the blob they were said to be."""


class RemoteCallError(RemoteFault):
    """The remote answered a call with `{name, message, stack}`."""

    def __init__(self, message: str, *, name: str = "Error", stack: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.stack = stack


class TransportFault(SsbRtcError):
    """The way there is broken."""


class ConnectFailed(TransportFault):
    """No connection came about."""


class ListenFailed(TransportFault):
    """The address could not be listened on."""


class LinkClosed(TransportFault):
    """The link ended while something was still in flight on it."""


class StorageFault(SsbRtcError):
    """The disk."""


class DatabaseCorrupt(StorageFault):
    """The file is there and is not a whole database."""


class DatabaseLocked(StorageFault):
    """Another process holds the database."""


class DatabaseUnusable(StorageFault):
    """The database can't be read, written or understood."""


class BlobsFull(StorageFault):
    """The quota of blobs is used up."""


class IdentityExists(StorageFault):
    """There is a secret already, and it is never overwritten."""


class IdentityMissing(StorageFault):
    """There is no secret yet."""


class BlobMissing(SsbRtcError):
    """The blob is not here."""


class AuthorFault(SsbRtcError):
    """We may not write to our own feed now."""


class ConfigFault(SsbRtcError):
    """A setting has no meaning."""


class NoPeerRuns(SsbRtcError):
    """The command needs a running peer."""
