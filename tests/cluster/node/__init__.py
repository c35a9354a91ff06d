"""The node of `make cluster`: real pods on this machine, as root on Linux.

    requirements    what the machine must have
    images          the images: Topten's from deploy/Dockerfile, the stores' from their wheels
    isolation       namespaces that end with everything in them, and what they do not hold
    machine         network, containerd, kubelet and proxy; controllers and scheduler
    dns             the names of Services
    policies        network policies, by iptables
    cluster         a release on the node: Helm, kubectl, its pods
    traffic         players and watchers, and what they miss
    week            an operator's week under load
    __main__        runs inside the namespaces and writes the outcome

DNS and policies are small stand-ins for what a cluster installs; everything else is what clusters run.
"""
