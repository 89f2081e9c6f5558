#!/usr/bin/env python3
"""The contract of bytes on the real models: `score --json`, greedy and seeded text are the same bytes for every thread
count, prefill chunk and instruction set, and for a sequence evaluated at once or continued token by token."""
import json, os, shlex, subprocess, sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
MODELS = ["models/SmolLM2-135M-Instruct.Q4_1.gguf", "models/gemma-3-270m-q4_k_m.gguf"]
TEXT = "tests/e2e/text.txt"
passed = failed = 0


def run(args, cpu=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LMRUN", "LLAMA"))}
    if cpu:
        env["LMRUN_CPU"] = cpu
    p = subprocess.run(["./lmrun"] + args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
    if p.returncode:
        raise SystemExit(f"FAILED lmrun {' '.join(args)}: exit {p.returncode}: {p.stderr.decode()[-300:]}\n0 passed, 1 failed")
    return p.stdout


def check(name, got, want):
    global passed, failed
    ok = got == want and len(want) > 0
    passed, failed = passed + ok, failed + (not ok)
    if not ok:
        print(f"FAILED {name}: {got[:160]!r} is not {want[:160]!r}")


def levels():
    """The instruction-set levels of this machine, as lmrun itself names them for an unknown one."""
    p = subprocess.run(["./lmrun", "-m", MODELS[0], "-p", "x", "-n", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       stdin=subprocess.DEVNULL, env={**os.environ, "LMRUN_CPU": "none-such"})
    if p.returncode != 2:
        raise SystemExit(f"FAILED: LMRUN_CPU=none-such gives exit {p.returncode}\n0 passed, 1 failed")
    known = ["c", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "dotprod", "i8mm"]
    words = p.stderr.decode().replace(",", " ").replace(".", " ").replace(")", " ").split()
    return [l for l in known if l in words]


def readme_demo():
    """The session that README shows is what the program prints, letter for letter."""
    text = open("README.md", encoding="utf-8").read()
    at = text.index("```\n$ ./lmrun ") + 6
    command, _, shown = text[at:text.index("```", at)].partition("\n")
    args = shlex.split(command)[1:]
    check("README's session", run(args).decode("utf-8").rstrip("\n"), shown.rstrip("\n"))


def main():
    readme_demo()
    isas = levels()
    if len(isas) < 2:
        print(f"FAILED: only {isas} found")
    print("levels:", " ".join(isas))
    for model in MODELS:
        m = ["-m", model]
        ids = json.loads(run(["tokenize"] + m + ["-f", TEXT, "--json"]))
        short = ",".join(map(str, ids[:40]))
        every = ",".join(map(str, ids[:230]))
        score = run(["score"] + m + ["--tokens", every, "--json", "-t", "2"])
        for t in ("1", "3"):
            check(f"{model} score -t {t}", run(["score"] + m + ["--tokens", every, "--json", "-t", t]), score)
        for b in ("1", "7", "64", "512"):
            check(f"{model} score -b {b}", run(["score"] + m + ["--tokens", every, "--json", "-b", b]), score)
        brief = run(["score"] + m + ["--tokens", short, "--json"])
        for isa in isas:
            check(f"{model} score {isa}", run(["score"] + m + ["--tokens", short, "--json"], isa), brief)
        for kv in ("f32", "q8_0"):
            one = run(["score"] + m + ["--tokens", short, "--json", "-ctk", kv, "-ctv", kv, "-t", "1", "-b", "1"])
            check(f"{model} score {kv} cache", run(["score"] + m + ["--tokens", short, "--json", "-ctk", kv, "-ctv", kv]), one)
        for how in (["--temp", "0"], ["--temp", "0.9", "-s", "7"]):
            gen = ["--tokens", short, "-n", "40", "--json"] + how
            text = run(m + gen + ["-t", "2"])
            for t in ("1", "3"):
                check(f"{model} {how} -t {t}", run(m + gen + ["-t", t]), text)
            for b in ("1", "7", "64"):
                check(f"{model} {how} -b {b}", run(m + gen + ["-b", b]), text)
            for isa in isas[1:]:
                check(f"{model} {how} {isa}", run(m + gen, isa), text)
            # continued from the middle of its own output: the draws depend on the position alone
            out = json.loads(text)["tokens"]
            cut = len(out) // 2
            if cut:
                rest = m + ["--tokens", short + "," + ",".join(map(str, out[:cut])), "-n", str(40 - cut), "--json"] + how
                check(f"{model} {how} continued", json.dumps(json.loads(run(rest))["tokens"]), json.dumps(out[cut:]))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
