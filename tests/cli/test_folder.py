"""lmrun tokenize, detokenize and template on Hugging Face folders and tokenizer files, and folders that hold GGUF files.
Standard library only: python3 -m unittest discover -s tests/cli"""
import json, os, shutil, tempfile, threading, unittest
from test_cli import ROOT, Case, run

FOLDERS = os.path.join(ROOT, "tests/fixtures/folder")
TINY = os.path.join(ROOT, "tests/fixtures/tok/tiny_llama-bpe.gguf")
SPM = os.path.join(ROOT, "tests/fixtures/spm/bpe_llama.model")
TALK = json.dumps({"messages": [{"role": "user", "content": "Hi é"}], "add_generation_prompt": True})


def gold(name):
    with open(os.path.join(FOLDERS, name + ".json"), encoding="utf-8") as f:
        return json.load(f)


class Folders(Case):
    def lines(self, verb, values, *args):
        out = self.ok(verb, "--stdin", "--json", *args, stdin="".join(json.dumps(v) + "\n" for v in values))
        return [json.loads(line) for line in out.splitlines()]

    def test_tokenize(self):
        for name in ("gpt2_more", "qwen2", "bert", "llama", "t5"):
            cases = [c for c in gold(name)["cases"] if "\0" not in c[0]]
            texts = [c[0] for c in cases]
            path = os.path.join(FOLDERS, name)
            self.assertEqual(self.lines("tokenize", texts, "-m", path), [c[1] for c in cases], name)
            self.assertEqual(self.lines("tokenize", texts, "-m", path, "--no-bos"), [c[2] for c in cases], name)
            self.assertEqual(self.lines("tokenize", texts, "-m", path, "--no-bos", "--no-special"), [c[3] for c in cases], name)

    def test_detokenize(self):
        for name in ("gpt2_more", "qwen2", "bert"):
            cases = [c for c in gold(name)["cases"] if "\0" not in c[0]]
            path = os.path.join(FOLDERS, name)
            self.assertEqual(self.lines("detokenize", [c[1] for c in cases], "-m", path), [c[4] for c in cases], name)
            self.assertEqual(self.lines("detokenize", [c[1] for c in cases], "-m", path, "--no-special"), [c[5] for c in cases], name)

    def test_files(self):
        self.assertEqual(self.lines("tokenize", ["Hello world"], "-m", SPM), [self.spm_ids("Hello world")])
        for file in ("bert/vocab.txt", "gpt2/vocab.json", "gpt2/merges.txt", "t5/spiece.model", "tekken/tekken.json"):
            name, path = file.split("/")[0], os.path.join(FOLDERS, file)
            case = gold(name)["cases"][2]
            self.assertEqual(self.lines("tokenize", [case[0]], "-m", path, "--no-bos"), [case[2]], file)

    def spm_ids(self, text):
        with open(SPM[:-5] + "json", encoding="utf-8") as f:
            return next((ids for t, ids, _ in json.load(f)["encode"] if t == text))

    def test_template(self):
        want = "<|im_start|>user\nHi é<|im_end|>\n<|im_start|>assistant\n"
        for path in ("qwen2", "qwen2/tokenizer_config.json", "qwen2/vocab.json"):
            self.assertEqual(self.ok("template", "-m", os.path.join(FOLDERS, path), "--json", stdin=TALK), want)
        self.assertEqual(self.ok("template", "-m", os.path.join(FOLDERS, "tekken"), "--json", stdin=TALK), "<s>[INST]Hi é[/INST]")
        self.fails(1, "no chat template", "template", "-m", os.path.join(FOLDERS, "gpt2"), "--json", stdin=TALK)

    def test_template_for_tools(self):
        with tempfile.TemporaryDirectory() as d:
            shutil.copy(os.path.join(FOLDERS, "bert/vocab.txt"), d)
            with open(os.path.join(d, "tokenizer_config.json"), "w") as f:
                json.dump({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0] }}"}]}, f)
            self.assertEqual(self.ok("template", "-m", d, "--json", stdin=TALK), "plain")
            self.assertEqual(self.ok("template", "-m", d, "--json", stdin='{"messages":[],"tools":["x"]}'), "x")

    def test_broken(self):
        with tempfile.TemporaryDirectory() as d:
            self.fails(1, "No such file", "tokenize", "-m", os.path.join(d, "none"), "a")
            self.fails(3, "holds no tokenizer", "tokenize", "-m", d, "a")
            self.fails(3, "there is no GGUF file, nor a config.json", "-m", os.path.join(FOLDERS, "qwen2"), "-p", "a")
            with open(os.path.join(d, "vocab.txt"), "w") as f:
                f.write("a\n")
            with open(os.path.join(d, "tokenizer_config.json"), "w") as f:
                f.write('{"bos_token": 7}')
            self.fails(3, '"bos_token"', "tokenize", "-m", d, "a")
            with open(os.path.join(d, "tokenizer_config.json"), "wb") as f:
                f.write(b"[" * 100000)
            self.fails(3, "tokenizer_config.json", "tokenize", "-m", d, "a")
            with open(os.path.join(d, "tokenizer_config.json"), "wb") as f:
                f.write(b" " * (17 << 20))
            self.fails(3, "more than", "tokenize", "-m", d, "a")

    def test_folder_of_gguf(self):
        with tempfile.TemporaryDirectory() as d:
            deep = os.path.join(d, "models--x/snapshots/1")
            os.makedirs(deep)
            os.symlink(TINY, os.path.join(deep, "tiny.gguf"))
            os.symlink(d, os.path.join(deep, "round"))
            open(os.path.join(d, "mmproj-x.gguf"), "w").close()
            want = self.ok("tokenize", "-m", TINY, "--json", "Hello world")
            self.assertEqual(self.ok("tokenize", "-m", d, "--json", "Hello world"), want)
            self.assertEqual(self.ok("tokenize", "-m", d + "/", "--json", "Hello world"), want)
            shutil.copy(TINY, os.path.join(d, "b-00001-of-00002.gguf"))
            shutil.copy(TINY, os.path.join(d, "b-00002-of-00002.gguf"))
            self.fails(2, "2 GGUF files, name one of them: b-00001-of-00002.gguf, models--x/snapshots/1/tiny.gguf", "tokenize", "-m", d, "a")
            self.fails(2, "2 GGUF files", "-m", d, "-p", "a")
            shutil.copy(os.path.join(FOLDERS, "bert/vocab.txt"), d)
            self.assertEqual(self.ok("tokenize", "-m", d, "--json", "a"), self.ok("tokenize", "-m", os.path.join(d, "vocab.txt"), "--json", "a"))

    def test_pipe(self):
        with tempfile.TemporaryDirectory() as d:
            pipe = os.path.join(d, "pipe")
            os.mkfifo(pipe)
            self.fails(1, "is not a regular file", "tokenize", "-m", pipe, "a")

            def write():
                with open(pipe, "w") as f:
                    f.write("{{ messages[0].content }}")
            writer = threading.Thread(target=write)
            writer.start()
            self.assertEqual(self.ok("template", "-m", pipe, "--json", stdin=TALK), "Hi é")
            writer.join()


if __name__ == "__main__":
    unittest.main()
