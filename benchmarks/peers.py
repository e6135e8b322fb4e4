"""Run supervisor and circus the same way, from a venv of their own.

It decides their config: their defaults but for what must be equal (jobs, rotation) or private (sockets in the
directory, no ports). The measures call it through the interface in `managers`.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import uuid
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq
from managers import Job, Manager

VENV = Path(__file__).resolve().parent / ".peers"
PACKAGES = ("supervisor==4.3.0", "circus==0.19.0")


def install() -> None:
    """Put the peers into their venv, once."""
    mark = VENV / ".installed"
    if mark.exists() and mark.read_text() == "\n".join(PACKAGES):
        return
    print(f"installing {', '.join(PACKAGES)} into {VENV}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    # supervisor imports pkg_resources on Pythons of before 3.8 only; setuptools is not needed
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True)
    mark.write_text("\n".join(PACKAGES))


class _UnixConnection(http.client.HTTPConnection):
    """Speak HTTP over a unix socket; the host is its path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class _UnixTransport(xmlrpc.client.Transport):
    """Keep one such connection for all calls."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._connection[1] is None:
            connection = _UnixConnection("localhost")
            connection.path = self._path
            self._connection = host, connection
        return self._connection[1]  # type: ignore[return-value]


class Supervisor(Manager):
    """Run supervisord."""

    name = "supervisor"
    period = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._api: Any = None
        self._transport = _UnixTransport(str(self.dir / "s.sock"))
        (self.dir / "logs").mkdir()

    def configure(self, jobs: Sequence[Job], *, reloading: bool = False) -> None:
        here = self.dir
        head = f"""[unix_http_server]
file={here}/s.sock
[supervisord]
nodaemon=true
logfile={here}/s.log
pidfile={here}/s.pid
childlogdir={here}/logs
minfds=16384
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{here}/s.sock
"""
        self.replace(here / "s.conf", head + "".join(self._program(job) for job in jobs))

    def _program(self, job: Job) -> str:
        text = f"[program:{job.name}]\ncommand={' '.join(job.argv)}\nnumprocs={job.copies}\nautorestart=true\n"
        text += "process_name=%(program_name)s_%(process_num)d\n"
        if job.rotated:
            log = f"{self.dir}/logs/%(program_name)s.%(process_num)d.out"
            text += f"stdout_logfile={log}\nstdout_logfile_maxbytes=10000000\nstdout_logfile_backups=2\n"
        return text

    def command(self) -> list[str]:
        return [str(VENV / "bin" / "supervisord"), "-n", "-c", str(self.dir / "s.conf")]

    def status_command(self) -> list[str]:
        return [str(VENV / "bin" / "supervisorctl"), "-c", str(self.dir / "s.conf"), "status"]

    def connect(self) -> None:
        self._api = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport).supervisor

    def disconnect(self) -> None:
        self._transport.close()

    def status(self) -> Any:
        return self._api.getAllProcessInfo()

    def stop_all(self) -> None:
        self._api.stopAllProcesses(True)

    def reload(self) -> None:
        """Do what `supervisorctl update` does, over the open connection."""
        added, changed, removed = self._api.reloadConfig()[0]
        for name in (*removed, *changed):
            self._api.stopProcessGroup(name)
            self._api.removeProcessGroup(name)
        for name in (*changed, *added):
            self._api.addProcessGroup(name)


class Circus(Manager):
    """Run circusd."""

    name = "circus"
    period = 5.0  # check_delay

    def __init__(self) -> None:
        super().__init__()
        self._context = zmq.Context()
        self._socket: Any = None
        (self.dir / "logs").mkdir()

    def configure(self, jobs: Sequence[Job], *, reloading: bool = False) -> None:
        head = f"[circus]\nendpoint = ipc://{self.dir}/c.sock\npubsub_endpoint = ipc://{self.dir}/p.sock\n"
        self.replace(self.dir / "c.ini", head + "".join(self._watcher(job) for job in jobs))

    def _watcher(self, job: Job) -> str:
        text = f"[watcher:{job.name}]\ncmd = {job.argv[0]}\nargs = {' '.join(job.argv[1:])}\n"
        text += f"numprocesses = {job.copies}\ncopy_env = True\n"
        if job.rotated:
            text += f"stdout_stream.class = FileStream\nstdout_stream.filename = {self.dir}/logs/{job.name}.out\n"
            text += "stdout_stream.max_bytes = 10000000\nstdout_stream.backup_count = 2\n"
        return text

    def command(self) -> list[str]:
        return [str(VENV / "bin" / "circusd"), str(self.dir / "c.ini")]

    def status_command(self) -> list[str]:
        return [str(VENV / "bin" / "circusctl"), "--endpoint", f"ipc://{self.dir}/c.sock", "list", "w"]

    def connect(self) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(f"ipc://{self.dir}/c.sock")

    def disconnect(self) -> None:
        self._context.destroy(linger=0)

    def _call(self, command: str, timeout: float, **properties: Any) -> Any:
        request = uuid.uuid4().hex
        self._socket.send(json.dumps({"id": request, "command": command, "properties": properties}).encode())
        while self._socket.poll(int(timeout * 1000)):
            reply = json.loads(self._socket.recv())
            if reply.get("id") == request:
                return reply
        raise TimeoutError(f"circus did not answer {command}")

    def status(self) -> Any:
        return self._call("list", 60, name="w")

    def stop_all(self) -> None:
        self._call("stop", 200, waiting=True)

    def reload(self) -> None:
        self._call("reloadconfig", 200, waiting=True)
