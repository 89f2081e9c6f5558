#!/usr/bin/env python3
"""run_tests.py BUILD [--quick]: runs every suite of `make test` and ends with one line, `N passed, N failed`.
A suite is a command whose output ends with such a line, or with unittest's `Ran N tests`; a suite that ends otherwise
(crash, timeout, nothing run) counts as one failure and its last lines are shown."""
import os, re, subprocess, sys, time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = sys.argv[1]
ARM = "build/release-aarch64-linux-gnu/check_kern"
PY = "build/venv/bin/python"
SUITES = [
    ("unit tests", [f"{BUILD}/test"], 900),
    ("CUDA kernels in the simulator", [f"{BUILD}/test_cuda"], 600),
    ("kernels against the portable ones", [f"{BUILD}/check_kern"], 900),
    ("kernels, NEON under qemu", ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", ARM], 1500),
    ("same bytes on real models", ["python3", "tests/e2e/test_bytes.py"], 900),
    ("command line", ["python3", "-m", "unittest", "discover", "-s", "tests/cli", "-p", "test_*.py"], 600),
    ("server with the openai client", [PY, "-m", "unittest", "discover", "-s", "tests/server", "-p", "test_*.py"], 600),
    ("laws", ["python3", "tools/laws.py"], 60),
]


def count(text, rc):
    """(passed, failed) as the suite's own closing lines say it; None when they say nothing."""
    m = re.findall(r"(?m)^(\d+) passed, (\d+) failed$", text)
    if m:
        return int(m[-1][0]), int(m[-1][1])
    m = re.findall(r"(?m)^Ran (\d+) tests? in", text)
    if m and int(m[-1]) > 0:
        bad = sum(int(x) for x in re.findall(r"(?:failures|errors|unexpected successes|skipped)=(\d+)", text.strip().split("\n")[-1]))
        return int(m[-1]) - bad, bad
    return None


def main():
    passed = failed = 0
    for name, cmd, limit in SUITES:
        t0 = time.time()
        try:
            p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit)
            text, rc = p.stdout.decode("utf-8", "replace"), p.returncode
        except subprocess.TimeoutExpired as e:
            text, rc = (e.stdout or b"").decode("utf-8", "replace") + f"\nstopped after {limit} s", 124
        except OSError as e:
            text, rc = f"cannot be run: {e}", 127
        got = count(text, rc)
        if got is None or (rc != 0 and got[1] == 0) or got == (0, 0):
            got = (got[0] if got else 0, 1)
        passed, failed = passed + got[0], failed + got[1]
        print(f"{name}: {got[0]} passed, {got[1]} failed ({time.time() - t0:.0f} s)", flush=True)
        if got[1]:
            bad = [l for l in text.split("\n") if re.search(r"FAIL|ERROR|rror:|Traceback", l)][:40]
            print("\n".join(["  | " + l for l in bad + ["..."] + text.strip().split("\n")[-30:]]), flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
