"""Runs the task on real disks, with modules of our own in the place of Celery
and openrelik-worker-common where those aren't installed:

    LAGAN=... python3 test_tasks.py DISK
"""

import base64
import json
import os
import sys
import tempfile
import types
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


class Task:
    """What a bound Celery task gives its function."""

    def send_event(self, kind, **_):
        assert kind == "task-progress", kind


def stubs():
    """Stands in for the modules, with the signatures that they have (openrelik-worker-common 0.17)."""

    class Celery:
        def __init__(self, **_):
            pass

        def task(self, bind, name, metadata):
            assert bind and name.startswith("openrelik-worker-lagan.") and metadata["display_name"]
            return lambda function: lambda **arguments: function(Task(), **arguments)

    class OutputFile:
        def __init__(self, **fields):
            self.__dict__ = fields

        def to_dict(self):
            return self.__dict__

    def create_output_file(output_base_path, display_name=None, extension=None, data_type=None, original_path=None, source_file_id=None):
        name = uuid.uuid4().hex
        path = os.path.join(output_base_path, name + os.path.splitext(display_name)[1])
        return OutputFile(uuid=name, display_name=display_name, data_type=data_type, path=path, source_file_id=source_file_id)

    def get_input_files(pipe_result, input_files, filter=None):
        import fnmatch

        if pipe_result:
            input_files = json.loads(base64.b64decode(pipe_result))["output_files"]
        return [f for f in input_files if any(fnmatch.fnmatch(f["display_name"], p) for p in filter["filenames"])]

    def create_task_result(output_files, workflow_id, command=None, meta=None, file_reports=(), task_report=None):
        result = {"output_files": output_files, "workflow_id": workflow_id, "command": command, "task_report": task_report}
        return base64.b64encode(json.dumps(result).encode()).decode()

    class Report:
        def __init__(self, title):
            self.lines = [title]

        def add_section(self):
            return self

        def add_bullet(self, text):
            self.lines.append(text)

        def to_markdown(self):
            return "\n".join(self.lines)

        def to_dict(self):
            return {"title": self.lines[0], "content": self.to_markdown()}

    modules = {
        "celery": {},
        "celery.app": {"Celery": Celery},
        "openrelik_worker_common": {},
        "openrelik_worker_common.file_utils": {"create_output_file": create_output_file},
        "openrelik_worker_common.reporting": {"Report": Report},
        "openrelik_worker_common.task_utils": {"create_task_result": create_task_result, "get_input_files": get_input_files},
    }
    for name, content in modules.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(content)


def main(disk):
    stubs()
    from src import tasks

    with tempfile.TemporaryDirectory() as out:
        broken = os.path.join(out, "broken.img")
        with open(broken, "w", encoding="utf-8") as file:
            file.write("no disk\n")
        inputs = [
            {"id": 1, "display_name": "broken.img", "path": broken},
            {"id": 2, "display_name": "node.img.zst", "path": disk},
            {"id": 3, "display_name": "notes.txt", "path": broken},
        ]
        for pipe in (None, base64.b64encode(json.dumps({"output_files": inputs}).encode()).decode()):
            result = json.loads(
                base64.b64decode(
                    tasks.analyze(pipe_result=pipe, input_files=None if pipe else inputs, output_path=out, workflow_id="7", task_config={"tasks": "timeline, containers"})
                )
            )
            files = {f["data_type"]: f for f in result["output_files"]}
            assert list(files) == ["lagan:containers", "lagan:timeline:jsonl"], files
            assert all(f["source_file_id"] == 2 and f["display_name"].startswith("node.img.zst.") for f in files.values()), files
            with open(files["lagan:containers"]["path"], encoding="utf-8") as file:
                containers = [json.loads(line) for line in file]
            with open(files["lagan:timeline:jsonl"]["path"], encoding="utf-8") as file:
                events = [json.loads(line) for line in file]
            assert len(containers) > 3 and all(c["id"] for c in containers), containers
            assert len(events) > 1000 and all(e["message"] and e["datetime"] and e["timestamp_desc"] for e in events)
            assert result["workflow_id"] == "7" and " batch " in result["command"]
            report = result["task_report"]["content"]
            assert "broken.img: status 1" in report and "node.img.zst: done" in report, report
        left = [name for name in os.listdir(out) if os.path.isdir(os.path.join(out, name))]
        assert not left, left
        for wrong, error in (({"tasks": "everything"}, ValueError), ({"timeout": "never"}, RuntimeError)):
            try:
                tasks.analyze(input_files=inputs[1:2], output_path=out, workflow_id="7", task_config=wrong)
            except error:
                continue
            raise AssertionError(wrong)
    print(f"{len(containers)} containers, {len(events)} events, in files that OpenRelik is told of")


main(sys.argv[1])
