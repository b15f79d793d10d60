"""`reweigh features`: the features of everybody, into a file for training."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from reweigh.arguments import add_command, add_env
from reweigh.errors import need

_WHAT = """Write the features of every user and product with events (views, purchases, average time, those of the
category, the last interaction) to a Parquet file; `reweigh.features.Features` gives the same in Python."""


def add_feature_commands(subparsers: Any) -> None:
    """Describe it."""
    command = add_command(subparsers, "features", "write everybody's features to Parquet", features, _WHAT)
    command.add_argument("file", type=Path, metavar="FILE")
    add_env(command)


def features(options: argparse.Namespace) -> int:
    """`reweigh features`."""
    found, tqdm = need("reweigh.features", "data").Features, need("tqdm", "data").tqdm
    with closing(found.of_deployment(options.env)) as source, tqdm(unit=" users", unit_scale=True) as bar:
        rows, users = source.write(options.file, bar.update)
    print(f"{rows:,} rows of {users:,} users in {options.file}")
    return 0
