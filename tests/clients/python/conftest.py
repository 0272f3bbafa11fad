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


class Gateway:
    """`sluice serve` on a port of its own."""

    def __init__(self, upstream):
        binary = os.environ.get("SLUICE_BIN", str(ROOT / "target/debug/sluice"))
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--allow-anonymous",
                   "--admin", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.url = None
        for line in self.process.stdout:
            found = re.search(r"(http://[0-9.:]+)", line)
            if found and "gateway" in line.lower():
                self.url = found[1]
            if found and "admin" in line.lower():
                self.admin = found[1]
            if self.url and hasattr(self, "admin"):
                return
        raise RuntimeError("sluice serve ended before it listened")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


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
