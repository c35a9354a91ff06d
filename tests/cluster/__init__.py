"""`make cluster`: the chart on a real Kubernetes API server, installed, upgraded, rolled back and removed by real Helm.

    tools           builds and keeps the programs, outside the tree
    processes       runs them
    control_plane   etcd and the API server on loopback, without root
    charts          the chart as it is, as it was before, and with another version
    helm            Helm 3 as a program and Helm 4 as a library
    release         what the API server has of one release
    life            what happens to a release, and what must hold after each step
    node            real pods under load, as root on Linux
    report          what was seen, as docs/operator/cluster-report.md

Not part of `make test`. Every set of values lives on the API server alone: what it admits, refuses and keeps is seen, and
nothing of what runs. Two of them run on the node.
"""
