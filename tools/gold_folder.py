#!/usr/bin/env python3
"""Folders as Hugging Face models have them, with tiny vocabularies, and what transformers makes of them:
tests/fixtures/folder/NAME/ and NAME.json.   python3 tools/gold_folder.py   (needs transformers, tokenizers, sentencepiece;
run tools/gold_spm.py first)

NAME.json: {"roles": {...}, "cases": [[text, ids, ids without BOS and EOS, ids without special parsing, decode, decode without
special tokens], ...]}.  The judge is AutoTokenizer, for tokenizer.model SentencePieceBackend (the slow one: it asks the
sentencepiece package), its post-processor added by hand."""
import json, os, random, re, shutil
os.environ["HF_HUB_OFFLINE"] = "1"
from tokenizers import Tokenizer, models, pre_tokenizers, trainers, normalizers
import base64
from transformers import AddedToken, AutoTokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend
import sentencepiece
from gold_spm import PIECES, TEXT

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "tests/fixtures/folder")
SPM = os.path.join(ROOT, "tests/fixtures/spm")
LINES = TEXT.split("\n")


def dump(name, file, value):
    os.makedirs(os.path.join(OUT, name), exist_ok=True)
    with open(os.path.join(OUT, name, file), "w", encoding="utf-8") as f:
        if isinstance(value, str):
            f.write(value)
        else:
            json.dump(value, f, ensure_ascii=file == "vocab.json", indent=None if file in ("vocab.json", "tekken.json") else 1)
            f.write("\n")


def byte_bpe(name, size, specials, suffix=None):
    t = Tokenizer(models.BPE(end_of_word_suffix=suffix or ""))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    kw = {"end_of_word_suffix": suffix} if suffix else {}
    if suffix:
        t.normalizer = normalizers.Lowercase()
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=specials, show_progress=False, **kw))
    m = json.loads(t.to_str())["model"]
    vocab = dict(sorted(m["vocab"].items(), key=lambda x: x[1]))
    if suffix:      # every byte ends a word, too, as in CLIP's vocabulary
        for a in sorted(alphabet):
            vocab.setdefault(a + suffix, len(vocab))
    dump(name, "vocab.json", vocab)
    dump(name, "merges.txt", "#version: 0.2\n" + "".join(" ".join(x) + "\n" for x in m["merges"]))
    return vocab, m["merges"]


def wordpiece(name, lower, specials):
    t = Tokenizer(models.WordPiece(unk_token=specials[1]))
    t.normalizer = normalizers.BertNormalizer(lowercase=lower)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=330, special_tokens=specials, show_progress=False))
    v = t.get_vocab()
    dump(name, "vocab.txt", "".join(w + "\n" for w in sorted(v, key=v.get)))


def added(content, special=True, **kw):
    return {"content": content, "lstrip": False, "normalized": not special, "rstrip": False, "single_word": False, "special": special, **kw}


def gpt2():
    byte_bpe("gpt2", 380, ["<|endoftext|>"])
    dump("gpt2", "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024})
    byte_bpe("gpt2_more", 330, ["<|endoftext|>"])
    dump("gpt2_more", "tokenizer_config.json", {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, "add_bos_token": True, "unk_token": None,
         "bos_token": {"__type": "AddedToken", "content": "<|begin|>", "lstrip": False, "normalized": True, "rstrip": True, "single_word": False}})
    dump("gpt2_more", "special_tokens_map.json", {"eos_token": {"content": "<|end|>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False},
                                                  "pad_token": "<|pad|>", "additional_special_tokens": ["<|one|>", "<|two|>"]})
    dump("gpt2_more", "added_tokens.json", {"<|begin|>": 330, "<|end|>": 331, "<think>": 332, "<|one|>": 333})
    dump("gpt2_more", "generation_config.json", {"eos_token_id": [331, 333], "bos_token_id": 330})


def roberta():
    byte_bpe("roberta", 360, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    dump("roberta", "config.json", {"model_type": "roberta", "eos_token_id": 2})
    dump("roberta", "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", "mask_token": {"__type": "AddedToken", "content": "<mask>",
         "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}})


def clip():
    byte_bpe("clip", 420, ["<|startoftext|>", "<|endoftext|>"], "</w>")
    dump("clip", "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer"})


def qwen2():
    byte_bpe("qwen2", 360, [])
    dump("qwen2", "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
        "add_prefix_space": False, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "added_tokens_decoder": {"360": added("<|endoftext|>"), "361": added("<|im_start|>"), "362": added("<|im_end|>"),
                                 "363": added("<think>", False, normalized=False), "365": added("</think>", False, normalized=False),
                                 "364": added("café", False)},
        "chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                         "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"})
    dump("qwen2", "generation_config.json", {"eos_token_id": [362, 360], "pad_token_id": 360})


def bert():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    wordpiece("bert", True, names)
    dump("bert", "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    wordpiece("bert_cased", False, names)
    dump("bert_cased", "tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False, "never_split": ["Hello"],
        "added_tokens_decoder": {str(i): added(n) for i, n in enumerate(names)} | {"330": added("New Word", False), "331": added("<x>", False, single_word=True)}})


def tekken():
    vocab, _ = byte_bpe("tekken", 400, [])
    os.remove(os.path.join(OUT, "tekken/merges.txt")), os.remove(os.path.join(OUT, "tekken/vocab.json"))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = [b for b in range(256) if chr(b) in letters]
    to_byte = {chr(b): b for b in own} | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in own)}
    words = [bytes([b]) for b in range(256)] + [w for w in (bytes(to_byte[c] for c in w) for w in vocab) if len(w) > 1]
    pattern = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    dump("tekken", "tekken.json", {
        "config": {"pattern": pattern, "num_vocab_tokens": len(words), "default_vocab_size": 410, "default_num_special_tokens": 12, "version": "v7"},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(w).decode(), "token_str": None} for i, w in enumerate(words)],
        "special_tokens": [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"])]})
    dump("tekken", "chat_template.jinja", "{{ bos_token }}{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}")


    with open(os.path.join(OUT, "tekken/words"), "w") as f:
        f.write("".join(f"{base64.b64encode(w).decode()} {i}\n" for i, w in enumerate(words)))
    os.makedirs(os.path.join(OUT, "tiktoken"))
    os.rename(os.path.join(OUT, "tekken/words"), os.path.join(OUT, "tiktoken/tokenizer.model"))
    dump("tiktoken", "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
         "add_bos_token": True, "added_tokens_decoder": {str(400 + i): added(x) for i, x in enumerate(["<|begin_of_text|>", "<|eot_id|>", "<|x|>"])}})


def spm(name, model, config, file="tokenizer.model", **more):
    os.makedirs(os.path.join(OUT, name), exist_ok=True)
    shutil.copy(os.path.join(SPM, model + ".model"), os.path.join(OUT, name, file))
    dump(name, "tokenizer_config.json", config)
    for f, v in more.items():
        dump(name, f + ".json", v)


def spm_folders():
    spm("llama", "bpe_llama", {
        "tokenizer_class": "LlamaTokenizer", "legacy": True, "add_bos_token": True, "add_eos_token": False, "bos_token": {"__type": "AddedToken", **added("<s>")},
        "eos_token": added("</s>"), "unk_token": "<unk>", "pad_token": None,
        "added_tokens_decoder": {"0": added("<unk>"), "1": added("<s>"), "2": added("</s>"), "560": added("[TOOL]"), "561": added("<|end|>", rstrip=True),
                                 "562": added("more", False)}}, generation_config={"bos_token_id": 1, "eos_token_id": [2, 561]})
    spm("gemma", "bpe_gemma", {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": True, "bos_token": "<bos>", "eos_token": "<eos>",
                               "pad_token": "<pad>", "unk_token": "<unk>", "additional_special_tokens": ["<start_of_turn>", "<h1>", "<new>"]})
    spm("llama_first", "bpe_llama", {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>",
                                     "eos_token": "</s>", "unk_token": "<unk>"})
    spm("t5", "uni", {"tokenizer_class": "T5Tokenizer", "extra_ids": 5, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}, "spiece.model")


    spm("xlmr", "uni", {"tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
                        "sep_token": "</s>", "cls_token": "<s>", "mask_token": added("<mask>", lstrip=True)}, "sentencepiece.bpe.model")


class Fairseq(SentencePieceBackend):
    """XLM-R's slow tokenizer as transformers 4 had it: fairseq's four tokens first, the pieces shifted by one, <mask> last."""
    first = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}

    def _convert_token_to_id(self, token):
        i = self.sp_model.piece_to_id(token)
        return self.first.get(token, i + 1 if i else 3)

    def without_added(self, text):
        return [self._convert_token_to_id(p) for p in self.sp_model.encode(text, out_type=str)]


def hf():
    """A tokenizer.json, and beside it what only the other files say."""
    t = AutoTokenizer.from_pretrained(os.path.join(OUT, "qwen2"))
    os.makedirs(os.path.join(OUT, "hf"))
    t._tokenizer.save(os.path.join(OUT, "hf/tokenizer.json"), pretty=False)
    dump("hf", "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, "bos_token": {"__type": "AddedToken", **added("<|im_start|>")},
         "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
         "chat_template": [{"name": "default", "template": "{{ messages[0].content }}{{ eos_token }}"}, {"name": "tool_use", "template": "{{ tools }}"}]})
    dump("hf", "generation_config.json", {"eos_token_id": 361})


# how the folders of sentencepiece models are judged: what comes before and after, as transformers' classes say
SENTENCEPIECE = {"llama": (["<s>"], []), "llama_first": None, "gemma": (["<bos>"], ["<eos>"]), "t5": ([], ["</s>"]), "xlmr": (["<s>"], ["</s>"])}


def spm_size(path):
    return sentencepiece.SentencePieceProcessor(model_file=path).get_piece_size()


def judge_of(name):
    path = os.path.join(OUT, name)
    if not SENTENCEPIECE.get(name):
        return AutoTokenizer.from_pretrained(path)
    c = json.load(open(os.path.join(path, "tokenizer_config.json")))
    special = {k: (v["content"] if isinstance(v, dict) else v) for k, v in c.items() if k.endswith("_token") and k[:3] != "add"}
    dec = {int(k): AddedToken(**v) for k, v in c.get("added_tokens_decoder", {}).items()}
    file = next(f for f in os.listdir(path) if f.endswith(".model"))
    if name == "t5":
        c["additional_special_tokens"] = [f"<extra_id_{i}>" for i in reversed(range(5))]
    if name == "xlmr":
        dec = {0: AddedToken("<s>"), 1: AddedToken("<pad>"), 2: AddedToken("</s>"), 3: AddedToken("<unk>")}
        dec[spm_size(os.path.join(path, file)) + 1] = AddedToken("<mask>", lstrip=True, special=True)
        special["mask_token"] = dec[spm_size(os.path.join(path, file)) + 1]
    return (Fairseq if name == "xlmr" else SentencePieceBackend)(vocab_file=os.path.join(path, file), legacy=True, added_tokens_decoder=dec,
                                extra_special_tokens=c.get("additional_special_tokens", []), **special)


def without_special(t, text):
    """Added tokens that are not special stand for themselves all the same."""
    if isinstance(t, Fairseq):
        return t.without_added(text)
    plain = [a.content for a in t.added_tokens_decoder.values() if not a.special]
    ids = []
    for part in re.split("(" + "|".join(map(re.escape, plain)) + ")", text) if plain else [text]:
        ids += [t.convert_tokens_to_ids(part)] if part in plain else t.sp_model.encode(part)
    return ids


def gold(name):
    t = judge_of(name)
    rng = random.Random(name)
    words = PIECES + ["Hello World", "café", "naïve", "New Word", "<think>", " ", "\n"]
    extra = list(t.added_tokens_encoder) * 2
    texts = ["", " ", "Hello world", " a  b ", "x\u0000y"] + extra[:12]
    while len(texts) < 90:
        texts.append("".join(rng.choice(words if rng.random() < .6 else extra if rng.random() < .5 else [rng.choice(TEXT)]) for _ in range(rng.randint(1, 10))))
    cases, slow = [], bool(SENTENCEPIECE.get(name))
    # lmrun knows a model's control symbols also where the folder does not name them, the slow tokenizers do not
    hidden = [p for i in range(t.sp_model.get_piece_size()) if t.sp_model.is_control(i) for p in [t.sp_model.id_to_piece(i)]
              if p not in t.added_tokens_encoder] if slow else []
    for x in texts:
        if any(h in x for h in hidden):
            continue
        inner = t(x, add_special_tokens=False)["input_ids"]
        if slow:
            before, after = ([t.convert_tokens_to_ids(y) for y in z] for z in SENTENCEPIECE[name])
            full, plain = before + inner + after, without_special(t, x)
        else:
            full = t(x)["input_ids"]
            t._tokenizer.encode_special_tokens = True
            plain = t._tokenizer.encode(x, add_special_tokens=False).ids
            t._tokenizer.encode_special_tokens = False
            text = [t.decode(full, skip_special_tokens=s, clean_up_tokenization_spaces=False) for s in (False, True)]
        cases.append([x, full, inner, plain] + ([] if name in SENTENCEPIECE else text))
    roles = {r: getattr(t, r + "_token_id", None) for r in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
    with open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8") as f:
        json.dump({"roles": {k: v for k, v in roles.items() if v is not None}, "n": max([len(t)] + [i + 1 for i in t.added_tokens_decoder]), "cases": cases}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    print(name, type(t).__name__, len(t), roles)


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    for make in (gpt2, roberta, clip, qwen2, bert, tekken, spm_folders, hf):
        make()
    for name in sorted(os.listdir(OUT)):
        gold(name)
    dump("hf", "config.json", {"model_type": "qwen2", "eos_token_id": 7, "pad_token_id": 8})       # ids of last resort, not asked here
