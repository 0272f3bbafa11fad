"""The `websockets` library on both sides of the gateway: client and server as they come, with all they offer."""

import json
import threading

import pytest
from conftest import Gateway, assert_masked, cuts, leak_in, sentence
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve


class Realtime:
    """A server that keeps what comes and sends what the test says."""

    def __init__(self):
        self.came = []
        self.answers = []
        self.server = serve(self.talk, "127.0.0.1", 0, subprotocols=["realtime"])
        self.url = "http://127.0.0.1:%d" % self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def talk(self, connection):
        self.extensions = list(connection.protocol.extensions)
        for message in connection:
            self.came.append(message)
            for answer in self.answers:
                connection.send(answer)

    def take(self):
        taken, self.came = self.came, []
        return taken


@pytest.fixture(scope="module")
def realtime():
    return Realtime()


@pytest.fixture(scope="module")
def url(realtime):
    gateway = Gateway(realtime.url)
    yield gateway.url.replace("http", "ws", 1) + "/v1/realtime"
    gateway.stop()


@pytest.fixture(scope="module")
def client(url):
    with connect(url, subprotocols=["realtime"]) as client:
        assert client.subprotocol == "realtime"
        # It offered permessage-deflate, which nobody could look into.
        assert not client.protocol.extensions
        yield client


def test_messages_both_ways(realtime, client, planted):
    text = sentence(planted)
    whole = [text, json.dumps({"type": "conversation.item.create", "item": {"text": text}})]
    fragments = [text[i : i + 5] for i in range(0, len(text), 5)]
    for message in [*whole, fragments]:
        realtime.answers = [message]
        client.send(message)
        answer = client.recv()
        [came] = realtime.take()
        for got in (came, answer):
            if message is whole[1]:
                got = json.loads(got)["item"]["text"]
            assert_masked(planted, got)
    assert not realtime.extensions


def test_deltas(realtime, client, planted):
    for parts in list(cuts(sentence(planted)))[::5]:
        event = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
        deltas = [{"type": "response.audio_transcript.delta", **event, "delta": part} for part in parts]
        end = {"type": "response.audio_transcript.done", **event, "transcript": "".join(parts)}
        realtime.answers = [json.dumps(e) for e in [*deltas, end]]
        client.send("go")
        text = "".join(json.loads(client.recv())["delta"] for _ in deltas)
        assert_masked(planted, text)
        assert leak_in(planted, client.recv()) is None


def test_bytes(realtime, client):
    body = bytes(range(256)) * 300 + b" AKIAEZH5VTGLTMQAZX6T " + bytes(100_000)
    realtime.take()
    realtime.answers = [body]
    client.send(body)
    answer = client.recv()
    [came] = realtime.take()
    for got in (came, answer):
        assert len(got) == len(body) and b"AKIAEZH5" not in got and got[:76000] == body[:76000]


def test_pings_and_closes(realtime, url):
    with connect(url, subprotocols=["realtime"]) as client:
        assert client.ping().wait(10)
        client.close(4000, "done with AKIAEZH5VTGLTMQAZX6T")
        assert client.close_code == 4000
    realtime.answers = ["x"]
    with connect(url, subprotocols=["realtime"]) as client:
        client.send("caf\u00e9")
        assert client.recv() == "x"
        client.protocol.send_text(b"not \xff text")
        client.socket.sendall(b"".join(client.protocol.data_to_send()))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1007
