#!/usr/bin/env python3
"""bench_peers.py: lmrun against llama.cpp on this machine, interleaved, medians of 5, 2 threads, same files.

Finds the peer in $PEERS (a folder with llama-bench and llama-completion) or builds it once under build/peers from the
sources that the llama-cpp-python package carries (about 12 minutes).  Tokenizers against
the `tokenizers` library: bench_tok.py.  Prints the tables and writes docs/performance.md."""
import datetime, json, os, re, resource, statistics, subprocess, sys, time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
MODELS = [("SmolLM2-135M Q4_1", "models/SmolLM2-135M-Instruct.Q4_1.gguf"), ("Gemma-3-270M Q4_K_M", "models/gemma-3-270m-q4_k_m.gguf")]
ROUNDS, THREADS = int(os.environ.get("ROUNDS", "5")), "2"
NULL = subprocess.DEVNULL


def peer_folder():
    if os.environ.get("PEERS"):
        return os.environ["PEERS"]
    bin_dir = "build/peers/build/bin"
    if not os.path.exists(bin_dir + "/llama-bench"):
        os.makedirs("build/peers", exist_ok=True)
        print("building llama.cpp under build/peers (once)", file=sys.stderr)
        sh = lambda *c: subprocess.run(c, check=True, stdout=NULL)
        sh("python3", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", "build/peers", "llama-cpp-python")
        tar = sorted(f for f in os.listdir("build/peers") if f.endswith(".tar.gz"))[-1]
        sh("tar", "xzf", "build/peers/" + tar, "-C", "build/peers")
        src = "build/peers/" + tar[:-7] + "/vendor/llama.cpp"
        sh("cmake", "-S", src, "-B", "build/peers/build", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF",
           "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_UI=OFF")
        sh("cmake", "--build", "build/peers/build", "-j2", "--target", "llama-bench", "llama-completion")
    return bin_dir


def peer_ts(bench, model, kind, repack):
    arg = ["-p", "512", "-n", "0"] if kind == "pp512" else ["-p", "0", "-n", "128"]
    out = subprocess.run([bench, "-m", model, "-t", THREADS, "-r", "1", "-o", "json", "--repack", repack] + arg, check=True, stdout=subprocess.PIPE, stderr=NULL).stdout
    return json.loads(out)[0]["avg_ts"]


def our_ts(model, kind):
    arg = ["-p", "512", "-n", "0"] if kind == "pp512" else ["-p", "0", "-n", "128"]
    out = subprocess.run(["./lmrun", "bench", "-m", model, "-t", THREADS, "-r", "1", "--json"] + arg, check=True, stdout=subprocess.PIPE, stderr=NULL).stdout
    return json.loads(out)[0]["avg_ts"]


def whole(cmd):
    """Wall seconds and peak memory in MiB of a whole process."""
    t = time.time()
    p = subprocess.Popen(cmd, stdin=NULL, stdout=NULL, stderr=NULL)
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit(f"{cmd[0]} failed with {status}")
    return time.time() - t, usage.ru_maxrss / 1024


def main():
    folder = peer_folder()
    bench, completion = folder + "/llama-bench", folder + "/llama-completion"
    rows, med = [], statistics.median
    for name, model in MODELS:
        for kind in ("pp512", "tg128"):
            a, b0, b1 = [], [], []
            for _ in range(ROUNDS):
                a.append(our_ts(model, kind))
                b1.append(peer_ts(bench, model, kind, "1"))
                b0.append(peer_ts(bench, model, kind, "0"))
            best = max(med(b0), med(b1))
            rows.append((name, kind + " tokens/s", f"{med(a):.1f} [{min(a):.0f}-{max(a):.0f}]", f"{med(b1):.1f} / {med(b0):.1f}", med(a) / best, "at least 1.2"))
        mine = ["./lmrun", "-m", model, "-p", "Hi there", "--raw", "-n", "1", "-t", THREADS, "--temp", "0"]
        other = [completion, "-m", model, "-p", "Hi there", "-no-cnv", "-n", "1", "-t", THREADS, "--temp", "0"]
        pairs = [(whole(mine), whole(other)) for _ in range(ROUNDS)]
        t, o = [p[0][0] for p in pairs], [p[1][0] for p in pairs]
        rows.append((name, "whole process -n 1, s", f"{med(t):.3f}", f"{med(o):.3f}", med(t) / med(o), "at most 0.5"))
        m, q = [p[0][1] for p in pairs], [p[1][1] for p in pairs]
        rows.append((name, "peak memory, MiB", f"{med(m):.1f}", f"{med(q):.1f}", med(m) / med(q), "at most 1"))
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    head = (f"{cpu}, {THREADS} threads, {datetime.date.today()}, medians of {ROUNDS} interleaved runs; llama.cpp: repack on / off, the better one counts\n\n"
            "| model | what | lmrun | llama.cpp | ratio | goal |\n|---|---|---|---|---|---|\n")
    table = head + "".join(f"| {n} | {w} | {a} | {b} | {r:.2f} | {g} |\n" for n, w, a, b, r, g in rows)
    print(table, end="", flush=True)
    tok = subprocess.run(["python3", "tools/bench_tok.py"], check=True, stdout=subprocess.PIPE).stdout.decode()
    print("\n" + tok, end="")
    with open("docs/performance.md", "w", encoding="utf-8") as f:
        f.write("# Performance\n\nWritten by `make bench-peers`.\n\n" + table + "\n" + tok)


main()
