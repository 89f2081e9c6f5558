#!/usr/bin/env python3
"""bench_tok.py: the tokenizer rows of `make bench-peers`: lmrun against the `tokenizers` library, one thread each.

Throughput over 5 MB of mixed text made here from a seed (prose in several scripts, code, JSON, numbers); the library
reads it whole and by lines, its better way counts.  Load time of large vocabularies, as what `lmrun tokenize` of an
empty input takes more than with a tiny vocabulary.  1 MB of one letter and of spaces against 1 MB of the mixed text.
Runs are interleaved, medians count.  Prints Markdown.  ROUNDS=n (default 5)."""
import json
import os
import random
import statistics
import subprocess
import sys
import time

import tok_venv
import tok_reference as ref
import tok_sources
from tokenizers import Tokenizer

WORK, ROUNDS = tok_venv.WORK, int(os.environ.get("ROUNDS", "5"))
NULL, median = subprocess.DEVNULL, statistics.median
TINY = "tests/fixtures/tok/tiny_llama-bpe.gguf"
SPEED = (("BPE, gpt-2", "gpt-2"), ("BPE, llama-bpe", "llama-bpe"), ("BPE, qwen2", "qwen2"), ("BPE, o200k (tokenizer.json)", "o200k"), ("SPM, gemma3", "gemma3-270m"),
         ("SPM, llama-spm", "llama-spm"), ("WordPiece, MiniLM (tokenizer.json)", "minilm"), ("WordPiece, bge", "bert-bge"), ("Unigram, nomic", "nomic-bert-moe"))
LOAD = ("llama-bpe", "qwen2", "command-r", "gemma-4", "gemma3-270m", "nomic-bert-moe", "deepseek-v3", "tekken", "o200k", "qwen3.6")
WORDS = {
    "en": "the of and to in is that it was for on are with as his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know get through back much before go good new write our used me man too any day same right look think also around another came come work three word must because does part even place well such here take why things help put years different away again off went old number great tell men say small every found still between name should home big give air line set own under read last never us left end along while might next sound below saw something thought both few those always looked show large often together asked house world going want school important until form food keep children feet land side without boy once animals life enough took sometimes four head above kind began almost live page got earth need far hand high year mother light parts country father let night following picture being study second eyes soon times story boys since white days ever paper hard near sentence better best across during today others however sure means knew try told young miles sun ways thing whole hear example heard several change answer room sea against top turned learn point city play toward five using himself usually",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis mehr durch man sein wurde sei Prozent hatte kann gegen vom können schon wenn habe seine Mark ihre dann unter wir soll ich eines Jahr zwei Jahren diese dieser wieder keine Uhr seiner worden Bürgermeister Straße Größe Übung Möglichkeit Wissenschaft Geschwindigkeit",
    "fr": "le de un être et à il avoir ne je son que se qui ce dans en du elle au pour pas vous par sur faire plus dire me on mon lui nous comme mais pouvoir avec tout y aller voir bien où sans tu ou leur homme si deux moi vouloir te femme venir quand grand celui notre l'été d'abord aujourd'hui déjà français où très après même",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también fue había era muy años hasta desde está mi porque qué sólo han yo hay vez puede todos así nos ni parte tiene él uno donde bien tiempo mismo ese ahora cada vida otro después mañana señor niño",
    "ru": "и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой так же от как для вы о год один тот ещё бы такой только себя какой когда уже кто другой сказать говорить знать мочь время рука дело день жизнь человек первый новый большой день стать самый город дом слово место спросить",
    "el": "και το να του η της με που την από για τα είναι στο ο οι τον θα τη στην μου δεν ότι των σε μια ένα κατά ήταν αυτό αν τους πολύ όταν χρόνια μετά κόσμος ημέρα",
    "ar": "في من على إلى أن هذا التي كان الذي عن مع هذه ما لا بعد كل قد بين ذلك أو حيث عام ولا كما قال يوم خلال أكثر العالم المدينة الكتاب السلام",
    "he": "של את על לא הוא זה עם כל גם היא אם או מה אני כי אבל יש אין היה שלום עולם ספר בית יום",
    "hi": "के का में है की को से और पर यह ने हैं कि एक था भी नहीं इस तो ही या कर हो गया लिए अपने कुछ साथ दिन समय लोग भारत दुनिया",
    "th": "ที่ การ และ ใน เป็น ของ มี ได้ ให้ ว่า ไม่ จะ นี้ กับ คน มา ไป อยู่ ประเทศไทย ภาษา สวัสดี",
    "zh": "的 一 是 不 了 在 人 有 我 他 这 个 们 中 来 上 大 为 和 国 地 到 以 说 时 要 就 出 会 可以 也 你 对 生活 能 而 子 那 得 于 着 下 自己 之 年 过 发展 后 作 里 世界 问题 学习 语言 模型 计算机 经济 城市 历史",
    "ja": "の に は を た が で て と し れ さ ある いる も する から な こと として い や など なる へ か だ これ によって により おり より による ず なっ られる において ば なかっ なく しかし について 日本 東京 時間 世界 言葉 コンピュータ データ モデル",
    "ko": "이 그 저 것 수 나 우리 사람 하다 있다 되다 없다 않다 같다 보다 주다 아니다 때문 그리고 대한 한국 세계 시간 언어 모델 학교 오늘 사랑 생각 안녕하세요",
}
WEIGHT = {"en": 12, "zh": 3, "de": 2, "fr": 2, "es": 2, "ru": 2, "ja": 2}
UNSPACED = ("zh", "ja", "th")


class Text:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.words = {k: v.split() for k, v in WORDS.items()}
        self.langs = [k for k in WORDS for _ in range(WEIGHT.get(k, 1))]

    def word(self, words):                         # the first ones most often, as in any language
        w = words[int(len(words) * self.rng.random() ** 2)]
        r = self.rng.random()                      # forms and names, for a text has more words than a list
        if r < .12 and w.isascii():
            w += self.rng.choice(("s", "ed", "ing", "ly", "'s", "er", "ness", "able"))
        elif r < .2:
            w = w + self.rng.choice(words)[-3:]
        return w

    def sentence(self, lang):
        w = [self.word(self.words[lang]) for _ in range(self.rng.randint(4, 22))]
        if lang in UNSPACED:
            return "".join(w) + {"th": " "}.get(lang, "。")
        return " ".join([w[0].capitalize()] + [x + ("," if self.rng.random() < .06 else "") for x in w[1:]]) + self.rng.choice([".", ".", ".", "!", "?", ";"]) + " "

    def name(self):
        w = [self.rng.choice(self.words["en"]) for _ in range(self.rng.randint(1, 3))]
        return "_".join(w) if self.rng.random() < .5 else w[0] + "".join(x.capitalize() for x in w[1:])

    def number(self):
        r = self.rng.random()
        return str(self.rng.randrange(10 ** self.rng.randint(1, 8))) if r < .6 else f"{self.rng.uniform(-1e4, 1e4):.{self.rng.randint(1, 6)}f}" if r < .9 else hex(self.rng.randrange(1 << 32))

    def prose(self):
        lang = self.rng.choice(self.langs)
        return "".join(self.sentence(lang) for _ in range(self.rng.randint(2, 7))).strip() + "\n" + "\n" * (self.rng.random() < .4)

    def code(self):
        out = f"static int {self.name()}(const char *{self.name()}, size_t n)\n{{\n"
        for _ in range(self.rng.randint(3, 9)):
            a, b, t = self.name(), self.name(), "\t" * self.rng.randint(1, 3)
            out += t + self.rng.choice((f"if ({a} < {self.number()}) return -1;", f"for (int i = 0; i < n; i++) {a}[i] += {b}[i] * {self.number()};", f"{a} = {b}(&{a}, \"{b}\", {self.number()});",
                                        f"// {self.sentence('en').strip()}", f"def {a}(self, {b}=None):", f"    return [x for x in self.{a} if x != '{b}']", f"{a}->{b}++;")) + "\n"
        return out + "}\n\n"

    def json(self):
        return json.dumps({self.name(): self.rng.choice((float(self.rng.random()), self.rng.randrange(10 ** 6), self.sentence(self.rng.choice(self.langs)).strip(), [self.rng.randrange(100) for _ in range(6)], None, True))
                           for _ in range(6)}, ensure_ascii=self.rng.random() < .2, indent=self.rng.choice((None, 2))) + "\n"

    def numbers(self):
        return "".join("\t".join(self.number() for _ in range(6)) + "\n" for _ in range(5))

    def make(self, n):
        out, size = [], 0
        while size < n:
            r = self.rng.random()
            s = self.prose() if r < .68 else self.code() if r < .86 else self.json() if r < .95 else self.numbers()
            out.append(s)
            size += len(s.encode())
        return "".join(out).encode()[:n].decode("utf-8", "ignore")


def ours(path, text, reps=1):
    """Seconds of one pass, after one that warms up; ids."""
    p = subprocess.run(["./lmrun", "bench", "--tokenize", text, "-m", path, "-r", str(reps), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        raise RuntimeError(p.stderr.decode("utf-8", "replace").strip().split("\n")[-1])
    j = json.loads(p.stdout.decode().strip().split("\n")[-1])
    j = j[0] if isinstance(j, list) else j
    return j["median_s"], j["ids"]


def clock(fn):
    t = time.perf_counter()
    fn()
    return time.perf_counter() - t


def theirs(tok, text, lines):
    """Seconds of the library's better way."""
    return min(clock(lambda: tok.encode_batch_fast([text], add_special_tokens=False)), clock(lambda: tok.encode_batch_fast(lines, add_special_tokens=False)))


def speed(sources, text, path):
    out = ["| tokenizer | MB/s lmrun | MB/s tokenizers | ratio | goal |", "|---|---|---|---|---|"]
    lines, mb = text.splitlines(keepends=True), len(text.encode()) * 1e-6
    for label, name in SPEED:
        r = sources[name]()
        n = len(r.encode([text], True, False)[0])
        try:
            a, b = [], []
            for _ in range(ROUNDS):
                s, got = ours(r.path, path)
                a.append(s)
                b.append(theirs(r.tok, text, lines))
            same = "" if got == n else f" ({got} ids, not {n})"
            out.append(f"| {label} | {mb / median(a):.1f}{same} | {mb / median(b):.2f} | {median(b) / median(a):.1f} | at least 3 |")
        except RuntimeError as e:
            out.append(f"| {label} | {e} | | | at least 3 |")
        print(out[-1], file=sys.stderr, flush=True)
    return out


def whole(path):
    """Wall seconds of `lmrun tokenize` on nothing."""
    return clock(lambda: subprocess.run(["./lmrun", "tokenize", "-m", path, "--stdin", "--json"], stdin=NULL, stdout=NULL, stderr=NULL, check=True))


def load(sources):
    out = ["| vocabulary | entries | file | load, ms | tokenizers' load, ms | goal |", "|---|---|---|---|---|---|"]
    for name in LOAD:
        r = sources[name]()
        file = r.path if r.path.endswith(".gguf") else r.path + "/tokenizer.json"
        try:
            whole(r.path)
            pairs = [(whole(r.path), whole(TINY)) for _ in range(2 * ROUNDS)]
        except subprocess.CalledProcessError as e:
            out.append(f"| {name} | {r.size()} | | exit {e.returncode} | | at most 60 |")
            continue
        ms = median(a - b for a, b in pairs) * 1e3
        peer = "-"
        saved = file if file.endswith(".json") else f"{WORK}/bench-{name}.json"
        if not os.path.exists(saved):
            r.tok.save(saved, pretty=False)
        peer = f"{median(clock(lambda: Tokenizer.from_file(saved)) for _ in range(3)) * 1e3:.0f}"
        out.append(f"| {name} | {r.size()} | {'GGUF' if file.endswith('.gguf') else 'tokenizer.json'} | {ms:.0f} | {peer} (tokenizer.json) | at most 60 |")
        print(out[-1], file=sys.stderr, flush=True)
    return out


def runs(sources, text):
    """No input is quadratic."""
    out = ["| tokenizer | 1 MB of text, ms | of `a` | of spaces | worst ratio | goal |", "|---|---|---|---|---|---|"]
    paths = []
    for name, s in (("text", text.encode()[:1 << 20].decode("utf-8", "ignore")), ("a", "a" * (1 << 20)), ("space", " " * (1 << 20))):
        paths.append(f"{WORK}/bench-{name}.txt")
        ref.write(WORK, f"bench-{name}.txt", s)
    for label, name in SPEED:
        path = sources[name]().path
        try:
            t = [median(ours(path, p)[0] for _ in range(3)) for p in paths]
        except RuntimeError as e:
            out.append(f"| {label} | {e} | | | | at most 5 |")
            continue
        out.append(f"| {label} | {t[0] * 1e3:.1f} | {t[1] * 1e3:.1f} | {t[2] * 1e3:.1f} | {max(t[1:]) / t[0]:.2f} | at most 5 |")
        print(out[-1], file=sys.stderr, flush=True)
    return out


def main():
    tok_sources.fetch(WORK)
    sources = dict(tok_sources.sources())
    text = Text(5).make(5_000_000)
    ref.write(WORK, "bench-mixed.txt", text)
    head = "## Tokenizers\n\nOne thread each; 5 MB of mixed text; the better of the library's encode of the whole and of lines; interleaved, medians of " + str(ROUNDS) + ".\n\n"
    print(head + "\n".join(speed(sources, text, f"{WORK}/bench-mixed.txt") + [""] + load(sources) + [""] + runs(sources, text)))


if __name__ == "__main__":
    main()
