"""lmrun embed, classify and rerank against sentence-transformers and transformers (tools/tiny_pipes.py).
Standard library only: python3 -m unittest discover -s tests/cli"""
import json, math, os, shutil, tempfile, unittest
from test_cli import ROOT, Case, run

PIPES = os.path.join(ROOT, "tests/cli/pipes")
ENC = os.path.join(ROOT, "tests/model/enc")
with open(PIPES + ".json", encoding="utf-8") as f:
    GOLD = json.load(f)


def at(name):
    return os.path.join(PIPES, name)


class Encoders(Case):
    def close(self, got, want, what=""):
        self.assertEqual(len(got), len(want), what)
        for a, b in zip(got, want):
            self.assertLess(abs(a - b), 2e-5, what)

    def lines(self, verb, name, texts, *args):
        """Every text as a line of standard input: JSON strings, so that empty ones and newlines are texts too."""
        out = self.ok(verb, "-m", at(name), "--stdin", "--json", "-q", "--device", "ref", *args,
                      stdin="".join(json.dumps(t) + "\n" for t in texts))
        return [json.loads(line) for line in out.splitlines()]

    def test_embed(self):
        gold = GOLD["embed"]
        for got, want in zip(self.lines("embed", "embed", gold["texts"]), gold["plain"], strict=True):
            self.close(got["embedding"], want)
            self.assertLessEqual(got["tokens"], 12)
        for got, want in zip(self.lines("embed", "embed", gold["texts"], "--prompt-name", "query"), gold["query"], strict=True):
            self.close(got["embedding"], want)

    def test_pooling(self):
        """A folder for each way of pooling; --pooling does the same; the default prompt goes before every text."""
        ways = {"cls_token": "cls", "max_tokens": "max", "lasttoken": "last", "weightedmean_tokens": "weightedmean", "mean_sqrt_len_tokens": "mean_sqrt_len"}
        for mode, name in ways.items():
            with tempfile.TemporaryDirectory() as d:
                shutil.copytree(at("pool"), d, dirs_exist_ok=True)
                with open(os.path.join(d, "1_Pooling/config.json"), "w") as f:
                    json.dump({"pooling_mode_mean_tokens": False, "pooling_mode_" + mode: True}, f)
                for args in ([d], [at("pool"), "--pooling", name]):
                    got = self.lines("embed", args[0], GOLD["pool"]["texts"], *args[1:])
                    for g, want in zip(got, GOLD["pool"][mode], strict=True):
                        self.close(g["embedding"], want, name)

    def test_last_token(self):
        for got, want in zip(self.lines("embed", "last", GOLD["last"]["texts"]), GOLD["last"]["plain"], strict=True):
            self.close(got["embedding"], want)

    def test_many_are_each(self):
        """-f, words, standard input, any batch: the vector that a text gets alone, to the last digit."""
        texts = [t for t in GOLD["embed"]["texts"]]
        each = self.ok("embed", "-m", at("embed"), "--stdin", stdin="\n".join(texts) + "\n")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            f.write("\n".join(texts))
            f.flush()
            for n in ("1", "2", "500"):
                self.assertEqual(self.ok("embed", "-m", at("embed"), "-f", f.name, "--json", "--batch-size", n), each)
        self.assertEqual(self.ok("embed", "-m", at("embed"), "--json", *texts), each)
        self.assertEqual(self.ok("embed", "-m", at("embed"), "--json", stdin="\n".join(texts)), each)

    def test_dimensions(self):
        whole = json.loads(self.ok("embed", "-m", at("embed"), "--json", "one two", "--no-normalize"))["embedding"]
        part = json.loads(self.ok("embed", "-m", at("embed"), "--json", "one two", "--dimensions", "5"))["embedding"]
        length = math.sqrt(sum(x * x for x in whole[:5]))
        self.close(part, [x / length for x in whole[:5]])
        self.assertEqual(len(self.ok("embed", "-m", at("embed"), "one two").split()), 16)
        self.fails(2, "16", "embed", "-m", at("embed"), "x", "--dimensions", "17")
        self.fails(2, "exclude", "embed", "-m", at("embed"), "x", "--normalize", "--no-normalize")

    def test_tokens(self):
        text = json.loads(self.ok("embed", "-m", at("embed"), "--json", "one two"))
        ids = json.loads(self.ok("embed", "-m", at("embed"), "--json", "--tokens", "2,4,5,3"))
        self.assertEqual(ids, text)
        self.assertEqual(ids["tokens"], 4)
        line = self.ok("embed", "-m", at("embed"), "--json", "--stdin", stdin="[2, 4, 5, 3]\n")
        self.assertEqual(json.loads(line), text)
        self.fails(2, "vocabulary", "embed", "-m", at("embed"), "--tokens", "2,99")
        self.fails(1, "12", "embed", "-m", at("embed"), "--tokens", ",".join(["4"] * 13))
        self.fails(1, "12", "embed", "-m", at("embed"), "--no-truncate", "one " * 30)
        self.fails(2, "no prompt 'x'; its prompts: query, document", "embed", "-m", at("embed"), "--prompt-name", "x", "a")

    def test_classify(self):
        for name in ("sst", "topics"):
            gold = GOLD[name]
            for got, want in zip(self.lines("classify", name, gold["texts"]), gold["logits"], strict=True):
                self.close(got["logits"], want, name)
                self.assertEqual(got["labels"], gold["labels"])
                best = max(range(len(want)), key=lambda i: want[i])
                self.assertEqual(got["label"], gold["labels"][best])
                self.assertEqual(got["score"], got["scores"][best])
                if name == "topics":           # classes that do not exclude one another
                    self.close(got["scores"], [1 / (1 + math.exp(-x)) for x in want])
                else:
                    total = sum(math.exp(x) for x in want)
                    self.close(got["scores"], [math.exp(x) / total for x in want])
        label, score = self.ok("classify", "-m", at("sst"), "one two three").split()
        self.assertIn(label, ("NEGATIVE", "POSITIVE"))
        self.assertTrue(0.5 <= float(score) <= 1)

    def test_rerank(self):
        gold = GOLD["cross"]
        for (query, text), want in zip(gold["pairs"], gold["scores"], strict=True):
            got = json.loads(self.ok("rerank", "-m", at("cross"), "--json", "--device", "ref", "--query", query, text))
            self.close([got["results"][0]["relevance_score"]], [want], query)
        texts = ["two dogs run", "blue", "one cat", "green green"]
        got = json.loads(self.ok("rerank", "-m", at("cross"), "--json", "-p", "one cat", *texts))["results"]
        self.assertEqual(sorted(r["index"] for r in got), [0, 1, 2, 3])
        scores = [r["relevance_score"] for r in got]
        self.assertEqual(scores, sorted(scores, reverse=True))
        best = self.ok("rerank", "-m", at("cross"), "-p", "one cat", "--top-n", "1", *texts).split("\t")
        self.assertEqual(best[2], texts[got[0]["index"]] + "\n")
        for (query, text), want in zip(GOLD["ranker"]["pairs"], GOLD["ranker"]["scores"], strict=True):
            got = json.loads(self.ok("rerank", "-m", at("ranker.gguf"), "--json", "--device", "ref", "--query", query, text))
            self.close([got["results"][0]["relevance_score"]], [want], query)
        self.fails(2, "what to look for", "rerank", "-m", at("cross"), stdin="a\n")

    def test_what_a_model_cannot(self):
        self.fails(3, "no classifier", "classify", "-m", at("embed"), "x")
        self.fails(3, "no reranker", "rerank", "-m", at("sst"), "-p", "x", "y")
        self.fails(3, "is an encoder", "-m", at("embed"), "-p", "x")
        self.fails(3, "is an encoder", "score", "-m", at("embed"), "-p", "x")
        rc, out, err = run("embed", "-m", at("sst"), "one")
        self.assertIn("says nothing of pooling", err)
        self.assertEqual((rc, len(out.split())), (0, 32))

    def change(self, **files):
        """A copy of the pipeline with other JSON files."""
        d = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, d)
        shutil.copytree(at("embed"), d, dirs_exist_ok=True)
        for name, value in files.items():
            with open(os.path.join(d, name.replace("__", "/") + ".json"), "w") as f:
                f.write(value if isinstance(value, str) else json.dumps(value))
        return d

    def test_out_of_memory_is_4(self):
        good = 0
        for n in [*range(1, 900, 11), 481, "100+", "500+"]:
            rc, out, err = run("embed", "-m", at("embed"), "one two", "-t", "1", env={"LM_FAIL_ALLOC": str(n)})
            self.assertIn(rc, (0, 4), f"allocation {n}: {err}")
            self.assertEqual(err.count("\n"), 1 if rc else 0, err)
            good += rc == 0
        self.assertGreater(good, 1)

    def test_a_pipe_is_no_setting(self):
        d = self.change()
        for name in ("config.json", "modules.json"):
            path = os.path.join(d, name)
            if os.path.exists(path):
                os.remove(path)
            os.mkfifo(path)
            self.fails(3, name + ": is not a regular file", "embed", "-m", d, "a")
            os.remove(path)
            shutil.copy(os.path.join(at("embed"), name), path)

    def test_pipelines_that_are_wrong(self):
        step = lambda kind, path: [{"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models." + kind}]
        self.fails(3, "LSTM", "embed", "-m", self.change(modules=step("LSTM", "x")), "a")
        self.fails(3, "leaves the folder", "embed", "-m", self.change(modules=step("Dense", "../../etc")), "a")
        self.fails(3, "leaves the folder", "embed", "-m", self.change(modules=step("Dense", "/etc")), "a")
        self.fails(3, "modules.json", "embed", "-m", self.change(modules="[1]"), "a")
        self.fails(3, "modules.json", "embed", "-m", self.change(modules="{}"), "a")
        self.fails(3, "modules.json", "embed", "-m", self.change(modules="[{]"), "a")
        self.fails(1, "4_Dense", "embed", "-m", self.change(modules=step("Dense", "4_Dense")), "a")
        self.fails(3, "3_Dense/linear.weight: 16x24, expected 16x32", "embed", "-m", self.change(modules=step("Dense", "3_Dense")), "a")
        self.fails(3, "activation", "embed", "-m", self.change(**{"2_Dense__config": {"activation_function": "a.b.Softmax"}}), "a")
        self.fails(3, "several", "embed", "-m", self.change(**{"1_Pooling__config": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}}), "a")
        self.fails(3, "sentence_bert_config.json", "embed", "-m", self.change(sentence_bert_config="[]"), "a")
        self.ok("embed", "-m", self.change(config_sentence_transformers={"prompts": {"a": 1}, "default_prompt_name": "zz"}), "a")


if __name__ == "__main__":
    unittest.main()
