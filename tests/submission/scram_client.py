"""The client's side of SCRAM-SHA-256, written from RFC 5802 alone: nothing of the server's code is in it."""

import base64
import hashlib
import hmac


class ScramClient:
    """Says what a client says; `header` is the gs2-header, `data` the channel binding's."""

    def __init__(
        self, login: str, password: str, header: str = "n,,", data: bytes = b"", nonce: str = "clientnonce"
    ) -> None:
        self._password = password
        self._header = header
        self._data = data
        self._nonce = nonce
        self._bare = f"n={login.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.salt = ""
        self._signature = ""

    def first(self) -> bytes:
        """Return client-first-message."""
        return (self._header + self._bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """Return client-final-message to a server-first-message."""
        text = challenge.decode()
        nonce, self.salt, iterations = (part[2:] for part in text.split(","))
        assert nonce.startswith(self._nonce)
        assert len(nonce) > len(self._nonce) + 20
        salt = base64.b64decode(self.salt)
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, int(iterations))
        without = f"c={base64.b64encode(self._header.encode() + self._data).decode()},r={nonce}"
        said = ",".join((self._bare, text, without)).encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._signature = base64.b64encode(
            hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        ).decode()
        return f"{without},p={proof}".encode()

    def believes(self, last: bytes) -> bool:
        """Return whether server-final-message proves that the server knows the verifier."""
        return last == f"v={self._signature}".encode()
