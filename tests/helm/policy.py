"""`make policy`: run checkov over every committed set of values and the Dockerfile, without network.

Its findings must equal ACCEPTED, so that no new finding passes and no obsolete one stays accepted. Not part of `make test`,
which checks the Pod Security Standard (test_chart.py): checkov needs a hundred packages in a separate environment.
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
# Each accepted check with its reason.
ACCEPTED: Final = {
    "CKV_K8S_15": "images have immutable tags or digests: asking a registry at each start only adds a way to fail",
    "CKV_K8S_40": "ci/openshift-values.yaml leaves user ids to the cluster; test_pods.py checks those of the chart",
    "CKV_K8S_43": "a digest belongs to the image that an operator built; ci/production-values.yaml has one",
    "CKV_K8S_8": "check, operator and bootstrap-mongo run a command and serve nothing that could be probed",
    "CKV_K8S_9": "likewise",
}
UNPROBED: Final = {"topten-check", "topten-operator", "topten-mongo"}


def main() -> int:
    """Return 0 if checkov reports exactly the accepted findings."""
    findings: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory(prefix="topten-policy-") as folder:
        for name in VALUES:
            # The namespace is chosen at the install.
            objects = [{**one, "metadata": {"namespace": NAMESPACE, **one["metadata"]}} for one in rendered(name)]
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        findings |= _failed("--framework", "kubernetes", "--directory", folder)
    findings |= _failed("--framework", "dockerfile", "--file", "deploy/Dockerfile")
    wrong = sorted(
        (check, resource)
        for check, resource in findings
        if check not in ACCEPTED
        or (check in {"CKV_K8S_8", "CKV_K8S_9"} and resource.rpartition(".")[2] not in UNPROBED)
    )
    for check, resource in wrong:
        print(f"{check}: {resource}", file=sys.stderr)
    for check in sorted(ACCEPTED.keys() - {check for check, _ in findings}):
        print(f"{check}: accepted, but no longer reported", file=sys.stderr)
        wrong.append((check, ""))
    print("checkov reports only accepted findings" if not wrong else f"{len(wrong)} findings")
    return 1 if wrong else 0


def _failed(*arguments: str) -> set[tuple[str, str]]:
    done = subprocess.run([*CHECKOV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"checkov printed no JSON:\n{done.stdout[-2000:]}{done.stderr[-2000:]}") from None
    if report["summary"]["passed"] == 0 or report["summary"]["parsing_errors"]:
        raise SystemExit(f"checkov checked nothing in {arguments[-1]}")
    return {(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]}


if __name__ == "__main__":
    sys.exit(main())
