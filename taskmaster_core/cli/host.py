"""Keys and hosts: whom a core here lets in from other machines, and which cores elsewhere this user knows.

It decides what is printed and what is written into the files of `keys`; the core looks at its list by itself. Whoever
may write the core's state directory may authorize: no core has to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from taskmaster_core import keys, paths
from taskmaster_core.access import ROLES, Role
from taskmaster_core.cli.call import Call
from taskmaster_core.config.values import Invalid, address
from taskmaster_core.errors import ExitStatus, NoCore, NoSuchJob, UsageError


def host(call: Call) -> int:
    """Carry one of its words out."""
    _WORDS[call.options.what](call, list(call.options.words))
    return ExitStatus.DONE


def _statedir(call: Call) -> str:
    """Return where the core of this instance keeps its keys: as it says itself, or as the config has it."""
    try:
        return str(call.ask("status", [])["core"]["statedir"])
    except NoCore:
        from taskmaster_core.cli.rescue import declared  # noqa: PLC0415  # only where no core says

        named = next(declared(call.config), None)
        return paths.places(call.instance, os.environ, os.geteuid(), named).statedir


def _taking(words: list[str], *names: str) -> list[str]:
    if len(words) != len(names):
        raise UsageError(f"it takes {' '.join(names) or 'nothing more'}", "taskmaster help host")
    return words


def _keygen(call: Call, words: list[str]) -> None:
    _taking(words)
    path = keys.of_core(_statedir(call)) if call.options.core else keys.of_client(os.environ)
    found = keys.pair_at(path)
    if call.options.json:
        call.out.data({"key": found.public, "file": path})
        return
    call.out.say(found.public)
    call.out.hint(f"this is public; the secret stays in {path}")


def _authorize(call: Call, words: list[str]) -> None:
    name, key = _taking(words, "NAME", "KEY")
    path = keys.of_authorized(_statedir(call))
    listed = keys.read_authorized(path)
    role = ROLES[call.options.role or Role.READER.word]
    listed = {each.key: each for each in listed.values() if each.name != name}
    listed[keys.check_key(key)] = keys.Authorized(keys.check_name(name), key, role)
    keys.write_authorized(path, listed)
    call.out.hint(f"{name} is let in as {role.word}, by the core that listens with {path}")


def _add(call: Call, words: list[str]) -> None:
    name, where, key = _taking(words, "NAME", "tcp://HOST:PORT", "KEY")
    try:
        address(where)
    except Invalid as error:
        raise UsageError(f"{where}: {error.message}", error.help) from error
    path = keys.of_hosts(os.environ)
    hosts = keys.read_hosts(path)
    hosts[keys.check_name(name)] = keys.Host(name, where, keys.check_key(key))
    keys.write_hosts(path, hosts)
    call.out.hint(f"try: taskmaster --host {name} status")


def _rm(call: Call, words: list[str]) -> None:
    (name,) = _taking(words, "NAME")
    if call.options.authorized:
        path = keys.of_authorized(_statedir(call))
        listed = keys.read_authorized(path)
        kept = {key: each for key, each in listed.items() if name not in (each.name, key)}
        _must_differ(len(listed) - len(kept), f"no key `{name}` is authorized")
        keys.write_authorized(path, kept)
        call.out.hint(f"{name} is not let in any more; who is in with that key is put out now")
        return
    hosts = keys.read_hosts(keys.of_hosts(os.environ))
    _must_differ(name in hosts, f"no host `{name}` is known")
    del hosts[name]
    keys.write_hosts(keys.of_hosts(os.environ), hosts)


def _must_differ(found: int, complaint: str) -> None:
    if not found:
        raise NoSuchJob(complaint, "taskmaster host list")


def _list(call: Call, words: list[str]) -> None:
    _taking(words)
    hosts = keys.read_hosts(keys.of_hosts(os.environ))
    listed = keys.read_authorized(keys.of_authorized(_statedir(call)))
    if call.options.json:
        allowed = [{"name": each.name, "key": each.key, "role": each.role.word} for each in listed.values()]
        call.out.data({"hosts": [each._asdict() for each in hosts.values()], "authorized": allowed})
        return
    for each in hosts.values():
        call.out.say(f"host  {each.name}  {each.address}  {each.key}")
    for known in listed.values():
        call.out.say(f"key   {known.name}  {known.role.word}  {known.key}")
    if not hosts and not listed:
        call.out.hint("no host is known here, and no key is let in")


_WORDS: dict[str, Callable[[Call, list[str]], None]] = {
    "keygen": _keygen, "authorize": _authorize, "add": _add, "list": _list, "rm": _rm,
}  # fmt: skip


def known(name: str) -> tuple[str, keys.Curve]:
    """Return the address of a host this user knows, and what it takes to speak to it."""
    hosts = keys.read_hosts(keys.of_hosts(os.environ))
    if name not in hosts:
        raise UsageError(f"no host `{name}` is known here", "taskmaster host add NAME tcp://HOST:PORT KEY")
    own = keys.read_pair(keys.of_client(os.environ))
    if own is None:
        raise UsageError("there is no key of yours", "taskmaster host keygen")
    return hosts[name].address, keys.Curve(hosts[name].key, own)
