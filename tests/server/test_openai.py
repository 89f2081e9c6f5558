"""The server from outside: the official openai client, and sockets where a client would never go."""
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import time
import unittest

import openai

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
ID = "SmolLM2-135M-Instruct.Q4_1"
ASK = [{"role": "user", "content": "Name three fruits."}]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, *flags):
        self.port = free_port()
        self.p = subprocess.Popen(["./lmrun", "-m", MODEL, "-c", "1024", "--serve", str(self.port), *flags], cwd=ROOT,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.p.poll() is not None or time.time() > end:
                    self.p.kill()
                    raise RuntimeError("the server did not start: " + self.p.communicate()[1].decode())
                time.sleep(0.05)

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        try:
            self.err = self.p.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.err = self.p.communicate()[1]
        return self.p.returncode

    def http(self, method, path, body=None, headers={}):
        """(status, headers, parsed body or text)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, r.headers, json.loads(text) if text[:1] in ("{", "[") else text

    def raw(self, data, wait=10):
        """Bytes sent as they are; everything that comes back until the peer closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), wait) as s:
            s.settimeout(wait)
            s.sendall(data)
            out = b""
            try:
                while part := s.recv(65536):
                    out += part
            except (TimeoutError, ConnectionResetError):
                pass
            return out

    def cpu_seconds(self):
        with open(f"/proc/{self.p.pid}/stat") as stat:
            f = stat.read().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def post(body, *headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class WithServer(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.s = Server(*cls.flags)
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.s.port}/v1", api_key="none", max_retries=0, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        code = cls.s.stop()
        if code != 0:
            raise AssertionError(f"the server ended with {code} after SIGTERM: {cls.s.err.decode()[-3000:]}")

    def chat(self, **more):
        return self.client.chat.completions.create(**{"model": ID, "messages": ASK, "max_tokens": 24, "seed": 1, **more})


class Client(WithServer):
    def test_chat(self):
        r = self.chat()
        self.assertEqual((r.object, r.model, r.choices[0].message.role), ("chat.completion", ID, "assistant"))
        self.assertTrue(r.choices[0].message.content.strip())
        self.assertIn(r.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens)
        self.assertLessEqual(r.usage.completion_tokens, 24)
        self.assertTrue(r.id.startswith("chatcmpl-"))

    def test_seed(self):
        a, b, c = (self.chat(seed=s, temperature=1.5).choices[0].message.content for s in (5, 5, 6))
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_stream_is_the_whole(self):
        whole = self.chat().choices[0]
        chunks = list(self.chat(stream=True))
        self.assertEqual({c.object for c in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({c.id for c in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), whole.message.content)
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], [whole.finish_reason])
        self.assertTrue(all(c.usage is None for c in chunks))

    def test_stream_usage(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)
        self.assertTrue(all(c.usage is None for c in chunks[:-1]))

    def test_stop_never_leaks(self):
        text = self.chat(temperature=0).choices[0].message.content
        stop = text[8:12]
        r = self.chat(temperature=0, stop=[stop, "never said"]).choices[0]
        self.assertEqual((r.message.content, r.finish_reason), (text[:text.index(stop)], "stop"))
        said = "".join(c.choices[0].delta.content or "" for c in self.chat(temperature=0, stop=stop, stream=True))
        self.assertEqual(said, r.message.content)

    def test_logprobs_cover_the_text(self):
        for extra in ({}, {"stop": ["2"]}):
            r = self.chat(temperature=0, logprobs=True, top_logprobs=3, **extra).choices[0]
            e = r.logprobs.content
            text = r.message.content.encode()
            self.assertEqual(bytes(b for t in e for b in t.bytes)[:len(text)], text)
            for t in e:
                self.assertLessEqual(t.logprob, 0)
                self.assertEqual(len(t.top_logprobs), 3)
                self.assertEqual((t.top_logprobs[0].token, t.top_logprobs[0].logprob), (t.token, t.logprob))
        self.assertEqual(self.chat(logprobs=True).choices[0].logprobs.content[0].top_logprobs, [])

    def test_completions(self):
        make = self.client.completions.create
        r = make(model=ID, prompt="One, two, three,", max_tokens=8, temperature=0)
        self.assertEqual(r.object, "text_completion")
        self.assertIn("four", r.choices[0].text)
        self.assertEqual((r.usage.completion_tokens, r.choices[0].finish_reason), (8, "length"))
        parts = list(make(model=ID, prompt=["One, two, three,"], max_tokens=8, temperature=0, stream=True))
        self.assertEqual("".join(p.choices[0].text for p in parts), r.choices[0].text)
        e = make(model=ID, prompt="One, two, three,", max_tokens=8, temperature=0, echo=True)
        self.assertEqual(e.choices[0].text, "One, two, three," + r.choices[0].text)
        self.assertLessEqual(make(model=ID, prompt="a").usage.completion_tokens, 16)
        ids = make(model=ID, prompt=[28, 30, 33], max_tokens=2, temperature=0, logprobs=2)
        lp = ids.choices[0].logprobs
        self.assertEqual((ids.usage.prompt_tokens, len(lp.tokens), len(lp.token_logprobs), len(lp.top_logprobs[0])), (3, 2, 2, 2))
        self.assertEqual("".join(lp.tokens), ids.choices[0].text)

    def test_logit_bias(self):
        first, second = self.chat(temperature=0, max_tokens=1, logprobs=True, top_logprobs=2).choices[0].logprobs.content[0].top_logprobs
        odd = self.chat(temperature=0, max_tokens=1, logit_bias={str(i): -100 for i in range(49152) if i % 2}).choices[0]
        even = self.chat(temperature=0, max_tokens=1, logit_bias={str(i): -100 for i in range(49152) if i % 2 == 0}).choices[0]
        self.assertNotEqual(odd.message.content, even.message.content)
        self.assertIn(first.token, (odd.message.content, even.message.content))

    def test_system_parts_and_continuation(self):
        r = self.chat(messages=[{"role": "system", "content": "Be brief."},
                                {"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "yes."}]}])
        self.assertTrue(r.choices[0].message.content)
        r = self.chat(temperature=0, max_tokens=6, messages=[{"role": "user", "content": "Count to five in digits."},
                                                             {"role": "assistant", "content": "1, 2, 3, 4,"}])
        self.assertIn("5", r.choices[0].message.content)

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], [ID])
        self.assertEqual(self.client.models.retrieve(ID).id, ID)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("no/such")

    def refused(self, kind, param, code, **more):
        with self.assertRaises(kind) as e:
            self.chat(**more)
        self.assertEqual((e.exception.body["param"], e.exception.body["code"]), (param, code), e.exception.body)
        return e.exception.body

    def test_errors(self):
        bad, refused = openai.BadRequestError, self.refused
        refused(openai.NotFoundError, "model", "model_not_found", model="gpt-9")
        refused(bad, "messages", "invalid_value", messages=[])
        refused(bad, "messages", "invalid_type", messages="hello")
        refused(bad, "messages[0].role", "invalid_value", messages=[{"role": "boss", "content": "x"}])
        refused(bad, "messages[1].content", "invalid_type", messages=ASK + [{"role": "user", "content": 5}])
        refused(bad, "temperature", "invalid_type", temperature="hot")
        refused(bad, "temperature", "invalid_value", temperature=-1)
        refused(bad, "top_p", "invalid_value", top_p=1.5)
        refused(bad, "max_tokens", "invalid_value", max_tokens=0)
        refused(bad, "max_completion_tokens", "invalid_type", max_completion_tokens=1.5)
        refused(bad, "n", "invalid_value", n=2)
        refused(bad, "stop", "invalid_value", stop=["a"] * 17)
        refused(bad, "stop", "invalid_type", stop=[1])
        refused(bad, "seed", "invalid_type", seed="x")
        refused(bad, "top_logprobs", "invalid_value", top_logprobs=3)
        refused(bad, "logit_bias", "invalid_value", logit_bias={"99999999": 1})
        refused(bad, "stream_options", "invalid_value", stream_options={"include_usage": True})

    def test_too_long(self):
        for stream in (False, True):
            body = self.refused(openai.BadRequestError, "messages", "context_length_exceeded", stream=stream,
                                messages=[{"role": "user", "content": "word " * 2000}])
            self.assertEqual(body["n_ctx"], 1024)
            self.assertGreater(body["n_prompt_tokens"], 2000)

    def test_company_changes_nothing(self):
        asks = [[{"role": "user", "content": f"Tell me about the number {i}."}] for i in range(4)]
        alone = [self.chat(messages=m, seed=i).choices[0].message.content for i, m in enumerate(asks)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(self.chat, messages=m, seed=i) for i, m in enumerate(asks)]
            self.assertEqual([j.result().choices[0].message.content for j in jobs], alone)

    def test_next_turn_is_cached(self):
        talk = [{"role": "user", "content": "Write a few lines about the sea and the ships that cross it every day."}]
        first = self.chat(messages=talk, max_tokens=40)
        talk += [{"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "Go on."}]
        self.assertGreaterEqual(self.chat(messages=talk).usage.prompt_tokens_details.cached_tokens, 32)


class Wire(WithServer):
    def test_paths_and_methods(self):
        s = self.s
        self.assertEqual(s.http("GET", "/health")[::2], (200, {"status": "ok"}))
        self.assertEqual(s.http("GET", "/v1/health/")[0], 200)
        st, h, body = s.http("HEAD", "/health")
        self.assertEqual((st, h["Content-Length"], body), (200, "15", ""))
        st, h, body = s.http("GET", "/nope")
        self.assertEqual((st, h["Content-Type"], body["error"]["type"]), (404, "application/json", "not_found_error"))
        st, h, body = s.http("GET", "/v1/chat/completions")
        self.assertEqual((st, h["Allow"]), (405, "POST"))
        st, h, body = s.http("DELETE", "/v1/models")
        self.assertEqual((st, h["Allow"], body["error"]["type"]), (405, "GET, HEAD", "invalid_request_error"))
        self.assertTrue(h["Server"].startswith("lmrun/") and h["X-Request-Id"])
        self.assertEqual(s.http("GET", "/health", headers={"X-Request-Id": "mine"})[1]["X-Request-Id"], "mine")
        for name in (ID, ID + ".gguf", ID + ":latest", "%53" + ID[1:]):
            self.assertEqual(s.http("GET", "/v1/models/" + name)[0], 200, name)

    def test_bodies(self):
        for body, code in ((b"", "invalid_json"), (b"{", "invalid_json"), (b"[]", "invalid_type"), (b'"x"', "invalid_type"),
                           (b'{"messages":[{"role":"user","content":"\xff"}]}', "invalid_json"),
                           (b'{"a":' * 200 + b"1" + b"}" * 200, "invalid_json"), (b'{"max_tokens":1e999}', "invalid_json"),
                           (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "invalid_json"),
                           (b"{}", "missing_required_parameter"), (b'{"messages":[5]}', "invalid_type"),
                           (b'{"messages":[{"content":"x"}]}', "missing_required_parameter")):
            st, h, got = self.s.http("POST", "/v1/chat/completions", body)
            self.assertEqual((st, got["error"]["code"]), (400, code), body[:60])
        for body, param in ((b"{}", "prompt"), (b'{"prompt":"a\\u0000bc"}', "prompt"), (b'{"prompt":"a","stop":"\\u0000"}', "stop"),
                            (b'{"prompt":[]}', "prompt"), (b'{"prompt":[1,"a"]}', "prompt"), (b'{"prompt":[-1]}', "prompt"),
                            (b'{"prompt":["a","b"]}', "prompt"), (b'{"prompt":"a","logprobs":true}', "logprobs")):
            st, h, got = self.s.http("POST", "/v1/completions", body)
            self.assertEqual((st, got["error"]["param"]), (400, param), body)
        ok = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"temperature":null,"unknown":{"x":1},"top_k":1.0}'
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(self.s.http("POST", "/v1/chat/completions", ok, form)[0], 200)

    def test_hostile_framing(self):
        line = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        get, close = b"GET /health HTTP/1.1\r\n", b"Connection: close\r\n\r\n"
        for data, status in ((line + b"Content-Length: 68719476736\r\n\r\n", 413),
                             (line + b"Content-Length: 2\r\nContent-Length: 2\r\n" + close + b"{}", 400),
                             (line + b"Content-Length: -2\r\n\r\n{}", 400),
                             (get + b"Host: a.example\r\n" + close, 403), (get + close, 400),
                             (get + b"Host: localhost\r\nHost: localhost\r\n" + close, 400), (b"nonsense\r\n\r\n", 400)):
            head, _, body = self.s.raw(data).partition(b"\r\n\r\n")
            self.assertEqual(int(head.split()[1]), status, data[:80])
            self.assertIn("message", json.loads(body)["error"], data[:80])
        for headers, status in (({"Origin": "http://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
                                ({"Origin": "null"}, 403), ({"Host": "localhost"}, 200), ({"Host": "[::1]:80"}, 200),
                                ({"Origin": "http://localhost:3000"}, 200)):
            self.assertEqual(self.s.http("GET", "/health", headers=headers)[0], status, headers)

    def test_pipelined_requests_are_answered_in_order(self):
        out = self.s.raw(post({"messages": ASK, "max_tokens": 8, "stream": True}) +
                         b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 30)
        self.assertGreater(out.find(b'{"status":"ok"}'), out.index(b"data: [DONE]"))

    def test_bytes_sent_during_an_answer_do_no_harm(self):
        with socket.create_connection(("127.0.0.1", self.s.port), 30) as c:
            c.sendall(post({"messages": ASK, "max_tokens": 60, "stream": True, "ignore_eos": True}))
            out = c.recv(100)
            c.sendall(b"x" * 1000 + b"\r\n\r\n")
            while part := c.recv(65536):
                out += part
        self.assertIn(b"data: [DONE]", out)
        self.assertEqual((out.count(b"HTTP/1.1 400"), out.count(b"<HTML>")), (1, 0))
        self.assertGreater(out.find(b"HTTP/1.1 400"), out.find(b"data: [DONE]"))
        self.assertEqual(self.s.http("GET", "/health")[0], 200)

    def test_answers_may_speak_of_html(self):
        page = "<HTML><HEAD>"                                # what evhttp's own error pages begin with
        ask = {"prompt": page, "echo": True, "max_tokens": 0}
        st, h, got = self.s.http("POST", "/v1/completions", ask)
        self.assertEqual((st, got["choices"][0]["text"]), (200, page))
        st, h, got = self.s.http("POST", "/v1/completions", {**ask, "stream": True})
        self.assertEqual((st, h["Content-Type"]), (200, "text/event-stream"))
        self.assertEqual(json.loads(got.split("\n")[0][6:])["choices"][0]["text"], page)
        st, h, got = self.s.http("GET", "/" + page)
        self.assertEqual((st, got["error"]["message"]), (404, f"there is no /{page} here"))

    def test_a_client_that_leaves_costs_no_more(self):
        for stream, reset in ((True, False), (False, False), (True, True), (False, True)):
            c = socket.create_connection(("127.0.0.1", self.s.port), 30)
            if reset:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.sendall(post({"messages": ASK, "max_tokens": 900, "stream": stream, "ignore_eos": True}))
            if stream:
                c.recv(2000)
            else:
                time.sleep(0.3)
            c.close()
            time.sleep(1)
            t = self.s.cpu_seconds()
            time.sleep(1)
            self.assertLess(self.s.cpu_seconds() - t, 0.2, f"stream={stream} reset={reset}")


class Key(WithServer):
    flags = ("--api-key", "secret")

    def test_key(self):
        s = self.s
        self.assertEqual(s.http("GET", "/health")[0], 200)
        st, h, body = s.http("GET", "/v1/models")
        self.assertEqual((st, body["error"]["code"]), (401, "invalid_api_key"))
        for name, value, want in (("Authorization", "Bearer secret", 200), ("Authorization", "Bearer secre", 401),
                                  ("x-api-key", "secret", 200), ("api-key", "secret", 200), ("x-api-key", "", 401),
                                  ("Authorization", "Bearer secretsecret", 401)):
            self.assertEqual(s.http("GET", "/v1/models", headers={name: value})[0], want, (name, value))
        with self.assertRaises(openai.AuthenticationError):
            self.chat()
        with openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret", max_retries=0) as c:
            self.assertTrue(c.chat.completions.create(model="", messages=ASK, max_tokens=2).choices)


class Life(unittest.TestCase):
    def end(self, *args):
        return subprocess.run(["./lmrun", "-m", MODEL, *args], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)

    def test_port_taken(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = str(s.getsockname()[1])
            r = self.end("--serve", port)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn(port, r.stderr)

    def test_open_host_needs_a_key(self):
        for args in (["-p", "x"], ["-i"], ["--json"], ["--tokens", "1"]):        # taken by no one
            r = self.end("--serve", "0", *args)
            self.assertEqual((r.returncode, r.stderr.count("\n")), (2, 1), r.stderr)
        r = self.end("--serve", "0", "--host", "127.nowhere.invalid")            # a name, not loopback
        self.assertEqual((r.returncode, r.stderr.count("\n")), (2, 1), r.stderr)
        self.assertIn("API key", r.stderr)
        r = self.end("--serve", "0", "--host", "nowhere.invalid", "--api-key", "k")
        self.assertEqual((r.returncode, r.stderr), (1, "lmrun: cannot listen on nowhere.invalid port 0: no such address\n"))
        r = self.end("--serve", str(free_port()), "--host", "0.0.0.0")
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("API key", r.stderr)

    def test_sigterm_lets_a_stream_end(self):
        s = Server()
        try:
            with socket.create_connection(("127.0.0.1", s.port), 30) as c:
                c.sendall(post({"messages": ASK, "max_tokens": 30, "stream": True, "ignore_eos": True}, "Connection: close"))
                out = c.recv(2000)
                s.p.send_signal(signal.SIGTERM)
                while part := c.recv(65536):
                    out += part
            self.assertIn(b"data: [DONE]", out)
            s.p.communicate(timeout=20)
            self.assertEqual(s.p.returncode, 0)
        finally:
            s.p.kill()
            s.p.communicate()


if __name__ == "__main__":
    unittest.main()
