// Node's HTTP/2 as client and as server, plain and over TLS, and HTTP/1.1 on either side of it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createSecureServer, createServer } from "node:http2";
import { request as plainRequest } from "node:http";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";

import { leakIn, planted, sentence, startGateway } from "./gateway.mjs";

const folder = mkdtempSync(`${tmpdir()}/sluice-http2-`);
const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`];
const servers = [];
const stops = [];
let seen = [];

before(() => {
  // Not an authority, as the defaults would make it.
  writeFileSync(`${folder}/settings`, "[req]\ndistinguished_name = name\n[name]\n");
  execFileSync("openssl", [
    "req", "-x509", "-config", `${folder}/settings`, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
    "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
    "-addext", "basicConstraints=critical,CA:FALSE",
  ], { stdio: "ignore" });
});

after(() => {
  stops.forEach((stop) => stop());
  servers.forEach((server) => server.close());
  rmSync(folder, { recursive: true });
});

// Answers with the text of the request, some of it in a field and in a trailer.
async function answer(stream, headers) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  const body = Buffer.concat(parts).toString();
  seen.push({ headers, body });
  if (headers[":path"] === "/reset") return stream.close(7);
  const length = Number(headers["x-large"] ?? 0);
  stream.respond({ ":status": 200, "content-type": "text/plain", "x-text": planted[0].value }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": planted[0].value }));
  stream.end(length > 0 ? "word ".repeat(length) : body);
}

async function listen(server) {
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    answer(stream, headers).catch(() => {});
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return server.address().port;
}

async function gateway(upstream, more = []) {
  const started = await startGateway(upstream, more);
  stops.push(started.stop);
  return started.url;
}

// An upstream that speaks HTTP/2 where ALPN gives it.
const secureUpstream = async () =>
  `https://127.0.0.1:${await listen(createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }))}`;

const exchange = (session, headers, body) => new Promise((resolve, reject) => {
  const stream = session.request({ ":method": body === undefined ? "GET" : "POST", ...headers });
  const result = { parts: [], trailers: {} };
  stream.on("response", (fields) => { result.fields = fields; });
  stream.on("trailers", (fields) => { result.trailers = fields; });
  stream.on("data", (part) => result.parts.push(part));
  stream.on("end", () => resolve({ ...result, body: Buffer.concat(result.parts).toString() }));
  stream.on("error", reject);
  stream.end(body);
});

const text = { "content-type": "text/plain" };

for (const io of ["uring", "epoll"]) {
  test(`HTTP/2 over TLS on both sides is masked, fields and trailers too (${io})`, async () => {
    const tls = ["--tls-cert", cert, "--tls-key", key, "--upstream-ca", cert, "--io", io];
    const url = await gateway(await secureUpstream(), tls);
    const session = connect(url, { ca: readFileSync(cert) });
    for (const p of planted.slice(0, 6)) {
      seen = [];
      const result = await exchange(session, { ":path": "/x", ...text }, sentence(p));
      assert.equal(session.alpnProtocol, "h2");
      assert.equal(result.fields[":status"], 200);
      assert.equal(leakIn(p, result.body), null);
      assert.equal(leakIn(p, seen[0].body), null);
      assert.equal(leakIn(planted[0], `${result.fields["x-text"]} ${result.trailers["x-end"]}`), null);
      assert.ok(result.trailers["x-end"]);
    }
    const results = await Promise.all(Array.from({ length: 100 }, (_, n) =>
      exchange(session, { ":path": `/${n}`, ...text }, `request ${n} `)));
    results.forEach((result, n) => assert.equal(result.body, `request ${n} `));
    session.close();
  });

  test(`HTTP/1.1 clients get what an upstream of HTTP/2 says (${io})`, async () => {
    const url = await gateway(await secureUpstream(), ["--upstream-ca", cert, "--io", io]);
    for (const large of [0, 1, 400_000]) {
      const body = await new Promise((resolve, reject) => {
        const request = plainRequest(`${url}/x`, { method: "POST", headers: { ...text, "x-large": large } }, async (response) => {
          const parts = [];
          for await (const part of response) parts.push(part);
          resolve(Buffer.concat(parts).toString());
        });
        request.on("error", reject);
        request.end("sent ");
      });
      assert.equal(body, large > 0 ? "word ".repeat(large) : "sent ");
    }
  });

  test(`large bodies both ways on many streams at once, through their windows (${io})`, async () => {
    const url = await gateway(await secureUpstream(), ["--upstream-ca", cert, "--io", io]);
    const session = connect(url);
    const body = "some words ".repeat(50_000);
    const results = await Promise.all(Array.from({ length: 10 }, () => exchange(session, { ":path": "/x", ...text }, body)));
    results.forEach((result) => assert.ok(result.body === body));
    session.close();
  });

  test(`a stream that nobody reads keeps no other waiting (${io})`, async () => {
    const url = await gateway(await secureUpstream(), ["--upstream-ca", cert, "--io", io]);
    const session = connect(url);
    const slow = Array.from({ length: 20 }, () => {
      const stream = session.request({ ":path": "/slow", "x-large": 50_000 });
      stream.on("error", () => {});
      return stream;
    });
    await Promise.all(slow.map((stream) => new Promise((resolve) => stream.once("response", resolve))));
    const result = await exchange(session, { ":path": "/quick", ...text }, "quick ");
    assert.equal(result.body, "quick ");
    slow.forEach((stream) => stream.close());
    session.destroy();
  });

  test(`an upstream that resets its stream gives 502, and the connection goes on (${io})`, async () => {
    const url = await gateway(await secureUpstream(), ["--upstream-ca", cert, "--io", io]);
    const session = connect(url);
    const result = await exchange(session, { ":path": "/reset", ...text }, "x");
    assert.equal(result.fields[":status"], 502);
    assert.equal((await exchange(session, { ":path": "/y", ...text }, "y ")).body, "y ");
    session.close();
  });

  test(`plain HTTP/2 before gRPC's own upstream in clear (${io})`, async () => {
    const port = await listen(createServer());
    const session = connect(await gateway(`http://127.0.0.1:${port}`, ["--io", io]));
    seen = [];
    const message = Buffer.from("\0\0\0\0\x07\x0a\x05hello", "latin1");
    await exchange(session, { ":path": "/s/m", "content-type": "application/grpc", te: "trailers", "grpc-timeout": "9S" }, message);
    assert.equal(seen[0].headers.te, "trailers");
    assert.equal(seen[0].headers["grpc-timeout"], "9S");
    assert.equal(seen[0].body, message.toString());
    session.close();
  });
}

test("what asks for 100-continue is told to go on", async () => {
  const session = connect(await gateway(await secureUpstream(), ["--upstream-ca", cert]));
  const stream = session.request({ ":method": "POST", ":path": "/x", expect: "100-continue", ...text });
  await new Promise((resolve) => stream.once("continue", resolve));
  stream.end("continued ");
  let body = "";
  for await (const part of stream) body += part;
  assert.equal(body, "continued ");
  session.close();
});
