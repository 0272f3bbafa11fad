// The OTLP exporters for HTTP, JSON and protobuf, before the gateway, a store behind it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  BasicTracerProvider, JsonExporter, ProtoExporter, SimpleSpanProcessor, leakIn, planted, resourceFromAttributes, sentence,
  startGateway, startStore,
} from "./gateway.mjs";

let store, gateway;

before(async () => {
  store = await startStore();
  gateway = await startGateway(store.url);
});

after(() => {
  gateway?.stop();
  store?.stop();
});

// The fields of a message of protobuf, by number: numbers, or bytes.
function fields(bytes) {
  const found = {};
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      assert.ok(at < bytes.length, "a number ends within its message");
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    let value;
    if ((tag & 7) === 0) value = varint();
    else {
      const length = (tag & 7) === 1 ? 8 : (tag & 7) === 5 ? 4 : Number(varint());
      assert.ok([1, 2, 5].includes(tag & 7) && at + length <= bytes.length, "a field ends within its message");
      value = bytes.subarray(at, (at += length));
    }
    (found[tag >> 3] ??= []).push(value);
  }
  return found;
}

// The first attribute of the first span of an ExportTraceServiceRequest.
function promptOf({ type, content }) {
  if (type === "application/json") return JSON.parse(content).resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.stringValue;
  const inner = (message, ...path) => path.reduce((bytes, number) => fields(bytes)[number][0], message);
  return inner(content, 1, 2, 2, 9, 2, 1).toString();
}

async function exported(Exporter, compression, text) {
  const exporter = new Exporter({ url: `${gateway.url}/v1/traces`, compression, timeoutMillis: 20_000 });
  const resource = resourceFromAttributes({ "service.name": "shop" });
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const span = provider.getTracer("tests").startSpan("chat");
  span.setAttribute("gen_ai.prompt", text);
  span.addEvent("said", { "gen_ai.completion": text });
  span.end();
  await provider.forceFlush();
  await provider.shutdown();
  const [request, ...more] = store.requests.splice(0);
  assert.ok(request && more.length === 0, "one request");
  assert.equal(request.path, "/v1/traces");
  assert.equal(request.coding, compression === "gzip" ? "gzip" : undefined);
  return request;
}

for (const [name, Exporter, type] of [
  ["json", JsonExporter, "application/json"],
  ["proto", ProtoExporter, "application/x-protobuf"],
]) {
  for (const compression of ["none", "gzip"]) {
    for (const p of planted) {
      test(`spans by ${name}, compression ${compression}: ${p.class}`, async () => {
        const request = await exported(Exporter, compression, sentence(p));
        assert.equal(request.type, type);
        assert.equal(leakIn(p, request.content.toString("latin1")), null);
        const [head, tail] = p.text.split("{}");
        const prompt = promptOf(request);
        assert.ok(prompt.startsWith(head) && prompt.endsWith(tail), prompt);
      });
    }
    test(`a span that matches nothing, by ${name}, compression ${compression}`, async () => {
      assert.equal(promptOf(await exported(Exporter, compression, "nothing to see ✓")), "nothing to see ✓");
    });
  }
}
