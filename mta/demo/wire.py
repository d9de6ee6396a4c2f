"""The octets of one SMTP connection on the receiving side: lines, contents, replies, and the step to TLS.

What they mean is left to the dialogue.
"""

import asyncio
import ssl

LINE_LIMIT = 2048  # octets; 512 (RFC 5321 §4.5.3.1.4) and room for what SIZE, DSN and SMTPUTF8 add

_CHUNK = 65536  # octets read at once
_IDLE_SECONDS = 300.0  # RFC 5321 §4.5.3.2.7
_CONTENT_END = b"\r\n.\r\n"


class Wire:
    """One connection. Reading raises EOFError when the client has left, TimeoutError when it is silent too long."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()
        host, port, *_ = writer.get_extra_info("peername") or ("unknown", 0)
        self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def waiting(self) -> bool:
        """Whether octets are here that nobody has asked for yet."""
        return bool(self._buffer)

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3` and the like; None in clear."""
        connection: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return None if connection is None else connection.version()

    async def line(self) -> bytes:
        """One line with the LF that ends it; of one over LINE_LIMIT a part, which is over it too."""
        head = b""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_LIMIT:
                head = head or bytes(self._buffer[:LINE_LIMIT])
                self._buffer.clear()
            await self._fill()
        line = head + self._buffer[: end + 1]
        del self._buffer[: end + 1]
        return line

    async def content(self, limit: int) -> bytes | None:
        """What comes before CRLF.CRLF, dot-stuffing undone (RFC 5321 §4.5.2); None when it has over `limit` octets."""
        stuffed, too_big = bytearray(b"\r\n"), False
        while True:
            searched = max(0, len(stuffed) - len(_CONTENT_END) + 1)
            stuffed += self._buffer
            self._buffer.clear()
            if (end := stuffed.find(_CONTENT_END, searched)) >= 0:
                break
            if len(stuffed) > 2 * limit + _CHUNK:  # dot-stuffing can double it at most
                too_big = True
                del stuffed[: 1 - len(_CONTENT_END)]
            await self._fill()
        self._buffer += stuffed[end + len(_CONTENT_END) :]
        content = bytes(stuffed[2 : end + 2]) if too_big else bytes(stuffed[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        return None if too_big or len(content) > limit else content

    async def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._writer.write(octets)
        async with asyncio.timeout(_IDLE_SECONDS):
            await self._writer.drain()

    async def discard(self) -> None:
        """Read and forget until the client hangs up."""
        while True:
            self._buffer.clear()
            await self._fill()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands; OSError when that fails."""
        await self._writer.start_tls(context, ssl_handshake_timeout=_IDLE_SECONDS)

    async def _fill(self) -> None:
        async with asyncio.timeout(_IDLE_SECONDS):
            chunk = await self._reader.read(_CHUNK)
        if not chunk:
            raise EOFError
        self._buffer += chunk
