"""Stand in for the core: hand the wire to the test that listens at argv[1], then do what it says, one word a line."""

import os
import signal
import socket
import sys
import time


def main() -> None:
    link = int(os.environ["TASKMASTER_LINK_FD"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.connect(sys.argv[1])
        socket.send_fds(control, [f"{os.getpid()}\n".encode()], [link])
        for line in control.makefile():
            verb, _, value = line.strip().partition(" ")
            if verb == "exit":
                os._exit(int(value))
            elif verb == "kill":
                os.kill(os.getpid(), int(value))
            elif verb == "forget":
                os.close(link)
            elif verb == "spin":
                while True:
                    pass
            elif verb == "ignore":
                signal.signal(int(value), signal.SIG_IGN)
                control.sendall(b"ok\n")
    time.sleep(60)


main()
