"""Estimates of what patching would do, for many places at once: from gradients, from the weights.

An estimate is a first-order guess of an effect: effect = metric with the source's values − metric
without. Every method gives one number an example; means over examples are the caller's, as is the
size of a batch, which bounds the memory."""
