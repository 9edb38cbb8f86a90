"""Commands of `pyfpm` without the time that Python takes to start and to import: nine tenths of a short one.

`tests.support.commands` executes this file and asks it. It has imported what commands need, and forks for each one;
from there on that is the command as it always is, a process of its own with its arguments, environment, directory,
outputs and exit status. It becomes a child of whoever asks, who adopts orphans (`tests.support.processes`).
"""

import gc
import importlib
import json
import os
import socket
import sys

from fpm.__main__ import main
from fpm.cli.main import COMMANDS

REQUEST_MAX = 1 << 20


def wait_for_command(channel: socket.socket) -> bool:
    """Serve until whoever asks is gone (False); in the process of a command return True."""
    while True:
        data, outputs, _, _ = socket.recv_fds(channel, REQUEST_MAX, 2)
        if not data:
            return False
        reader, writer = os.pipe()
        if (between := os.fork()) == 0:
            if (pid := os.fork()) != 0:
                os.write(writer, b"%d" % pid)
                os._exit(0)
            for fd in (reader, writer, channel.detach()):
                os.close(fd)
            become(json.loads(data), outputs)
            return True
        for fd in (writer, *outputs):
            os.close(fd)
        os.waitpid(between, 0)
        channel.send(os.read(reader, 20))
        os.close(reader)


def become(request: dict[str, object], outputs: list[int]) -> None:
    """Give this process what a command has from its caller."""
    arguments, environ = request["arguments"], request["environ"]
    assert isinstance(arguments, list)
    assert isinstance(environ, dict)
    sys.argv = arguments
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(request["directory"]))
    for number, fd in enumerate(outputs, 1):
        os.dup2(fd, number)
        os.close(fd)


if __name__ == "__main__":
    for module in sorted({module for group in COMMANDS.values() for module, _ in group.values()}):
        importlib.import_module(module)
    gc.freeze()
    if wait_for_command(socket.socket(fileno=int(sys.argv[1]))):
        main()
