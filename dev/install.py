"""Makes .venv from the hash-pinned lock: what `make install` runs. Needs only the standard library.

Doing it again costs nothing until a lock or a project file changes: the stamp holds their digest.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed"
LOCK = ROOT / "requirements" / "dev.txt"
INPUTS = (LOCK, ROOT / "pyproject.toml", ROOT / "trainer-image" / "pyproject.toml", Path(__file__))
MINIMUM = (3, 11)


def wanted_stamp() -> str:
    """Digest of what the environment is made from, and of the Python it is made with."""
    digest = hashlib.sha256(f"{sys.version}\n{VENV}\n".encode())
    for path in INPUTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def create_venv() -> None:
    """A virtual environment with pip, or a message that says what the machine lacks."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            "install: this Python makes no environments, its venv or ensurepip module is missing."
            f" On Debian and Ubuntu: apt-get install python3-venv (or python{version}-venv);"
            " then run make again."
        )
    if usable():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)


def usable() -> bool:
    """Whether .venv is a whole environment of this very Python, not what an interruption left."""
    probe = [str(VENV / "bin" / "python"), "-c", "import sys, pip; print(sys.version)"]
    try:
        answer = subprocess.run(probe, check=False, capture_output=True, text=True)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == sys.version.strip()


def install() -> None:
    """Third-party packages by hash, then our two projects in place and nothing they ask for."""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    quiet = ["--quiet", "--no-input", "--root-user-action=ignore"]
    subprocess.run([*pip, "install", *quiet, "--require-hashes", "-r", str(LOCK)], check=True)
    editable = ["-e", str(ROOT / "trainer-image"), "-e", str(ROOT)]
    subprocess.run(
        [*pip, "install", *quiet, "--no-deps", "--no-build-isolation", *editable], check=True
    )
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    if sys.version_info < MINIMUM:
        have = ".".join(str(part) for part in sys.version_info[:3])
        sys.exit(
            f"install: Python 3.11 or newer is needed, this is {have}."
            " Name another one: make PYTHON=python3.11 install"
        )
    stamp = wanted_stamp()
    if STAMP.exists() and STAMP.read_text() == stamp:
        return
    print("install: .venv from requirements/dev.txt", flush=True)
    try:
        STAMP.unlink(missing_ok=True)
        create_venv()
        install()
    except subprocess.CalledProcessError as error:
        sys.exit(f"install: {error} Its output is above; mend that, then run make install again.")
    STAMP.write_text(stamp)


if __name__ == "__main__":
    main()
