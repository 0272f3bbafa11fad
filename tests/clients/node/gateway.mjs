// The gateway before an LLM of the test's, and the real SDKs before the gateway.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const require = createRequire(`${process.env.SLUICE_TOOLS}/node/package.json`);
export const OpenAI = require("openai").OpenAI;
export const Anthropic = require("@anthropic-ai/sdk").Anthropic;
export const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
export const { resourceFromAttributes } = require("@opentelemetry/resources");
export const JsonExporter = require("@opentelemetry/exporter-trace-otlp-http").OTLPTraceExporter;
export const ProtoExporter = require("@opentelemetry/exporter-trace-otlp-proto").OTLPTraceExporter;
export const planted = JSON.parse(readFileSync(`${root}/tests/cases/planted.json`, "utf8"));

// An endpoint whose answers are the test's: `answer` is [status, content type, parts]; `requests` are what came.
export async function startLlm() {
  const llm = { answer: null, requests: [] };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    llm.requests.push({ path: request.url, body: JSON.parse(Buffer.concat(parts)) });
    const [status, type, out] = llm.answer;
    response.writeHead(status, { "content-type": type });
    for (const part of out) response.write(part);
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  llm.url = `http://127.0.0.1:${server.address().port}`;
  llm.stop = () => server.closeAllConnections() ?? server.close();
  return llm;
}

// A store for OTLP over HTTP: `requests` are what came, decoded; it answers that all of it was kept.
export async function startStore() {
  const store = { requests: [] };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const [type, coding] = [request.headers["content-type"], request.headers["content-encoding"]];
    const content = Buffer.concat(parts);
    store.requests.push({ path: request.url, type, coding, content: coding === "gzip" ? gunzipSync(content) : content });
    response.writeHead(200, { "content-type": type }).end(type === "application/json" ? "{}" : "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  store.url = `http://127.0.0.1:${server.address().port}`;
  store.stop = () => server.closeAllConnections() ?? server.close();
  return store;
}

// `sluice serve` on a port of its own.
export async function startGateway(upstream, more = []) {
  const binary = process.env.SLUICE_BIN ?? `${root}/target/debug/sluice`;
  const args = ["serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--allow-anonymous", "--admin", "127.0.0.1:0", ...more];
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
  const url = await new Promise((resolve, reject) => {
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on("line", (line) => {
        const found = line.match(/https?:\/\/[0-9.:]+/);
        if (found && line.toLowerCase().includes("gateway")) resolve(found[0]);
      });
    }
    child.on("exit", () => reject(new Error("sluice serve ended before it listened")));
  });
  return { url, stop: () => child.kill("SIGKILL") };
}

export const sentence = (p) => p.text.replace("{}", () => p.value);

// The first fragment of the value that the text holds, line breaks and their escapes left out.
export function leakIn(p, text) {
  const plain = text.replaceAll("\\n", "").replaceAll("\n", "");
  const sensitive = p.sensitive ?? p.value;
  const length = Math.min(8, sensitive.length);
  for (let at = 0; at + length <= sensitive.length; at += 1) {
    if (plain.includes(sensitive.slice(at, at + length))) return sensitive.slice(at, at + length);
  }
  return null;
}

// Two deltas cut at every third offset, then deltas of one and of four characters.
export function* cuts(text) {
  for (let at = 0; at <= text.length; at += 3) yield [text.slice(0, at), text.slice(at)];
  for (const size of [1, 4]) {
    const parts = [];
    for (let at = 0; at < text.length; at += size) parts.push(text.slice(at, at + size));
    yield parts;
  }
}
