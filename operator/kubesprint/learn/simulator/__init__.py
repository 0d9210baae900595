"""The simulator of the core, compiled: the same semantics, for searches that must be cheap.

Nothing here is imported before somebody asks `kubesprint.learn.simulator.compiled` for it, because the
compiler costs a third of a second and tens of megabytes. Without it the core's plain path answers.
"""
