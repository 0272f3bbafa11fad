"""Anthropic messages through the gateway with the real SDK: streaming, not streaming, tools, thinking."""

import json

from conftest import assert_masked, cuts, leak_in, sentence

ASK = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}


def streamed(ant):
    """The message as the SDK's own helper puts it together, which checks the order of the events."""
    with ant.messages.stream(**ASK) as stream:
        return stream.get_final_message()


def test_text_cut_everywhere(llm, ant, planted):
    for parts in cuts(sentence(planted)):
        llm.anthropic_text(parts)
        message = streamed(ant)
        assert_masked(planted, message.content[0].text)
        assert message.stop_reason == "end_turn"


def test_thinking_cut_everywhere(llm, ant, planted):
    for parts in cuts(sentence(planted)):
        llm.anthropic_thinking(parts)
        block = streamed(ant).content[0]
        assert_masked(planted, block.thinking)
        assert block.signature == "c2lnbmF0dXJl"


def test_tool_input_cut_everywhere(llm, ant, planted):
    text = json.dumps({"note": sentence(planted), "n": 1})
    for parts in cuts(text):
        llm.anthropic_json(parts)
        block = streamed(ant).content[0]
        assert_masked(planted, block.input["note"])
        assert block.input["n"] == 1


def test_several_blocks(llm, ant, planted):
    text = sentence(planted)
    for at in range(0, len(text), 5):
        deltas = [{"type": "text_delta", "text": part} for part in (text[:at], text[at:])]
        llm.anthropic_blocks([({"type": "text", "text": ""}, deltas)] * 3)
        for block in streamed(ant).content:
            assert_masked(planted, block.text)


def test_events_one_by_one(llm, ant):
    llm.anthropic_text(["the key AKIAEZH5", "VTGLTMQAZX6T is", " out"])
    text, kinds = "", []
    for event in ant.messages.create(**ASK, stream=True):
        kinds.append(event.type)
        if event.type == "content_block_delta":
            text += event.delta.text
    assert text == "the key [aws_access_key] is out"
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.index("content_block_stop") > max(i for i, kind in enumerate(kinds) if kind == "content_block_delta")


def test_not_streamed(llm, ant, planted):
    tool = {"type": "tool_use", "id": "t", "name": "note", "input": {"note": sentence(planted), "deep": [{"n": 1}]}}
    llm.anthropic_message([{"type": "text", "text": sentence(planted)}, tool])
    message = ant.messages.create(**ASK)
    assert_masked(planted, message.content[0].text)
    assert_masked(planted, message.content[1].input["note"])
    assert message.content[1].input["deep"] == [{"n": 1}]


def test_prompt(llm, ant, planted):
    llm.anthropic_message([{"type": "text", "text": "fine"}])
    llm.take_requests()
    content = [
        {"type": "text", "text": sentence(planted)},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": sentence(planted)}]},
    ]
    answer = ant.messages.create(
        model="m", max_tokens=9, system=sentence(planted), messages=[{"role": "user", "content": content}]
    )
    assert answer.content[0].text == "fine"
    [(path, _, body)] = llm.take_requests()
    assert path == "/v1/messages"
    assert leak_in(planted, json.dumps(body)) is None, body
    assert_masked(planted, body["system"])
    assert_masked(planted, body["messages"][0]["content"][0]["text"])
    assert_masked(planted, body["messages"][0]["content"][1]["content"][0]["text"])
