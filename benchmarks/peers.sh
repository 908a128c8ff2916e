#!/bin/sh
# Makes an environment a peer under build/peers, for `python -m benchmarks peers cache`. They drag in much, and some
# exclude each other, so none of them lives with this project's own packages.
set -eu

python=${PYTHON:-python3}
add() {
    name=$1
    shift
    [ -x "build/peers/$name/bin/python" ] || "$python" -m venv "build/peers/$name"
    echo "==> $*"
    "build/peers/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

add litellm litellm
add langchain-openai langchain-openai
add any-llm 'any-llm-sdk[openai]'
add pydantic-ai 'pydantic-ai-slim[openai]'
add chatlas 'chatlas[openai]'
add langchain-community langchain-community
add litellm-cache 'litellm[proxy]' diskcache soundfile
