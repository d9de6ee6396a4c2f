"""What a worker is told at its start."""

import os
import socket

import pytest

from mta.supervisor.post import Post, taken

POST = Post(2, 4, 5, 6, (7, 8), (), (10,))


def test_it_is_read_as_it_was_written() -> None:
    assert POST.dump() == "2/4,lifeline=5,lock=6,submission=7+8,inbound=,http=10"
    assert Post.parse(POST.dump()) == POST


def test_everything_is_inherited() -> None:
    assert POST.descriptors == (5, 6, 7, 8, 10)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2/4",
        "3/2,lifeline=5,lock=6,submission=,inbound=,http=",
        "0/2,lifeline=5,lock=6,submission=,inbound=,http=",
        "1/2,lifeline=5+6,lock=6,submission=,inbound=,http=",
        "1/2,lifeline=,lock=6,submission=,inbound=,http=",
        "1/2,lifeline=5,lock=6,submission=x,inbound=,http=",
        "1/2,lifeline=5,lock=6,submission=,inbound=",
    ],
)
def test_what_is_no_post_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"post|no worker"):
        Post.parse(text)


def test_what_was_handed_over_goes_no_further() -> None:
    with socket.socket() as listener, socket.socket() as line:
        for one in (listener, line):
            os.set_inheritable(one.fileno(), True)
        Post(1, 1, line.fileno(), line.fileno(), (listener.fileno(),)).keep()
        assert not os.get_inheritable(listener.fileno())
        assert not os.get_inheritable(line.fileno())


def test_sockets_are_made_of_descriptors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (same,) = taken([os.dup(listener.fileno())])
        with same:
            assert same.getsockname() == listener.getsockname()
