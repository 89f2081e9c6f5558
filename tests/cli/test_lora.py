"""--lora and --lora-scaled as a user meets them; what is wrong with an adapter is said in one sentence.
Standard library only: python3 -m unittest discover -s tests/cli"""
import json, os, re, shutil, struct, tempfile, unittest
from test_cli import CHAT, Case, ROOT

LORA = os.path.join(ROOT, "tests/model/lora")
A, B = os.path.join(LORA, "smol-a"), os.path.join(LORA, "smol-b")
TOKENS = "504,3575,282,4649,314"


def read(path):
    with open(path) as f:
        return json.load(f)


def write(path, value):
    with open(path, "w") as f:
        json.dump(value, f)


class Lora(Case):
    def score(self, *args):
        return self.ok("score", "-q", "-m", CHAT, "--tokens", TOKENS, "--json", *args)

    def test_adapters_and_weights(self):
        plain, a, ab = self.score(), self.score("--lora", A), self.score("--lora", A, "--lora", B)
        self.assertEqual(len({plain, a, ab}), 3)
        self.assertEqual(self.score("--lora-scaled", A + ":1"), a)
        self.assertEqual(self.score("--lora-scaled", A + ":0"), plain)
        self.assertEqual(self.score("--lora", f"{A},{B}"), ab)
        self.assertEqual(self.score("--lora-scaled", f"{A}:1,{B}:1.0"), ab)
        self.assertEqual(self.score("--lora", A, "--lora-scaled", B + ":1"), ab)
        self.assertEqual(self.score("--lora", os.path.join(A, "adapter_model.safetensors")), a)
        self.assertNotEqual(self.score("--lora-scaled", A + ":-0.5"), a)

    def test_a_path_with_a_comma(self):
        with tempfile.TemporaryDirectory() as d:
            shutil.copytree(A, os.path.join(d, "a,b"))
            self.assertEqual(self.score("--lora", os.path.join(d, "a,b")), self.score("--lora", A))

    def test_flags(self):
        for bad in (A, A + ":", A + ":x", A + ":nan", ":1", A + ":1,"):
            self.fails(2, "--lora-scaled takes PATH:WEIGHT", "score", "-m", CHAT, "--tokens", "1", "--lora-scaled", bad)
        self.fails(2, "a path is empty", "score", "-m", CHAT, "--tokens", "1", "--lora", "")
        self.fails(1, "no such adapter", "score", "-m", CHAT, "--tokens", "1", "--lora", "/nowhere")
        self.assertIn("--lora-scaled", self.ok("help"))

    def refused(self, want, path, status=3):
        self.fails(status, want, "score", "-m", CHAT, "--tokens", "1", "--lora", path)

    def test_wrong_base(self):
        self.refused("32x3 and 3x24 do not fit blk.0.ffn_down.weight, which is 576x1536: an adapter for another base?", os.path.join(LORA, "llama-b"))
        self.refused("an adapter for another model?", os.path.join(LORA, "gpt2-a"))
        self.refused("is for the architecture \"phi3\", the model is \"llama\"", os.path.join(LORA, "phi3-a.gguf"))
        self.refused("general.type", os.path.join(ROOT, "tests/model/tiny/llama.gguf"))
        self.refused("neither a GGUF adapter nor beside an adapter_config.json", os.path.join(ROOT, "tests"))

    def test_config(self):
        cfg = read(os.path.join(A, "adapter_config.json"))
        for change, want in (({"peft_type": "LOHA"}, "peft_type LOHA"), ({"peft_type": None}, "peft_type is missing"),
                             ({"trainable_token_indices": [1]}, "trainable_token_indices"), ({"lora_bias": True}, "lora_bias"),
                             ({"layer_replication": [[0, 4]]}, "layer_replication"), ({"lora_alpha": "4"}, "lora_alpha is no number"),
                             ({"alpha_pattern": {"q_proj": "x"}}, "is no number"), ({"alpha_pattern": {"(.|.)*[A-Z]": 1}}, "takes too long"),
                             ({"alpha_pattern": [1]}, "alpha_pattern is an array"), ({"use_rslora": "yes"}, "use_rslora is a string"), ({"alpha_pattern": {"(": 1}}, "no regular expression"),
                             ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights \"pissa_niter_4\"")):
            with tempfile.TemporaryDirectory() as d:
                shutil.copy(os.path.join(A, "adapter_model.safetensors"), d)
                write(os.path.join(d, "adapter_config.json"), cfg | change)
                self.refused(want, d)

    def test_tensors(self):
        def tensors(names):
            head, data = {}, b""
            for name, shape in names:
                n = 2 * shape[0] * shape[1]
                head[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [len(data), len(data) + n]}
                data += bytes(n)
            text = json.dumps(head).encode()
            return struct.pack("<Q", len(text)) + text + data
        q, a, b = "base_model.model.model.layers.0.self_attn.q_proj.", ("lora_A.weight", (2, 576)), ("lora_B.weight", (576, 2))
        for names, want in (([(q + a[0], a[1])], "lora_B is missing"), ([(q + b[0], b[1])], "lora_A is missing"), ([], "holds no tensor"),
                            ([(q + a[0], (2, 500)), (q + b[0], b[1])], "2x500 do not fit blk.0.attn_q.weight, which is 576x576"),
                            ([(q + a[0], a[1]), (q + b[0], (576, 3))], "not two matrices that can be multiplied"),
                            ([(q + "hada_w1_a", (2, 2))], "not a tensor of a plain LoRA adapter"),
                            ([(q.replace("q_proj", "zz") + a[0], a[1]), (q.replace("q_proj", "zz") + b[0], b[1])], "no such tensor"),
                            ([(q.replace(".0.", ".77.") + a[0], a[1]), (q.replace(".0.", ".77.") + b[0], b[1])], "blk.77.attn_q.weight"),
                            ([(q + a[0], a[1]), (q + b[0], b[1]), (q + "lora_magnitude_vector", (575, 1))], "fits only one adapter"),
                            ([("base_model.model.model.norm.weight", (576, 2))], "576x2, the base's is 576")):
            with tempfile.TemporaryDirectory() as d:
                shutil.copy(os.path.join(A, "adapter_config.json"), d)
                with open(os.path.join(d, "adapter_model.safetensors"), "wb") as f:
                    f.write(tensors(names))
                self.refused(want, d)

    def test_names_that_hold_the_adapters_name(self):
        with open(os.path.join(A, "adapter_model.safetensors"), "rb") as f:
            b = f.read()
        n = struct.unpack_from("<Q", b)[0]
        head = b[8:8 + n].decode().replace(".lora_A.weight", ".lora_A.default.weight").replace(".lora_B.weight", ".lora_B.default.weight")
        with tempfile.TemporaryDirectory() as d:
            shutil.copy(os.path.join(A, "adapter_config.json"), d)
            with open(os.path.join(d, "adapter_model.safetensors"), "wb") as f:
                f.write(struct.pack("<Q", len(head)) + head.encode() + b[8 + n:])
            self.assertEqual(self.score("--lora", d), self.score("--lora", A))

    def test_two_that_replace_weights(self):
        cfg = read(os.path.join(A, "adapter_config.json"))
        with tempfile.TemporaryDirectory() as d:
            text = json.dumps({"base_model.model.model.norm.weight": {"dtype": "F32", "shape": [576], "data_offsets": [0, 2304]}}).encode()
            for name in ("x", "y"):
                os.mkdir(os.path.join(d, name))
                write(os.path.join(d, name, "adapter_config.json"), cfg)
                with open(os.path.join(d, name, "adapter_model.safetensors"), "wb") as f:
                    f.write(struct.pack("<Q", len(text)) + text + struct.pack("<f", 2.0) * 576)
            x, y = os.path.join(d, "x"), os.path.join(d, "y")
            self.assertNotEqual(self.score("--lora", x), self.score())
            self.refused("both replace weights of the base", f"{x},{y}")

    def test_convert_refuses(self):
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "m.gguf")
            self.fails(3, "an adapter for another model?", "convert", "-q", CHAT, out, "--lora", f"{LORA}/gpt2-a")
            self.fails(1, "no such adapter", "convert", "-q", CHAT, out, "--lora", "/nowhere:1")
            self.assertEqual(os.listdir(d), [])

    def test_convert_keeps_types(self):
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "m.gguf")
            self.ok("convert", "-q", CHAT, out, "--lora", A + ":0.5")
            types = lambda path: sorted(re.findall(r"(\S+\.weight)\s.*\b(f32|q\w+)", self.ok("inspect", path, "--tensors")))
            self.assertEqual(types(out), types(CHAT))
            scored = [json.loads(self.ok("score", "-q", "-m", m, "--tokens", TOKENS, "--json", *more))["logprobs"][1:]
                      for m, more in ((out, ()), (CHAT, ("--lora-scaled", A + ":0.5")), (CHAT, ()))]
            off = [max(abs(a - b) for a, b in zip(scored[1], s)) for s in (scored[0], scored[2])]
            self.assertLess(off[0], off[1])


if __name__ == "__main__":
    unittest.main()
