"""OpenAI chat through the gateway with the real SDK: streaming, not streaming, tool calls, several choices."""

import json

import pytest
from conftest import assert_masked, cuts, leak_in, sentence

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def streamed(oai, **more):
    """Contents by choice, and the arguments of the first tool call."""
    contents, arguments, finished = {}, "", set()
    for chunk in oai.chat.completions.create(**ASK, stream=True, **more):
        for choice in chunk.choices:
            assert choice.index not in finished or not choice.delta.content, "text after the end of its choice"
            if choice.delta.content:
                contents[choice.index] = contents.get(choice.index, "") + choice.delta.content
            for call in choice.delta.tool_calls or []:
                arguments += call.function.arguments or ""
            if choice.finish_reason:
                finished.add(choice.index)
    return contents, arguments, finished


def test_content_cut_everywhere(llm, oai, planted):
    for parts in cuts(sentence(planted)):
        llm.openai_content(parts)
        contents, _, finished = streamed(oai)
        assert_masked(planted, contents[0])
        assert finished == {0}


def test_arguments_cut_everywhere(llm, oai, planted):
    text = json.dumps({"note": sentence(planted), "n": 1})
    for parts in cuts(text):
        llm.openai_arguments(parts)
        _, arguments, _ = streamed(oai)
        value = json.loads(arguments)
        assert_masked(planted, value["note"])
        assert value["n"] == 1


def test_two_choices(llm, oai, planted):
    text = sentence(planted)
    for at in range(0, len(text), 3):
        parts = [text[:at], text[at:]]
        llm.openai_deltas([(i, {"content": part}) for part in parts for i in (0, 1)])
        contents, _, finished = streamed(oai, n=2)
        assert_masked(planted, contents[0])
        assert_masked(planted, contents[1])
        assert finished == {0, 1}


def test_not_streamed(llm, oai, planted):
    call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": json.dumps({"note": sentence(planted)})}}
    llm.openai_message({"content": sentence(planted), "tool_calls": [call]})
    message = oai.chat.completions.create(**ASK).choices[0].message
    assert_masked(planted, message.content)
    assert_masked(planted, json.loads(message.tool_calls[0].function.arguments)["note"])


def test_prompt(llm, oai, planted):
    llm.openai_message({"content": "fine"})
    llm.take_requests()
    tool = {"role": "tool", "tool_call_id": "c", "content": json.dumps({"found": sentence(planted)})}
    call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": json.dumps({"q": sentence(planted)})}}
    messages = [
        {"role": "system", "content": sentence(planted)},
        {"role": "user", "content": [{"type": "text", "text": sentence(planted)}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        tool,
    ]
    answer = oai.chat.completions.create(model="m", messages=messages)
    assert answer.choices[0].message.content == "fine"
    [(path, _, body)] = llm.take_requests()
    assert path == "/v1/chat/completions"
    assert leak_in(planted, json.dumps(body)) is None, body
    assert_masked(planted, body["messages"][0]["content"])
    assert_masked(planted, body["messages"][1]["content"][0]["text"])
    assert_masked(planted, json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"])["q"])
    assert_masked(planted, json.loads(body["messages"][3]["content"])["found"])


CLEAN = [
    "Plain words, and nothing else.",
    "Grüße, 世界! 👩‍👩‍👧‍👦 e\u0301 naïve café — \u2028 \u200d",
    'fn main() {\n\tlet x: Vec<&str> = vec!["a", "b\\n"];\r\n    println!("{:?}", x); // 100% & <b>\n}\n',
    '{"a": [1, 2.5e-3, null], "b": "c:\\\\d\\u0041"}',
]


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_is_unchanged(llm, oai, text):
    for parts in cuts(text):
        llm.openai_content(parts)
        assert streamed(oai)[0][0] == text
    llm.openai_message({"content": text})
    llm.take_requests()
    answer = oai.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    assert answer.choices[0].message.content == text
    [(_, _, body)] = llm.take_requests()
    assert body["messages"][0]["content"] == text


def test_the_sdks_own_helper_accumulates(llm, oai):
    llm.openai_arguments(['{"no', 'te": "key AKIAEZH5VTG', 'LTMQAZX6T"}'])
    with oai.chat.completions.stream(**ASK) as stream:
        message = stream.get_final_completion().choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"note": "key [aws_access_key]"}
