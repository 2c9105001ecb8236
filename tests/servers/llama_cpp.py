"""llama.cpp's own HTTP server, out of the package xllamacpp, with a model made on the spot.

    .envs/llama-cpp/bin/python -m tests.servers.llama_cpp FOLDER

prints where it listens, {"talks": address, "embeds": address}, and serves until its standard input is closed.
"""

import json
import sys
from pathlib import Path

import xllamacpp

from tests.servers import tiny_llama

MODEL = "tiny-llama"


def parameters(model: Path) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.n_parallel = 2
    params.n_ctx = 2 * tiny_llama.CONTEXT_TOKENS
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.cpuparams.n_threads = 1
    params.endpoint_slots = True
    params.verbosity = 0
    return params


def main(folder: Path) -> None:
    model = folder / "tiny-llama.gguf"
    tiny_llama.write(model)
    talks = xllamacpp.Server(parameters(model))
    params = parameters(model)
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    embeds = xllamacpp.Server(params)
    print(json.dumps({"talks": talks.listening_address, "embeds": embeds.listening_address}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
