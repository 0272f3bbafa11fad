"""Gemini through the gateway with the real SDK: text, thoughts, calls and code."""

import pytest
from conftest import assert_masked, cuts, sentence
from google import genai
from google.genai import types


@pytest.fixture(scope="module")
def gem(gateway):
    options = types.HttpOptions(base_url=gateway.url, timeout=20_000)
    return genai.Client(api_key="not-a-key", vertexai=False, http_options=options)


def streamed(gem):
    """Answer, thoughts, and all other parts."""
    answer, thoughts, others = "", "", []
    for chunk in gem.models.generate_content_stream(model="m", contents="hello"):
        for part in chunk.candidates[0].content.parts or []:
            if part.text is None:
                others.append(part)
            elif part.thought:
                thoughts += part.text
            else:
                answer += part.text
    return answer, thoughts, others


def test_text_cut_everywhere(llm, gem, planted):
    for parts in list(cuts(sentence(planted)))[::3]:
        llm.gemini([[{"text": part}] for part in parts])
        assert_masked(planted, streamed(gem)[0])


def test_thoughts_beside_text(llm, gem, planted):
    text = sentence(planted)
    for at in range(0, len(text), 3):
        halves = text[:at], text[at:]
        llm.gemini([[{"text": half, "thought": True}, {"text": half}] for half in halves] + [[{"text": ""}]])
        answer, thoughts, _ = streamed(gem)
        assert_masked(planted, answer)
        assert_masked(planted, thoughts)


def test_calls_and_code(llm, gem, planted):
    text = sentence(planted)
    call = {"functionCall": {"name": "note", "args": {"note": text, "n": 1}}}
    code = {"executableCode": {"language": "PYTHON", "code": text}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": text}}
    llm.gemini([[call], [code], [result]])
    _, _, (call, code, result) = streamed(gem)
    assert_masked(planted, call.function_call.args["note"])
    assert call.function_call.args["n"] == 1
    assert_masked(planted, code.executable_code.code)
    assert_masked(planted, result.code_execution_result.output)


def test_not_streamed(llm, gem, planted):
    candidate = {"content": {"role": "model", "parts": [{"text": sentence(planted)}]}, "index": 0, "finishReason": "STOP"}
    llm.json({"candidates": [candidate]})
    answer = gem.models.generate_content(model="m", contents="hello")
    assert_masked(planted, answer.text)
