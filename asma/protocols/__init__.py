"""How encoders are judged: frozen or trained on, by what head, for how long.

Frozen (`frozen.py`): the encoder is in evaluation mode and neither a parameter nor a normalisation
statistic of it changes; features of the clean clips are computed once and the head learns on them:
linear on the pooled embedding, or feature alignment on the tokens of two encoders (0.46 M trained
parameters a stream, so the paper's "linear evaluation" of both encoders is not a linear probe and
is named aligned here).

Trained (`finetuned.py`): encoder and linear head learn end to end from labels, in training mode,
on augmented clips. Fine-tuning of both encoders is two-step: each with a head of its own, then
feature alignment on top of the two, frozen. The same function from random weights is the control
named scratch. With fewer labels (`finetune.labels`) both steps see the same few, drawn class by
class, and so do the students that learn labels: it is semi-supervised learning.

Distilled (`distilled.py`): a small student learns a frozen teacher's logits, without labels; or
the teacher's embedding and then labels; or, the control, labels alone.

Adam, cosine to zero by epoch, the last epoch is the result. No test clip chooses anything.
"""
