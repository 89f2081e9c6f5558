#!/usr/bin/env python3
"""Renders every chat template given with `lmrun template` and with jinja2 as transformers sets it up (its own
_compile_jinja_template), over the conversations below, and lists every difference: the text must be the same, byte by
byte; where the reference raises, lmrun must fail with exit 1, and with the same message where the template raised it.

    tools/conformance_chat.py [--lmrun ./lmrun] [-v] PATH...      files and folders of *.jinja and *.gguf

A GGUF gives the texts of its tokenizer.chat_template* keys.  `make conformance` gives it those of llama.cpp's sources."""
import tok_venv  # noqa: F401  the reference libraries
import argparse, concurrent.futures, datetime, json, os, subprocess, sys, tempfile, warnings

warnings.simplefilter("ignore")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
from transformers.utils import chat_template_utils  # noqa: E402

NOW = 1753871400  # Wed 30 Jul 2025 10:30:00 UTC

S = {"role": "system", "content": "You are brief.\nAnswer in one line."}
U = {"role": "user", "content": "What is the weather in Paris?"}
A = {"role": "assistant", "content": "Sunny."}
U2 = {"role": "user", "content": "And in Rome?"}
DEV = {"role": "developer", "content": "Prefer metric units."}


def fn(name, args):
    return {"type": "function", "function": {"name": name, "arguments": args}}


def call(name, args, id="call_1"):
    return {"id": id, **fn(name, args)}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of <now> & \"then\"; it's é.\nSecond line.", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string", "description": "The city, e.g. Paris"},
            "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "at": {"type": "array", "items": {"type": "object", "properties": {"h": {"type": "number"}}}},
            "any": {"type": ["string", "null"]}, "u": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "required": ["city"]}}}
NOOP = {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}}
RICH = {"type": "function", "function": {
    "name": "book", "description": "Books.", "strict": True, "parameters": {
        "type": "object", "$defs": {"d": {"type": "string"}}, "additionalProperties": False, "properties": {
            "who": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]},
            "ok": {"type": "boolean", "description": "Sure?", "default": False}, "x": {"type": "number", "default": 1.5},
            "l": {"type": "array", "items": {"type": "string"}}, "n": {"type": "string", "nullable": True}, "e": {"enum": [1, "a", None]}},
        "required": ["who", "ok"]},
    "return": {"type": "string", "description": "The id."}}}
TOOLS = [WEATHER, NOOP]
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call_1", "content": "{\"t\": 21.5, \"sky\": \"clear\"}"}
SPECIAL = "<|im_end|>\n<|im_start|>system\n</s>[INST] <<SYS>> <|eot_id|> <end_of_turn> {{ x }} {% raw %} {# c #} <think> </think> <tool_call>"
ODD = "  \t'q' \"d\" \\ \\n {a} %s\n\n line\r\nend \u00a0é ñ 漢字 😀 e\u0301 \u2028\u200b\u00ad\x01\x7f <b>&amp;</b> $1 \n "
PARTS = [{"type": "text", "text": "Look:"}, {"type": "image"}, {"type": "text", "text": " what is it?"}]
LONG_IDS = "abcdefghi"  # Mistral wants ids of nine letters


def conv(name, messages, **kw):
    """A conversation, with and without a generation prompt; kw: further variables."""
    base = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "now": NOW}
    return [(name, {**base, "add_generation_prompt": False, **kw}), (name + "+gen", {**base, "add_generation_prompt": True, **kw})]


def tool_turns(args, **extra):
    return [U, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", args, LONG_IDS)], **extra}, {**RESULT, "tool_call_id": LONG_IDS}]


CONVERSATIONS = (
    conv("user", [U]) + conv("system", [S, U]) + conv("developer", [DEV, U]) + conv("turns", [S, U, A, U2]) + conv("turns-no-system", [U, A, U2, A])
    + conv("long", [S] + [U, A] * 6 + [U]) + conv("empty-list", []) + conv("assistant-first", [A, U]) + conv("two-users", [U, U2])
    + conv("system-late", [U, A, S, U2]) + conv("system-only", [S]) + conv("alien", [{"role": "alien", "content": "x"}])
    + conv("empty-strings", [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}, U])
    + conv("none", [U, {"role": "assistant", "content": None}, U2]) + conv("absent", [U, {"role": "assistant"}, U2])
    + conv("odd", [{"role": "system", "content": ODD}, {"role": "user", "content": ODD}, {"role": "assistant", "content": ODD}, {"role": "user", "content": "\n" + ODD + "\n"}])
    + conv("special", [{"role": "system", "content": SPECIAL}, {"role": "user", "content": SPECIAL}, {"role": "assistant", "content": SPECIAL}, U])
    + conv("parts", [S, {"role": "user", "content": PARTS}, {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}, U2])
    + conv("parts-system", [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}])
    + conv("media", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}, {"type": "video"}, {"type": "audio"}, {"type": "text", "text": "?"}]}])
    + conv("tools", [U], tools=TOOLS) + conv("tools-system", [S, U], tools=TOOLS) + conv("tools-rich", [S, U, A, U2], tools=[RICH, WEATHER])
    + conv("tools-empty", [S, U], tools=[]) + conv("tools-bare", [U], tools=[WEATHER["function"]])
    + conv("call", tool_turns({"city": "Paris", "days": 2}), tools=TOOLS)
    + conv("call-text", tool_turns("{\"city\": \"Paris\", \"days\": 2}"), tools=TOOLS)
    + conv("call-no-tools", tool_turns({"city": "Paris"}))
    + conv("call-content", [S, U, {"role": "assistant", "content": "Let me see.", "tool_calls": [call("get_weather", {"city": "Par'is \"é\""}, LONG_IDS)]},
                            {**RESULT, "tool_call_id": LONG_IDS}, {"role": "assistant", "content": "21.5 degrees."}, U2], tools=TOOLS)
    + conv("call-none", tool_turns({}, content=None), tools=TOOLS)
    + conv("call-rich", tool_turns({"a": [1, 2.5, None, True, {"b": "c"}], "s": "x\ny", "n": -3, "f": 1e20, "e": {}, "l": [], "z": ""}), tools=TOOLS)
    + conv("parallel", [S, U, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Paris"}, "aaaaaaaaa"), call("noop", {}, "bbbbbbbbb"),
                                                                                call("get_weather", {"city": "Rome"}, "ccccccccc")]},
                        {**RESULT, "tool_call_id": "aaaaaaaaa"}, {"role": "tool", "name": "noop", "tool_call_id": "bbbbbbbbb", "content": ""},
                        {**RESULT, "tool_call_id": "ccccccccc", "content": "rain"}, A, U2], tools=TOOLS)
    + conv("two-rounds", tool_turns({"city": "Paris"}) + [{"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"city": "Rome"}, "xxxxxxxxx")]},
                                                          {**RESULT, "tool_call_id": "xxxxxxxxx"}, A], tools=TOOLS)
    + conv("call-no-id", [U, {"role": "assistant", "tool_calls": [fn("get_weather", {"city": "Paris"})]}, {"role": "tool", "content": "ok"}], tools=TOOLS)
    + conv("call-bare", [U, {"role": "assistant", "content": "", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}, {"role": "tool", "content": {"t": 1}}], tools=TOOLS)
    + conv("result-parts", tool_turns({"city": "Paris"})[:2] + [{**RESULT, "tool_call_id": LONG_IDS, "content": [{"type": "text", "text": "ok"}]}], tools=TOOLS)
    + conv("ipython", [U, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Paris"})]}, {"role": "ipython", "content": "ok"}], tools=TOOLS)
    + conv("think-tags", [U, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSunny."}, U2, {"role": "assistant", "content": "<think>\nRome.\n</think>\n\nRain."}])
    + conv("reasoning", [S, U, {**A, "reasoning_content": "Hm, Paris.\n\n"}, U2, {"role": "assistant", "content": "Rain.", "reasoning_content": "Rome?"}])
    + conv("thinking", [U, {**A, "thinking": "Hm."}, U2]) + conv("reasoning-empty", [U, {**A, "reasoning_content": "", "thinking": "", "reasoning": ""}, U2])
    + conv("reasoning-all", [U, {**A, "reasoning_content": "Hm.", "thinking": "Hm.", "reasoning": "Hm."}, U2], enable_thinking=True)
    + conv("reasoning-call", tool_turns({"city": "Paris"}, reasoning_content="I must look.", thinking="I must look.") + [{**A, "reasoning_content": "So."}], tools=TOOLS)
    + conv("thinking-off", [S, U, A, U2], enable_thinking=False, thinking=False, reasoning_effort="none")
    + conv("thinking-on", [S, U, A, U2], enable_thinking=True, thinking=True, reasoning_effort="high", thinking_budget=512, preserve_thinking=True, clear_thinking=False)
    + conv("effort-low", [U], reasoning_effort="low", builtin_tools=["browser", "python"], model_identity="You are a test.")
    + conv("documents", [S, U], documents=[{"title": "T1", "text": "Text one."}, {"title": "Ü", "text": ODD}, {"doc_id": 7, "contents": "c"}])
    + conv("documents-empty", [U], documents=[]) + conv("date", [U], date_string="26 Jul 2024", today="x", strftime="%d", custom_tools=[WEATHER], tools_in_user_message=False)
    + conv("builtin-tools", [S, U], builtin_tools=["brave_search", "wolfram_alpha"], tools=TOOLS) + conv("continue", [U, {"role": "assistant", "content": "The weather"}], continue_final_message=True)
    + conv("names", [{"role": "user", "name": "Bo", "content": "Hi"}, {"role": "assistant", "name": "Al", "content": "Yo", "prefix": True}])
    + conv("numbers", [{"role": "user", "content": 5}]) + conv("messages-string", "nonsense") + conv("no-eos", [S, U, A], bos_token="", eos_token="")
    + [("bare", {"messages": [U]}), ("nothing", {})]
)

# What clients ought not to send, and do.
DEEP = x = {}
for i in range(60):
    x["k"] = {}
    x = x["k"]
BIG = "\u00e9x\n"*20000
NASTY = {"s":"a'b\"c\\d\n\t\u2028\u2029\x7f\u0085","emoji":"😀👨‍👩‍👧","n":[1e20,-0.0,0.1,1e-7,1e16,123456789012345680.0,5e-324,1.7976931348623157e308,2**53,-2**63,2**63-1],"t":[True,False,None],"h":"<a href='x'>&amp;</a>","k'ey\"":1,"":2,"é":3}
NASTY_CONVERSATIONS = (
 conv("n-args",tool_turns(NASTY),tools=TOOLS)+conv("n-args-str",tool_turns(json.dumps(NASTY)),tools=TOOLS)
 +conv("n-args-str-bad",tool_turns('{"city": '),tools=TOOLS)+conv("n-args-null",tool_turns(None),tools=TOOLS)+conv("n-args-list",tool_turns([1,2]),tools=TOOLS)
 +conv("n-args-num",tool_turns(5),tools=TOOLS)+conv("n-args-estr",tool_turns(""),tools=TOOLS)
 +conv("calls-empty",[U,{"role":"assistant","content":"x","tool_calls":[]},U2],tools=TOOLS)
 +conv("calls-null",[U,{"role":"assistant","content":"x","tool_calls":None},U2],tools=TOOLS)
 +conv("calls-empty-null",[U,{"role":"assistant","content":None,"tool_calls":[]},U2])
 +conv("calls-obj",[U,{"role":"assistant","content":"x","tool_calls":{"a":1}},U2])
 +conv("calls-str",[U,{"role":"assistant","content":"x","tool_calls":"abc"},U2])
 +conv("sys-many",[S,{"role":"system","content":"two"},U,{"role":"system","content":"three"},A,DEV,U2])
 +conv("dev-sys",[DEV,S,U])+conv("dev-tools",[DEV,U],tools=TOOLS)
 +conv("res-obj",tool_turns({"c":1})[:2]+[{"role":"tool","tool_call_id":LONG_IDS,"content":{"a":[1,-0.0,1e20],"b":None}}],tools=TOOLS)
 +conv("res-list",tool_turns({"c":1})[:2]+[{"role":"tool","tool_call_id":LONG_IDS,"name":"f","content":[1,"a",{"type":"text","text":"é\u2028"}]}],tools=TOOLS)
 +conv("res-null",tool_turns({"c":1})[:2]+[{"role":"tool","tool_call_id":LONG_IDS,"content":None}],tools=TOOLS)
 +conv("res-num",tool_turns({"c":1})[:2]+[{"role":"tool","tool_call_id":LONG_IDS,"content":1e20}],tools=TOOLS)
 +conv("res-absent",tool_turns({"c":1})[:2]+[{"role":"tool","tool_call_id":LONG_IDS}],tools=TOOLS)
 +conv("res-first",[{"role":"tool","tool_call_id":LONG_IDS,"content":"ok"},U],tools=TOOLS)
 +conv("long",[S,{"role":"user","content":BIG},{"role":"assistant","content":BIG},U2])
 +conv("deep",tool_turns(DEEP),tools=TOOLS)
 +conv("u2028",[{"role":"user","content":"a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei"},{"role":"assistant","content":"\u2028a\u2028\n</think>\n\u00a0b\u3000 "},{"role":"user","content":"\u3000 x \u00a0"}])
 +conv("emoji",[{"role":"system","content":"😀"},{"role":"user","content":"👨‍👩‍👧🇩🇪"},{"role":"assistant","content":"e\u0301"},{"role":"user","content":"ß"}])
 +conv("think-odd",[U,{"role":"assistant","content":"</think>a</think>b<think>c"},U2,{"role":"assistant","content":"<think></think>"},U])
 +conv("think-odd2",[U,{"role":"assistant","content":"<think>\n\n\nx"},U2,{"role":"assistant","content":"a<think>b</think>c","reasoning_content":"r"},U])
 +conv("reason-null",[U,{"role":"assistant","content":"x","reasoning_content":None,"thinking":None,"reasoning":None},U2])
 +conv("reason-num",[U,{"role":"assistant","content":"x","reasoning_content":5},U2])
 +conv("reason-list",[U,{"role":"assistant","content":"x","reasoning_content":["a"]},U2])
 +conv("date",[U],date_string="'\"x",enable_thinking=False)+conv("thinkoff",[S,U],enable_thinking=False)+conv("thinkoff-tools",tool_turns({"a":1}),tools=TOOLS,enable_thinking=False)
 +conv("et-none",[U],enable_thinking=None)+conv("et-str",[U],enable_thinking="false")
 +conv("docs",[U],documents=[{"title":"a\"b'","text":"\u2028","url":"x","n":[1,2.0,None]},{}])+conv("docs-str",[U],documents="abc")+conv("docs-strs",[U],documents=["a","b"])
 +conv("tools-str",[U],tools="abc")+conv("tools-obj",[U],tools={"a":1})+conv("tools-null",[U],tools=None)+conv("tools-noparam",[U],tools=[{"type":"function","function":{"name":"x"}}])
 +conv("tools-nastyparam",[U],tools=[{"type":"function","function":{"name":"x","description":None,"parameters":{"type":"object","properties":{"a":{"type":["string","integer"],"description":"d"},"b":{"type":"array"},"c":{"type":"object"},"d":{},"e":{"type":"string","enum":[]},"f":{"const":1e20},"g":{"oneOf":[{"type":"string"},{"type":"null"}]},"h":{"$ref":"#/x"},"i":{"type":"array","items":{"type":["a","b"]}},"j":{"type":"object","additionalProperties":{"type":"string"}},"k":{"default":[1,2.50,"x"]},"l":{"type":"integer","default":1e22,"minimum":-0.0}},"required":[]}}}])
 +conv("tools-reqnull",[U],tools=[{"type":"function","function":{"name":"x","description":"d","parameters":{"type":"object","properties":None,"required":None}}}])
 +conv("unknown-keys",[{"role":"user","content":"x","foo":{"a":1},"cache_control":{"type":"e"},"weight":0}],foo=[1,2],bar={"x":None},_x=1)
 +conv("cfm",[U,{"role":"assistant","content":"  The weather  "}],continue_final_message=True)
 +conv("name-null",[{"role":"user","name":None,"content":"x"},{"role":"assistant","name":"","content":"y"},{"role":"tool","name":None,"tool_call_id":None,"content":"z"}])
 +conv("content-num",[{"role":"system","content":1e20},{"role":"user","content":-0.0},{"role":"assistant","content":True},{"role":"user","content":9007199254740993}])
 +conv("content-dict",[{"role":"user","content":{"a":1,"text":"t"}},{"role":"assistant","content":{"type":"text","text":"q"}},U])
 +conv("content-parts-odd",[{"role":"user","content":["a",{"type":"text"},{"text":"b"},{"type":"image"},{"type":"text","text":None}]},{"role":"assistant","content":[]},{"role":"user","content":[]}])
 +conv("content-parts-odd2",[{"role":"system","content":[]},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":" b\n"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","closed":True},{"type":"text","text":"c"}]},U])
 +conv("role-missing",[{"content":"x"}])+conv("role-none",[{"role":None,"content":"x"}])+conv("role-caps",[{"role":"User","content":"x"}])+conv("msg-str",["abc"])+conv("msg-null",[None])+conv("msgs-null",None)
 +[("noagp",{"messages":[S,U,A,U2],"bos_token":"<s>","eos_token":"</s>"}),("noagp-null",{"messages":[U],"add_generation_prompt":None,"bos_token":None,"eos_token":None}),("agp-str",{"messages":[U,A],"add_generation_prompt":"false"})]
)
CONVERSATIONS += NASTY_CONVERSATIONS


def outcome(template, vars):
    """What the reference makes of it: {"out": text}, or {"err": message, "kind": exception}."""
    vars = dict(vars)
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)
    for k in ("tools", "documents"):
        vars.setdefault(k, None)
    try:
        t = chat_template_utils._compile_jinja_template(template)
        t.globals["strftime_now"] = now.strftime
        return {"out": t.render(**vars)}
    except Exception as e:
        kind = type(e).__name__
        return {"err": str(e), "kind": kind, "own": kind == "TemplateError"}


# Our built-in templates against their families': on conversations where the real one adds no text of its own.
FAMILIES = {
    "Qwen-Qwen2.5-7B-Instruct.jinja": ("chatml", ["system", "turns"]), "google-gemma-2-2b-it.jinja": ("gemma", ["user", "turns-no-system"]),
    "ggml-vocab-qwen2.gguf:tokenizer.chat_template": ("chatml", ["system", "turns"]),
    "SmolLM2-135M-Instruct.Q4_1.gguf:tokenizer.chat_template": ("chatml", ["system", "turns", "odd"]),
    "microsoft-Phi-3.5-mini-instruct.jinja": ("phi3", ["user", "system", "turns", "turns-no-system", "long", "odd"]),
    "ibm-granite-granite-3.3-2B-Instruct.jinja": ("granite", ["system", "turns", "long"]), "ibm-granite-granite-4.0.jinja": ("granite", ["system", "turns", "long"]),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja": ("deepseek", ["user", "system", "turns", "turns-no-system", "long"]),
    "ggml-vocab-command-r.gguf:tokenizer.chat_template": ("command-r", ["user", "system", "turns", "turns-no-system", "long"]),
}


def check_family(name, text):
    """Differences of a built-in template from this template of its family; generation prompts that think are the family's."""
    import gold_chat
    builtin, names = FAMILIES.get(os.path.basename(name), (None, []))
    for c, v in CONVERSATIONS:
        if c.removesuffix("+gen") in names and not (c.endswith("+gen") and builtin == "deepseek"):
            v = {**v, "eos_token": "<｜end▁of▁sentence｜>"} if builtin == "deepseek" else v
            a, b = outcome(text, v), outcome(gold_chat.builtins()[builtin], v)
            yield c, None if a == b else f"built-in {builtin}: {b} instead of {a}"


def templates(paths):
    for p in paths:
        if os.path.isdir(p):
            yield from templates(sorted(os.path.join(p, f) for f in os.listdir(p)))
        elif p.endswith(".jinja"):
            with open(p, encoding="utf8", newline="") as f:
                yield p, f.read()
        elif p.endswith(".gguf"):
            import gguf
            for key, f in gguf.GGUFReader(p).fields.items():
                if key.startswith("tokenizer.chat_template") and f.types[-1] == gguf.GGUFValueType.STRING and len(f.types) == 1:
                    yield f"{p}:{key}", bytes(f.parts[f.data[0]]).decode()


def difference(lmrun, path, vars, want):
    """None, or what differs."""
    v = vars if vars.get("now") else {**vars, "now": NOW}
    r = subprocess.run([lmrun, "template", "-m", path, "--json"], input=json.dumps(v).encode(), capture_output=True, timeout=60)
    err = r.stderr.decode("utf8", "replace").rstrip("\n")
    if "out" in want:
        if r.returncode:
            return f"fails ({r.returncode}): {err[-300:]}"
        got, text = r.stdout, want["out"].encode("utf8", "surrogatepass")
        if got == text:
            return None
        at = next((i for i in range(min(len(got), len(text))) if got[i] != text[i]), min(len(got), len(text)))
        return f"byte {at}: want ...{text[max(0, at - 40):at + 60]!r} got ...{got[max(0, at - 40):at + 60]!r}"
    if r.returncode != 1:
        return f"must fail with {want['kind']}: {want['err'][:120]!r}, ends with {r.returncode}: {r.stdout[-100:]!r}"
    # control characters of a message are shown escaped; a message is cut at some length
    if want["own"] and want["err"].replace("\n", "\\x0A")[:400] not in err:
        return f"message {err[-200:]!r} instead of {want['err'][:200]!r}"
    return None


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--lmrun", default="./lmrun")
    a.add_argument("-v", action="store_true", help="one line a template")
    a.add_argument("paths", nargs="+")
    o = a.parse_args()
    for p in o.paths:
        if not os.path.exists(p):
            sys.exit(f"{p}: there is no such file or folder")
    n, renders, raised, family, bad = 0, 0, 0, 0, []
    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, text in templates(o.paths):
            n += 1
            path = os.path.join(tmp, "t.jinja")
            with open(path, "w", encoding="utf8", newline="") as f:
                f.write(text)
            want = [outcome(text, v) for _, v in CONVERSATIONS]
            got = list(pool.map(lambda k: difference(o.lmrun, path, k[0][1], k[1]), zip(CONVERSATIONS, want)))
            renders += len(got)
            raised += sum("err" in w for w in want)
            found = [(c[0], g) for c, g in zip(CONVERSATIONS, got) if g]
            for c, g in check_family(name, text):
                family += 1
                found += [(c, g)] if g else []
            bad += [(name, c, g) for c, g in found]
            if o.v:
                print(f"{os.path.basename(name)}: {len(got) - len(found)} of {len(got)} equal, {sum('err' in w for w in want)} refused", flush=True)
            for c, g in found:
                print(f"DIFF {os.path.basename(name)} [{c}] {g}", flush=True)
    print(f"chat templates: {n} templates, {renders + family} renders ({raised} where the reference raises), {renders + family - len(bad)} equal, "
          f"{len(bad)} different; of them {family} of built-in templates against their families'")
    return 1 if bad or not n else 0


if __name__ == "__main__":
    sys.exit(main())
