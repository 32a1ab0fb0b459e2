"""Makes url_spellings.json: what real versions of url-normalize make of URLs.

    for v in 1.3.3 1.4.3 2.0.1 2.2.1 3.0.1 3.1.0
    do pip install --target $v url-normalize==$v idna==3.6 six future
    done
    python make_url_spellings.py 1.3.3 1.4.3 2.0.1 2.2.1 3.0.1 3.1.0 < urls > url_spellings.json

One URL a line, as a JSON string. The steps of the thesis's programs after url-normalize
are not in it. idna 3.6 still maps `ß` to `ss` if it is asked to, as versions 2 do.
"""

from __future__ import annotations

import json
import subprocess
import sys

ONE_VERSION = """
import json, sys
sys.path.insert(0, sys.argv[1])
from url_normalize import url_normalize
for line in sys.stdin:
    try:
        made = url_normalize(json.loads(line))
    except Exception:
        made = None
    print(json.dumps(made))
"""


def main() -> None:
    """Run each version in a process of its own."""
    lines = sys.stdin.read()
    made = {}
    for folder in sys.argv[1:]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ONE_VERSION, folder],
            input=lines,
            capture_output=True,
            text=True,
            check=True,
        )
        made[folder] = [json.loads(line) for line in done.stdout.splitlines()]
    urls = [json.loads(line) for line in lines.splitlines()]
    rows = (
        {"url": url, **dict(zip(made, values, strict=True))}
        for url, *values in zip(urls, *made.values(), strict=True)
    )
    print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")


if __name__ == "__main__":
    main()
