"""The SDKs against `sluice demo`: its fake LLM says what the test scripts, through the demo's own gateway."""

import json

import anthropic
import httpx
import openai
import pytest
from conftest import Server, assert_masked, leak_in, sentence


class Demo:
    def __init__(self):
        ports = [a for name in ("--listen", "--llm", "--admin") for a in (name, "127.0.0.1:0")]
        self.server = Server("demo", "--quiet", *ports, names={"gateway", "llm", "admin"})
        url = self.server.addresses["gateway"]
        self.llm = httpx.Client(base_url=self.server.addresses["llm"])
        self.admin = httpx.Client(base_url=self.server.addresses["admin"])
        self.oai = openai.OpenAI(base_url=url + "/v1", api_key="not-a-key", max_retries=0, timeout=20)
        self.ant = anthropic.Anthropic(base_url=url, api_key="not-a-key", max_retries=0, timeout=20)

    def script(self, kind, text, **cuts):
        self.llm.post("/demo/script", json={"id": "t", "kind": kind, "text": text, "pause_ms": 0, **cuts}).raise_for_status()

    def ask(self, text="hello"):
        return {"model": "script:t", "messages": [{"role": "user", "content": text}]}


@pytest.fixture(scope="module")
def demo():
    demo = Demo()
    yield demo
    demo.server.stop()


def scripts(text):
    """Every way to cut the text into two deltas, then deltas of a few characters, also cut on the wire."""
    for at in range(1, len(text)):
        yield {"cuts": [at]}
    for size in range(1, 6):
        yield {"delta_chars": size}
    yield {"delta_chars": 3, "wire_bytes": 7}


def test_text(demo, planted):
    for how in scripts(sentence(planted)):
        demo.script("text", sentence(planted), **how)
        chunks = demo.oai.chat.completions.create(**demo.ask(), stream=True)
        assert_masked(planted, "".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
        with demo.ant.messages.stream(**demo.ask(), max_tokens=9) as stream:
            assert_masked(planted, stream.get_final_message().content[0].text)
    assert_masked(planted, demo.oai.chat.completions.create(**demo.ask()).choices[0].message.content)
    assert_masked(planted, demo.ant.messages.create(**demo.ask(), max_tokens=9).content[0].text)


def test_tool(demo, planted):
    text = json.dumps({"note": sentence(planted)})
    for how in scripts(text):
        demo.script("tool", text, **how)
        arguments = ""
        for chunk in demo.oai.chat.completions.create(**demo.ask(), stream=True):
            for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                arguments += call.function.arguments or ""
        assert_masked(planted, json.loads(arguments)["note"])
        with demo.ant.messages.stream(**demo.ask(), max_tokens=9) as stream:
            [tool] = [block for block in stream.get_final_message().content if block.type == "tool_use"]
        assert_masked(planted, tool.input["note"])


def test_prompts_reach_the_llm_masked(demo, planted):
    demo.script("text", "fine")
    demo.llm.delete("/demo/requests").raise_for_status()
    demo.oai.chat.completions.create(**demo.ask(sentence(planted)))
    demo.ant.messages.create(**demo.ask(sentence(planted)), max_tokens=9)
    came = demo.llm.get("/demo/requests").json()
    assert [request["path"] for request in came] == ["/v1/chat/completions", "/v1/messages"]
    assert leak_in(planted, json.dumps(came)) is None, came


def test_metrics_count_what_was_masked(demo):
    demo.script("text", "key AKIAEZH5VTGLTMQAZX6T")

    def count():
        lines = demo.admin.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("sluice_") and "aws-access-key-id" in line)

    before = count()
    demo.oai.chat.completions.create(**demo.ask())
    assert count() == before + 1
