"""lmrun convert: what it writes runs as its source does, and what it cannot write leaves nothing behind.
Standard library only: python3 -m unittest discover -s tests/cli"""
import json, os, resource, shutil, subprocess, tempfile, unittest
from test_cli import ROOT, Case

TINY = os.path.join(ROOT, "tests/model/hf")
FOLDERS = os.path.join(ROOT, "tests/fixtures/folder")
IDS = "5,6,7,8,9,10,11,12,13"


class Convert(Case):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.dir.name, "out.gguf")
        self.addCleanup(self.dir.cleanup)

    def folder(self, name, vocab=48, root=TINY):
        """A tiny folder with a tokenizer of as many tokens as it has rows."""
        d = os.path.join(self.dir.name, name)
        shutil.copytree(os.path.join(root, name), d)
        letters = [chr(0x21 + i) for i in range(vocab - 1)] + ['!"']
        with open(os.path.join(d, "tokenizer.json"), "w") as f:
            json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
                       "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
                       "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(letters)}, "merges": ['! "']}}, f)
        with open(os.path.join(d, "chat_template.jinja"), "w") as f:
            f.write("{{ messages[0].content }}")
        return d

    def scores(self, model, *flags):
        return json.loads(self.ok("score", "-m", model, "--tokens", IDS, "--json", "--device", "ref", "-q", *flags))["logprobs"][1:]

    def near(self, a, b, bound):
        self.assertEqual(len(a), len(b))
        self.assertLess(max(abs(x - y) for x, y in zip(a, b)), bound)

    def test_folders(self):
        """Interleaved rope and not, fused, experts, biases: each kind of change of layout."""
        for name in ("llama", "llama-bias", "granite", "smollm3", "llama-mixtral", "qwen2moe", "gpt2", "phi3", "gemma3", "deepseek2-v3"):
            d = self.folder(name)
            want = self.scores(d)
            self.ok("convert", d, self.out, "--outtype", "f32", "-q")
            self.near(self.scores(self.out), want, 1e-4)
            self.ok("convert", d, self.out, "-q")              # BF16, as the folder: the same values
            self.near(self.scores(self.out), want, 1e-4)
            self.assertEqual(self.ok("template", "-m", self.out, "--json", stdin='{"messages":[{"role":"user","content":"x y"}]}'), "x y")
            self.assertEqual(self.ok("tokenize", "-m", self.out, '!"#').split(), self.ok("tokenize", "-m", d, '!"#').split())
            keys = json.loads(self.ok("inspect", self.out, "--json"))
            self.assertNotIn("rope.interleaved", json.dumps(keys))

    def test_quantised_folders(self):
        """Types that GGUF has stay, bit for bit; the others become floats, in the checkpoint's order of columns."""
        root = os.path.join(ROOT, "tests/model/layouts")
        for name, kept, bound in (("ct-int4", "q4_0", 1e-6), ("ct-int8", "q8_0", 1e-6), ("ct-mxfp4", "mxfp4", 1e-6), ("awq", "f32", 1e-6),
                                  ("bnb-nf4", "f32", 1e-6), ("fp8", "f32", 1e-6), ("gptq-order", "f32", 2e-2)):   # order: rounded to f16
            with open(os.path.join(root, name, "config.json")) as f:
                d = self.folder(name, json.load(f)["vocab_size"], root)
            want = self.scores(d)
            self.ok("convert", d, self.out, "--outtype", "f32", "-q")
            self.near(self.scores(self.out), want, bound)
            types = {t["name"]: t["type"] for t in json.loads(self.ok("inspect", self.out, "--json"))["tensors"]}
            self.assertEqual(types["blk.0.attn_q.weight"], kept, name)

    def test_same_bytes(self):
        d = self.folder("llama-mixtral")
        files = []
        for threads in ("1", "2", "3"):
            self.ok("convert", d, self.out, "-q", "-t", threads, "--outtype", "q8_0")
            with open(self.out, "rb") as f:
                files.append(f.read())
        self.assertEqual(files[0], files[1])
        self.assertEqual(files[0], files[2])

    def test_again(self):
        """A GGUF becomes the same GGUF, and quantised ones become floats."""
        self.ok("convert", self.folder("llama"), self.out, "-q", "--outtype", "f32")
        again = os.path.join(self.dir.name, "again.gguf")
        self.ok("convert", self.out, again, "-q")
        with open(self.out, "rb") as a, open(again, "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.ok("convert", self.out, again, "-q", "--outtype", "f16")
        self.near(self.scores(again), self.scores(self.out), 1e-2)
        self.ok("convert", again, again, "-q", "--outtype", "f32")      # onto itself
        self.near(self.scores(again), self.scores(self.out), 1e-2)

    def test_leaves_nothing(self):
        d = self.folder("llama")
        self.fails(2, "file to write", "convert", d)
        self.fails(1, "No such file", "convert", d, os.path.join(self.dir.name, "none/out.gguf"))
        self.fails(1, "not a regular file", "convert", d, self.dir.name)
        self.fails(1, "No such file", "convert", os.path.join(self.dir.name, "nothing"), self.out)
        p = subprocess.run([os.path.join(ROOT, "lmrun"), "convert", d, self.out, "-q"], capture_output=True, text=True,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)))
        self.assertEqual(p.returncode, 1)
        self.assertIn("cannot be written: File too large", p.stderr)
        self.assertEqual(sorted(os.listdir(self.dir.name)), ["llama"])

    def test_tokenizers(self):
        d = self.folder("llama")
        os.unlink(os.path.join(d, "tokenizer.json"))
        self.fails(3, "holds no tokenizer", "convert", d, self.out)
        self.ok("convert", d, self.out, "-q", "--no-tokenizer")
        self.near(self.scores(self.out), self.scores(d), 1e-4)           # by token ids, as the folder does
        self.fails(1, "has no tokenizer", "run", "-m", self.out, "text", "-q")
        for f in os.listdir(os.path.join(FOLDERS, "clip")):
            shutil.copy(os.path.join(FOLDERS, "clip", f), d)
        self.fails(3, "the tokenizer", "convert", d, self.out)

    def test_quantize_on_load(self):
        d = self.folder("llama")
        self.near(self.scores(d, "--precision", "f32"), self.scores(d), 1e-4)
        self.near(self.scores(d, "--dtype", "float16"), self.scores(d), 2e-2)
        self.assertNotEqual(self.scores(os.path.join(ROOT, "tests/model/onload/llama"), "--quantize", "nf4"),
                            self.scores(os.path.join(ROOT, "tests/model/onload/llama")))
        self.fails(2, "--quantize", "score", "-m", d, "--tokens", IDS, "--quantize", "q9")


if __name__ == "__main__":
    unittest.main()
