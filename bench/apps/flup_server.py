"""flup6's prefork server with the application of the benchmark: SOCKET WORKERS."""

import sys

from flup.server.fcgi_fork import WSGIServer
from hello import application

path, workers = sys.argv[1], int(sys.argv[2])
counts = {"minSpare": workers, "maxSpare": workers, "maxChildren": workers, "maxRequests": 10**9}
WSGIServer(application, bindAddress=path, debug=False, **counts).run()
