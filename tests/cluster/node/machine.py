"""The node: a network, containerd, kubelet and proxy, with the controllers and the scheduler, beside a running API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.control_plane import NODE, ControlPlane
from tests.cluster.node import dns, policies
from tests.cluster.node.images import PAUSE
from tests.cluster.node.requirements import PLUGINS
from tests.cluster.processes import run, running
from tests.cluster.tools import Tools
from tests.deadline import poll

PODS: Final = "10.244.0.0/24"
# Of the node, and as the pods' gateway.
ADDRESS: Final = "10.244.0.1"
BRIDGE: Final = "pods0"
CLASS: Final = "local"
VOLUMES: Final = 6


class Machine:
    """One node. Everything it writes is in one folder, and everything it starts ends with the `with` block."""

    def __init__(self, folder: Path, plane: ControlPlane, tools: Tools, cgroup: str) -> None:
        self._folder = folder
        self._plane = plane
        self._tools = tools
        self._cgroup = cgroup
        self._socket = folder / "containerd.sock"
        self.logs = folder / "pods"

    @contextmanager
    def running(self, images: Path) -> Iterator[None]:
        """Start everything, and wait until pods can be placed."""
        configs = self._configs()
        with ExitStack() as stack:

            def start(name: str, program: str | Path, *options: str) -> None:
                stack.enter_context(running([program, *options], self._folder / f"{name}.log"))

            start("containerd", "containerd", f"--config={configs['containerd']}")
            self._import(images)
            stack.enter_context(dns.serving(self._plane.api, ADDRESS))
            stack.enter_context(policies.enforced(self._plane.api, BRIDGE))
            for name in ("kube-controller-manager", "kube-scheduler"):
                config = self._plane.kubeconfig_of(name)
                start(name, self._tools.programs[name], f"--kubeconfig={config}", *self._controller(name, config))
            start("kube-proxy", self._tools.programs["kube-proxy"], f"--config={configs['proxy']}")
            start("kubelet", self._tools.programs["kubelet"], *self._kubelet(configs["kubelet"]))
            poll(self._is_ready, "the node is ready")
            self._volumes()
            yield

    def signal(self, container: str, name: str) -> None:
        """Send a signal to the first process of a container, as the kernel would. `container` is the ID in a pod's status."""
        self._ctr("tasks", "kill", f"--signal={name}", container.removeprefix("containerd://"))

    def _controller(self, name: str, config: Path) -> list[str]:
        options = [
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]
        if name == "kube-controller-manager":
            options += [
                f"--service-account-private-key-file={self._plane.accounts_key}",
                "--use-service-account-credentials",
                "--allocate-node-cidrs=false",
            ]
        return options

    def _kubelet(self, config: Path) -> list[str]:
        return [
            f"--config={config}",
            f"--kubeconfig={self._plane.kubeconfig_of('kubelet')}",
            f"--root-dir={self._folder / 'kubelet'}",
            f"--node-ip={ADDRESS}",
            f"--hostname-override={NODE}",
        ]

    def _is_ready(self) -> bool:
        conditions = [
            each
            for node in self._plane.api.items("/api/v1/nodes")
            for each in node["status"].get("conditions", [])
            if each["type"] == "Ready"
        ]
        return any(each["status"] == "True" for each in conditions)

    def _import(self, images: Path) -> None:
        poll(self._socket.exists, "containerd listens")
        archive = self._folder / "images.tar"
        run("tar", "--create", f"--file={archive}", f"--directory={images}", ".")
        self._ctr("images", "import", "--all-platforms", archive)
        archive.unlink()

    def _ctr(self, *arguments: str | Path) -> str:
        return run("ctr", f"--address={self._socket}", "--namespace=k8s.io", *arguments)

    def _volumes(self) -> None:
        """Volumes in folders: there is no provisioner."""
        api = self._plane.api
        metadata = {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        storage = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
        api.create("/apis/storage.k8s.io/v1/storageclasses", {"metadata": metadata, **storage})
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
        for number in range(VOLUMES):
            path = self._folder / "volumes" / str(number)
            path.mkdir(parents=True)
            spec = {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": CLASS,
                "local": {"path": str(path)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            }
            api.create("/api/v1/persistentvolumes", {"metadata": {"name": f"volume-{number}"}, "spec": spec})

    def _configs(self) -> dict[str, Path]:
        (self._folder / "network").mkdir()
        (self._folder / "network" / "10-bridge.conflist").write_text(json.dumps(self._network()))
        (self._folder / "resolv.conf").write_text("")
        configs = {"kubelet": self._kubelet_config(), "proxy": self._proxy_config()}
        paths = {name: self._folder / f"{name}.yaml" for name in configs}
        for name, path in paths.items():
            path.write_text(yaml.safe_dump(configs[name]))
        paths["containerd"] = self._folder / "containerd.toml"
        paths["containerd"].write_text(self._containerd_config())
        return paths

    def _network(self) -> dict[str, Any]:
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self._folder / "addresses"),
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": ipam}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}

    def _kubelet_config(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "readOnlyPort": 0,
            # Nothing but the API server and pods of this namespace can reach it.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [ADDRESS],
            "clusterDomain": dns.DOMAIN,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "resolvConf": str(self._folder / "resolv.conf"),
            "podLogsDir": str(self.logs),
            # The disk of a developer's machine may be nearly full.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "oomScoreAdj": 0,
        }

    def _proxy_config(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self._plane.kubeconfig_of("kube-proxy"))},
            "hostnameOverride": NODE,
            "mode": "iptables",
            "clusterCIDR": PODS,
            "bindAddress": ADDRESS,
            "oomScoreAdj": 0,
            # Settings of the kernel beyond this namespace.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }

    def _containerd_config(self) -> str:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""version = 2
root = "{self._folder / "containerd"}"
state = "{self._folder / "containerd-state"}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{self._socket}"
[{cri}]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
[{cri}.cni]
bin_dir = "{PLUGINS}"
conf_dir = "{self._folder / "network"}"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def connect() -> None:
    """Give this network namespace an address, a route for the addresses of Services, and packets that pass iptables."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "route", "add", "default", "dev", BRIDGE)
    for name in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        (Path("/proc/sys/net") / name).write_text("1")
