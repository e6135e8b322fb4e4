"""Become another user, ask a core what the arguments say, and print the answers: one JSON document a line.

Called as `asker.py UID GID,GID… SOCKET REQUEST…`; a request is a JSON document. With `--topics T,T` it subscribes
instead and prints the topics it hears within two seconds, with `--hear T` each as it comes, until three are quiet.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

import zmq


def become(uid: int, groups: list[int]) -> None:
    if os.getuid() == 0:
        os.setgroups(groups)
        os.setresgid(groups[0], groups[0], groups[0])
        os.setresuid(uid, uid, uid)


def ask(socket: zmq.Socket[bytes], text: str) -> None:
    socket.send(json.dumps({"v": 1, "id": uuid.uuid4().hex, **json.loads(text)}).encode())
    print(socket.recv_multipart()[0].decode() if socket.poll(5000) else '{"ok": null}', flush=True)


def listen(context: zmq.Context[zmq.Socket[bytes]], path: str, topics: list[str]) -> None:
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    for topic in topics:
        socket.subscribe(topic)
    socket.connect(f"ipc://{path}")
    heard, until = set(), time.monotonic() + 2
    while (left := until - time.monotonic()) > 0 and socket.poll(int(left * 1000) + 1):
        heard.add(socket.recv_multipart()[0].decode())
    print(json.dumps(sorted(heard)))


def hear(context: zmq.Context[zmq.Socket[bytes]], path: str, topic: str) -> None:
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.subscribe(topic)
    socket.connect(f"ipc://{path}")
    while socket.poll(3000):
        print(socket.recv_multipart()[0].decode(), flush=True)


def main() -> None:
    uid, groups, path, *rest = sys.argv[1:]
    become(int(uid), [int(each) for each in groups.split(",")])
    context = zmq.Context()
    if rest[0] == "--topics":
        listen(context, path, rest[1].split(","))
    elif rest[0] == "--hear":
        hear(context, path, rest[1])
    else:
        socket = context.socket(zmq.REQ)
        socket.linger = 0
        socket.connect(f"ipc://{path}")
        for each in rest:
            ask(socket, each)
    context.destroy(linger=0)


main()
