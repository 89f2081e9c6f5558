#!/usr/bin/env python3
"""bench_peers.py [REGEX]: lmrun against llama.cpp on this machine: same files, same threads, interleaved, medians.

Every row of docs/performance.md, or those whose name REGEX finds: the first column, those of whole processes with
", start".  What was measured is kept in build/bench/rows.json, so a run that was stopped goes on where it was; a row is
measured anew when lmrun has changed (FRESH=1: in any case).
ROUNDS=5 THREADS=2.  A run counts only if the machine was ours: no other process took time from it, and the processors
reached their peak before and after it (two of a virtual machine may share a core for a while); until then it is repeated.

Peers: $PEERS (a folder with llama-bench, llama-batched-bench, llama-completion), else built once under build/peers from
the sources that the llama-cpp-python package carries (half an hour); $PEERS_AVX2: libggml-cpu.so built for AVX2, which is
built there too; $PEERS_IK: llama-bench of ik_llama.cpp, measured where it is given.  Models of real shapes are written to
build/synth ($SYNTH).  Tokenizers: bench_tok.py.  Prints the tables, writes docs/performance.md and README.md's."""
import datetime, glob, hashlib, json, os, re, statistics, subprocess, sys, tarfile, time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, "tools")
import synth_gguf

ROUNDS, THREADS, WORK = int(os.environ.get("ROUNDS", "5")), os.environ.get("THREADS", "2"), "build/bench"
SYNTH, KEPT = os.environ.get("SYNTH", "build/synth"), WORK + "/rows.json"
NULL, median = subprocess.DEVNULL, statistics.median
SMOL, GEMMA = "models/SmolLM2-135M-Instruct.Q4_1.gguf", "models/gemma-3-270m-q4_k_m.gguf"
LIMITS = os.environ.get("LIMITS", "build/release/limits")


def sh(*c, **kw):
    return subprocess.run(c, check=True, stdout=subprocess.PIPE, **kw).stdout.decode()


# ---- peers and models ----------------------------------------------------------------------------------------------------
def sources():
    """The folder of llama.cpp's sources."""
    found = glob.glob("build/peers/llama_cpp_python-*/vendor/llama.cpp")
    if not found:
        os.makedirs("build/peers", exist_ok=True)
        sh("python3", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", "build/peers", "llama-cpp-python")
        with tarfile.open(glob.glob("build/peers/llama_cpp_python-*.tar.gz")[0]) as t:
            t.extractall("build/peers")
        found = glob.glob("build/peers/llama_cpp_python-*/vendor/llama.cpp")
    return found[0]


def build(to, targets, *flags):
    if not all(os.path.exists(f"{to}/bin/{t}") or os.path.exists(f"{to}/bin/lib{t}.so") for t in targets):
        print(f"building llama.cpp in {to} (once)", file=sys.stderr)
        sh("cmake", "-S", sources(), "-B", to, "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_OPENSSL=OFF",
           "-DLLAMA_BUILD_UI=OFF", *flags)
        sh("cmake", "--build", to, "-j2", "--target", *targets)
    return to + "/bin"


def peers():
    return os.environ.get("PEERS") or build("build/peers/build", ("llama-bench", "llama-batched-bench", "llama-completion"), "-DGGML_NATIVE=ON")


def peers_avx2():
    return os.environ.get("PEERS_AVX2") or build("build/peers/avx2", ("ggml-cpu",), "-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON",
                                                 "-DGGML_BMI2=ON")


def model(path):
    """A model's file; one that is synthetic is made first."""
    if "/" in path:
        return path
    out = f"{SYNTH}/{path}.gguf"
    if not os.path.exists(out):
        os.makedirs(SYNTH, exist_ok=True)
        shape, mix = path.split("-", 1)
        synth_gguf.write(shape, mix, sources() + "/models/ggml-vocab-llama-bpe.gguf", out)
    return out


# ---- runs that count -----------------------------------------------------------------------------------------------------
class Quiet:
    """Repeats a run until nobody else took 5 % of the processors' time and these were at their peak before and after."""
    best, lost = 0, 0

    def cores(self):
        v = float(sh(LIMITS, "--cores", THREADS).split()[0])
        self.best = max(self.best, v)
        return v

    def busy(self):
        v = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
        return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")

    def run(self, cmd, env=None, limit=600):
        """(standard output, wall seconds, peak MiB of anonymous memory, peak MiB of all) of a process."""
        for attempt in range(12):
            for _ in range(30):
                if self.cores() > .9 * self.best:
                    break
                time.sleep(1)
            busy, t = self.busy(), time.time()
            out, wall, anon, rss, cpu = watch(cmd, env, limit)
            other = self.busy() - busy - cpu
            if (other < .05 * int(THREADS) * wall + .1 and self.cores() > .9 * self.best) or attempt == 11:
                return out, wall, anon, rss
            self.lost += 1
            time.sleep(1 + attempt)


def watch(cmd, env, limit):
    """Runs cmd: as Quiet.run, and processor seconds.  Anonymous memory is the most that was seen."""
    with open(WORK + "/out", "w+b") as out:
        t = time.time()
        p = subprocess.Popen(cmd, stdin=NULL, stdout=out, stderr=NULL, env={**os.environ, **(env or {})})
        anon, end = 0, None
        while end is None:
            pid, status, usage = os.wait4(p.pid, os.WNOHANG)
            if pid:
                end = time.time()
                break
            try:
                anon = max(anon, int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{p.pid}/status").read())[1]))
            except (OSError, TypeError):
                pass
            if time.time() - t > limit:
                p.kill()
            time.sleep(.002 if time.time() - t < 1 else .02)
        if status:
            sys.exit(f"{' '.join(cmd)} failed with {status}")
        out.seek(0)
        return out.read().decode("utf-8", "replace"), end - t, anon / 1024, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


QUIET = Quiet()


def arguments(tests, depth=0):
    """For lmrun bench and llama-bench: pp512 and tg64 are a prompt and a generation."""
    n = {t[:2]: t[2:] for t in tests}
    return ["-p", n.get("pp", "0"), "-n", n.get("tg", "0")] + (["-d", str(depth)] if depth else [])


def ours_bench(m, tests, *more, env=None, depth=0):
    rows, out = json.loads(QUIET.run(["./lmrun", "bench", "-m", model(m), "-t", THREADS, "-r", "1", "--json", *arguments(tests, depth), *more], env)[0]), []
    for r in rows:
        share = r["linear_gops"] / r["peak_gops"]
        if r["n_gen"]:                               # the weights, and each sequence's cache
            share = (r["weights_gbps"] + r["kv_bytes"] * r["n_depth"] * r["avg_ts"] * 1e-9) / r["read_gbps"]
        out.append({"v": r["avg_ts"], "share": share})
    return out


def peer_bench(folder, m, tests, *more, env=None, depth=0):
    out = QUIET.run([folder + "/llama-bench", "-m", model(m), "-t", THREADS, "-r", "1", "-o", "json", *arguments(tests, depth), *more], env)[0]
    return [{"v": r["avg_ts"]} for r in json.loads(out)]


# ---- rows: what each engine runs, ours first; a run gives a sample for each of the row's lines -----------------------------------
def speed(m, tests, depth=0):
    runs = {"lmrun": lambda: ours_bench(m, tests, depth=depth)}
    for repack in "10":
        for fa in ("1", "0") if depth else ("",):
            flags = ["--repack", repack] + (["-fa", fa] if fa else [])
            runs[f"llama.cpp {'' if repack == '1' else 'no '}repack{ {'': '', '1': ', fa', '0': ', no fa'}[fa]}"] = \
                lambda f=flags: peer_bench(peers(), m, tests, *f, depth=depth)
    if os.environ.get("PEERS_IK") and not depth:
        for rtr in "01":
            runs["ik_llama.cpp" + (" -rtr" if rtr == "1" else "")] = lambda r=rtr: peer_bench(os.environ["PEERS_IK"], m, tests, "-rtr", r)
    return runs


def sequences(m, n, test):
    def peer(*flags):
        out = QUIET.run([peers() + "/llama-batched-bench", "-m", model(m), "-t", THREADS, "-c", "1024", "-npp", "1", "-ntg", test[2:], "-npl", str(n),
                         "--output-format", "jsonl", *flags])[0]
        return [{"v": next(json.loads(l)["speed_tg"] for l in out.splitlines() if '"speed_tg"' in l)}]
    return {"lmrun": lambda: ours_bench(m, [test], "-np", str(n)), "llama.cpp repack": lambda: peer(), "llama.cpp no repack": lambda: peer("--no-repack")}


def whole(m, columns, prompt, n_ctx, n_gen):
    """Of a process the columns of Quiet.run: 1 wall seconds, 2 private memory (the prompt's cache is a part), 3 all memory."""
    args = lambda: ["-m", model(m), "-p", prompt, "-n", str(n_gen), "-t", THREADS, "--temp", "0", "-c", str(n_ctx)]
    def run(*cmd):
        got = QUIET.run([*cmd, *args()])
        return [{"v": got[c]} for c in columns]
    peer = lambda *flags: run(peers() + "/llama-completion", "-no-cnv", *flags)
    return {"lmrun": lambda: run("./lmrun", "--raw"), "llama.cpp repack": lambda: peer(), "llama.cpp no repack": lambda: peer("--no-repack")}


def private(m):
    """Peak private memory at a context of 4096, of which 256 tokens are used, beside what --dry-run says without the cache."""
    def plan():
        p = json.loads(sh("./lmrun", "-m", model(m), "-t", THREADS, "-c", "4096", "--dry-run", "--json", stderr=NULL))
        return [{"v": (p["private_bytes"] - p["kv_bytes"]) / 2**20}]
    return {**whole(m, (2,), "a b c d " * 64, 4096, 2), "plan": plan}


def avx2(m, tests):
    peer = lambda repack: peer_bench(peers(), m, tests, "--repack", repack, env={"LD_LIBRARY_PATH": peers_avx2()})
    return {"lmrun": lambda: ours_bench(m, tests, env={"LMRUN_CPU": "avx2"}), "llama.cpp repack": lambda: peer("1"), "llama.cpp no repack": lambda: peer("0")}


class Busy:
    """A process that keeps processor 1 busy."""
    def __enter__(self):
        self.p = subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setaffinity(0, {1})\nwhile True: pass"])

    def __exit__(self, *a):
        self.p.kill()
        self.p.wait()


def disturbed(m):
    """Generation while a process keeps processor 1 busy, and ours without."""
    def run(*cmd):
        while QUIET.cores() < .9 * QUIET.best:
            time.sleep(1)
        with Busy():
            return [{"v": json.loads(watch([*cmd, "-m", model(m), "-t", THREADS, "-r", "1", "-o", "json", "-p", "0"], None, 900)[0])[0]["avg_ts"]}]
    peer = lambda repack: run(peers() + "/llama-bench", "-n", "32", "--repack", repack)
    return {"lmrun": lambda: run("./lmrun", "bench", "-n", "32"), "alone": lambda: ours_bench(m, ["tg32"]),
            "llama.cpp repack": lambda: peer("1"), "llama.cpp no repack": lambda: peer("0")}


TS, SECONDS, MIB = "tokens/s", "s", "MiB"


def rows():
    """(name, runs, lines); a line: what, unit, goal, stretch.  More is better of tokens/s, less of the others."""
    out = []
    for name, m, pp, tg, goals in (("1B Q4_K_M", "1b-q4_k_m", 512, 64, (1.6, 1.85, 1.6, 1.85)), ("1B Q8_0", "1b-q8_0", 512, 64, (4.3, 5.3, 1.65, 1.9)),
                                   ("1B F16", "1b-f16", 512, 64, (1.65, 2, 1.5, 1.6)), ("8B Q4_K_M", "8b-q4_k_m", 128, 16, (1.6, 1.9, 1.55, 1.75)),
                                   ("MoE Q4_K_M", "moe-q4_k_m", 512, 64, (1.6, 2.1, 1.5, 1.8)), ("SmolLM2 135M Q4_1", SMOL, 512, 128, (5.9, 8, 1.85, 2.35)),
                                   ("Gemma 3 270M Q4_K_M", GEMMA, 512, 128, (3.3, 4.5, 1.5, 1.6))):
        out.append((name, speed(m, [f"pp{pp}", f"tg{tg}"]), [(f"prompt {pp}", TS, *goals[:2]), (f"generation {tg}", TS, *goals[2:])]))
    for name, m, goals in (("SmolLM2 135M Q4_1", SMOL, (.35, .25)), ("Gemma 3 270M Q4_K_M", GEMMA, (.5, None)), ("1B Q4_K_M", "1b-q4_k_m", (.23, .14)),
                           ("8B Q4_K_M", "8b-q4_k_m", (.21, .14))):
        out.append((name + ", start", whole(m, (1, 3), "Hi there", 512, 1), [("process to the first token", SECONDS, *goals), ("peak memory", MIB, 1, None)]))
    return out + [
        ("1B Q4_K_M at depth 4096", speed("1b-q4_k_m", ["pp512", "tg32"], 4096), [("prompt 512", TS, 2.1, 2.9), ("generation 32", TS, 1.8, 2.2)]),
        ("1B Q4_K_M, 8 sequences", sequences("1b-q4_k_m", 8, "tg32"), [("generation 32 each", TS, 2, 3)]),
        ("1B Q4_K_M, AVX2 alone", avx2("1b-q4_k_m", ["pp512", "tg64"]), [("prompt 512", TS, 1.2, None), ("generation 64", TS, 1.2, None)]),
        ("1B Q4_K_M, processor 1 busy", disturbed("1b-q4_k_m"), [("generation 32", TS, 5, None)]),
        ("8B Q4_K_M, context 4096", private("8b-q4_k_m"), [("peak private memory", MIB, None, None)])]


# ---- measuring and writing ---------------------------------------------------------------------------------------------------
def worse(got, e, lines):
    """Far behind another of the peer's settings on every line, so that more runs of it would change nothing."""
    def behind(i, unit):
        v = {o: median(s[i]["v"] for s in r) for o, r in got.items() if o.startswith("llama.cpp") and r}
        return v[e] < .85 * max(v.values()) if unit == TS else v[e] > 1.15 * min(v.values())
    return e.startswith("llama.cpp") and got[e] and all(behind(i, l[1]) for i, l in enumerate(lines))


def measure(row, kept, version):
    name, runs, lines = row
    old = kept.get(name, {})
    if old.get("version") != version or os.environ.get("FRESH"):
        kept[name] = {"version": version, "runs": {}}
    got = kept[name]["runs"]
    for i in range(ROUNDS):
        for e, run in runs.items():
            if len(got.setdefault(e, [])) > i or (i and worse(got, e, lines)):
                continue
            got[e].append(run())
            kept[name]["date"] = str(datetime.date.today())
            json.dump(kept, open(KEPT + ".part", "w"))
            os.replace(KEPT + ".part", KEPT)
    print(table(row, kept[name]), end="", flush=True)


def figure(v, unit):
    return f"{v:.3f}" if unit == SECONDS else f"{v:.0f}" if v >= 1000 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def line(name, got, i, what, unit, goal, stretch):
    samples = {e: [s[i]["v"] for s in r] for e, r in got.items() if r}
    med = {e: median(v) for e, v in samples.items()}
    mine, more = samples["lmrun"], unit == TS
    ratio = med["lmrun"] / (max if more else min)(v for e, v in med.items() if e.startswith("llama.cpp"))
    verdict = ""
    if goal is not None:
        hit = lambda g: g is not None and (ratio >= g if more else ratio <= g)
        verdict = "stretch" if hit(stretch) else "reached" if hit(goal) else f"not reached, {abs(ratio / goal - 1) * 100:.0f} % {'below' if more else 'above'}"
    share = [s[i]["share"] for s in got["lmrun"] if s[i].get("share")]
    others = ", ".join(f"{e.removeprefix('llama.cpp ')} {figure(v, unit)}" for e, v in med.items() if e not in ("lmrun", "alone", "plan"))
    note = f"; {figure(med['alone'], unit)} alone: keeps {med['lmrun'] / med['alone'] * 100:.0f} %" if "alone" in med else ""
    note += f"; --dry-run: {figure(med['plan'], unit)} without the cache" if "plan" in med else ""
    return (f"| {name.removesuffix(', start')} | {what}, {unit} | {figure(med['lmrun'], unit)} [{figure(min(mine), unit)}-{figure(max(mine), unit)}]{note} | {others} | "
            f"{ratio:.2f} | {'' if goal is None else goal} / {'' if stretch is None else stretch} | {verdict} | {f'{median(share) * 100:.0f} %' if share else ''} | {len(mine)} |\n")


def table(row, k):
    return "".join(line(row[0], k["runs"], i, *l) for i, l in enumerate(row[2]))


HEAD = ("| model | what | lmrun [range] | llama.cpp | ratio | goal / stretch | | of the limit | runs |\n|---|---|---|---|---|---|---|---|---|")
ABOUT = """Same files, {threads} threads each, interleaved, medians; the ratio is to the better of llama.cpp's settings (load-time repack on or
off; at a depth also flash attention on or off).  Of the limit: generation by the weights read (at a depth also the cache) of
the memory bandwidth, prompts by the operations of the layers' matrices over the whole time of the int8 peak (F16: the f32
peak); both limits measured in the same run.  1B, 8B and MoE: `tools/synth_gguf.py`.  Less is better for seconds and MiB.
"""


def report(everything, kept):
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    done = [(r, kept[r[0]]) for r in everything if all(kept.get(r[0], {}).get("runs", {}).get(e) for e in r[1])]
    dates = sorted({k["date"] for _, k in done})
    text = f"# Performance\n\nWritten by `make bench-peers`.  {cpu}, {dates[0]}{' to ' + dates[-1] if len(dates) > 1 else ''}.\n\n"
    text += ABOUT.format(threads=THREADS) + "\n" + HEAD + "\n" + "".join(table(r, k) for r, k in done)
    text += "\n## Limits of this machine\n\n`make limits`, " + kept["limits"] + "\n" + kept.get("tokenizers", "")
    with open("docs/performance.md", "w", encoding="utf-8") as f:
        f.write(text.rstrip() + "\n")
    short = "".join("|".join(l.split("|")[:6]) + "|\n" for l in (HEAD + "\n" + "".join(table(r, k) for r, k in done)).splitlines())
    readme = open("README.md", encoding="utf-8").read()
    about = f"{cpu}, {THREADS} threads, {dates[-1]}, medians of {ROUNDS} interleaved runs; the better of llama.cpp's settings counts"
    with open("README.md", "w", encoding="utf-8") as f:
        f.write(re.sub(r"(<!-- make bench-peers -->\n).*(<!-- end -->)", lambda m: f"{m[1]}{about}\n\n{short}{m[2]}", readme, flags=re.S))


def main():
    os.makedirs(WORK, exist_ok=True)
    kept = json.load(open(KEPT)) if os.path.exists(KEPT) else {}
    version = hashlib.sha256(open("lmrun", "rb").read()).hexdigest()[:16]
    want, everything = re.compile(sys.argv[1] if len(sys.argv) > 1 else "", re.I), rows()
    for _ in range(5):
        QUIET.cores()
    kept["limits"] = sh(LIMITS, THREADS)
    print(kept["limits"] + "\n" + HEAD, flush=True)
    for row in everything:
        if want.search(row[0]):
            measure(row, kept, version)
    if QUIET.lost:
        print(f"{QUIET.lost} runs were disturbed and repeated", file=sys.stderr)
    if len(sys.argv) == 1:
        kept["tokenizers"] = sh("python3", "tools/bench_tok.py")
        print("\n" + kept["tokenizers"], end="")
    json.dump(kept, open(KEPT, "w"))
    report(everything, kept)


if __name__ == "__main__":
    main()
