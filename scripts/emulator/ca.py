"""A throw-away certificate authority: a certificate per host, and nothing outlives the emulator."""

import ssl
import threading
from pathlib import Path

import trustme


class CertificateAuthority:
    """Issues a certificate for any host name, on request; `file` is the root that clients are told to trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def context(self, host: str) -> ssl.SSLContext:
        """Return a server context whose certificate is for `host`; the same one every time."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(self._contexts[host])
            return self._contexts[host]
