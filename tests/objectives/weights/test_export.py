"""A run as transformers loads it from a folder, offline: the same losses, the same answers."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from transformers import AutoTokenizer, GenerationConfig, pipeline

import export
from models.body import Inputs
from models.generation.decoding import Decoding
from models.generation.generation import generate
from models.presets import TransformerConfig
from objectives.start.pretrained import open_pretrained
from objectives.weights.card import pipeline_of
from objectives.weights.export import export_run
from objectives.weights.load import TrainedRun
from tests.helpers import predicted, run_script
from tests.objectives.start.folders import Exported, class_of, last_validation, losses, trained

RECIPES = ("papers/bert", "papers/gpt2", "papers/bart", "papers/t5", "causal_lm")
TEXTS = ["The old cat sees a small bird.", "그 고양이가 집을 보고 달린다.", "A dog"]


@pytest.fixture(scope="module", params=RECIPES)
def exported(
    request: pytest.FixtureRequest, corpus_file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    home = tmp_path_factory.mktemp("exported")
    run = trained(request.param, corpus_file, cache, home)
    name = export_run(run, home / "folder")
    cls = class_of(home / "folder")
    assert cls.__name__ == name
    model, loading = cls.from_pretrained(home / "folder", output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(home / "folder")
    return Exported(run, home / "folder", model.eval(), tokenizer, loading, cache)


def test_nothing_is_missing_and_nothing_is_left_over(exported: Exported) -> None:
    assert not any(exported.loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_the_tokenizer_gives_the_ids_of_training_and_the_text_back(exported: Exported) -> None:
    vocabulary, template = exported.run.vocabulary, exported.run.objective.template
    before, behind = (
        [getattr(vocabulary, role) for role in roles] for roles in (template.before, template.behind)
    )  # fmt: skip
    for text in TEXTS:
        ids = exported.run.tokenizer.encode(text, add_special_tokens=False).ids
        assert exported.tokenizer(text)["input_ids"] == [*before, *ids, *behind]
        generated = exported.tokenizer.decode(exported.tokenizer(text)["input_ids"], skip_special_tokens=True)
        assert generated == exported.run.tokenizer.decode(ids)


def test_a_pair_of_texts_is_framed_as_a_segment_pair(exported: Exported) -> None:
    if exported.run.objective.template.before != ("cls",):
        pytest.skip("this recipe has no segments")
    encoded = exported.tokenizer("A dog", "A cat")
    vocabulary, tokenizer = exported.run.vocabulary, exported.run.tokenizer
    first, second = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("A dog", "A cat"))
    assert encoded["input_ids"] == [vocabulary.cls, *first, vocabulary.sep, *second, vocabulary.sep]


def test_the_validation_loss_of_the_run_is_theirs(exported: Exported) -> None:
    """To 1e-5, over the very windows and noise of the run's last validation."""
    batch, summary = last_validation(exported.run, exported.cache)
    for name, loss in losses(exported.model, exported.run, batch).items():
        assert len(batch.labels[name].ids_N)
        assert loss.item() == pytest.approx(summary[f"validation/{name}"], abs=1e-5)


def test_greedy_texts_are_theirs(exported: Exported) -> None:
    if not exported.has_decoder:
        pytest.skip("an encoder alone generates nothing")
    run, body = exported.run, exported.run.network.body
    assert body is not None
    read = [exported.tokenizer(text)["input_ids"] for text in TEXTS]
    start = exported.model.generation_config.decoder_start_token_id
    ours = generate(
        body,
        [[start]] * len(read) if exported.has_encoder else read,
        sources=read if exported.has_encoder else None,
        decoding=Decoding(max_new_tokens=12),
        eos=run.vocabulary.eos,
        never=exported.model.generation_config.suppress_tokens or (),
        max_positions=run.max_positions,
    )
    for ids, generated in zip(read, ours, strict=True):
        settings = GenerationConfig(
            **exported.model.generation_config.to_diff_dict(), do_sample=False, max_new_tokens=12
        )
        theirs = exported.model.generate(torch.tensor([ids]), generation_config=settings)[0].tolist()
        new = theirs[1 if exported.has_encoder else len(ids) :]
        assert (new[: new.index(run.vocabulary.eos)] if run.vocabulary.eos in new else new) == generated.ids


def test_a_mark_takes_the_blank_before_it_as_our_prompts_do(exported: Exported) -> None:
    run, theirs = exported.run, exported.tokenizer
    marks = {"[MASK]": run.vocabulary.mask, "<extra_id_0>": int(run.vocabulary.sentinels[0])}
    before, behind = (run.tokenizer.encode(part, add_special_tokens=False).ids for part in ("The old", " sees it."))
    for spelling, mark in marks.items():
        for blank in (" ", ""):
            found = theirs(f"The old{blank}{spelling} sees it.", add_special_tokens=False)["input_ids"]
            assert found == [*before, mark, *behind]
    assert theirs.padding_side == ("right" if exported.has_encoder else "left")


def test_the_fill_mask_pipeline_gives_our_answers(exported: Exported) -> None:
    if exported.has_decoder:
        pytest.skip("for encoders")
    generated = cast(Any, pipeline)("fill-mask", model=str(exported.folder), top_k=4)("The old [MASK] sees a bird.")
    run = exported.run
    before, behind = (run.tokenizer.encode(part, add_special_tokens=False).ids for part in ("The old", "sees a bird."))
    vocabulary = run.vocabulary
    ids = [vocabulary.cls, *before, vocabulary.mask, *behind, vocabulary.sep]
    body = run.network.body
    assert body is not None
    inputs = Inputs(encoder_ids_BS=torch.tensor([ids]), segments_BS=torch.zeros(1, len(ids), dtype=torch.int64))
    logits, _ = predicted(body, inputs, torch.tensor([len(before) + 1]))
    best = logits[0].softmax(-1).topk(4)
    assert [answer["token"] for answer in generated] == best.indices.tolist()
    torch.testing.assert_close(torch.tensor([a["score"] for a in generated]), best.values, rtol=1e-5, atol=1e-7)


def test_the_text_generation_pipeline_gives_our_answers(exported: Exported) -> None:
    if exported.has_encoder:
        pytest.skip("for decoders alone")
    speaker = cast(Any, pipeline)("text-generation", model=str(exported.folder))
    run, body = exported.run, exported.run.network.body
    assert body is not None
    for text in TEXTS:
        theirs = speaker(text, max_new_tokens=10, do_sample=False, return_full_text=False)[0]["generated_text"]
        prompt = [run.vocabulary.eos, *run.tokenizer.encode(text, add_special_tokens=False).ids]
        ours = generate(
            body,
            [prompt],
            decoding=Decoding(max_new_tokens=10),
            eos=run.vocabulary.eos,
            max_positions=run.max_positions,
        )
        whole = run.tokenizer.decode([*prompt[1:], *ours[0].ids])
        assert text + theirs == whole


def test_the_model_card_tells_data_budget_and_results(exported: Exported) -> None:
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    summary = json.loads((exported.run.folder / "summary.json").read_text())
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"{summary['validation/loss']:.6g}" in card
    assert "made_up.jsonl" in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "unknown"
    assert head["pipeline_tag"] == pipeline_of(
        json.loads((exported.folder / "config.json").read_text())["architectures"][0]
    )
    assert all(f"## {part}" in card for part in ("Usage", "Data", "Budget", "Scores", "Licence", "Every setting"))
    assert "- steps: 12" in card
    assert f"- parameters: {sum(p.numel() for p in exported.run.network.parameters()):,}" in card


def test_a_masked_lm_without_pairs_is_the_class_without_that_head(
    corpus_file: Path, cache: Path, tmp_path: Path
) -> None:
    run = trained("papers/bert", corpus_file, cache, tmp_path, "--model.init_args.next_sentence", "false")
    assert export_run(run, tmp_path / "folder") == "BertForMaskedLM"
    model, loading = class_of(tmp_path / "folder").from_pretrained(tmp_path / "folder", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert model(torch.tensor([[4, 200, 5]])).logits.isfinite().all()


@pytest.fixture(scope="module")
def with_segments(corpus_file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A masked LM with pairs of segments, which the class of its body has no head for."""
    return trained("masked_lm", corpus_file, cache, tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize(
    ("arguments", "generated"),
    [
        (["nowhere", "--to", "new"], "'nowhere' is not a run: it has no config.yaml"),
        (["{run}", "--to", "{run}"], "is not empty: name a new folder"),
        (["{run}", "--to", "new", "--step", "7"], "has no checkpoint of step 7; it has 12"),
        (["{run}", "--to", "new"], "EuroBertForMaskedLM has no place for next_sentence_head"),
        (["{run}"], "required: to"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    with_segments: TrainedRun, tmp_path: Path, arguments: list[str], generated: str
) -> None:
    filled = [argument.format(run=with_segments.folder) for argument in arguments]
    done = run_script("export.py", *(str(tmp_path / "new") if argument == "new" else argument for argument in filled))
    assert done.returncode == 2
    assert generated in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def without_segments(corpus_file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    home = tmp_path_factory.mktemp("single")
    return trained("masked_lm", corpus_file, cache, home, "--model.init_args.second_segment", "none")


@pytest.mark.parametrize("class_name", ["EuroBertForMaskedLM", "LlamaForCausalLM"])
def test_an_encoder_of_lab_is_two_classes(without_segments: TrainedRun, tmp_path: Path, class_name: str) -> None:
    run, folder = without_segments, tmp_path / "folder"
    named = ["--as", class_name] if class_name == "LlamaForCausalLM" else []
    assert export.main([str(run.folder), "--to", str(folder), *named]) == 0
    model, loading = class_of(folder).from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == class_name
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(140, run.vocabulary.size, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = run.network.body.logits(run.network.body(Inputs(encoder_ids_BS=ids)))
        torch.testing.assert_close(model.eval()(ids).logits, ours, rtol=0, atol=1e-4)
    back = open_pretrained(str(folder))
    assert isinstance(back.body, TransformerConfig)
    assert (back.body.preset, back.num_blocks) == ("lab", (2, 0))
    assert torch.equal(back.state["body.token_table.weight"], run.network.state_dict()["body.token_table.weight"])
