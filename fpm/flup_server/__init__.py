"""`fpm.WSGIServer`, a replacement for the class of that name in flup.server.fcgi and flup.server.fcgi_fork.

A script creates one and calls run(). In the started process run() serves (`serve`): it starts a manager (fpm.manager)
with one pool, whose application is the script itself (`app = script:PATH`, see fpm.template.script), and waits. The
pool's template runs the script again; there run() hands the application over and does not return.
"""

from __future__ import annotations
