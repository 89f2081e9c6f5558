#!/usr/bin/env python3
"""Writes tests/fixtures/answers_gold.json: what models write, by their own chat templates.

Each template is rendered by jinja2 as transformers sets it up, with and without a last message of the assistant; the
difference is what the model would have written, and taking it apart must give that message back.  Nothing of lmrun is
used.  Templates are the *.jinja of the folder given (llama.cpp's models/templates, inside the source package of
llama-cpp-python); of their text the fixture keeps only the markers, by which a format is told.

    python tools/gold_answers.py FOLDER      run from the root of the repository
"""
import glob, json, os, re, sys, warnings
warnings.simplefilter("ignore")
from transformers.utils.chat_template_utils import _compile_jinja_template

OUT = "tests/fixtures/answers_gold.json"

def tool(name, required, **props):
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": {
        "type": "object", "properties": {k: dict(v, description="p") for k, v in props.items()}, "required": required}}}

TOOLS = [
    tool("get_weather", ["city"], city={"type": "string"}, days={"type": "integer"}, opts={"type": "object", "additionalProperties": {"type": "string"}},
         exact={"type": "boolean"}, tags={"type": "array", "items": {"type": "string"}}, ratio={"type": "number"}),
    tool("run_code", ["code"], code={"type": "string"}),
    tool("now", []),
]
RICH = {"city": "Zürich \"Süd\" 東京 😀", "days": -3, "opts": {"a": [1, 2.5, False, True], "b": {"c": "d e", "n": {"m": 0}}},
        "exact": True, "tags": ["x", "it is", "☃"], "ratio": 1.5e-07}
PLAIN = {"city": "5", "days": 12, "exact": False}
CODE = {"code": "def f(x):\n\tif x < 1 and x > -1:\n\t\treturn \"a\\n\" + 'b'\n\n# {\"name\": 1} </b> & <c>\n"}
NULLS = {"city": "x", "opts": {"a": [None, {"b": None}], "e": "", "o": {}, "l": []}}
MARKS = {"code": "</think> <tool_call>{\"name\": \"now\", \"arguments\": {}} [TOOL_CALLS] </parameter> ``` <|python_tag|> }]"}
W, C = "get_weather", "run_code"
T = "It is about weather.\n\nSo I ask \"the tool\": é."
A = "Let me see:\n- one < two\n- 東京 {\"a\": 1}"
CALLS = {"rich": [(W, RICH)], "plain": [(W, PLAIN)], "code": [(C, CODE)], "none": [("now", {})], "nulls": [(W, NULLS)], "marks": [(C, MARKS)],
         "two": [(W, RICH), (C, CODE)], "three": [("now", {}), (W, PLAIN), (W, RICH)]}
MESSAGES = [("", A, None), (T, A, None), ("", "Plain.", None), (T, "", "rich"), ("", "", "rich"), ("", A, "rich"), (T, A, "code"), ("", "", "code"),
            ("", "", "plain"), ("", "", "none"), ("", "", "nulls"), ("", "", "marks"), ("", "", "two"), (T, A, "two"), ("", A, "three")]

# what ends a turn: the engine stops there and the text does not hold it
ENDS = ["<|im_end|>", "<EOS>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "[e~[",
        "<end_of_sentence>", "<SPECIAL_12>", "<|message_sep|>", "<|END_OF_TURN_TOKEN|>", "<sep>", "<seed:eos>", "<|role_end|>", "</assistant>",
        "<|end_of_msg|>", "<｜hy_eos:opensource｜>", "<|end|>", "<|return|>", "<|call|>", "<|eot|>", "<|start_of_turn|>", "<|assistant_end|>",
        "<|tool_response>", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"]
WITHIN = ["<|end|>", "<|message_sep|>", "<|tool_response>"]      # may also stand within a turn
END = re.compile("(?:(?:" + "|".join(map(re.escape, ENDS)) + r")\s*)+$")
# what a generation prompt may open (or close) the reasoning with; taken off where the history is written without it
OPENERS = ["<think>\n", "<think>", "Here are my reasoning steps:\n", "<|START_THINKING|>", "<|open|>think<|sep|>"]
CLOSERS = ["</think:opensource>"]
THOUGHT = ["</think>", "<|END_THINKING|>", "[BEGIN FINAL RESPONSE]", "<|close|>think<|sep|>", "</think:opensource>"]
# what a template cannot say, beyond what is seen from the text
LOSSY = {("LFM2.5-8B-A1B", "code"): "strings stand between quotes with nothing escaped", ("LFM2.5-8B-A1B", "two"): "the same",
         ("MiniMax-M3", "nulls"): "null, {} and [] are not written"}
MARK = re.compile(r"""<[^<>\s]{1,60}>|<function=|<parameter=|<function name="|<param name="|\[/?[A-Z_ ]{3,30}\]|>>>\w+|]<]\w+\[>\[|Action:|directly-answer|functools\[|"parameters": |List of tools: \[|keep_past_thinking|analysis|atem:\w+>|:opensource|<tool_sep|function call|｜DSML｜""")


def message(m, style):
    think, text, calls = m
    out = {"role": "assistant", "content": text}
    if "none" in style and not text:
        out["content"] = None
    if think:
        out["reasoning_content"] = think
        if "field" in style:
            out = {**out, "thinking": think, "reasoning": think}
        if "blocks" in style:
            out["content"] = [{"type": "thinking", "thinking": think}] + ([{"type": "text", "text": text}] if text else [])
    if calls:
        arg = (lambda a: json.dumps(a, ensure_ascii=False)) if "text" in style else (lambda a: a)
        out["tool_calls"] = [{"id": "call%05d" % i, "type": "function", "function": {"name": n, "arguments": arg(a)}}
                             for i, (n, a) in enumerate(CALLS[calls])]
        if "bare" in style:
            out["tool_calls"] = [{"id": c["id"], **c["function"]} for c in out["tool_calls"]]
    return out


STYLES = ["", "field", "none", "field none", "text", "text none", "blocks", "bare"]


def expected(text, m, thinking):
    """What of the message stands in the text; a reason where it does not stand there as a model would write it."""
    think, content, calls = m
    if any(e in text for e in ENDS if e not in WITHIN):
        return "it makes several turns of it"
    if content and "analysis<|message|>" + content in text:
        return "it writes the content as reasoning"
    if re.search(r"""["']type["']: ["']thinking""", text):
        return "it writes the blocks of the content as data"
    if content and content in text and thinking and not any(e in text for e in THOUGHT):
        return "it writes the content within the reasoning"
    x = {"r": int(bool(think) and think in text), "c": int(bool(content) and content in text), "t": ""}
    if calls:
        n = len(CALLS[calls])
        if sum(text.count(name) for name in {c[0] for c in CALLS[calls]}) < n:
            return "it does not write the calls"
        ids = ["call%05d" % i for i in range(n)]
        first = text.find("city") if calls in ("rich", "plain", "nulls") else -1
        if first >= 0 and 0 <= text.find(ids[0]) < first:
            x["ids"] = ids
        kimi = ["functions.%s:%d" % (c[0], i) for i, c in enumerate(CALLS[calls])]
        if all(k in text for k in kimi):
            x["ids"] = kimi
    elif x["c"]:
        x["t"] = re.search(r"\s*$", text).group()
    elif x["c"] == 0:
        return "it does not write the content"
    return x


def render(t, messages, gen):
    return t.render(messages=messages, tools=TOOLS, functions=json.dumps(TOOLS), datetime="now", add_generation_prompt=gen, bos_token="<BOS>",
                    eos_token="<EOS>", enable_thinking=True, thinking=True)


def written(t, m, name):
    """(text, thinking) of the first style of giving the message that the template renders in full."""
    best, why = None, LOSSY.get((name, m[2]))
    if why:
        return why
    for style in STYLES:
        user = [{"role": "user", "content": "Hi?"}]
        try:
            prompt, whole = render(t, user, True), render(t, user + [message(m, style)], False)
        except Exception as e:
            why = type(e).__name__ + ": " + str(e)[:100]
            continue
        opener = next((o for o in OPENERS if prompt.endswith(o)), "")
        thinking = bool(opener)
        closer = next((o for o in CLOSERS if prompt.endswith(o)), "")
        if opener + closer and not whole.startswith(prompt):
            prompt, rest = prompt[:-len(opener + closer)], whole[len(prompt) - len(opener + closer):]
            # written without the opener, the reasoning is what followed it
            thinking = bool(closer or m[0] and m[0] in rest and not rest.startswith(opener))
        if not whole.startswith(prompt):
            why = "what it renders does not begin with the prompt"
            continue
        text = END.sub("", whole[len(prompt):])
        x = expected(text, m, thinking)
        if isinstance(x, str):
            why = x
            continue
        key = x["r"] + x["c"]
        if best is None or key > best[0]:
            best = (key, text, thinking, x)
    return best[1:] if best else why


def main():
    texts, templates = {}, {}
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.jinja"))):
        name, source = os.path.basename(path)[:-6], open(path, encoding="utf8").read()
        cases, calls, why = [], 0, {}
        try:
            t = _compile_jinja_template(source)
        except Exception as e:
            print("%s: %s" % (name, e))
            continue
        for i, m in enumerate(MESSAGES):
            got = written(t, m, name)
            if isinstance(got, str):
                why[i] = got
                continue
            text, thinking, x = got
            if any(text == c[0] and thinking == c[1] and x == c[2] for c in cases):
                continue
            cases.append((text, thinking, x, i))
            calls += m[2] is not None
        templates[name] = {"marks": " ".join(sorted(set(MARK.findall(source)))), "cases": [
            [i, texts.setdefault(text, len(texts)), int(thinking), x] for text, thinking, x, i in cases]}
        if not calls:
            print("%s: no calls: %s" % (name, why.get(4, "")))
        elif why:
            print("%s: not all: %s" % (name, {MESSAGES[i][2]: w for i, w in why.items()}))
    gold = {"tools": TOOLS, "messages": [{"think": m[0], "text": m[1], "calls": [
        {"name": n, "arguments": a} for n, a in CALLS.get(m[2], [])]} for m in MESSAGES], "texts": list(texts), "templates": templates}
    with open(OUT, "w", encoding="utf8") as f:
        json.dump(gold, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    print(len(templates), "templates,", sum(len(v["cases"]) for v in templates.values()), "cases,", len(texts), "texts,", os.path.getsize(OUT), "bytes")


main()
