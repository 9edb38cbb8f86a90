"""What `pyfpm setup` does about each file: nothing that the administrator has changed is lost."""

from __future__ import annotations

import pytest

from fpm.setup.items import Item, Layout, SetupError, list_items
from fpm.setup.plan import BESIDE, Record, digest, next_record, plan_removal, plan_setup

FILE = Item("/etc/pyfpm/pyfpm.conf", "new")
NEW, OLD = digest(FILE), digest(Item(FILE.path, "old"))
LINK = Item("/usr/local/sbin/pyfpm", target="/opt/pyfpm/bin/pyfpm")
HERE = Item("/var/log/pyfpm", mode=0o755)


@pytest.mark.parametrize(
    ("there", "recorded", "action", "remembered"),
    [
        (None, None, "create", NEW),
        (None, OLD, "create", NEW),
        (NEW, None, "keep", NEW),
        (NEW, NEW, "keep", NEW),
        (OLD, OLD, "update", NEW),
        ("other", NEW, "keep", NEW),
        ("other", OLD, "beside", NEW),
        (OLD, None, "beside", NEW),
        ("directory", OLD, "refuse", OLD),
    ],
)
def test_a_file_is_replaced_only_if_it_is_the_version_of_the_last_time(
    there: str | None, recorded: str | None, action: str, remembered: str
) -> None:
    record = {FILE.path: recorded} if recorded else {}
    (step,) = plan_setup([FILE], {FILE.path: there} if there else {}, record)
    assert step.action == action
    assert next_record(record, [step])[FILE.path] == remembered


def test_a_new_version_is_offered_once_and_goes_when_it_was_taken() -> None:
    beside = FILE.path + BESIDE
    steps = plan_setup([FILE], {FILE.path: "other"}, {FILE.path: OLD})
    record = next_record({FILE.path: OLD}, steps)
    assert record == {FILE.path: NEW, beside: NEW}
    (again,) = plan_setup([FILE], {FILE.path: "other", beside: NEW}, record)
    assert again.action == "keep"
    taken = plan_setup([FILE], {FILE.path: NEW, beside: NEW}, record)
    assert [(step.action, step.path) for step in taken] == [("keep", FILE.path), ("remove", beside)]
    assert next_record(record, taken) == {FILE.path: NEW}


def test_somebody_elses_command_is_not_replaced() -> None:
    (step,) = plan_setup([LINK], {LINK.path: "-> /srv/pyfpm/bin/pyfpm"}, {})
    assert step.action == "leave"
    assert next_record({}, [step]) == {}
    (moved,) = plan_setup([LINK], {LINK.path: "-> /srv/pyfpm"}, {LINK.path: "-> /srv/pyfpm"})
    assert moved.action == "update"


def test_removal_takes_what_is_ours_and_the_deepest_first() -> None:
    record: Record = {}
    record = next_record(record, plan_setup([HERE, FILE, LINK], {}, record))
    record["/usr/share/man"] = record["/usr/share"] = "directory"
    found = {**record, FILE.path: "other"}
    steps = plan_removal(found, record)
    assert [(step.action, step.path) for step in steps] == [
        ("remove", LINK.path),
        ("leave", FILE.path),
        ("remove", "/usr/share/man"),
        ("remove", HERE.path),
        ("remove", "/usr/share"),
    ]
    assert next_record(record, steps) == {}


def test_a_directory_that_was_there_is_not_ours() -> None:
    steps = plan_setup([HERE], {HERE.path: "directory"}, {})
    assert [step.action for step in steps] == ["keep"]
    assert next_record({}, steps) == {}


def test_what_a_version_no_longer_has_is_removed_if_nobody_has_changed_it() -> None:
    record = {FILE.path: NEW, "/lib/a": "1", "/lib/b": "1", "/lib/c": "1", "/lib": "directory"}
    steps = plan_setup([FILE], {FILE.path: NEW, "/lib/a": "1", "/lib/b": "2", "/lib": "directory"}, record)
    assert [(step.action, step.path) for step in steps[1:]] == [("remove", "/lib/a"), ("leave", "/lib/b")]


def test_units_have_the_path_of_this_installation() -> None:
    shipped = {"systemd/pyfpm.service": "ExecStart=/opt/pyfpm/bin/pyfpm run", "man/pyfpm.8": "", "man/a.conf.5": ""}
    items = {one.path: one for one in list_items(Layout("/srv/x/bin/pyfpm"), shipped, {"zsh": "#compdef pyfpm"})}
    assert items["/usr/local/lib/systemd/system/pyfpm.service"].text == "ExecStart=/srv/x/bin/pyfpm run"
    assert {"/usr/local/share/man/man5/a.conf.5", "/usr/local/share/zsh/site-functions/_pyfpm"} <= items.keys()
    assert items["/usr/local/sbin/pyfpm"].target == "/srv/x/bin/pyfpm"
    assert "/run/pyfpm" in items
    image = {one.path for one in list_items(Layout("/usr/bin/pyfpm", "/usr", is_image=True), shipped, {})}
    assert "/run/pyfpm" not in image, "nothing in /run of an image would last"
    assert not {path for path in image if path.endswith("bin/pyfpm")}, "the command is in the PATH already"


@pytest.mark.parametrize("command", ["/srv/my pool/bin/pyfpm", "/srv/%n/pyfpm", "bin/pyfpm", "/a\n/pyfpm"])
def test_a_path_that_a_unit_would_misread_is_refused(command: str) -> None:
    with pytest.raises(SetupError, match="systemd"):
        list_items(Layout(command), {}, {})
