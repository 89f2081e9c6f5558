#!/usr/bin/env python3
"""laws.py [deps]: the laws a script can check (one line each in docs/decisions.md, "Laws").
Prints each breach as file:line: sentence; exit 1 when there is one."""
import glob, os, re, subprocess, sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
LEVEL = {"base": 0, "quant": 1, "format": 2, "tokenizer": 3, "kernels": 4, "cuda": 5, "metal": 5, "model": 6,
         "engine": 7, "server": 8, "cli": 9}
breaches, checked = [], 0


def say(where, text):
    breaches.append(f"{where}: {text}")


def files(*ends):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "src", "tests", "tools"], capture_output=True, text=True, check=True)
    return [f for f in out.stdout.split() if f.endswith(ends) and os.path.exists(f)]


def code(path):
    """Lines with comments and string contents blanked, so that words in them do not count."""
    text = open(path, encoding="utf-8").read()
    blank = lambda m: re.sub(r"[^\n]", " ", m.group(0))
    text = re.sub(r"/\*.*?\*/", blank, text, flags=re.S)
    text = re.sub(r"//[^\n]*", blank, text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda m: '"' + " " * (len(m.group(0)) - 2) + '"', text)


def folder(path):
    return path.split("/")[1]


def law_deps():
    """1. Includes point down: a folder may include its own headers and those of a lower level."""
    for f in files(".c", ".h", ".cu", ".cuh", ".m"):
        if not f.startswith("src/"):
            continue
        for i, line in enumerate(open(f, encoding="utf-8"), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = m.group(1)
            if "/" not in target or target.split("/")[0] not in LEVEL:
                say(f"{f}:{i}", f'include "{target}" by its folder: "folder/file.h"')
                continue
            there, here = target.split("/")[0], folder(f)
            if there != here and LEVEL[there] >= LEVEL[here]:
                say(f"{f}:{i}", f"{here} may not include {there}")
    # cli, server and embedders see the engine through lmrun.h alone
    for f in files(".c", ".h"):
        if f.startswith(("src/server/",)):
            for i, line in enumerate(open(f, encoding="utf-8"), 1):
                m = re.match(r'\s*#\s*include\s+"([a-z]+)/([^"]+)"', line)
                if m and m.group(1) not in ("server", "base") and m.group(1) + "/" + m.group(2) != "engine/lmrun.h":
                    say(f"{f}:{i}", "the server sees engine/lmrun.h and base only")


def law_calls():
    """2. No exit, abort, assert, getenv, printf outside cli (getenv, printf: base too); memory only through base."""
    never = re.compile(r"\b(exit|_exit|abort|assert|quick_exit)\s*\(")
    base_only = re.compile(r"\b(getenv|secure_getenv|printf|puts|putchar|perror|setenv)\s*\(|\bfprintf\s*\(\s*(?:stdout|stderr)")
    heap = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|free|strdup|aligned_alloc|posix_memalign|asprintf)\s*\(")
    for f in files(".c", ".h", ".m", ".cu"):
        if not f.startswith("src/") or folder(f) == "cli":
            continue
        for i, line in enumerate(code(f).split("\n"), 1):
            m = never.search(line)
            if m and "_Static_assert" not in line and "static_assert" not in line:
                say(f"{f}:{i}", f"{m.group(1)}() is for src/cli alone")
            m = base_only.search(line)
            if m and folder(f) != "base":
                say(f"{f}:{i}", f"{m.group(0).strip()} is for src/cli and src/base")
            m = heap.search(line)
            if m and folder(f) not in ("base", "cuda", "metal") and not re.match(r"\s*(void|int|static).*\(\*", line):
                say(f"{f}:{i}", f"{m.group(1)}(): memory comes from base.h (lm_{m.group(1)})")


def law_arch():
    """3. struct arch is named only where it is defined and read at load."""
    allowed = {"src/model/arch.h", "src/model/arch.c", "src/model/load.c", "src/model/bind.c"}
    for f in files(".c", ".h"):
        if not f.startswith("src/") or f in allowed:
            continue
        for i, line in enumerate(code(f).split("\n"), 1):
            if re.search(r"\bstruct arch\b", line) or "arch_table" in line:
                say(f"{f}:{i}", "struct arch and arch_table belong to model/arch.c and model/load.c")


def law_products():
    """Products with a model's weights go through fwd_linear, or adapters would be left out (no adapter changes heads)."""
    for f in files(".c"):
        if f.startswith("src/model/") and f not in ("src/model/lora.c", "src/model/head.c"):
            for i, line in enumerate(code(f).split("\n"), 1):
                if "op->linear(" in line:
                    say(f"{f}:{i}", "op->linear leaves adapters out: use fwd_linear")


def law_flags():
    """The contract of bytes: no fast maths anywhere, contraction off everywhere."""
    text = open("Makefile", encoding="utf-8").read()
    for bad in ("-ffast-math", "-Ofast", "-funsafe-math", "-fassociative-math", "-mdaz-ftz"):
        for f in ["Makefile"] + files(".c", ".h", ".sh", ".py"):
            if f != "tools/laws.py" and bad in "\n".join(l.split("#")[0] if f == "Makefile" else l for l in open(f, encoding="utf-8").read().split("\n")) \
                    and not f.endswith(".h"):
                say(f, f"{bad} breaks the contract of bytes")
    if "-ffp-contract=off" not in text:
        say("Makefile", "-ffp-contract=off is missing")


def law_tests():
    """5. Every arch row has a golden or says .untested; every dtype, slot and op a test; every parser a fuzzer."""
    quant = open("src/quant/quant.h", encoding="utf-8").read()
    tests = "\n".join(open(f, encoding="utf-8").read() for f in files(".c") if f.startswith("tests/"))
    kern = open("src/kernels/kern.h", encoding="utf-8").read()
    check = open("tests/check_kern.c", encoding="utf-8").read()
    for slot in re.findall(r"\(\*(\w+)\)\(", re.search(r"struct kern \{(.*?)\n\};", kern, re.S).group(1)):
        if slot not in check:
            say("src/kernels/kern.h", f"slot {slot} has no check in tests/check_kern.c")
    ops = open("src/kernels/ops.h", encoding="utf-8").read()
    for op in re.findall(r"\(\*(\w+)\)\(struct backend", re.search(r"struct backend_ops \{(.*?)\n\};", ops, re.S).group(1)):
        if f"op->{op}" not in tests:
            say("src/kernels/ops.h", f"op {op} is called by no test")
    made = glob.glob("tests/model/hf/*.gold") + glob.glob("tests/model/enc/*.gold")
    for row in re.findall(r'\{ \.name = "([^"]+)"', open("src/model/arch.c", encoding="utf-8").read()):
        if not any(os.path.basename(f).startswith(row) and os.path.isdir(f[:-5]) for f in made):
            say("src/model/arch.c", f"the row {row} has no folder and golden tests/model/hf/{row}* (tools/make_tiny.py)")
    if "quant_info" not in tests or not re.search(r"DT_COUNT", tests):
        say("src/quant/quant.h", "no test walks the whole table of types")
    for parser, fuzz in (("src/format/gguf.c", "gguf"), ("src/tokenizer/tok.c", "tok"), ("src/tokenizer/jinja.c", "jinja"),
                         ("src/format/peft.c", "adapter")):
        if os.path.exists(parser) and not os.path.exists(f"tests/fuzz/fuzz_{fuzz}.c"):
            say(parser, f"has no fuzz target tests/fuzz/fuzz_{fuzz}.c")


def law_long():
    """9. Functions over 60 lines and files over 800 are listed with a reason in tools/long.txt; the list may only shrink."""
    listed = {}
    for line in open("tools/long.txt", encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.strip().partition(" ")
            listed[name] = reason
            if not reason.strip():
                say("tools/long.txt", f"{name} gives no reason")
    seen = set()
    for f in files(".c", ".h", ".cu", ".m", ".metal"):
        if not f.startswith("src/"):
            continue
        lines = open(f, encoding="utf-8").read().split("\n")
        if len(lines) - 1 > 800:
            seen.add(f)
            if f not in listed:
                say(f, f"{len(lines) - 1} lines, over 800")
        start = None
        for i, line in enumerate(lines):
            if line.startswith("{") and start is None:
                start = i
            elif line.startswith("}") and start is not None:
                name = None
                for k in range(start - 1, max(-1, start - 6), -1):
                    m = re.search(r"(\w+)\s*\(", lines[k])
                    if m and not lines[k].startswith(("\t", " ")):
                        name = m.group(1)
                        break
                key = f"{f}:{name}"
                if i - start > 61:
                    seen.add(key)
                    if key not in listed:
                        say(f"{f}:{start + 1}", f"{name} has {i - start - 1} lines, over 60")
                start = None
    for name in listed:
        if name not in seen:
            say("tools/long.txt", f"{name} is no longer long: take it off the list")


def law_paths():
    """No path of one machine, no registry host, no skipped test without a word."""
    for f in files(".c", ".h", ".py", ".sh", ".md", ".cu", ".m"):
        if f == "tools/laws.py":
            continue
        for i, line in enumerate(open(f, encoding="utf-8", errors="replace"), 1):
            if re.search(r"/(work|root|home)/\w", line):
                say(f"{f}:{i}", "a path of one machine")
            if re.search(r"\bskip\(\)", line) and "tests/" in f:
                say(f"{f}:{i}", "skip() hides a failure")


def main():
    laws = [law_deps] if sys.argv[1:] == ["deps"] else [law_deps, law_calls, law_arch, law_products, law_flags, law_tests, law_long, law_paths]
    failed = 0
    for law in laws:
        before = len(breaches)
        law()
        failed += len(breaches) > before
    for b in breaches:
        print(b)
    print(f"{len(laws) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
