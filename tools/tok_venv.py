"""The reference libraries in build/conformance/venv: whoever imports this goes on inside it."""
import os
import subprocess
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
WORK = "build/conformance"
PINS = ["tokenizers==0.23.3", "sentencepiece==0.2.3", "transformers==5.23.0", "gguf==0.19.0", "jinja2==3.1.6", "protobuf", "setuptools>=77"]


def installed():
    """What the last installation was told to install."""
    try:
        return open(WORK + "/venv/.ok").read().split()
    except OSError:
        return []


def enter():
    py = WORK + "/venv/bin/python"
    if installed() != PINS:
        os.makedirs(WORK, exist_ok=True)
        print("installing the reference libraries of the tokenizers under " + WORK, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", WORK + "/venv"], check=True)
        if subprocess.run([py, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINS]).returncode:
            sys.exit("the reference libraries of the tokenizers cannot be installed (see above)")
        with open(WORK + "/venv/.ok", "w") as f:
            f.write("\n".join(PINS))
    os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1", TRANSFORMERS_VERBOSITY="error")
    os.execv(py, [py, *sys.argv])


if os.path.realpath(sys.prefix) != os.path.realpath(WORK + "/venv"):
    enter()
