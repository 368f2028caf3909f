"""ASMa: asymmetric spatio-temporal masking for skeleton action representation learning.

A recording becomes a clip, a clip a stream, a stream views, a view an embedding, an embedding
logits, logits a score, scores a table. The modules of this package are the nouns of that sentence;
the scripts in `stages/` are its verbs.

Paper: A. Anand, A. Eskandari, E. Rahsno, F. Zulkernine, "ASMa: Asymmetric Spatio-temporal Masking
for Skeleton Action Representation Learning", TMLR 2026, arXiv 2602.06251.

Letters, everywhere the same: N batch, C channels (x y z), T frames, V joints, M bodies,
D embedding, P projection, K classes.
"""

__version__ = "0.1.0"
