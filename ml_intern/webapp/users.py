"""Who may log in: a file of names and salted scrypt hashes, and the signed word that a browser keeps."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ml_intern.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
"""A user's name is the name of a folder, too; capitals and small letters are one."""
SHORTEST = 8
LOGGED_IN_S = 7 * 24 * 3600.0
"""How long a login holds."""
# OWASP's password storage page: N=2^14 with r=8 takes p=5 at the least; 16 MiB.
_N, _R, _P = 2**14, 8, 5
_DUMMY = "0" * 32 + "$" + "0" * 128


def password_hash(password: str, salt: bytes | None = None) -> str:
    """``salt$hash``, both in hexadecimal digits."""
    salt = salt or secrets.token_bytes(16)
    made = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=64)
    return f"{salt.hex()}${made.hex()}"


class Users:
    """The users file; it is read anew when it has changed, so that a new user need not wait for a restart.

    Args:
        file: Lines ``name:salt$hash``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._read_at: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}

    def names(self) -> list[str]:
        """All users."""
        return list(self._all())

    def add(self, name: str, password: str) -> None:
        """Add a user, or give one another password; that ends the logins with the old one.

        Raises:
            UsageError: The name or the password will not do.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a user.", "Take letters, digits, - and _, at most 39.")
        if len(password) < SHORTEST:
            raise UsageError(f"The password has fewer than {SHORTEST} characters.", "Take a longer one.")
        with self._lock:
            known = self._load() if self.file.exists() else {}
            known[name.lower()] = password_hash(password)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.file.with_name(self.file.name + ".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                out.writelines(f"{who}:{hashed}\n" for who, hashed in known.items())
            fresh.replace(self.file)

    def right(self, name: str, password: str) -> bool:
        """Whether the password is the user's; an unknown name takes the same time."""
        known = self._all().get(name.lower())
        hashed = known or _DUMMY
        given = password_hash(password[:1024], bytes.fromhex(hashed.partition("$")[0]))
        return hmac.compare_digest(given, hashed) and known is not None

    def hashed(self, name: str) -> str | None:
        """What is kept of a user; None where there is none of that name."""
        return self._all().get(name)

    def _all(self) -> dict[str, str]:
        with self._lock:
            try:
                found = self.file.stat()
            except OSError:
                return {}
            if self._read_at != (found.st_mtime_ns, found.st_ino):
                self._hashes, self._read_at = self._load(), (found.st_mtime_ns, found.st_ino)
            return self._hashes

    def _load(self) -> dict[str, str]:
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The users file {self.file} cannot be read: {error}.") from None
        found = {}
        for number, line in enumerate(lines, 1):
            name, _, hashed = line.strip().partition(":")
            if not name or name.startswith("#"):
                continue
            if not NAME.fullmatch(name) or not re.fullmatch(r"[0-9a-f]{32}\$[0-9a-f]{128}", hashed):
                raise UsageError(
                    f"Line {number} of the users file {self.file} is not understood.",
                    "ml-intern web --add-user NAME writes one.",
                )
            found[name.lower()] = hashed
        return found


@dataclass
class _Failures:
    count: int
    last: float


class Pace:
    """Slows guessing down: after a few failures a name, or an address, waits longer and longer."""

    FREE = 3
    LONGEST_S = 300.0
    MOST = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[str, _Failures] = {}

    def wait_s(self, *keys: str) -> float:
        """Seconds until the next try is looked at; 0: now."""
        with self._lock:
            return max((self._left(key) for key in keys), default=0.0)

    def failed(self, *keys: str) -> None:
        """A try was wrong."""
        with self._lock:
            for key in keys:
                known = self._failures.pop(key, _Failures(0, 0.0))
                self._failures[key] = _Failures(known.count + 1, time.monotonic())
            while len(self._failures) > self.MOST:
                self._failures.pop(next(iter(self._failures)))

    def passed(self, *keys: str) -> None:
        """A try was right."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _left(self, key: str) -> float:
        known = self._failures.get(key)
        if known is None or known.count < self.FREE:
            return 0.0
        pause = min(self.LONGEST_S, 2.0 ** (known.count - self.FREE))
        return max(0.0, known.last + pause - time.monotonic())


class Tickets:
    """The signed words that browsers keep; they hold over a restart of the server.

    Args:
        file: Of the key that signs; made where there is none.
        users: A changed password ends the tickets that were given with the old one.
    """

    def __init__(self, file: Path, users: Users) -> None:
        self._key = _key(file)
        self._users = users

    def give(self, name: str) -> str:
        """A ticket for a user who has shown the password."""
        said = json.dumps([name.lower(), time.time() + LOGGED_IN_S]).encode().hex()
        return f"{said}.{self._sign(said, name.lower())}"

    def name(self, ticket: str) -> str | None:
        """Whose ticket it is; None where it is none, is over, or the user is gone."""
        said, _, signed = ticket.partition(".")
        try:
            name, until = json.loads(bytes.fromhex(said))
            good = hmac.compare_digest(signed, self._sign(said, name)) and until > time.time()
        except (ValueError, TypeError, AttributeError):
            return None
        return name if good and self._users.hashed(name) else None

    def _sign(self, said: str, name: str) -> str:
        hashed = self._users.hashed(name) or ""
        return hmac.new(self._key, f"{said}.{hashed}".encode(), hashlib.sha256).hexdigest()


def _key(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        pass
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()
    with os.fdopen(handle, "wb") as out:
        out.write(secrets.token_bytes(32))
    return file.read_bytes()
