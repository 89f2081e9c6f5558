"""Tools and reasoning over the wire, with the official openai client.  The model is too small to choose to call a
function; it is made to by a prompt that repeats one call, which it goes on repeating."""
import json
import time
import unittest

import openai

from test_openai import ID, WithServer

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>\n'
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]
PATTERN = [{"role": "user", "content": ("1\n" + CALL) * 5}]


def spelt(logprobs):
    """The text of the tokens of logprobs.content."""
    return bytes(b for t in logprobs.content for b in t.bytes).decode() if logprobs else ""


class Tools(WithServer):
    # the comment tells how calls are written, as real templates do; the prompt ends where a call is due
    flags = ("--chat-template", "{# <tool_call> #}{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}{% endif %}1\n")

    def call(self, **more):
        return self.chat(messages=PATTERN, tools=TOOLS, temperature=0, max_tokens=60, stop=["\n1"], extra_body={"repeat_penalty": 1}, **more)

    def test_a_call(self):
        c = self.call().choices[0]
        self.assertEqual(c.finish_reason, "tool_calls")
        self.assertIsNone(c.message.content)
        f, = c.message.tool_calls
        self.assertEqual((f.type, f.function.name, json.loads(f.function.arguments)), ("function", "get_weather", {"city": "Zürich", "days": 3}))
        self.assertRegex(f.id, "^call_[0-9a-f]{24}$")

    def test_a_call_streamed(self):
        deltas = [c.choices[0] for c in self.call(stream=True)]
        calls = [t for d in deltas for t in d.delta.tool_calls or []]
        self.assertEqual({t.index for t in calls}, {0})
        self.assertEqual([t.function.name for t in calls if t.function.name], ["get_weather"])
        self.assertEqual(len({t.id for t in calls if t.id}), 1)
        self.assertGreater(len(calls), 3)                              # arguments come as they are written
        self.assertEqual(json.loads("".join(t.function.arguments for t in calls)), {"city": "Zürich", "days": 3})
        self.assertEqual("".join(d.delta.content or "" for d in deltas), "")
        self.assertEqual([d.finish_reason for d in deltas if d.finish_reason], ["tool_calls"])

    def test_without_tools_it_is_text(self):
        for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
            c = self.chat(messages=PATTERN, temperature=0, max_tokens=60, stop=["\n1"], extra_body={"repeat_penalty": 1}, **more).choices[0]
            self.assertIn('<tool_call>\n{"name": "get_weather"', c.message.content)
            self.assertEqual((c.message.tool_calls, c.finish_reason), (None, "stop"))

    def test_logprobs_are_of_the_content(self):
        self.assertEqual(spelt(self.call(logprobs=True).choices[0].logprobs), "")
        text = self.chat(messages=PATTERN, temperature=0, max_tokens=60, stop=["\n1"], extra_body={"repeat_penalty": 1}, logprobs=True).choices[0]
        self.assertIn("<tool_call>", text.message.content)
        self.assertTrue(spelt(text.logprobs).startswith(text.message.content))

    def test_a_conversation_with_calls_goes_on(self):
        first = self.call().choices[0].message
        more = PATTERN + [first.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}]
        self.assertTrue(self.chat(messages=more, tools=TOOLS, max_tokens=4).choices)

    def test_refusals(self):
        for param, more in (("tools", {"tools": [{"type": "function"}]}), ("tools", {"tools": [{"type": "x", "function": {"name": "f"}}]}),
                            ("tool_choice", {"tools": TOOLS, "tool_choice": "sometimes"}), ("tool_choice", {"tools": TOOLS, "tool_choice": "required"}),
                            ("parallel_tool_calls", {"tools": TOOLS, "parallel_tool_calls": "no"}),
                            ("messages[0].tool_calls", {"messages": [{"role": "assistant", "tool_calls": "f()"}] + PATTERN}),
                            ("messages[0].tool_calls", {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}] + PATTERN}),
                            ("messages[0].tool_calls", {"messages": [
                                {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": 5}}]}] + PATTERN}),
                            ("reasoning_format", {"extra_body": {"reasoning_format": "latin"}})):
            with self.assertRaises(openai.BadRequestError) as e:
                self.chat(**more)
            self.assertEqual(e.exception.param, param)


class NoTools(WithServer):
    """A template that knows neither tools nor their results, and wants users and assistants to alternate."""
    flags = ("--chat-template", "gemma")
    CALLS = [{"role": "user", "content": "Rain?"},
             {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
             {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "no"}]}]

    def test_calls_in_the_history(self):
        without = self.chat(messages=self.CALLS, max_tokens=1).usage.prompt_tokens
        self.assertGreater(without, self.chat(messages=self.CALLS[:1], max_tokens=1).usage.prompt_tokens + 20)
        self.assertGreater(self.chat(messages=self.CALLS, tools=TOOLS, max_tokens=1).usage.prompt_tokens, without)


class Ids(WithServer):
    flags = ("--chat-template", "{# [TOOL_CALLS] #}{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}{% endif %}1\n")

    def test_an_id_of_the_model_is_whole(self):
        id = "the-weather-of-the-city-as-the-user-wants-to-know"          # 49 letters
        call = "[TOOL_CALLS]get_weather[CALL_ID]" + id + '[ARGS]{"city": "Paris"}\n'
        r = self.chat(messages=[{"role": "user", "content": ("1\n" + call) * 5}], tools=TOOLS, temperature=0, max_tokens=60, stop=["\n1"],
                      extra_body={"repeat_penalty": 1})
        f, = r.choices[0].message.tool_calls
        self.assertEqual((f.id, f.function.name, json.loads(f.function.arguments)), (id, "get_weather", {"city": "Paris"}))


class Continued(WithServer):
    """A last assistant message that the template trims, takes apart or follows with its calls."""
    flags = ("--chat-template", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1]|trim }}{% if m.tool_calls %}()"
             "{% endif %}<|im_end|>\n{% endfor %}{{ more }}{{ tools|tojson }}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")

    def n_prompt(self, text, **more):
        messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": text, **more}]
        return self.chat(messages=messages, max_tokens=1).usage.prompt_tokens

    def test_it_goes_on_where_the_text_ends(self):
        n = self.n_prompt("one, two")
        self.assertEqual([self.n_prompt(t) for t in (" one, two", "one, two\n\n", "\tone, two ")], [n] * 3)
        self.assertGreater(self.n_prompt("one, two", tool_calls=[{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]), n)
        self.assertGreater(self.n_prompt(" \n"), 0)
        with self.assertRaises(openai.BadRequestError) as e:
            self.n_prompt("Hm.</think>one, two")
        self.assertEqual(e.exception.param, "messages")

    def test_no_nul_ends_a_prompt_early(self):
        with self.assertRaises(openai.BadRequestError) as e:
            self.chat(extra_body={"chat_template_kwargs": {"more": "a\0b"}})
        self.assertIn("NUL", e.exception.message)

    def test_hostile_repeats_are_quick(self):
        a, t0 = "ab" * 200000, time.time()
        for text in (a, a + "</think>b", "b</think>" + a):
            with self.assertRaises(openai.BadRequestError):                    # too long, or not to be continued
                self.chat(messages=[{"role": "user", "content": 2 * a}, {"role": "assistant", "content": text}], max_tokens=1)
        self.assertLess(time.time() - t0, 20)


class Reasoning(WithServer):
    flags = ("--chat-template", "{# <think> </think> #}{% for m in messages %}{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}")
    PROMPT = [{"role": "user", "content": "<think>\nfour\n</think>\nfive\n" * 6}]

    def ask(self, **more):
        return self.chat(**{"messages": self.PROMPT, "temperature": 0, "max_tokens": 40, "stop": ["five\n<"], "extra_body": {"repeat_penalty": 1}, **more})

    def test_the_prompt_opened_it(self):
        r = self.ask()
        m = r.choices[0].message
        self.assertEqual(m.reasoning_content.strip(), "four")
        self.assertNotIn("think>", m.content)
        self.assertGreater(r.usage.completion_tokens_details.reasoning_tokens, 0)
        self.assertLess(r.usage.completion_tokens_details.reasoning_tokens, r.usage.completion_tokens)

    def test_streamed_is_the_whole(self):
        m = self.ask().choices[0].message
        deltas = [c.choices[0].delta for c in self.ask(stream=True)]
        self.assertEqual("".join(getattr(d, "reasoning_content", None) or "" for d in deltas), m.reasoning_content)
        self.assertEqual("".join(d.content or "" for d in deltas), m.content)

    def test_logprobs_are_of_the_content(self):
        for more in ({}, {"stop": ["\n\n"]}, {"stop": ["</think>\nfive\nx", "five\n<"]}, {"max_tokens": 2}, {"max_tokens": 3}):
            c = self.ask(logprobs=True, top_logprobs=2, **more).choices[0]
            self.assertEqual(spelt(c.logprobs).strip(), c.message.content.strip())
            chunks = [x.choices[0] for x in self.ask(logprobs=True, stream=True, **more)]
            self.assertEqual("".join(spelt(x.logprobs) for x in chunks), spelt(c.logprobs))
        c = self.ask(logprobs=True, extra_body={"repeat_penalty": 1, "reasoning_format": "none"}).choices[0]
        self.assertTrue(spelt(c.logprobs).startswith(c.message.content))

    def test_bytes_of_half_characters(self):
        c = self.chat(messages=[{"role": "user", "content": 'a 😀"\n' * 8 + 'a 😀"'}], temperature=0, max_tokens=24, logprobs=True,
                      extra_body={"repeat_penalty": 1, "add_generation_prompt": False}).choices[0]
        self.assertIn('😀"', c.message.content)
        self.assertEqual(spelt(c.logprobs), c.message.content)

    def test_left_within_the_content(self):
        m = self.ask(extra_body={"repeat_penalty": 1, "reasoning_format": "none"}).choices[0].message
        self.assertIn("</think>", m.content)
        self.assertFalse(hasattr(m, "reasoning_content"))


if __name__ == "__main__":
    unittest.main()
