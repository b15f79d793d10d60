"""TLS before a server that has none itself: certificates by the JVM's keytool, and what ends TLS for the server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.java import java_home

_STORE_PASSWORD = "keystore"
_CLOSING_SECONDS = 0.5
"""So long the loop goes on, so that what it has been told to close, handshakes that failed among it, is closed."""
_SALT = 20
"""Bytes before and after what is protected: a salt, and a digest."""


@dataclass(frozen=True)
class Certificate:
    """PEM files: a key, and the certificate for 127.0.0.1 that it has signed itself."""

    key: Path
    certificate: Path


def make_certificate(folder: Path, name: str) -> Certificate:
    """Make one with the tool that every Java runtime has."""
    store, made = folder / f"{name}.jks", Certificate(folder / f"{name}.key", folder / f"{name}.pem")
    common = ("-keystore", str(store), "-storetype", "JKS", "-storepass", _STORE_PASSWORD, "-alias", name)
    key = ("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", f"CN={name}", "-validity", "30")
    _keytool(*key, "-keypass", _STORE_PASSWORD, "-ext", "san=ip:127.0.0.1", "-ext", "bc:c", *common)
    _keytool("-exportcert", "-rfc", "-file", str(made.certificate), *common)
    text = base64.encodebytes(_key_of(store.read_bytes())).decode()
    made.key.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
    return made


def _keytool(*arguments: str) -> None:
    command = (str(java_home() / "bin" / "keytool"), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _key_of(store: bytes) -> bytes:
    """Take the only key out of a JKS file: keytool itself never writes one in a form that others read.

    A JKS protects it by exclusive or with SHA-1 digests of the password and the digest before, at first the salt
    (`sun.security.provider.KeyProtector`).
    """
    alias = int.from_bytes(store[16:18], "big")
    at = 18 + alias + 8
    entry = store[at + 4 : at + 4 + int.from_bytes(store[at : at + 4], "big")]
    _, _, octets = entry.partition(b"\x05\x00\x04")  # the algorithm ends in NULL, an octet string follows
    protected = octets[1 if octets[0] < 0x80 else 1 + (octets[0] & 0x7F) :]
    digest, hidden = protected[:_SALT], protected[_SALT:-_SALT]
    plain = bytearray()
    password = _STORE_PASSWORD.encode("utf-16-be")
    for start in range(0, len(hidden), _SALT):
        digest = hashlib.sha1(password + digest).digest()  # noqa: S324
        plain += bytes(a ^ b for a, b in zip(hidden[start : start + _SALT], digest, strict=False))
    assert hashlib.sha1(password + plain).digest() == protected[-_SALT:]  # noqa: S324
    return bytes(plain)


@contextmanager
def tls_before(host: str, port: int, own: Certificate) -> Iterator[int]:
    """Listen with TLS on a port of 127.0.0.1, which is given, and pass on to a server in the clear."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.certificate, own.key)
    bound: Future[tuple[int, asyncio.AbstractEventLoop]] = Future()
    ending = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while part := await source.read(65_536):
                sink.write(part)
                await sink.drain()
        except OSError:
            pass  # either side may go
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        writers.extend((writer, back))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        bound.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop()))
        await ending.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(_CLOSING_SECONDS)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    number, loop = bound.result(60)
    try:
        yield number
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
