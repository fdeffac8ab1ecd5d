"""A process of the test of the gateway's secret: it makes or reads the secret, and writes its digest."""

from __future__ import annotations

import hashlib
import sys

from streamkit.gateway.config import read_config

if __name__ == "__main__":
    print(
        f"secret {hashlib.sha256(read_config(None, {}, database=sys.argv[1]).secret.read()).hexdigest()} end",
        flush=True,
    )
