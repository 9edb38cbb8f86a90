"""start_response, write, iterables: PEP 3333 as bytes."""

from __future__ import annotations

import sys

import pytest

from fpm.wsgi import head
from fpm.wsgi.file_wrapper import FileWrapper
from fpm.wsgi.head import format_head
from fpm.wsgi.response import Response
from fpm.wsgi.run import run_application
from fpm.wsgi.sink import Unsent

PLAIN = [("Content-Type", "text/plain")]
HEAD = b"Content-Type: text/plain\r\n"
END = b"Status: 200 OK\r\n\r\n"


class Recorder:
    """A sink that keeps what it gets, piece by piece."""

    def __init__(self, can_finish=False):
        self.finished = False
        self.can_finish = can_finish
        self.pieces = []

    def send(self, data, is_last=False):
        if data:
            self.pieces.append(data)

    def find_file(self, file):
        return None

    def finish(self, data):
        self.pieces.append(data)
        self.finished = True

    @property
    def sent(self):
        return b"".join(self.pieces)


def respond(application, method="GET"):
    sink = Recorder()
    run_application(application, {}, Response(sink, method))
    return sink


def make(result, status="200 OK", headers=PLAIN):
    def application(environ, start_response):
        start_response(status, list(headers))
        return result

    return application


def test_one_element_gets_a_content_length_and_goes_out_at_once():
    sink = respond(make([b"hello"]))
    assert sink.pieces == [HEAD + b"Content-Length: 5\r\n" + END + b"hello"]
    assert sink.finished


def test_a_content_length_of_the_application_stays():
    assert respond(make([b"abc"], headers=[("content-length", "3")])).sent.count(b"ength: 3") == 1


def test_head_has_the_length_and_no_body():
    assert respond(make([b"hello"]), "HEAD").sent == HEAD + b"Content-Length: 5\r\n" + END
    assert respond(make([]), "HEAD").sent == HEAD + END
    assert respond(make(iter([b"a", b"b"])), "HEAD").sent == HEAD + END


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "103 Early Hints", "199"])
def test_statuses_without_a_body(status):
    for result in ([b""], [b"forbidden"], iter([b"forbidden"])):
        assert respond(make(result, status, [])).sent == f"Status: {status}\r\n\r\n".encode()


def test_a_generator_goes_out_block_by_block_and_empty_blocks_do_not():
    sink = respond(make(iter([b"", b"one", b"", b"two"])))
    assert sink.pieces == [HEAD + END + b"one", b"two", b""]


def test_start_response_may_come_with_the_first_block():
    def application(environ, start_response):
        start_response("200 OK", list(PLAIN))
        yield b"late"

    assert respond(application).sent == HEAD + END + b"late"


def test_write_sends_before_it_returns():
    sink = Recorder()

    def application(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        write(b"one")
        assert sink.pieces == [HEAD + END + b"one"]
        return [b"two"]

    run_application(application, {}, Response(sink, "GET"))
    assert sink.sent == HEAD + END + b"onetwo"
    assert sink.finished


def test_exc_info_replaces_a_head_that_has_not_gone_out():
    def application(environ, start_response):
        start_response("200 OK", list(PLAIN))
        try:
            raise KeyError("x")
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    assert respond(application).sent == b"Status: 500 Oops\r\nContent-Length: 5\r\n\r\nsorry"


def test_exc_info_raises_the_very_exception_when_the_head_has_gone_out():
    raised = KeyError("the very one")

    def application(environ, start_response):
        start_response("200 OK", list(PLAIN))(b"gone")
        try:
            raise raised
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        return []

    with pytest.raises(KeyError) as caught:
        respond(application)
    assert caught.value is raised


def test_a_second_start_response_without_exc_info():
    def application(environ, start_response):
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(RuntimeError, match="again without exc_info"):
        respond(application)


@pytest.mark.parametrize("result", [[b"x"], iter([b"x"]), [], iter([])])
def test_a_body_without_start_response(result):
    with pytest.raises(RuntimeError, match="before it called start_response"):
        respond(lambda environ, start_response: result)


@pytest.mark.parametrize("result", [["text"], iter(["text"]), [b"a", "b"], iter([None]), 5, None])
def test_a_body_that_is_not_made_of_bytes(result):
    with pytest.raises(TypeError):
        respond(make(result))


def test_a_missing_return_is_named():
    with pytest.raises(TypeError, match="the application has returned None"):
        respond(make(None))


class Closing:
    """An iterable that counts how often it was closed."""

    def __init__(self, blocks, error=None):
        self.blocks, self.error, self.closed = iter(blocks), error, 0

    def __iter__(self):
        yield from self.blocks
        if self.error:
            raise self.error

    def close(self):
        self.closed += 1


def test_close_is_called_once_whatever_happens():
    good, bad, wrong = Closing([b"x"]), Closing([b"x"], ValueError("boom")), Closing(["text"])
    respond(make(good))
    with pytest.raises(ValueError, match="boom"):
        respond(make(bad))
    with pytest.raises(TypeError):
        respond(make(wrong))
    assert (good.closed, bad.closed, wrong.closed) == (1, 1, 1)


def test_more_than_content_length_is_not_sent():
    sink = Recorder()
    response = Response(sink, "GET")
    run_application(make(iter([b"123", b"456"]), headers=[("Content-Length", "4")]), {}, response)
    assert sink.sent.endswith(b"\r\n\r\n1234")
    assert response.unsent == Unsent(surplus=2)
    assert sink.finished


@pytest.mark.parametrize("result", [[b"123"], [b"1", b"23"], iter([b"1", b"23"])])
def test_less_than_content_length_is_not_finished(result):
    sink = Recorder()
    response = Response(sink, "GET")
    run_application(make(result, headers=[("Content-Length", "4")]), {}, response)
    assert response.short
    assert not sink.finished


def test_finish_early():
    sink = Recorder()
    response = Response(sink, "GET")
    answers = []

    def application(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        answers.append(response.finish_early())
        answers.append(response.finish_early())
        write(b"dropped")
        yield b"dropped too"

    run_application(application, {}, response)
    assert answers == [True, False]
    assert (sink.sent, sink.finished, response.unsent) == (HEAD + END, True, Unsent(after_end=18))


@pytest.mark.parametrize("returned", ["the same", [], [b"other"]])
@pytest.mark.parametrize("kind", [list, Closing])
def test_finish_early_with_a_response(kind, returned):
    given = kind([b"all ", b"of it"])
    sink = Recorder()
    response = Response(sink, "GET")

    def application(environ, start_response):
        start_response("200 OK", list(PLAIN))
        assert response.finish_early(given)
        assert sink.finished
        return given if returned == "the same" else returned

    run_application(application, {}, response)
    assert sink.sent.endswith(b"\r\n\r\nall of it")
    assert (b"Content-Length: 9" in sink.sent) == isinstance(given, list)
    assert response.unsent == (Unsent(after_end=5) if returned == [b"other"] else None)
    assert getattr(given, "closed", 1) == 1


@pytest.mark.parametrize(
    ("method", "status", "body", "finished"),
    [
        ("GET", "200 OK", b"123", False),
        ("GET", "200 OK", b"1234", True),
        ("HEAD", "200 OK", b"", True),
        ("GET", "304 NM", b"", True),
    ],
)
def test_finish_early_and_the_promised_length(method, status, body, finished):
    for given in ([body], iter([body]), None):
        sink = Recorder()
        response = Response(sink, method)
        write = response.start_response(status, [("Content-Length", "4")])
        if given is None and body:
            write(body)
        assert response.finish_early(given)
        assert (sink.finished, response.short) == (finished, not finished)
        assert sink.sent.endswith(b"\r\n\r\n" + body)
        assert not response.finish_early()


def test_an_iterable_that_fails_in_the_middle_finishes_nothing():
    sink = Recorder()
    response = Response(sink, "GET")

    def blocks():
        yield b"first"
        raise LookupError

    response.start_response("200 OK", list(PLAIN))
    with pytest.raises(LookupError):
        response.finish_early(blocks())
    assert not sink.finished
    assert response.finish_early()
    assert sink.sent.endswith(b"first")


def test_finish_early_before_start_response():
    with pytest.raises(RuntimeError, match="before start_response"):
        Response(Recorder(), "GET").finish_early()


def test_file_wrapper_reads_blocks_and_closes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    file = path.open("rb")
    sink = respond(make(FileWrapper(file, 40)))
    assert [len(piece) for piece in sink.pieces[1:]] == [40, 20, 0]
    assert file.closed


def test_file_wrapper_reads_no_more_than_the_content_length(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file:
        response = Response(sink := Recorder(), "GET")
        run_application(make(iter_of(file), headers=[("Content-Length", "50")]), {}, response)
        assert (sink.sent.count(b"x"), file.tell(), response.unsent) == (50, 50, None)


def iter_of(file):
    wrapper = FileWrapper(file, 40)
    wrapper.close = lambda: None
    return wrapper


def complete(blocks, length=5, can_finish=True, method="GET"):
    """The pieces of a response of five bytes, and the response."""
    sink = Recorder(can_finish)
    response = Response(sink, method)
    headers = [*PLAIN, ("Content-Length", str(length))]
    run_application(make(blocks, headers=headers), {}, response)
    return sink, response


def test_a_block_that_completes_the_content_length_brings_the_end_with_it():
    steps = []

    def blocks():
        yield b"12"
        yield b"345"
        steps.append(sink.finished)
        yield b""
        steps.append("not asked for")

    sink = Recorder(can_finish=True)
    response = Response(sink, "GET")
    run_application(make(blocks(), headers=[*PLAIN, ("Content-Length", "5")]), {}, response)
    assert [piece[-3:] for piece in sink.pieces] == [b"\n12", b"345"]
    assert steps == [True]
    assert not response.unusual


def test_the_end_waits_where_the_sink_cannot_take_it():
    sink, _ = complete(iter([b"12", b"345"]), can_finish=False)
    assert [piece[-3:] for piece in sink.pieces] == [b"\n12", b"345", b""]


@pytest.mark.parametrize("can_finish", [True, False])
def test_what_comes_after_a_complete_body_is_told_once(can_finish):
    asked = []

    def blocks():
        yield b"12345"
        asked.append(1)
        yield b"678"
        asked.append(2)
        yield b"9"

    sink, response = complete(blocks(), can_finish=can_finish)
    assert sink.sent.endswith(b"\r\n\r\n12345")
    assert (sink.finished, asked) == (True, [1])
    assert response.unsent == Unsent(surplus=3)


def test_a_block_that_is_too_long_is_cut_and_ends_it():
    sink, response = complete(iter([b"1234567", b"8"]))
    assert (sink.sent[-5:], len(sink.pieces), response.unsent) == (b"12345", 1, Unsent(surplus=2))


def test_a_failure_after_the_end_is_raised_and_the_iterable_closed():
    class Blocks:
        closed = False

        def __iter__(self):
            yield b"12345"
            raise LookupError

        def close(self):
            self.closed = True

    blocks, sink = Blocks(), Recorder(can_finish=True)
    with pytest.raises(LookupError):
        run_application(make(blocks, headers=[("Content-Length", "5")]), {}, Response(sink, "GET"))
    assert (sink.finished, blocks.closed) == (True, True)


def test_write_never_brings_the_end():
    sink = Recorder(can_finish=True)
    response = Response(sink, "GET")
    response.start_response("200 OK", [("Content-Length", "5")])(b"12345")
    assert not sink.finished


def test_finish_early_after_the_end_has_gone_out():
    sink = Recorder(can_finish=True)
    response = Response(sink, "GET")

    def blocks():
        yield b"12345"
        assert response.finish_early() is False

    run_application(lambda environ, start: start("200 OK", [("Content-Length", "5")]) and blocks(), {}, response)
    assert (sink.sent[-5:], response.unusual) == (b"12345", False)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200", "not a list"),
        (200, []),
        ("OK", []),
        ("200 OK\r\nX: y", []),
        ("20 OK", []),
        ("200 OK", [("X", "a\r\nY: b")]),
        ("200 OK", [("X", "a\nb")]),
        ("200 OK", [("X", "a\0")]),
        ("200 OK", [("X\r\n", "a")]),
        ("200 OK", [("X y", "a")]),
        ("200 OK", [("", "a")]),
        ("200 OK", [("X:", "a")]),
        ("200 OK", [("X", "€")]),
        ("200 €", []),
        ("200 OK", [("X", 5)]),
        ("200 OK", [(b"X", "a")]),
        ("200 OK", [("X", b"a")]),
        ("200 OK", [("Status", "404")]),
        ("200 OK", [("Content-Length", "five")]),
        ("200 OK", [("Content-Length", "-5")]),
        ("200 OK", [("X", "a", "b")]),
        ("200 OK", ["no pair"]),
    ],
)
def test_heads_that_break_the_rules(status, headers):
    for _ in range(2):  # the second time the caches must not have learnt something wrong
        with pytest.raises((TypeError, ValueError)):
            format_head(status, headers)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([["Content-Type", "text/plain"]], "a header must be a tuple (name, value), not a list: ['Content-Type', "),
        ([("A", "b"), "X: y"], "a header must be a tuple (name, value), not a str: 'X: y'"),
        (["ab"], "a header must be a tuple (name, value), not a str: 'ab'"),
        ([("X",)], "a header must be a tuple (name, value), not a tuple: ('X',)"),
        ([({}, "x")], "a header name must be a str, not dict"),
        ((("A", "b"),), "headers must be a list of tuples (name, value), not a tuple: (('A', 'b'),)"),
        ({"A": "b"}, "headers must be a list of tuples (name, value), not a dict: {'A': 'b'}"),
        (None, "headers must be a list of tuples (name, value), not a NoneType: None"),
    ],
)
def test_what_is_wrong_with_headers_is_said(headers, said):
    with pytest.raises(TypeError) as caught:
        format_head("200 OK", headers)
    assert str(caught.value).startswith(said)


def test_heads_that_keep_them():
    text, length, _ = format_head("404 Nicht da \xe4", [("X-Latin", "\xe4\xff\xa0"), ("X-Tab", "a\tb"), ("x", "")])
    assert text == "X-Latin: \xe4\xff\xa0\r\nX-Tab: a\tb\r\nx: \r\n"
    assert length is None
    assert format_head("200 OK", [("CONTENT-LENGTH", "12")])[1] == 12


def test_fields_that_are_the_web_servers_are_left_out_and_told_once(monkeypatch):
    monkeypatch.setattr(head, "_told", set())
    monkeypatch.setattr(head, "known_fields", {})
    headers = [("connection", "keep-alive"), ("A", "b"), ("Keep-Alive", "timeout=5"), ("Transfer-Encoding", "chunked")]
    told = ("connection", "Keep-Alive", "Transfer-Encoding")
    for expected in (told, (), ()):
        assert format_head("200 OK", list(headers)) == ("A: b\r\n", None, expected)
    assert format_head("200 OK", [("Connection", "close"), ("Content-Length", "3")]) == ("Content-Length: 3\r\n", 3, ())


class Endless:
    """An iterable without an end: what it gives, how often it was asked, and whether it was closed."""

    def __init__(self, piece=b"more"):
        self.piece, self.asked, self.closed = piece, 0, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.asked += 1
        assert self.asked < 1000, "it is asked for ever"
        return self.piece

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("method", "status", "headers", "asked"),
    [
        ("HEAD", "200 OK", PLAIN, 0),
        ("HEAD", "200 OK", [("Content-Length", "9")], 0),
        ("GET", "204 No Content", [], 0),
        ("GET", "304 Not Modified", [], 0),
        ("GET", "101 Switching Protocols", [], 0),
        ("GET", "200 OK", [("Content-Length", "0")], 1),
        ("GET", "200 OK", [("Content-Length", "3")], 1),
        ("GET", "200 OK", [("Content-Length", "8")], 3),
    ],
)
def test_an_endless_body_of_which_no_more_is_wanted(method, status, headers, asked):
    endless = Endless()
    sink = respond(make(endless, status, headers), method)
    assert (sink.finished, endless.asked, endless.closed) == (True, asked, 1)

    def late(environ, start_response):
        start_response(status, list(headers))
        yield from Endless(b"" if method == "HEAD" or not asked else b"more")

    assert respond(late, method).sent == sink.sent


def test_a_body_that_is_whole_when_empty_pieces_follow():
    sink = respond(make(iter([b"12345", *([b""] * 5)]), headers=[("Content-Length", "5")]))
    assert sink.finished


def test_the_code_after_the_last_piece_runs():
    ran = []

    def pieces():
        yield b"12345"
        ran.append("to its end")

    assert respond(make(pieces(), headers=[("Content-Length", "5")])).finished
    assert ran == ["to its end"]


def test_head_of_what_is_no_answer():
    with pytest.raises(TypeError):
        respond(make(None), "HEAD")
