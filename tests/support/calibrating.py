"""A template's side of the calibration, after an application (the program's argument) has done what it likes.

It prints the answer as JSON, and then what the calibration has left behind. All output of the application comes too.
"""

from __future__ import annotations

import json
import os
import select
import sys
from dataclasses import asdict

from fpm.protocol.messages import LayoutFailed, LayoutFound
from fpm.template.calibrator import Calibrator

answers: list[LayoutFound | LayoutFailed] = []
calibrator = Calibrator("test", answers.append)
write, descriptors, poll, leave = os.write, os.listdir, select.poll, os._exit
before = descriptors("/proc/self/fd")
exec(compile(sys.argv[1], "<application>", "exec"), {"__name__": "application"})
between = descriptors("/proc/self/fd")
calibrator.want()
calibrator.want()  # while the first goes on, or after it has failed
tries = 0
while not answers:
    waiting = poll()
    waiting.register(calibrator.fd, select.POLLIN)
    waiting.poll(calibrator.patience())
    calibrator.go_on()
calibrator.want()
ended = []
while True:
    try:
        pid, status = os.waitpid(-1, 0)
    except ChildProcessError:
        break
    calibrator.reaped(pid)
    ended.append(status)
calibrator.stop()
left = sorted(set(descriptors("/proc/self/fd")) - set(between))
told = [{"kind": type(answer).__name__} | asdict(answer) for answer in answers]
message = {"answers": told, "left": left, "ended": ended, "fd": calibrator.fd, "pid": os.getpid()}
write(1, b"\n" + json.dumps(message).encode() + b"\n")
leave(0)
