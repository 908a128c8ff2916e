#!/bin/sh
# Records notebooks anew: asks the models, saves what the cells show, and sees that a replay shows the same.
#
#     sh scripts/record_notebooks.sh NOTEBOOK...
#
# Each has a history of its own, so that what panels tell of calls is the notebook's and not the user's; models
# are those of the user's cache folder. A running Ollama would answer in place of the embedded model.

set -eu

farm=.venv/bin/farm
cache=$(.venv/bin/python -c 'from farm_notebook.config import load_config; print(load_config({}).cache_dir)')
folder=$cache/recording
mkdir -p "$folder" "$cache/models"
[ -e "$folder/models" ] || ln -s ../models "$folder/models"

unset OPENAI_API_KEY OPENAI_BASE_URL HF_TOKEN
for notebook; do
    printf '==> recording %s; what differs from before:\n' "$notebook"
    rm -f "$folder"/history-* "$folder"/ledger-*
    FARM_CACHE_DIR=$folder "$farm" run "$notebook" --record
    printf '==> replaying it\n'
    FARM_CACHE_DIR=$folder "$farm" run "$notebook" --replay --prune
done
