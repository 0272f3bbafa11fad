"""Refusals raise the exceptions that the SDKs raise for any other provider, and carry no payload."""

import socket

import anthropic
import openai
import pytest
from conftest import Gateway

OPENAI_ASK = {"model": "m", "messages": [{"role": "user", "content": "key AKIAEZH5VTGLTMQAZX6T"}]}
ANTHROPIC_ASK = {**OPENAI_ASK, "max_tokens": 9}


def unused():
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clients(url):
    return (
        openai.OpenAI(base_url=url + "/v1", api_key="not-a-key", max_retries=0, timeout=20),
        anthropic.Anthropic(base_url=url, api_key="not-a-key", max_retries=0, timeout=20),
    )


def test_a_gateway_that_is_down_is_a_connection_error():
    oai, ant = clients(f"http://127.0.0.1:{unused()}")
    with pytest.raises(openai.APIConnectionError):
        oai.chat.completions.create(**OPENAI_ASK)
    with pytest.raises(anthropic.APIConnectionError):
        ant.messages.create(**ANTHROPIC_ASK)


def test_an_upstream_that_is_down_is_a_server_error():
    gateway = Gateway(f"http://127.0.0.1:{unused()}")
    try:
        oai, ant = clients(gateway.url)
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as raised:
                oai.chat.completions.create(**OPENAI_ASK, stream=stream)
            assert raised.value.status_code == 502
            assert raised.value.code == "upstream_unreachable"
            assert "AKIA" not in str(raised.value)
            with pytest.raises(anthropic.InternalServerError) as raised:
                ant.messages.create(**ANTHROPIC_ASK, stream=stream)
            assert raised.value.status_code == 502
            assert raised.value.body["type"] == "error"
            assert "AKIA" not in str(raised.value)
    finally:
        gateway.stop()


@pytest.mark.parametrize(
    "status, kind",
    [(400, "BadRequestError"), (401, "AuthenticationError"), (404, "NotFoundError"), (429, "RateLimitError"),
     (500, "InternalServerError")],
)
def test_upstreams_own_errors_pass(llm, oai, ant, status, kind):
    llm.json({"error": {"message": "the key AKIAEZH5VTGLTMQAZX6T is wrong", "type": "t", "code": "c"}}, status)
    with pytest.raises(getattr(openai, kind)) as raised:
        oai.chat.completions.create(**OPENAI_ASK)
    assert raised.value.status_code == status
    assert "[aws_access_key] is wrong" in raised.value.message
    llm.json({"type": "error", "error": {"type": "t", "message": "the key AKIAEZH5VTGLTMQAZX6T is wrong"}}, status)
    with pytest.raises(getattr(anthropic, kind)) as raised:
        ant.messages.create(**ANTHROPIC_ASK)
    assert raised.value.status_code == status
    assert "AKIA" not in str(raised.value)


def test_a_stream_that_breaks_off_is_an_error(llm, oai):
    llm.answer = (200, "text/event-stream", [b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', b"data: {not json\n\n"])
    with pytest.raises(Exception):
        for _ in oai.chat.completions.create(**OPENAI_ASK, stream=True):
            pass
