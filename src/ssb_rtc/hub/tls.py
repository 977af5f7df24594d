"""The hub's certificate."""

from __future__ import annotations

import ssl

from ssb_rtc.errors import ConfigFault


def server_tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """What a hub speaks TLS with, from files in PEM; None where neither is given. Raises ConfigFault."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigFault("TLS takes both --tls-cert FILE and --tls-key FILE")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigFault(
            f"can't use the certificate {certificate} with the key {key}: {error}; both are files in PEM"
        ) from None
    return context
