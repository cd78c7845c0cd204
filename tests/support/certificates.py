"""Certificates for servers and clients on loopback."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority, for servers of tests only."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(
            self._name, self._key, (x509.BasicConstraints(ca=True, path_length=0), True)
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, folder: Path) -> None:
        """Write server.crt and server.key for ``name`` into ``folder``."""
        key = ec.generate_private_key(ec.SECP256R1())
        is_address = name.replace(".", "").isdigit()
        shown = x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name)
        names = x509.SubjectAlternativeName([shown])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        certificate = self._sign(subject, key, (names, False))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def serving(self, name: str, folder: Path) -> ssl.SSLContext:
        """A server's TLS context, with a certificate for ``name`` whose files are in ``folder``."""
        self.issue(name, folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: tuple[x509.ExtensionType, bool],
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        day, years = datetime.timedelta(days=1), datetime.timedelta(days=1500)  # for other clocks
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + years)
        return builder.add_extension(*extension).sign(self._key, hashes.SHA256())
