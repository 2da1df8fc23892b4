"""Certificates: a node's, signed by itself, as an operator would lay it down, and those of a carrier's authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Signed:
    """A certificate and its key. Good for an hour, or no more for as long."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> bytes:
        """PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def private(self) -> bytes:
        """PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def signs(self, host: str, *, expired: bool = False) -> Signed:
        """A certificate for a host."""
        return _made(host, self, expired=expired)


def signed_by_itself(name: str) -> Signed:
    """An authority, or a host that nobody vouches for."""
    return _made(name, None)


def _made(name: str, by: Signed | None, *, expired: bool = False) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = datetime.now(UTC) + timedelta(hours=-1 if expired else 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(hours=2))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if name == HOST:
        address = x509.IPAddress(ip_address(HOST))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return Signed(builder.sign(by.key if by is not None else key, hashes.SHA256()), key)


def lay_down(folder: Path) -> Path:
    """agent.pem, cafile.pem and wss.pem for 127.0.0.1; the file that a client has to trust."""
    made = signed_by_itself(HOST)
    for name_of_file in ("agent.pem", "wss.pem"):
        (folder / name_of_file).write_bytes(made.public + made.private)
    trusted = folder / "cafile.pem"
    trusted.write_bytes(made.public)
    return trusted
