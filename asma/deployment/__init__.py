"""Learnt networks where they are used: small and fast forms of them, and what each costs.

inference   compact: folded, nothing computed for a person who is not there
edge        ONNX files, in float32 and in eight bits, and their use without torch
forms       a network in every form
device      what each form costs and what accuracy is left: stage `export`
footprint   memory of a form in a process of its own
machine     the processor's name, memory of a process
"""
