"""A headless Chromium, driven through a pipe by its own protocol: no driver, no port, no package besides.

It is the one that is installed, else Debian's (or Ubuntu's), unpacked into the cache: apt checks the signatures, and
nothing is installed. https://chromedevtools.github.io/devtools-protocol/ says what the commands are.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.home import cache_folder

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
_INSTALLED = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_SECONDS = 600


@dataclass
class Page:
    """One tab. ``said`` is what went wrong in it: exceptions, console errors, what its policy has refused."""

    read: int
    write: int
    session: str = ""
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Every address that it has asked for."""
    _number: int = 0
    _rest: bytes = b""

    def do(self, method: str, **parameters: Any) -> Any:
        """Carry out one command of the protocol and give its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str) -> Any:
        """Give the value of an expression in the page."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true in the page."""
        until = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < until, (
                f"not within {seconds:g} s: {expression}; {self.value('document.body.innerText')}"
            )
            time.sleep(0.05)

    def show_as(self, width: int, height: int, scheme: str) -> None:
        """Have a window of that size (CSS pixels), and a viewer who prefers ``light`` or ``dark``."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self) -> bytes:
        """Give what the window shows as PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self.read, 1 << 20)
            assert more, "Chromium has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.said.append(json.dumps(parameters["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded":
            self.said.append(parameters["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])
        return message


@contextmanager
def opened() -> Iterator[Page]:
    """Run a browser with one empty tab."""
    program, environment = chromium()
    to_read, to_write = os.pipe(), os.pipe()
    # The browser reads commands from 3 and writes answers to 4, which the shell puts there.
    command = f'exec 3<&{to_write[0]} 4>&{to_read[1]}; exec "$0" "$@"'
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        arguments = ["bash", "-c", command, program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        env = {**os.environ, "HOME": profile, **environment}
        with subprocess.Popen(
            arguments, pass_fds=(to_write[0], to_read[1]), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            os.close(to_write[0])
            os.close(to_read[1])
            page = Page(to_read[0], to_write[1])
            try:
                target = page.do("Target.createTarget", url="about:blank")["targetId"]
                page.session = page.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
                for domain in ("Page", "Runtime", "Log", "Network"):
                    page.do(f"{domain}.enable")
                yield page
            finally:
                os.close(to_write[1])  # which ends it
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                os.close(to_read[0])


def chromium() -> tuple[str, dict[str, str]]:
    """Give the program and what it needs in its environment."""
    chosen = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _INSTALLED)), None)
    if chosen:
        return chosen, {}
    root = _unpacked()
    libraries = root / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    fonts = root / "fonts.conf"
    return str(root / "usr/lib/chromium/chromium-headless-shell"), {
        "LD_LIBRARY_PATH": f"{libraries}:{libraries}/pulseaudio",
        "FONTCONFIG_FILE": str(fonts),
    }


def _unpacked() -> Path:
    target = cache_folder() / "chromium"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=".fetching-chromium-", dir=target.parent) as scratch:
                _unpack(Path(scratch)).rename(target)
    return target


def _unpack(scratch: Path) -> Path:
    """Download the packages and those that they need and this system has not, and unpack them."""
    root, archives = scratch / "root", scratch / "cache" / "archives"
    for folder in (root, archives / "partial", scratch / "lists" / "partial"):
        folder.mkdir(parents=True)
    options = (
        f"-oDir::State={scratch}",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oDir::Cache={scratch / 'cache'}",
        "-oAPT::Sandbox::User=root",
        "-oDebug::NoLocking=1",
    )
    _run(("apt-get", *options, "update"))
    _run(("apt-get", *options, "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES))
    for package in sorted(archives.glob("*.deb")):
        _run(("dpkg-deb", "-x", str(package), str(root)))
    final = cache_folder() / "chromium"
    folders = "".join(f"<dir>{each}</dir>" for each in (final / "usr/share/fonts", "/usr/share/fonts"))
    names = {"sans-serif": "DejaVu Sans", "system-ui": "DejaVu Sans", "monospace": "DejaVu Sans Mono"}
    alias = "<alias><family>{}</family><prefer><family>{}</family></prefer></alias>"
    fonts = "".join(alias.format(*each) for each in names.items())
    (root / "fonts.conf").write_text(
        f'<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>{folders}{fonts}'
        f"<cachedir>{final}/font-cache</cachedir></fontconfig>"
    )
    return root


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert done.returncode == 0, (
        "no Chromium: install one (the command chromium), or name it (CHROMIUM), where Debian's packages can't be had: "
        f"{' '.join(command)}\n{(done.stdout + done.stderr)[-1500:]}"
    )
