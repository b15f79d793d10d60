"""Toxiproxy between Redis and who uses it; built with ``go install`` into the cache at first use."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local import Stack
from deploy.local.home import cache_folder
from deploy.local.ports import HOST, free_port
from deploy.local.supervision import Program, start_held
from faults.errors import NotPossibleHere
from faults.patience import wait_until

VERSION = "v2.12.0"
_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
_BUILD_SECONDS = 600


def executable() -> Path:
    """Return toxiproxy's server: the installed one, the one in the cache, or else one built now.

    Raises:
        NotPossibleHere: It is not installed and can't be built.
    """
    installed = shutil.which("toxiproxy-server")
    if installed:
        return Path(installed)
    folder = cache_folder() / f"toxiproxy-{VERSION}"
    program = folder / "server"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise NotPossibleHere("toxiproxy-server is not installed, and there is no go to build it with: install either")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        (go, "install", _MODULE),
        env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-p=1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
    )
    if done.returncode != 0 or not program.exists():
        raise NotPossibleHere(f"`go install {_MODULE}` failed; install toxiproxy-server. {done.stderr[-500:]}")
    return program


class Toxiproxy:
    """A running proxy server: ``proxies`` gives for each name the port it listens on and the port behind it."""

    def __init__(self, proxies: Mapping[str, tuple[int, int]], log: Path) -> None:
        self._proxies, self._log = proxies, log
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        argv = (str(executable()), "-host", HOST, "-port", str(self._port))
        # It is no process of the stack, which would end it as one that was left over.
        program = Program(name="toxiproxy", argv=argv, env={"LOG_LEVEL": "warn"})
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = start_held(program, self._log)
        wait_until("toxiproxy answers", self._answers, 30)
        for name, (port, behind) in self._proxies.items():
            self._ask("POST", "/proxies", {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{behind}"})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    @contextmanager
    def toxic(self, proxy: str, kind: str, attributes: Mapping[str, int]) -> Iterator[None]:
        """Disturb what comes back through a proxy as long as the context lasts."""
        body = {"name": "fault", "type": kind, "stream": "downstream", "attributes": dict(attributes)}
        self._ask("POST", f"/proxies/{proxy}/toxics", body)
        try:
            yield
        finally:
            with suppress(OSError):  # it is gone when the whole run is being ended, which must not be hidden
                self._ask("DELETE", f"/proxies/{proxy}/toxics/fault")

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/version")
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, body: Any = None) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"toxiproxy answered {answer.status} to {method} {path}: {content!r}")


class ProxiedStack(Stack):
    """A stack in which everybody but the tests reaches Redis through a proxy."""

    def __init__(self, home: Path, *, environment: Mapping[str, str], tell: Any) -> None:
        self._seen, behind = free_port(), free_port()
        super().__init__(home, environment={**environment, "REWEIGH_REDIS_PORT": str(behind)}, tell=tell)
        log = home.with_name("toxiproxy.log")
        self.proxy = Toxiproxy({"redis": (self._seen, behind)}, log)

    def _base_env(self) -> dict[str, str]:
        """What every process is told, with the proxy in the place of Redis."""
        return {**super()._base_env(), "REDIS_URL": f"redis://{HOST}:{self._seen}/0"}

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.proxy.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.proxy.__exit__(kind, error, trace)
