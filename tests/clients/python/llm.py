"""An LLM endpoint whose answers are the test's: what it streams is exactly what the test says, a delta an event."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def read_body(handler):
    """The body of the request that the handler answers, of a known length or in chunks."""
    if "content-length" in handler.headers:
        return handler.rfile.read(int(handler.headers["content-length"]))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass
    return body


class Llm:
    """Answers every request with `answer`, and keeps what came."""

    def __init__(self):
        self.requests = []
        self.answer = None
        llm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = read_body(self)
                llm.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, kind, parts = llm.answer
                self.send_response(status)
                self.send_header("content-type", kind)
                if kind == "text/event-stream":
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    for part in parts:
                        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    body = b"".join(parts)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take_requests(self):
        taken, self.requests = self.requests, []
        return taken

    def json(self, body, status=200):
        self.answer = (status, "application/json", [json.dumps(body).encode()])

    def events(self, events):
        """Events as (name or None, data); data that is no string becomes JSON."""
        parts = []
        for name, data in events:
            data = data if isinstance(data, str) else json.dumps(data)
            parts.append((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())
        self.answer = (200, "text/event-stream", parts)

    # OpenAI chat.

    def openai_deltas(self, deltas, finish="stop"):
        """Deltas as (choice, delta)."""
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        def choice(i, delta, reason=None):
            return {**chunk, "choices": [{"index": i, "delta": delta, "finish_reason": reason}]}
        events = [(None, choice(i, delta)) for i, delta in deltas]
        events += [(None, choice(i, {}, finish)) for i in sorted({i for i, _ in deltas})]
        self.events(events + [(None, "[DONE]")])

    def openai_content(self, parts, index=0):
        self.openai_deltas([(index, {"role": "assistant", "content": ""})] + [(index, {"content": p}) for p in parts])

    def openai_arguments(self, parts):
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
        deltas = [(0, {"role": "assistant", "content": None, "tool_calls": [call]})]
        deltas += [(0, {"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in parts]
        self.openai_deltas(deltas, finish="tool_calls")

    def openai_message(self, message):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
        self.json({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    # Anthropic messages.

    MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
               "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}

    def anthropic_blocks(self, blocks, stop="end_turn"):
        """Blocks as (content_block, deltas)."""
        def event(kind, **fields):
            return (kind, {"type": kind, **fields})
        events = [event("message_start", message=self.MESSAGE)]
        for i, (block, deltas) in enumerate(blocks):
            events.append(event("content_block_start", index=i, content_block=block))
            events += [event("content_block_delta", index=i, delta=delta) for delta in deltas]
            events.append(event("content_block_stop", index=i))
        events.append(event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 9}))
        self.events(events + [event("message_stop")])

    def anthropic_text(self, parts):
        self.anthropic_blocks([({"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in parts])])

    def anthropic_thinking(self, parts):
        deltas = [{"type": "thinking_delta", "thinking": p} for p in parts]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        self.anthropic_blocks([({"type": "thinking", "thinking": "", "signature": ""}, deltas)])

    def anthropic_json(self, parts):
        block = {"type": "tool_use", "id": "toolu_1", "name": "note", "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in parts]
        self.anthropic_blocks([(block, deltas)], stop="tool_use")

    def anthropic_message(self, content):
        self.json({**self.MESSAGE, "content": content, "stop_reason": "end_turn"})

    # OpenAI Responses.

    def responses(self, items):
        """Items as (kind, parts): a message's `text`, a `call`'s arguments, a reasoning `summary`."""
        events, done = [], []
        def event(kind, **fields):
            events.append((kind, {"type": kind, "sequence_number": len(events), **fields}))
        def response(status, output):
            return {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output,
                    "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        event("response.created", response=response("in_progress", []))
        for n, (kind, parts) in enumerate(items):
            text, at = "".join(parts), {"item_id": f"item_{n}", "output_index": n}
            if kind == "text":
                item = {"id": f"item_{n}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
                part = {"type": "output_text", "text": "", "annotations": []}
                event("response.output_item.added", output_index=n, item=item)
                event("response.content_part.added", **at, content_index=0, part=part)
                for piece in parts:
                    logprobs = [{"token": piece, "logprob": -0.1, "bytes": list(piece.encode()), "top_logprobs": []}]
                    event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=logprobs)
                event("response.output_text.done", **at, content_index=0, text=text, logprobs=[])
                part = {**part, "text": text}
                event("response.content_part.done", **at, content_index=0, part=part)
                item = {**item, "status": "completed", "content": [part]}
            elif kind == "call":
                item = {"id": f"item_{n}", "type": "function_call", "call_id": "call_1", "name": "note", "arguments": ""}
                event("response.output_item.added", output_index=n, item=item)
                for piece in parts:
                    event("response.function_call_arguments.delta", **at, delta=piece)
                event("response.function_call_arguments.done", **at, name="note", arguments=text)
                item = {**item, "status": "completed", "arguments": text}
            else:
                item = {"id": f"item_{n}", "type": "reasoning", "summary": []}
                part = {"type": "summary_text", "text": ""}
                event("response.output_item.added", output_index=n, item=item)
                event("response.reasoning_summary_part.added", **at, summary_index=0, part=part)
                for piece in parts:
                    event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=piece)
                event("response.reasoning_summary_text.done", **at, summary_index=0, text=text)
                part = {**part, "text": text}
                event("response.reasoning_summary_part.done", **at, summary_index=0, part=part)
                item = {**item, "summary": [part]}
            event("response.output_item.done", output_index=n, item=item)
            done.append(item)
        event("response.completed", response=response("completed", done))
        self.events(events)

    # Gemini.

    def gemini(self, events):
        """Events as lists of parts of the first candidate; the last one ends it."""
        def chunk(parts, reason):
            end = {"finishReason": "STOP"} if reason else {}
            candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **end}
            return {"candidates": [candidate], "usageMetadata": {"totalTokenCount": 3}, "modelVersion": "m"}
        self.events([(None, chunk(parts, n == len(events) - 1)) for n, parts in enumerate(events)])
