"""The program as a user meets it: exit status, what goes to which stream, input forms, JSON, the terminal.
Standard library only: python3 -m unittest discover -s tests/cli"""
import json, math, os, pty, re, select, signal, struct, subprocess, tempfile, time, unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LMRUN = os.path.join(ROOT, "lmrun")
CHAT = os.path.join(ROOT, "models/SmolLM2-135M-Instruct.Q4_1.gguf")
BASE = os.path.join(ROOT, "models/gemma-3-270m-q4_k_m.gguf")         # no chat template
CONTROL = "<|im_start|>user\nHi<|im_end|>"
# ids by the tokenizers package from the model's own vocabulary and merges; the text by jinja2
IDS = {"Hello world": [19556, 905], "héllo 12345": [88, 2756, 31394, 216, 33, 34, 35, 36, 37], CONTROL: [1, 4093, 198, 26843, 2],
       " a\n\n\tb": [253, 1116, 197, 82], "The capital of France is": [504, 3575, 282, 4649, 314], "": []}
RENDERED = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LMRUN_", "LLAMA_ARG_"))}


def run(*args, stdin=b"", env=None, timeout=120):
    """(status, stdout, stderr) of one run; both as text."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    p = subprocess.run([LMRUN, *args], input=stdin, capture_output=True, timeout=timeout, env={**ENV, **(env or {})}, cwd=ROOT)
    return p.returncode, p.stdout.decode("utf-8"), p.stderr.decode("utf-8")


class Case(unittest.TestCase):
    maxDiff = 2000

    def ok(self, *args, **kw):
        rc, out, err = run(*args, **kw)
        self.assertEqual(rc, 0, err)
        return out

    def fails(self, status, want, *args, **kw):
        """Ends with `status`, nothing on stdout, one sentence on stderr that says `want`."""
        rc, out, err = run(*args, **kw)
        self.assertEqual((rc, out), (status, ""), err)
        lines = [l for l in err.split("\n") if l]
        self.assertEqual(len(lines), 1, err)
        self.assertTrue(lines[0].startswith("lmrun: "), err)
        self.assertIn(want, lines[0])


class Usage(Case):
    def test_alone_is_a_short_help(self):
        rc, out, err = run()
        self.assertEqual((rc, out), (2, ""))
        self.assertLessEqual(err.count("\n"), 15)
        self.assertIn("lmrun -m models/", err)

    def test_help_and_version(self):
        for how in ("help", "--help", "-h"):
            out = self.ok(how)
            for word in ("--threads", "--logit-bias", "--serve", "tokenize", "Exit status"):
                self.assertIn(word, out)
        for how in ("version", "--version"):
            self.assertRegex(self.ok(how), r"^lmrun \d+\.\d+\.\d+ ")
        names = [line.split()[0].split(":")[0] for line in self.ok("--list-devices").splitlines()]
        self.assertEqual(sorted(set(names)), ["cpu", "cuda", "metal", "ref"])

    def test_wrong_usage_is_2(self):
        self.fails(2, "did you mean --threads?", "--thread", "3")
        self.fails(2, "did you mean tokenize?", "tokenise")
        self.fails(2, "no model given", "-p", "x")
        self.fails(2, "no prompt", "-m", CHAT)
        self.fails(2, "from 0 to 1", "-m", CHAT, "-p", "x", "--top-p", "2")
        self.fails(2, "from -1 to 18446744073709551615", "-m", CHAT, "-p", "x", "-s", "18446744073709551616")
        self.fails(2, "unknown option --mirostat", "-m", CHAT, "-p", "x", "--mirostat", "2")
        self.fails(2, "'x' is not a token id", "-m", CHAT, "--tokens", "1,x")
        self.fails(2, "49152", "-q", "-m", CHAT, "--tokens", "1,49152", "-n", "1")
        self.fails(2, "nonsense", "-m", CHAT, "-p", "x", env={"LMRUN_CPU": "nonsense"})
        self.fails(2, "nonsense", "bench", "-m", CHAT, "-p", "0", "-n", "1", env={"LMRUN_CPU": "nonsense"})
        self.fails(2, "LMRUN_THREADS", "-m", CHAT, "-p", "x", env={"LMRUN_THREADS": "many"})
        self.fails(2, "chat template", "-q", "-m", BASE, "-p", "x", "-sys", "y")
        self.fails(2, "tpu", "-m", CHAT, "-p", "x", "--device", "tpu")

    def test_what_cannot_be_read_is_1(self):
        self.fails(1, "make models", "-m", "no/such.gguf", "-p", "x")
        self.fails(1, "no/such.txt", "-m", CHAT, "-f", "no/such.txt")
        self.fails(1, "byte 2 is 0xff", "-m", CHAT, stdin=b"ab\xff")
        self.fails(1, "0x00", "-m", CHAT, stdin=b"ab\0")
        self.fails(1, "lmrun: chat template, line 1 column ", "-q", "-m", CHAT, "-p", "x", "--chat-template", "{% if %}")

    def test_no_model_is_3(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            f.write(b"GGUF" + bytes(100))
            f.flush()
            self.fails(3, f.name, "-m", f.name, "-p", "x")
            self.fails(3, f.name, "tokenize", "-m", f.name, "x")
            self.fails(3, f.name, "inspect", f.name)

    def test_a_prompt_longer_than_the_context_is_1_with_both_numbers(self):
        self.fails(1, "64", "-q", "-m", CHAT, "--raw", "-c", "64", "-p", "one two three " * 60)


class Text(Case):
    ARGS = ("-m", CHAT, "-s", "7", "-n", "12", "-t", "2")

    def test_streams_and_timing(self):
        rc, out, err = run(*self.ARGS, "-p", "Say hello.")
        self.assertEqual(rc, 0, err)
        self.assertTrue(out.strip())
        self.assertNotIn("Say hello", out)
        self.assertRegex(err, r"load \d+\.\d+ s \| prompt \d+ tokens.* tok/s \| generation 12 tokens, \d+\.\d tok/s\n$")
        self.assertEqual(run(*self.ARGS, "-q", "-p", "Say hello."), (0, out, ""))

    def test_random_seed_is_said_and_gives_the_text_again(self):
        rc, out, err = run("-m", CHAT, "-n", "12", "-p", "Tell me a story.")
        seed = re.search(r"seed (\d+)", err).group(1)
        self.assertEqual(self.ok("-m", CHAT, "-n", "12", "-p", "Tell me a story.", "-s", seed), out)

    def test_input_forms_agree(self):
        want = self.ok(*self.ARGS, "-p", "Name two colours.\nAnd a shape.")
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("Name two colours.\nAnd a shape.\n")
            f.flush()
            self.assertEqual(self.ok(*self.ARGS, "-f", f.name), want)
        self.assertEqual(self.ok(*self.ARGS, stdin="Name two colours.\nAnd a shape.\n"), want)
        self.assertEqual(self.ok(*self.ARGS, "-f", "-", stdin="Name two colours.\nAnd a shape."), want)
        self.assertEqual(self.ok(*self.ARGS, "-p", "Name two colours.", stdin="And a shape.\n"), want)
        self.assertEqual(self.ok(*self.ARGS, "-e", "-p", r"Name two colours.\nAnd a shape."), want)
        self.assertEqual(self.ok("run", *self.ARGS[2:], CHAT, "Name two colours.\nAnd a shape."), want)
        env = {"LMRUN_MODEL": CHAT, "LLAMA_ARG_SEED": "7", "LMRUN_PREDICT": "12"}
        self.assertEqual(self.ok("-p", "Name two colours.\nAnd a shape.", env=env), want)

    def test_llama_line_works_unchanged(self):
        args = ("-m", CHAT, "-p", "Hi", "-n", "8", "-t", "2", "-c", "512", "-ngl", "99", "--temp", "0", "--jinja", "-fa", "on", "--no-mmap")
        rc, out, err = run(*args)
        self.assertEqual(rc, 0, err)
        self.assertIn("--gpu-layers 99", err)
        self.assertIn("--no-mmap", err)
        self.assertEqual(self.ok("-m", CHAT, "-p", "Hi", "-n", "8", "--temp", "0", "-c", "512"), out)

    def test_chat_is_the_rendered_template(self):
        chat = self.ok("-m", CHAT, "-p", "Hi", "-n", "8", "--temp", "0", "-q")
        self.assertEqual(self.ok("-m", CHAT, "--raw", "-p", RENDERED, "-n", "8", "--temp", "0", "-q"), chat)
        self.assertNotEqual(self.ok("-m", CHAT, "--raw", "-p", "Hi", "-n", "8", "--temp", "0", "-q"), chat)
        system = self.ok("-m", CHAT, "-p", "Hi", "-sys", "You are a pirate.", "-n", "8", "--temp", "0", "-q")
        text = "<|im_start|>system\nYou are a pirate.<|im_end|>\n" + RENDERED[RENDERED.index("<|im_start|>user"):]
        self.assertEqual(self.ok("-m", CHAT, "--raw", "-p", text, "-n", "8", "--temp", "0", "-q"), system)

    # opens a reasoning block, and after an answer shows what it was given of it
    THINKS = ("{# <think> </think> #}{% if messages|length > 2 %}{{ raise_exception('HISTORY ' ~ messages[-2]|tojson) }}{% endif %}"
              "{% for m in messages %}{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}")
    THOUGHTS = "<think>\nfour\n</think>\nfive\n" * 6

    def test_reasoning_is_shown(self):
        out = self.ok("-q", "-m", CHAT, "--temp", "0", "--repeat-penalty", "1", "-n", "40", "--stop", "\n<t", "--chat-template", self.THINKS,
                      "-p", self.THOUGHTS.strip())
        self.assertEqual(out.strip(), "<think>\nfour\n</think>\n\nfive")

    def test_reasoning_goes_back_to_the_template(self):
        turns = self.THOUGHTS.strip().replace("\n", "\\\n") + "\nagain\n"
        rc, out, err = run("-i", "-q", "-m", CHAT, "--temp", "0", "--repeat-penalty", "1", "-n", "40", "--stop", "\n<t", "--chat-template", self.THINKS, stdin=turns)
        self.assertEqual((rc, out.strip()), (0, "<think>\nfour\n</think>\n\nfive"), err)
        said = json.loads(err[err.index("HISTORY ") + 8:].split("\n")[0])
        self.assertEqual(said, {"role": "assistant", "content": "five", "reasoning_content": "four", "thinking": "four"})

    def test_base_model_completes(self):
        self.assertEqual(self.ok("-m", BASE, "-p", "1, 2, 3, 4,", "-n", "6", "--temp", "0", "-q"), " 5, 6,")

    def test_json_and_tokens(self):
        args = ("-m", CHAT, "--tokens", "504,3575,282,4649,314", "-n", "24", "--temp", "0", "-q")
        got = json.loads(self.ok(*args, "--json"))
        self.assertEqual(sorted(got), ["finish_reason", "text", "tokens"])
        self.assertEqual((len(got["tokens"]), got["finish_reason"]), (24, "length"))
        self.assertEqual(self.ok(*args), got["text"])
        self.assertTrue(got["text"].startswith(" Paris"))
        self.assertEqual(self.ok("-m", CHAT, "--raw", "-p", "The capital of France is", *args[4:]), got["text"])
        self.assertEqual(self.ok("detokenize", "-m", CHAT, ",".join(map(str, got["tokens"]))), got["text"])

    def test_stop_strings(self):
        args = ("-m", CHAT, "--tokens", "504,3575,282,4649,314", "-n", "40", "--temp", "0", "-q")
        text = self.ok(*args)
        stop = text[10:14]
        cut = text[:text.index(stop)]
        self.assertEqual(self.ok(*args, "--stop", stop), cut)
        self.assertEqual(self.ok(*args, "--stop", "\x01\x02", "--stop", stop), cut)
        self.assertEqual(json.loads(self.ok(*args, "--json", "--stop", stop))["finish_reason"], "stop")

    def test_sampling_options_matter(self):
        args = ("-m", CHAT, "--tokens", "504,3575,282,4649,314", "-n", "8", "-q", "--json")
        greedy = json.loads(self.ok(*args, "--temp", "0"))["tokens"]
        self.assertEqual(json.loads(self.ok(*args, "--top-k", "1", "-s", "3"))["tokens"], greedy)
        banned = json.loads(self.ok(*args, "--temp", "0", "-l", f"{greedy[0]}-100"))["tokens"]
        self.assertNotEqual(banned[0], greedy[0])
        forced = json.loads(self.ok(*args, "--temp", "0", "--logit-bias", "905+100"))["tokens"]
        self.assertEqual(forced, [905] * 8)
        ends = json.loads(self.ok("-m", CHAT, "-p", "Hi", "-n", "60", "--temp", "0", "-q", "--json"))
        self.assertEqual(ends["finish_reason"], "stop")
        more = json.loads(self.ok("-m", CHAT, "-p", "Hi", "-n", "60", "--temp", "0", "-q", "--json", "--ignore-eos"))
        self.assertEqual((more["finish_reason"], len(more["tokens"])), ("length", 60))
        self.assertEqual(more["tokens"][:len(ends["tokens"])], ends["tokens"])


class Process(Case):
    def test_a_closed_pipe_ends_quietly(self):
        p = subprocess.Popen([LMRUN, "-m", CHAT, "-p", "Tell me a long story.", "-n", "400", "-s", "1", "-q"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
        p.stdout.read(3)
        p.stdout.close()
        self.assertEqual(p.stderr.read(), b"")
        p.stderr.close()
        self.assertEqual(p.wait(20), 0)

    def test_interrupt_is_130_and_keeps_what_was_said(self):
        p = subprocess.Popen([LMRUN, "-m", CHAT, "-p", "Tell me a long story.", "-n", "4000", "--ignore-eos", "-s", "1"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
        first = os.read(p.stdout.fileno(), 1)                        # each token is flushed
        self.assertEqual(len(first), 1)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=20)
        self.assertEqual(p.returncode, 130)
        self.assertIn(b"generation", err)

    def test_a_full_disk_is_said(self):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([LMRUN, "-m", CHAT, "-p", "Hi", "-n", "4", "-q"], stdin=subprocess.DEVNULL, stdout=full,
                               stderr=subprocess.PIPE, env=ENV)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"No space left", p.stderr)
        self.assertEqual(p.stderr.count(b"\n"), 1)

    def test_a_full_disk_is_said_by_every_verb(self):
        for args in (["inspect", CHAT], ["inspect", CHAT, "--json"], ["bench", "--help"], ["help"], ["tokenize", "-m", CHAT, "x"],
                     ["bench", "-m", CHAT, "-p", "4", "-n", "0", "-r", "1"]):
            with self.subTest(args), open("/dev/full", "wb") as full:
                p = subprocess.run([LMRUN, *args], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, env=ENV)
                self.assertEqual((p.returncode, p.stderr.count(b"No space left")), (1, 1), p.stderr)

    def test_bench_formats(self):
        args = ["bench", "-m", CHAT, "-p", "4", "-n", "2", "-r", "1", "-o"]
        rows = json.loads(self.ok(*args, "json"))
        lines = [json.loads(l) for l in self.ok(*args, "jsonl").splitlines()]
        for got in (rows, lines):
            self.assertEqual([(r["n_prompt"], r["n_gen"]) for r in got], [(4, 0), (0, 2)])

    def test_bench_at_a_depth_and_of_sequences(self):
        at = ["bench", "-m", CHAT, "-r", "2", "-d", "70", "--json"]
        rows = json.loads(self.ok(*at, "-p", "40", "-n", "3")) + json.loads(self.ok(*at, "-p", "0", "-n", "5", "-np", "3"))
        self.assertEqual([(r["n_prompt"], r["n_gen"], r["n_depth"], r["n_seqs"], len(r["samples_ts"])) for r in rows],
                         [(40, 0, 70, 1, 2), (0, 3, 70, 1, 2), (0, 5, 70, 3, 2)])
        self.fails(2, "-np", "bench", "-m", CHAT, "-np", "33")

    def test_closed_standard_streams(self):
        for close in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            rc = subprocess.run(f'exec "{LMRUN}" -m "{CHAT}" -p Hi -n 2 -s 1 {close}', shell=True, capture_output=True, env=ENV).returncode
            self.assertEqual(rc, 0, close)


    def test_out_of_memory_is_4(self):
        talk = '{"messages": [{"role": "user", "content": "x"}]}'
        for n in list(range(1, 60, 4)) + ["20+"]:
            rc, out, err = run("template", "-m", CHAT, "--json", stdin=talk, env={"LM_FAIL_ALLOC": str(n)})
            self.assertIn(rc, (0, 4), f"allocation {n}: {err}")
            self.assertEqual(err.count("\n"), 1 if rc else 0, err)


class Tools(Case):
    def test_tokenize_and_back(self):
        lines = "".join(json.dumps(t) + "\n" for t in IDS)
        out = self.ok("tokenize", "-m", CHAT, "--stdin", "--json", stdin=lines)
        self.assertEqual([json.loads(l) for l in out.splitlines()], list(IDS.values()))
        back = self.ok("detokenize", "-m", CHAT, "--stdin", "--json", stdin=out)
        self.assertEqual([json.loads(l) for l in back.splitlines()], list(IDS))
        self.assertEqual(self.ok("tokenize", "-m", CHAT, "Hello", "world"), "19556,905\n")
        self.assertEqual(self.ok("tokenize", "-m", CHAT, "--json", stdin="Hello world"), "[19556,905]\n")
        self.assertEqual(self.ok("detokenize", "-m", CHAT, stdin="19556 905"), "Hello world")
        self.assertEqual(self.ok("tokenize", "-m", CHAT, "--stdin", stdin="Hello world\nHello world\n"), "19556,905\n19556,905\n")

    def test_special_tokens_as_text_and_bos(self):
        ids = json.loads(self.ok("tokenize", "-m", CHAT, "--json", "--no-special", CONTROL))
        self.assertNotIn(1, ids)
        self.assertEqual(self.ok("detokenize", "-m", CHAT, json.dumps(ids)), CONTROL)
        self.assertEqual(json.loads(self.ok("tokenize", "-m", BASE, "--json", "Hi"))[0], 2)
        self.assertNotEqual(json.loads(self.ok("tokenize", "-m", BASE, "--json", "--no-bos", "Hi"))[0], 2)

    def test_a_bad_line_is_named(self):
        rc, out, err = run("tokenize", "-m", CHAT, "--stdin", "--json", stdin='"a"\n7\n"b"\n')
        self.assertEqual((rc, out.count("\n")), (1, 1))
        self.assertIn("line 2", err)
        self.assertEqual(run("detokenize", "-m", CHAT, "--stdin", "--json", stdin='[1]\n[99999999]\n')[0], 2)
        self.assertEqual(run("detokenize", "-m", CHAT, "--stdin", "--json", stdin='"x"\n')[0], 1)

    def test_lines_are_answered_at_once(self):
        p = subprocess.Popen([LMRUN, "tokenize", "-m", CHAT, "--stdin", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV)
        for text, ids in (("Hello world", [19556, 905]), (" a\n\n\tb", [253, 1116, 197, 82])):
            p.stdin.write(json.dumps(text).encode() + b"\n")
            p.stdin.flush()
            self.assertEqual(json.loads(p.stdout.readline()), ids)
        p.stdin.close()
        p.stdout.close()
        self.assertEqual(p.wait(10), 0)

    def test_template(self):
        talk = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True})
        self.assertEqual(self.ok("template", "-m", CHAT, "--json", stdin=talk), RENDERED)
        with tempfile.NamedTemporaryFile("w", suffix=".jinja") as f:
            f.write("{% if x is not defined %}{{ raise_exception('no x here') }}{% endif %}<{{ x }}>")
            f.flush()
            self.assertEqual(self.ok("template", "-m", f.name, "--json", stdin='{"x": "é", "messages": []}'), "<é>")
            self.fails(1, "no x here", "template", "-m", f.name, "--json", stdin='{"messages": []}')
        self.fails(1, "line 1", "template", "-m", CHAT, "--json", stdin="{")
        # its special tokens tell which built-in template it needs
        self.assertEqual(self.ok("template", "-m", BASE, "--json", stdin=talk),
                         "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n")
        bare = os.path.join(ROOT, "tests/fixtures/tok/tiny_spm.gguf")
        self.fails(1, "no chat template", "template", "-m", bare, "--json", stdin=talk)


class Score(Case):
    IDS = [504, 3575, 282, 4649, 314]

    def test_score(self):
        out = self.ok("score", "-m", CHAT, "--tokens", ",".join(map(str, self.IDS)), "--json", "-q")
        got = json.loads(out)
        self.assertEqual(sorted(got), ["logprobs", "tokens", "top"])
        self.assertEqual(got["tokens"], self.IDS)
        self.assertEqual((len(got["logprobs"]), got["logprobs"][0]), (5, None))
        self.assertTrue(all(v < 0 for v in got["logprobs"][1:]))
        self.assertEqual(len(got["top"]), 10)
        self.assertEqual([t[1] for t in got["top"]], sorted((t[1] for t in got["top"]), reverse=True))
        self.assertEqual(self.ok("detokenize", "-m", CHAT, str(got["top"][0][0])), " Paris")
        self.assertEqual(self.ok("score", "-m", CHAT, "--stdin", "-q", stdin=json.dumps(self.IDS) + "\n" + json.dumps(self.IDS)), out + out)
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("The capital of France is")
            f.flush()
            self.assertEqual(self.ok("score", "-m", CHAT, "-f", f.name, "--json", "-q"), out)

    def test_rows_of_log_probabilities(self):
        with tempfile.NamedTemporaryFile() as f:
            got = json.loads(self.ok("score", "-m", CHAT, "--tokens", ",".join(map(str, self.IDS)), "--json", "-q", "--logprobs-out", f.name))
            data = f.read()
        self.assertEqual(len(data), 5 * 49152 * 4)
        rows = [struct.unpack_from("<49152f", data, i * 49152 * 4) for i in range(5)]
        for i, row in enumerate(rows):
            self.assertAlmostEqual(math.fsum(map(math.exp, row)), 1, places=5)
            if i < 4:
                same = struct.unpack("<f", struct.pack("<f", got["logprobs"][i + 1]))[0]
                self.assertEqual(row[self.IDS[i + 1]], same)
        for tok, lp in got["top"]:
            self.assertEqual(rows[4][tok], struct.unpack("<f", struct.pack("<f", lp))[0])

    def test_bad_input(self):
        self.fails(2, "49152", "score", "-q", "-m", CHAT, "--tokens", "1,49152")
        self.fails(2, "line 1", "score", "-q", "-m", CHAT, "--stdin", stdin="[1,-1]")
        self.fails(1, "line 1", "score", "-q", "-m", CHAT, "--stdin", stdin="[1,")
        rc, out, err = run("score", "-q", "-m", CHAT, "--tokens", "1,2", "--json", "--logprobs-out", "/dev/full")
        self.assertEqual((rc, err), (1, "lmrun: /dev/full: not everything could be written\n"))
        self.fails(1, "no/dir", "score", "-q", "-m", CHAT, "--tokens", "1,2", "--logprobs-out", "no/dir/x")


class Bench(Case):
    def test_kernels_lists_slots_and_refuses_unknown_types(self):
        self.fails(2, "nope", "bench", "--kernels", "--type", "nope")
        out = subprocess.run([LMRUN, "bench", "--kernels", "--json", "--type", "q4_k"], stdout=subprocess.PIPE, env=ENV, check=True).stdout
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertTrue({"gemv"} <= {r["slot"] for r in rows} and {r["type"] for r in rows} == {"q4_k"})
        for r in rows:
            self.assertTrue(r["ns"] > 0 and r["rate"] > 0 and r["limit"] > 0)

    def test_kernels_lists_what_has_no_weights(self):
        rows = [json.loads(line) for line in self.ok("bench", "--kernels", "--json", "--type", "rows").splitlines()]
        slots = {(r["slot"], r["type"]) for r in rows if r["isa"] == "c"}
        self.assertTrue({("attn_score", "f16"), ("attn_value", "q8_0"), ("norm_rms", "f32"), ("rope", "f32"), ("delta", "f32")} <= slots)
        self.assertTrue(all(r["ns"] > 0 and r["rate"] > 0 and r["limit"] > 0 for r in rows))


class Terminal(Case):
    """--interactive on a pseudo-terminal."""

    def start(self, *args, model=CHAT):
        self.state = tempfile.TemporaryDirectory()
        self.addCleanup(self.state.cleanup)
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execve(LMRUN, [LMRUN, "-m", model, "-i", "-s", "1", *args],
                      {**ENV, "TERM": "xterm", "XDG_STATE_HOME": self.state.name, "LC_ALL": "C"})
        self.pid, self.seen = pid, b""
        self.addCleanup(os.close, self.fd)

    def expect(self, what, seconds=60):
        """Reads until `what` has come; returns what came before it."""
        end = time.time() + seconds
        while what not in self.seen:
            self.assertTrue(time.time() < end and select.select([self.fd], [], [], 1)[0] or time.time() < end, self.seen[-500:])
            try:
                if select.select([self.fd], [], [], 0)[0]:
                    self.seen += os.read(self.fd, 4096)
            except OSError:
                break
        self.assertIn(what, self.seen)
        at = self.seen.index(what) + len(what)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def send(self, text):
        os.write(self.fd, text.encode())

    def status(self, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            pid, st = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(st)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        self.fail("did not end")

    def test_commands_and_quit(self):
        self.start("-n", "8")
        self.expect(b"> ")
        self.send("/help\r")
        self.expect(b"/regen")
        self.send("/nonsense\r")
        self.expect(b"unknown command /nonsense")
        self.send("/set temp 0\r/set temp 900\r")
        self.expect(b"from 0 to 100")
        self.send("Héllo\r")
        self.expect(b"> ")
        self.send("/stats\r")
        self.expect(b"context ")
        self.expect(b"generation ")
        self.send("/regen\r")
        self.expect(b"temperature 0")
        self.send("/clear\r")
        self.expect(b"new conversation")
        self.send("/quit\r")
        self.assertEqual(self.status(), 0)
        with open(os.path.join(self.state.name, "lmrun", "history")) as f:
            self.assertIn("/stats", f.read())

    def test_interrupt_stops_the_answer_then_the_program(self):
        self.start("-n", "2000", "--ignore-eos")
        self.expect(b"> ")
        self.send("Tell me a story.\r")
        self.expect(b"\n")
        time.sleep(1)
        self.send("\x03")
        self.expect(b"> ")
        self.send("not sent")
        self.expect(b"not sent")             # the terminal drops what is unread when Ctrl-C comes
        self.send("\x03")
        self.expect(b"^C")
        self.expect(b"> ")
        self.send("\x03")
        self.assertEqual(self.status(), 0)

    def test_end_of_input_ends_with_0(self):
        self.start()
        self.expect(b"> ")
        self.send("\x04")
        self.assertEqual(self.status(), 0)

    def test_pasted_lines_and_continued_lines_are_one_message(self):
        self.start("-n", "1", "-v")
        self.expect(b"> ")
        self.send("\x1b[200~one\rtwo\rthree\x1b[201~")
        time.sleep(0.3)
        self.send("\r")
        pasted = re.search(rb"prompt (\d+) tokens", self.expect(b"generation ")).group(1)
        self.send("/clear\rone\\\rtwo\\\rthree\r")
        typed = re.search(rb"prompt (\d+) tokens", self.expect(b"generation ")).group(1)
        self.assertEqual(typed, pasted)
        self.send("/quit\r")
        self.assertEqual(self.status(), 0)

    def test_lines_from_a_pipe(self):
        rc, out, err = run("-m", CHAT, "-i", "-n", "4", "--temp", "0", "-q", stdin="Hi\n/bogus\nHello\n")
        self.assertEqual(rc, 0)
        self.assertIn("unknown command /bogus", err)
        self.assertEqual(len([l for l in out.split("\n") if l]), 2)

    def test_base_model_continues_text(self):
        rc, out, err = run("-m", BASE, "-i", "-n", "3", "--temp", "0", stdin="1, 2, 3, 4,\n\n")
        self.assertEqual((rc, out), (0, " 5,\n 6,\n"))
        self.assertIn("no chat template", err)


class Plan(Case):
    """--dry-run against what then happens."""
    def peak(self, *args):
        """Most private and most resident bytes while the program runs."""
        own = 0
        p = subprocess.Popen([LMRUN, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV, cwd=ROOT)
        while True:
            try:
                with open(f"/proc/{p.pid}/status") as f:
                    own = max([own] + [int(l.split()[1]) << 10 for l in f if l.startswith("RssAnon:")])
            except OSError:
                pass
            pid, status, usage = os.wait4(p.pid, os.WNOHANG)
            if pid:
                p.returncode = status
                self.assertEqual(status, 0)
                return own, usage.ru_maxrss << 10
            time.sleep(0.002)

    def test_within_two_percent(self):
        for model, more in (CHAT, []), (BASE, ["-ctk", "q8_0", "-b", "256"]):
            n = 1500
            args = ["-m", model, "-c", str(n), "-t", "2", *more]
            plan = json.loads(self.ok(*args, "--dry-run", "--json"))
            ids = ",".join(str(100 + i * 7919 % 30000) for i in range(n - 16))
            own, total = self.peak(*args, "--tokens", ids, "-n", "15", "--ignore-eos")
            self.assertLess(abs(plan["private_bytes"] / own - 1), 0.02, (plan, own))
            self.assertLess(abs(plan["total_bytes"] / total - 1), 0.02, (plan, total))
            parts = [plan[k + "_bytes"] for k in ("program", "made", "kv", "slot", "step", "device")]
            self.assertEqual(sum(parts), plan["private_bytes"])

    def test_says_it_whatever_the_verb(self):
        for args in ("-m", BASE), ("run", BASE), ("serve", "-m", BASE), ("-m", BASE, "chat"):
            out = self.ok(*args, "-c", "600", "--dry-run", "-q")
            self.assertIn("K/V cache, 600 tokens", out)
            self.assertIn("of this process alone", out)

    def test_what_cannot_be(self):
        self.fails(1, "no-such", "-m", "no-such.gguf", "--dry-run")
        self.fails(4, "available", "-m", CHAT, "-c", "60000000", "--dry-run", "-q")


if __name__ == "__main__":
    unittest.main()
