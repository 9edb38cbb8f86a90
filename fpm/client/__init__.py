"""A FastCGI client: the web server's side of the protocol, for ping, request, and the HTTP gateway of `pyfpm serve`.

records.py    flup6's record codec behind a wire with deadlines; its faults stop here
response.py   a responder's bytes -> status and headers
exchange.py   one request on one connection
params.py     what a web server says about a request
target.py     SOCKET in a command line -> an address to connect to
gateway.py    a WSGI application that passes every request on
"""
