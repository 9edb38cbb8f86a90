"""Texts of the events of the whole manager. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.event_text.rows import ALERT, DEBUG, ERROR, NONE, NOTICE, WARNING, Row
from fpm.events import master
from fpm.events.base import Event
from fpm.log.escape import escape


def _ready(event: master.MasterReady) -> str:
    return "ready to handle connections" + (f" (failed pools: {', '.join(event.failed)})" if event.failed else "")


def _strict(event: master.StrictStartFailed) -> str:
    return f"started with --strict, and these pools have failed: {', '.join(event.failed)}"


def _reload_ended(event: master.ReloadEnded) -> list[str]:
    if event.ok:
        return ["reload finished"]
    how = "cancelled, nothing has changed" if event.given_up else "failed, nothing has changed"
    beginning = "reload finished, but" if event.partial else f"reload {how}:"
    *entries, last = [f"{beginning} {reason}" for reason in event.reasons] or [""]
    return [*entries, "\n".join(filter(None, [last, event.traceback.rstrip()]))]


ROWS: Mapping[type[Event], Row] = {
    master.MasterStarted: (NOTICE, "fpm is running, pid {e.pid}"),
    master.MasterUpgraded: (NOTICE, "upgraded to pyfpm {e.version}, pid {e.pid}"),
    master.MasterReady: (NOTICE, _ready),
    master.StrictStartFailed: (ALERT, _strict),
    master.MasterStopping: (NOTICE, lambda e: "Finishing ..." if e.graceful else "Terminating ..."),
    master.MasterExiting: (NOTICE, "exiting, bye-bye!"),
    master.StopRequested: (NOTICE, "stop requested on the control socket"),
    master.StopIgnored: (DEBUG, "not switching to '{e.wanted}' state, because already in '{e.state}' state"),
    master.ProgramGone: (NOTICE, "the program that started this master has exited"),
    master.InternalError: (ALERT, "internal error, please report it; the master goes on:\n{e.traceback}"),
    master.MasterOutput: (NONE, "{e.line}"),
    master.EventsDropped: (WARNING, "{e.count} events were dropped: the program could not take them in time"),
    master.ConfigNotice: (NOTICE, "{e.notice}"),
    master.RestartNeeded: (NOTICE, "[global] {e.directive} has changed; it takes effect at the next start"),
    master.SocketUnused: (WARNING, "socket {e.name} passed by LISTEN_FDS belongs to no pool; closing it"),
    master.ControlSocketFailed: (ERROR, "{e.error}; no command can reach this daemon"),
    master.PidFileFailed: (ERROR, "{e.error}; keeping the previous file"),
    master.ErrorLogReopened: (NOTICE, "error log file re-opened"),
    master.ErrorLogFailed: (ERROR, "unable to re-open error log file: {e.error}"),
    master.ReloadStarted: (
        NOTICE,
        lambda e: f"Rolling back {e.rollback}" if e.rollback else "Reloading in progress ...",
    ),
    master.ReloadPlanned: (NOTICE, lambda e: [f"reload: {step}" for step in e.steps]),
    master.ReloadProgressed: (NONE, "reload: {e.step}"),
    master.ReloadEnded: (lambda e: NOTICE if e.ok or e.given_up else ERROR, _reload_ended),
    master.UpgradeStarted: (NOTICE, "Upgrading: asking the installed program whether it can take over"),
    master.UpgradeExecuting: (NOTICE, "Upgrading: executing the installed program"),
    master.UpgradeFailed: (ERROR, "upgrade failed, nothing has changed: {e.reason}"),
    master.ProcessMaxReached: (
        WARNING,
        "The maximum number of processes has been reached. "
        "Please review your configuration and consider raising 'process.max'",
    ),
    master.ProcessesLeft: (
        ALERT,
        lambda e: f"SIGKILL does not end {', '.join(map(str, e.pids))} (uninterruptible sleep?); exiting without them",
    ),
    master.CgroupLeft: (WARNING, "the cgroup {e.path} cannot be removed, it still has processes (cgroup.procs)"),
    master.OrphanExited: (DEBUG, "process {e.pid}, left behind by an application, exited {e.cause}"),
    master.OrphanKilled: (
        NOTICE,
        lambda e: f"killing process {e.pid} ({escape(e.name)}), left behind by an application",
    ),
    master.PathHung: (WARNING, "the file system of {e.path} does not answer; it is taken for missing until it does"),
    master.HelperOutput: (WARNING, "{e.helper} said: {e.line}"),
    master.HelperStartFailed: (ERROR, "cannot start {e.helper}: {e.error}"),
    master.HelperExited: (WARNING, "{e.helper} exited {e.cause}; restarting it in {e.pause:.0f} s"),
    master.HelperStuck: (WARNING, "{e.helper} does not respond; killing it"),
    master.HistoryFileFailed: (
        WARNING,
        "the past of the pools will not survive a restart: cannot open {e.path}: {e.error}",
    ),
    master.StatusMessageInvalid: (WARNING, "the status process sent an invalid message: {e.error}"),
    master.TracerAnswerInvalid: (WARNING, "the tracer sent an invalid answer: {e.error}"),
    master.StacksAvailable: (NOTICE, "stacks of slow requests are read by ptrace"),
}
