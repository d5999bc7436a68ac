"""System calls, netlink, nftables, cgroups, namespaces: the kernel's words only; it knows no container."""
