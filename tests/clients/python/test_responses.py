"""OpenAI Responses through the gateway with the real SDK, whose stream helper puts the answer together and checks the order."""

import json

from conftest import assert_masked, cuts, leak_in, sentence

ASK = {"model": "m", "input": "hello"}


def streamed(oai):
    """Deltas by item, what each item is in the end, and the order in which events came."""
    deltas, numbers = {}, []
    with oai.responses.stream(**ASK) as stream:
        for event in stream:
            numbers.append(event.sequence_number)
            if event.type.endswith(".delta"):
                deltas[event.output_index] = deltas.get(event.output_index, "") + event.delta
        final = stream.get_final_response()
    assert numbers == list(range(len(numbers))), numbers
    return deltas, final.output


def test_text_cut_everywhere(llm, oai, planted):
    for parts in list(cuts(sentence(planted)))[::3]:
        llm.responses([("text", parts)])
        deltas, output = streamed(oai)
        assert_masked(planted, deltas[0])
        assert output[0].content[0].text == deltas[0]


def test_arguments_cut_everywhere(llm, oai, planted):
    text = json.dumps({"note": sentence(planted), "n": 1})
    for parts in list(cuts(text))[::3]:
        llm.responses([("call", parts)])
        deltas, output = streamed(oai)
        value = json.loads(deltas[0])
        assert_masked(planted, value["note"])
        assert value["n"] == 1
        assert output[0].arguments == deltas[0]


def test_items_one_after_another(llm, oai, planted):
    text = sentence(planted)
    parts = [text[i : i + 4] for i in range(0, len(text), 4)]
    llm.responses([("summary", parts), ("text", parts), ("call", ["{", '"a":1}'])])
    deltas, output = streamed(oai)
    assert_masked(planted, deltas[0])
    assert output[0].summary[0].text == deltas[0] == deltas[1] == output[1].content[0].text
    assert deltas[2] == '{"a":1}'


def test_log_probabilities_never_spell_a_value(llm, oai, planted):
    text = sentence(planted)
    llm.responses([("text", [text[i : i + 3] for i in range(0, len(text), 3)])])
    spelled = b""
    for event in oai.responses.create(**ASK, stream=True):
        if event.type == "response.output_text.delta":
            spelled += b"".join(bytes(token.model_extra["bytes"]) for token in event.logprobs)
    assert leak_in(planted, spelled.decode()) is None
    assert spelled


def test_nothing_changes_without_a_value(llm, oai):
    parts = ["Hel", "lo the", "re, wor", "ld"]
    llm.responses([("text", parts)])
    deltas = [e for e in oai.responses.create(**ASK, stream=True) if e.type == "response.output_text.delta"]
    assert [event.delta for event in deltas] == parts
    assert [event.logprobs[0].token for event in deltas] == parts
