"""The states of a request and the steps from one to another; a step that is not here raises. Pure.

new --begin--> answering --complete--> complete --end--> ended
                   |                   |  ^
                release              work |
                   v                   v finish
               released ----work----> working
"""

from __future__ import annotations

NEW = "new"
"""Its variables have come."""
ANSWERING = "answering"
"""The application is making the response."""
RELEASED = "released"
"""The response is out and the connection let go of, while the application goes on."""
COMPLETED = "complete"
"""The response is out, and the application has returned."""
WORKING = "working"
"""Functions run after the response."""
ENDED = "ended"
"""Nothing is left of it."""


class OutOfOrderError(RuntimeError):
    """A step was taken that the state of the request does not allow."""


class Step(dict[str, str]):
    """What is done with a request: the state that follows each in which it may be done."""

    def __init__(self, name: str, **states: str) -> None:
        super().__init__(states)
        self.name = name

    def __missing__(self, state: str) -> str:
        raise OutOfOrderError(f"{self.name} is not possible while a request is {state}")


BEGIN = Step("begin", new=ANSWERING)
RELEASE = Step("release", answering=RELEASED)
COMPLETE = Step("complete", answering=COMPLETED)
WORK = Step("work", released=WORKING, complete=WORKING)
FINISH = Step("finish", working=COMPLETED)
END = Step("end", complete=ENDED)
STEPS = (BEGIN, RELEASE, COMPLETE, WORK, FINISH, END)
