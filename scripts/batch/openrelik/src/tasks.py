"""OpenRelik task: what lagan finds on the disk of a container node.

Nothing is mounted and no privilege is needed: lagan reads the image itself.
"""

import json
import os
import subprocess
import tempfile

from openrelik_worker_common.file_utils import create_output_file
from openrelik_worker_common.reporting import Report
from openrelik_worker_common.task_utils import create_task_result, get_input_files

from .app import celery

LAGAN = os.getenv("LAGAN", "lagan")

TASK_NAME = "openrelik-worker-lagan.tasks.analyze"

# What lagan writes of a disk, by the names of its own batches, and how OpenRelik is told of it.
OUTPUTS = {
    "containers": ("containers.jsonl", "lagan:containers"),
    "images": ("images.jsonl", "lagan:images"),
    "diff": ("diff.jsonl", "lagan:diff"),
    "findings": ("findings.jsonl", "lagan:findings"),
    "timeline": ("timeline.jsonl", "lagan:timeline:jsonl"),
    "report": ("report.html", "lagan:report"),
}
DEFAULT = ["containers", "findings", "timeline", "report"]

TASK_METADATA = {
    "display_name": "lagan: container node",
    "description": "Containers, what they changed, findings and a timeline, from a disk image of a container node",
    "task_config": [
        {
            "name": "tasks",
            "label": "What to write",
            "description": f"Of {', '.join(OUTPUTS)}; by default {', '.join(DEFAULT)}.",
            "type": "text",
            "required": False,
        },
        {
            "name": "timeout",
            "label": "Time for one object",
            "description": "Give up on one filesystem, container or log after this time, such as 10m.",
            "type": "text",
            "required": False,
        },
    ],
}

# Disks in all forms that lagan reads. Parts of split images come with the first.
COMPATIBLE_INPUTS = {
    "data_types": [],
    "mime_types": [],
    "filenames": [
        f"*.{ending}{packed}"
        for ending in ("img", "raw", "dd", "001", "tar")
        for packed in ("", ".gz", ".zst", ".xz")
    ]
    + ["*.qcow2", "*.qcow", "*.vmdk", "*.vhd", "*.vhdx", "*.vdi", "*.E01", "*.e01", "*.tgz"],
}


def chosen(config: dict) -> list[str]:
    """Returns the outputs that the configuration asks for, in lagan's order."""
    asked = [name.strip() for name in (config.get("tasks") or "").split(",") if name.strip()]
    unknown = sorted(set(asked) - set(OUTPUTS))
    if unknown:
        raise ValueError(f"no such output: {', '.join(unknown)}; there are {', '.join(OUTPUTS)}")
    return [name for name in OUTPUTS if name in (asked or DEFAULT)]


@celery.task(bind=True, name=TASK_NAME, metadata=TASK_METADATA)
def analyze(
    self,
    pipe_result: str | None = None,
    input_files: list[dict] | None = None,
    output_path: str | None = None,
    workflow_id: str | None = None,
    task_config: dict | None = None,
) -> str:
    """Runs lagan on each disk and hands the files on. One disk that can't be read stops no other."""
    config = task_config or {}
    names = chosen(config)
    disks = get_input_files(pipe_result, input_files or [], filter=COMPATIBLE_INPUTS)
    output_files: list[dict] = []
    report = Report("lagan")
    section = report.add_section()
    command = ""
    for disk in disks:
        self.send_event("task-progress", data={"disk": disk.get("display_name")})
        with tempfile.TemporaryDirectory(dir=output_path) as work:
            # A manifest, so that the disk's own path can hold anything; its name is ours.
            manifest = os.path.join(work, "manifest.jsonl")
            with open(manifest, "w", encoding="utf-8") as file:
                file.write(_manifest(os.path.abspath(disk["path"])))
            argv = [LAGAN, "batch", manifest, "-o", os.path.join(work, "out"), "--index", "all", "--tasks", ",".join(names)]
            argv += ["--temp", work, "--progress", "none", "--allow-gaps", "-q"]
            if config.get("timeout"):
                argv += ["--timeout", config["timeout"]]
            command = " ".join(argv)
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            section.add_bullet(f"{disk.get('display_name')}: {_said(done)}")
            if done.returncode != 0:
                continue
            for name in names:
                file_name, data_type = OUTPUTS[name]
                out = create_output_file(
                    output_path,
                    display_name=f"{disk.get('display_name')}.{file_name}",
                    data_type=data_type,
                    source_file_id=disk.get("id"),
                )
                os.rename(os.path.join(work, "out", "disk", file_name), out.path)
                output_files.append(out.to_dict())
    if disks and not output_files:
        raise RuntimeError(f"lagan read none of {len(disks)} disks:\n{report.to_markdown()}")
    return create_task_result(
        output_files=output_files, workflow_id=workflow_id, command=command, task_report=report.to_dict()
    )


def _manifest(path: str) -> str:
    return json.dumps({"evidence": path, "name": "disk"}) + "\n"


def _said(done: subprocess.CompletedProcess) -> str:
    """Returns what came of a disk in one line."""
    if done.returncode == 0:
        return "done"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return f"status {done.returncode}: {' '.join(lines[-2:])}"
