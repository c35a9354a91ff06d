"""`make policy`: checkov over every committed rendering of the chart and over the Dockerfile, without the network.

What it finds has to be exactly what is accepted below, so that nothing new passes and nothing stays accepted that is gone.
It is no part of `make test`, which asserts the Pod Security Standard itself (test_chart.py): checkov brings a hundred
packages, in an environment of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from tests.helm.rendering import NAMESPACE, ROOT, VALUES, rendered

CHECKOV: Final = (".venv-policy/bin/checkov", "--skip-download", "--quiet", "--compact", "--output", "json")
# Check to what it names and why that is right.
ACCEPTED: Final = {
    "CKV_K8S_15": "images have tags that don't move or digests: asking a registry at each start only adds a way to fail",
    "CKV_K8S_43": "a digest is of the image that an operator built; ci/production-values.yaml names one",
    "CKV_K8S_8": "what runs a command and serves nothing has nothing to be asked: check, operator, found beside MongoDB",
    "CKV_K8S_9": "likewise",
}
UNPROBED: Final = {"topten-check", "topten-operator", "topten-mongo"}


def main() -> int:
    """0 if checkov finds what is accepted and nothing else."""
    found: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory(prefix="topten-policy-") as folder:
        for name in VALUES:
            # Into which namespace objects go is said by whoever installs them.
            objects = [{**one, "metadata": {"namespace": NAMESPACE, **one["metadata"]}} for one in rendered(name)]
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        found |= _failed("--framework", "kubernetes", "--directory", folder)
    found |= _failed("--framework", "dockerfile", "--file", "deploy/Dockerfile")
    wrong = sorted(
        (check, resource)
        for check, resource in found
        if check not in ACCEPTED
        or (check in {"CKV_K8S_8", "CKV_K8S_9"} and resource.rpartition(".")[2] not in UNPROBED)
    )
    for check, resource in wrong:
        print(f"{check}: {resource}", file=sys.stderr)
    for check in sorted(ACCEPTED.keys() - {check for check, _ in found}):
        print(f"{check}: accepted, and found nowhere any more", file=sys.stderr)
        wrong.append((check, ""))
    print("checkov finds nothing but what is accepted" if not wrong else f"{len(wrong)} findings")
    return 1 if wrong else 0


def _failed(*arguments: str) -> set[tuple[str, str]]:
    done = subprocess.run([*CHECKOV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(
            f"checkov said nothing that can be read:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        ) from None
    if report["summary"]["passed"] == 0 or report["summary"]["parsing_errors"]:
        raise SystemExit(f"checkov read nothing of {arguments[-1]}")
    return {(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]}


if __name__ == "__main__":
    sys.exit(main())
