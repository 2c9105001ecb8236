"""As much of curl as our printed snippets use, for machines that have none: `-i`, `-H`, `-d` and an address."""

import argparse
import sys
import urllib.error
import urllib.request
from http.client import HTTPResponse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    asked = parser.parse_args()
    headers = dict(line.split(": ", 1) for line in asked.H)
    request = urllib.request.Request(asked.address, asked.d.encode() if asked.d else None, headers)
    try:
        answer: HTTPResponse | urllib.error.HTTPError = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    if asked.i:
        print(
            f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{k}: {v}" for k, v in answer.headers.items()), "", sep="\n"
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.read())


def install(folder: Path) -> None:
    """As `curl` in that folder, which must not be there yet."""
    folder.mkdir()
    program = folder / "curl"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    program.chmod(0o755)


if __name__ == "__main__":
    main()
