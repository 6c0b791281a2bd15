"""The loop, top to bottom: what one round does, and in which order. The page to read first.

    ingest -> propose -> segment -> score -> select -> submit -> collect -> merge -> train -> evaluate

Every stage asks the ledger what is missing, makes only that, and is marked as done for its round; so the
same call starts a run, resumes one after a crash, and does nothing for one that is finished. The stages
themselves are plain functions of values, ports and settings (`pipeline/stages`): only this page and its
shelf touch the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.geometry import Image
from pipeline.domain.ingested import IngestedSample, SetAside
from pipeline.domain.likeness import Likeness
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Annotation, Origin, OriginKind, Sample, State
from pipeline.domain.rounds import STAGES, Candidate, Evidence, ModelRef, RunState, Uncertainty
from pipeline.errors import ConfigError, DataError
from pipeline.events import Emit, silent
from pipeline.formats.round_trip import yolo_round_trip
from pipeline.ports import Annotator, Detector, Embedder, Executor, NoAnswer, Segmenter, TaskItem, Trainer
from pipeline.report import write_report
from pipeline.segmenting.careful import escalated_by
from pipeline.services.asking import Machine, disputes, items_of, waiting
from pipeline.services.boxes import BoxMasks
from pipeline.services.judging import START, Judge
from pipeline.services.publishing import folder_of, publish
from pipeline.services.splitting import all_likenesses, refuse_leaks, tell_changed_settings
from pipeline.shelf import Predictions, Shelf, batched, fingerprint, machine_instances
from pipeline.stages.collect import Refused, collect
from pipeline.stages.ingest import Given, ingest
from pipeline.stages.merge import merge, remembered
from pipeline.stages.propose import propose
from pipeline.stages.score import score
from pipeline.stages.segment import segment
from pipeline.stages.select import select
from pipeline.stages.submit import submit
from pipeline.stages.train import repeats_of, train
from pipeline.store.atomic import atomic_write
from pipeline.store.readings import Readings
from pipeline.store.workspace import Workspace

__all__ = ["START", "Loop", "Peers"]

Facts = Mapping[str, Any]
"""What a finished stage tells the stages after it: plain JSON values."""


class Peers(Protocol):
    """The live objects that wiring builds, each when it is first asked for."""

    def detector(self, model: ModelRef | None, *, confidence: float | None = None) -> Detector: ...

    @property
    def segmenter(self) -> Segmenter: ...

    @property
    def annotator(self) -> Annotator: ...

    @property
    def trainer(self) -> Trainer: ...

    @property
    def executor(self) -> Executor: ...

    def read_image(self, sample: Sample) -> Image: ...


class Loop:
    """The loop over one workspace; the caller holds the workspace's write lock."""

    def __init__(self, config: Config, workspace: Workspace, peers: Peers, *, emit: Emit = silent) -> None:
        self._config = config
        self._classes = config.project.classes
        self._workspace = workspace
        self._ledger = workspace.ledger
        self._peers = peers
        self._emit = emit
        self._shelf = Shelf(
            workspace, lambda: peers.executor, peers.read_image, batch=config.propose.batch, emit=emit
        )
        self._boxes = BoxMasks(self._ledger, self._shelf)

    def run(self) -> RunState:
        """Go on until every round is finished, or until people must answer first."""
        self.check_classes()
        while (number := self.current_round) <= self._config.rounds:
            self._emit("round.started", round=number, of=self._config.rounds)
            for stage in STAGES:
                if not self._run_stage(stage, number):
                    return RunState.WAITING
            self._emit("round.finished", round=number, of=self._config.rounds)
            report = write_report(self._config, self._workspace, emit=self._emit)
            self._emit("report.written", path=str(report))
        return RunState.DONE

    def run_one(self, stage: str) -> bool:
        """One stage of the current round; False if it waits for people. Raises ConfigError out of turn."""
        self.check_classes()
        number = self.current_round
        if number > self._config.rounds:
            raise ConfigError(f"all {self._config.rounds} rounds are finished; raise it to go on", key="rounds")
        for earlier in STAGES[: STAGES.index(stage)]:
            self._facts(number, earlier)
        return self._run_stage(stage, number)

    def take_in(self, given: Given = lambda *_: (None, "")) -> None:
        """What the sources hold now, outside of any round; `given` is what is said of their places (see `ingest`)."""
        self.check_classes()
        self._ingest(0, given)

    @property
    def current_round(self) -> int:
        """The first round that is not finished; rounds count from 1."""
        finished = [row.round for row in self._ledger.rounds.all()]
        last = max(finished, default=0)
        unmarked = last > 0 and self._ledger.rounds.marked(last, STAGES[-1]) is None
        return last if unmarked else last + 1

    def _run_stage(self, stage: str, number: int) -> bool:
        """One stage of round `number`, unless it is done; False if it waits for people."""
        if self._ledger.rounds.marked(number, stage) is not None:
            return True
        self._emit("stage.started", stage=stage, round=number)
        began = self._workspace.now()
        work: Callable[[int], Facts | None] = getattr(self, f"_{stage}")
        facts = work(number)
        if facts is None:
            return False
        self._emit("stage.made", stage=stage, round=number)
        took_s = max((self._workspace.now() - began).total_seconds(), 0.0)
        self._ledger.rounds.mark(number, stage, facts, seconds=took_s)
        self._emit("stage.finished", stage=stage, round=number, facts=dict(facts))
        return True

    def _facts(self, number: int, stage: str) -> Facts:
        facts = self._ledger.rounds.marked(number, stage)
        if facts is None:
            raise ConfigError(f"round {number} has not finished {stage!r} yet: run `pipeline {stage}` first")
        return facts

    # --- the stages of a round, in order ------------------------------------------------------------------

    def _ingest(self, _number: int, given: Given = lambda *_: (None, "")) -> Facts:
        samples, blobs, settings = self._ledger.samples, self._workspace.blobs, self._config.ingest
        tell_changed_settings(self._ledger, settings.split, self._config.seed, emit=self._emit)
        with Readings(self._workspace.work("ingest") / "readings.jsonl") as readings:
            found = ingest(
                settings.sources,
                settings.split,
                self._classes,
                known=samples.sources(),
                quarantined={str(item.path): item.stamp for item in samples.quarantined()},
                executor=self._peers.executor,
                store_image=lambda png: blobs.path(blobs.put(png)),
                scenes_folder=self._workspace.root / "scenes",
                pool={sample.id: sample for sample in samples.all()},
                looks=self._likenesses,
                recall=readings.recall,
                remember=readings.remember,
                given=given,
                emit=self._emit,
            )
            for batch in batched(found, 64):
                for item in (item for item in batch if not isinstance(item, IngestedSample)):
                    rows = item.rows if isinstance(item, SetAside) else (item,)
                    samples.quarantine(*rows)
                    for row in rows:
                        self._emit("quarantined", path=str(row.path), reason=row.reason)
                samples.add([item for item in batch if isinstance(item, IngestedSample)])
                self._emit("ingest.batch", done=len(batch))
        if not samples.count():
            raise ConfigError("no readable image was found in any source", key="ingest.sources")
        return {"samples": samples.count(), "quarantined": len(samples.quarantined())}

    def _propose(self, _number: int) -> Facts:
        champion, pool = self._champion(), self._pool()
        facts: dict[str, Any] = {"champion": champion.id if champion else None, "pool": len(pool)}
        if not pool:
            return facts
        detector = self._peers.detector(champion)
        name = fingerprint("propose", detector.name, self._config.detector, list(self._classes))

        def make(ids: Sequence[str]) -> dict[str, list[Proposal]]:
            batch = list(self._shelf.images(ids))
            return dict(propose([batch], detector, self._classes, emit=self._emit)) if batch else {}

        self._shelf.make_proposals(name, pool, make)
        if self._config.select.needs_embeddings:
            facts["embeddings"] = self._embed(detector)
        return facts | {"fingerprint": name}

    def _segment(self, number: int) -> Facts:
        self._boxes.make(self._masks, self._segmenting)
        upstream = self._facts(number, "propose")
        if not upstream["pool"]:
            return {}
        name = fingerprint("segment", upstream["fingerprint"], *self._segmenting())

        def make(ids: Sequence[str]) -> dict[str, Predictions]:
            return self._masks(self._shelf.proposals(upstream["fingerprint"], ids))

        before = escalated_by(self._peers.segmenter)
        self._shelf.make_predictions(name, self._pool(), make)
        escalated = escalated_by(self._peers.segmenter) - before
        return {"fingerprint": name, "segmenter": self._peers.segmenter.name, "escalated": escalated}

    def _score(self, number: int) -> Facts:
        if not self._facts(number, "propose")["pool"]:
            return {}
        upstream = self._facts(number, "segment")["fingerprint"]
        name = fingerprint("score", upstream, number, self._config.seed, self._config.score)

        def rng_for(sample_id: str) -> np.random.Generator:
            return np.random.default_rng([self._config.seed, number, int(sample_id[:12], 16)])

        def make(ids: Sequence[str]) -> dict[str, Uncertainty]:
            rows = score(self._evidence(number, ids), self._config.score, rng_for)
            return {row.sample_id: row for row in rows}

        self._shelf.make_scores(name, self._pool(), make)
        return {"fingerprint": name}

    def _select(self, number: int) -> Facts:
        pool = self._pool() if self._facts(number, "propose")["pool"] else []
        scores = self._shelf.scores(self._facts(number, "score")["fingerprint"], pool) if pool else {}
        embeddings = self._embeddings(number)
        candidates = [Candidate(key, scores[key], embeddings.get(key)) for key in sorted(scores)]
        labelled = [embeddings[key] for key in sorted(embeddings.keys() - scores.keys())]
        chosen = select(
            candidates,
            self._config.select,
            splits={sample.id: sample.split for sample in self._ledger.samples.all()},
            labelled=np.stack(labelled) if labelled else None,
            round=number,
            seed=self._config.seed,
        )
        self._ledger.rounds.save_selection(chosen)
        return {"candidates": len(candidates), "selected": len(chosen.ranked)}

    def _submit(self, number: int) -> Facts:
        annotator, tasks = self._peers.annotator, self._ledger.tasks
        done = tasks.of(number).keys() | self._ledger.samples.set_aside_ids()
        again = dict.fromkeys(waiting(self._ledger))
        wanted = dict.fromkeys([*again, *self._ledger.rounds.selection(number).ranked])
        fresh = [key for key in wanted if key not in done]
        self._emit("submit.started", total=len(fresh))
        for ids in batched(fresh, 16):
            # Nobody is asked about an image that has gone since it was chosen.
            there = [sample_id for sample_id, _ in self._shelf.images(ids)]
            items = self._items(number, there, again)
            tasks.intend(number, there)
            tasks.record(number, submit(items, annotator, emit=self._emit))
            self._emit("submit.batch", done=len(ids))
        asked = tasks.of(number)
        self._ledger.requests.asked(asked)
        return {"tasks": len(asked), "again": len(asked.keys() & again.keys()), "annotator": annotator.name}

    def _collect(self, number: int) -> Facts | None:
        waiting = self._ledger.tasks.unanswered(number)
        if not self._ledger.tasks.any():
            return {"answers": 0}
        # People may change, even now, what they said in earlier rounds.
        annotator = self._peers.annotator
        pointer = f"collect/{annotator.name}"
        samples = {sample.id: sample for sample in self._ledger.samples.all()}
        people = self._config.collect.people
        self._emit("collect.started", total=len(waiting))
        since = self._ledger.pointers.get(pointer)
        for answer in collect(annotator, since, sample_of=samples.get, classes=self._classes, emit=self._emit):
            cursor = (pointer, answer.cursor)
            if isinstance(answer, Refused):
                if answer.sample_id in samples:
                    self._set_aside(answer.error)
                self._ledger.tasks.refuse(answer.task_id, cursor=cursor)
            elif isinstance(answer, NoAnswer):
                self._ledger.annotations.withdraw(
                    answer.sample_id, answer.author, answer.at, answer.reason, answer.task_id, cursor=cursor
                )
            else:
                task_id = answer.task_id if people == 1 else None
                self._ledger.annotations.append(answer.annotation, task_id=task_id, cursor=cursor)
            self._emit("collect.batch", done=1)
        self._ledger.annotations.close_answered(number, people)
        missing = self._ledger.tasks.unanswered(number)
        if missing:
            self._emit("collect.waiting", missing=len(missing), annotator=annotator.name, round=number)
            return None
        return {"answers": len(self._ledger.tasks.of(number))}

    def _merge(self, number: int) -> Facts:
        guesses, parent = self._guesses(number), self._ledger.versions.of_round(number - 1)
        boxes = self._boxes.make(self._masks, self._segmenting)  # what came in since `segment` may lack masks
        merged = merge(
            self._shelf.labelled(also=[said.sample_id for said in guesses]),
            chain(self._histories(), ([said] for said in guesses)),
            self._boxes.find(boxes),
            self._config.merge,
            masks_by=self._peers.segmenter.name if boxes else "",
            round_trip=remembered(yolo_round_trip, self._entries(parent.id) if parent else ()),
            held_out=self._ledger.decisions.held_out_ids(),
            emit=self._emit,
            quarantine=self._set_aside,
        )
        entries = merged.entries
        self._refuse_leaks(entries)
        for request in disputes(self._ledger, merged, self._workspace.now()):
            self._ledger.requests.open(request)
        version, tree = publish(self._workspace, entries, number, self._config, emit=self._emit)
        agreement = {author: list(found) for author, found in merged.agreement.items()}
        told = {"agreement": agreement, "disputed": len(merged.disputed)} if agreement else {}
        return {"version": version.id, "images": len(entries), "counts": dict(version.counts), "tree": tree} | told

    def _train(self, number: int) -> Facts:
        merged, base = self._facts(number, "merge"), self._champion()
        version = str(merged["version"])
        if not merged["counts"].get("split/train"):
            raise ConfigError("no train image has labels yet: there is nothing to learn from", key="ingest.split")
        entries = self._entries(version)
        if self._config.ingest.leaks == "stop":  # a warning was heard when the version was made
            self._refuse_leaks(entries)
        trainer, seed = self._peers.trainer, self._config.seed + number
        parent = self._ledger.versions.of_round(number - 1) if self._config.train.replay < 1 else None
        earlier = self._entries(parent.id) if parent is not None else []
        repeats = repeats_of(entries, earlier, self._config.train, seed)
        seen = [repeats] if repeats else []
        name = fingerprint("train", version, trainer.name, base.sha256 if base else None, seed, *seen)
        trained = train(
            folder_of(self._workspace, number, emit=self._emit),
            base,
            trainer,
            work=self._workspace.work(f"train/round-{number}-{name[:12]}"),
            seed=seed,
            repeats=repeats,
            emit=self._emit,
        )
        kept = self._workspace.models / f"{trained.id}{trained.weights.suffix}"
        atomic_write(kept, trained.weights.read_bytes(), emit=self._emit)
        base_id = base.id if base is not None else None
        self._ledger.models.add(replace(trained, weights=kept, trained_on=version), number, base_id)
        return {"model": trained.id}

    def _evaluate(self, number: int) -> Facts:
        version = str(self._facts(number, "merge")["version"])
        candidate = self._ledger.models.get(str(self._facts(number, "train")["model"]))
        judge = Judge(self._config, self._ledger, self._shelf, self._peers, emit=self._emit)
        return judge.finish(number, candidate, self._entries(version))

    # --- what the stages share ----------------------------------------------------------------------------

    def _refuse_leaks(self, entries: Sequence[DatasetEntry]) -> None:
        """Before a version is made, when it can still be mended, and before a model learns from it."""
        settings, read_image = self._config.ingest, self._peers.read_image
        refuse_leaks(self._workspace, entries, settings, self._likenesses, read_image, emit=self._emit)

    def _likenesses(self) -> dict[str, Likeness]:
        return all_likenesses(self._ledger, self._peers.executor, self._peers.read_image, emit=self._emit)

    def _embed(self, detector: Detector) -> str:
        """Describe every train image, asked and unasked; the name to find the embeddings by."""
        if not isinstance(detector, Embedder):
            raise ConfigError(
                f"{self._config.select.kind!r} needs image embeddings; {detector.name} makes none",
                key="select.kind",
            )
        name = fingerprint("embed", detector.name, self._config.detector)

        def make(ids: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
            batch = list(self._shelf.images(ids))
            rows = detector.embed([image for _, image in batch]) if batch else ()
            return {sample_id: row for (sample_id, _), row in zip(batch, rows, strict=True)}

        self._shelf.make_embeddings(name, self._train_ids(), make)
        return name

    def _embeddings(self, number: int) -> dict[str, npt.NDArray[np.float32]]:
        name = self._facts(number, "propose").get("embeddings")
        return self._shelf.embeddings(name, self._train_ids()) if name else {}

    def _masks(self, proposals: Mapping[str, Sequence[Proposal]]) -> dict[str, Predictions]:
        """Ask the segmenter about every proposal; an image without any is not even read."""
        asked = [sample_id for sample_id, rows in proposals.items() if rows]
        items = ((sample_id, image, proposals[sample_id]) for sample_id, image in self._shelf.images(asked))
        made = dict(
            segment(items, self._peers.segmenter, self._config.segment, self._peers.executor, emit=self._emit)
        )
        return made | {sample_id: [] for sample_id, rows in proposals.items() if not rows}

    def _segmenting(self) -> tuple[object, ...]:
        """What a mask depends on besides its prompt."""
        return self._peers.segmenter.name, self._config.segmenter, self._config.segment

    def _evidence(self, number: int, ids: Sequence[str]) -> Iterator[Evidence]:
        proposals, predictions = (self._facts(number, stage)["fingerprint"] for stage in ("propose", "segment"))
        return self._shelf.evidence(proposals, predictions, ids)

    def _guesses(self, number: int) -> list[Annotation]:
        """What the machine says now of images that nobody has judged, if that may teach at all."""
        pool = self._pool() if self._facts(number, "propose")["pool"] else []
        if State.PROPOSED not in self._config.merge.states or not pool:
            return []
        items = (
            (row, machine_instances(row, number, self._machine(number))) for row in self._evidence(number, pool)
        )
        now = self._workspace.now()
        return [Annotation(row.sample_id, 0, found, self._machine(number), number, now) for row, found in items]

    def _machine(self, number: int) -> Origin:
        """Who proposes in this round."""
        model = self._facts(number, "propose")["champion"] or START
        return Origin(OriginKind.MODEL, f"{model} + {self._peers.segmenter.name}")

    def _items(self, number: int, ids: Sequence[str], again: Collection[str]) -> list[TaskItem]:
        """The images as people will see them; what the machine says of them goes on record."""
        machine = Machine(number, Origin(OriginKind.MODEL, START), {}, {})
        if self._facts(number, "propose")["pool"]:
            evidence = {row.sample_id: row for row in self._evidence(number, ids)}
            scores = self._shelf.scores(self._facts(number, "score")["fingerprint"], ids)
            machine = Machine(number, self._machine(number), evidence, scores)
        items, record = items_of(self._ledger, ids, again, machine, self._workspace.now())
        self._ledger.annotations.append_shown(record)
        return items

    def check_classes(self) -> None:
        """Classes may not change under a workspace: every class number in its files would change its meaning.

        Raises ConfigError, with the way to take the labels along.
        """
        classes = json.dumps(list(self._classes), ensure_ascii=False)
        known = self._ledger.pointers.get("classes")
        if known is None:
            self._ledger.pointers.set("classes", classes)
        elif known != classes:
            raise ConfigError(
                f"the workspace was made for the classes {known}, the configuration names {classes}: "
                "put the old names back, or take the labels along: `pipeline export` from this workspace, then "
                "`pipeline import` with `--rename OLD=NEW` into a new one",
                key="project.classes",
            )

    def _pool(self) -> list[str]:
        """Train samples of which nothing is said, nobody is asked, and that can be read."""
        ledger = self._ledger
        done = ledger.annotations.annotated_ids() | ledger.samples.set_aside_ids() | ledger.tasks.busy_ids()
        return [sample_id for sample_id in self._train_ids() if sample_id not in done]

    def _train_ids(self) -> list[str]:
        return [sample.id for sample in self._ledger.samples.all("train")]

    def _histories(self) -> Iterator[list[Annotation]]:
        rows = self._ledger.annotations.history(None)
        return (list(history) for _, history in groupby(rows, key=lambda row: row.sample_id))

    def _entries(self, version: str) -> list[DatasetEntry]:
        return parse_manifest(self._workspace.blobs.read(version))[1]

    def _champion(self) -> ModelRef | None:
        name = self._ledger.pointers.get("champion")
        return self._ledger.models.get(name) if name is not None else None

    def _set_aside(self, problem: DataError) -> None:
        """Quarantine the sample that a problem is about. A problem that names none is ours, and is raised."""
        if problem.sample_id is None:
            raise problem
        self._shelf.set_aside(problem.sample_id, problem.reason)
