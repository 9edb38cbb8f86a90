"""The template: imports the application once, then forks workers from its memory when the master asks.

Rules of the file. The template never serves. Between fork requests it sleeps in poll(2). It is the parent of the
workers and reports how each of them ended. When the master is gone (end of file on the channel) the workers leave by
themselves, and it does after them.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from fpm import run_postfork
from fpm.errors import EXIT_SOFTWARE
from fpm.launcher.identity import permission_for, settle_dumpable
from fpm.launcher.limits import explain_lack
from fpm.library import current
from fpm.log.times import keep_zone
from fpm.protocol.messages import (
    ApplySettings,
    Calibrate,
    Entered,
    Event,
    Fork,
    Forked,
    ForkFailed,
    Notice,
    Quit,
    TemplateReady,
    WorkerExited,
    pack,
    unpack_command,
)
from fpm.protocol.spec import (
    FD_CHANNEL,
    FD_FIRST_FREE,
    FD_SPEC,
    FD_STACK,
    NO_PRELOAD,
    NO_WARMUP,
    TemplateSpec,
    unpack_spec,
)
from fpm.protocol.wire import MESSAGE_MAX, MessageError
from fpm.system.descriptors import close_all, no_default_timeout, receive_with_fds
from fpm.system.proctitle import set_title
from fpm.template.bereaved import release_address
from fpm.template.calibrator import Calibrator
from fpm.template.forking import fork_quietly, settle_child
from fpm.template.importing import WSGIApplication, end_imported, import_within, prepare_interpreter
from fpm.template.own_children import end_children, own_children
from fpm.template.preload import load_hot_path, settle_import, settle_memory
from fpm.template.process_settings import Inherited
from fpm.worker.exit_account import watch_exit
from fpm.worker.fork_guard import leave_copy
from fpm.worker.last_word import LastWords
from fpm.worker.process_end import flush_streams, leave_unused, run_end
from fpm.worker.self_dump import listen
from fpm.worker.stdio import write_error
from fpm.worker.worker import run_worker

PYTHON = sys.version.split()[0]
Permit = Callable[[], str]
FDS_PER_FORK = 5
"""Worker channel, stdout, stderr, the memfd for its stack and, if there is one, the access log."""
END_LIMIT = 3.0
"""Seconds for threads and handlers at the end of a generation."""


def main() -> NoReturn:
    """Run the template to its end; fpm.launcher.boot calls it."""
    # A template that finds an application which must not be preloaded executes itself anew, to be rid of its threads.
    anew = sys.argv[2:-1]
    current.in_pool = True
    spec = unpack_spec(os.pread(FD_SPEC, os.fstat(FD_SPEC).st_size, 0))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=FD_CHANNEL)
    for fd in range(3, FD_FIRST_FREE):
        os.set_inheritable(fd, False)
    set_title(f"pyfpm: template {spec.pool}")
    listens = listen()
    watch_exit()
    # Before anything of the application is here, and once for all workers.
    compiled, reason = load_hot_path(spec)
    permit = permission_for(spec.ptracer)
    for refusal in filter(None, (settle_dumpable(spec), permit())):
        channel.send(pack(Notice(refusal)))
    prepare_interpreter(spec)
    inherited = Inherited.look()
    keep_zone(time.time())
    started = time.monotonic()

    def serve(application: WSGIApplication | None) -> NoReturn:
        if application is not None:
            settle_import(spec, channel, inherited, application, may_warm=NO_WARMUP not in anew)
        settle_memory()
        seconds = round(time.monotonic() - started, 3)
        ready = TemplateReady(application is not None, PYTHON, inherited.directory, seconds, listens, compiled, reason)
        channel.send(pack(ready))
        Template(spec, channel, application, permit).run()

    if spec.preload != "no" and NO_PRELOAD not in anew:
        import_within(spec, channel, spec.spawned, serve)
    serve(None)


class Template:
    """The loop after the import: fork requests from the master, exits of workers to it.

    Args:
        permit: what each worker calls so that it may be traced, see fpm.launcher.identity.
    """

    def __init__(
        self, spec: TemplateSpec, channel: socket.socket, application: WSGIApplication | None, permit: Permit
    ) -> None:
        self.spec = spec
        self.settings = spec.worker
        self.channel = channel
        self.application = application
        self.permit = permit
        self.quitting = False
        self.children: set[int] = set()
        self.last_words = LastWords()
        self.calibrator = Calibrator(spec.pool, self.send)
        self.poll = select.poll()
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> NoReturn:
        """Serve the master until it says quit and all workers are gone, or until it is gone itself."""
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.poll.register(self.channel, select.POLLIN)
        self.poll.register(self.wake_read, select.POLLIN)
        self.reap_workers()  # a child that the application's import has left behind may have ended before this
        while not (self.quitting and not self.children):
            ready = self.wait()
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
                self.reap_workers()
            if self.channel.fileno() in ready and not self.take_message():
                release_address(self.spec)
                self.quitting = True  # what belongs to the generation ends with the last request
                self.poll.unregister(self.channel)
        self.calibrator.stop()
        end_imported(self.channel, 0, END_LIMIT)

    def wait(self) -> set[int]:
        """Sleep until there is something to do; the descriptors that are ready. A calibration goes on in passing."""
        calibration = self.calibrator.fd
        if calibration < 0:
            return {fd for fd, _ in self.poll.poll()}
        self.poll.register(calibration, select.POLLIN)
        ready = {fd for fd, _ in self.poll.poll(self.calibrator.patience())}
        self.poll.unregister(calibration)
        if ready <= {calibration}:  # what the master wants and workers that have ended come first
            self.calibrator.go_on()
        return ready

    def take_message(self) -> bool:
        """One message of the master; False when the master is gone."""
        data, fds = receive_with_fds(self.channel, MESSAGE_MAX, FDS_PER_FORK)
        if not data:
            return False
        try:
            command = unpack_command(data)
        except MessageError as error:
            self.send(Notice(f"the template has refused a message of the master: {error}"))
            close_all(fds)
            return True
        match command:
            case Fork():
                self.fork_worker(command.slot, fds, hold=command.hold)
            case ApplySettings():
                self.settings = command.worker
            case Calibrate():
                self.calibrator.want()
            case Quit():
                self.quitting = True
        return True

    def fork_worker(self, slot: int, fds: list[int], *, hold: bool) -> None:
        """fork(2); the child never comes back from here."""
        if len(fds) < FDS_PER_FORK - 1:
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self.send(ForkFailed(slot, f"too few of its {files} descriptors (RLIMIT_NOFILE) are free for a worker's"))
            close_all(fds)
            return
        flush_streams()
        self.last_words.begin_fork()
        # A signal between fork and the reset of the wakeup descriptor would be written to the template's pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT})
        try:
            pid = fork_quietly()
        except OSError as error:
            self.send(ForkFailed(slot, f"{error.strerror}{explain_lack(error)}"))
            pid = -1
        if pid == 0:
            self.become_worker(slot, fds, hold=hold)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT})
        close_all(fds)
        self.last_words.end_fork(pid)
        if pid > 0:
            self.children.add(pid)
            self.send(Forked(slot, pid))

    def reap_workers(self) -> None:
        """wait4(2) for every child that has ended, and tell the master of those that were workers."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.children.clear()
                return
            if pid == 0:
                return
            self.calibrator.reaped(pid)
            if pid not in self.children:
                continue
            self.children.discard(pid)
            self.last_words.say_for(pid)
            self.send(WorkerExited(pid, status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))

    def send(self, message: Event) -> None:
        """To the master; when it is gone the next read of the channel says so."""
        try:
            self.channel.send(pack(message))
        except (BrokenPipeError, ConnectionResetError):
            self.quitting = True

    def become_worker(self, slot: int, fds: list[int], *, hold: bool) -> NoReturn:
        """The child's side of the fork, to the end of the process."""
        try:
            settle_child()
            channel, access_log = self._take_descriptors(fds)
            if "pid" in self.spec.namespaces:
                channel.send(pack(Entered()))
            self.permit()  # if it fails, it has failed in the template, too, which has said so
            set_title(f"pyfpm: pool {self.spec.pool}")

            def serve(application: WSGIApplication) -> NoReturn:
                self._serve(application, slot, channel, access_log, hold=hold)

            if self.application is None:
                import_within(self.spec, channel, time.monotonic(), serve)
            serve(self.application)
        except BaseException:  # nothing may unwind into the template's loop
            write_error(traceback.format_exc())
        finally:
            flush_streams()
            os._exit(EXIT_SOFTWARE)

    def _serve(
        self, application: WSGIApplication, slot: int, channel: socket.socket, access_log: int | None, *, hold: bool
    ) -> NoReturn:
        code, pid = EXIT_SOFTWARE, os.getpid()
        word = self.last_words.take_pair()
        try:
            run_postfork()
            if os.getpid() != pid:
                leave_copy(None)
            imported = own_children() if self.application is None else ()
            code = run_worker(
                self.settings, application, slot=slot, channel=channel, access_log=access_log, last_word=word, hold=hold
            )
            end_children(imported)
            run_end(channel.fileno(), code)
        except BaseException:  # nothing may unwind into the template's loop
            write_error(traceback.format_exc())
        finally:
            flush_streams()
            os._exit(code)

    def _take_descriptors(self, fds: list[int]) -> tuple[socket.socket, int | None]:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGQUIT, leave_unused)  # until the worker's loop has a handler
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT})
        os.close(self.wake_read)
        os.close(self.wake_write)
        self.channel.close()
        channel_fd, out, err, stack, *rest = fds
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.dup2(stack, FD_STACK, inheritable=False)
        close_all([out, err, stack])
        with no_default_timeout():
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=channel_fd)
        return channel, rest[0] if rest else None
