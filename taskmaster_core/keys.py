"""Keep the keys of remote access: a core's own and those it lets in; a client's own, and the cores it knows.

It decides where the files are, that they are nobody else's to read or write, and what is a key at all. `taskmaster
host` writes them, the core's remote door and the clients read them. Secrets are in files only: never in arguments, in
variables, or on the wire.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq

from taskmaster_core.access import ROLES, Role
from taskmaster_core.errors import Refused, UsageError

Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Pair(NamedTuple):
    """Hold a key: what may be told, and what may not."""

    public: str
    secret: str

    def __repr__(self) -> str:
        """Return it without its secret."""
        return f"Pair({self.public})"


class Authorized(NamedTuple):
    """Hold whom a core lets in, and as what."""

    name: str
    key: str
    role: Role


class Host(NamedTuple):
    """Hold a core on another machine: where it listens, and the key by which it is known."""

    name: str
    address: str
    key: str


class Curve(NamedTuple):
    """Hold what a client needs to speak to one host."""

    core: str
    own: Pair

    def secure(self, context: zmq.Context[Any]) -> None:
        """Have every socket of a context speak to that core only, and notice when the cable is pulled (P18)."""
        context.setsockopt(zmq.CURVE_SERVERKEY, self.core.encode())
        context.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public.encode())
        context.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())
        context.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
        context.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6_000)


def of_core(statedir: str) -> str:
    """Return the path of a core's own key."""
    return f"{statedir}/keys/core.key"


def of_authorized(statedir: str) -> str:
    """Return the path of the list of those a core lets in."""
    return f"{statedir}/keys/authorized.json"


def _home(environ: Mapping[str, str]) -> str:
    config = environ.get("XDG_CONFIG_HOME", "")
    base = config if config.startswith("/") else f"{environ.get('HOME', '')}/.config"
    return f"{base}/taskmaster"


def of_client(environ: Mapping[str, str]) -> str:
    """Return the path of this user's own key."""
    return f"{_home(environ)}/client.key"


def of_hosts(environ: Mapping[str, str]) -> str:
    """Return the path of the list of hosts this user knows."""
    return f"{_home(environ)}/hosts.json"


# Files ---------------------------------------------------------------------------------------------------------------


def _read(path: str, closed: int) -> Any:
    """Return what a file holds, None if there is none; raise Refused for one that others had their hands in."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    with open(fd, encoding="utf-8") as file:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid not in (0, os.geteuid()):
            raise Refused(f"{path} is not a file of this user", "remove it, and make it anew")
        if seen.st_mode & closed:
            raise Refused(f"{path} is open to others (mode {stat.S_IMODE(seen.st_mode):04o})", f"chmod 600 {path}")
        try:
            return json.load(file)
        except (ValueError, RecursionError) as error:
            raise Refused(f"{path} is not understood: {error}", "put it right, or make it anew") from error


def _write(path: str, document: Any) -> None:
    """Write a file of mode 0600, whole or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = f"{path}.{os.getpid()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(fd)
    os.replace(draft, path)


def read_pair(path: str) -> Pair | None:
    """Return the key in a file, None if there is none; raise Refused for one that others can read (S15)."""
    found = _read(path, 0o077)
    if found is None:
        return None
    if not isinstance(found, dict) or not all(Z85.fullmatch(str(found.get(each))) for each in ("public", "secret")):
        raise Refused(f"{path} holds no key", "remove it, and make it anew: taskmaster host keygen")
    return Pair(found["public"], found["secret"])


def make_pair() -> Pair:
    """Return a new key; one that begins with a dash would be taken for an option by every command line."""
    while True:
        public, secret = zmq.curve_keypair()
        if not public.startswith(b"-"):
            return Pair(public.decode(), secret.decode())


def pair_at(path: str) -> Pair:
    """Return the key in a file, which is made if there is none."""
    found = read_pair(path)
    if found is None:
        found = make_pair()
        _write(path, found._asdict())
    return found


def _rows(path: str) -> list[dict[str, str]]:
    found = _read(path, 0o022)
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, dict) and all(isinstance(value, str) for value in row.values())]


def read_authorized(path: str) -> dict[str, Authorized]:
    """Return whom a core lets in, by key; what is not whole lets nobody in."""
    found = {}
    for row in _rows(path):
        key, role = row.get("key", ""), ROLES.get(row.get("role", ""))
        if Z85.fullmatch(key) and role is not None:
            found[key] = Authorized(row.get("name", ""), key, role)
    return found


def write_authorized(path: str, listed: Mapping[str, Authorized]) -> None:
    """Write down whom a core lets in."""
    _write(path, [{"name": each.name, "key": each.key, "role": each.role.word} for each in listed.values()])


def read_hosts(path: str) -> dict[str, Host]:
    """Return the hosts that are known, by name."""
    rows = [Host(row.get("name", ""), row.get("address", ""), row.get("key", "")) for row in _rows(path)]
    return {each.name: each for each in rows if Z85.fullmatch(each.key)}


def write_hosts(path: str, hosts: Mapping[str, Host]) -> None:
    """Write down which hosts are known."""
    _write(path, [each._asdict() for each in hosts.values()])


def check_key(text: str) -> str:
    """Return a public key; raise UsageError for what is none."""
    if not Z85.fullmatch(text):
        raise UsageError("a key has 40 characters, as `taskmaster host keygen` prints them")
    return text


def check_name(text: str) -> str:
    """Return a name for a key or a host; raise UsageError for what would not fit into a line."""
    if not NAME.fullmatch(text):
        raise UsageError(f"not a name: {text!r}", "letters, digits, `-`, `_` and `.`, beginning with a letter or digit")
    return text
