"""fpm.after_response() in views of the real frameworks: the examples of examples/background through nginx."""

from __future__ import annotations

from pathlib import Path

from tests.support.fpm import Start
from tests.support.interpreter import START_AS_ROOT, own_environment
from tests.support.nginx import StartNginx
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "background"
BEFORE = {
    "django": ["request_finished, connection closed", "begins"],
    "flask": ["teardown_request", "teardown_appcontext", "context of /order in flask_orders", "begins"],
    "falcon": ["process_response", "begins"],
    "bottle": ["after_request", "begins"],
    "pyramid": ["finished callback", "begins"],
}
"""What has happened when the client has its answer and the mail is still to go out."""
AFTER = {
    "django": ["mail to you", "connection closed at the end"],
    "flask": ["teardown_appcontext", "mail to you"],  # of the context that the function has made
}


def test_functions_run_after_the_response_and_its_teardown(daemon: Start, nginx: StartNginx) -> None:
    fpm = daemon({"django": {}}, started=False)
    state = fpm.directory / "state"
    state.mkdir()
    state.chmod(0o777)  # the pools may have a user of their own
    pools = {
        name: {
            "app": f"orders:{name}()",
            "pm": "static",
            "pm.max_children": 1,
            "pythonpath": EXAMPLES,
            **own_environment(),
            "env[FRAMEWORK]": name,
            "env[MARKS]": state / name,
            "env[DATABASE]": state / "database",
        }
        for name in BEFORE
    }
    fpm.configure(pools)
    fpm.expect_log('said into stdout: "mail to ')
    fpm.start(*START_AS_ROOT)
    server = nginx(
        "".join(
            f"location /{name}/ {{ rewrite ^/{name}(/.*) $1 break; include fastcgi_params;"
            f" fastcgi_pass unix:{fpm.address(name)}; }}\n"
            for name in pools
        )
    )

    def marks(name: str) -> list[str]:
        text = (state / name).read_text() if (state / name).exists() else ""
        return [line.removeprefix(f"{name}: ") for line in text.splitlines()]

    for name in pools:
        assert server.get(f"/{name}/order?to=you").body == b"Thank you\n"
        wait_until(lambda name=name: marks(name)[-1:] == ["begins"])
        assert marks(name) == BEFORE[name]
        assert fpm.cli("status", name, "--format", "text").stdout.count("background:           1\n") == 1
        (state / f"{name}.go").touch()
    for name in pools:
        done = BEFORE[name] + AFTER.get(name, ["mail to you"])
        wait_until(lambda name=name, done=done: marks(name) == done)
        assert server.get(f"/{name}/order?to=me").body == b"Thank you\n"
        wait_until(lambda name=name: "mail to me" in marks(name))
    wait_until(lambda: fpm.log().count("mail to me") == len(pools))
