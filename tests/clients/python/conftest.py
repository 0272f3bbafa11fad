"""The gateway before an LLM of the test's, and the real SDKs before the gateway."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import anthropic
import openai
import pytest

from llm import Llm

ROOT = Path(__file__).resolve().parents[3]
PLANTED = json.loads((ROOT / "tests/cases/planted.json").read_text())
FRAGMENT_BYTES = 8


BINARY = os.environ.get("SLUICE_BIN", str(ROOT / "target/debug/sluice"))


class Server:
    """The binary, on ports of its own; `addresses` are those it printed, by name."""

    def __init__(self, *arguments, names):
        self.process = subprocess.Popen(
            [BINARY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.addresses = {}
        for line in self.process.stdout:
            found = re.match(r"sluice: (\w+) on (http://[0-9.:]+)", line)
            if found:
                self.addresses[found[1]] = found[2]
            if names <= self.addresses.keys():
                return
        raise RuntimeError("sluice ended before it listened")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Gateway(Server):
    """`sluice serve`."""

    def __init__(self, upstream, *more):
        arguments = ["--listen", "127.0.0.1:0", "--upstream", upstream, "--allow-anonymous", "--admin", "127.0.0.1:0"]
        super().__init__("serve", *arguments, *more, names={"gateway", "admin"})
        self.url = self.addresses["gateway"]


@pytest.fixture(scope="session")
def llm():
    return Llm()


@pytest.fixture(scope="session")
def gateway(llm):
    gateway = Gateway(llm.url)
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def oai(gateway):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="not-a-key", max_retries=0, timeout=20)


@pytest.fixture(scope="session")
def ant(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key="not-a-key", max_retries=0, timeout=20)


@pytest.fixture(params=PLANTED, ids=[p["class"] for p in PLANTED])
def planted(request):
    return request.param


def sentence(planted):
    return planted["text"].replace("{}", planted["value"])


def leak_in(planted, text):
    """The first fragment of the value that the text holds, line breaks and their escapes left out."""
    text = text.replace("\\n", "").replace("\n", "")
    sensitive = planted.get("sensitive", planted["value"])
    length = min(FRAGMENT_BYTES, len(sensitive))
    for at in range(len(sensitive) - length + 1):
        if sensitive[at : at + length] in text:
            return sensitive[at : at + length]
    return None


def assert_masked(planted, text):
    assert leak_in(planted, text) is None, text
    before, after = planted["text"].split("{}")
    assert text.startswith(before) and text.endswith(after), text


def cuts(text):
    """Every way to cut the text into two deltas, then deltas of one to five characters."""
    for at in range(len(text) + 1):
        yield [text[:at], text[at:]]
    for size in range(1, 6):
        yield [text[i : i + size] for i in range(0, len(text), size)]
