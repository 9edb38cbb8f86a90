"""What the documents have for nginx is taken by a real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.markdown import DOCUMENTS, Block, blocks

HTTP_LEVEL = re.compile(r"^(?:upstream|server|map)\b.*?^\}\n", re.MULTILINE | re.DOTALL)
CERTIFICATE = re.compile(r"^\s*ssl_(certificate|certificate_key) .*$", re.MULTILINE)
"""Those of another machine: nginx would read them."""
BLOCKS = [
    pytest.param(block, id=f"{path.name}:{block.line}")
    for path in DOCUMENTS
    for block in blocks(path)
    if block.language == "nginx"
]


@pytest.mark.parametrize("block", BLOCKS)
def test_nginx_takes_it(block: Block, directory: Path) -> None:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert program, "nginx is not installed (Debian: nginx-light)"
    for name in ("fastcgi_params", "proxy_params", "mime.types"):
        if Path("/etc/nginx", name).exists():
            shutil.copy(f"/etc/nginx/{name}", directory / name)
    text = CERTIFICATE.sub("", block.text).replace(" ssl;", ";").replace(" ssl ", " ")
    outside = "".join(HTTP_LEVEL.findall(text))
    inside = HTTP_LEVEL.sub("", text)
    server = f"server {{ listen unix:{directory}/a.sock;\n{inside} }}" if inside.strip() else ""
    (directory / "nginx.conf").write_text(
        f"pid {directory}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {outside}\n{server} }}\n"
    )
    command = [program, "-t", "-q", "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
