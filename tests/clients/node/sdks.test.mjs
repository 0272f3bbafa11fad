// The JavaScript SDKs through the gateway: streaming, not streaming, tool calls, prompts, refusals.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Anthropic, OpenAI, cuts, leakIn, planted, sentence, startGateway, startLlm } from "./gateway.mjs";

let llm, gateway, openai, anthropic;
const options = { apiKey: "not-a-key", maxRetries: 0, timeout: 20_000 };
const ask = { model: "m", messages: [{ role: "user", content: "hello" }] };

before(async () => {
  llm = await startLlm();
  gateway = await startGateway(llm.url);
  openai = new OpenAI({ ...options, baseURL: `${gateway.url}/v1` });
  anthropic = new Anthropic({ ...options, baseURL: gateway.url });
});

after(() => {
  gateway?.stop();
  llm?.stop();
});

const event = (name, data) => `${name ? `event: ${name}\n` : ""}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;

function openaiStream(deltas, finish = "stop") {
  const chunk = (delta, reason = null) =>
    event(null, { id: "c1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: reason }] });
  llm.answer = [200, "text/event-stream", [...deltas.map((delta) => chunk(delta)), chunk({}, finish), event(null, "[DONE]")]];
}

function anthropicStream(block, deltas, stop = "end_turn") {
  const message = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 } };
  const named = (type, fields) => event(type, { type, ...fields });
  llm.answer = [200, "text/event-stream", [
    named("message_start", { message }),
    named("content_block_start", { index: 0, content_block: block }),
    ...deltas.map((delta) => named("content_block_delta", { index: 0, delta })),
    named("content_block_stop", { index: 0 }),
    named("message_delta", { delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 9 } }),
    named("message_stop", {}),
  ]];
}

function assertMasked(p, text) {
  assert.equal(leakIn(p, text), null, text);
  const [head, tail] = p.text.split("{}");
  assert.ok(text.startsWith(head) && text.endsWith(tail), text);
}

for (const p of planted) {
  test(`openai content: ${p.class}`, async () => {
    for (const parts of cuts(sentence(p))) {
      openaiStream(parts.map((content) => ({ content })));
      let text = "";
      for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true })) {
        text += chunk.choices[0].delta.content ?? "";
      }
      assertMasked(p, text);
    }
  });

  test(`openai tool arguments: ${p.class}`, async () => {
    for (const parts of cuts(JSON.stringify({ note: sentence(p), n: 1 }))) {
      const first = { tool_calls: [{ index: 0, id: "c", type: "function", function: { name: "note", arguments: "" } }] };
      openaiStream([first, ...parts.map((part) => ({ tool_calls: [{ index: 0, function: { arguments: part } }] }))], "tool_calls");
      let text = "";
      for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true })) {
        text += chunk.choices[0].delta.tool_calls?.[0].function.arguments ?? "";
      }
      const value = JSON.parse(text);
      assertMasked(p, value.note);
      assert.equal(value.n, 1);
    }
  });

  test(`anthropic text: ${p.class}`, async () => {
    for (const parts of cuts(sentence(p))) {
      anthropicStream({ type: "text", text: "" }, parts.map((text) => ({ type: "text_delta", text })));
      const message = await anthropic.messages.stream({ ...ask, max_tokens: 9 }).finalMessage();
      assertMasked(p, message.content[0].text);
    }
  });

  test(`anthropic tool input: ${p.class}`, async () => {
    for (const parts of cuts(JSON.stringify({ note: sentence(p), n: 1 }))) {
      const deltas = parts.map((partial_json) => ({ type: "input_json_delta", partial_json }));
      anthropicStream({ type: "tool_use", id: "t", name: "note", input: {} }, deltas, "tool_use");
      const message = await anthropic.messages.stream({ ...ask, max_tokens: 9 }).finalMessage();
      assertMasked(p, message.content[0].input.note);
      assert.equal(message.content[0].input.n, 1);
    }
  });

  test(`prompts and whole answers: ${p.class}`, async () => {
    llm.requests.length = 0;
    const messages = [{ role: "user", content: sentence(p) }];
    llm.answer = [200, "application/json", [JSON.stringify({ id: "c", choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: sentence(p) } }] })]];
    const completion = await openai.chat.completions.create({ model: "m", messages });
    assertMasked(p, completion.choices[0].message.content);
    llm.answer = [200, "application/json", [JSON.stringify({ id: "m", type: "message", role: "assistant", content: [{ type: "text", text: sentence(p) }] })]];
    const message = await anthropic.messages.create({ model: "m", max_tokens: 9, messages });
    assertMasked(p, message.content[0].text);
    assert.deepEqual(llm.requests.map((r) => r.path), ["/v1/chat/completions", "/v1/messages"]);
    for (const { body } of llm.requests) assertMasked(p, body.messages[0].content);
  });
}

test("an upstream that is down raises the SDKs' own errors", async () => {
  const nobody = await startLlm();
  nobody.stop();
  const lonely = await startGateway(nobody.url);
  try {
    await assert.rejects(new OpenAI({ ...options, baseURL: `${lonely.url}/v1` }).chat.completions.create(ask), OpenAI.InternalServerError);
    await assert.rejects(new Anthropic({ ...options, baseURL: lonely.url }).messages.create({ ...ask, max_tokens: 9 }), Anthropic.InternalServerError);
  } finally {
    lonely.stop();
  }
});

test("a gateway that is down is a connection error", async () => {
  const nobody = await startLlm();
  nobody.stop();
  await assert.rejects(new OpenAI({ ...options, baseURL: `${nobody.url}/v1` }).chat.completions.create(ask), OpenAI.APIConnectionError);
  await assert.rejects(new Anthropic({ ...options, baseURL: nobody.url }).messages.create({ ...ask, max_tokens: 9 }), Anthropic.APIConnectionError);
});
