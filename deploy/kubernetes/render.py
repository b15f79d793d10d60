"""Render the overlays into `rendered/`: `python -m deploy.kubernetes.render`. It needs `kubectl` or `kustomize`.

The result is kept beside its sources, with their digest: so it can be read, compared and judged where neither program
is, and is seen to be out of date.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
OVERLAYS = ("development", "production")
_SOURCES = ("base", "components", "overlays")
_SECONDS = 120


def rendered_file(overlay: str) -> Path:
    """Give where an overlay's manifests are kept."""
    return FOLDER / "rendered" / f"{overlay}.yaml"


def header() -> str:
    """Give the first line of what is rendered from the sources as they are."""
    digest = hashlib.sha256()
    for file in sorted(path for source in _SOURCES for path in (FOLDER / source).rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(FOLDER).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return f"# Written by `python -m deploy.kubernetes.render`. Sources: sha256:{digest.hexdigest()}\n"


def render(overlay: str) -> str:
    """Give the manifests of an overlay. Raises `RuntimeError` when they can't be rendered."""
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if not (kubectl or kustomize):
        raise RuntimeError("neither kubectl nor kustomize is installed: one of them renders the manifests")
    command = (kubectl, "kustomize") if kubectl else (str(kustomize), "build")
    folder = FOLDER / "overlays" / overlay
    done = subprocess.run((*command, str(folder)), capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{folder} can't be rendered: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    """Render all of them."""
    for overlay in OVERLAYS:
        try:
            text = render(overlay)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        rendered_file(overlay).write_text(header() + text)
        print(rendered_file(overlay).relative_to(FOLDER.parents[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
