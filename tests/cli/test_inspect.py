"""lmrun inspect: values against the gguf package's (types.json), exit codes, one sentence for each malformed file."""
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LMRUN = [os.environ.get("LMRUN", str(ROOT / "lmrun")), "inspect"]
FIX = ROOT / "tests/fixtures"


def run(*args, **env):
    p = subprocess.run(LMRUN + [str(a) for a in args], capture_output=True, timeout=20, stdin=subprocess.DEVNULL,
                       env={**os.environ, **env})
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def same(a, b):
    """Equal; floats also when they are the same float32, which is printed in its own shortest form."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return a == b or (abs(a) < 3e38 and abs(b) < 3e38 and struct.pack("f", a) == struct.pack("f", b))
    return type(a) is type(b) and a == b


def corpus():
    """(name, code, words, bytes) of tests/fixtures/bad_gguf.bin; the layout is in tools/make_bad_gguf.py."""
    data, at = (FIX / "bad_gguf.bin").read_bytes(), 0

    def take(n):
        nonlocal at
        at += n
        return data[at - n:at]
    while at < len(data):
        name = take(take(1)[0]).decode()
        code = struct.unpack("b", take(1))[0]
        says = take(take(1)[0]).decode()
        yield name, code, says, take(struct.unpack("<H", take(2))[0])


class Inspect(unittest.TestCase):
    def test_json_against_gguf_package(self):
        want = json.loads((FIX / "gguf/types.json").read_text())
        rc, out, err = run(FIX / "gguf/types.gguf", "--json", "--full")
        self.assertEqual((rc, err), (0, ""))
        got = json.loads(out)
        self.assertEqual(list(got["metadata"]), list(want["metadata"]))
        for key, v in want["metadata"].items():
            self.assertTrue(same(got["metadata"][key], v), f"{key}: {got['metadata'][key]}, expected {v}")
        self.assertEqual(got["tensors"], want["tensors"])
        self.assertEqual((got["version"], got["alignment"], got["parts"]), (3, 32, 1))

    def test_long_arrays_are_cut_unless_full(self):
        got = json.loads(run("--json", FIX / "gguf/types.gguf")[1])["metadata"]
        self.assertEqual(got["a.many"], {"type": "string", "length": 100, "first": [f"token {i}" for i in range(32)]})
        self.assertEqual(got["a.str"], ["a", "", "ccc"])

    def test_split(self):
        rc, out, _ = run(FIX / "gguf/split-00002-of-00003.gguf", "--json")
        got = json.loads(out)
        self.assertEqual((rc, got["parts"], got["metadata"]["t.str"]), (0, 3, "in the first part"))
        self.assertEqual([(t["name"], t["part"]) for t in got["tensors"]],
                         [(f"blk.{i}.weight", i // 2 + 1) for i in range(5)])

    def test_text(self):
        rc, out, err = run(FIX / "gguf/types.gguf", "--tensors", "--tokenizer")
        self.assertEqual((rc, err), (0, ""))
        for line in ['"tiny"', "t.u64", "18446744073709551615", "string[100]", '"token 0"', "2 x 3 x 4", "q8_0", "tokenizer"]:
            self.assertIn(line, out)

    def test_exit_codes(self):
        for args, code, says in [
            (["/absent.gguf"], 1, "/absent.gguf: No such file"), ([FIX], 2, "GGUF files, name one of them"), ([], 2, "one model file"),
            (["a", "b"], 2, "one model file"), (["--jsom", "a"], 2, "--json"), (["/dev/null"], 1, "regular file"),
            ([FIX / "gguf/types.gguf", "--template"], 1, "no chat template"), ([__file__], 3, "expected the magic"),
        ]:
            rc, out, err = run(*args)
            self.assertEqual((rc, out), (code, ""), (args, err))
            self.assertIn(says, err)
            self.assertEqual(err.count("\n"), 1, err)
        rc, out, err = run("--help")
        self.assertEqual((rc, err), (0, ""))
        self.assertIn("--tensors", out)

    def test_text_from_a_file_cannot_drive_the_terminal(self):
        def s(b):
            return struct.pack("<Q", len(b)) + b
        nasty = b"\x1b[2J\x07\xc2\x9b31m\xff\r\nend"
        kv = s(b"general.name") + struct.pack("<I", 8) + s(nasty) + s(b"k\x1b[1m") + struct.pack("<II", 9, 8) \
            + struct.pack("<Q", 1) + s(nasty)
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + kv)
            f.flush()
            for args in ([f.name], [f.name, "--json"]):
                rc, out, err = run(*args)
                self.assertEqual((rc, err), (0, ""))
                self.assertFalse([c for c in out if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 and "--json" not in args],
                                 out)
                self.assertIn("end", out)

    def test_malformed_files(self):
        n = 0
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "m.gguf"
            for name, code, says, data in corpus():
                path.write_bytes(data)
                t = time.time()
                rc, out, err = run(path, "--json")
                self.assertLess(time.time() - t, 5, name)       # a busy machine; test_bad_gguf.c holds 1 s of processor
                self.assertEqual(rc, 3 if code else 0, (name, err))
                if code:
                    self.assertEqual((out, err.count("\n")), ("", 1), (name, err))
                    self.assertIn(says, err, name)
                    self.assertIn(str(path), err, name)
                    n += 1
                else:
                    json.loads(out)
        self.assertGreaterEqual(n, 200)

    def test_every_allocation_may_fail(self):
        for path in (FIX / "gguf/types.gguf", FIX / "gguf/split-00002-of-00003.gguf"):
            whole = run(path, "--json", "--full")[1]
            for n in range(1, 500):
                rc, out, err = run(path, "--json", "--full", LM_FAIL_ALLOC=f"{n}+")
                rc1, out1, err1 = run(path, "--json", "--full", LM_FAIL_ALLOC=str(n))
                if rc == 0:
                    break
                for r, o, e in ((rc, out, err), (rc1, out1, err1)):
                    self.assertEqual((r, o, e.count("\n")), (4, "", 1), (n, e))
                    self.assertIn("out of memory", e)
            self.assertEqual((rc, out, rc1, out1), (0, whole, 0, whole))
            self.assertGreater(n, 8)


if __name__ == "__main__":
    unittest.main()
