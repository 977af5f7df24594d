"""A certificate for 127.0.0.1 that only those trust who are told to."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ssb_rtc.transport.ws import WssTransport


def secure_transport(folder: Path) -> WssTransport:
    """A `wss` that serves with the certificate and trusts it."""
    chain, key = write_certificate(folder)
    return WssTransport((chain, key), trust=ssl.create_default_context(cafile=chain))


def write_certificate(folder: Path) -> tuple[str, str]:
    """The files of the certificate and its key, in `folder`."""
    chain, key = folder / "cert.pem", folder / "key.pem"
    certificate, private = _made()
    chain.write_bytes(certificate)
    key.write_bytes(private)
    return str(chain), str(key)


@functools.cache
def _made() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ssb-rtc test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
