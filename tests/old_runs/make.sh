#!/bin/sh
# Makes first_edition.tar.xz, in an empty folder:
#
#   FIRST_EDITION=/a/checkout/of/83fe5d2 PYTHONPATH=/this/checkout sh /this/checkout/tests/old_runs/make.sh
#
# Runs of 6 to 9 updates of models of 2,000 parameters: finished ones, ones that SIGTERM stopped in the middle,
# fine-tuned ones, and a study of two arms, two seeds and a branch each, once finished and once interrupted.
set -eu
here=$(dirname "$(realpath "$0")")
export FIRST_EDITION OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
python=$FIRST_EDITION/.venv/bin/python
old() { script=$1; shift; "$python" "$FIRST_EDITION/$script.py" "$@"; }
stopped() { "$python" "$here/stop.py" "$@" || [ $? = 143 ]; }

"$python" "$here/texts.py"
mkdir settings
shared='
transformer: {width: 4, layers: 2, num_heads: 1, feed_forward_width: 8}
data: {corpus: corpus.jsonl, vocab_size: 400, window: 16, batch_size: 4, validation_windows: 4}
optimizer: {schedule: wsd, warmup: 1, decay: 0.25, final: 0.05, clip: 0.5}
budget: {raw_tokens: null, steps: 8}
logging: {wandb: "off", every_steps: 2, examples: 0}
validation: {every_steps: 4}
trainer: {precision: 32-true, accelerator: cpu}
checkpoints: {keep: 1}
'
printf 'model: {class_path: objectives.masked_lm.MaskedLM}\n%s' "$shared" > settings/masked_lm.yaml
printf 'model: {class_path: objectives.causal_lm.CausalLM}\n%s' "$shared" > settings/causal_lm.yaml
cat > settings/schedule.yaml <<Y
model:
  class_path: objectives.schedule.Schedule
  init_args:
    order: mixed
    members:
      - {objective: objectives.causal_lm.CausalLM, share: 0.25}
      - {objective: objectives.masked_lm.MaskedLM, share: 0.75, settings: {next_sentence: false}}
$shared
Y
cat > settings/task.yaml <<Y
task:
  class_path: finetuning.classification.ClassificationTask
  init_args: {name: tiny, train: train.jsonl, test: test.jsonl, texts: [text]}
optimizer: {final: 0.05, clip: 0.5}
logging: {wandb: "off", every_steps: 2}
data: {batch_size: 4}
tuning: {dropout: 0.0}
trainer: {precision: 32-true, accelerator: cpu}
budget: {epochs: null, steps: 6}
Y
cat > study.yaml <<Y
question: Does depth help here?
arms:
  masked: settings/masked_lm.yaml
  masked deeper: {config: settings/masked_lm.yaml, settings: {transformer.layers: 4}}
shared: {settings: {optimizer.clip: 0.75}}
seeds: [0, 1]
budget: {raw_tokens: 512}
forks: [256]
Y

for objective in masked_lm causal_lm schedule; do
  old train --config settings/$objective.yaml --name $objective
  stopped 3 train --config settings/$objective.yaml --name $objective-stopped
done
old finetune --config settings/task.yaml --checkpoint runs/causal_lm --name tuned
stopped 3 finetune --config settings/task.yaml --checkpoint runs/causal_lm --name tuned-stopped

old compare --config study.yaml --name finished
# The same study, stopped in its second run.
mkdir -p studies/stopped/runs
cp studies/finished/study.json studies/finished/plan.json studies/stopped
of_study="--config settings/masked_lm.yaml --optimizer.clip=0.75 --budget.raw_tokens=512.0 --budget.steps=null
  --seed=0 --runs=studies/stopped/runs --logging.group=stopped --checkpoints.at_steps=[3]"
old train $of_study --name=masked-s0
stopped 5 train $of_study --name=masked-deeper-s0 --transformer.layers=4

# Of the finished study no checkpoint is read, but for the weights that the stopped one must come to.
for run in masked-deeper-s0 masked-s0-to-256; do
  mkdir -p expected/$run
  cp "$(ls -d studies/finished/runs/$run/checkpoints/* | tail -n 1)/weights.safetensors" expected/$run
done
rm -rf studies/finished/runs/*/checkpoints studies/finished/figures studies/finished/items.zip studies/finished/report.* \
  studies/finished/results.csv studies/finished/logs runs/*/examples.html
find . -name .lock -delete
find . -type f ! -path "*/finished/results.json" -exec touch -d @1600000000 {} +
touch -d @1600000060 studies/finished/results.json
tar --sort=name --owner=0 --group=0 --numeric-owner -cJf first_edition.tar.xz *
ls -l first_edition.tar.xz
