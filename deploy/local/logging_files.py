"""Log4j configuration for servers whose standard output the supervisor keeps and rotates."""

from __future__ import annotations

from pathlib import Path

from deploy.local.home import Home

_TO_CONSOLE = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c - %m%n
"""


def console_logging() -> str:
    """Return a Log4j 2 configuration that writes to standard output only."""
    return _TO_CONSOLE


def server_logging(home: Home) -> Path:
    """Return the file with that configuration, written if it is missing."""
    file = home.supervisor / "log4j2.properties"
    if not file.exists():
        file.write_text(console_logging())
    return file
