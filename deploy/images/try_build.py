"""Build the images without Docker and without a registry: `python -m deploy.images.try_build [service] [job]`.

Each Dockerfile is built as it is by buildah, its RUN steps in a chroot. Only the base image is another: no registry is
asked for it, so one of the same release is made of Debian's packages by mmdebstrap. Then commands are run in each.
It needs root, Debian's packages buildah and mmdebstrap, some minutes, and 10 GB beside the given folder.

Where the network has certificates of its own, `--certificates FOLDER` puts them into the base image.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = ("buildah", "mmdebstrap")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_VERIFY = ("PIP_CERT", "REQUESTS_CA_BUNDLE")
CHECKS = {
    "service": (
        ("reweigh", "--help"),
        (
            "python",
            "-c",
            "import recsvc.app, reweigh.archive.run, reweigh.train.run, reweigh.verify.run, reweigh.follow",
        ),
        ("sh", "-c", "mkdir /tmp/metrics && PROMETHEUS_MULTIPROC_DIR=/tmp/metrics python -c 'import recsvc.wsgi'"),
        ("sh", "-c", "test $(id -u) = 10001 && ! touch /opt/reweigh/x"),
        ("sh", "-c", "touch /tmp/alive && healthcheck /tmp/alive 60"),
    ),
    "job": (
        ("flink", "--version"),
        ("python", "-c", "import pyflink.table, flink_jobs.profile_job, zkconfig.watcher"),
        ("sh", "-c", "ls $FLINK_HOME/lib/flink-sql-connector-kafka-*.jar $FLINK_HOME/lib/flink-python-*.jar"),
        ("sh", "-c", "test $(id -u) = 9999 && ! touch /opt/flink/x && touch /state/x /scratch/x"),
        ("sh", "-c", "touch /tmp/alive && healthcheck /tmp/alive 60"),
    ),
}
"""What each image must be able to do, without any server."""


class Builder:
    """buildah with a storage of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._command = ("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"))

    def __call__(self, *arguments: str) -> str:
        """Run it, its errors on the terminal, and give its output. Raises `CalledProcessError`."""
        environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run(
            (*self._command, *arguments), stdout=subprocess.PIPE, text=True, env=environment, check=True
        )
        return done.stdout.strip()

    def make_base(self, image: str, archive: Path, certificates: Path | None) -> None:
        """Make the image `image` of Debian's packages."""
        if not archive.exists():
            release = image.partition(":")[2].split("-")[0]
            packages = "--include=ca-certificates" if certificates else "--include=base-files"
            subprocess.run(("mmdebstrap", "--variant=minbase", packages, release, str(archive)), check=True)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(archive), "/")
        if certificates:
            self("copy", "--quiet", container, str(certificates), "/usr/local/share/ca-certificates")
            self("run", container, "--", "update-ca-certificates")
            for name in _VERIFY:
                self("config", "--env", f"{name}={CERTIFICATES}", container)
        self("commit", "--quiet", container, f"docker.io/library/{image}")
        self("rm", container)

    def build(self, name: str) -> str:
        """Build an image and give its name."""
        image = f"reweigh-{name}:try"
        file = CHECKOUT / "deploy" / "images" / name / "Dockerfile"
        self(
            "build",
            "--pull-never",
            "--format=docker",
            "--layers=false",
            "--file",
            str(file),
            "--tag",
            image,
            str(CHECKOUT),
        )
        return image

    def check(self, name: str, image: str) -> None:
        """Run the commands of `CHECKS` in a container, as the image's user."""
        container = self("from", "--pull-never", image)
        for command in CHECKS[name]:
            self("run", container, "--", *command)
            print(f"  ok  {' '.join(command)[:100]}", flush=True)
        root = Path(self("mount", container))
        size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        print(f"  {size / 1e6:,.0f} MB in files", flush=True)
        self("umount", container)
        self("rm", container)


def base_image() -> str:
    """Give the base image that all Dockerfiles name."""
    files = (CHECKOUT / "deploy" / "images" / name / "Dockerfile" for name in CHECKS)
    (image,) = {found for file in files for found in re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)}
    return str(image)


def main() -> int:
    """Build and check what is named, by default everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", choices=(*CHECKS, []), metavar="IMAGE", help="service, job; default: both")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".local" / "images", help="for everything it writes")
    parser.add_argument("--certificates", type=Path, metavar="FOLDER", help="further certificates (.crt) to trust")
    options = parser.parse_args()
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        print(f"{' and '.join(missing)} missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    builder = Builder(folder)
    try:
        builder.make_base(base_image(), folder / "base.tar", options.certificates)
        for name in options.images or CHECKS:
            began = time.monotonic()
            image = builder.build(name)
            print(f"{image} built in {time.monotonic() - began:.0f} s", flush=True)
            builder.check(name, image)
    except subprocess.CalledProcessError as error:
        print(f"failed with status {error.returncode}: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
