"""What a command exits with, and what is said of an error besides its own sentence."""

from __future__ import annotations

import errno

from ssb_rtc import errors

DONE, NEGATIVE, USAGE, NO_PEER, ENVIRONMENT = range(5)


def exit_code_of(error: errors.SsbRtcError) -> int:
    """What a failed command exits with. An error that a peer answered with counts as what it was there."""
    if isinstance(error, errors.RemoteCallError):
        was = getattr(errors, error.name, None)
        if isinstance(was, type) and was is not errors.RemoteCallError and issubclass(was, errors.SsbRtcError):
            return exit_code_of(was(str(error)))
    match error:
        case errors.NoPeerRuns():
            return NO_PEER
        case errors.ConfigFault() | errors.MisuseError():
            return USAGE
        case errors.StorageFault() | errors.ListenFailed():
            return ENVIRONMENT
        case _:
            return NEGATIVE


def advice_on(error: errors.SsbRtcError) -> str:
    """What to do about an error that knows nothing of commands, in brackets; or nothing where it says that itself."""
    match error:
        case errors.LinkClosed():
            return " (the peer that answered this has ended: `ssb-rtc start` runs it again)"
        case errors.RemoteCallError() if "is not in list of" in str(error):
            return " (the running peer may be of another version: end it, and start it again)"
        case _:
            return ""


def advice_on_files(error: OSError) -> str:
    """What to do about an output that can't be written, or an input that can't be read."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room, or write somewhere else"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "check who may read and write there, or name another file"
    return "check the file or the disk, and try again"
