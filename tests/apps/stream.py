"""A body in pieces: `?COUNT,SIZE,PAUSE` (3 pieces of 10 bytes without pause)."""

import time


def application(environ, start_response):
    count, size, pause = (environ["QUERY_STRING"] or "3,10,0").split(",")
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return pieces(int(count), int(size), float(pause))


def pieces(count, size, pause):
    for number in range(count):
        if number and pause:
            time.sleep(pause)
        yield bytes([ord("a") + number % 26]) * size
