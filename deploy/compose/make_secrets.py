"""Make the secrets that docker-compose.yml mounts: `python3 -m deploy.compose.make_secrets [FOLDER]`.

Without a folder they go where `REWEIGH_SECRETS` says, as in docker-compose.yml, else into `.local/secrets`. Standard
library only. What is there stays as it is: to replace a secret, remove its file, or write one's own. The folder is for
its owner alone; the files in it can be read by all, since the containers' users have other numbers.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(".local") / "secrets"
SINGLE = ("redis_password", "config_api_key", "rabbitmq_password", "grafana_password")


def make_secrets(folder: Path) -> list[str]:
    """Write the files that there are not, and give their names."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = [name for name in SINGLE if _write(folder / name, secrets.token_urlsafe(32))]
    redis, rabbitmq = ((folder / f"{name}_password").read_text().strip() for name in ("redis", "rabbitmq"))
    derived = {
        # With the user: without one redis-cli, which the health check runs, would log in as a user without a name.
        "redis_url": f"redis://default:{redis}@redis:6379/0",
        "redis_users": f"user default on >{redis} ~* &* +@all",
        "rabbitmq_user": f"default_user = reweigh\ndefault_pass = {rabbitmq}",
    }
    return made + [name for name, text in derived.items() if _write(folder / name, text)]


def _write(file: Path, text: str) -> bool:
    if file.exists():
        return False
    file.write_text(text + "\n")
    file.chmod(0o444)
    return True


def main(arguments: list[str]) -> int:
    """Make them and tell the names of those that are new."""
    parser = argparse.ArgumentParser(
        prog="make_secrets", description="Make the secrets that docker-compose.yml mounts."
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(os.environ.get("REWEIGH_SECRETS") or FOLDER),
        help=f"default: REWEIGH_SECRETS, else {FOLDER}",
    )
    folder = parser.parse_args(arguments).folder
    try:
        made = make_secrets(folder)
    except OSError as exc:
        parser.error(f"{exc.filename or folder}: {exc.strerror}")
    print(f"{folder}: " + (", ".join(made) if made else "all were there"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
