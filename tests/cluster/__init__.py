"""`make cluster`: the chart on a real Kubernetes API server, installed, upgraded, rolled back and removed by real Helm.

    tools           builds and keeps the programs, outside the tree
    control_plane   etcd and the API server on loopback, without root
    charts          the chart as it is, as it was before, and with another version
    helm            Helm 3 as a program and Helm 4 as a library
    release         what the API server has of one release
    life            what happens to a release, and what must hold after each step
    report          what was seen, as docs/operator/cluster-report.md

Not part of `make test`. There are no controllers and no nodes: what the API server admits, refuses and keeps is seen, and
nothing of what runs.
"""
