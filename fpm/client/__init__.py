"""A FastCGI client: the web server's side of the protocol, for ping, request, and the HTTP gateway of `pyfpm serve`.

records.py    flup6's record codec over a socket with deadlines; works around its faults response.py   a responder's
bytes -> status and headers exchange.py   one request on one connection request.py    SOCKET of a command line ->
address; the parameters of a request gateway.py    a WSGI application that forwards every request control.py    the
control socket's client, with snapshot.py for the pools' numbers
"""
