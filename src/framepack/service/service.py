"""The service behind every face: what can be asked of it, whoever asks."""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan
from framepack.domain.settings import Settings
from framepack.service.acceptance import Acceptance
from framepack.service.changes import Changes
from framepack.service.database import Database
from framepack.service.dispatcher import Dispatcher
from framepack.service.encoders import Encoders
from framepack.service.estimates import Estimate, Estimates
from framepack.service.examination import Examination
from framepack.service.executor import Executor
from framepack.service.files import DataFolder, JobFolder
from framepack.service.inputs import PICTURES, SECTION_FILES, VIDEOS, Input
from framepack.service.keys import KeyStore
from framepack.service.leases import Leases
from framepack.service.local_executor import LocalExecutor
from framepack.service.machine_settings import MachineSettings
from framepack.service.models import Models
from framepack.service.options import JobOptions, ServiceConfig
from framepack.service.partials import Partials
from framepack.service.preferences import Preferences
from framepack.service.recipes import Recipes
from framepack.service.records import Job, NoSuchJob, StoreFull, WrongState
from framepack.service.settled import fingerprint
from framepack.service.store import JobStore, new_job_id
from framepack.service.takes import (
    Origin,
    Take,
    asked_again,
    longer,
    note_source,
    options_again,
    redone,
)
from framepack.service.tools.toolbox import Toolbox
from framepack.service.uploads import Uploads
from framepack.weights.locate import locate_all

__all__ = ["Service"]

_OF_ONE_VIDEO = frozenset(
    "prompt seed duration_s official_length variant loop width height resolution one_frame "
    "target_index control_index enhanced_prompts section_seeds section_loras".split()
) | {*PICTURES, *VIDEOS, *SECTION_FILES}
"""Fields of a request that a video made from its video does not inherit."""


class Service:
    """Takes requests, answers for jobs, and has them worked on.

    Args:
        config: of the server.
        settings: of this machine.
        executor: makes the videos; None for a process of this machine.
    """

    def __init__(
        self, config: ServiceConfig, settings: Settings, *, executor: Executor | None = None
    ) -> None:
        self.config = config
        self.settings = settings
        self.machine_settings = MachineSettings(settings, self._use)
        self.examination = Examination(lambda: self.settings)
        self.data = DataFolder.of(config.data_dir)
        self.data.make()
        self.changes = Changes()
        self.database = Database(self.data.database)
        self.partials = Partials(self.data, self.database, on_change=self.changes.publish)
        self.store = JobStore(self.database, on_change=self._publish)
        self.leases = Leases(self.database, on_change=self._publish)
        self.estimates = Estimates(self.database)
        self.preferences = Preferences(self.database)
        self.encoders = Encoders()
        self.keys = KeyStore(self.database, file=config.api_key_file)
        self.uploads = Uploads(
            self.data.uploads,
            keep_s=config.upload_hours * 3600,
            most_bytes=config.uploads_gb * 1e9,
        )
        self.tools = Toolbox(
            self.database,
            self.data,
            config,
            settings=lambda: self.settings,
            on_change=self.changes.publish,
            quota_of=self._quota_of,
        )
        self.recipes = Recipes(self.data.recipes)
        self.models = Models(self.recipes, self.tools, settings=lambda: self.settings)
        self.executor = executor
        self.dispatcher: Dispatcher | None = None
        self._acceptance = Acceptance(
            config, settings=lambda: self.settings, recipes=self.recipes.paths
        )

    # --- Its life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with the jobs that wait."""
        if self.executor is None:
            self.executor = LocalExecutor(
                self.settings,
                idle_s=self.config.idle_s,
                on_change=lambda: self.changes.publish("worker"),
            )
        self.dispatcher = Dispatcher(self.store, self.leases, self.executor, self.data, self.config)
        self.dispatcher.start()
        self.tools.start()
        self._remove_strays()
        self.partials.start()

    def stop(self, timeout_s: float) -> None:
        """Let the step at work end, keep what there is, and release everything."""
        if self.dispatcher is not None:
            self.tools.stop(timeout_s)
            self.dispatcher.stop(timeout_s)
        self.partials.close()
        self.database.close()

    def _publish(self, job_id: str) -> None:
        """Tell those who wait for news of a job."""
        self.changes.publish(job_id)
        self.partials.notice(job_id)

    def _use(self, settings: Settings) -> None:
        """Work by other settings from now on."""
        self.settings = settings
        if self.executor is not None:
            self.executor.use(settings)

    # --- New jobs ------------------------------------------------------------------------------

    def submit(
        self,
        fields: Mapping[str, Any],
        *,
        inputs: Mapping[str, Input] | None = None,
        options: JobOptions | None = None,
        owner: str = "",
        priority: int = 0,
        parent: str | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> Job:
        """Check a request and queue it.

        Args:
            fields: of ``GenerationRequest``; those that name files name one of ``inputs``.
            inputs: files by word; one whose word is the field's own name need not be named.
            options: what is to be left besides the video.
            owner: id of the key that it came with.
            priority: the higher go first.
            parent: the job that it is made from.
            idempotency_key: with it, the same request again is the same job.
            origin: what stands behind a request that was made from the parent.

        Raises:
            InvalidRequest: bad input; nothing was kept.
            MissingWeights: the model's weights are not on this machine.
            QueueFull, QuotaExceeded, IdempotencyConflict: nothing was queued.
            StoreBusy, StoreFull: the database or the disk refused.
        """
        files = dict(inputs or {})
        options = options or JobOptions()
        asked, sent = (origin.said, origin.sent) if origin is not None else (fields, files)
        asked_as = fingerprint(asked, sent, options) if idempotency_key else ""
        job_id = new_job_id()
        folder = self.data.job(job_id)
        is_kept = False
        try:
            folder.make()
            accepted, options = self._acceptance.of(
                fields, files, options, folder.path, folder.inputs
            )
            locate_all(accepted.spec, self.settings)
            plan = accepted.plan
            if origin is not None and parent is not None:
                plan = plan.model_copy(
                    update={"notes": (*plan.notes, *filter(None, [origin.note]))}
                )
                if origin.num_sections:
                    note_source(folder, parent, origin.num_sections)
            request = accepted.request.updated(seed=plan.seed)
            job, is_kept = self.store.create(
                job_id,
                request.model_dump(mode="json", exclude_unset=True),
                plan.to_dict(),
                options=options.model_dump(mode="json"),
                owner=owner,
                priority=priority,
                parent=parent,
                idempotency_key=idempotency_key,
                fingerprint=asked_as,
                **self._limits_of(owner),
            )
            return job
        except OSError as error:
            raise StoreFull(
                f"the request cannot be kept: {error.strerror}; free some space"
            ) from error
        finally:
            if not is_kept:
                folder.remove()

    def plan(
        self,
        fields: Mapping[str, Any],
        inputs: Mapping[str, Input] | None = None,
        options: JobOptions | None = None,
    ) -> Plan:
        """Say what would be made of a request; nothing is kept.

        Raises:
            InvalidRequest: bad input.
        """
        with tempfile.TemporaryDirectory(prefix="plan-", dir=self.data.uploads) as name:
            folder = Path(name)
            accepted, _ = self._acceptance.of(
                fields, dict(inputs or {}), options or JobOptions(), folder, folder, is_dry=True
            )
            return accepted.plan

    def estimate(self, plan: Plan) -> Estimate:
        """Say what a video will take on this machine."""
        facts = self.executor.facts() if self.executor is not None else {}
        return self.estimates.of(plan, loaded=facts.get("model"))

    def remix(
        self,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        inputs: Mapping[str, Input] | None = None,
        sees: str | None = None,
        **sent: Any,
    ) -> Job:
        """Make a job's video again with something changed, such as its prompt.

        Args:
            job_id: the job; its state does not matter.
            changes: fields that are to be others.
            inputs: files for them.
            sees: whose jobs there are for the sender; None for all.
            sent: ``options``, ``owner``, ``priority`` and ``idempotency_key`` of :meth:`submit`.
        """
        parent = self.store.get(job_id, owner=sees)
        fields, files = asked_again(parent, self.data.job(parent.id))
        changed = {**changes, **{name: name for name in inputs or {} if name not in changes}}
        files = {word: given for word, given in files.items() if word not in changed}
        sent.setdefault("options", options_again(parent))
        return self.submit(
            {**fields, **changed}, inputs={**files, **(inputs or {})}, parent=parent.id, **sent
        )

    def extend(self, source: str | Input, fields: Mapping[str, Any], **sent: Any) -> Job:
        """Go on from the end of a video.

        Args:
            source: id of a completed job, or a video.
            fields: of the request, such as the prompt, and the seconds to add.
            sent: ``sees`` of :meth:`remix`, and what :meth:`submit` takes.
        """
        return self._from_video("extend", source, fields, **sent)

    def redo(
        self,
        job_id: str,
        *,
        section: int,
        prompt: str | None = None,
        image: Input | None = None,
        seed: int | None = None,
        sees: str | None = None,
        **sent: Any,
    ) -> Job:
        """Make one section of a job's video again; see ``redone`` and :meth:`remix`."""
        parent = self.store.get(job_id, owner=sees)
        take = redone(
            parent,
            self.data.job(parent.id),
            section=section,
            prompt=prompt,
            image=image,
            seed=seed,
        )
        return self._taken(parent, take, **sent)

    def edit(self, source: str | Input, fields: Mapping[str, Any], **sent: Any) -> Job:
        """Draw a video anew, as :meth:`extend` has it."""
        return self._from_video("video", source, fields, **sent)

    # --- Jobs that are there -------------------------------------------------------------------

    def cancel(self, job_id: str, *, keep: bool = False) -> Job:
        """Have a job end; to keep what there is, a video is made of it when it has stopped.

        Raises:
            NoSuchJob: there is none.
            StoreFull: the disk refused.
        """
        if keep and self.store.get(job_id).state != "completed":
            self.partials.want(job_id)
        return self.store.cancel(job_id)

    def delete(self, job_id: str, *, sees: str | None = None) -> None:
        """Forget a job, and remove its files.

        Raises:
            NoSuchJob: there is none.
            WrongState: it is worked on; cancel it first.
        """
        job = self.store.get(job_id, owner=sees)
        if job.state == "running":
            raise WrongState(f"{job_id} is running; cancel it first")
        self.store.delete(job_id)
        self.data.job(job_id).remove()

    # --- Inside --------------------------------------------------------------------------------

    def _limits_of(self, owner: str) -> dict[str, Any]:
        """Of an owner's jobs, as ``JobStore.create`` takes them."""
        return {
            "max_attempts": self.config.max_attempts,
            "max_waiting": self.config.max_waiting,
            "owner_max_waiting": self._quota_of(owner),
        }

    def _quota_of(self, owner: str) -> int | None:
        """Jobs of an owner that may wait or run; likewise tasks."""
        return self.keys.quota(owner) or self.config.max_waiting_per_key

    def _from_video(
        self,
        name: str,
        source: str | Input,
        fields: Mapping[str, Any],
        *,
        inputs: Mapping[str, Input] | None = None,
        sees: str | None = None,
        **sent: Any,
    ) -> Job:
        if isinstance(source, Input):
            return self.submit(fields, inputs={**(inputs or {}), name: source}, **sent)
        parent = self.store.get(source, owner=sees)
        video = self.file_of(parent, "video")
        said, folder = {name: parent.id, **fields}, self.data.job(parent.id)
        if name == "extend" and not inputs:
            take = longer(parent, folder, fields, self.settings)
            if take is not None:
                return self._taken(
                    parent, replace(take, origin=replace(take.origin, said=said)), **sent
                )
        inherited = {
            key: value for key, value in parent.request.items() if key not in _OF_ONE_VIDEO
        }
        model = str(parent.plan["model"])
        inherited["model"] = "f1" if (name, model) == ("extend", "i2v") else model
        files = {**(inputs or {}), name: Input(video, name=f"video of {parent.id}")}
        note = f"Goes on from the frames of {parent.id}." if name == "extend" else ""
        origin = Origin(said, inputs or {}, note)
        return self.submit(
            {**inherited, **fields}, inputs=files, parent=parent.id, origin=origin, **sent
        )

    def _taken(self, parent: Job, take: Take, **sent: Any) -> Job:
        sent.setdefault("options", options_again(parent))
        return self.submit(
            take.fields, inputs=take.inputs, parent=parent.id, origin=take.origin, **sent
        )

    def file_of(self, job: Job, kind: str) -> Path:
        """A file that a completed job left, or the partial video of one that stopped.

        Raises:
            WrongState: it is not completed.
            NoSuchJob: it left none of that kind, or its files were removed.
        """
        if job.state != "completed" and kind != "partial":
            raise WrongState(f"{job.id} is {job.state}; its files are there when it is completed")
        name = job.output.get(kind)
        if not isinstance(name, str) or not name:
            kinds = ", ".join(key for key in job.output if isinstance(job.output[key], str))
            raise NoSuchJob(f"{job.id} left no {kind}; it has {kinds or 'no files'}")
        try:
            return self.data.job(job.id).file(name)
        except InvalidRequest as error:
            raise NoSuchJob(f"the {kind} of {job.id} is not there any more") from error

    def folder_of(self, job: Job, kind: str) -> Path:
        """A folder that a completed job left; see :meth:`file_of`."""
        if job.state != "completed":
            raise WrongState(f"{job.id} is {job.state}; its files are there when it is completed")
        name = job.output.get(kind)
        path = self.data.job(job.id).output / str(name)
        if not name or not path.is_dir():
            raise NoSuchJob(f"{job.id} left no {kind}")
        return path

    def _remove_strays(self) -> None:
        """Remove folders of requests during which a server died."""
        for path in (self.data.path / "jobs").iterdir():
            with suppress(InvalidRequest):
                try:
                    self.store.get(path.name)
                except NoSuchJob:
                    JobFolder(path).remove()
        for path in self.data.uploads.glob("[pr]*-*"):  # of plans and requests
            shutil.rmtree(path, ignore_errors=True)
        self.uploads.sweep()
