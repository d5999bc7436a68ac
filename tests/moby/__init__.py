"""moby's own integration suites, unchanged, against this engine or against dockerd.

`python -m tests.moby --moby CHECKOUT integration/container -- -test.run TestExec`, as root. CHECKOUT is a
clone of moby at v20.10.24 that lies at `src/github.com/docker/docker` of a GOPATH; Go 1.19, gcc, debootstrap
and Debian's `docker.io` and `docker-registry` are needed beside it. Nothing of moby is kept here, so CI does
not run this; what was found is in docs/compatibility.md.

- `__main__`: compiles a package's tests, and runs them;
- `box`: the namespaces in which they run, with an engine where they look for one (`/var/run/docker.sock`,
  `docker0`, port 5000), so that nothing of the host's is touched and all of it ends with them;
- `frozen`: the images that the suites want to find in `/docker-frozen-images`.
"""
