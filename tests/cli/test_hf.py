"""Hugging Face folders as -m: every container gives one model, what lies beside the weights is used, what is wrong is said."""
import json, os, shutil, tempfile, unittest
from test_cli import ROOT, Case, run

TINY = os.path.join(ROOT, "tests/model/hf/llama-bias")
RAW = os.path.join(ROOT, "tests/fixtures/raw")
GGUF = os.path.join(ROOT, "tests/fixtures/gguf/types.gguf")
TOKENS = "1,2,3,4,5,6,7,8,9,10"
WORDS = ["[UNK]", "[BOS]", "[EOS]"] + [f"w{i}" for i in range(30)]
TOKENIZER = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
             "decoder": None, "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(WORDS)}, "unk_token": "[UNK]"}}


def write(*parts, text=""):
    path = os.path.join(*parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    return path


class Hf(Case):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name

    def copy(self, src=TINY, name="m"):
        return shutil.copytree(src, os.path.join(self.dir, name))

    def score(self, path, *args): return self.ok("score", "-q", "-m", path, "--tokens", TOKENS, "--json", *args)

    def test_every_container_is_one_model(self):
        want = self.score(TINY)
        self.assertEqual(len(json.loads(want)["logprobs"]), 10)
        for path in (TINY + "/", TINY + "/model.safetensors", *(os.path.join(RAW, "model", k) for k in ("bin", "legacy", "shards")),
                     os.path.join(RAW, "model/bin/pytorch_model.bin"), os.path.join(RAW, "model/shards/model-00002-of-00003.safetensors"), os.path.join(RAW, "model/legacy/pytorch_model.bin")):
            self.assertEqual(self.score(path), want, path)

    def test_safetensors_before_bin(self):
        d = self.copy()
        write(d, "pytorch_model.bin", text="not one")
        write(d, "model.safetensors.index.json", text="not one")
        self.assertEqual(self.score(d), self.score(TINY))

    def test_config_as_python_writes_it(self):
        d = self.copy()
        with open(d + "/config.json") as f:
            text = f.read().rstrip().rstrip("}")
        write(d, "config.json", text=text + ', "a": [Infinity, -Infinity, NaN, "Infinity \\\" NaN 12345678901234567890123"],'
              ' "b": 1000000000000000019884624838656, "c": -123456789012345678901234567890, "d": 12345678901234567890.5e-3}')
        self.assertEqual(self.score(d), self.score(TINY))
        for bad in ("[1Infinity]", "Infinityx", "1e400", "-", "1.Infinity"):
            write(d, "config.json", text=text + ', "a": ' + bad + "}")
            self.fails(3, "config.json: JSON is not valid", "score", "-m", d, "--tokens", "1,2")

    def test_hub_cache(self):
        d = os.path.join(self.dir, "models--x--y")
        for i, name in enumerate(os.listdir(TINY)):
            blob = os.path.join(d, "blobs", f"{i:040}")
            os.makedirs(os.path.dirname(blob), exist_ok=True)
            shutil.copy(os.path.join(TINY, name), blob)
            os.makedirs(os.path.join(d, "snapshots/abc"), exist_ok=True)
            os.symlink(f"../../blobs/{i:040}", os.path.join(d, "snapshots/abc", name))
        write(d, "refs/main", text="abc")
        self.assertEqual(self.score(d), self.score(TINY))
        self.assertEqual(self.score(os.path.join(d, "snapshots/abc")), self.score(TINY))
        self.assertIn("token_embd.weight", self.ok("inspect", "--tensors", d))
        write(d, "snapshots/abc/tokenizer.json", text=json.dumps(TOKENIZER))
        write(d, "snapshots/abc/chat_template.jinja", text="{{ messages[0].content }}!")
        self.assertEqual(json.loads(self.ok("tokenize", "-m", d, "--json", "w1 w2")), [4, 5])
        self.assertEqual(self.ok("template", "-m", d, "--json", stdin='{"messages":[{"role":"user","content":"a"}]}'), "a!")
        os.makedirs(os.path.join(d, "snapshots/def"))
        self.fails(2, "2 snapshots, name one of them: snapshots/abc, snapshots/def", "score", "-m", d, "--tokens", "1,2")

    def test_one_gguf_stays_that_gguf(self):
        d = self.copy()
        shutil.copy(GGUF, os.path.join(d, "x.gguf"))
        self.fails(3, "the architecture \"tiny\" is not one", "score", "-m", d, "--tokens", "1,2")
        shutil.copy(GGUF, os.path.join(d, "y.gguf"))
        self.fails(2, "2 GGUF files, name one of them: x.gguf, y.gguf", "score", "-m", d, "--tokens", "1,2")

    def test_tokenizer_beside(self):
        d = self.copy()
        write(d, "tokenizer.json", text=json.dumps(TOKENIZER))
        write(d, "chat_template.jinja", text="{% for m in messages %}{{ m.content }} w9{% endfor %}")
        write(d, "tokenizer_config.json", text='{"model_max_length": 1000000000000000019884624838656, "x": NaN}')
        args = ("-n", "8", "--temp", "0", "--json", "-q", "--ignore-eos")
        for path in (d, d + "/model.safetensors"):
            got = json.loads(self.ok("-m", path, "--raw", "-p", "w1 w2 w3", *args))
            want = json.loads(self.ok("run", "-m", TINY, "--tokens", "4,5,6", *args))
            self.assertEqual(got["tokens"], want["tokens"])
            self.assertEqual(got["text"].split(), [WORDS[i] for i in got["tokens"] if i < len(WORDS)])
            got = json.loads(self.ok("-m", path, "-p", "w1 w2 w3", *args))
            want = json.loads(self.ok("run", "-m", TINY, "--tokens", "4,5,6,12", *args))
            self.assertEqual(got["tokens"], want["tokens"])
            self.assertEqual(json.loads(self.ok("tokenize", "-m", path, "--json", "w1 w2")), [4, 5])

    def test_no_tokenizer(self):
        self.ok("run", "-m", TINY, "--tokens", "1,2", "-n", "2")
        rc, out, err = run("-m", TINY, "--raw", "-p", "a")
        self.assertEqual((rc, out), (1, ""))
        self.assertIn("the model has no tokenizer", err)
        self.fails(3, "holds no tokenizer", "tokenize", "-m", TINY, "a")

    def test_inspect(self):
        text = self.ok("inspect", TINY, "--tensors", "--tokenizer")
        for part in ("Hugging Face folder", "general.architecture", "token_embd.weight", "blk.0.attn_q.weight", "tokenizer\n  none"):
            self.assertIn(part, text)
        got = json.loads(self.ok("inspect", os.path.join(RAW, "model/shards"), "--json"))
        self.assertEqual((got["container"], got["parts"]), ("Hugging Face folder", 3))
        self.assertEqual({t["part"] for t in got["tensors"]}, {1, 2, 3})
        for name in ("safe/model.safetensors", "views.pt", "legacy.bin"):
            got = json.loads(self.ok("inspect", os.path.join(RAW, name), "--json"))
            self.assertGreater(len(got["tensors"]), 6)
        lines = self.ok("inspect", os.path.join(RAW, "safe/model.safetensors"))
        self.assertIn("F8_E4M3", lines)
        d = self.copy()
        write(d, "tokenizer.json", text=json.dumps(TOKENIZER))
        write(d, "chat_template.jinja", text="{{ x }}")
        self.assertEqual(self.ok("inspect", "--template", d), "{{ x }}")
        self.assertIn(f"tokens                 {len(WORDS)}", self.ok("inspect", "--tokenizer", d))
        self.fails(1, "has no chat template", "inspect", "--template", TINY)

    def test_broken(self):
        self.fails(3, "there is no GGUF file, nor a config.json", "score", "-m", self.dir, "--tokens", "1,2")
        d = self.copy()
        write(d, "config.json", text="{")
        self.fails(3, "config.json: JSON is not valid", "score", "-m", d, "--tokens", "1,2")
        write(d, "config.json", text='{"architectures": ["NoSuchModel"], "x": Infinity}')
        self.fails(3, "NoSuchModel", "score", "-m", d, "--tokens", "1,2")
        os.remove(os.path.join(d, "config.json"))
        self.fails(1, "config.json: No such file", "score", "-m", d + "/model.safetensors", "--tokens", "1,2")
        d = self.copy(os.path.join(RAW, "model/shards"), "s")
        os.remove(os.path.join(d, "model-00002-of-00003.safetensors"))
        self.fails(3, "model-00002-of-00003.safetensors: No such file", "score", "-m", d, "--tokens", "1,2")

    def test_every_allocation_may_fail(self):
        for path in (TINY, *(os.path.join(RAW, "model", k) for k in ("bin", "legacy", "shards")), os.path.join(RAW, "nested.pt")):
            args = ("inspect", path, "--json", "--full")
            whole = self.ok(*args)
            n = 1
            while True:
                one, all = (run(*args, env={"LM_FAIL_ALLOC": str(n) + more}) for more in ("", "+"))
                if one[0] == 0 and all[0] == 0:
                    break
                for rc, out, err in (one, all):
                    self.assertEqual((rc, out, err.count("\n")), (4, "", 1), (path, n, err))
                    self.assertIn("out of memory", err)
                n += 1
            self.assertEqual(one[1], whole)
            self.assertGreater(n, 8)


if __name__ == "__main__":
    unittest.main()
