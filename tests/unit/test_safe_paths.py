"""What may run as root changes the file system by way of fpm/paths alone.

The folders say what that is: everything but the processes of a pool and the libraries that only compute.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
RULE = TOP / "fpm" / "paths"
OF_A_POOL = {"template", "worker"}
"""They never run as root."""
CHANGING = {
    *("chown", "lchown", "chmod", "lchmod", "unlink", "remove", "rename", "renames", "replace", "rmdir", "removedirs"),
    *("mkdir", "makedirs", "link", "symlink", "mkfifo", "mknod", "truncate", "utime", "setxattr", "removexattr"),
}
OF_PATHS = {"write_text", "write_bytes", "touch", "hardlink_to", "symlink_to"}
OF_SHUTIL = {"rmtree": "follows no link", "get_terminal_size": "changes nothing", "which": "changes nothing"}
ELSEWHERE = {
    "fpm/config/manual.py": "`make man`, which nobody runs as root",
    "fpm/launcher/label.py": "files of the process file system, by a descriptor of it",
    "fpm/cli/serve_pool.py": "in a directory that `pyfpm serve` has made for itself alone (mkdtemp)",
    "fpm/manager/configuration.py": "in a directory that it has made for itself alone (mkdtemp)",
    "fpm/cgroups/files.py": "in the tree of cgroup v2 alone, whose files are the kernel's, and following no links",
    "fpm/system/unix_sockets.py": "removes such a directory",
    "fpm/system/listening.py": "the name of an abstract socket is no path",
    "fpm/system/socket_access.py": "what it changes is pinned (fpm.paths.files.pinned_socket)",
    "fpm/launcher/jail/mounter.py": "in file systems that it has made in its own mount namespace",
    "fpm/launcher/jail/namespaces.py": "its own files of /proc",
    "fpm/launcher/jail/world.py": "in a file system that it has made in its own mount namespace",
}


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def is_change(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    first = ast.unparse(call.args[0]) if call.args else ""
    rest = " ".join(ast.unparse(one) for one in [*call.args[1:], *(word.value for word in call.keywords)])
    if owner in ("os", "shutil") and name in CHANGING:
        return True
    if (owner == "shutil" and name not in OF_SHUTIL) or (owner and name in OF_PATHS):
        return True
    is_of_kernel = first == "os.devnull" or first.lstrip("f").startswith(("'/proc/", '"/proc/'))
    if owner == "os" and name == "open":
        return not is_of_kernel and any(flag in rest for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"))
    if name == "open" and (not owner or owner.endswith("path")):
        mode = ast.literal_eval(rest.split()[0]) if rest[:1] in "'\"" and rest else ""
        is_descriptor = "closefd" in {word.arg for word in call.keywords}
        return not is_of_kernel and not is_descriptor and any(letter in str(mode) for letter in "wax+")
    return name == "bind" and "path" in first.lower() and "for_sockets" not in first


def test_root_changes_files_by_the_one_rule_only() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted((TOP / "fpm").rglob("*.py")):
        name = str(path.relative_to(TOP))
        if RULE in path.parents or path.relative_to(TOP / "fpm").parts[0] in OF_A_POOL:
            continue
        changes = [f"line {call.lineno}: {ast.unparse(call)}" for call in calls(path) if is_change(call)]
        if changes:
            found[name] = changes
    assert {name: lines for name, lines in found.items() if name not in ELSEWHERE} == {}
    assert found.keys() == ELSEWHERE.keys(), "an exception that is none any more"
